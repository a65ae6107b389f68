//! What documents say, and what is made of it.

#![allow(clippy::unwrap_used, reason = "a test may panic")]
