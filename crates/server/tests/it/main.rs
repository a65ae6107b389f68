//! The binary, as its users meet it: over HTTP and on the command line.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod account;
mod command_line;
mod concurrency;
mod consent;
mod device;
mod host_header;
mod house;
mod import;
mod keys;
mod lifecycle;
mod log;
mod login;
mod page_headers;
mod private_key_jwt;
mod protect;
mod public;
mod rate_limit;
mod redis;
mod revocation;
mod secrecy;
mod storage;
mod strangers_addresses;
