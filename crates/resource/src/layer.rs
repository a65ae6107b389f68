//! The tower layer: every request's way from the socket to the MCP server, or to an answer that says what is missing.
//!
//! 1. The metadata document is answered to everyone, at both spellings; other `/.well-known/` paths are a JSON 404.
//! 2. A browser page of a foreign origin is refused; a pre-flight of an allowed one is answered.
//! 3. The token is found, verified and judged.
//! 4. The [`Caller`] goes into the request's extensions, the `Authorization` header goes, and the inner service runs.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, header, request::Parts};
use mcp_authflow_types::{Scope, TokenHash, scope::OFFLINE_ACCESS};
use tower_layer::Layer;
use tower_service::Service;

use crate::{
    admission::{self, Expected},
    bearer,
    body::ResponseBody,
    builder::InvalidProtection,
    caller::Caller,
    challenge::Challenge,
    clock::Clock,
    cors::{self, Origins},
    metadata::ResourceMetadata,
    refusal::Refusal,
    rest_of_body,
    scope_hierarchy::ScopeHierarchy,
    verify::TokenVerifier,
    well_known::WellKnown,
};

/// What an answer to one caller is to caches that serve several, unless the handler says otherwise (RFC 9111 §3.5).
const FOR_THE_CALLER_ALONE: HeaderValue = HeaderValue::from_static("private");

/// A layer that lets only requests with a good access token through; made by [`ProtectedResource::builder`].
///
/// Cheap to clone: clones share the verifier and its connections.
///
/// # Where to put it
/// Around the MCP endpoint *and* the well-known paths, either of which must reach it under its public path. Around an
/// axum `Router` as a whole (`Router::layer`) this is so by itself. Within a larger app, wrap the one service and route
/// all its paths there:
///
/// ```
/// # use axum::{Router, routing::get};
/// # use mcp_authflow_resource::ProtectedResource;
/// # use tower::{Layer as _, ServiceExt as _};
/// # let protect = ProtectedResource::builder("https://mcp.example/mcp", "https://auth.example")
/// #     .introspect_with("hello-mcp", "mcpcs_secret").build()?;
/// # let mcp = tower::service_fn(|_: axum::extract::Request| async {
/// #     Ok::<_, std::convert::Infallible>(axum::response::Response::new(axum::body::Body::empty()))
/// # });
/// let protected = protect.layer(mcp);
/// let mut app = Router::new()
///     .route("/", get(|| async { "a public page" }))
///     .route_service("/mcp", protected.clone());
/// for path in protect.well_known_paths() {
///     app = app.route_service(path, protected.clone());
/// }
/// # let _: Router = app;
/// # Ok::<(), mcp_authflow_resource::InvalidProtection>(())
/// ```
///
/// [`ProtectedResource::builder`]: crate::ProtectedResource::builder
#[derive(Clone)]
pub struct Protect {
    policy: Arc<Policy>,
}

/// A service behind the layer.
#[derive(Clone, Debug)]
pub struct Protected<S> {
    inner: S,
    policy: Arc<Policy>,
}

/// All that a request is measured by.
#[derive(Clone)]
pub(crate) struct Policy {
    expected: Expected,
    /// Without an error, with the scopes of the route.
    challenge: Arc<Challenge>,
    /// The same for a caller without a good token, who may be asked to get more than the least at once.
    first_challenge: Arc<Challenge>,
    metadata: ResourceMetadata,
    well_known: WellKnown,
    origins: Origins,
    verifier: Arc<dyn TokenVerifier>,
    hierarchy: ScopeHierarchy,
    clock: Clock,
}

impl Policy {
    pub(crate) fn new(
        expected: Expected,
        metadata: ResourceMetadata,
        well_known: WellKnown,
        origins: Origins,
        verifier: Arc<dyn TokenVerifier>,
        clock: Clock,
    ) -> Self {
        let challenge = Challenge::bearer(metadata.url()).with_scope(expected.scope.clone());
        let challenge = Arc::new(challenge);
        Self {
            first_challenge: Arc::clone(&challenge),
            challenge,
            well_known,
            expected,
            metadata,
            origins,
            verifier,
            hierarchy: ScopeHierarchy::default(),
            clock,
        }
    }

    pub(crate) fn asking_first_for(mut self, scope: &Scope) -> Self {
        self.first_challenge = wider(&self.first_challenge, scope);
        self
    }

    /// The challenge that goes with a refusal: a good token that lacks a scope is told what is missing, and no more.
    fn challenge_of(&self, refusal: Refusal) -> &Challenge {
        match refusal {
            Refusal::InsufficientScope => &self.challenge,
            _ => &self.first_challenge,
        }
    }

    pub(crate) fn with_hierarchy(mut self, hierarchy: ScopeHierarchy) -> Self {
        self.hierarchy = hierarchy;
        self
    }
}

/// The challenge, for more.
fn wider(challenge: &Challenge, scope: &Scope) -> Arc<Challenge> {
    let scope = challenge.scope().union(scope);
    Arc::new(challenge.clone().with_scope(scope))
}

impl Protect {
    pub(crate) fn new(policy: Policy) -> Self {
        Self {
            policy: Arc::new(policy),
        }
    }

    /// The same protection for a route that needs more: `scope` on top of what every request needs.
    ///
    /// # Errors
    /// [`InvalidProtection`] when `scope` is malformed or holds `offline_access`.
    pub fn also_requiring(&self, scope: &str) -> Result<Self, InvalidProtection> {
        let scope = Scope::parse(scope)?;
        if scope.contains(OFFLINE_ACCESS) {
            return Err(InvalidProtection::OfflineAccess);
        }
        let mut policy = Policy::clone(&self.policy);
        policy.expected.scope = policy.expected.scope.union(&scope);
        policy.challenge = wider(&policy.challenge, &scope);
        policy.first_challenge = wider(&policy.first_challenge, &scope);
        Ok(Self::new(policy))
    }

    /// What is published about the resource.
    pub fn metadata(&self) -> &ResourceMetadata {
        &self.policy.metadata
    }

    /// The paths at which the layer answers the metadata document.
    pub fn well_known_paths(&self) -> impl Iterator<Item = &str> {
        self.policy.well_known.paths()
    }
}

impl<S> Layer<S> for Protect {
    type Service = Protected<S>;

    fn layer(&self, inner: S) -> Protected<S> {
        Protected {
            inner,
            policy: Arc::clone(&self.policy),
        }
    }
}

impl<S, RequestBody, Body> Service<Request<RequestBody>> for Protected<S>
where
    S: Service<Request<RequestBody>, Response = Response<Body>> + Clone + Send + 'static,
    S::Future: Send,
    RequestBody: http_body::Body + Send + 'static,
{
    type Response = Response<ResponseBody<Body>>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<RequestBody>) -> Self::Future {
        // The service that was polled ready is the one to call; its clone waits for the next request.
        let next = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, next);
        let policy = Arc::clone(&self.policy);
        Box::pin(async move {
            let (mut parts, body) = request.into_parts();
            let origin = match policy.admit(&mut parts).await {
                Ok(origin) => origin,
                Err(answer) => {
                    rest_of_body::skip(&parts.headers, body).await;
                    return Ok(answer.map(ResponseBody::of_layer));
                }
            };
            let mut response = inner.call(Request::from_parts(parts, body)).await?;
            let headers = response.headers_mut();
            cors::admit(headers, origin.as_ref());
            headers
                .entry(header::CACHE_CONTROL)
                .or_insert(FOR_THE_CALLER_ALONE);
            Ok(response.map(ResponseBody::of_inner))
        })
    }
}

impl Policy {
    /// Lets a request in, with its [`Caller`] and without its token, and says from which page it comes; or answers it.
    async fn admit(&self, request: &mut Parts) -> Result<Option<HeaderValue>, Response<Bytes>> {
        // 1. What must be open to everyone.
        if let Some(answer) = self.well_known.answer(request).await {
            return Err(answer);
        }
        // 2. M-130, M-132: which pages may call.
        let answer_to_page = |mut answer: Response<Bytes>, origin: Option<&HeaderValue>| {
            cors::admit(answer.headers_mut(), origin);
            answer
        };
        let origin = self.origins.check(request).map_err(|refusal| {
            tracing::info!(reason = %refusal, "refused");
            answer_to_page(refusal.response(&self.challenge), None)
        })?;
        if cors::is_preflight(request) {
            return Err(answer_to_page(cors::preflight_answer(request), origin.as_ref()));
        }
        // 3. M-120, M-127: the token, on every request.
        let caller = self.identify(request).await.map_err(|refusal| {
            answer_to_page(refusal.response(self.challenge_of(refusal)), origin.as_ref())
        })?;
        // 4. M-125: handlers learn who calls, and get no token that they could pass on.
        request.headers.remove(header::AUTHORIZATION);
        request.extensions.insert(caller);
        Ok(origin)
    }

    /// Finds the token, has it verified and judges it.
    async fn identify(&self, request: &Parts) -> Result<Caller, Refusal> {
        let refused = |refusal: Refusal, token: Option<&str>| {
            let token = token.map(|token| TokenHash::of(token).fingerprint());
            tracing::info!(reason = %refusal, token, "refused");
            refusal
        };
        let token = bearer::token(request).map_err(|refusal| refused(refusal, None))?;
        let mut verified = self
            .verifier
            .verify(token)
            .await
            .map_err(|error| refused(error.into(), Some(token)))?;
        // M-027: once, so that everything behind this line goes by the same.
        verified.scope = self.hierarchy.expand(&verified.scope);
        let resource = admission::decide(&self.expected, &verified, self.clock.now())
            .map_err(|refusal| refused(refusal, Some(token)))?
            .to_owned();
        verified.resource = Some(resource);
        Ok(Caller::admit(verified, Arc::clone(&self.challenge)))
    }
}

impl fmt::Debug for Protect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.policy, f)
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy")
            .field("expected", &self.expected)
            .field("origins", &self.origins)
            .finish_non_exhaustive()
    }
}
