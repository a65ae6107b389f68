//! What of a request's head arrives at the upstream, and what of an answer's head comes back.

use std::net::SocketAddr;

use axum::{body::Body, extract::ConnectInfo};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body::Frame;
use http_body_util::StreamBody;
use mcp_authflow_protect::{Proxy, Upstream};
use serde_json::json;
use std::{convert::Infallible, sync::Arc};

use crate::support::{Front, Plain, Recorder, answer, json, ok, request, text, with};

/// RP-12, M-125, HH-01, HH-02, SM-11
#[tokio::test]
async fn nothing_that_proves_or_claims_who_the_client_is_reaches_the_upstream() {
    let upstream = Recorder::start(|_| ok()).await;
    let proxy = Proxy::builder(Upstream::http(upstream.url("/mcp")))
        .public_origin("https://mcp.test")
        .identity(Arc::new(Plain))
        .build()
        .unwrap();
    let front = Front::of(proxy);
    let spoofs = [
        ("cookie", "__Host-authflow=SPOOF"),
        ("proxy-authorization", "Basic SPOOF"),
        ("dpop", "SPOOF"),
        ("authflow-identity", "SPOOF"),
        ("Authflow_Identity", "SPOOF"),
        ("AUTHFLOW-IDENTITY", "SPOOF"),
        ("authflow.identity", "SPOOF"),
        ("authflow-subject", "SPOOF"),
        ("x-forwarded-for", "6.6.6.6, SPOOF"),
        ("x_forwarded_for", "SPOOF"),
        ("x-forwarded-host", "SPOOF"),
        ("x-forwarded-proto", "SPOOF"),
        ("x-forwarded-user", "SPOOF"),
        ("x-forwarded-prefix", "//SPOOF"),
        ("forwarded", "for=SPOOF;host=SPOOF"),
        ("via", "1.1 SPOOF"),
        ("x-real-ip", "SPOOF"),
        ("x-original-url", "/SPOOF"),
        ("x-rewrite-url", "/SPOOF"),
        ("x-http-method-override", "SPOOF"),
        ("remote-user", "SPOOF"),
        ("remote-groups", "SPOOF"),
        ("x-webauth-user", "SPOOF"),
        ("tailscale-user-login", "SPOOF"),
        ("x-goog-iap-jwt-assertion", "SPOOF"),
        ("x-remote-user", "SPOOF"),
        ("x-auth-request-email", "SPOOF"),
        ("cf-access-jwt-assertion", "SPOOF"),
        ("connection", "keep-alive, x-hop"),
        ("x-hop", "SPOOF"),
        ("te", "SPOOF"),
        ("trailer", "SPOOF"),
        ("keep-alive", "SPOOF"),
        ("upgrade", "h2c, SPOOF"),
        ("http2-settings", "SPOOF"),
        ("expect", "SPOOF"),
        ("accept-encoding", "SPOOF"),
        ("host", "SPOOF.example"),
        ("referer", "https://SPOOF.example/"),
        ("sec-fetch-site", "SPOOF"),
    ];
    let mut asking = with(request("POST", "/mcp?a=1", "{}"), &spoofs);
    let peer: SocketAddr = "192.0.2.7:4711".parse().unwrap();
    asking.extensions_mut().insert(ConnectInfo(peer));
    let (status, _) = text(front.send(asking).await).await;
    assert_eq!(status, StatusCode::OK);

    let asked = upstream.last();
    let all = format!("{:?}", asked.headers);
    assert!(!all.contains("SPOOF"), "{all}");
    assert!(!all.contains("alice.c1"), "the token: {all}");
    assert!(asked.headers.get("authorization").is_none() && asked.headers.get("cookie").is_none());
    let one = |name: &str| {
        let values: Vec<_> = asked.headers.get_all(name).iter().collect();
        assert_eq!(values.len(), 1, "{name}: {values:?}");
        values[0].to_str().unwrap().to_owned()
    };
    assert_eq!(one("host"), upstream.address.to_string());
    assert_eq!(
        one("authflow-identity"),
        format!("signed:alice:{}", upstream.url("/mcp"))
    );
    assert_eq!(one("x-forwarded-for"), "192.0.2.7");
    assert_eq!(one("x-forwarded-proto"), "https");
    assert_eq!(one("x-forwarded-host"), "mcp.test");
    assert_eq!(one("accept-encoding"), "identity");
    assert_eq!(one("via"), "1.1 authflow");
    assert_eq!(asked.target, "/mcp?a=1");
}

/// M-125: trailers are headers that come late.
#[tokio::test]
async fn what_a_client_sends_behind_its_body_does_not_arrive() {
    let upstream = Recorder::start(|_| ok()).await;
    let mut trailers = HeaderMap::new();
    trailers.insert("authflow-identity", "SPOOF".parse().unwrap());
    let frames = [
        Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"{}"))),
        Ok(Frame::trailers(trailers)),
    ];
    let body = Body::new(StreamBody::new(futures_util::stream::iter(frames)));
    let asking = with(request("POST", "/mcp", body), &[("trailer", "authflow-identity")]);
    let answered = Front::before(&upstream.url("/mcp")).send(asking).await;
    assert_eq!(answered.status(), StatusCode::OK);
    assert_eq!(upstream.last().trailers, None);
    assert_eq!(&upstream.last().body[..], b"{}");
}

/// What MCP needs goes both ways as it is.
#[tokio::test]
async fn the_words_of_mcp_pass() {
    let upstream = Recorder::start(|asked| {
        let session = asked.headers.get("mcp-session-id").cloned();
        let mut answered = answer(202, &[("mcp-session-id", "s-2"), ("x-own", "kept")], "");
        if let Some(session) = session {
            answered.headers_mut().insert("x-echo", session);
        }
        answered
    })
    .await;
    let front = Front::before(&upstream.url("/mcp"));
    let said = [
        ("mcp-session-id", "s-1"),
        ("mcp-protocol-version", "2025-11-25"),
        ("mcp-method", "tools/call"),
        ("mcp-name", "add"),
        ("last-event-id", "7"),
        ("traceparent", "00-1"),
    ];
    for method in ["POST", "GET", "DELETE"] {
        let answered = front.send(with(request(method, "/mcp", ""), &said)).await;
        assert_eq!(answered.status(), StatusCode::ACCEPTED);
        assert_eq!(answered.headers()["mcp-session-id"], "s-2");
        assert_eq!(answered.headers()["x-echo"], "s-1");
        assert_eq!(answered.headers()["x-own"], "kept");
        let asked = upstream.last();
        assert_eq!(asked.method, Method::try_from(method).unwrap());
        for (name, value) in said {
            assert_eq!(asked.headers[name], value, "{method} {name}");
        }
        assert_eq!(asked.headers["accept"], "application/json, text/event-stream");
    }
}

/// What the upstream says of our origin is not passed back.
#[tokio::test]
async fn an_upstream_cannot_speak_for_our_origin() {
    let upstream = Recorder::start(|_| {
        answer(
            403,
            &[
                ("set-cookie", "__Host-authflow=planted; Path=/; Secure"),
                ("www-authenticate", "Bearer scope=\"everything\""),
                ("access-control-allow-origin", "*"),
                ("access-control-allow-credentials", "true"),
                ("clear-site-data", "\"cookies\""),
                ("strict-transport-security", "max-age=0"),
                ("alt-svc", "h3=\":9\""),
                ("server", "secret/1.0"),
                ("x-powered-by", "secret"),
                ("connection", "x-hop"),
                ("x-hop", "1"),
                ("authflow-identity", "1"),
                ("x-accel-redirect", "/internal/secret"),
                ("x-accel-expires", "60"),
                ("x-sendfile", "/etc/passwd"),
                ("cdn-cache-control", "public, max-age=60"),
                ("surrogate-control", "max-age=60"),
                ("cache-control", "public, max-age=60"),
            ],
            "no",
        )
    })
    .await;
    let answered = Front::before(&upstream.url("/mcp"))
        .send(request("POST", "/mcp", "{}"))
        .await;
    assert_eq!(answered.status(), StatusCode::FORBIDDEN);
    // `Vary` is the layer's, which answers pages by their origin.
    let names = answered.headers().keys().map(http::HeaderName::as_str);
    let mut names: Vec<_> = names.filter(|name| *name != "vary").collect();
    names.sort_unstable();
    assert_eq!(names, ["cache-control", "content-length", "date"]);
    assert_eq!(answered.headers()["cache-control"], "no-store");
}

/// A 401 of the upstream's is no 401 of ours: the client's token is good.
#[tokio::test]
async fn an_upstream_that_wants_credentials_is_a_bad_gateway() {
    let upstream = Recorder::start(|_| {
        answer(
            401,
            &[("www-authenticate", "Bearer realm=\"its own\"")],
            "sign in",
        )
    })
    .await;
    let answered = Front::before(&upstream.url("/mcp"))
        .send(request("POST", "/mcp", "{}"))
        .await;
    assert!(answered.headers().get("www-authenticate").is_none());
    let (status, body) = json(answered).await;
    assert_eq!(status, StatusCode::BAD_GATEWAY);
    assert_eq!(body["error"]["data"]["error"], "bad_gateway");
}

#[tokio::test]
async fn a_redirect_of_the_upstreams_leads_to_us_or_nowhere() {
    let upstream = Recorder::start(|asked| match asked.target.as_str() {
        "/mcp/?a=1" => ok(),
        "/mcp" => answer(307, &[("location", "/mcp/?a=1")], ""),
        _ => answer(302, &[("location", "https://evil.example/login")], ""),
    })
    .await;
    let front = Front::before(&upstream.url("/mcp"));
    let near = front.send(request("POST", "/mcp", "{}")).await;
    assert_eq!(near.status(), StatusCode::TEMPORARY_REDIRECT);
    assert_eq!(near.headers()["location"], "/mcp/?a=1");
    // It is asked under its own spelling from then on; whoever is slow to follow redirects need not.
    upstream.asked.lock().unwrap().clear();
    let again = front.send(request("POST", "/mcp?a=1", "{}")).await;
    assert_eq!(
        (again.status(), upstream.last().target.as_str()),
        (StatusCode::OK, "/mcp/?a=1")
    );
    let far = front.send(request("GET", "/mcp/x", "")).await;
    assert!(far.headers().get("location").is_none());
    let (status, body) = json(far).await;
    assert_eq!(
        (status, &body["error"]),
        (StatusCode::BAD_GATEWAY, &json!("bad_gateway"))
    );
}

/// SM-09
#[tokio::test]
async fn what_is_no_mcp_is_refused_and_not_passed_on() {
    let upstream = Recorder::start(|_| ok()).await;
    let front = Front::before(&upstream.url("/mcp"));
    for method in ["TRACE", "CONNECT", "PROPFIND", "PUT", "PATCH"] {
        let answered = front.send(request(method, "/mcp", "")).await;
        assert_eq!(answered.status(), StatusCode::METHOD_NOT_ALLOWED, "{method}");
        assert_eq!(answered.headers()["allow"], "GET, POST, DELETE");
    }
    let socket = with(
        request("GET", "/mcp", ""),
        &[
            ("connection", "upgrade"),
            ("upgrade", "WebSocket"),
            ("sec-websocket-key", "x"),
        ],
    );
    assert_eq!(front.send(socket).await.status(), StatusCode::NOT_IMPLEMENTED);
    for path in [
        "/mcp/../admin",
        "/mcp/%2e%2e/admin",
        "/mcpx",
        "/",
        "/mcp/..%2fadmin",
    ] {
        let answered = front.send(request("POST", path, "{}")).await;
        assert_eq!(answered.status(), StatusCode::NOT_FOUND, "{path}");
    }
    assert_eq!(upstream.count(), 0);
}

/// M-126
#[tokio::test]
async fn without_the_layer_in_front_nothing_is_passed_on() {
    let upstream = Recorder::start(|_| ok()).await;
    let front = Front::before(&upstream.url("/mcp"));
    let bare = Request::post("/mcp").body(Body::from("{}")).unwrap();
    assert_eq!(
        front.proxy.pass(bare).await.status(),
        StatusCode::INTERNAL_SERVER_ERROR
    );
    let stranger = Request::post("/mcp").body(Body::from("{}")).unwrap();
    assert_eq!(front.send(stranger).await.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(upstream.count(), 0);
}

#[tokio::test]
async fn an_operators_query_and_header_go_along_and_a_client_cannot_replace_them() {
    let upstream = Recorder::start(|_| ok()).await;
    let proxy = Proxy::builder(Upstream::http(upstream.url("/base/?key=ours")))
        .path("/public/mcp")
        .header("X-Api-Key", "ours")
        .build()
        .unwrap();
    let front = Front::of(proxy);
    let theirs = [("x-api-key", "theirs"), ("x_api_key", "theirs")];
    let asking = with(request("POST", "/public/mcp/sub?a=1&key=theirs", "{}"), &theirs);
    assert_eq!(front.send(asking).await.status(), StatusCode::OK);
    let asked = upstream.last();
    assert_eq!(asked.target, "/base/sub?key=ours&a=1");
    assert_eq!(asked.headers["x-api-key"], "ours");
    assert!(!format!("{:?}", asked.headers).contains("theirs"));
    front.send(request("POST", "/public/mcp", "{}")).await;
    assert_eq!(upstream.last().target, "/base/?key=ours");
    assert!(
        Proxy::builder(Upstream::http("http://127.0.0.1/"))
            .header("Authflow_Identity", "x")
            .build()
            .is_err()
    );
}
