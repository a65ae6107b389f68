//! Metadata at every spelling of its address, and a JSON 404 at every other.

use axum::body::Body;
use http::StatusCode;
use insta::assert_snapshot;
use mcp_authflow_testkit::failing_store::Fault;

use crate::edge::{Edge, request};

/// M-044
const SPELLINGS: [(&str, &[&str]); 3] = [
    (
        "https://auth.example",
        &[
            "/.well-known/oauth-authorization-server",
            "/.well-known/openid-configuration",
        ],
    ),
    (
        "https://auth.example/t",
        &[
            "/.well-known/oauth-authorization-server/t",
            "/.well-known/openid-configuration/t",
            "/t/.well-known/openid-configuration",
            "/t/.well-known/oauth-authorization-server",
        ],
    ),
    (
        "http://127.0.0.1:8000/a/b",
        &[
            "/.well-known/oauth-authorization-server/a/b",
            "/.well-known/openid-configuration/a/b",
            "/a/b/.well-known/openid-configuration",
            "/a/b/.well-known/oauth-authorization-server",
        ],
    ),
];

/// M-044, M-045, M-050; RFC 8414 §3.2
/// M-040, M-043
#[tokio::test]
async fn every_spelling_is_answered_with_the_same_bytes() {
    for (issuer, paths) in SPELLINGS {
        let edge = Edge::at(issuer).await;
        let first = edge.get(paths[0]).await;
        assert_eq!(first.json()["issuer"], issuer);
        assert_eq!(
            first.json()["authorization_endpoint"],
            format!("{issuer}/authorize")
        );
        for path in paths {
            let reply = edge.get(path).await;
            assert_eq!(reply.to_string(), first.to_string(), "{path}");
            let head = edge
                .send(request("HEAD", path).body(Body::empty()).unwrap())
                .await;
            assert_eq!((head.status, head.body.as_str()), (StatusCode::OK, ""), "{path}");
            assert_eq!(head.header("content-type"), "application/json");
        }
    }
}

#[tokio::test]
async fn the_document_of_an_issuer_with_a_path() {
    let edge = Edge::at("https://auth.example/t").await;
    let reply = edge.get("/.well-known/oauth-authorization-server/t").await;
    assert_snapshot!(reply, @r#"
    200 OK
    access-control-allow-origin: *
    access-control-expose-headers: WWW-Authenticate, Retry-After, Mcp-Session-Id, DPoP-Nonce, X-Request-Id
    cache-control: no-store
    content-type: application/json
    pragma: no-cache
    x-content-type-options: nosniff

    {"issuer":"https://auth.example/t","authorization_endpoint":"https://auth.example/t/authorize","token_endpoint":"https://auth.example/t/token","jwks_uri":"https://auth.example/t/jwks","registration_endpoint":"https://auth.example/t/register","device_authorization_endpoint":"https://auth.example/t/device_authorization","revocation_endpoint":"https://auth.example/t/revoke","introspection_endpoint":"https://auth.example/t/introspect","scopes_supported":["admin","mcp:read","mcp:write","svc:sync","tasks:run","offline_access"],"response_types_supported":["code"],"response_modes_supported":["query"],"grant_types_supported":["authorization_code","refresh_token","client_credentials","urn:ietf:params:oauth:grant-type:device_code"],"token_endpoint_auth_methods_supported":["none","client_secret_basic","client_secret_post","private_key_jwt"],"token_endpoint_auth_signing_alg_values_supported":["RS256","RS384","RS512","PS256","PS384","PS512","ES256","ES384","ES512","EdDSA"],"revocation_endpoint_auth_methods_supported":["none","client_secret_basic","client_secret_post","private_key_jwt"],"revocation_endpoint_auth_signing_alg_values_supported":["RS256","RS384","RS512","PS256","PS384","PS512","ES256","ES384","ES512","EdDSA"],"introspection_endpoint_auth_methods_supported":["client_secret_basic","client_secret_post","private_key_jwt"],"introspection_endpoint_auth_signing_alg_values_supported":["RS256","RS384","RS512","PS256","PS384","PS512","ES256","ES384","ES512","EdDSA"],"code_challenge_methods_supported":["S256"],"authorization_response_iss_parameter_supported":true,"client_id_metadata_document_supported":true}
    "#);
}

/// M §6.4 trap 7: a page in this place, and clients take it for metadata.
#[tokio::test]
async fn every_other_well_known_address_is_a_json_404() {
    let edge = Edge::at("https://auth.example/t").await;
    for path in [
        "/.well-known/oauth-authorization-server",
        "/.well-known/openid-configuration",
        "/.well-known/oauth-authorization-server/t/",
        "/.well-known/oauth-authorization-server/T",
        "/.well-known/oauth-authorization-server%2Ft",
        "/.well-known/oauth-authorization-server/t/mcp",
        "/.well-known/oauth-protected-resource",
        "/.well-known/oauth-protected-resource/mcp",
        "/.well-known/jwks.json",
        "/.well-known/x/y/z",
        "/.well-known/%ff",
        "/t/.well-known/oauth-protected-resource",
        "/t/.well-known/oauth-authorization-server/",
    ] {
        for method in ["GET", "POST", "DELETE"] {
            let reply = edge
                .send(request(method, path).body(Body::empty()).unwrap())
                .await;
            reply.assert_error(404, "invalid_request");
            assert_eq!(reply.header("access-control-allow-origin"), "*", "{path}");
            assert_eq!(reply.header("location"), "");
        }
    }
}

/// M-042: headers that a client may send change nothing.
#[tokio::test]
async fn the_protocol_version_of_a_client_changes_nothing() {
    let edge = Edge::new().await;
    let path = "/.well-known/oauth-authorization-server";
    let plain = edge.get(path).await;
    let versioned = request("GET", &format!("{path}?x=1"))
        .header("mcp-protocol-version", "2025-06-18")
        .header("accept", "text/html")
        .body(Body::empty());
    assert_eq!(edge.send(versioned.unwrap()).await.to_string(), plain.to_string());
}

/// P9
#[tokio::test]
async fn a_store_that_cannot_be_asked_is_no_empty_document() {
    let edge = Edge::new().await;
    edge.store.fail("list_resources", Fault::Hangs);
    let reply = edge.get("/.well-known/oauth-authorization-server").await;
    reply.assert_error(504, "temporarily_unavailable");
    assert_eq!(reply.header("retry-after"), "2");
}
