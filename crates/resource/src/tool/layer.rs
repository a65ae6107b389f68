//! The tower layer between [`Protect`](crate::Protect) and an MCP server: every request's way to its tools.
//!
//! 1. Session and event ids are opened; an id that was made for another caller is unknown.
//! 2. The body is read, when anything depends on it; what its headers say must be true.
//! 3. The policy says what all of it needs, and the caller must have it.
//! 4. The server runs, with the body as it came and a [`JsonRpc`](crate::JsonRpc) beside it.
//! 5. In the answer, ids are sealed for the caller, and lists are cut to what is within their reach.

use std::{
    error::Error,
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, header, request::Parts};
use http_body::Body;
use http_body_util::{BodyExt as _, Limited};
use serde_json::Value;
use tower_layer::Layer;
use tower_service::Service;

use super::{
    body::ToolBody, event_stream::EventStream, headers, list::ListFilter, policy::ToolPolicy, refusal,
};
use crate::{
    caller::Caller,
    json_rpc::{self, DEFAULT_MAX_BODY_BYTES},
    session::{self, CallersIds, Kind, SessionKey},
};

const SESSION_ID: &str = "mcp-session-id";
const LAST_EVENT_ID: &str = "last-event-id";
/// The largest list that is cut.
const MAX_LIST_BYTES: usize = 16 * 1_024 * 1_024;

/// A layer that lets callers use the tools that their token is good for.
///
/// Put it inside [`Protect`](crate::Protect), around the MCP endpoint and nothing else:
///
/// ```
/// use axum::{Router, routing::post};
/// use mcp_authflow_resource::{ProtectedResource, ToolPolicy, tool::{AuthorizeTools, Rule}};
///
/// let policy = ToolPolicy::builder().rule(Rule::tool("delete_*").requires("notes:delete")).build()?;
/// let protect = ProtectedResource::builder("https://mcp.example/mcp", "https://auth.example")
///     .introspect_with("notes", "mcpcs_secret")
///     .require_scope("notes:read")
///     .scopes(["notes:read", "notes:delete"])
///     .build()?;
/// # let mcp_server = post(|| async {});
/// let app: Router = Router::new()
///     .route("/mcp", mcp_server.layer(AuthorizeTools::new(policy)))
///     .layer(protect);
/// # let _ = app;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// A call beyond the token is answered with 403 and a challenge that names *all* scopes that the request needs, those of
/// every call of a batch and the resource's own included (M-024…M-026); no part of the request has run.
///
/// The request body must be one that can be made from [`Bytes`], as `axum::body::Body` can. The inner service gets it
/// byte for byte as it came.
///
/// # Sessions
/// Session ids that the server gives out are sealed for their caller on the way out and opened on the way in. Another
/// caller who uses one gets a 404, as for a session that has ended. The same goes for the ids by which streams are
/// resumed, and for the session id in the URLs of the transport of 2024-11-05. The server sees its own ids only. Unless
/// [`session_key`](Self::session_key) is given, ids are good for the life of this layer: clients of a server that is
/// restarted, or of another node, begin a new session.
///
/// # Costs
/// With an empty policy no body is read, except of requests whose headers say something about it. Answers are not
/// compressed behind this layer: put compression in front of it.
#[derive(Clone, Debug)]
pub struct AuthorizeTools {
    settings: Arc<Settings>,
}

/// A service behind the layer.
#[derive(Clone, Debug)]
pub struct AuthorizedTools<S> {
    inner: S,
    settings: Arc<Settings>,
}

#[derive(Clone)]
struct Settings {
    policy: ToolPolicy,
    max_body_bytes: usize,
    /// `None`: ids go through as they are.
    session_key: Option<SessionKey>,
    checks_headers: bool,
}

impl AuthorizeTools {
    /// Keeps to a policy.
    ///
    /// # Panics
    /// When the operating system has no random bytes.
    #[expect(
        clippy::expect_used,
        reason = "a system without random bytes cannot do TLS either; there is nothing to go on with"
    )]
    pub fn new(policy: ToolPolicy) -> Self {
        Self {
            settings: Arc::new(Settings {
                policy,
                max_body_bytes: DEFAULT_MAX_BODY_BYTES,
                session_key: Some(SessionKey::random().expect("the system has random bytes")),
                checks_headers: true,
            }),
        }
    }

    /// The largest request body, in bytes; a larger one is answered with 413. Default: 4 MiB.
    #[must_use]
    pub fn max_body_bytes(self, max_bytes: usize) -> Self {
        self.with(|settings| settings.max_body_bytes = max_bytes)
    }

    /// The key with which session ids are sealed: 32 random bytes, the same on every node and after a restart. Default:
    /// drawn anew for each layer.
    #[must_use]
    pub fn session_key(self, key: &[u8; 32]) -> Self {
        self.with(|settings| settings.session_key = Some(SessionKey::new(key)))
    }

    /// Passes session and event ids through as they are.
    ///
    /// # Security
    /// Whoever learns a session id can then use it with a token of their own, unless the server itself binds its
    /// sessions to the caller (M-127).
    #[must_use]
    pub fn dangerous_leave_sessions_unbound(self) -> Self {
        self.with(|settings| settings.session_key = None)
    }

    /// Leaves it to the server to compare headers with bodies (M-131).
    ///
    /// # Security
    /// Fine when the server does so, as `rmcp` does from MCP 2026-07-28 on, and nothing in front works by the headers.
    #[must_use]
    pub fn dangerous_skip_header_check(self) -> Self {
        self.with(|settings| settings.checks_headers = false)
    }

    fn with(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(Arc::make_mut(&mut self.settings));
        self
    }
}

impl<S> Layer<S> for AuthorizeTools {
    type Service = AuthorizedTools<S>;

    fn layer(&self, inner: S) -> AuthorizedTools<S> {
        AuthorizedTools {
            inner,
            settings: Arc::clone(&self.settings),
        }
    }
}

impl<S, In, Out> Service<Request<In>> for AuthorizedTools<S>
where
    S: Service<Request<In>, Response = Response<Out>> + Clone + Send + 'static,
    S::Future: Send,
    In: Body + From<Bytes> + Send + 'static,
    In::Data: Send,
    In::Error: Into<Box<dyn Error + Send + Sync>>,
    Out: Body<Data = Bytes> + Send,
    Out::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Response = Response<ToolBody<Out>>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<In>) -> Self::Future {
        // The service that was polled ready is the one to call; its clone waits for the next request.
        let next = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, next);
        let settings = Arc::clone(&self.settings);
        Box::pin(async move {
            let (mut parts, body) = request.into_parts();
            let (body, answering) = match settings.admit(&mut parts, body).await {
                Ok(admitted) => admitted,
                Err(answer) => return Ok(answer.map(ToolBody::of_layer)),
            };
            if answering.looks_into_answers() {
                // Nothing can be done to what is compressed.
                parts.headers.remove(header::ACCEPT_ENCODING);
            }
            let response = inner.call(Request::from_parts(parts, body)).await?;
            Ok(answering.finish(response).await)
        })
    }
}

impl Settings {
    /// Lets a request on to the tools, and says what is to be done to the answer; or answers it.
    async fn admit<In>(&self, request: &mut Parts, body: In) -> Result<(In, Answering), Response<Bytes>>
    where
        In: Body + From<Bytes>,
        In::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let Some(caller) = Caller::of(&request.extensions).cloned() else {
            tracing::error!("AuthorizeTools stands outside of mcp_authflow_resource::Protect: put it inside");
            return Err(refusal::without_caller());
        };
        // 1. M-127: whose ids are these?
        let ids = self.session_key.as_ref().map(|key| key.ids_of(&caller));
        if let Some(ids) = &ids {
            open_ids(request, ids).map_err(|UnknownId| refusal::unknown_session())?;
        }
        let is_stream = request.method == Method::GET;
        let mut answering = Answering {
            ids,
            lists: (is_stream && self.policy.cuts_lists())
                .then(|| ListFilter::for_any_answer(&self.policy, caller.scope())),
        };
        // 2. What is asked for?
        if !self.depends_on_body(request) {
            return Ok((body, answering));
        }
        let (body, message) = json_rpc::read(&request.headers, body, self.max_body_bytes)
            .await
            .map_err(|why| refusal::not_json_rpc(why, &Value::Null))?;
        if self.checks_headers {
            headers::check(&request.headers, &message)
                .map_err(|mismatch| refusal::header_mismatch(mismatch, &message.id()))?;
        }
        // 3. M-024…M-026: may this caller?
        let needed = self
            .policy
            .required_for(&message)
            .map_err(|denied| refusal::denied(&denied, &message.id()))?;
        caller.require(&needed).map_err(Response::from)?;
        // 4. What of the answer is theirs to see?
        if self.policy.cuts_lists() {
            answering.lists = ListFilter::for_answer_to(&message, &self.policy, caller.scope());
        }
        request.extensions.insert(message);
        Ok((In::from(body), answering))
    }

    /// GET and DELETE call nothing.
    fn depends_on_body(&self, request: &Parts) -> bool {
        let is_call = !matches!(
            request.method,
            Method::GET | Method::HEAD | Method::DELETE | Method::OPTIONS
        );
        is_call && (!self.policy.is_empty() || (self.checks_headers && headers::are_there(&request.headers)))
    }
}

/// A session or event id is unknown, or was made for another caller.
struct UnknownId;

/// Takes the seals off the ids of a request.
fn open_ids(request: &mut Parts, ids: &CallersIds) -> Result<(), UnknownId> {
    // MCP 2026-07-28 has no sessions, and servers ignore the ids that clients of earlier days may still send.
    let is_ignored = headers::is_of_a_version_with_headers(&request.headers);
    for (name, kind) in [(SESSION_ID, Kind::Session), (LAST_EVENT_ID, Kind::Event)] {
        let mut values = request.headers.get_all(name).iter();
        let Some(sealed) = values.next() else {
            continue;
        };
        let is_single = values.next().is_none();
        let id = ids.open(kind, sealed.as_bytes()).filter(|_| is_single);
        match id.and_then(|id| HeaderValue::from_bytes(id).ok()) {
            Some(id) => drop(request.headers.insert(name, id)),
            None if is_ignored => drop(request.headers.remove(name)),
            None => return Err(UnknownId),
        }
    }
    if let Some(query) = request.uri.query().filter(|query| session::has_session_id(query)) {
        let query = ids.open_query(query).ok_or(UnknownId)?;
        let target = format!("{}?{query}", request.uri.path());
        let mut uri = std::mem::take(&mut request.uri).into_parts();
        uri.path_and_query = Some(target.parse().map_err(|_| UnknownId)?);
        request.uri = http::Uri::from_parts(uri).map_err(|_| UnknownId)?;
    }
    Ok(())
}

/// What is done to an answer.
struct Answering {
    ids: Option<CallersIds>,
    lists: Option<ListFilter>,
}

impl Answering {
    fn looks_into_answers(&self) -> bool {
        self.ids.is_some() || self.lists.is_some()
    }

    async fn finish<Out>(self, mut response: Response<Out>) -> Response<ToolBody<Out>>
    where
        Out: Body<Data = Bytes>,
        Out::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        if let (Some(ids), Some(id)) = (&self.ids, response.headers().get(SESSION_ID)) {
            match HeaderValue::from_bytes(&ids.seal(Kind::Session, id.as_bytes())) {
                Ok(sealed) => drop(response.headers_mut().insert(SESSION_ID, sealed)),
                Err(_) => drop(response.headers_mut().remove(SESSION_ID)),
            }
        }
        let expects_list = self.lists.as_ref().is_some_and(ListFilter::expects_one);
        if expects_list {
            make_private(response.headers_mut());
        }
        let is_encoded = response.headers().contains_key(header::CONTENT_ENCODING);
        match (MediaType::of(response.headers()), self.lists) {
            (_, Some(_)) if expects_list && is_encoded => {
                tracing::error!("the server compresses a list although the request does not accept it");
                refusal::bad_answer().map(ToolBody::of_layer)
            }
            (MediaType::EventStream, lists) if !is_encoded && (self.ids.is_some() || lists.is_some()) => {
                response.headers_mut().remove(header::CONTENT_LENGTH);
                let events = EventStream::new(self.ids, lists);
                response.map(|body| ToolBody::of_events(body, events))
            }
            (MediaType::Json, Some(lists)) if expects_list => cut_whole(response, &lists).await,
            _ => response.map(ToolBody::of_inner),
        }
    }
}

/// Reads an answer whole and cuts its lists.
async fn cut_whole<Out>(response: Response<Out>, lists: &ListFilter) -> Response<ToolBody<Out>>
where
    Out: Body<Data = Bytes>,
    Out::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let (mut parts, body) = response.into_parts();
    let whole = match Limited::new(body, MAX_LIST_BYTES).collect().await {
        Ok(whole) => whole.to_bytes(),
        Err(error) => {
            tracing::error!(error, "the server's list cannot be read");
            return refusal::bad_answer().map(ToolBody::of_layer);
        }
    };
    let whole = match lists.cut(&whole) {
        None => whole,
        Some(cut) => {
            for outdated in [
                header::ETAG.as_str(),
                "content-digest",
                "repr-digest",
                "digest",
                "content-md5",
            ] {
                parts.headers.remove(outdated);
            }
            Bytes::from(cut)
        }
    };
    parts.headers.remove(header::TRANSFER_ENCODING);
    parts.headers.insert(header::CONTENT_LENGTH, whole.len().into());
    Response::from_parts(parts, ToolBody::of_layer(whole))
}

/// M-133: an answer that depends on who asks is kept by nobody for anybody else.
fn make_private(headers: &mut HeaderMap) {
    let says = |directive: &str| {
        headers.get_all(header::CACHE_CONTROL).iter().any(|value| {
            value.to_str().is_ok_and(|value| {
                value
                    .split(',')
                    .any(|one| one.trim().eq_ignore_ascii_case(directive))
            })
        })
    };
    // Proxies that compress or rewrite streams are held off by this one.
    let value = if says("no-transform") {
        "private, no-store, no-transform"
    } else {
        "private, no-store"
    };
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(value));
}

enum MediaType {
    EventStream,
    /// `application/json`, and what clients may take for it: other types of JSON, text, and what has no type.
    Json,
    Other,
}

impl MediaType {
    fn of(headers: &HeaderMap) -> Self {
        let value = headers
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok());
        let essence = value.unwrap_or_default().split(';').next().unwrap_or_default();
        match essence.trim().to_ascii_lowercase().as_str() {
            "text/event-stream" => Self::EventStream,
            essence if essence.is_empty() || essence.starts_with("text/") || essence.contains("json") => {
                Self::Json
            }
            _ => Self::Other,
        }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("policy", &self.policy)
            .field("max_body_bytes", &self.max_body_bytes)
            .field("binds_sessions", &self.session_key.is_some())
            .field("checks_headers", &self.checks_headers)
            .finish()
    }
}
