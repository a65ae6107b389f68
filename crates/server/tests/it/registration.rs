//! Clients that introduce themselves (RFC 7591) to the running server: what they cannot get by it.

use mcp_authflow_testkit::browser::{Decision, Visit};
use reqwest::{RequestBuilder, header};
use serde_json::{Value, json};

use crate::house::{House, PASSWORD, answer, builder, page, text};

/// A registration that is good, for a test to change.
fn good() -> Value {
    json!({
        "client_name": "Probe",
        "redirect_uris": ["https://evil.example/cb"],
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": "none",
    })
}

fn with(name: &str, value: Value) -> Value {
    let mut body = good();
    body[name] = value;
    body
}

impl House {
    /// One address may register 20 clients an hour, and a test registers more.
    fn for_many_registrations() -> Self {
        let config = "[registration]\nper_address_per_hour = 10000\n";
        Self::of(builder().config(config).start().unwrap())
    }

    async fn register(&self, body: &Value) -> (u16, Value) {
        answer(self.http.post(self.server.url("/register")).json(body)).await
    }

    /// How many clients are kept.
    fn clients(&self) -> usize {
        let clients: Value =
            serde_json::from_str(&self.server.run(["client", "list", "--json"]).unwrap()).unwrap();
        let list = clients.as_array().or_else(|| clients["clients"].as_array());
        list.unwrap_or_else(|| panic!("no list: {clients}")).len()
    }

    async fn metadata(&self) -> Value {
        let url = self.server.url("/.well-known/oauth-authorization-server");
        answer(self.http.get(url)).await.1
    }

    /// Where a person goes for a self-registered client.
    fn ask_for(&self, client_id: &str, redirect_uri: &str, more: &str) -> String {
        let redirect = reqwest::Url::parse_with_params("x:", [("redirect_uri", redirect_uri)]).unwrap();
        self.authorize_url(client_id, more).replace(
            "redirect_uri=https%3A%2F%2Fclient.example%2Fcb",
            redirect.query().unwrap(),
        )
    }
}

/// DC-02
#[tokio::test]
async fn a_registration_without_a_redirect_uri_keeps_nothing() {
    let house = House::for_many_registrations();
    let before = house.clients();
    let mut absent = good();
    absent.as_object_mut().unwrap().remove("redirect_uris");
    let wrong = [
        json!([]),
        json!(null),
        json!("https://evil.example/cb"),
        json!([null]),
        json!([1]),
        json!([["https://a"]]),
        json!({}),
        json!([""]),
    ];
    for body in wrong
        .map(|uris| with("redirect_uris", uris))
        .into_iter()
        .chain([absent])
    {
        let (status, said) = house.register(&body).await;
        assert_eq!(status, 400, "{body}: {said}");
        let error = text(&said, "error");
        assert!(
            ["invalid_redirect_uri", "invalid_client_metadata"].contains(&error),
            "{body}: {said}"
        );
    }
    assert_eq!(house.clients(), before);
    assert_eq!(house.register(&good()).await.0, 201);
    assert_eq!(house.clients(), before + 1);
}

/// DC-04: neither other words nor another address that the caller writes itself make another caller.
#[tokio::test]
async fn one_address_fills_no_table() {
    let house = House::open();
    let before = house.clients();
    let url = house.server.url("/register");
    for number in 0..60 {
        let body = with("client_name", json!(format!("Probe {}", number / 2)));
        let request = house.http.post(&url).json(&body);
        let request = request
            .header("x-forwarded-for", format!("203.0.113.{number}"))
            .header("forwarded", format!("for=203.0.113.{number}"))
            .header("x-real-ip", format!("203.0.113.{number}"));
        let response = request.send().await.unwrap();
        if number < 20 {
            assert_eq!(response.status(), 201, "{number}");
        } else {
            assert_eq!(response.status(), 429, "{number}");
            let wait: u64 = response.headers()["retry-after"]
                .to_str()
                .unwrap()
                .parse()
                .unwrap();
            assert!((1..=3600).contains(&wait), "{wait}");
        }
    }
    assert_eq!(house.clients(), before + 20);
    // Somebody else is not in the way of that.
    let other = reqwest::Client::builder()
        .no_proxy()
        .local_address(std::net::IpAddr::from([127, 0, 0, 8]))
        .build()
        .unwrap();
    assert_eq!(answer(other.post(&url).json(&good())).await.0, 201);
}

/// DC-08: a statement that nobody here has verified is worth nothing.
#[tokio::test]
async fn an_unverified_software_statement_says_nothing() {
    use mcp_authflow_jose::{Algorithm, SigningKey};

    let house = House::for_many_registrations();
    let key = SigningKey::generate(Algorithm::Es256).unwrap();
    let claims = json!({
        "iss": "https://evil.example", "client_name": "Acme, verified", "software_id": "acme", "exp": 1,
        "redirect_uris": ["https://acme.example/cb"], "token_endpoint_auth_method": "client_secret_basic",
    });
    let signed = |header: Value| key.sign_as(&header, claims.to_string().as_bytes()).unwrap();
    for statement in [
        json!("eyJhbGciOiJub25lIn0.eyJjbGllbnRfbmFtZSI6IkFjbWUifQ."),
        json!(signed(json!({"alg": "ES256"}))),
        json!(signed(json!({"alg": "HS256"}))),
        json!(signed(
            json!({"alg": "ES256", "jku": "https://evil.example/jwks"})
        )),
        json!(signed(json!({"alg": "ES256", "jwk": key.public_jwk()}))),
        json!("nonsense"),
        json!({}),
    ] {
        let (status, said) = house
            .register(&with("software_statement", statement.clone()))
            .await;
        if status == 201 {
            assert_eq!(said["client_name"], "Probe", "{statement}");
            assert_eq!(said["redirect_uris"], json!(["https://evil.example/cb"]));
            assert_eq!(said["token_endpoint_auth_method"], "none");
            assert_eq!(
                (said.get("software_statement"), said.get("software_id")),
                (None, None)
            );
        } else {
            assert_eq!(status, 400, "{statement}: {said}");
        }
    }
}

/// DC-09: what is the server's to decide cannot be said at all.
#[tokio::test]
async fn what_is_the_servers_cannot_be_registered() {
    let house = House::open();
    let mut body = good();
    for (name, value) in [
        ("client_id", json!("admin")),
        ("client_secret", json!("known")),
        ("skip_consent", json!(true)),
        ("trusted", json!(true)),
        ("origin", json!("operator")),
        ("owner", json!("alice")),
        ("require_pkce", json!(false)),
        ("registration_access_token", json!("x")),
        ("registration_client_uri", json!("https://evil.example/")),
        ("id", json!("1")),
        ("created_at", json!(0)),
        ("client_id_issued_at", json!(0)),
        ("introspection_client_id", json!("rs1")),
        ("scope", json!("admin")),
    ] {
        body[name] = value;
    }
    let (status, said) = house.register(&body).await;
    assert_eq!(status, 201, "{said}");
    let id = text(&said, "client_id");
    assert!(id != "admin" && id != "1", "{said}");
    assert_eq!(said.get("client_secret"), None);
    assert_ne!(said["registration_access_token"], "x");
    assert_ne!(said["registration_client_uri"], "https://evil.example/");
    assert_ne!(said["client_id_issued_at"], 0);

    // No PKCE, no page.
    let redirect = "https://evil.example/cb";
    let without = house.ask_for(id, redirect, "scope=mcp%3Aread");
    let without = without.replace("code_challenge=", "x=");
    let response = house.http.get(without).send().await.unwrap();
    let location = response.headers().get("location").map(|to| to.to_str().unwrap());
    assert!(
        !location.is_some_and(|to| to.starts_with("/ui/interaction/")),
        "{location:?}"
    );
    // The person is asked, the second time as well.
    let browser = house.browser();
    for turn in 0..2 {
        let url = house.ask_for(id, redirect, "scope=mcp%3Aread");
        let mut shown = page(browser.open(&url).await.unwrap());
        if let Some(login) = shown.form_with("step", "login").cloned() {
            let fields = [("username", "alice"), ("password", PASSWORD)];
            shown = page(browser.submit(&shown, &login, &fields).await.unwrap());
        }
        let form = shown.form_with("step", "consent").unwrap().clone();
        assert!(
            shown.text.contains("Unverified application"),
            "{turn}: {}",
            shown.text
        );
        let left = browser.submit(&shown, &form, &[("decision", "allow")]).await;
        let Visit::Left(redirect) = left.unwrap() else {
            panic!("still here");
        };
        assert!(redirect.parameter("code").unwrap().is_some());
    }
}

/// DC-10: nobody registers into working without a person.
#[tokio::test]
async fn no_stranger_becomes_a_machine() {
    let house = House::for_many_registrations();
    let forbidden = [
        "client_credentials",
        "password",
        "urn:ietf:params:oauth:grant-type:jwt-bearer",
        "urn:ietf:params:oauth:grant-type:token-exchange",
        "implicit",
    ];
    let beside: Vec<Value> = forbidden
        .iter()
        .map(|grant| json!(["authorization_code", grant]))
        .collect();
    let alone: Vec<Value> = forbidden.iter().map(|grant| json!([grant])).collect();
    let cases = beside.into_iter().chain(alone);
    for grants in cases.chain([json!([]), json!(["refresh_token"])]) {
        let mut body = with("grant_types", grants.clone());
        body["token_endpoint_auth_method"] = json!("client_secret_basic");
        let (status, said) = house.register(&body).await;
        if status == 400 {
            assert_eq!(said["error"], "invalid_client_metadata", "{grants}");
            continue;
        }
        assert_eq!(status, 201, "{grants}: {said}");
        assert_eq!(said["grant_types"], json!(["authorization_code"]), "{grants}");
        let work = [
            ("grant_type", "client_credentials"),
            ("scope", "mcp:read"),
            ("resource", crate::house::R1),
        ];
        let request = house.http.post(house.server.url("/token")).form(&work);
        let request = request.basic_auth(text(&said, "client_id"), Some(text(&said, "client_secret")));
        let (status, refusal) = answer(request).await;
        assert_eq!(
            (status, text(&refusal, "error")),
            (400, "unauthorized_client"),
            "{grants}"
        );
    }
}

/// DC-12
#[tokio::test]
async fn only_a_json_object_is_a_registration() {
    let house = House::for_many_registrations();
    let before = house.clients();
    let url = house.server.url("/register");
    let json = "application/json";
    let text = good().to_string();
    let marked = format!("\u{feff}{text}");
    let twice = text.replacen('{', r#"{"client_name":"Other","#, 1);
    let number = text.replacen('{', r#"{"x":NaN,"#, 1);
    for (content_type, body) in [
        ("text/plain", text.as_str()),
        (
            "application/x-www-form-urlencoded",
            "redirect_uris=https%3A%2F%2Fevil.example%2Fcb",
        ),
        ("application/x-www-form-urlencoded", &text),
        ("multipart/form-data; boundary=x", &text),
        (json, "null"),
        (json, "\"x\""),
        (json, "[]"),
        (json, "true"),
        (json, ""),
        (json, &twice),
        (json, &marked),
        (json, &number),
        (json, "{"),
    ] {
        let request = house
            .http
            .post(&url)
            .header(header::CONTENT_TYPE, content_type)
            .body(body.to_owned());
        let (status, said) = answer(request).await;
        assert!(
            [400, 415].contains(&status),
            "{content_type} {body}: {status} {said}"
        );
        let error = said["error"].as_str().unwrap();
        assert!(
            ["invalid_client_metadata", "invalid_request"].contains(&error),
            "{said}"
        );
    }
    assert_eq!(house.clients(), before);
}

/// DC-13: a missing, wrong or foreign initial access token is a challenge, and never a fault.
#[tokio::test]
async fn without_the_initial_access_token_there_is_a_challenge() {
    const TOKEN: &str = "an-initial-access-token-of-enough-characters";
    let server = builder().env("AUTHFLOW_REGISTRATION__INITIAL_ACCESS_TOKEN", TOKEN);
    let house = House::of(
        server
            .config("[registration]\nper_address_per_hour = 10000\n")
            .start()
            .unwrap(),
    );
    let before = house.clients();
    let url = house.server.url("/register");
    let ask = |values: &[&str]| -> RequestBuilder {
        let request = house.http.post(&url).json(&good());
        values
            .iter()
            .fold(request, |request, value| request.header("authorization", *value))
    };
    let right = format!("Bearer {TOKEN}");
    let two_spaces = format!("Bearer  {TOKEN}");
    let as_basic = format!("Basic {TOKEN}");
    let others = format!("Bearer mcpra_{}", "A".repeat(49));
    let long = format!("Bearer {}", "a".repeat(4096));
    let cases: [&[&str]; 11] = [
        &[],
        &["Bearer"],
        &["Bearer "],
        &[&two_spaces],
        &["bearer x"],
        &["Basic x"],
        &[&as_basic],
        &[&right, "Bearer x"],
        &[&right, &right],
        &[&others],
        &[&long],
    ];
    for values in cases {
        let response = ask(values).send().await.unwrap();
        let status = response.status().as_u16();
        assert!([400, 401].contains(&status), "{values:?}: {status}");
        if status == 401 {
            let challenge = response.headers()["www-authenticate"].to_str().unwrap();
            assert!(challenge.starts_with("Bearer"), "{values:?}: {challenge}");
        }
        let said: Value = response.json().await.unwrap();
        let error = text(&said, "error");
        assert!(
            ["invalid_token", "invalid_request"].contains(&error),
            "{values:?}: {said}"
        );
    }
    let huge = format!("Bearer {}", "a".repeat(64 * 1024));
    let answered = ask(&[&huge]).send().await;
    // A head of that size may also end the connection.
    if let Ok(response) = answered {
        let status = response.status().as_u16();
        assert!([400, 401, 431].contains(&status), "{status}");
    }
    assert_eq!(house.clients(), before);
    assert_eq!(answer(ask(&[&right])).await.0, 201);
    assert_eq!(answer(ask(&[&format!("bearer {TOKEN}")])).await.0, 201);
}

/// DC-18
#[tokio::test]
async fn a_registration_answers_with_what_is_kept_and_is_not_cached() {
    let house = House::open();
    for method in ["none", "client_secret_basic", "client_secret_post"] {
        let body = with("token_endpoint_auth_method", json!(method));
        let request = house.http.post(house.server.url("/register")).json(&body);
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 201);
        assert_eq!(response.headers()["cache-control"], "no-store");
        let said: Value = response.json().await.unwrap();
        let has_secret = method != "none";
        assert_eq!(said.get("client_secret").is_some(), has_secret, "{said}");
        assert_eq!(
            said.get("client_secret_expires_at").is_some(),
            has_secret,
            "{said}"
        );
        for (name, value) in good().as_object().unwrap() {
            let expected = if name == "token_endpoint_auth_method" {
                &body[name]
            } else {
                value
            };
            assert_eq!(&said[name], expected, "{name}");
        }
        let shown: Value = serde_json::from_str(
            &house
                .server
                .run(["client", "show", text(&said, "client_id"), "--json"])
                .unwrap(),
        )
        .unwrap();
        assert_eq!(shown["redirect_uris"], said["redirect_uris"], "{shown}");
        assert_eq!(shown["grant_types"], said["grant_types"], "{shown}");
        assert!(
            !shown
                .to_string()
                .contains(said["client_secret"].as_str().unwrap_or("mcpcs_")),
            "{shown}"
        );
        // RFC 7592 §3: both, and then they work, or neither.
        let place = said
            .get("registration_client_uri")
            .map(|uri| uri.as_str().unwrap());
        let token = said
            .get("registration_access_token")
            .map(|token| token.as_str().unwrap());
        assert_eq!(place.is_some(), token.is_some(), "{said}");
        if let (Some(place), Some(token)) = (place, token) {
            let (status, read) = answer(house.http.get(place).bearer_auth(token)).await;
            assert_eq!((status, &read["client_id"]), (200, &said["client_id"]), "{read}");
        }
    }
}

/// DC-19: closed is closed, and is not announced.
#[tokio::test]
async fn a_closed_door_is_not_announced() {
    let house = House::of(
        builder()
            .config("[registration]\nenabled = false\n")
            .start()
            .unwrap(),
    );
    let before = house.clients();
    let (status, said) = house.register(&good()).await;
    assert!([403, 404, 405].contains(&status), "{status} {said}");
    let metadata = house.metadata().await;
    assert_eq!(metadata.get("registration_endpoint"), None, "{metadata}");
    assert_eq!(house.clients(), before);

    // A door for some leads to their hosts alone.
    let some = "[registration]\nallowed_redirect_hosts = [\"client.example\"]\n";
    let house = House::of(builder().config(some).start().unwrap());
    let before = house.clients();
    let (status, said) = house.register(&good()).await;
    assert_eq!((status, text(&said, "error")), (400, "invalid_redirect_uri"));
    for uri in [
        "https://client.example.evil.example/cb",
        "https://evil.example/client.example",
        "https://client.example@evil.example/cb",
    ] {
        assert_eq!(
            house.register(&with("redirect_uris", json!([uri]))).await.0,
            400,
            "{uri}"
        );
    }
    assert_eq!(house.clients(), before);
    let own = with("redirect_uris", json!(["https://client.example/other"]));
    assert_eq!(house.register(&own).await.0, 201);
}

/// DC-20, CD-12: a stranger under a known name is a stranger, and nothing that a person said to its namesake counts for it.
#[tokio::test]
async fn a_namesake_inherits_nothing() {
    let house = House::open();
    let browser = house.browser();
    house.code(&browser, "web", Decision::Allow).await;
    let mut body = with("client_name", json!("Web notes"));
    body["logo_uri"] = json!("https://client.example/logo.png");
    body["client_uri"] = json!("https://client.example/");
    let (_, stranger) = house.register(&body).await;
    let id = text(&stranger, "client_id");
    for prompt in ["", "&prompt=none"] {
        let url = house.ask_for(
            id,
            "https://evil.example/cb",
            &format!("scope=mcp%3Aread{prompt}"),
        );
        let visit = browser.open(&url).await.unwrap();
        if prompt.is_empty() {
            let shown = page(visit);
            assert!(shown.form_with("step", "consent").is_some(), "{}", shown.text);
            assert!(shown.text.contains("Unverified application"), "{}", shown.text);
            assert!(shown.text.contains("evil.example"), "{}", shown.text);
            assert!(
                !shown.text.contains("Registered by the operator"),
                "{}",
                shown.text
            );
        } else {
            match visit {
                Visit::Page(shown) => {
                    assert!(shown.status >= 400, "{} {}", shown.status, shown.text);
                    assert!(shown.form_with("step", "consent").is_none(), "{}", shown.text);
                }
                Visit::Left(left) => assert_eq!(left.parameter("code").unwrap(), None),
            }
        }
    }
    // The mark is the operator's to give.
    let known = house.authorize_url("web", "scope=mcp%3Aread%20mcp%3Awrite&prompt=consent");
    let shown = page(browser.open(&known).await.unwrap());
    assert!(
        shown.text.contains("Registered by the operator"),
        "{}",
        shown.text
    );
    assert!(!shown.text.contains("Unverified application"), "{}", shown.text);
}

/// DC-23: of good and dangerous addresses the good ones are kept, and the answer says which.
#[tokio::test]
async fn a_dangerous_redirect_uri_is_never_kept() {
    let house = House::for_many_registrations();
    let cursor = [
        "cursor://anysphere.cursor-mcp/oauth/callback",
        "http://localhost:8787/callback",
    ];
    let (status, said) = house.register(&with("redirect_uris", json!(cursor))).await;
    assert_eq!((status, &said["redirect_uris"]), (201, &json!(cursor)), "{said}");
    for bad in [
        "javascript:alert(1)",
        "JavaScript:alert(1)",
        "data:text/html,x",
        "vbscript:x",
        "file:///etc/passwd",
        "blob:https://evil.example/x",
        "about:blank",
        "https://*.evil.example/cb",
        "https://evil.example/*",
        "*",
        "http://evil.example/cb",
        "https://evil.example/cb#x",
        "https://a@evil.example/cb",
    ] {
        let uris = json!([cursor[0], bad, cursor[1]]);
        let (status, said) = house.register(&with("redirect_uris", uris)).await;
        match status {
            201 => assert_eq!(said["redirect_uris"], json!(cursor), "{bad}"),
            400 => assert_eq!(said["error"], "invalid_redirect_uri", "{bad}"),
            status => panic!("{bad}: {status} {said}"),
        }
        if status == 201 {
            let id = text(&said, "client_id");
            let response = house
                .http
                .get(house.ask_for(id, bad, "scope=mcp%3Aread"))
                .send()
                .await
                .unwrap();
            assert_eq!(response.status(), 400, "{bad}");
            assert!(response.headers().get("location").is_none(), "{bad}");
        }
        let (status, said) = house.register(&with("redirect_uris", json!([bad]))).await;
        assert_eq!(
            (status, text(&said, "error")),
            (400, "invalid_redirect_uri"),
            "{bad}"
        );
    }
}
