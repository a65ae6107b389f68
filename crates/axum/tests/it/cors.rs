//! What scripts on other sites may call (M-132): what looks at no cookie, and nothing else.

use axum::body::Body;
use http::header;
use insta::assert_snapshot;
use mcp_authflow_testkit::params::Params;
use mcp_authflow_types::cors::AllowedOrigins;

use crate::edge::{Edge, Reply, form, request};

const OPEN: [(&str, &str); 6] = [
    ("/token", "POST, OPTIONS"),
    ("/device_authorization", "POST, OPTIONS"),
    ("/revoke", "POST, OPTIONS"),
    ("/register", "POST, OPTIONS"),
    ("/jwks", "GET, HEAD, OPTIONS"),
    ("/.well-known/oauth-authorization-server", "GET, HEAD, OPTIONS"),
];

async fn preflight(edge: &Edge, path: &str, origin: &str) -> Reply {
    let request = request("OPTIONS", path)
        .header(header::ORIGIN, origin)
        .header(header::ACCESS_CONTROL_REQUEST_METHOD, "DELETE")
        .header(header::ACCESS_CONTROL_REQUEST_HEADERS, "x-evil, authorization")
        .body(Body::empty());
    edge.send(request.unwrap()).await
}

/// CR-05
#[tokio::test]
async fn a_preflight_allows_what_is_needed_whatever_it_asks() {
    let edge = Edge::new().await;
    assert_snapshot!(preflight(&edge, "/token", "https://x.example").await, @r"
    204 No Content
    access-control-allow-headers: Authorization, Content-Type, Accept, MCP-Protocol-Version, Mcp-Session-Id, DPoP
    access-control-allow-methods: POST, OPTIONS
    access-control-allow-origin: *
    access-control-max-age: 600
    allow: POST, OPTIONS
    ");
    for (path, methods) in OPEN {
        let reply = preflight(&edge, path, "null").await;
        assert_eq!(reply.status, 204, "{path}");
        assert_eq!(reply.header("access-control-allow-methods"), methods);
        assert_eq!(reply.header("access-control-allow-origin"), "*");
        assert_eq!(reply.header("access-control-allow-credentials"), "");
    }
}

/// CR-02, CR-03: the origin is never echoed, and credentials are never let in.
#[tokio::test]
async fn what_is_open_is_open_to_all_and_to_no_cookie() {
    let edge = Edge::new().await;
    for origin in ["https://evil.example", "null", "https://auth.example"] {
        for path in ["/token", "/revoke"] {
            let request = form(path)
                .header(header::ORIGIN, origin)
                .header(header::COOKIE, "__Host-authflow=x")
                .body(Body::from(
                    "token=x&client_id=PUB&grant_type=refresh_token&refresh_token=x",
                ));
            let reply = edge.send(request.unwrap()).await;
            assert_eq!(reply.header("access-control-allow-origin"), "*");
            assert_eq!(reply.header("access-control-allow-credentials"), "");
            assert_eq!(
                reply.header("access-control-expose-headers"),
                "WWW-Authenticate, Retry-After, Mcp-Session-Id, DPoP-Nonce, X-Request-Id"
            );
            assert_eq!(reply.header("set-cookie"), "");
        }
    }
}

/// CR-02, CR-03, S-031, S-034
#[tokio::test]
async fn with_a_list_only_its_origins_read_the_answers() {
    let app = "https://app.example";
    let edge = Edge::with(|settings| {
        settings.allowed_origins = AllowedOrigins::parse(app).unwrap();
    })
    .await;
    for (path, methods) in OPEN {
        let allowed = preflight(&edge, path, app).await;
        assert_eq!(allowed.header("access-control-allow-origin"), app, "{path}");
        assert_eq!(allowed.header("access-control-allow-methods"), methods);
        assert_eq!(allowed.header("vary"), "Origin");
        for foreign in ["https://evil.example", "null", "https://app.example/", "*"] {
            let refused = preflight(&edge, path, foreign).await;
            assert_eq!(refused.status, 204, "{path}");
            for name in [
                "access-control-allow-origin",
                "access-control-allow-methods",
                "access-control-allow-headers",
                "access-control-expose-headers",
                "access-control-allow-credentials",
            ] {
                assert_eq!(refused.header(name), "", "{path} {foreign}");
            }
            assert_eq!(refused.header("vary"), "Origin");
        }
    }
    for (origins, expected) in [
        (&[app][..], app),
        (&[app, app], ""),
        (&["https://evil.example"], ""),
        (&[], ""),
    ] {
        let mut request = form("/token");
        for origin in origins {
            request = request.header(header::ORIGIN, *origin);
        }
        let reply = edge.send(request.body(Body::from("grant_type=x")).unwrap()).await;
        assert_eq!(reply.status, 400);
        assert_eq!(
            reply.header("access-control-allow-origin"),
            expected,
            "{origins:?}"
        );
        assert_eq!(reply.header("vary"), "Origin");
    }
}

/// CR-02
#[tokio::test]
async fn pages_and_introspection_are_closed() {
    let edge = Edge::new().await;
    for path in ["/authorize", "/ui/interaction/0", "/introspect"] {
        let reply = preflight(&edge, path, "https://evil.example").await;
        assert_eq!(reply.status, 405, "{path}");
        assert_eq!(reply.header("access-control-allow-origin"), "");
        assert_eq!(reply.header("access-control-allow-methods"), "");
    }
    let introspection = edge
        .post("/introspect", Some("RS1"), &Params::of(&[("token", "x")]))
        .await;
    assert_eq!(introspection.header("access-control-allow-origin"), "");
    let pending = edge.authorize(&Params::authorize("WEB"), None).await;
    assert_eq!(pending.header("access-control-allow-origin"), "");
}
