//! Session ids are good for the caller for whom they were made, and for nobody else.

use std::sync::{Arc, Mutex};

use http::StatusCode;
use mcp_authflow_resource::{AuthorizeTools, Caller};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::{
    house::Seen,
    mcp_server::{McpServer, list, policy, post, protect, request, tool},
};

fn assert_is_unknown(seen: &Seen) {
    assert_eq!(seen.status, StatusCode::NOT_FOUND, "{seen:?}");
    let body: Value = serde_json::from_str(&seen.body).unwrap();
    let expected =
        json!({"jsonrpc": "2.0", "id": null, "error": {"code": -32001, "message": "Session not found"}});
    assert_eq!(body, expected);
}

fn server() -> McpServer {
    let authorize = AuthorizeTools::new(policy().build().unwrap());
    McpServer::behind(authorize.session_key(&[9; 32]))
}

async fn session_of(server: &McpServer, token: &str) -> String {
    let seen = server
        .post(token, &json!({"id": 1, "method": "initialize", "params": {}}))
        .await;
    seen.header("mcp-session-id").unwrap().to_owned()
}

/// RP-13, M-127, M-128: for every method.
#[tokio::test]
async fn a_session_is_its_callers_alone() {
    let server = server();
    let session = session_of(&server, "alice.c.read").await;
    assert_ne!(session, "s-1");
    let header = [("mcp-session-id", session.as_str())];
    for (method, body) in [
        ("POST", tool("read").to_string()),
        ("GET", String::new()),
        ("DELETE", String::new()),
    ] {
        let call = |token: &str| server.call(request(method, "/mcp", token, &header, body.clone()));
        assert!(call("alice.c.read").await.status.is_success());
        assert_eq!(server.last().headers["mcp-session-id"], "s-1");
        // After a refresh, and with more scopes.
        assert!(call("alice.c.read~write.refreshed").await.status.is_success());
        let reached = server.reached().len();
        for other in ["bob.c.read", "alice.other.read", "alic.c.read"] {
            assert_is_unknown(&call(other).await);
        }
        assert_eq!(server.reached().len(), reached);
    }
}

/// M-127: a session id proves nothing.
#[tokio::test]
async fn a_session_without_a_token_is_nothing() {
    let server = server();
    let session = session_of(&server, "alice.c.read").await;
    let mut call = post("", &[("mcp-session-id", &session)], &tool("read"));
    call.headers_mut().remove("authorization");
    assert_eq!(server.call(call).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_session_id_that_was_never_given_out_is_unknown() {
    let server = server();
    let session = session_of(&server, "alice.c.read").await;
    let cut = &session[..session.len() - 1];
    for guess in ["s-1", "", "x", cut] {
        assert_is_unknown(
            &server
                .call(post("alice.c.read", &[("mcp-session-id", guess)], &tool("read")))
                .await,
        );
    }
    let twice = [("mcp-session-id", session.as_str()), ("mcp-session-id", "s-2")];
    assert_is_unknown(&server.call(post("alice.c.read", &twice, &tool("read"))).await);
    assert_eq!(server.reached().len(), 1);
}

/// Another node, or the same after a restart.
#[tokio::test]
async fn a_session_is_good_wherever_the_key_is() {
    let session = session_of(&server(), "alice.c.read").await;
    let header = [("mcp-session-id", session.as_str())];
    let seen = server().call(post("alice.c.read", &header, &tool("read"))).await;
    assert_eq!(seen.status, StatusCode::OK);
    let other = McpServer::with_policy(policy());
    assert_is_unknown(&other.call(post("alice.c.read", &header, &tool("read"))).await);
}

/// RP-13: what resumes a stream is bound as well.
#[tokio::test]
async fn a_stream_is_resumed_by_its_caller_alone() {
    let server = server();
    let seen = server
        .call(post("alice.c.read", &[("accept", "text/event-stream")], &list()))
        .await;
    let ids: Vec<_> = seen
        .body
        .lines()
        .filter_map(|line| line.strip_prefix("id: "))
        .collect();
    let [first, second] = ids[..] else {
        panic!("{seen:?}")
    };
    assert!(first.starts_with("e-1.") && second.starts_with("e-2."), "{ids:?}");
    let resume = |token: &str, id: &str| request("GET", "/mcp", token, &[("last-event-id", id)], "");
    assert_eq!(
        server.call(resume("alice.c.read.refreshed", second)).await.status,
        StatusCode::OK
    );
    assert_eq!(server.last().headers["last-event-id"], "e-2");
    for (token, id) in [
        ("bob.c.read", second),
        ("alice.c.read", "e-2"),
        ("bob.c.read", "e-2"),
    ] {
        assert_is_unknown(&server.call(resume(token, id)).await);
    }
    // A session id is no event id.
    let session = session_of(&server, "alice.c.read").await;
    assert_is_unknown(&server.call(resume("alice.c.read", &session)).await);
}

/// RP-13: the transport of 2024-11-05 has its session id in a URL.
#[tokio::test]
async fn the_endpoint_of_an_old_session_is_its_callers_alone() {
    let server = server();
    let seen = server.call(request("GET", "/sse", "alice.c.read", &[], "")).await;
    let endpoint = seen
        .body
        .lines()
        .find_map(|line| line.strip_prefix("data: "))
        .unwrap()
        .to_owned();
    let send = |token: &str, target: &str| request("POST", target, token, &[], tool("read").to_string());
    assert_eq!(
        server.call(send("alice.c.read", &endpoint)).await.status,
        StatusCode::OK
    );
    assert_eq!(server.last().uri, "/messages?session_id=s-1");
    for (token, target) in [
        ("bob.c.read", endpoint.as_str()),
        ("bob.c.read", "/messages?session_id=s-1"),
        ("bob.c.read", "/messages?x&SessionId=s-1"),
        ("alice.c.read", "/messages?session_id=s-1"),
    ] {
        assert_is_unknown(&server.call(send(token, target)).await);
    }
}

/// MCP 2026-07-28, *Earlier Streamable HTTP Revisions*: there are no sessions, and ids are ignored.
#[tokio::test]
async fn a_new_version_ignores_session_ids() {
    let server = server();
    let headers = [
        ("mcp-protocol-version", "2026-07-28"),
        ("mcp-method", "tools/call"),
        ("mcp-name", "read"),
        ("mcp-session-id", "s-1"),
        ("last-event-id", "e-1"),
    ];
    assert_eq!(
        server
            .call(post("bob.c.read", &headers, &tool("read")))
            .await
            .status,
        StatusCode::OK
    );
    let reached = server.last().headers;
    assert!(!reached.contains_key("mcp-session-id") && !reached.contains_key("last-event-id"));
}

#[tokio::test]
async fn sessions_may_be_left_to_the_server() {
    let authorize = AuthorizeTools::new(policy().build().unwrap()).dangerous_leave_sessions_unbound();
    let server = McpServer::behind(authorize);
    assert_eq!(session_of(&server, "alice.c.read").await, "s-1");
    let seen = server
        .call(post("bob.c.read", &[("mcp-session-id", "s-1")], &tool("read")))
        .await;
    assert_eq!(seen.status, StatusCode::OK);
}

/// RP-13: what a tool hands out is the tool's to bind, and the caller says to whom.
#[tokio::test]
async fn a_handle_that_a_tool_gave_out_can_be_kept_to_its_caller() {
    type Owner = (Option<String>, Option<String>, Option<String>);
    fn owner(request: &axum::extract::Request) -> Owner {
        let caller = Caller::of(request.extensions()).unwrap();
        let client = caller.client_id().map(ToString::to_string);
        (
            caller.issuer().map(str::to_owned),
            caller.subject().map(str::to_owned),
            client,
        )
    }
    let handles = Arc::<Mutex<Vec<Owner>>>::default();
    let app = axum::Router::new()
        .fallback(async move |request: axum::extract::Request| {
            let mut handles = handles.lock().unwrap();
            let Some(handle) = request.uri().query() else {
                handles.push(owner(&request));
                return (StatusCode::OK, (handles.len() - 1).to_string());
            };
            let is_theirs = handle
                .parse()
                .is_ok_and(|handle: usize| handles.get(handle) == Some(&owner(&request)));
            let status = if is_theirs {
                StatusCode::OK
            } else {
                StatusCode::NOT_FOUND
            };
            (status, String::new())
        })
        .layer(protect());
    let call = async |token: &str, target: &str| {
        let request = request("POST", target, token, &[], "");
        let (parts, body) = app.clone().oneshot(request).await.unwrap().into_parts();
        let body = axum::body::to_bytes(body, 100).await.unwrap();
        (parts.status, String::from_utf8(body.to_vec()).unwrap())
    };
    let (_, handle) = call("alice.c.read", "/mcp").await;
    let target = format!("/mcp?{handle}");
    for (token, status) in [
        ("alice.c.read", StatusCode::OK),
        ("alice.c.read~write.refreshed", StatusCode::OK),
        ("bob.c.read", StatusCode::NOT_FOUND),
        ("alice.other.read", StatusCode::NOT_FOUND),
    ] {
        assert_eq!(call(token, &target).await.0, status, "{token}");
    }
}
