//! Several resources on one host, and clients that look for the authorization server here.

use axum::{Router, body::Body, routing::post};
use http::{Request, StatusCode};
use mcp_authflow_resource::{
    Builder, Protect, ProtectedResource, Resource, ResourceMetadata, Scope,
    well_known::{AuthorizationServerAliases, Discovery, InvalidDiscovery},
};
use mcp_authflow_types::Issuer;
use tower::ServiceExt as _;

use crate::{
    house::{House, Seen, request, settings},
    peer::{Answer, Peer},
};

const ROOT: &str = "/.well-known/oauth-protected-resource";

fn builder(path: &str) -> Builder {
    ProtectedResource::builder(format!("https://rs.test{path}"), "https://auth.test")
        .introspect_with("rs", "secret")
}

fn protect(path: &str) -> Protect {
    builder(path)
        .require_scope(path.trim_matches('/').replace('/', ":"))
        .build()
        .unwrap()
}

fn metadata(resource: &str, issuer: &str) -> ResourceMetadata {
    ResourceMetadata::new(
        Resource::parse(resource).unwrap(),
        Issuer::parse(issuer).unwrap(),
        &Scope::empty(),
        None,
    )
}

async fn ask(app: &Router, request: Request<Body>) -> Seen {
    let (parts, body) = app.clone().oneshot(request).await.unwrap().into_parts();
    let body = axum::body::to_bytes(body, 1 << 16).await.unwrap();
    Seen {
        status: parts.status,
        headers: parts.headers,
        body: String::from_utf8(body.to_vec()).unwrap(),
    }
}

async fn get(app: &Router, path: &str) -> Seen {
    ask(app, request("GET", path, &[])).await
}

/// M-010, M-011, M-012, M-013, S-250, S-256: each challenge leads to the document of its own resource.
#[tokio::test]
async fn every_resource_has_its_own_document_and_its_challenge_leads_there() {
    let (notes, mail) = (protect("/notes/mcp"), protect("/mail/mcp/"));
    let discovery = Discovery::builder()
        .resource(notes.metadata())
        .resource(mail.metadata())
        .build()
        .unwrap();
    let app = Router::new()
        .merge(
            Router::new()
                .route("/notes/mcp", post(|| async {}))
                .route_layer(notes),
        )
        .merge(
            Router::new()
                .route("/mail/mcp/", post(|| async {}))
                .route_layer(mail),
        )
        .layer(discovery);
    for (path, resource, scope) in [
        ("/notes/mcp", "https://rs.test/notes/mcp", "notes:mcp"),
        ("/mail/mcp/", "https://rs.test/mail/mcp/", "mail:mcp"),
    ] {
        let refused = ask(&app, request("POST", path, &[])).await;
        assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
        assert_eq!(
            refused.header("www-authenticate").unwrap(),
            format!("Bearer scope=\"{scope}\", resource_metadata=\"https://rs.test{ROOT}{path}\"")
        );
        for spelling in [path, path.trim_end_matches('/')] {
            let seen = get(&app, &format!("{ROOT}{spelling}")).await;
            assert_eq!(
                (seen.status, seen.body),
                (
                    StatusCode::OK,
                    format!(
                        r#"{{"resource":"{resource}","authorization_servers":["https://auth.test"],"scopes_supported":["{scope}"],"bearer_methods_supported":["header"]}}"#
                    )
                )
            );
        }
    }
    // RFC 9728 §3.3: whoever asks here must refuse a document of another resource.
    for path in [
        ROOT,
        "/.well-known/oauth-protected-resource/other",
        "/.well-known/x",
    ] {
        let seen = get(&app, path).await;
        assert_eq!(
            (seen.status, seen.header("content-type")),
            (StatusCode::NOT_FOUND, Some("application/json"))
        );
    }
}

/// S-254, M-132
#[tokio::test]
async fn every_document_is_open_to_pages_and_a_preflight_is_204() {
    let discovery = Discovery::builder()
        .resource(&metadata("https://rs.test/a", "https://auth.test"))
        .resource(&metadata("https://rs.test", "https://auth.test"))
        .authorization_server_aliases(AuthorizationServerAliases::Redirect)
        .build()
        .unwrap();
    let paths: Vec<String> = discovery.paths().map(str::to_owned).collect();
    assert_eq!(paths.len(), 6, "{paths:?}");
    let app = Router::new().layer(discovery);
    for path in &paths {
        let page = [
            ("origin", "https://any.test"),
            ("access-control-request-method", "GET"),
        ];
        let preflight = ask(&app, request("OPTIONS", path, &page)).await;
        assert_eq!(
            (preflight.status, preflight.body.as_str()),
            (StatusCode::NO_CONTENT, ""),
            "{path}"
        );
        for method in ["OPTIONS", "GET", "HEAD", "POST"] {
            let seen = ask(&app, request(method, path, &page[..1])).await;
            assert_eq!(
                seen.header("access-control-allow-origin"),
                Some("*"),
                "{method} {path}"
            );
        }
    }
}

#[test]
fn documents_that_cannot_stand_beside_each_other_are_refused() {
    let build = |resources: &[&str], root: Option<&str>| {
        let mut builder = Discovery::builder();
        for resource in resources {
            builder = builder.resource(&metadata(resource, "https://auth.test"));
        }
        if let Some(root) = root {
            builder = builder.at_root(root);
        }
        builder
            .build()
            .map(|discovery| discovery.paths().map(str::to_owned).collect::<Vec<_>>())
    };
    assert_eq!(build(&[], None), Err(InvalidDiscovery::Empty));
    assert_eq!(
        build(&["https://a.test/mcp", "https://b.test/mcp"], None),
        Err(InvalidDiscovery::SamePath(format!("{ROOT}/mcp")))
    );
    let (a, b) = ("https://rs.test/a", "https://rs.test/b/");
    assert_eq!(
        build(&[a, b], Some("https://rs.test/b")),
        Err(InvalidDiscovery::UnknownRoot("https://rs.test/b".to_owned()))
    );
    assert_eq!(build(&[a, b], None).unwrap().len(), 3);
    assert_eq!(build(&[a, b], Some(b)).unwrap()[0], ROOT);
    assert_eq!(build(&[a], None).unwrap(), [ROOT.to_owned(), format!("{ROOT}/a")]);
    // A slash more is another resource, and a document of its own.
    assert_eq!(build(&["https://rs.test/a/", a], None).unwrap().len(), 2);
}

/// S-251, S-252: led to the authorization server itself, by no part of the request.
#[tokio::test]
async fn a_client_that_looks_here_for_the_authorization_server_is_led_there() {
    let aliases = |aliases| {
        let settings = settings("https://auth.test/tenant").authorization_server_aliases(aliases);
        House::behind(settings.build().unwrap())
    };
    let house = aliases(AuthorizationServerAliases::Redirect);
    let oauth = "https://auth.test/.well-known/oauth-authorization-server/tenant";
    let openid = "https://auth.test/tenant/.well-known/openid-configuration";
    for (path, location) in [
        ("/.well-known/oauth-authorization-server", oauth),
        ("/.well-known/oauth-authorization-server/mcp", oauth),
        ("/.well-known/openid-configuration", openid),
        ("/.well-known/openid-configuration/mcp", openid),
    ] {
        let seen = house.call(request("GET", path, &[("host", "evil.test")])).await;
        assert_eq!(
            (seen.status, seen.body.as_str()),
            (StatusCode::TEMPORARY_REDIRECT, "")
        );
        assert_eq!(seen.header("location"), Some(location), "{path}");
        assert_eq!(seen.header("access-control-allow-origin"), Some("*"));
        let off = aliases(AuthorizationServerAliases::Off)
            .call(request("GET", path, &[]))
            .await;
        assert_eq!(off.status, StatusCode::NOT_FOUND, "{path}");
    }
    assert_eq!(house.runs(), 0);
}

/// S-251: nothing is guessed when the authorization server says nothing.
#[tokio::test]
async fn no_copy_is_given_out_of_what_cannot_be_read() {
    let peer = Peer::start(|_| Answer::Status(404, "")).await;
    let settings = settings(&peer.issuer).authorization_server_aliases(AuthorizationServerAliases::Copy);
    let house = House::behind(settings.build().unwrap());
    let seen = house
        .call(request("GET", "/.well-known/oauth-authorization-server", &[]))
        .await;
    assert_eq!(seen.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(seen.body.contains("temporarily_unavailable"), "{}", seen.body);
    assert!(seen.header("retry-after").is_some());
    assert_eq!(seen.header("cache-control"), Some("no-store"));
}
