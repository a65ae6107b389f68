//! Methods and addresses: each endpoint answers to its own, and says no in JSON.

use axum::{Router, body::Body, routing::get};
use http::StatusCode;
use mcp_authflow_testkit::params::Params;
use tower::ServiceExt as _;

use crate::edge::{Edge, request};

/// MD-03, SM-09
#[tokio::test]
async fn other_methods_are_not_allowed_and_the_right_ones_are_named() {
    let edge = Edge::at("https://auth.example/t").await;
    for (path, allow) in [
        ("/t/authorize", "GET, HEAD"),
        ("/t/ui/interaction/0", "GET, HEAD, POST"),
        ("/t/token", "POST, OPTIONS"),
        ("/t/device_authorization", "POST, OPTIONS"),
        ("/t/ui/device", "GET, HEAD, POST"),
        ("/t/ui/device/approved", "GET, HEAD"),
        ("/t/revoke", "POST, OPTIONS"),
        ("/t/register", "POST, OPTIONS"),
        ("/t/introspect", "POST"),
        ("/t/jwks", "GET, HEAD, OPTIONS"),
        ("/.well-known/oauth-authorization-server/t", "GET, HEAD, OPTIONS"),
        ("/t/.well-known/openid-configuration", "GET, HEAD, OPTIONS"),
    ] {
        let methods = [
            "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE", "OPTIONS", "PROPFIND", "QUERY",
        ];
        for method in methods.into_iter().filter(|method| !allow.contains(method)) {
            let reply = edge
                .send(request(method, path).body(Body::empty()).unwrap())
                .await;
            assert_eq!(reply.status, StatusCode::METHOD_NOT_ALLOWED, "{method} {path}");
            assert_eq!(reply.header("allow"), allow, "{method} {path}");
            assert_eq!(reply.header("cache-control"), "no-store");
            if method != "HEAD" {
                assert_eq!(reply.json()["error"], "invalid_request");
            }
        }
    }
}

/// AZ-15: a form of another site can do no more than a link.
#[tokio::test]
async fn nothing_is_authorized_by_post() {
    let edge = Edge::new().await;
    let reply = edge.post("/authorize", None, &Params::authorize("WEB")).await;
    reply.assert_error(405, "invalid_request");
    assert_eq!(edge.visits(), 0);
}

/// TE-16, CH-06, MD-05
#[tokio::test]
async fn an_address_that_only_resembles_one_of_ours_is_not_ours() {
    let edge = Edge::new().await;
    for path in [
        "/token/",
        "//token",
        "/token%20",
        "/Token",
        "/token;v=1",
        "/token%00",
        "/authorize/x.css",
        "/ui/interaction/",
        "/ui/interaction/0/x",
        "/metrics",
        "/admin",
        "/env",
        "/",
    ] {
        for method in ["GET", "POST"] {
            let reply = edge
                .send(request(method, path).body(Body::empty()).unwrap())
                .await;
            assert_eq!(reply.status, StatusCode::NOT_FOUND, "{method} {path}");
        }
    }
    // Beneath a path of its own the issuer claims nothing outside.
    let tenant = Edge::at("https://auth.example/t").await;
    for path in ["/token", "/authorize", "/t", "/t/", "/tt/token"] {
        let reply = tenant.post(path, None, &Params::of(&[])).await;
        assert_eq!(reply.status, StatusCode::NOT_FOUND, "{path}");
    }
    tenant
        .post("/t/token", None, &Params::of(&[]))
        .await
        .assert_error(400, "invalid_request");
}

#[tokio::test]
async fn an_app_keeps_its_own_addresses_and_its_own_404() {
    let edge = Edge::at("https://auth.example/t").await;
    let app = Router::new()
        .route("/", get(|| async { "the app's home" }))
        .route("/t/home", get(|| async { "the app's too" }))
        .fallback(|| async { "the app's fallback" })
        .merge(edge.router.clone());
    for (path, body) in [
        ("/", "the app's home"),
        ("/t/home", "the app's too"),
        ("/nothing", "the app's fallback"),
        ("/t/nothing", "the app's fallback"),
    ] {
        let response = app
            .clone()
            .oneshot(request("GET", path).body(Body::empty()).unwrap())
            .await
            .unwrap();
        let read = axum::body::to_bytes(response.into_body(), 1_000).await.unwrap();
        assert_eq!(read, body, "{path}");
    }
    let response = app
        .oneshot(request("POST", "/t/token").body(Body::empty()).unwrap())
        .await;
    assert_eq!(response.unwrap().status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
}
