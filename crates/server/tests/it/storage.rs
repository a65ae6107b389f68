//! What goes into statements, keys and scripts of stores stays text, wherever it came from.

use mcp_authflow_testkit::{
    browser::Decision,
    server::{Store, TestServerBuilder},
    service::{postgres::PrivatePostgres, redis::PrivateRedis},
};
use serde_json::{Value, json};

use crate::house::{House, PASSWORD, R1, RS_SECRET, SVC_SECRET, VERIFIER, answer, builder, page, text};

const PAYLOADS: [&str; 8] = [
    "' OR '1'='1",
    "'; SELECT pg_sleep(3); --",
    "$1",
    "%' --",
    "x\r\nFLUSHALL\r\n",
    "]] redis.call('FLUSHALL') --[[",
    "\u{2bc} OR \u{2bc}1\u{2bc}=\u{2bc}1",
    "\\'; DROP TABLE users; DROP SCHEMA authflow CASCADE; --",
];

/// What a server keeps that nobody here may change.
fn kept(house: &House) -> [String; 3] {
    let list = |noun| house.server.run([noun, "list", "--json"]).unwrap();
    [list("user"), list("resource"), list("client")]
}

/// Every form with a payload in one field after the other.
fn forms<'a>(base: &[(&'a str, &'a str)], payload: &'a str) -> Vec<Vec<(&'a str, &'a str)>> {
    let with = |place: usize| {
        let mut form = base.to_vec();
        form[place].1 = payload;
        form
    };
    (0..base.len()).map(with).collect()
}

/// Says that an answer is an OAuth error, and that it is about the request.
#[track_caller]
fn is_refused(status: u16, error: &Value, what: &impl std::fmt::Debug) {
    assert!([400, 401].contains(&status), "{status} {error} to {what:?}");
    let code = text(error, "error");
    assert!(
        [
            "invalid_request",
            "invalid_client",
            "invalid_grant",
            "invalid_scope",
            "invalid_target",
            "unauthorized_client",
            "unsupported_grant_type",
            "invalid_redirect_uri",
            "invalid_client_metadata",
        ]
        .contains(&code),
        "{error} to {what:?}"
    );
    let said = text(error, "error_description").to_lowercase();
    for word in ["sql", "syntax", "postgres", "redis", "script", "relation"] {
        assert!(!said.contains(word), "{error} to {what:?}");
    }
}

/// ST-02 on a store.
async fn nothing_is_executed(server: TestServerBuilder) {
    let server = server
        .env("AUTHFLOW_LIFETIMES__CODE", "10m")
        .env("AUTHFLOW_REGISTRATION__PER_ADDRESS_PER_HOUR", "10000");
    let house = House::of(server.start().unwrap());
    let browser = house.browser();
    let code = house.code(&browser, "web", Decision::Allow).await;
    let spent = house.code(&browser, "native", Decision::Allow).await;
    let (_, tokens) = house.redeem("native", &spent).await;
    let (access, refresh) = (text(&tokens, "access_token"), text(&tokens, "refresh_token"));
    let device = [("client_id", "tv"), ("resource", R1), ("scope", "mcp:read")];
    let (_, codes) = house.post("/device_authorization", &device).await;
    // A limit is in the store of limits; whoever empties that lifts it.
    guess(&house, 10, 200).await;
    guess(&house, 1, 429).await;
    let before = kept(&house);

    for payload in PAYLOADS {
        let assertion_type = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
        let bases: [&[(&str, &str)]; 6] = [
            &[
                ("grant_type", "authorization_code"),
                ("code", &code),
                ("client_id", "web"),
                ("code_verifier", VERIFIER),
                ("redirect_uri", "https://client.example/cb"),
                ("resource", R1),
            ],
            &[
                ("grant_type", "refresh_token"),
                ("refresh_token", refresh),
                ("client_id", "native"),
                ("scope", "mcp:read"),
                ("resource", R1),
            ],
            &[
                ("grant_type", "client_credentials"),
                ("client_id", "svc"),
                ("client_secret", SVC_SECRET),
                ("scope", "mcp:read"),
                ("resource", R1),
            ],
            &[
                ("grant_type", "urn:ietf:params:oauth:grant-type:device_code"),
                ("device_code", text(&codes, "device_code")),
                ("client_id", "tv"),
            ],
            &[
                ("grant_type", "client_credentials"),
                ("client_assertion_type", assertion_type),
                ("client_assertion", "e30.e30.AA"),
                ("client_id", "svc"),
            ],
            &[
                ("client_id", "native"),
                ("token", "x"),
                ("token_type_hint", "access_token"),
            ],
        ];
        for (place, base) in bases.into_iter().enumerate() {
            let path = if place == 5 { "/revoke" } else { "/token" };
            for form in forms(base, payload) {
                let (status, error) = house.post(path, &form).await;
                // Nothing is revoked by a token that is none, whatever the hint.
                let is_harmless = place == 5 && form[0].1 == "native";
                if is_harmless {
                    assert_eq!((status, error), (200, Value::Null), "{form:?}");
                } else {
                    is_refused(status, &error, &form);
                }
            }
        }
        for form in forms(&device, payload) {
            let (status, error) = house.post("/device_authorization", &form).await;
            is_refused(status, &error, &form);
        }
        ask_about(&house, payload, access).await;
        enter(&house, payload).await;
        assert_eq!(kept(&house), before, "{payload}");
        register(&house, payload).await;
        for client in clients(&house) {
            if !before[2].contains(&format!("\"{client}\"")) {
                house.server.run(["client", "remove", &client]).unwrap();
            }
        }
    }

    assert_eq!(kept(&house), before);
    guess(&house, 1, 429).await;
    let (status, ready) = {
        let answer = house.http.get(house.server.url("/readyz")).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    assert_eq!((status, ready.as_str()), (200, "ready\n"));
    assert_eq!(house.introspect(access).await["active"], true);
    assert_eq!(house.redeem("web", &code).await.0, 200);
    assert_eq!(house.refresh("native", refresh).await.0, 200);
}

fn clients(house: &House) -> Vec<String> {
    let list: Value = serde_json::from_str(&house.server.run(["client", "list", "--json"]).unwrap()).unwrap();
    let clients = list.as_array().or_else(|| list["clients"].as_array()).unwrap();
    clients
        .iter()
        .map(|client| text(client, "client_id").to_owned())
        .collect()
}

/// Guesses bob's password from elsewhere.
async fn guess(house: &House, times: usize, status: u16) {
    let browser = House::browser_at("127.0.0.66");
    let shown = page(browser.open(&house.authorize_url("web", "")).await.unwrap());
    let form = shown.form_with("step", "login").unwrap().clone();
    for _ in 0..times {
        let fields = [("username", "bob"), ("password", "not his password at all")];
        let answer = page(browser.submit(&shown, &form, &fields).await.unwrap());
        assert_eq!(answer.status, status);
    }
}

/// At the introspection endpoint a payload is no token, no hint and nobody.
async fn ask_about(house: &House, payload: &str, access: &str) {
    let ask = async |name: &str, secret: &str, form: &[(&str, &str)]| {
        let request = house.http.post(house.server.url("/introspect")).form(form);
        answer(request.basic_auth(name, Some(secret))).await
    };
    let unknown = ask("rs1", RS_SECRET, &[("token", payload)]).await;
    assert_eq!(unknown, (200, json!({"active": false})), "{payload}");
    let form = [("token", access), ("token_type_hint", payload)];
    let (status, known) = ask("rs1", RS_SECRET, &form).await;
    assert_eq!((status, &known["active"]), (200, &json!(true)), "{payload}");
    for (name, secret) in [(payload, RS_SECRET), ("rs1", payload)] {
        // A pair is form-encoded before it is base64 (RFC 6749 §2.3.1); as it stands, it is as wrong.
        let (status, error) = ask(name, secret, &form).await;
        is_refused(status, &error, &(name, secret));
        let encoded = [("client_id", name), ("client_secret", secret), ("token", access)];
        let (status, error) = house.post("/introspect", &encoded).await;
        is_refused(status, &error, &encoded);
    }
}

/// At the doors that people come by, a payload is answered with a page, or as the error that it is.
async fn enter(house: &House, payload: &str) {
    let good = [
        ("response_type", "code"),
        ("client_id", "web"),
        ("redirect_uri", "https://client.example/cb"),
        ("code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"),
        ("code_challenge_method", "S256"),
        ("scope", "mcp:read"),
        ("resource", R1),
        ("state", "x"),
        ("prompt", "login"),
        ("login_hint", "alice"),
    ];
    for query in forms(&good, payload) {
        let asked = house.http.get(house.server.url("/authorize")).query(&query);
        let answer = asked.send().await.unwrap();
        let status = answer.status().as_u16();
        assert!([303, 400].contains(&status), "{status} to {query:?}");
    }
    let browser = house.browser();
    let shown = page(browser.open(&house.authorize_url("web", "")).await.unwrap());
    let form = shown.form_with("step", "login").unwrap().clone();
    for (name, password) in [(payload, PASSWORD), ("alice", payload)] {
        let fields = [("username", name), ("password", password)];
        let answer = page(browser.submit(&shown, &form, &fields).await.unwrap());
        assert_eq!(answer.status, 200, "{payload}");
        assert!(
            answer.form_with("step", "login").is_some(),
            "{}",
            answer.describe()
        );
    }
}

/// A registration with a payload is refused, or makes a client that is called so and is nothing else.
async fn register(house: &House, payload: &str) {
    let url = house.server.url("/register");
    for name in [
        "client_name",
        "client_uri",
        "redirect_uris",
        "grant_types",
        "response_types",
        "token_endpoint_auth_method",
        "application_type",
        "scope",
        "jwks_uri",
        "software_id",
        "software_version",
        "client_id",
        payload,
    ] {
        let mut body = json!({"redirect_uris": ["https://client.example/cb"], "client_name": "Probe"});
        let is_list = ["redirect_uris", "grant_types", "response_types"].contains(&name);
        body[name] = if is_list { json!([payload]) } else { json!(payload) };
        let (status, registered) = answer(house.http.post(&url).json(&body)).await;
        if status == 201 {
            let id = text(&registered, "client_id");
            assert!(id.starts_with("c_") && id.len() == 34, "{registered}");
            if name == "client_name" {
                assert_eq!(registered["client_name"], payload);
                let stored: Value =
                    serde_json::from_str(&house.server.run(["client", "show", id, "--json"]).unwrap())
                        .unwrap();
                assert!(
                    stored.to_string().contains(&json!(payload).to_string()),
                    "{stored}"
                );
            }
        } else {
            is_refused(status, &registered, &body);
        }
    }
}

/// ST-02
#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_comes_in_a_field_is_executed_by_sqlite() {
    nothing_is_executed(builder()).await;
}

/// ST-02, with Redis for the limits.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_comes_in_a_field_is_executed_by_postgresql_or_redis() {
    let postgres = PrivatePostgres::shared().unwrap_or_else(|error| panic!("{error:#}"));
    let database = postgres.fresh_database().unwrap();
    let redis = PrivateRedis::start().unwrap();
    let config = format!("[redis]\nurl = \"{}\"\n", redis.url());
    let store = Store::Postgres(database.url().to_owned());
    nothing_is_executed(builder().store(store).config(config)).await;
}
