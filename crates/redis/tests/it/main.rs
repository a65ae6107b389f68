//! Limits and replay memory on real servers, and without them.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod connection;
mod rate_limit;
mod replay;
mod server;
