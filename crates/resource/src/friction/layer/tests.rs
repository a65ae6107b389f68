//! Whole exchanges through the layer, with a server behind it that shows what it was sent.
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
    ControllerConfig, FrictionRegistry, KeyBy, Plea, ToolFrictionConfig, WithoutCaller, key::tests::caller,
    refusal::FRICTION,
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
    let service =
        FrictionLayer::new(guard.clone()).layer(service_fn(move |request| server.clone().answer(request)));
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
