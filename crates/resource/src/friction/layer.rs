//! The tower layer: reads which tools a request calls, and answers the calls that have too much friction.
//!
//! It stands between [`Protect`](crate::Protect), which says who is calling, and the MCP server:
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
        let (message, read, body) = if let Some(message) = parts.extensions.get::<JsonRpc>() {
            (message.clone(), None, Some(body))
        } else {
            let read = json_rpc::read(&parts.headers, body, self.max_body_bytes).await;
            let (body, message) = read.map_err(not_json_rpc)?;
            (message, Some(body), None)
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
            let body = match (read, body) {
                (Some(read), _) => B::from(read),
                (None, body) => body.unwrap_or_else(|| B::from(Bytes::new())),
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
        let body = match (read, body) {
            (Some(read), _) => read,
            (None, Some(body)) => {
                let read = json_rpc::read(&parts.headers, body, self.max_body_bytes).await;
                read.map_err(not_json_rpc)?.0
            }
            (None, None) => Bytes::new(),
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
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use std::{
        convert::Infallible,
        sync::{Arc, Mutex},
        time::Duration,
    };

    use axum::body::Body as AxumBody;
    use http_body_util::BodyExt as _;
    use serde_json::Value;
    use tower::{ServiceExt as _, service_fn};

    use super::*;
    use crate::friction::{
        ControllerConfig, FrictionRegistry, KeyBy, Plea, ToolFrictionConfig, WithoutCaller,
        key::tests::caller, refusal::FRICTION,
    };

    /// A registry in which `delete` is refused after two calls in a row, and `off` always is.
    fn registry() -> FrictionRegistry {
        let config = ControllerConfig {
            warmup_calls: 0,
            ema_alpha: 1.0,
            adjustment_rate: 0.5,
            ..ControllerConfig::default()
        };
        let off = ToolFrictionConfig {
            hard_block_threshold: 0.0,
            ..ToolFrictionConfig::default()
        };
        FrictionRegistry::builder()
            .config(config)
            .tool("delete", ToolFrictionConfig::default())
            .tool("off", off)
            .clock(|| Duration::ZERO)
            .build()
            .unwrap()
    }

    /// What the server was sent, and what it answers.
    #[derive(Clone)]
    struct Server {
        got: Arc<Mutex<Vec<String>>>,
        answer: fn() -> Response<AxumBody>,
    }

    impl Server {
        fn answering(answer: fn() -> Response<AxumBody>) -> Self {
            let got = Arc::default();
            Self { got, answer }
        }

        fn last(&self) -> Option<String> {
            self.got.lock().unwrap().last().cloned()
        }

        async fn answer(self, request: Request<AxumBody>) -> Result<Response<AxumBody>, Infallible> {
            let length = request.headers().get("content-length").cloned();
            let body = request.into_body().collect().await.unwrap().to_bytes();
            if let Some(length) = length {
                assert_eq!(length, body.len().to_string());
            }
            self.got
                .lock()
                .unwrap()
                .push(String::from_utf8(body.to_vec()).unwrap());
            Ok((self.answer)())
        }
    }

    fn answer_with(media_type: &'static str, body: &'static str) -> Response<AxumBody> {
        let answer = Response::builder().header("content-type", media_type);
        answer
            .header("content-length", body.len())
            .body(body.into())
            .unwrap()
    }

    fn json_of_server() -> Response<AxumBody> {
        answer_with("application/json", " [{\"of\":\"server\"}]")
    }

    struct Answered {
        status: StatusCode,
        media_type: Option<String>,
        body: String,
    }

    impl Answered {
        fn json(&self) -> Value {
            assert_eq!(self.media_type.as_deref(), Some("application/json"));
            serde_json::from_str(&self.body).unwrap()
        }
    }

    async fn ask(
        guard: &FrictionGuard,
        server: &Server,
        extend: fn(&mut Request<AxumBody>),
        body: &str,
    ) -> Answered {
        let mut request = Request::post("/mcp").header("content-length", body.len());
        request = request.header("content-type", "application/json");
        let mut request = request.body(AxumBody::from(body.to_owned())).unwrap();
        extend(&mut request);
        let server = server.clone();
        let service = FrictionLayer::new(guard.clone())
            .layer(service_fn(move |request| server.clone().answer(request)));
        let answer = service.oneshot(request).await.unwrap();
        let (parts, body) = answer.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        if let Some(length) = parts.headers.get("content-length") {
            assert_eq!(length, &body.len().to_string());
        }
        Answered {
            status: parts.status,
            media_type: parts
                .headers
                .get("content-type")
                .map(|value| value.to_str().unwrap().to_owned()),
            body: String::from_utf8(body.to_vec()).unwrap(),
        }
    }

    fn by_alice(request: &mut Request<AxumBody>) {
        request
            .extensions_mut()
            .insert(caller(Some("alice"), Some("c1"), json!({})));
    }

    fn by_nobody(_: &mut Request<AxumBody>) {}

    fn call(tool: &str) -> String {
        format!(r#"{{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{{"name":"{tool}"}}}}"#)
    }

    /// S-286
    #[tokio::test]
    async fn a_blocked_call_is_a_tool_error_with_the_time_to_wait() {
        let guard = FrictionGuard::new(registry());
        let server = Server::answering(json_of_server);
        for _ in 0..2 {
            assert_eq!(
                ask(&guard, &server, by_alice, &call("delete")).await.json()[0]["of"],
                "server"
            );
        }
        assert_eq!(server.last().unwrap(), call("delete"), "byte for byte");
        server.got.lock().unwrap().clear();
        let refused = ask(&guard, &server, by_alice, &call("delete")).await;
        assert_eq!((refused.status, server.last()), (StatusCode::OK, None));
        let text = "Tool 'delete' is temporarily rate-limited. Blocked: friction 0.95 >= threshold 0.95. Please try a \
                    different approach or wait before retrying.";
        let expected = json!({
            "jsonrpc": "2.0",
            "id": 7,
            "result": {
                "content": [{ "type": "text", "text": text }],
                "isError": true,
                "_meta": { FRICTION: {
                    "reason": "blocked",
                    "tool": "delete",
                    "friction_level": "BLOCKED",
                    "friction": 0.95,
                    "cost": 9.525,
                    "retry_after": 1,
                } },
            },
        });
        assert_eq!(refused.json(), expected);
    }

    #[tokio::test]
    async fn a_client_of_2026_is_told_that_the_result_is_complete() {
        let guard = FrictionGuard::new(registry());
        let body = r#"{"jsonrpc":"2.0","id":"a","method":"tools/call","params":{"name":"off",
            "_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}"#;
        let refused = ask(&guard, &Server::answering(json_of_server), by_alice, body)
            .await
            .json();
        assert_eq!(refused["result"]["resultType"], "complete");
        assert_eq!(refused["result"]["_meta"][FRICTION]["retry_after"], Value::Null);
    }

    /// S-282
    #[tokio::test]
    async fn another_client_of_the_same_person_meets_the_same_friction() {
        fn by_alice_with_another(request: &mut Request<AxumBody>) {
            request
                .extensions_mut()
                .insert(caller(Some("alice"), Some("c2"), json!({})));
        }
        for (by, is_refused) in [(KeyBy::Subject, true), (KeyBy::Client, false)] {
            let guard = FrictionGuard::new(registry()).key_by(by);
            let server = Server::answering(json_of_server);
            for _ in 0..2 {
                ask(&guard, &server, by_alice, &call("delete")).await;
            }
            let answer = ask(&guard, &server, by_alice_with_another, &call("delete"))
                .await
                .json();
            assert_eq!(answer["result"]["isError"] == true, is_refused);
        }
    }

    /// S-285
    #[tokio::test]
    async fn a_call_of_nobody_is_refused_unless_allowed_and_tools_without_friction_are_not() {
        let guard = FrictionGuard::new(registry());
        let server = Server::answering(json_of_server);
        let refused = ask(&guard, &server, by_nobody, &call("delete")).await.json();
        assert_eq!(refused["result"]["_meta"][FRICTION]["reason"], "caller_unknown");
        assert_eq!(server.last(), None);
        assert_eq!(
            ask(&guard, &server, by_nobody, &call("read")).await.json()[0]["of"],
            "server"
        );
        let open = guard.without_caller(WithoutCaller::Allow);
        for _ in 0..9 {
            assert_eq!(
                ask(&open, &server, by_nobody, &call("delete")).await.json()[0]["of"],
                "server"
            );
        }
    }

    #[tokio::test]
    async fn what_calls_no_tool_passes() {
        let guard = FrictionGuard::new(registry());
        let server = Server::answering(json_of_server);
        for body in [
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":{}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"prompts/get","params":{"name":"off"}}"#,
        ] {
            ask(&guard, &server, by_alice, body).await;
            assert_eq!(server.last().as_deref(), Some(body));
        }
        let get = |request: &mut Request<AxumBody>| *request.method_mut() = Method::GET;
        ask(&guard, &server, get, "no JSON").await;
        assert_eq!(server.last().as_deref(), Some("no JSON"));
        assert_eq!(guard.registry().client_count(), 0);
    }

    #[tokio::test]
    async fn what_cannot_be_read_is_refused() {
        let guard = FrictionGuard::new(registry());
        let server = Server::answering(json_of_server);
        let refused = ask(&guard, &server, by_alice, "{").await;
        assert_eq!((refused.status, server.last()), (StatusCode::BAD_REQUEST, None));
        assert_eq!(refused.json()["error"]["code"], -32_700);
    }

    fn batch() -> String {
        let notification = r#"{"jsonrpc":"2.0","method":"tools/call","params":{"name":"off"}}"#;
        let list = r#"{"id":2, "method":"tools/list"}"#;
        format!(
            r#"[{}, {notification}, {{"id":9,"result":{{}}}}, {list}]"#,
            call("off")
        )
    }

    const LEFT_OF_BATCH: &str = r#"[{"id":9,"result":{}},{"id":2, "method":"tools/list"}]"#;

    #[tokio::test]
    async fn the_rest_of_a_batch_runs_and_all_answers_come_together() {
        let guard = FrictionGuard::new(registry());
        let one = || answer_with("application/json; charset=utf-8", "{\"of\":\"server\"}");
        let none = || Response::builder().status(202).body(AxumBody::empty()).unwrap();
        let servers = [
            (Server::answering(json_of_server), 2),
            (Server::answering(one), 2),
            (Server::answering(none), 1),
        ];
        for (server, count) in servers {
            let answered = ask(&guard, &server, by_alice, &batch()).await;
            assert_eq!(server.last().unwrap(), LEFT_OF_BATCH);
            assert_eq!(answered.status, StatusCode::OK);
            let all: Value = serde_json::from_str(&answered.body).unwrap();
            assert_eq!(all.as_array().unwrap().len(), count);
            assert_eq!(
                (&all[0]["id"], &all[0]["result"]["isError"]),
                (&json!(7), &json!(true))
            );
            assert!(count == 1 || all[1]["of"] == "server");
        }
    }

    #[tokio::test]
    async fn the_answers_to_a_batch_come_in_one_stream() {
        let guard = FrictionGuard::new(registry());
        let server = Server::answering(|| answer_with("text/event-stream", "data: {\"of\":\"server\"}\n\n"));
        let answered = ask(&guard, &server, by_alice, &batch()).await;
        let (ours, of_server) = answered.body.split_once("\n\n").unwrap();
        let ours: Value = serde_json::from_str(ours.strip_prefix("event: message\ndata: ").unwrap()).unwrap();
        assert_eq!(
            (&ours["id"], &ours["result"]["isError"]),
            (&json!(7), &json!(true))
        );
        assert_eq!(of_server, "data: {\"of\":\"server\"}\n\n");
    }

    #[tokio::test]
    async fn an_error_of_the_server_stands_for_the_whole_batch() {
        let guard = FrictionGuard::new(registry());
        let server = Server::answering(|| {
            let mut answer = answer_with("application/json", "{}");
            *answer.status_mut() = StatusCode::BAD_REQUEST;
            answer
        });
        let answered = ask(&guard, &server, by_alice, &batch()).await;
        assert_eq!(
            (answered.status, answered.body.as_str()),
            (StatusCode::BAD_REQUEST, "{}")
        );
    }

    #[tokio::test]
    async fn a_batch_of_refused_calls_and_a_refused_notification_do_not_reach_the_server() {
        let guard = FrictionGuard::new(registry());
        let server = Server::answering(json_of_server);
        let both = format!("[{},{}]", call("off"), call("off"));
        assert_eq!(
            ask(&guard, &server, by_alice, &both)
                .await
                .json()
                .as_array()
                .unwrap()
                .len(),
            2
        );
        let notification = r#"{"jsonrpc":"2.0","method":"tools/call","params":{"name":"off"}}"#;
        for body in [notification.to_owned(), format!("[{notification}]")] {
            let answered = ask(&guard, &server, by_alice, &body).await;
            assert_eq!(
                (answered.status, answered.body.as_str()),
                (StatusCode::ACCEPTED, "")
            );
        }
        assert_eq!(server.last(), None);
    }

    #[tokio::test]
    async fn what_a_layer_outside_has_read_is_not_read_again() {
        let guard = FrictionGuard::new(registry());
        let server = Server::answering(json_of_server);
        // The body says `read`; the layer outside is believed.
        let read_before = |request: &mut Request<AxumBody>| {
            by_alice(request);
            let message = JsonRpc::parse(call("off").as_bytes()).unwrap();
            request.extensions_mut().insert(message);
        };
        let refused = ask(&guard, &server, read_before, &call("read")).await.json();
        assert_eq!(
            (&refused["result"]["isError"], server.last()),
            (&json!(true), None)
        );
    }

    /// S-278
    #[tokio::test]
    async fn a_justification_is_demanded_where_somebody_judges_it() {
        fn is_good(plea: &Plea<'_>) -> bool {
            assert!(plea.caller.is_some() && plea.result.justification_required);
            plea.text == "the person asked for it"
        }
        let guard = FrictionGuard::new(registry()).justify(is_good);
        let server = Server::answering(json_of_server);
        // A call of another tool between keeps the friction between the thresholds.
        let justified = |text: &str| {
            format!(
                r#"{{"id":7,"method":"tools/call","params":{{"name":"delete","_meta":{{"authflow/justification":{text}}}}}}}"#
            )
        };
        for tool in ["delete", "read"] {
            let answer = ask(&guard, &server, by_alice, &call(tool)).await;
            assert_eq!(answer.json()[0]["of"], "server", "{tool}");
        }
        let status = guard
            .registry()
            .client_status("subject:https://as.test alice")
            .unwrap();
        assert_eq!(status.tools["delete"].level.as_str(), "HIGH");
        for text in [
            "null",
            "7",
            "\"  \"",
            "\"because\"",
            &format!("\"{}\"", "x".repeat(5_000)),
        ] {
            let refused = ask(&guard, &server, by_alice, &justified(text)).await.json();
            let data = &refused["result"]["_meta"][FRICTION];
            assert_eq!(data["reason"], "justification_required");
            assert_eq!(data["justification_key"], "authflow/justification");
        }
        let good = justified("\"the person asked for it\"");
        assert_eq!(
            ask(&guard, &server, by_alice, &good).await.json()[0]["of"],
            "server"
        );
    }
}
