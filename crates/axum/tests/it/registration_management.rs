//! Registration management on the wire (RFC 7592).

use axum::body::Body;
use http::{StatusCode, header};
use insta::assert_snapshot;
use mcp_authflow::port::store::ClientStore as _;
use mcp_authflow_types::ClientId;
use serde_json::{Value, json};

use crate::edge::{Edge, Reply, request};

/// A client that registered itself, and what it was told.
struct Registered {
    edge: Edge,
    told: Value,
}

impl Registered {
    async fn new(body: &Value) -> Self {
        let edge = Edge::new().await;
        let told = register(&edge, body).await;
        Self { edge, told }
    }

    fn text(&self, name: &str) -> &str {
        self.told[name].as_str().unwrap()
    }

    fn path(&self) -> String {
        let uri = self.text("registration_client_uri");
        uri.strip_prefix(crate::edge::ISSUER).unwrap().to_owned()
    }

    async fn send(&self, method: &str, body: Option<&Value>) -> Reply {
        send(
            &self.edge,
            method,
            &self.path(),
            self.text("registration_access_token"),
            body,
        )
        .await
    }

    /// A change of one member of the registration.
    async fn put(&self, name: &str, value: Value) -> Reply {
        let mut body = good();
        body["client_id"] = self.told["client_id"].clone();
        body[name] = value;
        self.send("PUT", Some(&body)).await
    }
}

async fn register(edge: &Edge, body: &Value) -> Value {
    let request = request("POST", "/register")
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(body.to_string()));
    let reply = edge.send(request.unwrap()).await;
    assert_eq!(reply.status, StatusCode::CREATED, "{reply}");
    reply.json()
}

async fn send(edge: &Edge, method: &str, path: &str, token: &str, body: Option<&Value>) -> Reply {
    let mut request = request(method, path).header(header::AUTHORIZATION, format!("Bearer {token}"));
    if body.is_some() {
        request = request.header(header::CONTENT_TYPE, "application/json");
    }
    let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
    edge.send(request.body(body).unwrap()).await
}

fn good() -> Value {
    json!({
        "client_name": "Probe",
        "redirect_uris": ["https://client.example/cb"],
        "token_endpoint_auth_method": "client_secret_post",
        "logo_uri": "https://client.example/logo.png",
        "policy_uri": "https://client.example/privacy",
        "tos_uri": "javascript:alert(1)",
    })
}

/// M-070, DC-17, RFC 7592 §2.1, §3
#[tokio::test]
async fn a_registration_is_read_without_its_secret() {
    let one = Registered::new(&good()).await;
    let id = one.text("client_id");
    assert_eq!(
        one.text("registration_client_uri"),
        format!("https://auth.example/register/{id}")
    );
    let token = one.text("registration_access_token");
    assert!(token.starts_with("mcpra_") && token.len() == 55, "{token}");
    assert_eq!(one.told["logo_uri"], "https://client.example/logo.png");
    assert_eq!(one.told["policy_uri"], "https://client.example/privacy");
    assert_eq!(one.told.get("tos_uri"), None);

    let mut expected = one.told.clone();
    let told = expected.as_object_mut().unwrap();
    assert!(told.remove("client_secret").is_some());
    told.remove("client_secret_expires_at");
    let mut reply = one.send("GET", None).await;
    assert_eq!(reply.json(), expected);
    reply.body.clear();
    assert_snapshot!(reply, @r"
    200 OK
    access-control-allow-origin: *
    access-control-expose-headers: WWW-Authenticate, Retry-After, Mcp-Session-Id, DPoP-Nonce, X-Request-Id
    cache-control: no-store
    content-type: application/json
    pragma: no-cache
    x-content-type-options: nosniff
    ");
    // A digest of the token is kept, and nothing of it in a log of decisions.
    let id = ClientId::parse(id).unwrap();
    let kept = one
        .edge
        .store
        .inner()
        .load_registration(&id)
        .await
        .unwrap()
        .unwrap();
    assert!(!format!("{kept:?}").contains(&token[6..20]));
    assert!(!format!("{:?}", one.edge.audit).contains(&token[6..20]));
}

/// DC-13, DC-15, RFC 7592 §2: "the registration access token … is invalid" and "the client does not exist" are one answer.
#[tokio::test]
async fn no_other_token_opens_a_registration() {
    let one = Registered::new(&good()).await;
    let other = register(&one.edge, &good()).await;
    let others = other["registration_access_token"].as_str().unwrap();
    let mine = one.text("registration_access_token");
    let (path, change) = (one.path(), json!({"client_id": one.text("client_id")}));
    for (path, token) in [
        (&*path, others),
        (&path, "mcpra_guess"),
        (&path, ""),
        (&path, one.text("client_secret")),
        ("/register/c_00000000000000000000000000000000", mine),
        ("/register/conf", mine),
        ("/register/%ff", mine),
    ] {
        for (method, body) in [("GET", None), ("PUT", Some(&change)), ("DELETE", None)] {
            let reply = send(&one.edge, method, path, token, body).await;
            reply.assert_error(401, "invalid_token");
            assert_eq!(
                reply.header("www-authenticate"),
                "Bearer realm=\"authflow\", error=\"invalid_token\"",
                "{method} {path}"
            );
            assert_eq!(reply.header("cache-control"), "no-store");
        }
    }
    let bare = request("GET", &path).body(Body::empty()).unwrap();
    one.edge.send(bare).await.assert_error(401, "invalid_token");
    let twice = request("GET", &path)
        .header(header::AUTHORIZATION, format!("Bearer {mine}"))
        .header(header::AUTHORIZATION, format!("Bearer {mine}"))
        .body(Body::empty());
    one.edge
        .send(twice.unwrap())
        .await
        .assert_error(400, "invalid_request");
    assert_eq!(one.send("GET", None).await.status, StatusCode::OK);
}

/// DC-15, RFC 7592 §2.2: the update replaces all of it; the token stays.
#[tokio::test]
async fn an_update_replaces_everything_that_was_said() {
    let one = Registered::new(&good()).await;
    let change = json!({
        "client_id": one.text("client_id"),
        "client_secret": one.text("client_secret"),
        "redirect_uris": ["https://client.example/new"],
        "token_endpoint_auth_method": "client_secret_basic",
        "scope": "mcp:read root",
    });
    let reply = one.send("PUT", Some(&change)).await;
    assert_eq!(reply.status, StatusCode::OK, "{reply}");
    assert_eq!(reply.header("cache-control"), "no-store");
    assert_eq!(
        reply.json(),
        json!({
            "client_id": one.text("client_id"),
            "client_id_issued_at": 1_790_000_000,
            "redirect_uris": ["https://client.example/new"],
            "grant_types": ["authorization_code", "refresh_token"],
            "response_types": ["code"],
            "token_endpoint_auth_method": "client_secret_basic",
            "application_type": "web",
            "scope": "mcp:read",
            "registration_client_uri": one.text("registration_client_uri"),
            "registration_access_token": one.text("registration_access_token"),
        })
    );
    let read = one.send("GET", None).await.json();
    assert_eq!(read["redirect_uris"], json!(["https://client.example/new"]));
    assert_eq!(read.get("client_name"), None);
}

/// DC-15, DC-09: what the server decides is not the client's to say.
#[tokio::test]
async fn an_update_is_judged_like_a_registration() {
    let one = Registered::new(&good()).await;
    for (name, value, code) in [
        ("client_id", json!("conf"), "invalid_client_metadata"),
        ("client_id", Value::Null, "invalid_client_metadata"),
        (
            "client_secret",
            json!("a secret of my own choosing, 32 chars"),
            "invalid_client_metadata",
        ),
        ("registration_access_token", json!("x"), "invalid_client_metadata"),
        (
            "registration_client_uri",
            json!("https://evil.example"),
            "invalid_client_metadata",
        ),
        (
            "redirect_uris",
            json!(["javascript:alert(1)"]),
            "invalid_redirect_uri",
        ),
        ("redirect_uris", json!([]), "invalid_redirect_uri"),
        (
            "grant_types",
            json!(["client_credentials"]),
            "invalid_client_metadata",
        ),
        (
            "token_endpoint_auth_method",
            json!("tls_client_auth"),
            "invalid_client_metadata",
        ),
    ] {
        one.put(name, value).await.assert_error(400, code);
    }
    let widened = one
        .put("grant_types", json!(["authorization_code", "client_credentials"]))
        .await;
    assert_eq!(widened.json()["grant_types"], json!(["authorization_code"]));
    let dropped = one
        .put(
            "redirect_uris",
            json!(["javascript:alert(1)", "https://client.example/cb"]),
        )
        .await;
    assert_eq!(
        dropped.json()["redirect_uris"],
        json!(["https://client.example/cb"])
    );

    let form = request("PUT", &one.path())
        .header(
            header::AUTHORIZATION,
            format!("Bearer {}", one.text("registration_access_token")),
        )
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Body::from("client_id=x"));
    one.edge
        .send(form.unwrap())
        .await
        .assert_error(415, "invalid_request");
}

/// RFC 7592 §2.2: a secret is made when one is needed, and gone when it is not.
#[tokio::test]
async fn a_secret_is_made_when_it_is_needed_and_said_once() {
    let mut public = good();
    public["token_endpoint_auth_method"] = json!("none");
    let one = Registered::new(&public).await;
    assert_eq!(one.told.get("client_secret"), None);
    let made = one
        .put("token_endpoint_auth_method", json!("client_secret_post"))
        .await
        .json();
    assert!(
        made["client_secret"].as_str().unwrap().starts_with("mcpcs_"),
        "{made}"
    );
    assert_eq!(made["client_secret_expires_at"], 0);
    let again = one
        .put("token_endpoint_auth_method", json!("client_secret_basic"))
        .await
        .json();
    assert_eq!(again.get("client_secret"), None, "the same secret goes on");
    let id = ClientId::parse(one.text("client_id")).unwrap();
    let kept = async || one.edge.store.inner().load_client(&id).await.unwrap().unwrap();
    assert!(kept().await.secret.is_some());
    let none = one.put("token_endpoint_auth_method", json!("none")).await.json();
    assert_eq!(none.get("client_secret"), None);
    assert_eq!(kept().await.secret, None);
}

/// RFC 7592 §2.3
#[tokio::test]
async fn a_removed_registration_is_gone_with_its_token() {
    let one = Registered::new(&good()).await;
    let reply = one.send("DELETE", None).await;
    assert_eq!((reply.status, &*reply.body), (StatusCode::NO_CONTENT, ""));
    assert_eq!(reply.header("cache-control"), "no-store");
    for method in ["GET", "DELETE"] {
        one.send(method, None).await.assert_error(401, "invalid_token");
    }
    let id = ClientId::parse(one.text("client_id")).unwrap();
    assert!(one.edge.store.inner().load_client(&id).await.unwrap().is_none());
}

#[tokio::test]
async fn a_registration_that_nobody_used_ends_with_its_token() {
    let one = Registered::new(&good()).await;
    one.edge.clock.advance(std::time::Duration::from_secs(86_400));
    one.send("GET", None).await.assert_error(401, "invalid_token");
}

/// DC-04: guesses are counted by address.
#[tokio::test]
async fn too_many_tries_are_told_when_to_come_again() {
    let one = Registered::new(&good()).await;
    for _ in 0..120 {
        let reply = send(&one.edge, "GET", &one.path(), "mcpra_guess", None).await;
        assert_eq!(reply.status, StatusCode::UNAUTHORIZED);
    }
    let reply = one.send("GET", None).await;
    reply.assert_error(429, "too_many_requests");
    assert_eq!(reply.header("retry-after"), "3600");
}

/// DC-18, DC-19: the address is told only where it works.
#[tokio::test]
async fn management_can_be_off() {
    let edge = Edge::with(|settings| settings.registration.management = false).await;
    let told = register(&edge, &good()).await;
    assert_eq!(told.get("registration_client_uri"), None);
    assert_eq!(told.get("registration_access_token"), None);
    let path = format!("/register/{}", told["client_id"].as_str().unwrap());
    let reply = send(&edge, "GET", &path, "mcpra_guess", None).await;
    assert_eq!(reply.status, StatusCode::NOT_FOUND);

    let off = Edge::with(|settings| settings.registration.enabled = false).await;
    send(&off, "GET", "/register/c_1", "mcpra_guess", None)
        .await
        .assert_error(403, "access_denied");
}

/// M-132
#[tokio::test]
async fn other_methods_are_told_which_there_are_and_scripts_may_call() {
    let one = Registered::new(&good()).await;
    let reply = one.send("POST", Some(&good())).await;
    reply.assert_error(405, "invalid_request");
    assert_eq!(reply.header("allow"), "GET, HEAD, PUT, DELETE, OPTIONS");
    let preflight = one.send("OPTIONS", None).await;
    assert_eq!(preflight.status, StatusCode::NO_CONTENT);
    assert_eq!(
        preflight.header("access-control-allow-methods"),
        "GET, HEAD, PUT, DELETE, OPTIONS"
    );
}

/// M-003: an issuer with a path has it in every address.
#[tokio::test]
async fn the_address_lies_beneath_the_issuers_path() {
    let edge = Edge::at("https://auth.example/tenant").await;
    let request = request("POST", "/tenant/register")
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(good().to_string()));
    let told = edge.send(request.unwrap()).await.json();
    let (uri, token) = (
        &told["registration_client_uri"],
        &told["registration_access_token"],
    );
    let path = uri.as_str().unwrap().strip_prefix(crate::edge::ISSUER).unwrap();
    assert!(path.starts_with("/tenant/register/c_"), "{path}");
    let reply = send(&edge, "GET", path, token.as_str().unwrap(), None).await;
    assert_eq!(reply.status, StatusCode::OK, "{reply}");
}
