//! The SQLite store from outside.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod contract;
mod damage;
mod durability;
mod serving;
mod token_storage;
