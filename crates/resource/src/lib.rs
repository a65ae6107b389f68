//! Protects an MCP server: a tower layer lets requests in that carry a good access token, and tells all others how to
//! get one.
//!
//! ```
//! use axum::{Router, http::{Request, StatusCode}, routing::post};
//! use mcp_authflow_resource::ProtectedResource;
//! use tower::ServiceExt as _;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let protect = ProtectedResource::builder("https://mcp.example/mcp", "https://auth.example")
//!     .introspect_with("hello-mcp", "the secret that `authflow resource add` printed")
//!     .require_scope("hello:read")
//!     .name("Hello MCP")
//!     .build()?;
//! let app: Router = Router::new().route("/mcp", post(|| async { "only for callers with a token" })).layer(protect);
//!
//! let answer = app.oneshot(Request::post("/mcp").body(axum::body::Body::empty())?).await?;
//! assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
//! assert_eq!(
//!     answer.headers()["www-authenticate"],
//!     "Bearer scope=\"hello:read\", \
//!      resource_metadata=\"https://mcp.example/.well-known/oauth-protected-resource/mcp\""
//! );
//! # Ok(())
//! # }
//! ```
//!
//! Behind the layer a handler finds out who is calling with [`Caller`]. Which caller may call which tool is the business of
//! a second layer, [`AuthorizeTools`]: see [`tool`].
//!
//! # Map
//!
//! | file | what | source |
//! |---|---|---|
//! | [`builder`] | what is protected, and how | – |
//! | [`layer`] | a request's way through, step by step | RFC 6750, MCP authorization |
//! | `bearer` | where a token may stand in a request | RFC 6750 §2 |
//! | [`verify`] | the port "is this token good?" | – |
//! | [`verify::introspection`] | asks the authorization server | RFC 7662 |
//! | [`verify::jwt`] | checks a signature with the issuer's keys | RFC 9068, RFC 7517 |
//! | `verify::issuers` | which issuer's verifier a token goes to | – |
//! | [`verify::cache`] | remembers for a short time what it said | – |
//! | [`outbound`] | questions to servers that an operator named | – |
//! | [`issuer_metadata`] | what an issuer says of itself | RFC 8414 |
//! | [`audience`] | which audiences are this resource | RFC 8707 |
//! | `admission` | is this good token good *here*? | RFC 8707, RFC 7519 §4.1 |
//! | [`caller`] | who is calling, what they may do | – |
//! | [`scope_hierarchy`] | which scopes include others | MCP authorization |
//! | `session` | session ids that are good for one caller only | MCP security best practices |
//! | [`tool`] | which caller may call which tool | MCP authorization |
//! | `rmcp` | tools of that SDK say which scope they need | feature `rmcp` |
//! | [`challenge`] | how to say "get a token first" | RFC 6750 §3, RFC 9728 §5.1 |
//! | [`friction`] | how often a caller may call which tool | – |
//! | [`json_rpc`] | which tools a request calls | JSON-RPC 2.0, MCP transports |
//! | [`metadata`] | how to say where | RFC 9728 |
//! | [`well_known`] | the documents that are open to everyone, also of several resources | RFC 9728 §3 |
//! | `cors` | which browser pages may ask | Fetch, MCP transports |
//! | `refusal`, [`body`] | what goes wrong, and what is answered | RFC 6750 §3.1 |
//! | `clock` | what time it is: the system's, or a test's | – |
//! | [`normalize_path`] | one path for `/mcp` and `/mcp/` | – |
//! | [`request_log`] | what came in and what was answered, for debugging | – |
//! | [`response_validation`] | what a back end behind a tool answered | – |
//! | [`safe_url`] | may this address be called? | RFC 6890, WHATWG URL |
//!
//! To add a way of verifying tokens: a file in `verify/` that implements [`TokenVerifier`]; nothing else changes.
//!
//! # Security
//! - A token is checked on every request; a session id proves nothing, and [`AuthorizeTools`] binds it to its caller.
//! - When the check cannot be made, the answer is 503 or 504, never 401 (the client would sign its person in again for
//!   nothing) and never a guess.
//! - The `Authorization` header stops at the layer. A handler that calls on needs a token of its own.
//! - By introspection a token revoked at the authorization server is refused from the next request on: nothing is cached
//!   unless [`Builder::cache`] asks for it. A JWT that is verified by its signature is good until it expires.

mod admission;
pub mod audience;
mod bearer;
pub mod body;
pub mod builder;
pub mod caller;
pub mod challenge;
mod clock;
mod cors;
pub mod friction;
pub mod issuer_metadata;
pub mod json_rpc;
pub mod layer;
pub mod metadata;
pub mod normalize_path;
pub mod outbound;
mod refusal;
pub mod request_log;
pub mod response_validation;
mod rest_of_body;
#[cfg(feature = "rmcp")]
pub mod rmcp;
pub mod safe_url;
pub mod scope_hierarchy;
mod session;
pub mod tool;
pub mod verify;
pub mod well_known;

pub use audience::AudienceRule;
pub use body::ResponseBody;
pub use builder::{Builder, InvalidProtection, ProtectedResource};
pub use caller::{Caller, InsufficientScope};
pub use challenge::Challenge;
pub use issuer_metadata::IssuerMetadata;
pub use json_rpc::JsonRpc;
pub use layer::{Protect, Protected};
pub use metadata::ResourceMetadata;
pub use outbound::{Endpoint, InvalidEndpoint, Outbound, OutboundSettings};
pub use refusal::RefusalReason;
pub use scope_hierarchy::ScopeHierarchy;
pub use tool::{AuthorizeTools, ToolPolicy};
pub use verify::{
    Cached, Caching, CannotCheck, ClientAuthentication, TokenVerifier, VerifiedToken, VerifyError,
};

pub use mcp_authflow_types::{ClientId, Issuer, Resource, Scope, Timestamp};
