//! The metadata document, and what else is asked for under `/.well-known/`.

use http::StatusCode;

use crate::{
    house::{House, house_where, request, settings},
    peer::Answer,
};

const ROOT: &str = "/.well-known/oauth-protected-resource";
const INSERTED: &str = "/.well-known/oauth-protected-resource/mcp";

fn house() -> House {
    House::behind(
        settings("https://auth.test/tenant")
            .scopes(["admin"])
            .name("Test")
            .build()
            .unwrap(),
    )
}

/// M-010, M-012, M-013, M-132: the same bytes at both spellings, for every page, without a token.
#[tokio::test]
async fn the_metadata_is_open_to_everyone_at_both_spellings() {
    let house = house();
    let body = r#"{"resource":"https://rs.test/mcp","authorization_servers":["https://auth.test/tenant"],"scopes_supported":["admin","read","write"],"bearer_methods_supported":["header"],"resource_name":"Test"}"#;
    for path in [ROOT, INSERTED, "/.well-known/oauth-protected-resource/mcp?x=1"] {
        for headers in [
            &[][..],
            &[("origin", "https://evil.test"), ("authorization", "Bearer junk")],
        ] {
            let seen = house.call(request("GET", path, headers)).await;
            assert_eq!((seen.status, seen.body.as_str()), (StatusCode::OK, body));
            assert_eq!(seen.header("content-type"), Some("application/json"));
            assert_eq!(seen.header("cache-control"), Some("public, max-age=300"));
            assert_eq!(seen.header("access-control-allow-origin"), Some("*"));
        }
        let head = house.call(request("HEAD", path, &[])).await;
        assert_eq!((head.status, head.body.as_str()), (StatusCode::OK, ""));
        assert_eq!(
            head.header("content-length"),
            Some(body.len().to_string().as_str())
        );
    }
    assert_eq!(house.runs(), 0);
}

/// M-132: browsers ask first, because clients send `MCP-Protocol-Version` along.
#[tokio::test]
async fn a_preflight_for_the_metadata_is_answered() {
    let preflight = [
        ("origin", "https://app.test"),
        ("access-control-request-method", "GET"),
        ("access-control-request-headers", "mcp-protocol-version"),
    ];
    let seen = house().call(request("OPTIONS", INSERTED, &preflight)).await;
    assert_eq!((seen.status, seen.body.as_str()), (StatusCode::NO_CONTENT, ""));
    assert_eq!(seen.header("access-control-allow-origin"), Some("*"));
    assert_eq!(seen.header("access-control-allow-methods"), Some("GET, HEAD"));
    assert_eq!(seen.header("access-control-allow-headers"), Some("*"));
}

#[tokio::test]
async fn the_metadata_can_only_be_read() {
    let seen = house().call(request("POST", ROOT, &[])).await;
    assert_eq!(seen.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(seen.header("allow"), Some("GET, HEAD, OPTIONS"));
}

/// M §6.4.7: clients go on to the next address after a 404, and stop at a 401.
#[tokio::test]
async fn an_unknown_well_known_document_is_a_json_404() {
    let (house, _) = house_where(Answer::Never).await;
    for path in [
        "/.well-known/oauth-authorization-server",
        "/.well-known/openid-configuration",
        "/.well-known/oauth-protected-resource/",
        "/.well-known/oauth-protected-resource/other",
        "/.well-known/oauth-protected-resource/mcp/",
        "/.well-known/",
    ] {
        let seen = house.call(request("GET", path, &[])).await;
        assert_eq!(seen.status, StatusCode::NOT_FOUND, "{path}");
        assert_eq!(
            seen.body,
            r#"{"error":"not_found","error_description":"there is no such document"}"#
        );
        assert_eq!(seen.header("content-type"), Some("application/json"));
    }
    assert_eq!(house.runs(), 0);
}

/// Only the paths themselves are open; nothing that merely contains or resembles them.
#[tokio::test]
async fn no_path_trick_opens_another_path() {
    let (house, _) = house_where(Answer::Never).await;
    for path in [
        "/mcp/.well-known/oauth-protected-resource",
        "/.well-known",
        "//.well-known/oauth-protected-resource",
        "/mcp?/.well-known/oauth-protected-resource",
        "/.Well-Known/oauth-protected-resource",
        "/%2ewell-known/oauth-protected-resource",
    ] {
        let seen = house.call(request("GET", path, &[])).await;
        assert_eq!(seen.status, StatusCode::UNAUTHORIZED, "{path}");
    }
    let dots = house.call(request("GET", "/.well-known/../mcp", &[])).await;
    assert_eq!(dots.status, StatusCode::NOT_FOUND);
    assert_eq!(house.runs(), 0);
}

/// HH-01: addresses come from the settings, never from the request.
#[tokio::test]
async fn a_forged_host_changes_no_address() {
    let house = house();
    for forged in ["host", "x-forwarded-host", "forwarded"] {
        let seen = house
            .call(request("POST", "/mcp", &[(forged, "host=evil.test")]))
            .await;
        assert_eq!(seen.status, StatusCode::UNAUTHORIZED);
        assert!(!format!("{:?}", seen.headers).contains("evil"));
        let seen = house
            .call(request("GET", ROOT, &[(forged, "host=evil.test")]))
            .await;
        assert!(!seen.body.contains("evil"));
    }
}
