//! The tower layer: reads which tools a request calls, and answers the calls that have too much friction.
//!
//! It stands between [`Protect`](crate::Protect), which says who is calling, and the MCP server; and inside
//! [`AuthorizeTools`](crate::AuthorizeTools), if that is there, so that calls beyond the token do not count:
//!
//! ```
//! use axum::{Router, routing::post};
//! use mcp_authflow_resource::{
//!     ProtectedResource,
//!     friction::{FrictionGuard, FrictionLayer, FrictionRegistry, ToolFrictionConfig},
//! };
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let protect = ProtectedResource::builder("https://mcp.example/mcp", "https://auth.example")
//!     .introspect_with("hello-mcp", "the secret that `authflow resource add` printed")
//!     .build()?;
//! let friction = FrictionRegistry::builder()
//!     .tool("delete", ToolFrictionConfig { target_rate: 0.1, ..ToolFrictionConfig::default() })
//!     .build()?;
//! let app: Router = Router::new()
//!     .route("/mcp", post(|| async { "the MCP server" }))
//!     .layer(FrictionLayer::new(FrictionGuard::new(friction)))
//!     .layer(protect);
//! # Ok(())
//! # }
//! ```
//!
//! 1. What is no POST passes.
//! 2. The body is read, unless a layer outside has left what is in it as [`JsonRpc`] in the extensions.
//! 3. Each `tools/call` is put to the guard; those admitted are counted.
//! 4. All refused: answered here, with tool errors. Some of a batch refused: the others go on, and the tool errors are
//!    put before their results. A refused notification is dropped.
//!
//! # Limits
//! Servers of the transport of MCP 2024-11-05 (HTTP+SSE) answer on another stream than the POST, where this layer cannot
//! reach: guard their tools one by one.

use std::{
    error::Error,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::Body;
use serde_json::json;
use tower_layer::Layer;
use tower_service::Service;

use super::{
    answer::{Answer, Merging},
    batch,
    guard::FrictionGuard,
    justification::JUSTIFICATION,
    refusal::FrictionRefusal,
};
use crate::{
    caller::Caller,
    json_rpc::{self, Call, DEFAULT_MAX_BODY_BYTES, JsonRpc, NotJsonRpc},
};

/// A layer that keeps to a [`FrictionGuard`].
#[derive(Clone, Debug)]
pub struct FrictionLayer {
    guard: FrictionGuard,
    max_body_bytes: usize,
}

/// A service behind the layer.
#[derive(Clone, Debug)]
pub struct Frictional<S> {
    inner: S,
    layer: FrictionLayer,
}

impl FrictionLayer {
    /// Reads bodies of up to [`DEFAULT_MAX_BODY_BYTES`].
    pub fn new(guard: FrictionGuard) -> Self {
        Self {
            guard,
            max_body_bytes: DEFAULT_MAX_BODY_BYTES,
        }
    }

    /// The largest body that is read; a larger one is answered with 413.
    #[must_use]
    pub fn max_body_bytes(mut self, max_body_bytes: usize) -> Self {
        self.max_body_bytes = max_body_bytes;
        self
    }
}

impl<S> Layer<S> for FrictionLayer {
    type Service = Frictional<S>;

    fn layer(&self, inner: S) -> Frictional<S> {
        Frictional {
            inner,
            layer: self.clone(),
        }
    }
}

impl<S, RequestBody, ResponseBody> Service<Request<RequestBody>> for Frictional<S>
where
    S: Service<Request<RequestBody>, Response = Response<ResponseBody>> + Clone + Send + 'static,
    S::Future: Send,
    RequestBody: Body + From<Bytes> + Send + 'static,
    RequestBody::Data: Send,
    RequestBody::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Response = Response<Answer<ResponseBody>>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<RequestBody>) -> Self::Future {
        // The service that was polled ready is the one to call; its clone waits for the next request.
        let next = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, next);
        let layer = self.layer.clone();
        Box::pin(async move {
            match layer.admit(request).await {
                Ok((request, refused)) => {
                    let response = inner.call(request).await?;
                    Ok(merge(response, &refused))
                }
                Err(answer) => Ok(answer.map(Answer::of_layer)),
            }
        })
    }
}

/// A request's body, as far as it has been read here.
enum Sent<B> {
    Read(Bytes),
    /// A layer outside has read it and left what is in it.
    Unread(B),
}

impl FrictionLayer {
    /// Lets a request on, with the answers to those of its calls that are left out; or answers it.
    async fn admit<B>(&self, request: Request<B>) -> Result<(Request<B>, Vec<String>), Response<Bytes>>
    where
        B: Body + From<Bytes>,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        // 1. Tools are called by POST.
        if request.method() != Method::POST {
            return Ok((request, Vec::new()));
        }
        // 2. What is called.
        let (mut parts, body) = request.into_parts();
        let (message, body) = if let Some(message) = parts.extensions.get::<JsonRpc>() {
            (message.clone(), Sent::Unread(body))
        } else {
            let read = json_rpc::read(&parts.headers, body, self.max_body_bytes).await;
            let (body, message) = read.map_err(not_json_rpc)?;
            (message, Sent::Read(body))
        };
        // 3. Which of it may run.
        let caller = parts.extensions.get::<Caller>().cloned();
        let mut refused = Vec::new();
        for (position, call) in message.calls().iter().enumerate() {
            if let Some(refusal) = self.refuse(caller.as_ref(), call).await {
                refused.push((position, answer(call, &refusal)));
            }
        }
        if refused.is_empty() {
            let body = match body {
                Sent::Read(bytes) => B::from(bytes),
                Sent::Unread(body) => body,
            };
            return Ok((Request::from_parts(parts, body), Vec::new()));
        }
        // 4. What is answered here.
        let positions: Vec<usize> = refused.iter().map(|(position, _)| *position).collect();
        let answers: Vec<String> = refused.into_iter().filter_map(|(_, answer)| answer).collect();
        if !message.is_batch() {
            return Err(answers
                .into_iter()
                .next()
                .map_or_else(accepted, |answer| json_answer(answer.into())));
        }
        let body = match body {
            Sent::Read(bytes) => bytes,
            Sent::Unread(body) => {
                let read = json_rpc::read(&parts.headers, body, self.max_body_bytes).await;
                read.map_err(not_json_rpc)?.0
            }
        };
        let rest = batch::without(&body, &positions)
            .ok_or(NotJsonRpc::NotJson)
            .map_err(not_json_rpc)?;
        if rest.is_empty() {
            return Err(if answers.is_empty() {
                accepted()
            } else {
                json_answer(batch::array(&answers))
            });
        }
        let body = batch::array(&rest);
        // Whoever comes after is to see what is left, in the extensions and in the headers.
        parts
            .extensions
            .insert(JsonRpc::parse(&body).map_err(not_json_rpc)?);
        // The answer is to be one that others can be put before.
        parts.headers.remove(header::ACCEPT_ENCODING);
        if parts.headers.contains_key(header::CONTENT_LENGTH) {
            parts.headers.insert(header::CONTENT_LENGTH, body.len().into());
        }
        Ok((Request::from_parts(parts, B::from(body)), answers))
    }

    async fn refuse(&self, caller: Option<&Caller>, call: &Call) -> Option<FrictionRefusal> {
        let tool = call.tool()?;
        let justification = call
            .params()
            .get("_meta")
            .and_then(|meta| meta[JUSTIFICATION].as_str());
        self.guard.admit(caller, tool, justification).await.err()
    }
}

/// The JSON-RPC response to a refused call; none to a notification.
fn answer(call: &Call, refusal: &FrictionRefusal) -> Option<String> {
    let id = call.id()?;
    let mut result = refusal.tool_result();
    // Required from 2026-07-28 on, whose requests say their version themselves; earlier clients do not know it.
    if call.protocol_version().is_some() {
        result["resultType"] = "complete".into();
    }
    Some(json!({ "jsonrpc": "2.0", "id": id, "result": result }).to_string())
}

fn not_json_rpc(error: NotJsonRpc) -> Response<Bytes> {
    let error_object = json!({ "code": error.code(), "message": error.to_string() });
    let body = json!({ "jsonrpc": "2.0", "id": null, "error": error_object });
    let mut answer = json_answer(body.to_string().into());
    *answer.status_mut() = error.status();
    answer
}

fn json_answer(body: Bytes) -> Response<Bytes> {
    let mut answer = Response::new(body);
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

fn accepted() -> Response<Bytes> {
    let mut answer = Response::new(Bytes::new());
    *answer.status_mut() = StatusCode::ACCEPTED;
    answer
}

/// Puts our answers before the server's.
fn merge<B>(response: Response<B>, refused: &[String]) -> Response<Answer<B>> {
    // An error is about the whole request.
    if refused.is_empty() || !response.status().is_success() {
        return response.map(Answer::of_inner);
    }
    let (mut parts, body) = response.into_parts();
    let media_type = parts
        .headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let media_type = media_type
        .unwrap_or_default()
        .split(';')
        .next()
        .unwrap_or_default()
        .trim();
    if media_type.eq_ignore_ascii_case("text/event-stream") {
        parts.headers.remove(header::CONTENT_LENGTH);
        return Response::from_parts(parts, Answer::merged(body, Merging::events(refused)));
    }
    if media_type.eq_ignore_ascii_case("application/json") {
        parts.headers.remove(header::CONTENT_LENGTH);
        return Response::from_parts(parts, Answer::merged(body, Merging::array(refused)));
    }
    // 202: the rest was notifications and answers, to which nothing is said.
    let answer = json_answer(batch::array(refused));
    parts.status = StatusCode::OK;
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.extend(answer.headers().clone());
    Response::from_parts(parts, Answer::of_layer(answer.into_body()))
}

#[cfg(test)]
mod tests;
