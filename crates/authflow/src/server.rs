//! The authorization server: settings and ports in one value that is cheap to clone, one method an endpoint.

use std::{net::IpAddr, sync::Arc};

use mcp_authflow_jose::ServerKey;
use mcp_authflow_types::{ErrorResponse, Timestamp};

use crate::{
    client_auth::{RegisteredKeys, attempts::Proven},
    keys::{KeyRing, RingPorts},
    port::{
        Audit, AuditEvent, Clock, Entropy, Fetch, NoPolicy, OldTokens, Policy, RateLimit, Replay, Store,
        StoreError,
    },
    settings::Settings,
};

/// An OAuth 2.1 authorization server for MCP.
///
/// Each endpoint is one method: [`metadata`](Self::metadata), [`authorize`](Self::authorize) and
/// [`resume`](Self::resume), [`token`](Self::token), [`revoke`](Self::revoke), [`introspect`](Self::introspect),
/// [`register`](Self::register), [`jwks`](Self::jwks), [`device_authorization`](Self::device_authorization) and
/// [`enter_user_code`](Self::enter_user_code). `mcp-authflow-axum` puts HTTP around it; any other framework can call it directly.
#[derive(Clone)]
pub struct AuthorizationServer {
    inner: Arc<Inner>,
}

struct Inner {
    settings: Settings,
    ports: Ports,
    policy: Arc<dyn Policy>,
    registered_keys: RegisteredKeys,
    proven: Proven,
    keys: KeyRing,
}

/// What the server asks of the outside.
#[derive(Clone)]
pub struct Ports {
    /// Where clients, grants and tokens are kept.
    pub store: Arc<dyn Store>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// The audit trail.
    pub audit: Arc<dyn Audit>,
    /// The server's own key. It keys user codes in the store and seals the keys that sign: the same on every node, and for
    /// as long as the store lives. With another one no JWT is signed.
    pub key: ServerKey,
    /// The limiter.
    pub rate_limit: Arc<dyn RateLimit>,
    /// The memory of what was used once, where it is not the store's. None: the store's, which is the safe choice.
    pub replay: Option<Arc<dyn Replay>>,
    /// Another program's tokens, honoured while everybody moves over. None: there is no other program.
    pub old_tokens: Option<Arc<dyn OldTokens>>,
    /// Fetches the documents that clients point at. [`NoFetch`](crate::port::NoFetch) refuses them all.
    pub fetch: Arc<dyn Fetch>,
}

impl AuthorizationServer {
    /// Puts settings and ports together.
    pub fn new(settings: Settings, ports: Ports) -> Self {
        Self::with_policy(settings, ports, Arc::new(NoPolicy))
    }

    /// Puts settings and ports together, with decisions of your own.
    pub fn with_policy(settings: Settings, ports: Ports, policy: Arc<dyn Policy>) -> Self {
        Self {
            inner: Arc::new(Inner {
                registered_keys: RegisteredKeys::new(ports.fetch.clone()),
                proven: Proven::default(),
                keys: KeyRing::new(
                    RingPorts {
                        store: ports.store.clone(),
                        entropy: ports.entropy.clone(),
                        audit: ports.audit.clone(),
                        key: ports.key.clone(),
                    },
                    &settings,
                ),
                settings,
                ports,
                policy,
            }),
        }
    }

    /// The settings.
    pub fn settings(&self) -> &Settings {
        &self.inner.settings
    }

    /// The ports.
    pub fn ports(&self) -> &Ports {
        &self.inner.ports
    }

    pub(crate) fn store(&self) -> &dyn Store {
        &*self.inner.ports.store
    }

    /// The memory of what was used once.
    pub fn replay(&self) -> &dyn Replay {
        match &self.inner.ports.replay {
            Some(replay) => &**replay,
            None => &*self.inner.ports.store,
        }
    }

    pub(crate) fn policy(&self) -> &dyn Policy {
        &*self.inner.policy
    }

    /// The clients' public keys, parsed.
    pub(crate) fn registered_keys(&self) -> &RegisteredKeys {
        &self.inner.registered_keys
    }

    /// Which clients' credentials were right lately.
    pub(crate) fn proven(&self) -> &Proven {
        &self.inner.proven
    }

    /// The keys that sign tokens.
    pub fn keys(&self) -> &KeyRing {
        &self.inner.keys
    }

    pub(crate) fn entropy(&self) -> &dyn Entropy {
        &*self.inner.ports.entropy
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.inner.ports.clock.now()
    }

    pub(crate) fn audit(&self, event: &AuditEvent<'_>) {
        self.inner.ports.audit.record(event);
    }
}

impl std::fmt::Debug for AuthorizationServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AuthorizationServer")
            .field("settings", &self.inner.settings)
            .finish_non_exhaustive()
    }
}

/// What an endpoint with a form body is given. `Debug` shows no value of it.
#[derive(Clone, Copy)]
pub struct FormRequest<'a> {
    /// The parameters of the body.
    pub form: &'a mcp_authflow_types::Form<'a>,
    /// The `Authorization` header, when there is exactly one.
    pub authorization: Option<&'a str>,
    /// Where the request came from.
    pub address: Option<IpAddr>,
}

impl std::fmt::Debug for FormRequest<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FormRequest")
            .field("form", &self.form)
            .field("authorization", &self.authorization.map(|_| "…"))
            .field("address", &self.address)
            .finish()
    }
}

impl From<StoreError> for ErrorResponse {
    /// A store that cannot be asked is never guessed about: 503, or 504 when it did not answer in time. Details go to the
    /// log; outside it is always the same bland answer.
    fn from(error: StoreError) -> Self {
        tracing::error!(%error, "the store cannot be asked");
        match error {
            StoreError::TimedOut(_) => Self::timed_out(),
            StoreError::Unavailable(_) | StoreError::Broken(_) => Self::unavailable(),
        }
    }
}

/// The address as limits count it: IPv6 by its /64, since one subscriber holds at least that much.
pub fn limiter_key(address: Option<IpAddr>) -> String {
    match address {
        None => "unknown".to_owned(),
        Some(IpAddr::V4(address)) => address.to_string(),
        Some(IpAddr::V6(address)) => {
            let [a, b, c, d, ..] = address.segments();
            address.to_ipv4_mapped().map_or_else(
                || format!("{a:x}:{b:x}:{c:x}:{d:x}::/64"),
                |address| address.to_string(),
            )
        }
    }
}
