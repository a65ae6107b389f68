//! An OAuth 2.1 authorization server for MCP, as a library that knows no web framework, no database and no clock.
//!
//! [`AuthorizationServer`] has one method an endpoint. A request is *peeked* at (one read), *decided* about (a pure
//! function that quotes its RFC), and *committed* by one atomic store verb that checks its own precondition again.
//!
//! | folder | what lives there |
//! |---|---|
//! | [`endpoint`] | one endpoint a file |
//! | [`grant`] | one grant a file: `Params`, `decide` (pure), `run` |
//! | [`client`] | where clients come from that nobody wrote down: their metadata documents |
//! | [`client_auth`] | one client authentication method a file |
//! | [`record`] | what is kept |
//! | [`port`] | what is asked of the outside: store, clock, randomness, audit, limiter |
//! | [`memory`] | the reference adapter of every port |
//! | [`keys`] | what signs tokens: made, published ahead, rotated, retired |
//! | [`registration`] | dynamic registration as a part of its own |
//!
//! Parts that need no server, each usable alone:
//!
//! | part | where |
//! |---|---|
//! | a limit on how often something may be tried | [`SlidingWindowRateLimiter`] |
//! | clients that prove themselves by a signature | [`client_auth::private_key_jwt`] |
//! | registration, with a hook for every decision | [`registration`] |
//! | what a device that polls is told | [`grant::device_code::poll`] |
//! | tokens in memory or a database | [`port::token_storage`] |
//! | whose word about the caller's address counts | [`TrustedProxies`] |
//! | PKCE, error answers, validation, CORS, user codes | `mcp_authflow_types` |
//!
//! `mcp-authflow-axum` puts HTTP around it, `mcp-authflow-sqlite` and `mcp-authflow-postgres` keep its state.

mod access_token;
pub mod client;
pub mod client_auth;
pub mod endpoint;
pub mod grant;
mod imported;
pub mod keys;
pub mod memory;
pub mod port;
mod rate_limiter;
pub mod record;
pub mod registration;
mod server;
pub mod settings;
mod trusted_proxies;

pub use endpoint::authorization::{
    AnswerTo, Approval, AuthorizationRequest, Authorize, DeviceDecided, PageReason, Pending, PendingResource,
    SendBack, Ticked,
};
pub use endpoint::{ManageRegistration, UserCodeEntry, UserCodeProblem};
pub use keys::KeyRing;
pub use mcp_authflow_jose::ServerKey;
pub use rate_limiter::SlidingWindowRateLimiter;
pub use server::{AuthorizationServer, FormRequest, Ports, limiter_key};
pub use settings::Settings;
pub use trusted_proxies::{ForwardingHeader, InvalidProxies, TrustedProxies};
