//! An OAuth 2.1 authorization server for MCP, as a library that knows no web framework, no database and no clock.

mod hex;
pub mod port;
pub mod record;
