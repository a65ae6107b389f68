//! The server over real HTTP.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{net::SocketAddr, sync::Arc};

use reqwest::{Client, StatusCode};
use serde_json::{Value, json};

use crate::App;

struct House {
    app: Arc<App>,
    origin: String,
    client: Client,
}

const DEVICE: &str = "urn:ietf:params:oauth:grant-type:device_code";
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

impl House {
    async fn new() -> Self {
        let app = App::new("the resource server's secret").await.unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let router = app.clone().router().unwrap();
        let service = router.into_make_service_with_connect_info::<SocketAddr>();
        tokio::spawn(async move { axum::serve(listener, service).await });
        let client = Client::builder().no_proxy().build().unwrap();
        Self { app, origin, client }
    }

    async fn post(&self, path: &str, form: &[(&str, &str)]) -> (StatusCode, Value) {
        let request = self.client.post(format!("{}{path}", self.origin)).form(form);
        let reply = request
            .bearer_auth("the resource server's secret")
            .send()
            .await
            .unwrap();
        assert_eq!(reply.headers()["cache-control"], "no-store", "{path}");
        (reply.status(), reply.json().await.unwrap())
    }

    async fn register(&self, body: &Value) -> String {
        let request = self.client.post(format!("{}/register", self.origin)).json(body);
        let reply = request.send().await.unwrap();
        assert_eq!(reply.status(), StatusCode::CREATED);
        let body: Value = reply.json().await.unwrap();
        assert_eq!(
            (&body["token_endpoint_auth_method"], body.get("client_secret")),
            (&json!("none"), None)
        );
        body["client_id"].as_str().unwrap().to_owned()
    }

    async fn is_active(&self, token: &Value) -> bool {
        let (status, body) = self
            .post("/introspect", &[("token", token.as_str().unwrap())])
            .await;
        assert_eq!(status, StatusCode::OK);
        body["active"] == true && body["scope"] == "notes:read"
    }
}

#[tokio::test]
async fn a_code_is_redeemed_once_by_whoever_knows_the_verifier() {
    let house = House::new().await;
    let id = house
        .register(&json!({"redirect_uris": ["http://127.0.0.1/cb"]}))
        .await;
    let challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
    let code = house.app.waiting.approve(&format!("{id} {challenge}"));
    let redeem = async |client_id: &str, verifier: &str| {
        let form = [
            ("grant_type", "authorization_code"),
            ("client_id", client_id),
            ("code", &*code),
            ("code_verifier", verifier),
        ];
        house.post("/token", &form).await
    };
    for (client_id, verifier) in [("another", VERIFIER), (id.as_str(), &VERIFIER.replace('d', "e"))] {
        let (status, body) = redeem(client_id, verifier).await;
        assert_eq!(
            (status, &body["error"]),
            (StatusCode::BAD_REQUEST, &json!("invalid_grant"))
        );
    }
    let (status, body) = redeem(&id, VERIFIER).await;
    assert_eq!((status, &body["expires_in"]), (StatusCode::OK, &json!(600)));
    assert!(house.is_active(&body["access_token"]).await);
    assert!(!house.is_active(&json!("a guess")).await);
    assert_eq!(redeem(&id, VERIFIER).await.0, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_device_gets_its_token_once_somebody_typed_its_code() {
    let house = House::new().await;
    let id = house.register(&json!({"grant_types": [DEVICE]})).await;
    let begin = async |id: &str| house.post("/device_authorization", &[("client_id", id)]).await;
    let poll = async |code: &Value| {
        let code = code.as_str().unwrap();
        house
            .post(
                "/token",
                &[("grant_type", DEVICE), ("client_id", &id), ("device_code", code)],
            )
            .await
    };
    assert_eq!(begin("another").await.1["error"], "unauthorized_client");
    let (_, waiting) = begin(&id).await;
    assert_eq!(
        poll(&waiting["device_code"]).await.1["error"],
        "authorization_pending"
    );
    assert_eq!(poll(&waiting["device_code"]).await.1["error"], "slow_down");

    let (_, approved) = begin(&id).await;
    assert_eq!(
        house.app.waiting.approve("XXXX-XXXX"),
        "no device shows this code"
    );
    assert_eq!(
        house.app.waiting.approve(approved["user_code"].as_str().unwrap()),
        "approved"
    );
    let (status, body) = poll(&approved["device_code"]).await;
    assert_eq!(status, StatusCode::OK);
    assert!(house.is_active(&body["access_token"]).await);
    assert_ne!(poll(&approved["device_code"]).await.0, StatusCode::OK);
}

#[tokio::test]
async fn scripts_may_ask_and_floods_are_stopped() {
    let house = House::new().await;
    let url = format!("{}/token", house.origin);
    let preflight = house
        .client
        .request(reqwest::Method::OPTIONS, &url)
        .header("origin", "https://app.example");
    let reply = preflight.send().await.unwrap();
    assert_eq!(reply.status(), StatusCode::NO_CONTENT);
    assert_eq!(reply.headers()["access-control-allow-origin"], "*");
    assert_eq!(reply.headers()["access-control-allow-methods"], "POST, OPTIONS");
    let introspect = house
        .client
        .post(format!("{}/introspect", house.origin))
        .form(&[("token", "x")]);
    let reply = introspect.send().await.unwrap();
    assert_eq!(
        (reply.status(), reply.headers().get("access-control-allow-origin")),
        (StatusCode::UNAUTHORIZED, None)
    );

    for _ in 0..60 {
        let (status, body) = house
            .post("/token", &[("client_id", "x"), ("grant_type", "password")])
            .await;
        assert_eq!(
            (status, &body["error"]),
            (StatusCode::BAD_REQUEST, &json!("unsupported_grant_type"))
        );
    }
    let reply = house
        .client
        .post(url)
        .form(&[("grant_type", "password")])
        .send()
        .await
        .unwrap();
    assert_eq!(reply.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(reply.headers().contains_key("retry-after"));
}
