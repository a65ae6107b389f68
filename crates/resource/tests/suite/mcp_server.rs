//! A small MCP server behind both layers, that notes what reaches it, and tokens that say what they are.

use std::sync::{Arc, Mutex};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, Uri};
use mcp_authflow_resource::{
    AuthorizeTools, Caller, ClientId, JsonRpc, Protect, ProtectedResource, Scope, TokenVerifier, ToolPolicy,
    VerifiedToken, VerifyError,
    tool::{Rule, ToolPolicyBuilder},
};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::house::{RESOURCE, Seen};

/// `alice.c1.read~write` is a token of alice, through the client c1, for two scopes; what stands behind that makes it
/// another token of the same.
struct ByName;

#[async_trait::async_trait]
impl TokenVerifier for ByName {
    async fn verify(&self, token: &str) -> Result<VerifiedToken, VerifyError> {
        let mut parts = token.split('.');
        let mut next = || parts.next().ok_or(VerifyError::Inactive);
        let mut verified = VerifiedToken::default();
        verified.subject = Some(next()?.to_owned());
        verified.client_id = ClientId::parse(next()?).ok();
        verified.scope = Scope::parse(&next()?.replace('~', " ")).map_err(|_| VerifyError::Inactive)?;
        verified.audience = vec![RESOURCE.to_owned()];
        Ok(verified)
    }
}

/// A request as it reached the server.
#[derive(Clone, Debug)]
pub(crate) struct Reached {
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) message: Option<JsonRpc>,
}

#[derive(Clone)]
pub(crate) struct McpServer {
    app: Router,
    reached: Arc<Mutex<Vec<Reached>>>,
}

/// Rules about the tools `read`, `write`, `admin` and `gone`.
pub(crate) fn policy() -> ToolPolicyBuilder {
    ToolPolicy::builder()
        .rule(Rule::tool("write*").requires("write"))
        .rule(Rule::tool("admin").requires("write admin"))
        .rule(Rule::tool("gone").denied())
}

/// Every request needs `read`.
pub(crate) fn protect() -> Protect {
    ProtectedResource::builder(RESOURCE, "https://auth.test")
        .verify_with(ByName)
        .require_scope("read")
        .scope_implies("root", "admin write")
        .scope_implies("write", "read")
        .build()
        .unwrap()
}

impl McpServer {
    pub(crate) fn with_policy(policy: ToolPolicyBuilder) -> Self {
        Self::behind(AuthorizeTools::new(policy.build().unwrap()))
    }

    pub(crate) fn behind(authorize: AuthorizeTools) -> Self {
        let reached = Arc::default();
        let app = Router::new()
            .fallback(answer)
            .with_state(Arc::clone(&reached))
            .layer(authorize)
            .layer(protect());
        Self { app, reached }
    }

    pub(crate) async fn send(&self, request: Request) -> Response {
        self.app.clone().oneshot(request).await.unwrap()
    }

    pub(crate) async fn call(&self, request: Request) -> Seen {
        let (parts, body) = self.send(request).await.into_parts();
        let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
        Seen {
            status: parts.status,
            headers: parts.headers,
            body: String::from_utf8(body.to_vec()).unwrap(),
        }
    }

    /// POSTs a message with a token.
    pub(crate) async fn post(&self, token: &str, message: &Value) -> Seen {
        self.call(post(token, &[], message)).await
    }

    pub(crate) fn reached(&self) -> Vec<Reached> {
        self.reached.lock().unwrap().clone()
    }

    pub(crate) fn last(&self) -> Reached {
        self.reached().pop().unwrap()
    }
}

pub(crate) fn request(
    method: &str,
    target: &str,
    token: &str,
    headers: &[(&str, &str)],
    body: impl Into<Body>,
) -> Request {
    let request = Request::builder()
        .method(method)
        .uri(target)
        .header("authorization", format!("Bearer {token}"));
    let headers = headers.iter();
    headers
        .fold(request, |request, (name, value)| request.header(*name, *value))
        .body(body.into())
        .unwrap()
}

pub(crate) fn post(token: &str, headers: &[(&str, &str)], message: &Value) -> Request {
    request("POST", "/mcp", token, headers, message.to_string())
}

pub(crate) fn tool(name: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": name, "arguments": {}}})
}

pub(crate) fn list() -> Value {
    json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"})
}

/// The answer to a `tools/list` with the id 1.
pub(crate) const TOOLS: &str = r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"read"},{"name":"write"},{"name":"admin"},{"name":"gone"}],"cacheScope":"public"}}"#;

async fn answer(state: State<Arc<Mutex<Vec<Reached>>>>, request: Request) -> Response {
    let compress = request.headers().get("x-compress").cloned();
    let media_type = request.headers().get("x-type").cloned();
    let mut response = answer_plainly(state, request).await;
    if let Some(encoding) = compress {
        response.headers_mut().insert("content-encoding", encoding);
    }
    if let Some(media_type) = media_type {
        response.headers_mut().insert("content-type", media_type);
    }
    response
}

async fn answer_plainly(State(reached): State<Arc<Mutex<Vec<Reached>>>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 24).await.unwrap();
    reached.lock().unwrap().push(Reached {
        uri: parts.uri.clone(),
        headers: parts.headers.clone(),
        body: body.clone(),
        message: parts.extensions.get().cloned(),
    });
    let caller = Caller::of(&parts.extensions).unwrap();
    let json =
        |text: String| ([("content-type", "application/json"), ("etag", "\"1\"")], text).into_response();
    let events = |text: String| {
        (
            [
                ("content-type", "text/event-stream"),
                ("cache-control", "no-cache, no-transform"),
            ],
            text,
        )
            .into_response()
    };
    match parts.method {
        Method::GET if parts.uri.path() == "/sse" => {
            return events("event: endpoint\ndata: /messages?session_id=s-1\n\n".to_owned());
        }
        Method::GET => return events(format!("id: e-1\ndata: {TOOLS}\n\n")),
        Method::DELETE => return StatusCode::NO_CONTENT.into_response(),
        _ => {}
    }
    let message: Value = serde_json::from_slice(&body).unwrap_or_default();
    let wants_events = parts
        .headers
        .get("accept")
        .is_some_and(|accept| accept == "text/event-stream");
    match message["method"].as_str() {
        Some("initialize") => {
            let mut response = json(json!({"id": 1, "result": {}}).to_string());
            response
                .headers_mut()
                .insert("mcp-session-id", "s-1".parse().unwrap());
            response
        }
        Some("tools/list") if wants_events => events(format!(
            "id: e-1\ndata: {{\"method\":\"x\"}}\n\nid: e-2\ndata: {TOOLS}\n\n"
        )),
        Some("tools/list") => json(TOOLS.to_owned()),
        _ => json(json!({"id": 1, "result": {"for": caller.subject()}}).to_string()),
    }
}
