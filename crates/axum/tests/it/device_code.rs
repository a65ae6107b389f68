//! The device grant on the wire: what a device is told, and the page where its code is typed.

use axum::body::Body;
use http::{StatusCode, header};
use mcp_authflow_testkit::{failing_store::Fault, params::Params};

use crate::edge::{COOKIE, Edge, ISSUER, Reply, form, request};

impl Edge {
    /// The codes of a device of the cast that waits.
    async fn device(&self, client_id: &str) -> serde_json::Value {
        let reply = self
            .post("/device_authorization", None, &Params::device_start(client_id))
            .await;
        assert_eq!(reply.status, StatusCode::OK, "{reply}");
        reply.json()
    }

    /// The device page, in a browser that has this cookie.
    async fn device_page(&self, query: &str, cookie: Option<&str>) -> Reply {
        let mut request = request("GET", &format!("/ui/device{query}"));
        if let Some(cookie) = cookie {
            request = request.header(header::COOKIE, cookie);
        }
        self.send(request.body(Body::empty()).unwrap()).await
    }

    /// What somebody types there.
    async fn typed(&self, user_code: &str, cookie: &str) -> Reply {
        let request = form("/ui/device")
            .header(header::COOKIE, cookie)
            .header("sec-fetch-site", "same-origin")
            .header(header::ORIGIN, ISSUER);
        let body = Params::of(&[("user_code", user_code)]).encoded();
        self.send(request.body(Body::from(body)).unwrap()).await
    }

    async fn poll(&self, client_id: &str, codes: &serde_json::Value) -> Reply {
        let code = codes["device_code"].as_str().unwrap();
        self.post("/token", None, &Params::poll(client_id, code)).await
    }
}

fn cookie_of(reply: &Reply) -> String {
    reply.header("set-cookie").split(';').next().unwrap().to_owned()
}

/// S-099, S-100; RFC 8628 §3.2
#[tokio::test]
async fn a_device_is_told_its_codes_and_nobody_keeps_them() {
    let edge = Edge::new().await;
    let reply = edge
        .post("/device_authorization", None, &Params::device_start("DEV1"))
        .await;
    for (name, value) in [
        ("content-type", "application/json"),
        ("cache-control", "no-store"),
        ("access-control-allow-origin", "*"),
    ] {
        assert_eq!(reply.header(name), value, "{name}");
    }
    let codes = reply.json();
    let user_code = codes["user_code"].as_str().unwrap();
    let page = format!("{ISSUER}/ui/device");
    assert_eq!(codes["verification_uri"], page);
    assert_eq!(
        codes["verification_uri_complete"],
        format!("{page}?user_code={user_code}")
    );
    assert_eq!(
        (&codes["expires_in"], &codes["interval"]),
        (&600.into(), &5.into())
    );
    let metadata = edge.get("/.well-known/oauth-authorization-server").await.json();
    assert_eq!(
        metadata["device_authorization_endpoint"],
        format!("{ISSUER}/device_authorization")
    );
}

/// RFC 8628 §3.3 to §3.5, by way of the page that an embedder gets for nothing.
#[tokio::test]
async fn a_device_gets_its_tokens_by_way_of_the_plain_page() {
    let edge = Edge::new().await;
    let codes = edge.device("DEV1").await;
    let user_code = codes["user_code"].as_str().unwrap();
    edge.poll("DEV1", &codes)
        .await
        .assert_error(400, "authorization_pending");
    let hurried = edge.poll("DEV1", &codes).await;
    hurried.assert_error(400, "slow_down");
    assert_eq!(hurried.header("retry-after"), "10");

    let shown = edge.device_page(&format!("?user_code={user_code}"), None).await;
    assert_eq!(shown.status, StatusCode::OK);
    assert!(shown.body.contains(&format!("value=\"{user_code}\"")));
    let cookie = cookie_of(&shown);
    assert!(cookie.starts_with(COOKIE));
    let reply = edge.typed(&user_code.to_lowercase(), &cookie).await;
    assert_eq!(reply.status, StatusCode::SEE_OTHER, "{reply}");
    let waiting = (reply.header("location").to_owned(), cookie);
    let reply = edge.decide(&waiting, "allow").await;
    assert_eq!(
        (reply.status, reply.header("location")),
        (StatusCode::SEE_OTHER, "/ui/device/approved")
    );
    edge.get("/ui/device/approved").await.assert_page(200);
    edge.get("/ui/device/denied").await.assert_page(200);
    edge.clock.advance(std::time::Duration::from_secs(10));
    let tokens = edge.poll("DEV1", &codes).await;
    assert_eq!(tokens.status, StatusCode::OK, "{tokens}");
    edge.clock.advance(std::time::Duration::from_secs(10));
    edge.poll("DEV1", &codes).await.assert_error(400, "invalid_grant");
}

/// DV-05
#[tokio::test]
async fn a_denied_device_is_told_so_with_400() {
    let edge = Edge::new().await;
    let codes = edge.device("DEV1").await;
    let cookie = cookie_of(&edge.device_page("", None).await);
    let reply = edge.typed(codes["user_code"].as_str().unwrap(), &cookie).await;
    let waiting = (reply.header("location").to_owned(), cookie);
    let reply = edge.decide(&waiting, "deny").await;
    assert_eq!(reply.header("location"), "/ui/device/denied");
    edge.poll("DEV1", &codes).await.assert_error(400, "access_denied");
}

/// DV-15: the page of another browser, and the code in it, lead nowhere.
#[tokio::test]
async fn a_device_is_decided_about_in_the_browser_that_typed_its_code() {
    let edge = Edge::new().await;
    let codes = edge.device("DEV1").await;
    let user_code = codes["user_code"].as_str().unwrap();
    let mine = cookie_of(&edge.device_page("", None).await);
    let theirs = cookie_of(&edge.device_page("", None).await);
    let reply = edge.typed(user_code, &mine).await;
    let page = reply.header("location").to_owned();
    let late = edge.typed(user_code, &theirs).await;
    assert_eq!(late.status, StatusCode::OK);
    assert!(late.body.contains("No device waits"), "{late}");
    edge.decide(&(page, theirs), "allow").await.assert_page(400);
    edge.poll("DEV1", &codes)
        .await
        .assert_error(400, "authorization_pending");
}

/// DV-17, DV-18, CS-02
#[tokio::test]
async fn the_page_is_framed_by_nobody_and_repeats_nobody() {
    let edge = Edge::new().await;
    for hostile in [
        "%22%3E%3Cscript%3Ealert(1)%3C/script%3E",
        "javascript:alert(1)",
        "%7B%7B7*7%7D%7D",
        "%253Csvg%20onload%253D",
    ] {
        let shown = edge.device_page(&format!("?user_code={hostile}"), None).await;
        assert_eq!(shown.status, StatusCode::OK);
        for (name, value) in [
            ("x-frame-options", "DENY"),
            ("cache-control", "no-store"),
            (
                "content-security-policy",
                "default-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
            ),
        ] {
            assert_eq!(shown.header(name), value, "{name}");
        }
        assert!(shown.body.contains("value=\"\""), "{shown}");
    }
    // A form of another site types nothing.
    let codes = edge.device("DEV1").await;
    let cookie = cookie_of(&edge.device_page("", None).await);
    let body = Params::of(&[("user_code", codes["user_code"].as_str().unwrap())]).encoded();
    let forged = form("/ui/device")
        .header(header::COOKIE, &cookie)
        .header("sec-fetch-site", "cross-site")
        .header(header::ORIGIN, "https://evil.example")
        .body(Body::from(body));
    edge.send(forged.unwrap()).await.assert_page(400);
    assert_eq!(
        edge.typed(codes["user_code"].as_str().unwrap(), &cookie)
            .await
            .status,
        StatusCode::SEE_OTHER
    );
}

/// DV-11; P9
#[tokio::test]
async fn tries_are_counted_and_a_store_that_cannot_be_asked_is_said_so() {
    let edge = Edge::new().await;
    let cookie = cookie_of(&edge.device_page("", None).await);
    edge.store.fail("find_device", Fault::Refuses);
    let shown = edge.typed("BBBB-BBBB", &cookie).await;
    assert_eq!(shown.status, StatusCode::SERVICE_UNAVAILABLE);
    edge.store.heal();
    for _ in 0..5 {
        assert_eq!(edge.typed("BBBB-BBBB", &cookie).await.status, StatusCode::OK);
    }
    let shown = edge.typed("BBBB-BBBB", &cookie).await;
    assert_eq!(shown.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(shown.header("retry-after"), "600");
}
