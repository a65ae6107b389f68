//! What is protected, and how: settings with safe defaults, all judged at once by [`Builder::build`].

use std::{fmt, sync::Arc, time::Duration};

use mcp_authflow_types::{
    ClientId, Issuer, Resource, Scope, Timestamp,
    issuer::InvalidIssuer,
    resource::InvalidResource,
    scope::{InvalidScope, OFFLINE_ACCESS},
};

use crate::{
    admission::Expected,
    audience::AudienceRule,
    clock::{Clock, Monotonic},
    cors::Origins,
    layer::{Policy, Protect},
    metadata::{InvalidDocumentation, ResourceMetadata},
    outbound::{InvalidEndpoint, Outbound, OutboundSettings},
    scope_hierarchy::{InvalidHierarchy, ScopeHierarchy},
    verify::{
        Cached, Caching, ClientAuthentication, Introspection, TokenVerifier,
        cache::InvalidCaching,
        introspection::{Credential, InvalidIntrospection},
        issuers::ByIssuer,
    },
    well_known::{AuthorizationServerAliases, WellKnown},
};

/// An MCP server that answers only to callers with an access token.
#[derive(Clone, Copy, Debug)]
pub struct ProtectedResource;

impl ProtectedResource {
    /// Begins the protection of `resource`, for which `issuer` issues tokens.
    ///
    /// `resource` is the URL that people give to their MCP clients, such as `https://mcp.example/mcp`, and the spelling
    /// registered at the authorization server: tokens carry it as audience and are compared byte for byte. Plain http is
    /// for loopback only. `issuer` is the authorization server's name, byte for byte.
    pub fn builder(resource: impl Into<String>, issuer: impl Into<String>) -> Builder {
        Builder {
            resource: resource.into(),
            issuer: issuer.into(),
            audiences: Vec::new(),
            audience_rule: AudienceRule::default(),
            verification: Verification::Unset,
            other_issuers: Vec::new(),
            introspection_endpoint: None,
            outbound: OutboundSettings::default(),
            caching: None,
            required: Vec::new(),
            asked_first: Vec::new(),
            supported: Vec::new(),
            implied: Vec::new(),
            name: None,
            documentation: None,
            aliases: AuthorizationServerAliases::Off,
            origins: Vec::new(),
            clock: Clock::system(),
            monotonic: Monotonic::system(),
        }
    }
}

/// The settings of a protection; [`ProtectedResource::builder`] begins one.
#[must_use = "nothing is protected before `build` and `layer`"]
pub struct Builder {
    resource: String,
    issuer: String,
    audiences: Vec<String>,
    audience_rule: AudienceRule,
    verification: Verification,
    other_issuers: Vec<(String, Arc<dyn TokenVerifier>)>,
    introspection_endpoint: Option<String>,
    outbound: OutboundSettings,
    caching: Option<Caching>,
    required: Vec<String>,
    asked_first: Vec<String>,
    supported: Vec<String>,
    implied: Vec<(String, String)>,
    name: Option<String>,
    documentation: Option<String>,
    aliases: AuthorizationServerAliases,
    origins: Vec<String>,
    clock: Clock,
    monotonic: Monotonic,
}

enum Verification {
    Unset,
    /// With what `authflow resource add` printed: never empty.
    IntrospectionWith {
        client_id: String,
        client_secret: Credential,
    },
    IntrospectionAs(ClientAuthentication),
    Custom(Arc<dyn TokenVerifier>),
}

/// Why a protection cannot be set up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidProtection {
    /// The resource is none.
    #[error(transparent)]
    Resource(#[from] InvalidResource),
    /// The resource is plain http beyond loopback (RFC 9728 §1.2).
    #[error(
        "a resource is https; plain http is only for 127.0.0.1, [::1] and localhost. Behind a TLS proxy, say the public URL"
    )]
    ResourceNotHttps,
    /// The issuer is none.
    #[error(transparent)]
    Issuer(#[from] InvalidIssuer),
    /// An issuer is trusted twice.
    #[error("the issuer {0} is trusted twice: one verifier speaks for it")]
    RepeatedIssuer(String),
    /// The documentation is no page.
    #[error(transparent)]
    Documentation(#[from] InvalidDocumentation),
    /// The authorization server's metadata, which is to be answered here, cannot be fetched.
    #[error("the authorization server's metadata cannot be fetched: {0}")]
    AuthorizationServerMetadata(#[source] InvalidEndpoint),
    /// A scope is none.
    #[error(transparent)]
    Scope(#[from] InvalidScope),
    /// The scopes imply each other in a circle.
    #[error(transparent)]
    Hierarchy(#[from] InvalidHierarchy),
    /// `offline_access` is among the scopes.
    #[error(
        "leave offline_access out of a resource's scopes: it asks the authorization server for a refresh token, and clients that want one add it themselves"
    )]
    OfflineAccess,
    /// Nothing says how tokens are verified.
    #[error(
        "say how tokens are verified: introspect_with(client_id, client_secret), with the credentials that `authflow resource add` printed, or introspect_as, or verify_with"
    )]
    NoVerification,
    /// The introspection is not set up right.
    #[error(transparent)]
    Introspection(#[from] InvalidIntrospection),
    /// The cache is not set up right.
    #[error(transparent)]
    Caching(#[from] InvalidCaching),
    /// An allowed origin is none.
    #[error(
        "{0:?} is no origin: write scheme, host and port as in https://app.example, without a path and without '*'"
    )]
    Origin(String),
}

impl Builder {
    /// Verifies tokens by asking the authorization server (RFC 7662), as the client that `authflow resource add` made
    /// for this resource.
    pub fn introspect_with(mut self, client_id: impl Into<String>, client_secret: impl Into<String>) -> Self {
        self.verification = Verification::IntrospectionWith {
            client_id: client_id.into(),
            client_secret: client_secret.into().into(),
        };
        self
    }

    /// Verifies tokens by asking the authorization server (RFC 7662), and proves who asks in one of the ways that exist.
    ///
    /// `private_key_jwt` is signed for the issuer of this protection unless it names another audience.
    pub fn introspect_as(mut self, authentication: ClientAuthentication) -> Self {
        self.verification = Verification::IntrospectionAs(authentication);
        self
    }

    /// Where to ask. Default: `/introspect` under the issuer.
    pub fn introspection_endpoint(mut self, url: impl Into<String>) -> Self {
        self.introspection_endpoint = Some(url.into());
        self
    }

    /// How long one question may take, connecting and reading included, before the caller gets a 504. Default: 2 s.
    pub fn introspection_time_limit(mut self, limit: Duration) -> Self {
        self.outbound.time_limit = limit;
        self
    }

    /// How far the questions to the introspection endpoint may go: limits, a proxy, plain http inside a cluster. Default:
    /// [`OutboundSettings::default`]. Its time limit takes the place of an earlier
    /// [`introspection_time_limit`](Self::introspection_time_limit).
    pub fn outbound(mut self, settings: OutboundSettings) -> Self {
        self.outbound = settings;
        self
    }

    /// Remembers what was said of a token, for [`Caching`]'s time. Default: nothing is remembered, every request asks.
    ///
    /// # Security
    /// For so long a revoked token is still let in.
    pub fn cache(mut self, caching: Caching) -> Self {
        self.caching = Some(caching);
        self
    }

    /// Verifies tokens in a way of your own.
    pub fn verify_with(mut self, verifier: impl TokenVerifier + 'static) -> Self {
        self.verification = Verification::Custom(Arc::new(verifier));
        self
    }

    /// Accepts the tokens of one more issuer as well: JWTs that name it as `iss`, verified so. May be called again.
    ///
    /// A token goes to the verifier of the issuer that it names; one that names none, as an opaque one does, to that of
    /// the issuer that the protection began with. Each issuer speaks for itself alone. The metadata document names them
    /// all, in this order.
    ///
    /// # Security
    /// Persons of two issuers may have the same `sub`: key what you keep by [`Caller::issuer`](crate::Caller::issuer) and
    /// [`Caller::subject`](crate::Caller::subject) together.
    pub fn also_trust(mut self, issuer: impl Into<String>, verifier: impl TokenVerifier + 'static) -> Self {
        self.other_issuers.push((issuer.into(), Arc::new(verifier)));
        self
    }

    /// What every request needs, one or several scopes with a space between; adds up. Default: any good token will do.
    ///
    /// Goes into the challenges, and among the scopes of the metadata document.
    pub fn require_scope(mut self, scope: impl Into<String>) -> Self {
        self.required.push(scope.into());
        self
    }

    /// What a caller without a good token is asked to get at once, on top of what every request needs; adds up. Default:
    /// nothing more.
    ///
    /// For resources where the least that every request needs lets nobody do anything useful: a client then signs its
    /// person in once, and not a second time at the first call. No request needs it.
    pub fn ask_first_for(mut self, scope: impl Into<String>) -> Self {
        self.asked_first.push(scope.into());
        self
    }

    /// The scopes with which this resource knows what to do, for the metadata document; adds up. Default: the required
    /// ones.
    pub fn scopes<T: Into<String>>(mut self, scopes: impl IntoIterator<Item = T>) -> Self {
        self.supported.extend(scopes.into_iter().map(Into::into));
        self
    }

    /// Says that a token with the scope `broad` may do whatever asks for `narrow`, one or several scopes with a space
    /// between; adds up, and holds along the way: when `admin` implies `write` and `write` implies `read`, `admin` implies
    /// `read`. Default: a scope implies nothing but itself.
    pub fn scope_implies(mut self, broad: impl Into<String>, narrow: impl Into<String>) -> Self {
        self.implied.push((broad.into(), narrow.into()));
        self
    }

    /// What people call the resource (`resource_name`). Default: nothing is said.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// A page for developers (`resource_documentation`), an https or http address. Default: none.
    pub fn documentation(mut self, url: impl Into<String>) -> Self {
        self.documentation = Some(url.into());
        self
    }

    /// Answers for the authorization server's metadata at this host, too, for clients of MCP 2025-03-26. Default:
    /// [`AuthorizationServerAliases::Off`].
    pub fn authorization_server_aliases(mut self, aliases: AuthorizationServerAliases) -> Self {
        self.aliases = aliases;
        self
    }

    /// Accepts tokens for another spelling of this resource as well, compared byte for byte: after a move, or where the
    /// authorization server registered a bare host with a slash.
    ///
    /// # Security
    /// List spellings of *this* server only. A token for another server that is accepted here can be replayed here by
    /// that server.
    pub fn also_known_as(mut self, resource: impl Into<String>) -> Self {
        self.audiences.push(resource.into());
        self
    }

    /// Which audiences of a token are this resource. Default: its own spellings, byte for byte (RFC 8707).
    ///
    /// # Security
    /// See [`AudienceRule`] for what the other rule opens.
    pub fn audience_rule(mut self, rule: AudienceRule) -> Self {
        self.audience_rule = rule;
        self
    }

    /// Lets browser pages of this origin, such as `https://app.example`, call and read the answers. Requests of pages of
    /// other origins are answered with 403 (MCP transports: validate `Origin`); requests without `Origin` come from
    /// programs, and pass. Default: the resource's own origin and, when the resource is on loopback, every origin on
    /// loopback.
    pub fn allow_origin(mut self, origin: impl Into<String>) -> Self {
        self.origins.push(origin.into());
        self
    }

    /// Tells the time. Default: the system's clock. For tests.
    pub fn clock(mut self, now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        self.clock = Clock::new(now);
        self
    }

    /// Tells how much time has passed since some fixed moment; the [`cache`](Self::cache) goes by it. Default: the
    /// system's. For tests.
    pub fn monotonic_clock(mut self, now: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        self.monotonic = Monotonic::new(now);
        self
    }

    /// Judges the settings.
    ///
    /// # Errors
    /// [`InvalidProtection`] says what is wrong and what to write instead.
    pub fn build(self) -> Result<Protect, InvalidProtection> {
        let resource = parse_resource(&self.resource)?;
        let issuer = Issuer::parse(&self.issuer)?;
        let mut audiences = vec![resource.as_str().to_owned()];
        for other in self.audiences {
            audiences.push(parse_resource(&other)?.as_str().to_owned());
        }
        let required = parse_scopes(&self.required)?;
        let asked_first = parse_scopes(&self.asked_first)?;
        let supported = parse_scopes(&self.supported)?
            .union(&required)
            .union(&asked_first);
        let hierarchy = ScopeHierarchy::new(self.implied)?;
        let mut origins = Origins::of(&resource);
        if let Some(bad) = self.origins.iter().find(|origin| !origins.allow(origin)) {
            return Err(InvalidProtection::Origin(bad.clone()));
        }
        let asks = |authentication: ClientAuthentication| {
            let endpoint = self
                .introspection_endpoint
                .unwrap_or_else(|| issuer.endpoint("/introspect"));
            let authentication = authentication.for_issuer(issuer.as_str());
            Introspection::through(Outbound::new(self.outbound.clone()), &endpoint, authentication)
                .map(|introspection| Arc::new(introspection.at(self.clock.clone())))
        };
        let mut verifier: Arc<dyn TokenVerifier> = match self.verification {
            Verification::Unset => return Err(InvalidProtection::NoVerification),
            Verification::Custom(verifier) => verifier,
            Verification::IntrospectionAs(authentication) => asks(authentication)?,
            Verification::IntrospectionWith {
                client_id,
                client_secret,
            } => {
                ClientId::parse(&client_id).map_err(|_| InvalidIntrospection::ClientId)?;
                if !client_secret.is_a_client_secret() {
                    return Err(InvalidIntrospection::ClientSecret.into());
                }
                asks(ClientAuthentication::ClientSecretBasic {
                    client_id,
                    client_secret,
                })?
            }
        };
        if let Some(caching) = self.caching {
            let cached = Cached::new(verifier, caching)?;
            verifier = Arc::new(cached.at(self.clock.clone(), self.monotonic));
        }
        let mut metadata = ResourceMetadata::new(resource, issuer.clone(), &supported, self.name);
        let mut others = Vec::new();
        for (other, verifier) in self.other_issuers {
            let other = Issuer::parse(&other)?;
            if other == issuer || others.iter().any(|(known, _)| *known == other) {
                return Err(InvalidProtection::RepeatedIssuer(other.as_str().to_owned()));
            }
            metadata = metadata.with_authorization_server(other.clone());
            others.push((other, verifier));
        }
        if let Some(page) = self.documentation {
            metadata = metadata.with_documentation(page)?;
        }
        let well_known = WellKnown::of(&metadata, self.aliases, &self.outbound)
            .map_err(InvalidProtection::AuthorizationServerMetadata)?;
        let expected = Expected {
            audiences,
            audience_rule: self.audience_rule,
            issuers: std::iter::once(&issuer)
                .chain(others.iter().map(|(other, _)| other))
                .cloned()
                .collect(),
            scope: required,
        };
        let verifier: Arc<dyn TokenVerifier> = if others.is_empty() {
            verifier
        } else {
            Arc::new(ByIssuer::new((issuer, verifier), others))
        };
        let policy = Policy::new(expected, metadata, well_known, origins, verifier, self.clock);
        Ok(Protect::new(
            policy.with_hierarchy(hierarchy).asking_first_for(&asked_first),
        ))
    }
}

fn parse_resource(text: &str) -> Result<Resource, InvalidProtection> {
    let resource = Resource::parse(text)?;
    let is_https = text
        .get(..6)
        .is_some_and(|scheme| scheme.eq_ignore_ascii_case("https:"));
    if is_https || resource.is_loopback() {
        Ok(resource)
    } else {
        Err(InvalidProtection::ResourceNotHttps)
    }
}

fn parse_scopes(texts: &[String]) -> Result<Scope, InvalidProtection> {
    let mut all = Scope::empty();
    for text in texts {
        all = all.union(&Scope::parse(text)?);
    }
    if all.contains(OFFLINE_ACCESS) {
        return Err(InvalidProtection::OfflineAccess);
    }
    Ok(all)
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("resource", &self.resource)
            .field("issuer", &self.issuer)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;
    use crate::{outbound::InvalidEndpoint, verify::introspection::InvalidClientAuthentication};

    fn builder() -> Builder {
        ProtectedResource::builder("https://rs.test/mcp", "https://auth.test").introspect_with("rs", "secret")
    }

    #[test]
    fn required_scopes_are_among_those_published() {
        let protect = builder().require_scope("a").scopes(["b", "c d"]).build().unwrap();
        let body = protect.metadata().body();
        assert!(body.contains(r#""scopes_supported":["a","b","c","d"]"#), "{body}");
    }

    /// M-018
    #[test]
    fn offline_access_is_refused_with_an_explanation() {
        for refused in [
            builder().scopes(["a", "offline_access"]).build(),
            builder().require_scope("a offline_access").build(),
            builder().build().unwrap().also_requiring("offline_access"),
        ] {
            assert_eq!(refused.unwrap_err(), InvalidProtection::OfflineAccess);
        }
    }

    /// M-005
    #[test]
    fn settings_that_cannot_be_meant_are_refused() {
        use InvalidProtection as No;
        let build = |resource: &str, issuer: &str| {
            ProtectedResource::builder(resource, issuer)
                .introspect_with("rs", "secret")
                .build()
                .unwrap_err()
        };
        assert_eq!(
            build("http://rs.test/mcp", "https://auth.test"),
            No::ResourceNotHttps
        );
        assert_eq!(
            build("rs.test", "https://auth.test"),
            No::Resource(InvalidResource)
        );
        assert_eq!(
            build("https://rs.test", "https://auth.test/"),
            No::Issuer(InvalidIssuer::TrailingSlash)
        );
        let refused = |builder: Builder| builder.build().unwrap_err();
        assert_eq!(refused(builder().require_scope("a  b")), No::Scope(InvalidScope));
        assert_eq!(refused(builder().allow_origin("*")), No::Origin("*".to_owned()));
        assert_eq!(
            refused(builder().also_known_as("http://rs.test/mcp")),
            No::ResourceNotHttps
        );
        assert_eq!(
            refused(ProtectedResource::builder("https://rs.test", "https://auth.test")),
            No::NoVerification
        );
        assert_eq!(
            refused(builder().introspection_endpoint("http://auth.test/introspect")),
            No::Introspection(InvalidEndpoint::Address("http://auth.test/introspect".to_owned()).into())
        );
        assert_eq!(
            refused(builder().introspect_with("rs", "")),
            No::Introspection(InvalidIntrospection::ClientSecret)
        );
        assert_eq!(
            refused(builder().introspect_with("", "secret")),
            No::Introspection(InvalidIntrospection::ClientId)
        );
        assert_eq!(
            refused(builder().introspect_as(ClientAuthentication::bearer(""))),
            No::Introspection(InvalidClientAuthentication::BearerToken.into())
        );
        assert_eq!(
            refused(builder().cache(Caching::for_at_most(Duration::ZERO))),
            No::Caching(InvalidCaching::NoTime)
        );
        assert_eq!(
            refused(builder().cache(Caching::default().tokens(0))),
            No::Caching(InvalidCaching::NoRoom)
        );
    }

    #[test]
    fn no_secret_is_shown_by_debug() {
        let builder = builder().introspect_with("rs", "hush-hush");
        let shown = format!("{builder:?}");
        let shown = format!("{shown} {:?}", builder.build());
        assert!(!shown.contains("hush"), "{shown}");
    }
}
