//! placeholder
pub mod server;
pub mod service;
