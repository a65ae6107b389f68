//! The library from outside.

mod rate_limit;
mod store;
