//! The proxy between a real front (the layer `Protect`) and real upstreams on loopback.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod child;
mod connections;
mod heads;
mod isolation;
mod older_transport;
mod sdk;
mod stdio;
mod streams;
mod support;
