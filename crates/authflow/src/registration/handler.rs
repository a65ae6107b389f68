//! The checks in their order, and the answer.

use std::{fmt, sync::Arc, time::Duration};

use mcp_authflow_types::{ErrorCode, GrantType, Scope, TokenEndpointAuthMethod};

use super::{
    AfterRegistration, ClientNameFactory, ClientRegistrationRequest, ClientRegistry, RegistrationGate,
    RegistrationLimiter, RegistrationRules, RegistryError, RequestHead,
    hooks::ClientAddressResolver,
    judge::{Judge, Refusal},
    validate_redirect_uri,
};
use crate::{ForwardingHeader, TrustedProxies, limiter_key, port::rate_limit::Admission};

/// Registers clients (RFC 7591 §3), as its hooks decide. [`RegistrationRules`] says how the parts of a request are read.
///
/// Its order: gate, limiter (the other way round under [`RegistrationRules::Standard`]), body, redirect URIs, grants, scope,
/// registry, hooks, answer.
pub struct RegistrationHandler {
    registry: Arc<dyn ClientRegistry>,
    judge: Judge,
    gate: Option<Arc<dyn RegistrationGate>>,
    limiter: Option<Arc<dyn RegistrationLimiter>>,
    client_address: ClientAddressResolver,
    client_name: Option<ClientNameFactory>,
    after: Vec<Arc<dyn AfterRegistration>>,
}

/// Puts a [`RegistrationHandler`] together. Everything but the registry and the default scope may be left out.
#[must_use]
pub struct RegistrationHandlerBuilder {
    handler: RegistrationHandler,
    has_scope_on_offer: bool,
}

/// A request that gate and limiter have let through: only [`RegistrationHandler::admit`] makes one.
#[must_use]
#[derive(Debug)]
pub struct Admitted(());

/// An answer, for whatever carries it.
#[derive(Clone, PartialEq, Eq)]
pub struct RegistrationReply {
    /// The HTTP status.
    pub status: u16,
    /// The headers, names in lower case.
    pub headers: Vec<(&'static str, String)>,
    /// The JSON body. That of a 201 may hold a secret.
    pub body: String,
}

impl fmt::Debug for RegistrationReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistrationReply")
            .field("status", &self.status)
            .field("headers", &self.headers)
            .finish_non_exhaustive()
    }
}

impl RegistrationReply {
    fn json(status: u16, body: String) -> Self {
        Self {
            status,
            headers: vec![("content-type", "application/json".to_owned())],
            body,
        }
    }

    /// An error, which nobody may keep.
    fn error(status: u16, code: &str, description: &str) -> Self {
        let body = serde_json::json!({ "error": code, "error_description": description });
        Self::json(status, body.to_string()).with("cache-control", "no-store")
    }

    fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

impl From<&Refusal> for RegistrationReply {
    fn from(refusal: &Refusal) -> Self {
        let (status, code) = match refusal {
            Refusal::NotSaidToBeJson => (415, ErrorCode::InvalidRequest),
            Refusal::TooLarge => (413, ErrorCode::InvalidRequest),
            Refusal::NotJson | Refusal::NotAnObject => (400, ErrorCode::InvalidRequest),
            Refusal::TooManyRedirectUris | Refusal::NoRedirectUri | Refusal::BadRedirectUri(_) => {
                (400, ErrorCode::InvalidRedirectUri)
            }
            Refusal::WrongType(_)
            | Refusal::BadText(_)
            | Refusal::BadAddress(_)
            | Refusal::BadGrants
            | Refusal::BadMethod
            | Refusal::BadResponseTypes
            | Refusal::BadScope
            | Refusal::BadKeys(_) => (400, ErrorCode::InvalidClientMetadata),
        };
        Self::error(status, code.as_str(), &refusal.to_string())
    }
}

impl RegistrationHandler {
    /// Begins a handler for this registry. `default_scope` is what a client gets that names none, and, unless
    /// [`scope_on_offer`](RegistrationHandlerBuilder::scope_on_offer) says otherwise, all that one can get under
    /// [`RegistrationRules::Standard`].
    pub fn builder(
        registry: Arc<dyn ClientRegistry>,
        default_scope: impl Into<String>,
    ) -> RegistrationHandlerBuilder {
        RegistrationHandlerBuilder {
            handler: Self {
                registry,
                judge: Judge {
                    rules: RegistrationRules::Standard,
                    default_scope: default_scope.into(),
                    scope_on_offer: None,
                    grants_on_offer: vec![
                        GrantType::AuthorizationCode,
                        GrantType::RefreshToken,
                        GrantType::DeviceCode,
                    ],
                    methods_on_offer: TokenEndpointAuthMethod::ALL.to_vec(),
                    default_redirect_uris: Vec::new(),
                    redirect_uri_rewriters: Vec::new(),
                    redirect_uri_validator: Some(Arc::new(validate_redirect_uri)),
                },
                gate: None,
                limiter: None,
                client_address: Arc::new(|head| head.peer.map(|peer| limiter_key(Some(peer)))),
                client_name: None,
                after: Vec::new(),
            },
            has_scope_on_offer: false,
        }
    }

    /// Answers a request whose body is at hand.
    pub async fn handle(&self, head: &RequestHead<'_>, body: &[u8]) -> RegistrationReply {
        match self.admit(head).await {
            Ok(admitted) => self.register(admitted, head, body).await,
            Err(reply) => reply,
        }
    }

    /// Lets a request through, before its body is read: what the gate refuses is not worth reading.
    ///
    /// # Errors
    /// The answer: 401 `invalid_client`, or 429 `too_many_requests`.
    pub async fn admit(&self, head: &RequestHead<'_>) -> Result<Admitted, RegistrationReply> {
        let counts_first = self.judge.rules == RegistrationRules::Standard;
        if counts_first {
            self.count(head).await?;
        }
        if let Some(gate) = &self.gate
            && !gate.admits(head).await
        {
            tracing::warn!("a registration is not authorized");
            let reply = RegistrationReply::error(
                401,
                ErrorCode::InvalidClient.as_str(),
                "Registration not authorized",
            );
            return Err(match self.judge.rules {
                RegistrationRules::Standard => reply.with("www-authenticate", "Bearer"),
                RegistrationRules::AsPythonPackage => reply,
            });
        }
        if !counts_first {
            self.count(head).await?;
        }
        Ok(Admitted(()))
    }

    async fn count(&self, head: &RequestHead<'_>) -> Result<(), RegistrationReply> {
        let Some(limiter) = &self.limiter else {
            return Ok(());
        };
        let key = (self.client_address)(head);
        match limiter.admit(key.as_deref().unwrap_or("unknown")).await {
            Admission::Admitted => Ok(()),
            Admission::Refused { retry_after } => {
                let reply = RegistrationReply::error(
                    429,
                    ErrorCode::TooManyRequests.as_str(),
                    "Too many registration requests",
                );
                Err(reply.with("retry-after", whole_seconds(retry_after).to_string()))
            }
        }
    }

    /// Registers the client of a request that was let through.
    pub async fn register(&self, _: Admitted, head: &RequestHead<'_>, body: &[u8]) -> RegistrationReply {
        let judged = self.judge.judge(head.only("content-type"), body);
        let mut request = match judged {
            Ok(request) => request,
            Err(refusal) => {
                tracing::warn!(%refusal, "a registration is refused");
                return (&refusal).into();
            }
        };
        if let Some(client_name) = &self.client_name {
            request.client_name = client_name(&request);
        }
        self.create(&request).await
    }

    async fn create(&self, request: &ClientRegistrationRequest) -> RegistrationReply {
        tracing::info!(
            client_name = ?request.client_name.as_deref().map(beginning),
            grant_types = request.grant_types.len(),
            redirect_uris = request.redirect_uris.len(),
            "a client registers"
        );
        let issued = match self.registry.create_client(request).await {
            Ok(issued) => issued,
            Err(error) => return not_registered(&error),
        };
        let client_id = issued.client.client_id.as_str();
        for hook in &self.after {
            if let Err(error) = hook.registered(&issued.client).await {
                tracing::error!(client_id, ?error, "a hook failed after a registration");
            }
        }
        tracing::info!(client_id, "a client is registered");
        let is_standard = self.judge.rules == RegistrationRules::Standard;
        let reply = RegistrationReply::json(201, issued.body(is_standard));
        if is_standard {
            reply.with("cache-control", "no-store").with("pragma", "no-cache")
        } else {
            reply
        }
    }
}

/// What a registry that could not answer is to the client.
fn not_registered(error: &RegistryError) -> RegistrationReply {
    match error {
        RegistryError::Failed(error) => {
            tracing::error!(?error, "a client could not be registered");
            let code = ErrorCode::ServerError;
            RegistrationReply::error(code.status(), code.as_str(), "Failed to register client")
        }
        RegistryError::Full { retry_after } => {
            tracing::warn!(?retry_after, "a client is not registered: the registry is full");
            let code = ErrorCode::TemporarilyUnavailable;
            RegistrationReply::error(code.status(), code.as_str(), code.description())
                .with("retry-after", whole_seconds(*retry_after).to_string())
        }
    }
}

/// The first 64 characters of what a stranger wrote, enough to know it by. Logged by `Debug`, which quotes it and escapes
/// what would end the line.
fn beginning(text: &str) -> &str {
    text.char_indices().nth(64).map_or(text, |(end, _)| &text[..end])
}

/// `Retry-After` in whole seconds, never too early and never zero.
fn whole_seconds(wait: Duration) -> u64 {
    (wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(1)
}

impl fmt::Debug for RegistrationHandler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistrationHandler")
            .field("rules", &self.judge.rules)
            .field("has_gate", &self.gate.is_some())
            .field("has_limiter", &self.limiter.is_some())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for RegistrationHandlerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.handler.fmt(f)
    }
}

impl RegistrationHandlerBuilder {
    /// The rules. Default: [`RegistrationRules::Standard`].
    pub fn rules(mut self, rules: RegistrationRules) -> Self {
        self.handler.judge.rules = rules;
        self
    }

    /// Who may register, such as the holders of [`InitialAccessTokens`](super::InitialAccessTokens). Default: everybody.
    pub fn gate(mut self, gate: impl RegistrationGate + 'static) -> Self {
        self.handler.gate = Some(Arc::new(gate));
        self
    }

    /// How often one address may register; broken requests count. Default: without limit.
    pub fn limiter(mut self, limiter: impl RegistrationLimiter + 'static) -> Self {
        self.handler.limiter = Some(Arc::new(limiter));
        self
    }

    /// Which address a request counts against. Default: the other end of the connection (IPv6: its /64); callers without
    /// an address share one count.
    ///
    /// # Security
    /// A header counts for nothing unless a proxy of yours wrote it: use [`behind`](Self::behind).
    pub fn client_address(
        mut self,
        resolve: impl Fn(&RequestHead<'_>) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        self.handler.client_address = Arc::new(resolve);
        self
    }

    /// Counts a request against the address for which one of these proxies speaks in this header.
    pub fn behind(self, proxies: TrustedProxies, header: ForwardingHeader) -> Self {
        self.client_address(move |head| {
            let client = proxies.client(head.peer?, header, head.values(header.name()));
            Some(limiter_key(Some(client)))
        })
    }

    /// The redirect URIs of a client that names none. They are not rewritten, but checked like any other.
    pub fn default_redirect_uris<U: Into<String>>(mut self, uris: impl IntoIterator<Item = U>) -> Self {
        self.handler.judge.default_redirect_uris = uris.into_iter().map(Into::into).collect();
        self
    }

    /// Makes other redirect URIs of those asked for, behind the rewriters named before.
    pub fn rewrite_redirect_uris(
        mut self,
        rewrite: impl Fn(Vec<String>) -> Vec<String> + Send + Sync + 'static,
    ) -> Self {
        self.handler.judge.redirect_uri_rewriters.push(Arc::new(rewrite));
        self
    }

    /// Which redirect URIs may be registered. Default: [`validate_redirect_uri`].
    pub fn validate_redirect_uris(
        mut self,
        may_register: impl Fn(&str) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.handler.judge.redirect_uri_validator = Some(Arc::new(may_register));
        self
    }

    /// Registers any text as a redirect URI.
    ///
    /// # Security
    /// Whoever registers `javascript:` gets code run, whoever registers plain http gets codes read by others. Only for a
    /// registry that checks by itself.
    pub fn dangerous_accept_any_redirect_uri(mut self) -> Self {
        self.handler.judge.redirect_uri_validator = None;
        self
    }

    /// What a client is called, whatever it calls itself. Default: what it calls itself, which is a claim.
    pub fn client_name(
        mut self,
        name: impl Fn(&ClientRegistrationRequest) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        self.handler.client_name = Some(Arc::new(name));
        self
    }

    /// The scope that clients may register; what they ask for beyond it is dropped. Default: the default scope, or no bound
    /// under [`RegistrationRules::AsPythonPackage`].
    pub fn scope_on_offer(mut self, scope: Scope) -> Self {
        self.handler.judge.scope_on_offer = Some(scope);
        self.has_scope_on_offer = true;
        self
    }

    /// The grants that clients may register under [`RegistrationRules::Standard`]. Default: authorization code, refresh
    /// token and device code.
    ///
    /// # Security
    /// With `client_credentials` among them, whoever may register gets tokens without asking anybody: have a
    /// [`gate`](Self::gate).
    pub fn grants_on_offer(mut self, grants: impl IntoIterator<Item = GrantType>) -> Self {
        self.handler.judge.grants_on_offer = grants.into_iter().collect();
        self
    }

    /// How clients may say that they authenticate, under [`RegistrationRules::Standard`]: what your token endpoint checks. The
    /// first is for a client that names none where `client_secret_basic` is not offered. Default: all.
    pub fn methods_on_offer(mut self, methods: impl IntoIterator<Item = TokenEndpointAuthMethod>) -> Self {
        self.handler.judge.methods_on_offer = methods.into_iter().collect();
        self
    }

    /// Is told of each new client, behind those named before.
    pub fn after_registration(mut self, hook: impl AfterRegistration + 'static) -> Self {
        self.handler.after.push(Arc::new(hook));
        self
    }

    /// The handler.
    pub fn build(self) -> RegistrationHandler {
        let mut handler = self.handler;
        if !self.has_scope_on_offer && handler.judge.rules == RegistrationRules::Standard {
            // A default scope that is no scope offers nothing.
            let default = Scope::parse_asked(&handler.judge.default_scope).unwrap_or_default();
            handler.judge.scope_on_offer = Some(default);
        }
        handler
    }
}
