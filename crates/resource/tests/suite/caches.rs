//! What caches and proxies between caller and server may do, and what forged headers of theirs change: nothing.

use std::convert::Infallible;

use axum::body::Body;
use http::{Request, Response, StatusCode};
use tower::{Layer as _, ServiceExt as _};

use crate::{
    house::{House, RESOURCE_METADATA, good_answer, house_where, post, request, settings},
    peer::Answer,
};

const FORGED: &[(&str, &str)] = &[
    ("host", "evil.test"),
    ("host", "rs.test:444"),
    ("x-forwarded-host", "evil.test"),
    ("x-forwarded-proto", "http"),
    ("x-forwarded-port", "81"),
    ("x-forwarded-prefix", "//evil.test"),
    ("x-forwarded-server", "evil.test"),
    ("forwarded", "proto=http;host=evil.test"),
    ("x-original-url", "/.well-known/oauth-protected-resource"),
    ("x-rewrite-url", "/.well-known/oauth-protected-resource"),
    ("via", "1.1 evil.test"),
];

/// HH-01, HH-02: addresses and routes come from the settings and the path, never from what a proxy may have said.
#[tokio::test]
async fn headers_of_proxies_change_no_address_and_open_no_path() {
    let (house, _) = house_where(Answer::Ok(good_answer())).await;
    let document = "/.well-known/oauth-protected-resource/mcp";
    let expected = house.call(request("GET", document, &[])).await;
    assert!(expected.body.starts_with(r#"{"resource":"https://rs.test/mcp","#));
    for forged in FORGED {
        let seen = house.call(request("GET", document, &[*forged])).await;
        assert_eq!(
            (seen.status, &seen.body),
            (StatusCode::OK, &expected.body),
            "{forged:?}"
        );
        assert_eq!(seen.headers, expected.headers, "{forged:?}");
        let seen = house.call(post(&[*forged])).await;
        assert_eq!(seen.status, StatusCode::UNAUTHORIZED, "{forged:?}");
        let challenge = seen.header("www-authenticate").unwrap();
        assert!(
            challenge.contains(&format!("resource_metadata=\"{RESOURCE_METADATA}\"")),
            "{forged:?}: {challenge}"
        );
        assert!(
            !format!("{:?}{}", seen.headers, seen.body).contains("evil"),
            "{forged:?}"
        );
    }
    assert_eq!(house.runs(), 0);
}

/// CH-05, CH-06: whoever is refused is refused for this request alone, whatever the path looks like.
#[tokio::test]
async fn no_refusal_is_kept_by_a_cache() {
    let (house, _) = house_where(Answer::Ok(r#"{"active":false}"#.to_owned())).await;
    let (outage, _) = house_where(Answer::Status(500, "")).await;
    for path in [
        "/mcp",
        "/mcp/x.css",
        "/mcp;a.js",
        "/mcp/a.png",
        "/mcp%2f..%2fx.css",
    ] {
        let bad = ("authorization", "Bearer bad");
        for (house, headers, status) in [
            (&house, &[][..], 401),
            (&house, &[bad][..], 401),
            (&house, &[("origin", "https://evil.test")][..], 403),
            (&outage, &[bad][..], 503),
        ] {
            let seen = house.call(request("GET", path, headers)).await;
            assert_eq!(seen.status.as_u16(), status, "{path}");
            assert_eq!(seen.header("cache-control"), Some("no-store"), "{path} {status}");
            assert_eq!(
                seen.header("vary"),
                Some("Authorization, Origin"),
                "{path} {status}"
            );
            assert_eq!(seen.header("x-content-type-options"), Some("nosniff"));
            for telltale in ["server", "x-powered-by", "set-cookie"] {
                assert_eq!(seen.header(telltale), None);
            }
        }
    }
}

/// CH-05: RFC 9111 §3.5 leaves it to the answer; a handler that knows better is left alone.
#[tokio::test]
async fn an_answer_is_for_its_caller_alone_unless_the_handler_says_otherwise() {
    let (_, peer) = house_where(Answer::Ok(good_answer())).await;
    let protect = settings(&peer.issuer).build().unwrap();
    for (said, expected) in [
        (None, "private"),
        (Some("public, max-age=60"), "public, max-age=60"),
        (Some("no-cache"), "no-cache"),
    ] {
        let inner = tower::service_fn(move |_: Request<Body>| async move {
            let mut answer = Response::builder();
            if let Some(said) = said {
                answer = answer.header("cache-control", said);
            }
            Ok::<_, Infallible>(answer.body(Body::empty()).unwrap())
        });
        let request = post(&[("authorization", "Bearer good")]);
        let answer = protect.layer(inner).oneshot(request).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(answer.headers()["cache-control"], expected);
        let vary: Vec<_> = answer.headers().get_all("vary").iter().collect();
        assert_eq!(vary, ["Authorization, Origin"]);
    }
}

/// S-253, RFC 9110 §13.1.2: the document is sent again only when it has changed.
#[tokio::test]
async fn a_client_that_has_the_metadata_is_told_so() {
    let house = House::behind(settings("https://auth.test").build().unwrap());
    let path = "/.well-known/oauth-protected-resource";
    let first = house.call(request("GET", path, &[])).await;
    let tag = first.header("etag").unwrap();
    let again = house.call(request("GET", path, &[("if-none-match", tag)])).await;
    assert_eq!(
        (again.status, again.body.as_str()),
        (StatusCode::NOT_MODIFIED, "")
    );
    assert_eq!(again.header("etag"), Some(tag));
    assert_eq!(again.header("cache-control"), Some("public, max-age=300"));
    assert_eq!(again.header("access-control-allow-origin"), Some("*"));
    let changed = House::behind(settings("https://auth.test").name("Other").build().unwrap());
    let seen = changed
        .call(request("GET", path, &[("if-none-match", tag)]))
        .await;
    assert_eq!(seen.status, StatusCode::OK);
}
