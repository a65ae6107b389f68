//! Dynamic client registration on the wire (RFC 7591 §3).

use axum::body::Body;
use http::{StatusCode, header};
use insta::assert_snapshot;

use crate::edge::{Edge, Reply, request};

async fn register(edge: &Edge, content_type: &str, body: impl Into<Body>) -> Reply {
    let request = request("POST", "/register")
        .header(header::CONTENT_TYPE, content_type)
        .body(body.into());
    edge.send(request.unwrap()).await
}

const GOOD: &str = r#"{"redirect_uris":["http://127.0.0.1:33389/cb"],"token_endpoint_auth_method":"none","client_name":"<b>Probe</b>"}"#;

/// DC-18, M §6.3
#[tokio::test]
async fn a_registration_is_created_and_says_what_is_kept() {
    let edge = Edge::new().await;
    let mut reply = register(&edge, "application/json; charset=utf-8", GOOD).await;
    let mut body = reply.json();
    assert!(body["client_id"].as_str().unwrap().starts_with("c_"));
    body["client_id"] = "c_…".into();
    assert_eq!(
        body,
        serde_json::json!({
            "client_id": "c_…",
            "client_id_issued_at": 1_790_000_000,
            "client_name": "<b>Probe</b>",
            "redirect_uris": ["http://127.0.0.1:33389/cb"],
            "grant_types": ["authorization_code", "refresh_token"],
            "response_types": ["code"],
            "token_endpoint_auth_method": "none",
            "application_type": "native",
            "scope": "admin mcp:read mcp:write offline_access svc:sync tasks:run",
        })
    );
    reply.body.clear();
    assert_snapshot!(reply, @r"
    201 Created
    access-control-allow-origin: *
    access-control-expose-headers: WWW-Authenticate, Retry-After, X-Request-Id
    cache-control: no-store
    content-type: application/json
    pragma: no-cache
    x-content-type-options: nosniff
    ");
}

/// DC-12
#[tokio::test]
async fn only_json_is_read() {
    let edge = Edge::new().await;
    for content_type in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "text/json",
        "application/json; charset=utf-16",
        "",
        "application/jsonx",
    ] {
        register(&edge, content_type, GOOD)
            .await
            .assert_error(415, "invalid_request");
    }
    let untyped = request("POST", "/register").body(Body::from(GOOD)).unwrap();
    edge.send(untyped).await.assert_error(415, "invalid_request");
    for body in [
        &b""[..],
        b"null",
        b"\"x\"",
        b"{",
        b"{} {}",
        b"redirect_uris=x",
        b"{\"a\":1,\"a\":2}",
        b"\xef\xbb\xbf{}",
        b"{\"a\":NaN}",
        b"{\"a\":\"\xff\"}",
    ] {
        register(&edge, "application/json", body.to_vec())
            .await
            .assert_error(400, "invalid_client_metadata");
        edge.clock.advance(std::time::Duration::from_secs(3_600));
    }
    register(&edge, "application/json", "{}")
        .await
        .assert_error(400, "invalid_redirect_uri");
    let nested = format!("{}1{}", "{\"a\":".repeat(10_000), "}".repeat(10_000));
    register(&edge, "application/json", nested)
        .await
        .assert_error(400, "invalid_client_metadata");
    register(&edge, "application/json", " ".repeat(65_537))
        .await
        .assert_error(413, "invalid_request");
}

/// DC-04
#[tokio::test]
async fn too_many_from_one_address_are_told_when_to_come_again() {
    let edge = Edge::new().await;
    for _ in 0..20 {
        let reply = register(&edge, "application/json", GOOD).await;
        assert_eq!(reply.status, StatusCode::CREATED);
    }
    edge.clock.advance(std::time::Duration::from_secs(600));
    // An address that the client itself wrote counts for nothing.
    let request = request("POST", "/register")
        .header(header::CONTENT_TYPE, "application/json")
        .header("x-forwarded-for", "203.0.113.7")
        .header("forwarded", "for=203.0.113.8")
        .body(Body::from(GOOD));
    let reply = edge.send(request.unwrap()).await;
    reply.assert_error(429, "too_many_requests");
    assert_eq!(reply.header("retry-after"), "3000");
    assert_eq!(reply.header("access-control-allow-origin"), "*");
}
