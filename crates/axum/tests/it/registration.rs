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
    let id = body["client_id"].as_str().unwrap().to_owned();
    assert!(id.starts_with("c_"));
    body["client_id"] = "c_…".into();
    let token = body
        .as_object_mut()
        .unwrap()
        .remove("registration_access_token")
        .unwrap();
    assert!(token.as_str().unwrap().starts_with("mcpra_"));
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
            "registration_client_uri": format!("https://auth.example/register/{id}"),
        })
    );
    reply.body.clear();
    assert_snapshot!(reply, @r"
    201 Created
    access-control-allow-origin: *
    access-control-expose-headers: WWW-Authenticate, Retry-After, Mcp-Session-Id, DPoP-Nonce, X-Request-Id
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

/// DC-13, S-148
#[tokio::test]
async fn a_registration_that_is_not_authorized_is_challenged() {
    use mcp_authflow::registration::InitialAccessTokens;

    let edge = Edge::with(|settings| {
        settings.registration.initial_access_tokens =
            InitialAccessTokens::new(["a token of at least 32 characters"]);
    })
    .await;
    let send = async |authorization: &[&str]| {
        let mut request = request("POST", "/register").header(header::CONTENT_TYPE, "application/json");
        for value in authorization {
            request = request.header(header::AUTHORIZATION, *value);
        }
        edge.send(request.body(Body::from(GOOD)).unwrap()).await
    };
    for bad in [
        "Bearer",
        "Basic x",
        "Bearer guess",
        &format!("Bearer {}", "x".repeat(16_384)),
    ] {
        let reply = send(&[bad]).await;
        reply.assert_error(401, "invalid_token");
        assert_eq!(
            reply.header("www-authenticate"),
            "Bearer realm=\"authflow\", error=\"invalid_token\""
        );
    }
    send(&["Bearer guess", "Bearer a token of at least 32 characters"])
        .await
        .assert_error(400, "invalid_request");
    let reply = send(&["Bearer a token of at least 32 characters"]).await;
    assert_eq!(reply.status, StatusCode::CREATED);
}

/// S-145, S-146
#[tokio::test]
async fn the_part_is_an_axum_handler() {
    use std::sync::Arc;

    use mcp_authflow::{
        memory::MemoryRateLimit,
        port::rate_limit::Limit,
        registration::{MemoryClientRegistry, RegistrationHandler},
    };
    use mcp_authflow_axum::{ClientAddress, registration};
    use mcp_authflow_testkit::{manual_clock::ManualClock, seeded_entropy::SeededEntropy};
    use mcp_authflow_types::Timestamp;
    use tower::ServiceExt as _;

    let clock = Arc::new(ManualClock::at(Timestamp::from_seconds(1_790_000_000)));
    let registry = Arc::new(MemoryClientRegistry::new(
        clock.clone(),
        Arc::new(SeededEntropy::new(3)),
    ));
    let limit = Limit {
        name: "registration",
        tries: 2,
        window: std::time::Duration::from_secs(60),
    };
    let handler = RegistrationHandler::builder(registry, "notes:read")
        .limiter((Arc::new(MemoryRateLimit::new(clock)), limit))
        .build();
    let app: axum::Router = axum::Router::new().route("/register", registration(Arc::new(handler)));
    let send = async |address: &str, body: String| {
        let request = request("POST", "/register")
            .header(header::CONTENT_TYPE, "application/json")
            .extension(ClientAddress(address.parse().unwrap()))
            .body(Body::from(body));
        app.clone().oneshot(request.unwrap()).await.unwrap()
    };
    let created = send("192.0.2.1", GOOD.to_owned()).await;
    assert_eq!(created.status(), StatusCode::CREATED);
    assert_eq!(created.headers()["cache-control"], "no-store");
    assert_eq!(created.headers()["content-type"], "application/json");
    assert_eq!(
        send("192.0.2.1", " ".repeat(65_537)).await.status(),
        StatusCode::PAYLOAD_TOO_LARGE
    );
    let refused = send("192.0.2.1", GOOD.to_owned()).await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(refused.headers()["retry-after"], "60");
    assert_eq!(
        send("192.0.2.2", GOOD.to_owned()).await.status(),
        StatusCode::CREATED
    );
}

/// S-149: what a caller sends of the header, text or not, does not hide it behind the proxy.
#[tokio::test]
async fn the_part_counts_callers_whatever_bytes_they_send_along() {
    use std::sync::Arc;

    use mcp_authflow::{
        ForwardingHeader, TrustedProxies,
        memory::MemoryRateLimit,
        port::rate_limit::Limit,
        registration::{MemoryClientRegistry, RegistrationHandler},
    };
    use mcp_authflow_axum::{ClientAddress, registration};
    use mcp_authflow_testkit::{manual_clock::ManualClock, seeded_entropy::SeededEntropy};
    use mcp_authflow_types::Timestamp;
    use tower::ServiceExt as _;

    let clock = Arc::new(ManualClock::at(Timestamp::from_seconds(1_790_000_000)));
    let registry = Arc::new(MemoryClientRegistry::new(
        clock.clone(),
        Arc::new(SeededEntropy::new(3)),
    ));
    let limit = Limit {
        name: "registration",
        tries: 1,
        window: std::time::Duration::from_secs(60),
    };
    let handler = RegistrationHandler::builder(registry, "notes:read")
        .limiter((Arc::new(MemoryRateLimit::new(clock)), limit))
        .behind(
            TrustedProxies::parse("10.0.0.1").unwrap(),
            ForwardingHeader::XForwardedFor,
        )
        .build();
    let app: axum::Router = axum::Router::new().route("/register", registration(Arc::new(handler)));
    let send = async |forwarded: &[u8]| {
        let request = request("POST", "/register")
            .header(header::CONTENT_TYPE, "application/json")
            .header("x-forwarded-for", forwarded)
            .extension(ClientAddress("10.0.0.1".parse().unwrap()))
            .body(Body::from(GOOD));
        app.clone().oneshot(request.unwrap()).await.unwrap().status()
    };
    assert_eq!(send(b"\xff, 203.0.113.1").await, StatusCode::CREATED);
    assert_eq!(send(b"\xff, 203.0.113.1").await, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(send(b"\xff, 203.0.113.2").await, StatusCode::CREATED);
}
