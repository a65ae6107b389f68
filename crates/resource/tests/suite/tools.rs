//! Who may call which tool, and what the others are told.

use http::{HeaderValue, StatusCode};
use mcp_authflow_resource::{AuthorizeTools, ToolPolicy, tool::Unlisted};
use serde_json::{Value, json};

use crate::{
    house::{RESOURCE_METADATA, Seen},
    mcp_server::{McpServer, policy, post, request, tool},
};

fn assert_is_403_for(seen: &Seen, scope: &str) {
    let description = "the access token does not allow this operation";
    assert_eq!(seen.status, StatusCode::FORBIDDEN, "{seen:?}");
    assert_eq!(
        seen.header("www-authenticate").unwrap(),
        format!(
            "Bearer error=\"insufficient_scope\", error_description=\"{description}\", scope=\"{scope}\", \
             resource_metadata=\"{RESOURCE_METADATA}\""
        )
    );
    assert_eq!(
        seen.body,
        format!(r#"{{"error":"insufficient_scope","error_description":"{description}"}}"#)
    );
    assert_eq!(seen.header("cache-control"), Some("no-store"));
}

/// The whole answer of a JSON-RPC error.
fn assert_is_error(seen: &Seen, status: u16, id: &Value, code: i32) {
    assert_eq!(seen.status.as_u16(), status, "{seen:?}");
    assert_eq!(seen.header("content-type"), Some("application/json"));
    assert_eq!(seen.header("www-authenticate"), None);
    let body: Value = serde_json::from_str(&seen.body).unwrap();
    assert_eq!(
        (&body["jsonrpc"], &body["id"], &body["error"]["code"]),
        (&json!("2.0"), id, &json!(code))
    );
}

/// RP-04, M-024, M-025
#[tokio::test]
async fn a_call_beyond_the_token_is_told_all_scopes_at_once_and_does_not_run() {
    let server = McpServer::with_policy(policy());
    assert_eq!(
        server.post("a.c.read", &tool("read")).await.status,
        StatusCode::OK
    );
    assert_is_403_for(&server.post("a.c.read", &tool("write_note")).await, "read write");
    assert_is_403_for(&server.post("a.c.read", &tool("admin")).await, "admin read write");
    assert_is_403_for(
        &server.post("a.c.read~admin", &tool("admin")).await,
        "admin read write",
    );
    assert_eq!(server.reached().len(), 1);
    assert_eq!(
        server.post("a.c.read~admin~write", &tool("admin")).await.status,
        StatusCode::OK
    );
}

/// RP-04: one call of a batch is enough, wherever it stands.
#[tokio::test]
async fn a_batch_needs_what_all_its_calls_need() {
    let server = McpServer::with_policy(policy());
    let notification = json!({"method": "tools/call", "params": {"name": "write"}});
    for batch in [
        json!([tool("read"), tool("write")]),
        json!([tool("write"), tool("read")]),
        json!([tool("read"), {"id": 7, "result": {}}, tool("read"), notification]),
        notification,
    ] {
        assert_is_403_for(&server.post("a.c.read", &batch).await, "read write");
    }
    let all = json!([tool("write"), tool("admin"), tool("read")]);
    assert_is_403_for(&server.post("a.c.read", &all).await, "admin read write");
    assert_eq!(server.reached().len(), 0);
    assert_eq!(
        server.post("a.c.read~write~admin", &all).await.status,
        StatusCode::OK
    );
}

/// M-026: the challenge depends on the operation and on nothing else.
#[tokio::test]
async fn the_same_operation_has_the_same_challenge() {
    let server = McpServer::with_policy(policy());
    let first = server.post("a.c.read", &tool("admin")).await;
    for token in [
        "a.c.read",
        "b.d.read.other",
        "a.c.read~admin",
        "a.c.read~write",
        "a.c.read~x",
    ] {
        let seen = server.post(token, &tool("admin")).await;
        assert_eq!(
            seen.header("www-authenticate"),
            first.header("www-authenticate"),
            "{token}"
        );
    }
}

/// M-027: also for the scope that every request needs.
#[tokio::test]
async fn a_broad_scope_is_enough_for_what_needs_a_narrow_one() {
    let server = McpServer::with_policy(policy());
    for (token, name) in [
        ("a.c.write", "read"),
        ("a.c.root", "read"),
        ("a.c.root", "admin"),
        ("a.c.write", "write"),
    ] {
        assert_eq!(
            server.post(token, &tool(name)).await.status,
            StatusCode::OK,
            "{token} {name}"
        );
    }
    assert_is_403_for(&server.post("a.c.admin", &tool("read")).await, "read");
    assert_is_403_for(
        &server.post("a.c.write", &tool("admin")).await,
        "admin read write",
    );
}

#[tokio::test]
async fn what_nobody_may_call_is_no_question_of_scopes() {
    let server = McpServer::with_policy(policy());
    assert_is_error(
        &server.post("a.c.root", &tool("gone")).await,
        403,
        &json!(1),
        -32_602,
    );
    let batch = json!([tool("read"), tool("gone")]);
    assert_is_error(&server.post("a.c.root", &batch).await, 403, &Value::Null, -32_602);
    let server = McpServer::with_policy(policy().unlisted(Unlisted::Deny));
    assert_is_error(
        &server.post("a.c.root", &tool("read")).await,
        403,
        &json!(1),
        -32_602,
    );
    assert_eq!(
        server.post("a.c.root", &tool("write")).await.status,
        StatusCode::OK
    );
}

/// The server reads what the client wrote, and handlers find what was read.
#[tokio::test]
async fn the_body_goes_on_byte_for_byte() {
    let server = McpServer::with_policy(policy());
    let body = "\n{ \"method\":\"tools/call\", \"id\" : 1.0,\t\"params\":{\"arguments\":{\"\\u0061\":1e2},\"name\":\"read\"}} ";
    server.call(request("POST", "/mcp", "a.c.read", &[], body)).await;
    let reached = server.last();
    assert_eq!(reached.body, body);
    let message = reached.message.unwrap();
    assert_eq!(message.calls()[0].tool(), Some("read"));
    assert_eq!(message.calls()[0].arguments().unwrap()["a"], 100.0);
}

#[tokio::test]
async fn a_body_that_cannot_be_judged_does_not_run() {
    let server = McpServer::with_policy(policy());
    let twice = r#"{"id":1,"method":"tools/list","method":"tools/call","params":{"name":"write"}}"#;
    for (method, body, status, code) in [
        ("POST", "", 400, -32_700),
        ("POST", "{", 400, -32_700),
        ("POST", twice, 400, -32_700),
        ("PUT", twice, 400, -32_700),
        (
            "POST",
            r#"{"id":1,"method":"ping","Method":"tools/call"}"#,
            400,
            -32_600,
        ),
        (
            "POST",
            r#"{"id":1,"method":"tools/call","params":{"name":["write"]}}"#,
            400,
            -32_602,
        ),
    ] {
        let seen = server.call(request(method, "/mcp", "a.c.read", &[], body)).await;
        assert_is_error(&seen, status, &Value::Null, code);
    }
    let message = tool("write").to_string();
    let charset = [("content-type", "application/json; charset=utf-7")];
    let seen = server
        .call(request("POST", "/mcp", "a.c.read", &charset, message.clone()))
        .await;
    assert_is_error(&seen, 415, &Value::Null, -32_700);
    let policy = policy().build().unwrap();
    let small = McpServer::behind(AuthorizeTools::new(policy).max_body_bytes(message.len() - 1));
    let seen = small
        .call(request("POST", "/mcp", "a.c.root", &[], message))
        .await;
    assert_is_error(&seen, 413, &Value::Null, -32_600);
    assert_eq!(server.reached().len() + small.reached().len(), 0);
}

/// M-131: with rules and without.
#[tokio::test]
async fn headers_that_contradict_the_body_are_refused() {
    let (method, name, version) = (
        ("mcp-method", "tools/call"),
        ("mcp-name", "write"),
        ("mcp-protocol-version", "2026-07-28"),
    );
    for server in [
        McpServer::with_policy(policy()),
        McpServer::with_policy(ToolPolicy::builder()),
    ] {
        for headers in [
            &[version, method, ("mcp-name", "read")][..],
            &[version, ("mcp-method", "tools/list"), name],
            &[version, method],
            &[version, name],
            &[version],
            &[("mcp-method", "tools/list")],
            &[method, name, name],
        ] {
            let seen = server.call(post("a.c.root", headers, &tool("write"))).await;
            assert_is_error(&seen, 400, &json!(1), -32_020);
        }
        assert_eq!(server.reached().len(), 0);
        for headers in [
            &[version, method, name][..],
            &[method, name],
            &[("mcp-protocol-version", "2025-11-25")],
            &[],
        ] {
            let seen = server.call(post("a.c.root", headers, &tool("write"))).await;
            assert_eq!(seen.status, StatusCode::OK, "{headers:?}");
        }
    }
    // The header opens nothing: what counts is the body.
    let server =
        McpServer::behind(AuthorizeTools::new(policy().build().unwrap()).dangerous_skip_header_check());
    let lies = [version, ("mcp-method", "tools/list"), ("mcp-name", "read")];
    assert_is_403_for(
        &server.call(post("a.c.read", &lies, &tool("write"))).await,
        "read write",
    );
    assert_eq!(
        server.call(post("a.c.root", &lies, &tool("write"))).await.status,
        StatusCode::OK
    );
}

/// Cheap where nothing is ruled: the body is the server's business.
#[tokio::test]
async fn without_rules_no_body_is_read() {
    let server = McpServer::with_policy(ToolPolicy::builder());
    let seen = server
        .call(request("POST", "/mcp", "a.c.read", &[], "not JSON"))
        .await;
    assert_eq!(seen.status, StatusCode::OK);
    let reached = server.last();
    assert_eq!((&reached.body[..], reached.message), (&b"not JSON"[..], None));
}

/// M-125, RP-12: in whichever spelling of its scheme, and beside a rule or not.
#[tokio::test]
async fn the_token_does_not_reach_the_server() {
    let server = McpServer::with_policy(policy());
    for scheme in ["Bearer", "bearer", "BEARER"] {
        let mut call = post("a.c.read", &[], &tool("read"));
        let header = HeaderValue::try_from(format!("{scheme} secret.c.read")).unwrap();
        call.headers_mut().insert("authorization", header);
        assert_eq!(
            server.call(call).await.body,
            r#"{"id":1,"result":{"for":"secret"}}"#
        );
        let reached = server.last();
        let shown = format!("{:?} {} {:?}", reached.headers, reached.uri, reached.body);
        assert!(!shown.contains("secret"), "{shown}");
    }
}

/// RP-05, M-121: a token counts in the `Authorization` header and nowhere else.
#[tokio::test]
async fn a_token_anywhere_else_is_none() {
    let server = McpServer::with_policy(policy());
    let token = "a.c.root";
    let form = format!("access_token={token}");
    let sub_protocol = format!("mcp, bearer.{token}");
    let cookie = format!("access_token={token}; authorization=Bearer {token}");
    let type_of_form = ("content-type", "application/x-www-form-urlencoded");
    let without = |target: &str, headers: &[(&str, &str)], body: String| {
        let mut call = request("POST", target, token, headers, body);
        call.headers_mut().remove("authorization");
        call
    };
    let message = || tool("read").to_string();
    for (call, status) in [
        (without("/mcp", &[type_of_form], form.clone()), 401),
        (without("/mcp", &[("x-access-token", token)], message()), 401),
        (without("/mcp", &[("cookie", &cookie)], message()), 401),
        (
            without("/mcp", &[("sec-websocket-protocol", &sub_protocol)], message()),
            401,
        ),
        (
            without("/mcp", &[("proxy-authorization", "Bearer a.c.root")], message()),
            401,
        ),
        (
            without(
                "/mcp",
                &[("x-forwarded-authorization", "Bearer a.c.root")],
                message(),
            ),
            401,
        ),
        (without(&format!("/mcp?{form}"), &[], message()), 400),
        (
            request("POST", &format!("/mcp?{form}"), token, &[], message()),
            400,
        ),
    ] {
        let shown = format!("{call:?}");
        assert_eq!(server.call(call).await.status.as_u16(), status, "{shown}");
    }
    assert_eq!(server.reached().len(), 0);
}

/// RP-16: 64 at a time, each with a token of their own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_belongs_to_the_asking_caller() {
    let server = McpServer::with_policy(policy());
    let mut tasks = tokio::task::JoinSet::new();
    for worker in 0..64 {
        let server = server.clone();
        tasks.spawn(async move {
            for round in 0..40 {
                let user = format!("user-{worker}-{round}");
                let seen = server.post(&format!("{user}.c.read"), &tool("read")).await;
                assert_eq!(seen.body, format!(r#"{{"id":1,"result":{{"for":"{user}"}}}}"#));
                let seen = server.post(&format!("{user}.c.read"), &tool("write")).await;
                assert_eq!(seen.status, StatusCode::FORBIDDEN);
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    assert_eq!(server.reached().len(), 64 * 40);
}
