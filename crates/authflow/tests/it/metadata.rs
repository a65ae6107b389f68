//! Server metadata (RFC 8414), and the issuer that is one string everywhere.

use mcp_authflow_testkit::params::Params;
use mcp_authflow_types::introspection::IntrospectionResponse;
use serde_json::{Value, json};

use crate::scene::Scene;

/// MD-01, PK-14, MX-02, M-046, M-048, M-049, M-116
/// M-041, M-043, M-047, M-174, M-202, M-203
#[tokio::test]
async fn what_works_is_said_and_nothing_else() {
    let scene = Scene::new().await;
    let metadata: Value = serde_json::from_str(&scene.server.metadata().await.unwrap().body()).unwrap();
    let by_secret = json!(["client_secret_basic", "client_secret_post", "private_key_jwt"]);
    let by_secret_or_not = json!([
        "none",
        "client_secret_basic",
        "client_secret_post",
        "private_key_jwt"
    ]);
    let algorithms = json!([
        "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"
    ]);
    assert_eq!(
        metadata,
        json!({
            "issuer": "https://auth.example",
            "authorization_endpoint": "https://auth.example/authorize",
            "token_endpoint": "https://auth.example/token",
            "jwks_uri": "https://auth.example/jwks",
            "registration_endpoint": "https://auth.example/register",
            "device_authorization_endpoint": "https://auth.example/device_authorization",
            "revocation_endpoint": "https://auth.example/revoke",
            "introspection_endpoint": "https://auth.example/introspect",
            "scopes_supported": ["admin", "mcp:read", "mcp:write", "svc:sync", "tasks:run", "offline_access"],
            "response_types_supported": ["code"],
            "response_modes_supported": ["query"],
            "grant_types_supported": ["authorization_code", "refresh_token", "client_credentials", "urn:ietf:params:oauth:grant-type:device_code"],
            "token_endpoint_auth_methods_supported": by_secret_or_not,
            "token_endpoint_auth_signing_alg_values_supported": algorithms,
            "revocation_endpoint_auth_methods_supported": by_secret_or_not,
            "revocation_endpoint_auth_signing_alg_values_supported": algorithms,
            "introspection_endpoint_auth_methods_supported": by_secret,
            "introspection_endpoint_auth_signing_alg_values_supported": algorithms,
            "code_challenge_methods_supported": ["S256"],
            "authorization_response_iss_parameter_supported": true,
            "client_id_metadata_document_supported": true,
        })
    );
}

/// MX-01, MX-06, M-045; M §6.4 trap 1: one slash too many breaks half of all clients.
#[tokio::test]
async fn the_issuer_is_the_same_string_everywhere() {
    for issuer in [
        "https://auth.example",
        "https://auth.example/tenant",
        "https://auth.example:8443/a/b",
        "http://127.0.0.1:8000",
        "http://[::1]:8000/t",
    ] {
        let scene = Scene::at(issuer, |_| {}).await;
        let metadata: Value = serde_json::from_str(&scene.server.metadata().await.unwrap().body()).unwrap();
        assert_eq!(metadata["issuer"], issuer);
        assert_eq!(metadata["token_endpoint"], format!("{issuer}/token"));

        let refusal = scene
            .sent_back(&Params::authorize("WEB").set("scope", "no-such"))
            .await;
        assert_eq!(refusal.value("iss"), Some(issuer));
        let pending = scene.pending(&Params::authorize("WEB")).await;
        let denial = scene.server.deny(pending, None).await.unwrap();
        assert_eq!(crate::scene::Answer::of(&denial).value("iss"), Some(issuer));

        let tokens = scene.tokens_for("PUB").await;
        let answer = scene
            .introspect("RS1", tokens.access_token.expose())
            .await
            .unwrap();
        let IntrospectionResponse::Active(token) = answer else {
            panic!("it is live");
        };
        assert_eq!(token.issuer, issuer);
    }
}

/// MX-04: two issuers know nothing of each other, and neither burns what is the other's.
#[tokio::test]
async fn what_one_issuer_gave_is_nothing_to_another() {
    let ours = Scene::new().await;
    let other = Scene::at("https://other.example", |_| {}).await;
    let code = ours.code_for("PUB").await;
    crate::scene::refused(
        other.token("PUB", &Params::redeem("PUB", &code)).await,
        mcp_authflow_types::ErrorCode::InvalidGrant,
    );
    let tokens = ours.token("PUB", &Params::redeem("PUB", &code)).await.unwrap();
    assert!(!other.opens_r1(&tokens).await);
    other.revoke("PUB", tokens.access_token.expose()).await.unwrap();
    assert!(ours.opens_r1(&tokens).await);
}

/// M-004, M-047: clients go by what is said, so what is off is not said.
#[tokio::test]
async fn what_is_off_is_not_announced() {
    let scene = Scene::with(|settings| {
        settings.registration.enabled = false;
        settings.client_documents.enabled = false;
    })
    .await;
    let metadata: Value = serde_json::from_str(&scene.server.metadata().await.unwrap().body()).unwrap();
    assert_eq!(metadata.get("registration_endpoint"), None);
    assert_eq!(metadata["client_id_metadata_document_supported"], false);
}
