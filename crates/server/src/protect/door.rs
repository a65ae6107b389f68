//! The way of a request to the MCP server: its token, its tool, how often that was called, the upstream.
//!
//! What a tool needs depends on the tools that there are, so the door is hung anew when these change. Requests that are
//! on their way finish under the rules that they came in by.

use std::{
    convert::Infallible,
    net::IpAddr,
    pin::Pin,
    sync::{Arc, PoisonError, RwLock},
    task::{Context, Poll},
};

use axum::{Router, body::Body, response::Response};
use futures_util::StreamExt as _;
use http::{Method, Request, header};
use mcp_authflow::port::{Audit, AuditEvent, AuditOutcome, Entropy, audit::AuditAction};
use mcp_authflow_axum::ClientAddress;
use mcp_authflow_protect::Proxy;
use mcp_authflow_resource::{
    AuthorizeTools, InvalidProtection, ProtectedResource, RefusalReason, TokenVerifier, VerifiedToken,
    VerifyError,
    friction::{FrictionGuard, FrictionLayer},
    well_known::AuthorizationServerAliases,
};
use mcp_authflow_types::{ClientId, Issuer, Resource, TokenHash, hex};
use tokio::sync::{Notify, watch};
use tower::{Layer as _, Service, ServiceExt as _, util::BoxCloneSyncService};

use super::{
    authority::Authority,
    survey::{Found, Survey},
};
use crate::system::SystemEntropy;

/// Everything of the door that stays when the tools change.
#[derive(Clone)]
pub(crate) struct Doorway {
    pub(crate) resource: Resource,
    pub(crate) issuer: Issuer,
    pub(crate) verifier: Arc<dyn TokenVerifier>,
    pub(crate) authority: Authority,
    pub(crate) proxy: Proxy,
    pub(crate) name: Option<String>,
    pub(crate) allowed_origins: Vec<String>,
    pub(crate) aliases: AuthorizationServerAliases,
    pub(crate) max_body_bytes: usize,
    pub(crate) hides_forbidden: bool,
    /// Keeps count of the calls, whichever door they come through.
    pub(crate) friction: Option<FrictionGuard>,
    /// Seals session ids for their callers: the same for every door, so that sessions outlive a change of the tools.
    pub(crate) session_key: [u8; 32],
}

/// A door in its frame.
pub(crate) type Hung = BoxCloneSyncService<Request<Body>, Response, Infallible>;

impl Doorway {
    /// Hangs the door for these tools; nothing is known of them yet when there is none.
    pub(crate) fn hang(&self, found: Option<&Found>) -> anyhow::Result<Hung> {
        let mut builder = self
            .builder()
            .verify_with(self.verifier.clone())
            .require_scope(self.authority.base().to_string())
            .ask_first_for(self.authority.first(found).to_string())
            .scopes([self.authority.useful(found).to_string()]);
        for (broad, narrow) in self.authority.includes() {
            builder = builder.scope_implies(broad, narrow);
        }
        let name = self
            .name
            .as_ref()
            .or_else(|| found.and_then(|found| found.name.as_ref()));
        if let Some(name) = name {
            builder = builder.name(name);
        }
        for origin in &self.allowed_origins {
            builder = builder.allow_origin(origin);
        }
        let policy = self.authority.policy(found, self.hides_forbidden)?;
        let tools = AuthorizeTools::new(policy)
            .session_key(&self.session_key)
            .max_body_bytes(self.max_body_bytes);
        let protect = builder.build()?;
        Ok(match &self.friction {
            Some(guard) => {
                let friction = FrictionLayer::new(guard.clone());
                boxed(protect.layer(tools.layer(friction.layer(self.proxy.clone()))))
            }
            None => boxed(protect.layer(tools.layer(self.proxy.clone()))),
        })
    }

    /// Whoever asks for the tools, with a pass of its own: nobody else knows it, and no path leads there.
    pub(crate) fn survey(&self) -> Result<Survey, InvalidProtection> {
        let pass = hex::encode(&(&SystemEntropy as &dyn Entropy).draw::<32>());
        let verifier = Pass {
            pass: pass.clone(),
            resource: self.resource.clone(),
        };
        let protect = self.builder().verify_with(verifier).build()?;
        Ok(Survey::new(boxed(protect.layer(self.proxy.clone())), &pass))
    }

    /// The paths of the documents that say what is protected.
    pub(crate) fn well_known_paths(&self) -> Result<Vec<String>, InvalidProtection> {
        let protect = self
            .builder()
            .verify_with(Pass {
                pass: String::new(),
                resource: self.resource.clone(),
            })
            .build()?;
        Ok(protect.well_known_paths().map(str::to_owned).collect())
    }

    fn builder(&self) -> mcp_authflow_resource::Builder {
        ProtectedResource::builder(self.resource.as_str(), self.issuer.as_str())
            .authorization_server_aliases(self.aliases)
    }
}

fn boxed<S, B>(service: S) -> Hung
where
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible> + Clone + Send + Sync + 'static,
    S::Future: Send,
    B: http_body::Body<Data = axum::body::Bytes> + Send + 'static,
    B::Error: Into<axum::BoxError>,
{
    BoxCloneSyncService::new(service.map_response(|response: Response<B>| response.map(Body::new)))
}

/// The door as the router knows it.
#[derive(Clone)]
pub(crate) struct Door {
    hung: Arc<RwLock<Hung>>,
    /// Turns true when the process is asked to stop.
    ending: watch::Receiver<bool>,
    trail: Arc<dyn Audit>,
    /// Rung when a stream passes by that says that the tools have changed.
    changed: Arc<Notify>,
}

impl Door {
    pub(crate) fn new(hung: Hung, ending: watch::Receiver<bool>, trail: Arc<dyn Audit>) -> Self {
        Self {
            hung: Arc::new(RwLock::new(hung)),
            ending,
            trail,
            changed: Arc::default(),
        }
    }

    pub(super) fn replace(&self, hung: Hung) {
        *self.hung.write().unwrap_or_else(PoisonError::into_inner) = hung;
    }

    /// Rings when the MCP server says to a client that its tools have changed.
    pub(super) fn changed(&self) -> Arc<Notify> {
        self.changed.clone()
    }

    /// The routes that lead here.
    pub(crate) fn routes(&self, well_known_paths: &[String], is_also_sse: bool) -> Router {
        let mut router = Router::new();
        let endpoint = ["/mcp", "/mcp/", "/mcp/{*rest}"].map(str::to_owned);
        for path in endpoint.iter().chain(well_known_paths) {
            router = router.route_service(path, self.clone());
        }
        if is_also_sse {
            let door = self.clone().map_request(|mut request: Request<Body>| {
                *request.uri_mut() = at_the_endpoint(request.uri());
                request
            });
            router = router.route_service("/sse", door);
        }
        router
    }
}

/// The address of the endpoint, with the same query.
fn at_the_endpoint(uri: &http::Uri) -> http::Uri {
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    format!("/mcp{query}").parse().unwrap_or_default()
}

impl Service<Request<Body>> for Door {
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let hung = self.hung.read().unwrap_or_else(PoisonError::into_inner).clone();
        let ending = self.ending.clone();
        let trail = self.trail.clone();
        let changed = self.changed.clone();
        let is_standing = is_standing(&request);
        let presented = Presented::by(&request);
        Box::pin(async move {
            let response = hung.oneshot(request).await?;
            if let (Some(presented), Some(reason)) = (presented, response.extensions().get::<RefusalReason>())
            {
                presented.note_refusal(&*trail, reason);
            }
            if !is_event_stream(&response) {
                return Ok(response);
            }
            let response = listening(response, changed);
            Ok(if is_standing {
                until(response, ending)
            } else {
                response
            })
        })
    }
}

fn is_event_stream(response: &Response) -> bool {
    response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"text/event-stream"))
}

/// Passes a stream of events on, and rings when one says that the tools have changed. One that is torn in two just there,
/// or stands among much else, is missed; the tools are read again anyway.
fn listening(response: Response, changed: Arc<Notify>) -> Response {
    const SAID: &[u8] = b"notifications/tools/list_changed";
    const MAX_BYTES: usize = 4_096;
    response.map(|body| {
        Body::from_stream(body.into_data_stream().inspect(move |piece| {
            if piece.as_ref().is_ok_and(|piece| {
                piece.len() <= MAX_BYTES && piece.windows(SAID.len()).any(|window| window == SAID)
            }) {
                changed.notify_one();
            }
        }))
    })
}

/// What a caller presented, for the audit trail. Who presents nothing is at the beginning of the way, and not refused.
struct Presented {
    token: TokenHash,
    address: Option<IpAddr>,
}

impl Presented {
    fn by(request: &Request<Body>) -> Option<Self> {
        let header = request.headers().get(header::AUTHORIZATION)?.as_bytes();
        // Behind the scheme, in whatever case it is written.
        let token = header.splitn(2, |byte| *byte == b' ').last().unwrap_or(header);
        let address = request.extensions().get().map(|ClientAddress(address)| *address);
        Some(Self {
            token: TokenHash::of(std::str::from_utf8(token).unwrap_or_default()),
            address,
        })
    }

    fn note_refusal(&self, trail: &dyn Audit, RefusalReason(reason): &RefusalReason) {
        let event = AuditEvent::new(AuditAction::Call, AuditOutcome::Refused, reason.clone())
            .with_token(&self.token)
            .with_address(self.address);
        trail.record(&event);
    }
}

/// Whether the answer may be a stream that nobody expects to end: a GET's, or that of a subscription. What a call streams
/// comes to its end by itself, and is waited for.
fn is_standing(request: &Request<Body>) -> bool {
    let listens = |value: &http::HeaderValue| value == "subscriptions/listen";
    request.method() == Method::GET || request.headers().get("mcp-method").is_some_and(listens)
}

/// Ends a stream of events when the process ends, as if the server had closed it: the client comes back.
fn until(response: Response, mut ending: watch::Receiver<bool>) -> Response {
    response.map(|body| {
        let ended = async move {
            // An error means that whoever would say it is gone.
            let _ = ending.wait_for(|is_ending| *is_ending).await;
        };
        Body::from_stream(body.into_data_stream().take_until(Box::pin(ended)))
    })
}

/// Knows one pass, made at the start and never written anywhere.
struct Pass {
    pass: String,
    resource: Resource,
}

#[async_trait::async_trait]
impl TokenVerifier for Pass {
    async fn verify(&self, token: &str) -> Result<VerifiedToken, VerifyError> {
        if self.pass.is_empty() || token != self.pass {
            return Err(VerifyError::Inactive);
        }
        let mut verified = VerifiedToken::default();
        verified.audience = vec![self.resource.as_str().to_owned()];
        verified.subject = Some("authflow-protect".to_owned());
        verified.client_id = ClientId::parse("authflow-protect").ok();
        Ok(verified)
    }
}
