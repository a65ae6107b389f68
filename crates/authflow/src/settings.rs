//! What an operator may choose, with the defaults that the design decided.

use std::time::Duration;

use mcp_authflow_types::{Issuer, Resource, Scope, cors::AllowedOrigins, pkce::MethodPolicy};

use crate::client_auth::private_key_jwt::AssertionPolicy;

use crate::{
    client::{known::KnownClients, trust::DomainTrust},
    registration::InitialAccessTokens,
};

/// The server's settings. [`Settings::new`] gives every default.
#[derive(Clone, Debug)]
#[non_exhaustive]
#[expect(
    clippy::struct_excessive_bools,
    reason = "an operator sets each switch by itself"
)]
pub struct Settings {
    /// The server's name (RFC 8414 §2).
    pub issuer: Issuer,
    /// How long things live.
    pub lifetimes: Lifetimes,
    /// The resource that a request means when it names none (RFC 8707 §2 leaves this to the server). Default: none, so
    /// that the only registered resource is meant, if there is exactly one.
    pub default_resource: Option<Resource>,
    /// How long a device waits between two polls (RFC 8628 §3.2), whole seconds. Default 5 s; five seconds more each time a
    /// device does not wait.
    pub device_poll_interval: Duration,
    /// Whether resources on loopback need no registration. Default: only when the issuer is on loopback itself, so that a
    /// first try needs no set-up.
    pub accept_unregistered_loopback_resources: bool,
    /// Whether a client registered for `client_secret_basic` may send its secret in the body, and the reverse (real
    /// clients do both). Default: yes.
    pub let_basic_and_post_swap: bool,
    /// What is accepted as a client's assertion (`private_key_jwt`). Default: [`AssertionPolicy::for_issuer`].
    pub client_assertions: AssertionPolicy,
    /// Whether PKCE's method `plain` counts beside S256, for clients that cannot hash. Default: no.
    ///
    /// # Security
    /// The challenge of `plain` crosses the browser and is the verifier: who reads it there redeems the code.
    pub dangerous_allow_plain_pkce: bool,
    /// Which pages of other sites may read what metadata, token, registration, revocation and device authorization answer.
    /// Default: all; none of these looks at cookies.
    pub allowed_origins: AllowedOrigins,
    /// Dynamic client registration (RFC 7591).
    pub registration: RegistrationSettings,
    /// Clients that describe themselves in a document at the URL that is their identifier.
    pub client_documents: ClientDocumentSettings,
    /// Clients that are known, and how far each is met. Default: none.
    pub known_clients: KnownClients,
    /// Whether `audience` counts as `resource` where a request has no `resource`, for clients older than RFC 8707.
    /// Default: no.
    pub accept_audience_parameter: bool,
    /// How often things may be tried.
    pub limits: Limits,
    /// The keys that sign tokens.
    pub keys: KeySettings,
}

/// The keys that sign tokens.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct KeySettings {
    /// How long a new key is published before it signs. Whoever fetches the key set may keep it as long, so that nobody
    /// meets a token of a key that it does not know. Whole seconds, at least 1. Default 5 min.
    pub publish_ahead: Duration,
    /// How old the newest key of an algorithm gets before the server makes the next one by itself. Default: none, a person
    /// decides. No shorter than [`lead`](Self::lead).
    pub rotate_every: Option<Duration>,
}

impl Default for KeySettings {
    fn default() -> Self {
        Self {
            publish_ahead: Duration::from_secs(300),
            rotate_every: None,
        }
    }
}

impl KeySettings {
    /// How long whoever fetched the key set may keep it.
    pub const fn max_age(&self) -> Duration {
        self.publish_ahead
    }

    /// How old a node's picture of the keys may be: a tenth of that, 1 s at least and 30 s at most. A key that is retired is
    /// used and published no longer than this.
    pub fn refresh_every(&self) -> Duration {
        let tenth = Duration::from_secs(self.publish_ahead.as_secs() / 10);
        tenth.clamp(Duration::from_secs(1), Duration::from_secs(30))
    }

    /// How long before it signs a key is made: long enough for the slowest node to publish it, and for a set that was
    /// fetched the moment before to be kept as long as it may be.
    pub fn lead(&self) -> Duration {
        self.publish_ahead + 2 * self.refresh_every()
    }
}

/// How often things may be tried. Each is at least 1; what is refused is told when to come back.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
#[expect(clippy::struct_field_names, reason = "a number says its unit in its name")]
pub struct Limits {
    /// Requests that one address (IPv6: one /64) may make at the token endpoint in a minute, whatever comes of them, and as
    /// many again at the revocation endpoint. Default 60,000: no more than keeps one address from having the server to
    /// itself.
    pub token_requests_per_address_per_minute: u32,
    /// Questions of one resource server in a minute, once it has proven who it is. Default 600,000.
    pub introspections_per_client_per_minute: u32,
    /// Failed attempts to be one client from one address in a minute. A credential that was right there last time is not
    /// counted. Default 300.
    pub client_authentications_per_minute: u32,
    /// Failed attempts to be any client from one address in a minute. Default 1,000.
    pub client_authentications_per_address_per_minute: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            token_requests_per_address_per_minute: 60_000,
            introspections_per_client_per_minute: 600_000,
            client_authentications_per_minute: 300,
            client_authentications_per_address_per_minute: 1_000,
        }
    }
}

/// How long things live.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Lifetimes {
    /// An authorization code. Default 60 s.
    pub code: Duration,
    /// A device code and the user code beside it (RFC 8628 §3.2), whole seconds. Default 10 min.
    pub device_code: Duration,
    /// An access token. Default 10 min.
    pub access_token: Duration,
    /// A refresh token that is not used. Default 14 d.
    pub refresh_idle: Duration,
    /// A grant, with everything beneath it. Default 90 d.
    pub grant: Duration,
    /// How long after an exchange the old refresh token still gets the same answer. Default 30 s; 0 is strict. It ends
    /// earlier when the successor is exchanged.
    pub refresh_retry_window: Duration,
    /// An authorization request that waits for a person. Default 10 min.
    pub interaction: Duration,
    /// How long an approval is remembered for clients that can prove who they are. Default 90 d.
    pub consent: Duration,
    /// A self-registered client that nobody has approved. Default 24 h.
    pub unused_client: Duration,
}

impl Default for Lifetimes {
    fn default() -> Self {
        const MINUTE: u64 = 60;
        const DAY: u64 = 24 * 60 * MINUTE;
        Self {
            code: Duration::from_secs(60),
            device_code: Duration::from_secs(10 * MINUTE),
            access_token: Duration::from_secs(10 * MINUTE),
            refresh_idle: Duration::from_secs(14 * DAY),
            grant: Duration::from_secs(90 * DAY),
            refresh_retry_window: Duration::from_secs(30),
            interaction: Duration::from_secs(10 * MINUTE),
            consent: Duration::from_secs(90 * DAY),
            unused_client: Duration::from_secs(DAY),
        }
    }
}

/// Dynamic client registration. What else is yours to decide, a [`Policy`](crate::port::Policy) does.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RegistrationSettings {
    /// Whether clients may register themselves. Default: yes; MCP deprecates it, most clients still need it.
    pub enabled: bool,
    /// How many registrations one address (IPv6: one /64) may make in an hour. Default 20.
    pub per_address_per_hour: u32,
    /// Whether a client gets a token with which it reads, changes and removes its own registration (RFC 7592). Default: yes.
    /// Without registration nobody gets one, and those that were given open nothing.
    pub management: bool,
    /// How often one address (IPv6: one /64) may do so in an hour, tries with a wrong token included. Default 120.
    pub management_per_address_per_hour: u32,
    /// Who may register: the holders of one of these. Default: none is asked for, so that everybody may.
    pub initial_access_tokens: InitialAccessTokens,
    /// Where redirect URIs of self-registered clients may lead: hosts (`app.example`, `127.0.0.1`, `[::1]`, `localhost`) and
    /// private-use schemes (`com.example.app:`), compared without case. Others are dropped. Default: empty, everywhere that
    /// the rules of [`RedirectUri`](mcp_authflow_types::RedirectUri) allow.
    pub allowed_redirect_hosts: Vec<String>,
    /// The scope that a registration answers to a client that names none; most clients then ask for it. Default: all that is
    /// on offer.
    pub default_scope: Option<Scope>,
}

impl Default for RegistrationSettings {
    fn default() -> Self {
        Self {
            enabled: true,
            per_address_per_hour: 20,
            management: true,
            management_per_address_per_hour: 120,
            initial_access_tokens: InitialAccessTokens::default(),
            allowed_redirect_hosts: Vec::new(),
            default_scope: None,
        }
    }
}

/// Client metadata documents (draft-ietf-oauth-client-id-metadata-document). What else is yours to decide, a
/// [`Policy`](crate::port::Policy) does.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ClientDocumentSettings {
    /// Whether a client may name a document. Default: yes. When not, none is fetched, and clients that came this way are
    /// unknown.
    pub enabled: bool,
    /// Whose documents count. Default: [`DomainTrust::Open`].
    pub trust: DomainTrust,
    /// The shortest time that a copy counts without asking its host again, whatever the host says. Whole seconds. Default
    /// 30 s.
    pub min_age: Duration,
    /// The longest, likewise. Whole seconds. Default 24 h.
    pub max_age: Duration,
    /// How long after it was fetched a copy still stands in, for clients that were let in before, while the document's host
    /// cannot be asked. Whole seconds. Default 7 d; 0 is never.
    pub last_good: Duration,
    /// How many documents one address (IPv6: one /64) may have fetched in an hour. Copies that count cost nothing.
    /// Default 60.
    pub per_address_per_hour: u32,
    /// How often one host may be asked in an hour, whoever caused it. Default 600.
    pub per_host_per_hour: u32,
}

impl Default for ClientDocumentSettings {
    fn default() -> Self {
        const DAY: u64 = 24 * 60 * 60;
        Self {
            enabled: true,
            trust: DomainTrust::Open,
            min_age: Duration::from_secs(30),
            max_age: Duration::from_secs(DAY),
            last_good: Duration::from_secs(7 * DAY),
            per_address_per_hour: 60,
            per_host_per_hour: 600,
        }
    }
}

impl Settings {
    /// The defaults for an issuer.
    pub fn new(issuer: Issuer) -> Self {
        Self {
            accept_unregistered_loopback_resources: issuer.is_loopback(),
            client_assertions: AssertionPolicy::for_issuer(&issuer),
            issuer,
            lifetimes: Lifetimes::default(),
            default_resource: None,
            device_poll_interval: crate::grant::device_code::poll::DEFAULT_INTERVAL,
            let_basic_and_post_swap: true,
            dangerous_allow_plain_pkce: false,
            allowed_origins: AllowedOrigins::any(),
            limits: Limits::default(),
            registration: RegistrationSettings::default(),
            client_documents: ClientDocumentSettings::default(),
            known_clients: KnownClients::default(),
            accept_audience_parameter: false,
            keys: KeySettings::default(),
        }
    }

    /// The PKCE methods that count.
    pub const fn code_challenge_methods(&self) -> MethodPolicy {
        if self.dangerous_allow_plain_pkce {
            MethodPolicy::DangerousAllowPlain
        } else {
            MethodPolicy::S256Only
        }
    }
}
