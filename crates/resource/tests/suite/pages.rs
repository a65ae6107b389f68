//! Browser pages: which may call, and what they may read.

use http::StatusCode;

use crate::{
    house::{House, RESOURCE_METADATA, good_answer, post, request, settings},
    peer::{Answer, Peer},
};

const PAGE: (&str, &str) = ("origin", "https://app.test");

async fn house() -> (House, Peer) {
    let peer = Peer::start(|_| Answer::Ok(good_answer())).await;
    let protect = settings(&peer.issuer).allow_origin("https://app.test").build();
    (House::behind(protect.unwrap()), peer)
}

/// M-132
#[tokio::test]
async fn a_preflight_of_an_allowed_page_is_answered_without_a_token() {
    let (house, _) = house().await;
    let asked = "authorization, content-type, mcp-protocol-version, mcp-param-city";
    for method in ["GET", "POST", "DELETE"] {
        let headers = [
            PAGE,
            ("access-control-request-method", method),
            ("access-control-request-headers", asked),
        ];
        let seen = house.call(request("OPTIONS", "/mcp", &headers)).await;
        assert_eq!((seen.status, seen.body.as_str()), (StatusCode::NO_CONTENT, ""));
        assert_eq!(
            seen.header("access-control-allow-origin"),
            Some("https://app.test")
        );
        assert_eq!(
            seen.header("access-control-allow-methods"),
            Some("GET, POST, DELETE")
        );
        assert_eq!(
            seen.header("access-control-allow-headers"),
            Some(
                "Authorization, Content-Type, Accept, MCP-Protocol-Version, Mcp-Session-Id, Mcp-Method, Mcp-Name, \
                 Last-Event-ID, mcp-param-city"
            )
        );
        assert_eq!(seen.header("access-control-allow-credentials"), None);
        assert_eq!(seen.header("vary"), Some("Authorization, Origin"));
    }
    assert_eq!(house.runs(), 0);
}

/// CR-06, M-132: without this a page cannot see where to get a token.
#[tokio::test]
async fn an_allowed_page_can_read_the_answer_and_the_challenge() {
    let (house, _) = house().await;
    let refused = house.call(post(&[PAGE])).await;
    let admitted = house.call(post(&[PAGE, ("authorization", "Bearer t")])).await;
    assert_eq!(
        (refused.status, admitted.status),
        (StatusCode::UNAUTHORIZED, StatusCode::OK)
    );
    assert!(
        refused
            .header("www-authenticate")
            .unwrap()
            .contains(RESOURCE_METADATA)
    );
    for seen in [refused, admitted] {
        assert_eq!(
            seen.header("access-control-allow-origin"),
            Some("https://app.test")
        );
        assert_eq!(
            seen.header("access-control-expose-headers"),
            Some("WWW-Authenticate, Mcp-Session-Id, MCP-Protocol-Version")
        );
        assert_eq!(seen.header("access-control-allow-credentials"), None);
    }
}

/// M-130: also with a good token, and before anybody is asked about it.
#[tokio::test]
async fn a_page_of_a_foreign_origin_is_refused() {
    let (house, peer) = house().await;
    for origin in [
        "https://evil.test",
        "null",
        "http://localhost:6274",
        "https://app.test.evil.test",
    ] {
        let page = ("origin", origin);
        let preflight = [page, ("access-control-request-method", "POST")];
        for request in [
            post(&[page, ("authorization", "Bearer t")]),
            post(&[page]),
            request("OPTIONS", "/mcp", &preflight),
        ] {
            let seen = house.call(request).await;
            assert_eq!(seen.status, StatusCode::FORBIDDEN, "{origin}");
            assert_eq!(
                seen.body,
                r#"{"error":"access_denied","error_description":"pages of this origin may not call here"}"#
            );
            assert_eq!(seen.header("access-control-allow-origin"), None);
            assert_eq!(seen.header("www-authenticate"), None);
        }
    }
    assert_eq!((house.runs(), peer.questions().len()), (0, 0));
}

/// An `OPTIONS` that no browser sends as a pre-flight needs a token like everything else.
#[tokio::test]
async fn options_alone_is_no_way_in() {
    let (house, _) = house().await;
    for headers in [&[][..], &[PAGE], &[("access-control-request-method", "POST")]] {
        let seen = house.call(request("OPTIONS", "/mcp", headers)).await;
        assert_eq!(seen.status, StatusCode::UNAUTHORIZED);
    }
    assert_eq!(house.runs(), 0);
}
