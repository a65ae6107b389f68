//! The authorization endpoint as a browser sees it.

use axum::body::Body;
use http::{StatusCode, header};
use insta::assert_snapshot;
use mcp_authflow_testkit::{failing_store::Fault, params::Params};

use crate::edge::{COOKIE, Edge, request};

/// CH-02
#[tokio::test]
async fn a_good_request_goes_to_its_page_with_a_cookie() {
    let edge = Edge::new().await;
    let reply = edge.authorize(&Params::authorize("WEB"), None).await;
    assert_eq!(reply.status, StatusCode::SEE_OTHER);
    let id = reply.header("location").strip_prefix("/ui/interaction/").unwrap();
    assert!(
        id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()),
        "{id}"
    );
    let cookie = reply.header("set-cookie");
    let value = cookie
        .strip_prefix("__Host-authflow=")
        .and_then(|cookie| cookie.strip_suffix("; Path=/; HttpOnly; SameSite=Lax; Secure"))
        .unwrap();
    assert_eq!(value.len(), 43);
    assert_eq!(reply.header("cache-control"), "no-store");
    assert_eq!(reply.header("referrer-policy"), "no-referrer");
    assert_eq!((edge.visits(), reply.body.as_str()), (0, ""));
}

#[tokio::test]
async fn the_page_of_an_issuer_with_a_path_lies_beneath_it() {
    let edge = Edge::at("http://127.0.0.1:8000/t").await;
    let path = format!("/t/authorize?{}", Params::authorize("WEB").encoded());
    let reply = edge.get(&path).await;
    assert!(
        reply.header("location").starts_with("/t/ui/interaction/"),
        "{reply}"
    );
    let cookie = reply.header("set-cookie");
    assert!(cookie.starts_with("authflow_session="), "{cookie}");
    assert!(cookie.ends_with("; Path=/; HttpOnly; SameSite=Lax"), "{cookie}");
}

/// A browser keeps its cookie; whoever comes with a bad one, or with two, gets a new one.
#[tokio::test]
async fn a_browser_keeps_its_cookie() {
    let edge = Edge::new().await;
    let (_, cookie) = edge.waiting(&Params::authorize("WEB")).await;
    let again = edge.authorize(&Params::authorize("WEB"), Some(&cookie)).await;
    assert_eq!(
        (again.status, again.header("set-cookie")),
        (StatusCode::SEE_OTHER, "")
    );
    let beside = format!("theme=dark; {cookie}; authflow_session=x");
    let again = edge.authorize(&Params::authorize("WEB"), Some(&beside)).await;
    assert_eq!(again.header("set-cookie"), "");

    let value = cookie.split_once('=').unwrap().1;
    for bad in [
        format!("{cookie}; {cookie}"),
        format!("{cookie}; {COOKIE}={}", "A".repeat(43)),
        format!("{COOKIE}="),
        format!("{COOKIE}={}", "A".repeat(42)),
        format!("{COOKIE}={}%", "A".repeat(42)),
        format!("__host-authflow={value}"),
        format!("authflow_session={value}"),
    ] {
        let reply = edge.authorize(&Params::authorize("WEB"), Some(&bad)).await;
        let new = reply.header("set-cookie");
        assert!(new.starts_with(COOKIE) && !new.contains(value), "{bad}");
    }
}

/// AZ-01, AZ-02, AZ-03
#[tokio::test]
async fn a_request_of_nobody_known_gets_a_page() {
    let edge = Edge::new().await;
    let good = Params::authorize("WEB");
    for bad in [
        good.clone().unset("client_id"),
        good.clone().set("client_id", "nobody"),
        good.clone().and("client_id", "EVIL"),
        good.clone().and("redirect_uri", "https://evil.example/cb"),
        good.clone().set("redirect_uri", "https://evil.example/cb"),
        Params::authorize("EVIL").set("scope", "no-such"),
        Params::authorize("EVIL").set("prompt", "none"),
    ] {
        let reply = edge.authorize(&bad, None).await;
        reply.assert_page(400);
        assert!(!reply.body.contains("evil.example"), "{reply}");
    }
    edge.get("/authorize").await.assert_page(400);
}

#[tokio::test]
async fn the_page_of_an_unknown_client() {
    let edge = Edge::new().await;
    let reply = edge
        .authorize(&Params::authorize("WEB").set("client_id", "nobody"), None)
        .await;
    assert_snapshot!(reply.body, @r#"<!doctype html><html lang="en"><meta charset="utf-8"><title>Sign-in stopped</title><h1>Sign-in stopped</h1><p>unknown client</p>"#);
}

/// XS-01
#[tokio::test]
async fn no_page_repeats_what_a_stranger_wrote() {
    let edge = Edge::new().await;
    let script = "\"><script>alert(1)</script>";
    for client in ["WEB", "EVIL"] {
        for name in [
            "client_id",
            "redirect_uri",
            "error",
            "error_description",
            "login_hint",
            "scope",
            "prompt",
            "state",
            script,
        ] {
            let reply = edge
                .authorize(&Params::authorize(client).set(name, script), None)
                .await;
            assert!(!reply.to_string().contains("<script"), "{name}: {reply}");
        }
    }
}

/// TE-09 of the query: what cannot be read gets a page, not a guess.
#[tokio::test]
async fn a_query_that_cannot_be_read_gets_a_page() {
    let edge = Edge::new().await;
    let good = Params::authorize("WEB").encoded();
    for odd in [
        "&x=%",
        "&x=%zz",
        "&x=%00",
        "&state=a%00b",
        "&x=%ff",
        &"&x=1".repeat(101),
    ] {
        edge.get(&format!("/authorize?{good}{odd}"))
            .await
            .assert_page(400);
    }
}

/// MX-01, AZ-05
#[tokio::test]
async fn a_bad_request_of_the_operators_client_goes_back() {
    let edge = Edge::new().await;
    let bad = Params::authorize("WEBQ")
        .set("scope", "no-such")
        .set("state", "s t");
    let reply = edge.authorize(&bad, None).await;
    assert_snapshot!(reply, @r"
    303 See Other
    cache-control: no-store
    location: https://client.example/cb?tenant=7&error=invalid_scope&error_description=none%20of%20the%20scope%20asked%20for%20can%20be%20granted&state=s%20t&iss=https%3A%2F%2Fauth.example
    referrer-policy: no-referrer
    ");
}

/// AZ-17: a header is a header, whatever the state.
#[tokio::test]
async fn a_state_of_any_kind_breaks_no_header() {
    let edge = Edge::new().await;
    let state = "\r\nSet-Cookie: x=y\r\n\r\n<h1>\u{2028}\u{1f980}%0d%0a&code=x#";
    let bad = Params::authorize("WEB")
        .set("scope", "no-such")
        .set("state", state);
    let reply = edge.authorize(&bad, None).await;
    assert_eq!(reply.status, StatusCode::SEE_OTHER);
    let location = reply.header("location");
    let (_, query) = location.split_once('?').unwrap();
    let pairs: Vec<(String, String)> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    assert!(
        pairs.contains(&("state".to_owned(), state.to_owned())),
        "{location}"
    );
    assert!(!pairs.iter().any(|(name, _)| name == "code"));
    assert_eq!(reply.header("set-cookie"), "");
}

/// P9
#[tokio::test]
async fn a_store_that_cannot_be_asked_gets_a_page_that_says_so() {
    let edge = Edge::new().await;
    for (fault, status) in [(Fault::Refuses, 503), (Fault::Hangs, 504)] {
        edge.store.fail("begin_interaction", fault);
        let reply = edge.authorize(&Params::authorize("WEB"), None).await;
        reply.assert_page(status);
        assert_eq!(reply.header("retry-after"), "2");
    }
}

/// M §6.4 trap 12: FastMCP probes without cookies before it opens the browser, and some do so by HEAD.
#[tokio::test]
async fn a_probe_harms_nothing() {
    let edge = Edge::new().await;
    let path = format!("/authorize?{}", Params::authorize("WEB").encoded());
    for method in ["GET", "HEAD", "GET"] {
        let probe = request(method, &path)
            .header(header::USER_AGENT, "probe")
            .body(Body::empty());
        assert_eq!(edge.send(probe.unwrap()).await.status, StatusCode::SEE_OTHER);
    }
    let waiting = edge.waiting(&Params::authorize("WEB")).await;
    let reply = edge.decide(&waiting, "allow").await;
    assert!(reply.header("location").contains("?code=mcpac_"), "{reply}");
}
