//! Stands between a protected front and an existing MCP server, in whatever language that is written: passes requests on
//! without the token, streams both ways, and tells the server who is calling in a way that no client can fake.
//!
//! ```
//! use axum::Router;
//! use mcp_authflow_protect::{Proxy, Upstream};
//! use mcp_authflow_resource::ProtectedResource;
//! use tower::Layer as _;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let protect = ProtectedResource::builder("https://mcp.example/mcp", "https://auth.example")
//!     .introspect_with("my-mcp", "the secret that `authflow resource add` printed")
//!     .build()?;
//! let proxy = Proxy::builder(Upstream::http("http://127.0.0.1:9000/mcp")).build()?;
//! let protected = protect.layer(proxy);
//! let app: Router = Router::new()
//!     .route_service("/mcp", protected.clone())
//!     .route_service("/mcp/{*rest}", protected.clone());
//! # let _ = app;
//! # Ok(())
//! # }
//! ```
//!
//! # Map
//!
//! | file | what | source |
//! |---|---|---|
//! | [`builder`] | what is passed on, and to whom | – |
//! | [`proxy`] | the service | – |
//! | [`upstream`] | the MCP server behind | – |
//! | [`identity`] | who is calling, signed | RFC 7519 |
//! | `http` | an upstream that speaks streamable HTTP, or the older HTTP with SSE | MCP transports |
//! | `stdio` | an upstream that is started, and spoken to over its standard input and output | MCP transports |
//! | `owner` | to whom sessions belong | – |
//! | `listening` | streams that end with the token that opened them | – |
//! | `entropy` | session ids that nobody can guess | – |
//! | `trouble` | what goes wrong, and what is answered | RFC 9110 §15, JSON-RPC 2.0 §5.1 |
//!
//! # Security
//! - A request without a [`Caller`](mcp_authflow_resource::Caller) in its extensions is never passed on: the layer
//!   [`Protect`](mcp_authflow_resource::Protect) must be in front.
//! - The upstream gets no token, no cookie and nothing that passes for a statement of ours (M-125).
//! - Who listens is asked for a good token again when the one that opened the stream ends.
//! - No request that may have reached the upstream is ever sent a second time.

pub mod builder;
mod entropy;
mod http;
pub mod identity;
mod listening;
mod owner;
pub mod proxy;
mod stdio;
mod trouble;
pub mod upstream;

pub use builder::{Builder, InvalidProxy};
pub use identity::{CannotSign, Identity, IdentitySigner};
pub use proxy::Proxy;
pub use upstream::Upstream;
