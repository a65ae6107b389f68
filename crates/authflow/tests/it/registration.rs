//! Dynamic client registration (RFC 7591), with the shapes that real clients send.

use mcp_authflow::port::store::ClientStore as _;
use mcp_authflow_testkit::params::Params;
use mcp_authflow_types::{ClientId, ErrorCode, ErrorResponse};
use serde_json::{Value, json};

use crate::scene::{ADDRESS, Scene};

pub(crate) async fn register(scene: &Scene, body: &Value) -> Result<Value, ErrorResponse> {
    let body = body.to_string();
    let response = scene.server.register(body.as_bytes(), Some(ADDRESS)).await?;
    Ok(serde_json::from_str(&response.body()).unwrap())
}

/// A registration that is good, for a test to change.
pub(crate) fn good() -> Value {
    json!({
        "client_name": "Probe",
        "redirect_uris": ["https://client.example/cb"],
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": "none",
    })
}

pub(crate) fn with(name: &str, value: Value) -> Value {
    let mut body = good();
    body[name] = value;
    body
}

fn invalid_metadata(detail: &str) -> ErrorResponse {
    ErrorResponse {
        detail: Some(detail.to_owned()),
        ..ErrorCode::InvalidClientMetadata.into()
    }
}

/// M §6.3: every default spelled out, no null, and what is echoed is what is stored (DC-18).
#[tokio::test]
async fn an_answer_says_everything_that_was_stored() {
    let scene = Scene::new().await;
    let mut answer = register(&scene, &good()).await.unwrap();
    let id: ClientId = answer["client_id"].as_str().unwrap().parse().unwrap();
    assert!(id.as_str().starts_with("c_") && id.as_str().len() == 34);
    answer["client_id"] = json!("c_…");
    assert_eq!(
        answer,
        json!({
            "client_id": "c_…",
            "client_id_issued_at": 1_790_000_000,
            "client_name": "Probe",
            "redirect_uris": ["https://client.example/cb"],
            "grant_types": ["authorization_code", "refresh_token"],
            "response_types": ["code"],
            "token_endpoint_auth_method": "none",
            "application_type": "web",
            "scope": "admin mcp:read mcp:write offline_access svc:sync tasks:run",
        })
    );
    let stored = scene.store.load_client(&id).await.unwrap().unwrap();
    assert_eq!(stored.profile.name.as_deref(), Some("Probe"));
    assert_eq!(
        stored.profile.redirect_uris[0].as_str(),
        "https://client.example/cb"
    );
    assert!(!stored.is_verified() && !stored.is_confidential());
    assert_eq!(stored.profile.scope, None);
}

/// RFC 7591 §2: "If unspecified or omitted, the default is client_secret_basic".
#[tokio::test]
async fn a_secret_is_shown_once_and_works() {
    let scene = Scene::new().await;
    let answer = register(&scene, &json!({"redirect_uris": ["https://client.example/cb"]}))
        .await
        .unwrap();
    assert_eq!(answer["token_endpoint_auth_method"], "client_secret_basic");
    assert_eq!(answer["client_secret_expires_at"], 0);
    let (id, secret) = (
        answer["client_id"].as_str().unwrap(),
        answer["client_secret"].as_str().unwrap(),
    );
    assert!(secret.starts_with("mcpcs_"));

    let request = Params::authorize("WEB").set("client_id", id);
    let code = scene.code(&request, Scene::alice()).await;
    let redeem = Params::redeem("WEB", &code).set("client_id", id);
    let bare = scene.token_with(None, &redeem).await.unwrap_err();
    assert_eq!(bare.code, ErrorCode::InvalidClient);
    let header = mcp_authflow_testkit::params::basic_pair(&format!("{id}:{secret}"));
    scene.token_with(Some(&header), &redeem).await.unwrap();
}

/// M §6.4 traps 5 and 6; DC-23
#[tokio::test]
async fn the_shapes_of_real_clients_are_taken() {
    let scene = Scene::new().await;
    for (name, body, kept, method, application_type) in [
        (
            "Cursor: three kinds of redirect URI, and calls itself web",
            json!({
                "client_name": "Cursor", "application_type": "web", "token_endpoint_auth_method": "none",
                "grant_types": ["authorization_code", "refresh_token"], "response_types": ["code"],
                "redirect_uris": ["cursor://anysphere.cursor-mcp/oauth/callback",
                    "https://www.cursor.com/agents/mcp/oauth/callback", "http://localhost:8787/callback"],
            }),
            3,
            "none",
            "native",
        ),
        (
            "Claude: no scope",
            json!({
                "client_name": "Claude", "grant_types": ["authorization_code", "refresh_token"],
                "response_types": ["code"], "token_endpoint_auth_method": "client_secret_post",
                "redirect_uris": ["https://claude.ai/api/mcp/auth_callback"],
            }),
            1,
            "client_secret_post",
            "web",
        ),
        (
            "LM Studio: arrays of one, and members of its own",
            json!({
                "client_name": "LM Studio", "redirect_uris": ["http://127.0.0.1:33389/mcp/callback"],
                "grant_types": ["authorization_code"], "response_types": ["code"],
                "token_endpoint_auth_method": "none", "contacts": [], "tos_uri": "https://lmstudio.ai/tos",
            }),
            1,
            "none",
            "native",
        ),
        (
            "a private-use scheme and no method: an app keeps no secret",
            json!({"redirect_uris": ["com.example.app:/cb"]}),
            1,
            "none",
            "native",
        ),
        (
            "one dangerous among good ones",
            with(
                "redirect_uris",
                json!([
                    "javascript:alert(1)",
                    "data:text/html,x",
                    "http://localhost:8787/callback"
                ]),
            ),
            1,
            "none",
            "native",
        ),
        (
            "nulls where nothing is meant",
            json!({
                "redirect_uris": ["https://client.example/cb"], "client_name": null, "scope": null,
                "token_endpoint_auth_method": null, "client_uri": "", "logo_uri": null,
            }),
            1,
            "client_secret_basic",
            "web",
        ),
    ] {
        let answer = register(&scene, &body).await.unwrap();
        assert_eq!(answer["redirect_uris"].as_array().unwrap().len(), kept, "{name}");
        assert_eq!(answer["token_endpoint_auth_method"], method, "{name}");
        assert_eq!(answer["application_type"], application_type, "{name}");
        assert!(answer["scope"].as_str().unwrap().contains("mcp:read"), "{name}");
        for (member, value) in answer.as_object().unwrap() {
            assert!(!value.is_null() && value != "", "{name}: {member}");
        }
        assert_eq!(
            answer.get("client_secret").is_some(),
            answer.get("client_secret_expires_at").is_some()
        );
    }
}

/// DC-10, DC-12, SC-10
#[tokio::test]
async fn what_cannot_be_registered_is_refused_with_a_reason() {
    let scene = Scene::new().await;
    let no_grant = "no grant that a self-registered client may use";
    for (body, detail) in [
        (with("grant_types", json!(["client_credentials"])), no_grant),
        (with("grant_types", json!(["password"])), no_grant),
        (with("grant_types", json!([])), no_grant),
        (with("grant_types", json!(["refresh_token"])), no_grant),
        (
            with("response_types", json!(["token"])),
            "no supported response type",
        ),
        (
            with("token_endpoint_auth_method", json!("private_key_jwt")),
            "an unsupported token_endpoint_auth_method",
        ),
        (with("scope", json!("mcp:read\"")), "a malformed scope"),
        (with("scope", json!(["mcp:read"])), "scope has the wrong type"),
        (
            with("client_name", json!("x".repeat(1_025))),
            "client_name is too long",
        ),
        (
            with("grant_types", json!("authorization_code")),
            "grant_types has the wrong type",
        ),
        (json!([good()]), "the body is not a JSON object"),
        (json!("x"), "the body is not a JSON object"),
        (json!(null), "the body is not a JSON object"),
    ] {
        assert_eq!(
            register(&scene, &body).await,
            Err(invalid_metadata(detail)),
            "{body}"
        );
    }
}

/// DC-08, DC-09: what is the server's to decide cannot be said at all.
#[tokio::test]
async fn nobody_registers_into_anything_but_an_identifier() {
    let scene = Scene::new().await;
    let mut body = good();
    for (name, value) in [
        ("client_id", json!("admin")),
        ("client_secret", json!("known")),
        ("skip_consent", json!(true)),
        ("trusted", json!(true)),
        ("origin", json!("operator")),
        ("require_pkce", json!(false)),
        ("registration_access_token", json!("x")),
        ("created_at", json!(0)),
        ("introspects", json!("https://rs1.test/mcp")),
        ("software_statement", json!("eyJhbGciOiJub25lIn0.e30.")),
        ("scope", json!("mcp:read admin *")),
        ("grant_types", json!(["authorization_code", "client_credentials"])),
    ] {
        body[name] = value;
    }
    let answer = register(&scene, &body).await.unwrap();
    assert_ne!(answer["client_id"], "admin");
    assert_eq!(answer.get("client_secret"), None);
    assert_eq!(answer["grant_types"], json!(["authorization_code"]));
    assert_eq!(answer["scope"], "admin mcp:read");
    let id: ClientId = answer["client_id"].as_str().unwrap().parse().unwrap();
    let stored = scene.store.load_client(&id).await.unwrap().unwrap();
    assert!(!stored.is_verified() && !stored.can_prove_itself());
    assert_eq!((stored.secret, &stored.profile.introspects), (None, &None));

    let request = Params::authorize("WEB").set("client_id", id.as_str());
    let without_pkce = request.clone().unset("code_challenge");
    scene.shown(&without_pkce).await;
    let pending = scene.pending(&request).await;
    assert!(
        !scene
            .server
            .is_approved_already(&pending, "u_alice")
            .await
            .unwrap()
    );
}
