//! The PostgreSQL store against a real server: the contract, and what only a database of its own can do wrong.
//!
//! `TEST_DATABASE_URL` names a server to use; without it a private one is started, and without its programs the tests
//! fail and say what to install.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod clean_up;
mod clock;
mod contract;
mod fault;
mod partition;
mod race;
mod schema;
mod support;
mod token_storage;
mod unnamed;
