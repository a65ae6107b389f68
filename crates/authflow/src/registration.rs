//! Dynamic client registration (RFC 7591) as a part of its own, for a server that you write yourself: a handler with a
//! hook for every decision that is yours.
//!
//! The whole server registers by [`AuthorizationServer::register`](crate::AuthorizationServer::register) instead, whose
//! hooks are [`Policy`](crate::port::Policy) and the settings.
//!
//! | file | what |
//! |---|---|
//! | `handler` | [`RegistrationHandler`]: the checks in their order, and the answer |
//! | `hooks` | what you can plug in: gate, limit, client address, redirect URIs, name, what happens afterwards |
//! | `judge` | what of a request is taken: [`RegistrationRules`] |
//! | `metadata` | [`ClientRegistrationRequest`], [`RegisteredClient`], [`IssuedClient`] |
//! | `redirect_uri` | [`validate_redirect_uri`], the default policy |
//! | `registry` | [`ClientRegistry`], and one in memory |
//! | `keys` | the key set of a client that signs its own assertions |
//!
//! ```
//! # use std::sync::Arc;
//! use mcp_authflow::{
//!     port::{Clock, Entropy},
//!     registration::{MemoryClientRegistry, RegistrationHandler, RequestHead},
//! };
//! # use mcp_authflow_types::Timestamp;
//! # struct Noon;
//! # impl Clock for Noon { fn now(&self) -> Timestamp { Timestamp::from_seconds(43_200) } }
//! # struct Zeros;
//! # impl Entropy for Zeros { fn fill(&self, bytes: &mut [u8]) { bytes.fill(0) } }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! # let (clock, entropy): (Arc<dyn Clock>, Arc<dyn Entropy>) = (Arc::new(Noon), Arc::new(Zeros));
//! let registry = Arc::new(MemoryClientRegistry::new(clock, entropy));
//! let handler = RegistrationHandler::builder(registry, "notes:read")
//!     .client_name(|request| request.client_name.clone().or_else(|| Some("A client".to_owned())))
//!     .build();
//!
//! let head = RequestHead { headers: &[("content-type", "application/json")], peer: None };
//! let body = br#"{"redirect_uris": ["https://app.example/cb"], "token_endpoint_auth_method": "none"}"#;
//! let reply = handler.handle(&head, body).await;
//! assert_eq!(reply.status, 201);
//! # }
//! ```
//!
//! `mcp_authflow_axum::registration` makes an axum handler of it.

mod handler;
mod hooks;
mod judge;
pub(crate) mod keys;
mod metadata;
mod redirect_uri;
mod registry;

pub use self::{
    handler::{Admitted, RegistrationHandler, RegistrationHandlerBuilder, RegistrationReply},
    hooks::{
        AfterRegistration, ClientAddressResolver, ClientNameFactory, HookError, InitialAccessTokens,
        RedirectUriRewriter, RedirectUriValidator, RegistrationGate, RegistrationLimiter, RequestHead,
    },
    judge::RegistrationRules,
    keys::InvalidKeys,
    metadata::{ClientRegistrationRequest, IssuedClient, RegisteredClient},
    redirect_uri::validate_redirect_uri,
    registry::{ClientRegistry, MemoryClientRegistry, RegistryError},
};
