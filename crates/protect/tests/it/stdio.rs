//! Servers over stdio, bridged to streamable HTTP.

use std::{sync::Arc, time::Duration};

use axum::body::Body;
use http::{Request, Response, StatusCode};
use mcp_authflow_protect::{InvalidProxy, Proxy, Upstream};
use serde_json::{Value, json};

use crate::{
    child::{Kind, note_in, upstream},
    support::{Front, Plain, json, next, request, request_of, text, until, with, within, without_events},
};

const META: &str = "io.github.mcp-authflow/identity";

fn front(kind: Kind) -> Front {
    Front::of(Proxy::builder(upstream(kind)).build().unwrap())
}

fn call(id: &Value, tool: &str, arguments: &Value) -> String {
    let params = json!({"name": tool, "arguments": arguments});
    json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params}).to_string()
}

fn in_session(session: &str, method: &str, body: impl Into<Body>) -> Request<Body> {
    with(request(method, "/mcp", body), &[("mcp-session-id", session)])
}

/// Makes the handshake of `token`'s, and says the session's id.
async fn begin(front: &Front, token: &str) -> String {
    let hello = json!({"jsonrpc": "2.0", "id": "init", "method": "initialize", "params": {
        "protocolVersion": "2025-06-18", "capabilities": {"sampling": {}}, "clientInfo": {"name": "t", "version": "1"}}});
    let answered = front
        .send(request_of(token, "POST", "/mcp", hello.to_string()))
        .await;
    let session = answered.headers().get("mcp-session-id").cloned();
    let (status, body) = json(answered).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    assert_eq!(
        (&body["id"], &body["result"]["serverInfo"]["name"]),
        (&json!("init"), &json!("child"))
    );
    let session = session.unwrap().to_str().unwrap().to_owned();
    assert_eq!(session.len(), 43);
    let ready = json!({"jsonrpc": "2.0", "method": "notifications/initialized"}).to_string();
    let asking = with(
        request_of(token, "POST", "/mcp", ready),
        &[("mcp-session-id", &session)],
    );
    assert_eq!(front.send(asking).await.status(), StatusCode::ACCEPTED);
    session
}

/// Reads events until one of them fits.
async fn event(body: &mut Body, fits: impl Fn(&Value) -> bool) -> (String, Value) {
    loop {
        let text = next(body).await.expect("an event");
        for block in text.split("\n\n").filter(|block| block.contains("data: {")) {
            let data = block
                .lines()
                .find_map(|line| line.strip_prefix("data: "))
                .unwrap();
            let id = block
                .lines()
                .find_map(|line| line.strip_prefix("id: "))
                .unwrap_or_default();
            let message: Value = serde_json::from_str(data).unwrap();
            if fits(&message) {
                return (id.to_owned(), message);
            }
        }
    }
}

fn is_events(response: &Response<Body>) -> bool {
    response.headers()["content-type"] == "text/event-stream"
}

/// M-127, M-128
#[tokio::test]
async fn a_session_has_a_child_of_its_own_and_is_its_callers() {
    let front = front(Kind::Older);
    let (first, second) = (begin(&front, "alice.c1").await, begin(&front, "bob.c1").await);
    let echo = call(&json!("x"), "echo", &json!({"n": 1}));
    let (status, one) = json(front.send(in_session(&first, "POST", echo.clone())).await).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(
        (&one["id"], &one["result"]["arguments"]),
        (&json!("x"), &json!({"n": 1}))
    );
    let bobs = |session: &str| {
        with(
            request_of("bob.c1", "POST", "/mcp", echo.clone()),
            &[("mcp-session-id", session)],
        )
    };
    let (_, other) = json(front.send(bobs(&second)).await).await;
    assert_ne!(one["result"]["pid"], other["result"]["pid"]);

    // Bob knows the id of alice's session, and alice comes through another client.
    assert_eq!(front.send(bobs(&first)).await.status(), StatusCode::NOT_FOUND);
    let other_client = request_of("alice.c2", "POST", "/mcp", echo.clone());
    let asking = with(other_client, &[("mcp-session-id", &first)]);
    assert_eq!(front.send(asking).await.status(), StatusCode::NOT_FOUND);
    let deleting = with(
        request_of("bob.c1", "DELETE", "/mcp", ""),
        &[("mcp-session-id", &first)],
    );
    assert_eq!(front.send(deleting).await.status(), StatusCode::NOT_FOUND);
    // No session at all.
    let (status, body) = json(front.send(request("POST", "/mcp", echo.clone())).await).await;
    assert_eq!(
        (status, &body["error"]["code"]),
        (StatusCode::BAD_REQUEST, &json!(-32_600))
    );

    assert_eq!(
        front.send(in_session(&first, "DELETE", "")).await.status(),
        StatusCode::NO_CONTENT
    );
    assert_eq!(
        front.send(in_session(&first, "POST", echo)).await.status(),
        StatusCode::NOT_FOUND
    );
    front.proxy.shut_down().await;
}

#[tokio::test]
async fn progress_streams_while_the_tool_runs_and_keeps_the_clients_token() {
    let front = front(Kind::Older);
    let session = begin(&front, "alice.c1").await;
    let asking = json!({"jsonrpc": "2.0", "id": 7, "method": "tools/call",
        "params": {"name": "progress", "arguments": {}, "_meta": {"progressToken": "mine"}}});
    let answered = front.send(in_session(&session, "POST", asking.to_string())).await;
    assert!(is_events(&answered));
    let mut body = answered.into_body();
    for step in 1..=3 {
        let (_, told) = event(&mut body, |_| true).await;
        assert_eq!(told["params"], json!({"progressToken": "mine", "progress": step}));
    }
    let (_, last) = event(&mut body, |_| true).await;
    assert_eq!(
        (&last["id"], &last["result"]),
        (&json!(7), &json!({"done": true}))
    );
    assert_eq!(next(&mut body).await, None);
}

#[tokio::test]
async fn the_child_asks_and_the_client_answers() {
    let front = front(Kind::Older);
    let session = begin(&front, "alice.c1").await;
    let answered = front
        .send(in_session(&session, "POST", call(&json!(1), "ask", &json!({}))))
        .await;
    let mut body = answered.into_body();
    let (_, asked) = event(&mut body, |_| true).await;
    assert_eq!(
        (&asked["method"], &asked["id"]),
        (&json!("sampling/createMessage"), &json!("q-1"))
    );
    // What was not asked is not answered.
    for id in ["q-2", "q-1", "q-1"] {
        let answer = json!({"jsonrpc": "2.0", "id": id, "result": {"said": id}}).to_string();
        let taken = front.send(in_session(&session, "POST", answer)).await;
        assert_eq!(taken.status(), StatusCode::ACCEPTED);
    }
    let (_, result) = event(&mut body, |_| true).await;
    assert_eq!(result["result"], json!({"answered": {"said": "q-1"}}));
}

#[tokio::test]
async fn a_broken_connection_loses_nothing_and_cancels_nothing() {
    let front = front(Kind::Older);
    let session = begin(&front, "alice.c1").await;
    let asking = json!({"jsonrpc": "2.0", "id": 7, "method": "tools/call",
        "params": {"name": "progress", "arguments": {}, "_meta": {"progressToken": 1}}});
    let mut body = front
        .send(in_session(&session, "POST", asking.to_string()))
        .await
        .into_body();
    let (id, _) = event(&mut body, |told| told["params"]["progress"] == 1).await;
    drop(body);
    let resuming = with(in_session(&session, "GET", ""), &[("last-event-id", &id)]);
    let mut body = front.send(resuming).await.into_body();
    for step in 2..=3 {
        let (_, told) = event(&mut body, |_| true).await;
        assert_eq!(told["params"]["progress"], step);
    }
    let (last, result) = event(&mut body, |_| true).await;
    assert_eq!(result["result"], json!({"done": true}));
    assert_eq!(next(&mut body).await, None);
    // Nobody else takes it up, and nobody takes up what is not there.
    let theirs = with(
        request_of("bob.c1", "GET", "/mcp", ""),
        &[("mcp-session-id", &session), ("last-event-id", &last)],
    );
    assert_eq!(front.send(theirs).await.status(), StatusCode::NOT_FOUND);
    for bad in ["999-0", "nonsense"] {
        let resuming = with(in_session(&session, "GET", ""), &[("last-event-id", bad)]);
        assert_eq!(
            front.send(resuming).await.status(),
            StatusCode::BAD_REQUEST,
            "{bad}"
        );
    }
}

#[tokio::test]
async fn what_belongs_to_no_request_goes_to_the_stream_of_a_get() {
    let front = front(Kind::Older);
    let session = begin(&front, "alice.c1").await;
    let mut listening = front.send(in_session(&session, "GET", "")).await.into_body();
    let hanging = front.send(in_session(
        &session,
        "POST",
        call(&json!("h"), "hang", &json!({})),
    ));
    let hanging = within(hanging).await;
    assert!(is_events(&hanging));
    // The client cancels: the child hears of it under its own id for the request, and the stream ends.
    let cancel = json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "h"}});
    front.send(in_session(&session, "POST", cancel.to_string())).await;
    let (_, told) = event(&mut listening, |_| true).await;
    assert!(told["params"]["data"]["cancelled"].is_u64(), "{told}");
    assert_eq!(text(hanging).await.1, "");
}

#[tokio::test]
async fn a_log_line_of_the_only_request_comes_with_its_answer() {
    let front = front(Kind::Older);
    let session = begin(&front, "alice.c1").await;
    let answered = front
        .send(in_session(&session, "POST", call(&json!(1), "log", &json!({}))))
        .await;
    let (_, events) = text(answered).await;
    let (log, answer) = (events.find("hello").unwrap(), events.find("logged").unwrap());
    assert!(log < answer, "{events}");
}

#[tokio::test]
async fn a_child_that_crashes_is_a_bad_gateway_and_its_session_is_over() {
    let front = front(Kind::Older);
    let session = begin(&front, "alice.c1").await;
    let crash = in_session(&session, "POST", call(&json!(3), "crash", &json!({})));
    let (status, body) = json(front.send(without_events(crash)).await).await;
    assert_eq!(status, StatusCode::BAD_GATEWAY, "{body}");
    assert_eq!(
        (&body["id"], &body["error"]["data"]["error"]),
        (&json!(3), &json!("bad_gateway"))
    );
    let echo = in_session(&session, "POST", call(&json!(4), "echo", &json!({})));
    assert_eq!(front.send(echo).await.status(), StatusCode::NOT_FOUND);
    // A client that is told 404 begins again.
    begin(&front, "alice.c1").await;
}

#[tokio::test]
async fn a_child_that_cannot_start_or_hangs_is_told_from_one_that_answers() {
    let hello = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {}}).to_string();
    let nothing = Proxy::builder(Upstream::command("/no/such/program", ["x"]))
        .build()
        .unwrap();
    for front in [front(Kind::Broken), Front::of(nothing)] {
        let (status, body) = json(front.send(request("POST", "/mcp", hello.clone())).await).await;
        assert_eq!(status, StatusCode::BAD_GATEWAY);
        assert_eq!(body["error"]["data"]["error"], "bad_gateway");
    }
    assert!(matches!(
        Proxy::builder(Upstream::command("", ["x"])).build(),
        Err(InvalidProxy::NoCommand)
    ));
    let short = Proxy::builder(upstream(Kind::Older)).answer_within(Duration::from_millis(1_500));
    let front = Front::of(short.build().unwrap());
    let session = begin(&front, "alice.c1").await;
    let hang = in_session(&session, "POST", call(&json!(1), "hang", &json!({})));
    let (status, body) = json(within(front.send(without_events(hang))).await).await;
    assert_eq!((status, &body["id"]), (StatusCode::GATEWAY_TIMEOUT, &json!(1)));
}

/// RP-12, M-125: over stdio it is `_meta` that says who calls.
#[tokio::test]
async fn the_child_learns_who_calls_and_a_client_cannot_say_it() {
    let proxy = Proxy::builder(upstream(Kind::Older))
        .identity(Arc::new(Plain))
        .build()
        .unwrap();
    let audience = proxy.identity_audience().to_owned();
    assert!(audience.starts_with("stdio:"));
    let front = Front::of(proxy);
    let session = begin(&front, "alice.c1").await;
    for meta in [
        json!({}),
        json!({META: "SPOOF", "other": 1}),
        json!({META.to_uppercase(): "SPOOF"}),
    ] {
        let asking = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call",
            "params": {"name": "echo", "_meta": meta}});
        let (_, body) = json(front.send(in_session(&session, "POST", asking.to_string())).await).await;
        let got = &body["result"]["meta"];
        assert_eq!(got[META], format!("signed:alice:{audience}"));
        assert!(
            !got.to_string().contains("SPOOF") && !got.to_string().contains("alice.c1"),
            "{got}"
        );
    }
    let names = in_session(&session, "POST", call(&json!(2), "environment", &json!({})));
    let (_, body) = json(front.send(names).await).await;
    let names = body["result"].as_array().unwrap();
    assert!(names.contains(&json!("CHILD")) && names.contains(&json!("PATH")));
}

#[tokio::test]
async fn ids_of_the_client_may_be_anything_and_many_requests_run_at_once() {
    let front = front(Kind::Older);
    let session = begin(&front, "alice.c1").await;
    let mut running = Vec::new();
    for number in 0..40 {
        // The same id over and over, as several connections of one client would have it.
        let id = if number % 2 == 0 {
            json!(1)
        } else {
            json!(format!("s-{number}"))
        };
        let (front, session) = (front.clone(), session.clone());
        running.push(tokio::spawn(async move {
            let asking = in_session(&session, "POST", call(&id, "echo", &json!({"number": number})));
            let (_, body) = json(front.send(asking).await).await;
            assert_eq!(
                (&body["id"], &body["result"]["arguments"]["number"]),
                (&id, &json!(number))
            );
        }));
    }
    for one in running {
        within(one).await.unwrap();
    }
    let noise = in_session(&session, "POST", call(&json!(1), "noise", &json!({})));
    let (_, body) = json(front.send(noise).await).await;
    assert_eq!(body["result"], json!({"noisy": true}));
    let big = in_session(
        &session,
        "POST",
        call(&json!(1), "big", &json!({"bytes": 8_000_000})),
    );
    let (_, body) = json(front.send(big).await).await;
    assert_eq!(body["result"]["text"].as_str().unwrap().len(), 8_000_000);
    // 2025-03-26 has batches.
    let batch = format!(
        "[{},{}]",
        call(&json!("a"), "echo", &json!({})),
        call(&json!("b"), "nothing", &json!({}))
    );
    let (_, events) = text(front.send(in_session(&session, "POST", batch)).await).await;
    assert!(
        events.contains(r#""id":"a""#) && events.contains(r#""id":"b""#),
        "{events}"
    );
}

fn stateless(token: &str, method: &str, id: &Value, mut params: Value) -> Request<Body> {
    params["_meta"]["io.modelcontextprotocol/protocolVersion"] = json!("2026-07-28");
    params["_meta"]["io.modelcontextprotocol/clientInfo"] = json!({"name": "t", "version": "1"});
    params["_meta"]["io.modelcontextprotocol/clientCapabilities"] = json!({});
    let body = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).to_string();
    with(
        request_of(token, "POST", "/mcp", body),
        &[("mcp-protocol-version", "2026-07-28"), ("mcp-method", method)],
    )
}

/// A client of 2026-07-28, in front of children that know it, do not know it, and end on hearing of it.
#[tokio::test]
async fn a_client_without_sessions_works_whatever_the_child_knows() {
    for kind in [Kind::Older, Kind::Strict, Kind::Stateless] {
        let front = front(kind);
        let discover = stateless("alice.c1", "server/discover", &json!(1), json!({}));
        let (status, body) = json(within(front.send(discover)).await).await;
        assert_eq!(status, StatusCode::OK, "{kind:?} {body}");
        assert_eq!(body["result"]["supportedVersions"], json!(["2026-07-28"]));
        assert_eq!(body["result"]["resultType"], "complete");
        let list = stateless("alice.c1", "tools/list", &json!("l"), json!({}));
        let (_, body) = json(front.send(list).await).await;
        assert_eq!(
            (&body["id"], &body["result"]["tools"][0]["name"]),
            (&json!("l"), &json!("echo"))
        );
        let mut children = Vec::new();
        for token in ["alice.c1", "alice.c1", "bob.c1"] {
            let echo = json!({"name": "echo", "arguments": {"a": 1}, "_meta": {"mine": 1}});
            let (_, body) = json(front.send(stateless(token, "tools/call", &json!(1), echo)).await).await;
            assert_eq!(body["result"]["arguments"], json!({"a": 1}));
            assert_eq!(body["result"]["meta"]["mine"], 1);
            let has_version = body["result"]["meta"]
                .get("io.modelcontextprotocol/protocolVersion")
                .is_some();
            assert_eq!(has_version, matches!(kind, Kind::Stateless));
            children.push(body["result"]["pid"].clone());
        }
        assert!(
            children[0] == children[1] && children[1] != children[2],
            "{children:?}"
        );
        // Some errors have a status.
        let (status, _) = json(
            front
                .send(without_events(stateless(
                    "alice.c1",
                    "no/such",
                    &json!(1),
                    json!({}),
                )))
                .await,
        )
        .await;
        assert_eq!(status, StatusCode::NOT_FOUND);
        // What every request must say is missing: a child that heard it could take the connection for an older one.
        for meta in [
            json!({}),
            json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28"}),
        ] {
            let params = json!({"name": "echo", "arguments": {}, "_meta": meta});
            let body = json!({"jsonrpc": "2.0", "id": "m", "method": "tools/call", "params": params});
            let headers = [
                ("mcp-protocol-version", "2026-07-28"),
                ("mcp-method", "tools/call"),
                ("mcp-name", "echo"),
            ];
            let call = with(request_of("alice.c1", "POST", "/mcp", body.to_string()), &headers);
            let (status, body) = json(front.send(call).await).await;
            assert_eq!(
                (status, &body["id"], &body["error"]["code"]),
                (StatusCode::BAD_REQUEST, &json!("m"), &json!(-32_602)),
                "{kind:?} {body}"
            );
        }
        // There is nothing to listen to.
        let listening = front.send(request("GET", "/mcp", "")).await;
        assert_eq!(listening.status(), StatusCode::METHOD_NOT_ALLOWED);
        // A child that asks is told that there is nobody.
        if !matches!(kind, Kind::Stateless) {
            let ask = stateless("alice.c1", "tools/call", &json!(1), json!({"name": "ask"}));
            let (_, body) = json(within(front.send(ask)).await).await;
            assert_eq!(body["result"]["answered"], Value::Null);
        }
        // It crashes, and the next request finds another.
        let crash = stateless("alice.c1", "tools/call", &json!(1), json!({"name": "crash"}));
        assert_eq!(
            front.send(without_events(crash)).await.status(),
            StatusCode::BAD_GATEWAY
        );
        let list = stateless("alice.c1", "tools/list", &json!("l"), json!({}));
        assert_eq!(front.send(list).await.status(), StatusCode::OK, "{kind:?}");
        front.proxy.shut_down().await;
    }
}

/// MCP 2026-07-28, *Versioning*: a version that nobody knows, and what the version has no more, never reach the child.
#[tokio::test]
async fn what_is_none_of_the_childs_versions_is_refused_before_the_child() {
    const NEW: &str = "2026-07-28";
    for kind in [Kind::Older, Kind::Stateless] {
        let front = front(kind);
        let asking = |method: &str, version: &str| {
            let meta = json!({"io.modelcontextprotocol/protocolVersion": version,
                "io.modelcontextprotocol/clientCapabilities": {}});
            let params = json!({"_meta": meta, "protocolVersion": version, "capabilities": {}});
            let body = json!({"jsonrpc": "2.0", "id": "a", "method": method, "params": params});
            let asking = request_of("alice.c1", "POST", "/mcp", body.to_string());
            with(
                asking,
                &[("mcp-protocol-version", version), ("mcp-method", method)],
            )
        };
        for method in ["tools/list", "server/discover"] {
            let (status, body) = json(within(front.send(asking(method, "2099-01-01"))).await).await;
            assert_eq!(status, StatusCode::BAD_REQUEST, "{kind:?} {method} {body}");
            assert_eq!(
                (&body["id"], &body["error"]["code"]),
                (&json!("a"), &json!(-32_022))
            );
            let expected = json!({"supported": [NEW], "requested": "2099-01-01"});
            assert_eq!(body["error"]["data"], expected, "{kind:?} {method}");
        }
        for method in ["initialize", "ping", "logging/setLevel"] {
            let (status, body) = json(within(front.send(asking(method, NEW))).await).await;
            assert_eq!(status, StatusCode::NOT_FOUND, "{kind:?} {method} {body}");
            assert_eq!(
                (&body["id"], &body["error"]["code"]),
                (&json!("a"), &json!(-32_601))
            );
        }
        let (status, _) = json(front.send(asking("tools/list", NEW)).await).await;
        assert_eq!(status, StatusCode::OK);
        within(front.proxy.shut_down()).await;
    }
}

/// M-131: a header that repeats an argument says the same; over the pipe only the bridge can tell.
#[tokio::test]
async fn headers_that_repeat_arguments_are_compared_once_the_tools_are_known() {
    for kind in [Kind::Older, Kind::Stateless] {
        let front = front(kind);
        let list = stateless("alice.c1", "tools/list", &json!(1), json!({}));
        assert_eq!(within(front.send(list)).await.status(), StatusCode::OK);
        let shout = |region: &str| {
            let arguments = json!({"name": "shout", "arguments": {"region": "eu"}});
            let asking = stateless("alice.c1", "tools/call", &json!("s"), arguments);
            let headers = [("mcp-name", "shout"), ("mcp-param-region", region)];
            with(asking, &headers[..if region.is_empty() { 1 } else { 2 }])
        };
        for same in ["eu", "=?base64?ZXU=?="] {
            let (status, body) = json(front.send(shout(same)).await).await;
            assert_eq!(status, StatusCode::OK, "{kind:?} {body}");
            assert_eq!(body["result"]["arguments"], json!({"region": "eu"}));
        }
        for other in ["us", "", "=?base64?ZXU?="] {
            let (status, body) = json(front.send(shout(other)).await).await;
            assert_eq!(status, StatusCode::BAD_REQUEST, "{kind:?} {other} {body}");
            assert_eq!(
                (&body["id"], &body["error"]["code"]),
                (&json!("s"), &json!(-32_020))
            );
        }
        within(front.proxy.shut_down()).await;
    }
}

/// Clients register themselves: a person who has many has no more children for it.
#[tokio::test]
async fn children_are_counted_by_person_and_not_by_client() {
    let front = front(Kind::Older);
    let mut listening = Vec::new();
    for number in 0..8 {
        let token = format!("alice.c{number}");
        let session = begin(&front, &token).await;
        let listen = with(
            request_of(&token, "GET", "/mcp", ""),
            &[("mcp-session-id", &session)],
        );
        listening.push(front.send(listen).await);
    }
    let hello = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {}}).to_string();
    let ninth = front.send(request_of("alice.c8", "POST", "/mcp", hello)).await;
    assert_eq!(ninth.status(), StatusCode::SERVICE_UNAVAILABLE);
    begin(&front, "bob.c0").await;
    drop(listening);
    within(front.proxy.shut_down()).await;
}

#[tokio::test]
async fn a_client_without_sessions_that_leaves_has_cancelled() {
    let front = front(Kind::Stateless);
    let listen = || {
        stateless(
            "alice.c1",
            "subscriptions/listen",
            &json!("sub"),
            json!({"notifications": {}}),
        )
    };
    let mut listening = front.send(listen()).await.into_body();
    let (_, told) = event(&mut listening, |_| true).await;
    assert_eq!(told["method"], "notifications/tools/list_changed");
    assert_eq!(
        told["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"],
        "sub"
    );
    let hang = stateless("alice.c1", "tools/call", &json!(9), json!({"name": "hang"}));
    let hanging = front.send(hang).await;
    assert!(is_events(&hanging));
    drop(hanging);
    // The child hears of it, and says so to the only one who is left.
    let (_, told) = event(&mut listening, |_| true).await;
    assert!(told["params"]["data"]["cancelled"].is_u64(), "{told}");
}

#[tokio::test]
async fn children_are_few_idle_ones_make_room_and_none_is_left_behind() {
    let notes = std::env::temp_dir().join(format!("protect-{}", std::process::id()));
    std::fs::create_dir_all(&notes).unwrap();
    let few = note_in(upstream(Kind::Older).max_children(2), &notes);
    let front = Front::of(Proxy::builder(few).build().unwrap());
    let ended = || std::fs::read_dir(&notes).unwrap().count();
    let first = begin(&front, "alice.c1").await;
    let second = begin(&front, "bob.c1").await;
    // Alice's idles for the longest time.
    let third = begin(&front, "carol.c1").await;
    let ping = |token: &str, session: &str| {
        with(
            request_of(token, "POST", "/mcp", call(&json!(1), "echo", &json!({}))),
            &[("mcp-session-id", session)],
        )
    };
    assert_eq!(
        front.send(ping("alice.c1", &first)).await.status(),
        StatusCode::NOT_FOUND
    );
    assert_eq!(front.send(ping("bob.c1", &second)).await.status(), StatusCode::OK);
    until(|| ended() == 1).await;
    // Both are busy.
    let listen = |token: &str, session: &str| {
        with(
            request_of(token, "GET", "/mcp", ""),
            &[("mcp-session-id", session)],
        )
    };
    let (_bobs, _carols) = (
        front.send(listen("bob.c1", &second)).await,
        front.send(listen("carol.c1", &third)).await,
    );
    let hello = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {}}).to_string();
    let refused = front.send(request_of("dave.c1", "POST", "/mcp", hello)).await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(refused.headers().contains_key("retry-after"));
    within(front.proxy.shut_down()).await;
    assert_eq!(ended(), 3);
    std::fs::remove_dir_all(&notes).unwrap();
}

#[tokio::test]
async fn a_child_that_idles_is_ended() {
    let brief = upstream(Kind::Older).idle_after(Duration::from_millis(100));
    let front = Front::of(Proxy::builder(brief).build().unwrap());
    let session = begin(&front, "alice.c1").await;
    let mut status = StatusCode::OK;
    within(async {
        while status != StatusCode::NOT_FOUND {
            tokio::time::sleep(Duration::from_millis(1_200)).await;
            let echo = in_session(&session, "POST", call(&json!(1), "echo", &json!({})));
            status = front.send(echo).await.status();
        }
    })
    .await;
}

#[tokio::test]
async fn what_is_no_message_is_refused() {
    let front = front(Kind::Older);
    let session = begin(&front, "alice.c1").await;
    let too_large = format!("\"{}\"", "x".repeat(4 * 1_024 * 1_024));
    for (body, status, code) in [
        ("{", 400, -32_700),
        ("[]", 400, -32_600),
        ("{}", 400, -32_600),
        (r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}"#, 400, -32_700),
        (too_large.as_str(), 413, -32_600),
    ] {
        let (got, answer) = json(front.send(in_session(&session, "POST", body.to_owned())).await).await;
        assert_eq!(got.as_u16(), status, "{answer}");
        assert_eq!(answer["error"]["code"], code, "{answer}");
    }
    let mut asking = in_session(&session, "POST", "{}");
    asking
        .headers_mut()
        .insert("accept", "text/html".parse().unwrap());
    assert_eq!(front.send(asking).await.status(), StatusCode::NOT_ACCEPTABLE);
    assert_eq!(
        front.send(request("PUT", "/mcp", "")).await.status(),
        StatusCode::METHOD_NOT_ALLOWED
    );
    assert_eq!(
        front.send(request("POST", "/mcp/sub", "{}")).await.status(),
        StatusCode::NOT_FOUND
    );
}

/// A child that ignores all that it is asked, and what it has started, end when the client leaves the handshake.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_child_that_does_not_want_to_end_is_ended_with_what_it_started() {
    let notes = std::env::temp_dir().join(format!("protect-stubborn-{}", std::process::id()));
    std::fs::create_dir_all(&notes).unwrap();
    let script = r#"trap "" TERM; sleep 1000 & echo $! $$ > "$NOTES/new"; mv "$NOTES/new" "$NOTES/pids"
        while :; do sleep 1; done"#;
    let stubborn = note_in(Upstream::command("sh", ["-c", script]), &notes);
    let front = Front::of(Proxy::builder(stubborn).build().unwrap());
    let hello = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {}}).to_string();
    let asking = tokio::spawn(async move { front.send(request("POST", "/mcp", hello)).await.status() });
    until(|| notes.join("pids").exists()).await;
    let pids = std::fs::read_to_string(notes.join("pids")).unwrap();
    let lives = |pid: &str| std::path::Path::new("/proc").join(pid).exists();
    assert!(pids.split_whitespace().all(lives), "{pids}");
    asking.abort();
    until(|| !pids.split_whitespace().any(lives)).await;
    std::fs::remove_dir_all(&notes).unwrap();
}

/// A child that ends and leaves somebody behind who holds its output does not keep the session alive.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn what_a_child_leaves_behind_is_ended_too() {
    let notes = std::env::temp_dir().join(format!("protect-left-{}", std::process::id()));
    std::fs::create_dir_all(&notes).unwrap();
    let script = r#"sleep 1000 & echo $! > "$NOTES/pids""#;
    let leaves = note_in(Upstream::command("sh", ["-c", script]), &notes);
    let front = Front::of(Proxy::builder(leaves).build().unwrap());
    let hello = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {}}).to_string();
    let answered = within(front.send(request("POST", "/mcp", hello))).await;
    assert_eq!(answered.status(), StatusCode::BAD_GATEWAY);
    let left = std::fs::read_to_string(notes.join("pids")).unwrap();
    until(|| !std::path::Path::new("/proc").join(left.trim()).exists()).await;
    std::fs::remove_dir_all(&notes).unwrap();
}

/// A child that ends as soon as its input does, and leaves somebody behind who did not hear of it.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn what_a_child_that_ends_in_an_orderly_way_leaves_behind_is_ended_too() {
    let notes = std::env::temp_dir().join(format!("protect-orderly-{}", std::process::id()));
    std::fs::create_dir_all(&notes).unwrap();
    let script = r#"sleep 1000 < /dev/null & echo $! $$ > "$NOTES/new"; mv "$NOTES/new" "$NOTES/pids"
        cat > /dev/null"#;
    let orderly = note_in(Upstream::command("sh", ["-c", script]), &notes);
    let front = Front::of(Proxy::builder(orderly).build().unwrap());
    let hello = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {}}).to_string();
    let asking = tokio::spawn(async move { front.send(request("POST", "/mcp", hello)).await.status() });
    until(|| notes.join("pids").exists()).await;
    let pids = std::fs::read_to_string(notes.join("pids")).unwrap();
    let lives = |pid: &str| std::path::Path::new("/proc").join(pid).exists();
    assert!(pids.split_whitespace().all(lives), "{pids}");
    asking.abort();
    until(|| !pids.split_whitespace().any(lives)).await;
    std::fs::remove_dir_all(&notes).unwrap();
}

/// M-127, M-128: introspection need not tell the subject (RFC 7662 §2.2), and people share a client.
#[tokio::test]
async fn people_without_a_subject_are_told_apart_by_their_names() {
    let front = front(Kind::Older);
    let session = begin(&front, "unsubjected-alice.c1").await;
    let asking = |token: &str| {
        let asking = request_of(token, "POST", "/mcp", call(&json!(1), "echo", &json!({})));
        with(asking, &[("mcp-session-id", &session)])
    };
    let own = front.send(asking("unsubjected-alice.c1")).await;
    assert_eq!(own.status(), StatusCode::OK);
    for other in ["unsubjected-bob.c1", "unsubjected-alice.c2"] {
        let refused = front.send(asking(other)).await;
        assert_eq!(refused.status(), StatusCode::NOT_FOUND, "{other}");
    }
}

/// What a client does not read does not pile up: the child waits, and goes on when the client does.
#[tokio::test]
async fn answers_that_are_not_read_stop_the_child() {
    const CALLS: usize = 8;
    let front = front(Kind::Older);
    let session = begin(&front, "alice.c1").await;
    let unread = Arc::new(std::sync::Mutex::new(Vec::new()));
    for number in 0..CALLS {
        let asking = call(&json!(number), "big", &json!({"bytes": 8 << 20}));
        let mut asking = in_session(&session, "POST", asking);
        asking
            .headers_mut()
            .insert("accept", "application/json".parse().unwrap());
        let (front, unread) = (front.clone(), Arc::clone(&unread));
        tokio::spawn(async move {
            let answered = front.send(asking).await;
            unread.lock().unwrap().push(answered);
        });
    }
    let count = || unread.lock().unwrap().len();
    until(|| count() >= 3).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(count() < CALLS, "{}", count());
    let mut read = 0;
    while read < CALLS {
        until(|| count() > 0).await;
        let answered = unread.lock().unwrap().pop().unwrap();
        let (status, body) = json(answered).await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(body["result"]["text"].as_str().map(str::len), Some(8 << 20));
        read += 1;
    }
}
