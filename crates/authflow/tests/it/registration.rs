//! Dynamic client registration (RFC 7591), with the shapes that real clients send.

use std::{
    net::IpAddr,
    sync::{Arc, Mutex},
};

use mcp_authflow::{
    AuthorizationServer, Ports,
    client_auth::private_key_jwt::JWT_CLIENT_ASSERTION_TYPE,
    port::{DocumentKind, Fetch, FetchError, Fetched, Freshness, Policy, store::ClientStore as _},
    record::{Client, ClientKeys},
    registration::InitialAccessTokens,
};
use mcp_authflow_jose::{Algorithm, SigningKey};
use mcp_authflow_testkit::params::Params;
use mcp_authflow_types::{ClientId, ErrorCode, ErrorResponse, RedirectUri, Scope};
use serde_json::{Value, json};

use crate::scene::{ADDRESS, Scene};

pub(crate) async fn register(scene: &Scene, body: &Value) -> Result<Value, ErrorResponse> {
    let body = body.to_string();
    let response = scene
        .server
        .register(body.as_bytes(), None, Some(ADDRESS))
        .await?;
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
/// M-175
#[tokio::test]
async fn an_answer_says_everything_that_was_stored() {
    let scene = Scene::new().await;
    let mut answer = register(&scene, &good()).await.unwrap();
    let id: ClientId = answer["client_id"].as_str().unwrap().parse().unwrap();
    assert!(id.as_str().starts_with("c_") && id.as_str().len() == 34);
    answer["client_id"] = json!("c_…");
    let token = answer
        .as_object_mut()
        .unwrap()
        .remove("registration_access_token")
        .unwrap();
    assert!(token.as_str().unwrap().starts_with("mcpra_"));
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
            "registration_client_uri": format!("https://auth.example/register/{id}"),
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
/// M-070
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
/// M-073
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
            with("token_endpoint_auth_method", json!("tls_client_auth")),
            "an unsupported token_endpoint_auth_method",
        ),
        (
            with("token_endpoint_auth_method", json!("private_key_jwt")),
            "private_key_jwt needs jwks or jwks_uri",
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
/// M-200
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

fn jwks() -> Value {
    json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]})
}

/// RFC 7591 §2; S-157, S-161: a client that signs for itself registers its keys, and gets no secret.
#[tokio::test]
async fn a_client_may_bring_its_public_keys() {
    let scene = Scene::new().await;
    let by_value = {
        let mut body = with("token_endpoint_auth_method", json!("private_key_jwt"));
        body["jwks"] = jwks();
        body
    };
    let answer = register(&scene, &by_value).await.unwrap();
    assert_eq!((&answer["jwks"], answer.get("client_secret")), (&jwks(), None));
    let stored = async |answer: &Value| {
        let id: ClientId = answer["client_id"].as_str().unwrap().parse().unwrap();
        scene.store.load_client(&id).await.unwrap().unwrap()
    };
    let client = stored(&answer).await;
    assert_eq!((client.secret, client.is_confidential()), (None, true));
    assert_eq!(client.profile.keys, Some(ClientKeys::Jwks(jwks().to_string())));

    let uri = "https://client.example/jwks.json";
    let mut by_reference = with("token_endpoint_auth_method", json!("private_key_jwt"));
    by_reference["jwks_uri"] = json!(uri);
    let answer = register(&scene, &by_reference).await.unwrap();
    assert_eq!(answer["jwks_uri"], uri);
    assert_eq!(
        stored(&answer).await.profile.keys,
        Some(ClientKeys::JwksUri(uri.to_owned()))
    );

    // Keys that no method uses are not kept, and so not answered; wrong ones are refused all the same.
    let answer = register(&scene, &with("jwks", jwks())).await.unwrap();
    assert_eq!(
        (answer.get("jwks"), stored(&answer).await.profile.keys.clone()),
        (None, None)
    );
    for (name, value) in [
        ("jwks_uri", json!("http://client.example/jwks.json")),
        ("jwks_uri", json!(uri)),
        ("jwks", json!({"keys": []})),
        ("jwks", json!({"keys": [{"kty": "oct", "k": "c2VjcmV0"}]})),
        ("jwks", json!("https://client.example/jwks.json")),
    ] {
        let mut body = by_value.clone();
        body[name] = value;
        let error = register(&scene, &body).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::InvalidClientMetadata, "{body}");
    }
}

/// RFC 8628; S-157
#[tokio::test]
async fn a_device_needs_no_redirect_uri() {
    let scene = Scene::new().await;
    let device = "urn:ietf:params:oauth:grant-type:device_code";
    let body = json!({"grant_types": [device, "refresh_token"], "token_endpoint_auth_method": "none"});
    let answer = register(&scene, &body).await.unwrap();
    assert_eq!(answer["grant_types"], json!([device, "refresh_token"]));
    assert_eq!(
        (&answer["redirect_uris"], &answer["response_types"]),
        (&json!([]), &json!([]))
    );
    assert_eq!(answer["application_type"], "native");

    let both = register(
        &scene,
        &with("grant_types", json!(["authorization_code", device])),
    )
    .await
    .unwrap();
    assert_eq!(both["grant_types"], json!(["authorization_code", device]));
    let mut none_left = with("grant_types", json!(["authorization_code", device]));
    none_left["redirect_uris"] = json!([]);
    assert_eq!(
        register(&scene, &none_left).await,
        Err(ErrorCode::InvalidRedirectUri.into())
    );
    let mut code_for_a_device = body.clone();
    code_for_a_device["response_types"] = json!(["code"]);
    assert_eq!(
        register(&scene, &code_for_a_device).await,
        Err(invalid_metadata("no supported response type"))
    );
}

/// RFC 7591 §3; DC-13; S-147, S-148
#[tokio::test]
async fn where_an_initial_access_token_is_asked_for_it_is_needed_and_guesses_count() {
    let scene = Scene::with(|settings| {
        settings.registration.initial_access_tokens =
            InitialAccessTokens::new(["0123456789abcdef0123456789abcdef"]);
        settings.registration.per_address_per_hour = 12;
    })
    .await;
    let body = good().to_string();
    let send = async |authorization| {
        scene
            .server
            .register(body.as_bytes(), authorization, Some(ADDRESS))
            .await
    };
    for bad in [
        None,
        Some("Bearer"),
        Some("Bearer "),
        Some("Bearer  0123456789abcdef0123456789abcdef"),
        Some("Basic x"),
        Some("Bearer guess"),
    ] {
        let error = send(bad).await.unwrap_err();
        assert_eq!(
            (error.status(), error.code),
            (401, ErrorCode::InvalidToken),
            "{bad:?}"
        );
    }
    for good in [
        "Bearer 0123456789abcdef0123456789abcdef",
        "bearer 0123456789abcdef0123456789abcdef",
    ] {
        send(Some(good)).await.unwrap();
    }
    for _ in 0..4 {
        send(Some("Bearer guess")).await.unwrap_err();
    }
    let error = send(Some("Bearer 0123456789abcdef0123456789abcdef"))
        .await
        .unwrap_err();
    assert_eq!(error.status(), 429);
    assert!(
        scene
            .audit
            .lines()
            .contains(&"register Refused: not authorized to register".to_owned())
    );
}

/// S-159, S-169
#[tokio::test]
async fn the_operator_narrows_where_clients_lead_and_says_what_they_ask_for() {
    let scene = Scene::with(|settings| {
        let registration = &mut settings.registration;
        registration.allowed_redirect_hosts = ["client.example", "localhost", "cursor:"]
            .map(str::to_owned)
            .to_vec();
        registration.default_scope = Some(Scope::parse("mcp:read not:on-offer").unwrap());
    })
    .await;
    let uris = json!([
        "https://client.example/cb",
        "https://CLIENT.example:8443/cb",
        "https://evil.example/cb",
        "https://client.example.evil.example/cb",
        "http://localhost:1234/cb",
        "http://127.0.0.1:1234/cb",
        "cursor://anysphere.cursor-mcp/cb",
        "other:/cb",
    ]);
    let answer = register(&scene, &with("redirect_uris", uris.clone()))
        .await
        .unwrap();
    let kept: Vec<&Value> = [0, 1, 4, 6].map(|at| &uris[at]).to_vec();
    assert_eq!(answer["redirect_uris"], json!(kept));
    assert_eq!(answer["scope"], "mcp:read");
    let none_left = with("redirect_uris", json!(["https://evil.example/cb"]));
    assert_eq!(
        register(&scene, &none_left).await,
        Err(ErrorCode::InvalidRedirectUri.into())
    );
}

#[derive(Default)]
struct House(Mutex<Vec<ClientId>>);

#[async_trait::async_trait]
impl Policy for House {
    async fn may_register(&self, authorization: Option<&str>, _: Option<IpAddr>) -> bool {
        authorization == Some("Bearer of our house")
    }

    fn rewrite_redirect_uris(&self, mut uris: Vec<RedirectUri>) -> Vec<RedirectUri> {
        uris.reverse();
        uris
    }

    fn may_register_redirect_uri(&self, uri: &RedirectUri) -> bool {
        uri.as_str().starts_with("https://client.example/")
    }

    fn client_name(&self, claimed: Option<&str>) -> Option<String> {
        claimed.map(|claimed| format!("{claimed}, a guest"))
    }

    async fn client_registered(&self, client: &Client) {
        self.0.lock().unwrap().push(client.id.clone());
    }
}

/// S-145, S-154, S-155, S-160, S-163: the server asks the embedder's policy.
#[tokio::test]
async fn an_embedder_decides_by_a_policy_of_its_own() {
    let scene = Scene::new().await;
    let house = Arc::new(House::default());
    let (settings, ports) = (scene.server.settings().clone(), scene.server.ports().clone());
    let server = AuthorizationServer::with_policy(settings, ports, house.clone());
    let body = with(
        "redirect_uris",
        json!([
            "https://client.example/1",
            "https://evil.example/cb",
            "https://client.example/2"
        ]),
    )
    .to_string();
    let error = server
        .register(body.as_bytes(), None, Some(ADDRESS))
        .await
        .unwrap_err();
    assert_eq!(error.code, ErrorCode::InvalidToken);
    let answer = server
        .register(body.as_bytes(), Some("Bearer of our house"), Some(ADDRESS))
        .await
        .unwrap();
    let uris: Vec<&str> = answer.redirect_uris.iter().map(RedirectUri::as_str).collect();
    assert_eq!(uris, ["https://client.example/2", "https://client.example/1"]);
    assert_eq!(answer.client_name.as_deref(), Some("Probe, a guest"));
    assert_eq!(*house.0.lock().unwrap(), [answer.client_id]);
}

/// Writes down what it is asked for, and has nothing.
#[derive(Default)]
struct Asked(Mutex<Vec<String>>);

#[async_trait::async_trait]
impl Fetch for Asked {
    async fn fetch(&self, url: &str, _: DocumentKind, _: Freshness) -> Result<Fetched, FetchError> {
        self.0.lock().unwrap().push(url.to_owned());
        Err(FetchError::Unavailable("there is nothing".to_owned()))
    }
}

/// SF-23: what a client says about itself is for people and for other servers. Its keys are asked for when it proves itself
/// by them, and nothing else ever.
#[tokio::test]
async fn no_address_that_a_client_registers_is_asked_but_that_of_its_keys() {
    let mut scene = Scene::new().await;
    let asked = Arc::new(Asked::default());
    let ports = Ports {
        fetch: asked.clone(),
        ..scene.server.ports().clone()
    };
    scene.server = AuthorizationServer::new(scene.server.settings().clone(), ports);
    let mut body = with("token_endpoint_auth_method", json!("private_key_jwt"));
    for name in [
        "client_uri",
        "logo_uri",
        "policy_uri",
        "tos_uri",
        "sector_identifier_uri",
        "initiate_login_uri",
        "frontchannel_logout_uri",
        "backchannel_logout_uri",
        "backchannel_client_notification_endpoint",
        "jwks_uri",
    ] {
        body[name] = json!(format!("https://canary.example/{name}"));
    }
    for name in ["request_uris", "post_logout_redirect_uris"] {
        body[name] = json!([format!("https://canary.example/{name}")]);
    }
    let answer = register(&scene, &body).await.unwrap();
    let id = answer["client_id"].as_str().unwrap();
    let request = Params::authorize("WEB")
        .set("client_id", id)
        .set("redirect_uri", "https://client.example/cb")
        .and("request_uri", "https://canary.example/of-a-request");
    let _ = scene.authorize(&request).await;
    let code = scene.code(&request.unset("request_uri"), Scene::alice()).await;
    assert_eq!(*asked.0.lock().unwrap(), [] as [String; 0]);

    let claims = json!({"iss": id, "sub": id, "aud": crate::scene::ISSUER, "jti": "1",
        "iat": 1_790_000_000, "exp": 1_790_000_060});
    let assertion = SigningKey::generate(Algorithm::Es256)
        .unwrap()
        .sign("JWT", &claims)
        .unwrap();
    let redeem = Params::redeem("WEB", &code)
        .set("client_id", id)
        .set("client_assertion_type", JWT_CLIENT_ASSERTION_TYPE)
        .set("client_assertion", &assertion);
    let answer = scene.token_with(None, &redeem).await;
    assert_eq!(answer.unwrap_err().code, ErrorCode::TemporarilyUnavailable);
    assert_eq!(*asked.0.lock().unwrap(), ["https://canary.example/jwks_uri"]);
}
