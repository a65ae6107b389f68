//! A request's page: one browser, forms of this site alone, and an answer that leaves once.

use axum::body::Body;
use http::{StatusCode, header};
use insta::assert_snapshot;
use mcp_authflow_testkit::{failing_store::Fault, params::Params};

use crate::edge::{COOKIE, Edge, ISSUER, form, request};

#[tokio::test]
async fn a_visit_shows_what_the_hook_shows() {
    let edge = Edge::new().await;
    let (page, cookie) = edge.waiting(&Params::authorize("WEB")).await;
    for _ in 0..2 {
        let visit = request("GET", &page)
            .header(header::COOKIE, &cookie)
            .body(Body::empty());
        let reply = edge.send(visit.unwrap()).await;
        assert_eq!(
            (reply.status, reply.body),
            (StatusCode::OK, format!("GET {page}"))
        );
        assert_eq!(edge.visits(), 1);
    }
    let reply = edge.decide(&(page.clone(), cookie), "think").await;
    assert_eq!(
        (reply.status, reply.body),
        (StatusCode::OK, format!("POST {page}"))
    );
}

#[tokio::test]
async fn an_approval_leaves_with_a_code_and_a_second_one_does_not() {
    let edge = Edge::new().await;
    let waiting = edge.waiting(&Params::authorize("WEB").set("state", "s")).await;
    let mut reply = edge.decide(&waiting, "allow").await;
    let location = reply.header("location").to_owned();
    let (before, code) = location.split_once("mcpac_").unwrap();
    let masked = format!("{before}mcpac_…{}", &code[code.find('&').unwrap()..]);
    reply.headers.insert(header::LOCATION, "…".parse().unwrap());
    assert_eq!(
        masked,
        "https://client.example/cb?code=mcpac_…&state=s&iss=https%3A%2F%2Fauth.example"
    );
    reply.headers.remove(header::LOCATION);
    assert_snapshot!(reply, @r"
    303 See Other
    cache-control: no-store
    referrer-policy: no-referrer
    ");
    for decision in ["allow", "deny"] {
        edge.decide(&waiting, decision).await.assert_page(400);
    }
    assert_eq!(edge.visits(), 1);
}

/// MX-01
#[tokio::test]
async fn a_denial_leaves_as_access_denied() {
    let edge = Edge::new().await;
    let waiting = edge.waiting(&Params::authorize("EVIL").set("state", "s")).await;
    let reply = edge.decide(&waiting, "deny").await;
    assert_snapshot!(reply, @r"
    303 See Other
    cache-control: no-store
    location: https://evil.example/cb?error=access_denied&error_description=the%20request%20was%20denied&state=s&iss=https%3A%2F%2Fauth.example
    referrer-policy: no-referrer
    ");
}

/// P13: the address of a page opens nothing by itself.
#[tokio::test]
async fn a_page_opens_in_the_browser_that_began_alone() {
    let edge = Edge::new().await;
    let (page, cookie) = edge.waiting(&Params::authorize("WEB")).await;
    let (_, other) = edge.waiting(&Params::authorize("WEB")).await;
    for wrong in [
        None,
        Some(other.clone()),
        Some(format!("{cookie}; {other}")),
        Some(format!("{COOKIE}={}", "A".repeat(43))),
        Some(cookie.replace(COOKIE, "authflow_session")),
    ] {
        for method in ["GET", "POST"] {
            let mut visit = request(method, &page)
                .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
                .header("sec-fetch-site", "same-origin");
            if let Some(wrong) = &wrong {
                visit = visit.header(header::COOKIE, wrong);
            }
            let reply = edge.send(visit.body(Body::from("decision=allow")).unwrap()).await;
            reply.assert_page(400);
        }
    }
    assert_eq!(edge.visits(), 0);
    edge.decide(&(page, cookie), "deny").await;
}

#[tokio::test]
async fn an_unknown_page_is_over() {
    let edge = Edge::new().await;
    let (page, cookie) = edge.waiting(&Params::authorize("WEB")).await;
    for other in [
        "/ui/interaction/0".to_owned(),
        format!("/ui/interaction/{}", "0".repeat(32)),
        page.replace("/ui/interaction/", "/ui/interaction/%20"),
        "/ui/interaction/<script>".replace('<', "%3C").replace('>', "%3E"),
        "/ui/interaction/..%2f..".to_owned(),
    ] {
        let visit = request("GET", &other)
            .header(header::COOKIE, &cookie)
            .body(Body::empty());
        edge.send(visit.unwrap()).await.assert_page(400);
    }
    let not_text = request("GET", "/ui/interaction/%ff").body(Body::empty());
    assert_eq!(edge.send(not_text.unwrap()).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(edge.visits(), 0);
}

/// AZ-15, CS-02: no form of another site decides anything.
#[tokio::test]
async fn a_form_of_another_site_is_refused() {
    let edge = Edge::new().await;
    let (page, cookie) = edge.waiting(&Params::authorize("WEB")).await;
    for forged in [
        &[
            ("sec-fetch-site", "cross-site"),
            ("origin", "https://evil.example"),
        ][..],
        &[
            ("sec-fetch-site", "same-site"),
            ("origin", "https://evil.auth.example"),
        ],
        &[("sec-fetch-site", "none")],
        &[("origin", "https://evil.example")],
        &[("origin", "null")],
        &[("origin", "http://auth.example")],
        &[("origin", "https://auth.example.evil.example")],
        &[("origin", "https://auth.example:8443")],
        &[("referer", "https://evil.example/https://auth.example/")],
    ] {
        let mut post = form(&page).header(header::COOKIE, &cookie);
        for (name, value) in forged {
            post = post.header(*name, *value);
        }
        let reply = edge.send(post.body(Body::from("decision=allow")).unwrap()).await;
        reply.assert_page(400);
    }
    for content_type in [
        "text/plain",
        "application/json",
        "multipart/form-data; boundary=x",
    ] {
        let post = request("POST", &page)
            .header(header::COOKIE, &cookie)
            .header(header::ORIGIN, ISSUER)
            .header(header::CONTENT_TYPE, content_type)
            .body(Body::from("decision=allow"));
        edge.send(post.unwrap()).await.assert_page(400);
    }
    assert_eq!(edge.visits(), 0);
    let reply = edge.decide(&(page, cookie), "allow").await;
    assert!(reply.header("location").contains("?code="), "{reply}");
}

/// P12
#[tokio::test]
async fn a_form_is_at_most_64_kib() {
    let edge = Edge::new().await;
    let waiting = edge.waiting(&Params::authorize("WEB")).await;
    let filled = |length: usize| "a".repeat(length - "decision=".len());
    assert_eq!(
        edge.decide(&waiting, &filled(65_536)).await.status,
        StatusCode::OK
    );
    edge.decide(&waiting, &filled(65_537)).await.assert_page(400);
    assert_eq!(edge.visits(), 1);
}

/// OpenID Connect Core §3.1.2.1: "The Authorization Server MUST NOT display any authentication or consent user interface
/// pages."
#[tokio::test]
async fn a_silent_request_is_shown_nothing() {
    let edge = Edge::new().await;
    for (decision, error) in [
        ("think", "login_required"),
        ("sign-in-first", "login_required"),
        ("ask-first", "consent_required"),
    ] {
        let waiting = edge
            .waiting(&Params::authorize("WEB").set("prompt", "none"))
            .await;
        let reply = edge.decide(&waiting, decision).await;
        assert_eq!(reply.status, StatusCode::SEE_OTHER);
        let start = format!("https://client.example/cb?error={error}&");
        assert!(reply.header("location").starts_with(&start), "{reply}");
        assert!(
            reply
                .header("location")
                .ends_with("&iss=https%3A%2F%2Fauth.example")
        );
    }
    let waiting = edge
        .waiting(&Params::authorize("WEB").set("prompt", "none"))
        .await;
    let reply = edge.decide(&waiting, "allow").await;
    assert!(reply.header("location").contains("?code="), "{reply}");
}

/// P9
#[tokio::test]
async fn a_store_that_cannot_be_asked_gets_a_page_and_the_request_waits_on() {
    let edge = Edge::new().await;
    let waiting = edge.waiting(&Params::authorize("WEB")).await;
    for verb in ["load_interaction", "close_interaction"] {
        for (fault, status) in [(Fault::Refuses, 503), (Fault::Hangs, 504)] {
            edge.store.fail(verb, fault);
            let reply = edge.decide(&waiting, "allow").await;
            reply.assert_page(status);
            assert_eq!(reply.header("retry-after"), "2");
            edge.store.heal();
        }
    }
    let reply = edge.decide(&waiting, "allow").await;
    assert!(reply.header("location").contains("?code="), "{reply}");
}
