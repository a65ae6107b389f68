//! The binary, as its users meet it: over HTTP and on the command line.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod account;
mod client_assertion;
mod client_document_verbs;
mod client_documents;
mod client_logo;
mod command_line;
mod concurrency;
mod connected_apps;
mod consent;
mod device;
mod host_header;
mod house;
mod import;
mod issuer_path;
mod keys;
mod known_clients;
mod lifecycle;
mod log;
mod login;
mod mix_up;
mod page_headers;
mod private_key_jwt;
mod protect;
mod public;
mod rate_limit;
mod redis;
mod registration;
mod reverse_proxy;
mod revocation;
mod scope_inclusion;
mod secrecy;
mod storage;
mod strangers_addresses;
mod traps;
