//! Two servers side by side, and one string for each of them: nobody takes the one for the other (RFC 9207, RFC 9700 §4.4).

use mcp_authflow_jose::{Algorithm, SigningKey};
use mcp_authflow_testkit::browser::{Browser, Decision, Visit};
use reqwest::Url;
use serde_json::{Value, json};

use crate::client_assertion::{claims, machine};
use crate::house::{BOOTSTRAP, House, PASSWORD, R1, answer, builder, page, text};

/// What a redirect to the client carries under `iss`.
fn issuers(location: &str) -> Vec<String> {
    let url: Url = location.parse().unwrap();
    url.query_pairs()
        .filter(|(name, _)| name == "iss")
        .map(|(_, value)| value.into_owned())
        .collect()
}

async fn metadata(house: &House) -> Value {
    let issuer: Url = house.server.issuer().parse().unwrap();
    let path = issuer.path().trim_end_matches('/');
    let url = issuer
        .join(&format!("/.well-known/oauth-authorization-server{path}"))
        .unwrap();
    answer(house.http.get(url)).await.1
}

/// MX-01, MX-02: every answer that leaves for a client carries one `iss`, byte for byte the one of the metadata.
#[tokio::test]
async fn every_answer_says_once_whose_it_is() {
    for path in ["", "/tenant"] {
        let house = House::of(builder().issuer_path(path).start().unwrap());
        let metadata = metadata(&house).await;
        assert_eq!(metadata["authorization_response_iss_parameter_supported"], true);
        let issuer = text(&metadata, "issuer");
        let good = house.authorize_url("web", "scope=mcp%3Aread");
        for decision in [Decision::Allow, Decision::Deny] {
            let left = house
                .browser()
                .sign_in_and(&good, "alice", PASSWORD, decision)
                .await
                .unwrap();
            assert_eq!(issuers(&left.url), [issuer], "{}", left.url);
        }
        for (change, error) in [
            (good.replace("mcp%3Aread", "no%3Asuch"), "invalid_scope"),
            (good.replace("rs1.test", "rs9.test"), "invalid_target"),
            (
                good.replace("response_type=code", "response_type=token"),
                "unsupported_response_type",
            ),
            (
                good.replace("code_challenge_method=S256", "code_challenge_method=plain"),
                "invalid_request",
            ),
            (format!("{good}&request=e30.e30."), "request_not_supported"),
        ] {
            let response = house.http.get(&change).send().await.unwrap();
            let Some(location) = response.headers().get("location") else {
                // What may not leave before somebody has acted is a page, and says nothing to any client.
                assert_eq!(response.status(), 400, "{error}");
                continue;
            };
            let location = location.to_str().unwrap();
            assert!(
                location.starts_with("https://client.example/cb?"),
                "{error}: {location}"
            );
            assert!(location.contains(&format!("error={error}")), "{location}");
            assert_eq!(issuers(location), [issuer], "{error}");
        }
        let Visit::Left(silent) = house
            .browser()
            .open(&format!("{good}&prompt=none"))
            .await
            .unwrap()
        else {
            panic!("asked for nothing, and shown a page");
        };
        assert_eq!(
            silent.parameter("error").unwrap().as_deref(),
            Some("login_required")
        );
        assert_eq!(issuers(&silent.url), [issuer]);
        // On the way of a device nobody is sent to a client, with or without an `iss`.
        let form = [("client_id", "tv"), ("scope", "mcp:read"), ("resource", R1)];
        let (status, codes) = house.post("/device_authorization", &form).await;
        assert_eq!(status, 200, "{codes}");
        let verification = text(&codes, "verification_uri_complete");
        assert!(
            verification.starts_with(&format!("{issuer}/ui/")),
            "{verification}"
        );
        assert!(matches!(
            house.browser().open(verification).await.unwrap(),
            Visit::Page(_)
        ));
    }
}

/// MX-01: also when the client is gone before the person says yes.
#[tokio::test]
async fn an_answer_without_a_code_is_no_answer_of_somebody_else() {
    let house = House::open();
    let browser = house.browser();
    let login = page(
        browser
            .open(&house.authorize_url("web", "scope=mcp%3Aread"))
            .await
            .unwrap(),
    );
    let form = login.form_with("step", "login").unwrap().clone();
    let fields = [("username", "alice"), ("password", PASSWORD)];
    let shown = page(browser.submit(&login, &form, &fields).await.unwrap());
    // The client is gone before the person decides.
    house.server.run_all(["client", "remove", "web"]).unwrap();
    let form = shown.form_with("step", "consent").unwrap().clone();
    match browser
        .submit(&shown, &form, &[("decision", "allow")])
        .await
        .unwrap()
    {
        Visit::Page(page) => assert!(page.status >= 400, "{}", page.text),
        Visit::Left(left) => {
            assert_eq!(left.parameter("code").unwrap(), None, "{}", left.url);
            assert_eq!(issuers(&left.url), [house.server.issuer()], "{}", left.url);
        }
    }
}

/// MX-06: one string in every place.
#[tokio::test]
async fn the_issuer_is_one_string_in_every_place() {
    for path in ["", "/tenant"] {
        let key = SigningKey::generate(Algorithm::Es256).unwrap();
        let bootstrap = format!("{BOOTSTRAP}{}", machine("robot", &key));
        let server = builder().issuer_path(path).bootstrap(bootstrap).start().unwrap();
        server
            .run([
                "resource",
                "set",
                "https://rs2.test/mcp",
                "--access-token-format",
                "jwt",
            ])
            .unwrap();
        let house = House::of(server);
        let metadata = metadata(&house).await;
        let issuer = house.server.issuer();
        assert_eq!(metadata["issuer"], issuer);
        for (name, value) in metadata.as_object().unwrap() {
            if name.ends_with("_endpoint") || name == "jwks_uri" {
                let value = value.as_str().unwrap();
                assert!(value.starts_with(&format!("{issuer}/")), "{name}: {value}");
            }
        }
        let code = house.code(&house.browser(), "web", Decision::Allow).await;
        let (_, tokens) = house.redeem("web", &code).await;
        let known = house.introspect(text(&tokens, "access_token")).await;
        assert_eq!(known["iss"], issuer);

        let enter = async |audience: &str, jti: &str, resource: &str| {
            let assertion = key.sign("JWT", &claims("robot", audience, jti)).unwrap();
            let form = [
                ("grant_type", "client_credentials"),
                ("resource", resource),
                (
                    "client_assertion_type",
                    "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
                ),
                ("client_assertion", &assertion),
            ];
            house.post("/token", &form).await
        };
        let (status, tokens) = enter(issuer, "1", "https://rs2.test/mcp").await;
        assert_eq!(status, 200, "{tokens}");
        let payload = text(&tokens, "access_token").split('.').nth(1).unwrap();
        let payload = base64::Engine::decode(&base64::prelude::BASE64_URL_SAFE_NO_PAD, payload).unwrap();
        let payload: Value = serde_json::from_slice(&payload).unwrap();
        assert_eq!(payload["iss"], issuer);
        assert_eq!(enter(&format!("{issuer}/x"), "2", R1).await.0, 401);
    }
}

/// What one client of one server holds.
struct Held {
    code: String,
    access_token: String,
    refresh_token: String,
    device_code: String,
}

async fn held(house: &House, browser: &Browser) -> Held {
    let spent = house.code(browser, "web", Decision::Allow).await;
    let (_, tokens) = house.redeem("web", &spent).await;
    let form = [("client_id", "tv"), ("scope", "mcp:read"), ("resource", R1)];
    let (_, codes) = house.post("/device_authorization", &form).await;
    Held {
        code: house.code(browser, "web", Decision::Allow).await,
        access_token: text(&tokens, "access_token").to_owned(),
        refresh_token: text(&tokens, "refresh_token").to_owned(),
        device_code: text(&codes, "device_code").to_owned(),
    }
}

async fn poll(house: &House, device_code: &str) -> (u16, Value) {
    let form = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:device_code"),
        ("device_code", device_code),
        ("client_id", "tv"),
    ];
    house.post("/token", &form).await
}

/// MX-04: two servers with the same people, clients and resources know nothing of each other, and neither burns what is the
/// other's.
#[tokio::test]
async fn what_one_server_gave_is_nothing_to_another() {
    let (ours, theirs) = (House::open(), House::open());
    let browser = ours.browser();
    let held = held(&ours, &browser).await;

    let (status, said) = theirs.redeem("web", &held.code).await;
    assert_eq!((status, text(&said, "error")), (400, "invalid_grant"));
    let (status, said) = theirs.refresh("web", &held.refresh_token).await;
    assert_eq!((status, text(&said, "error")), (400, "invalid_grant"));
    let (status, said) = poll(&theirs, &held.device_code).await;
    assert_eq!((status, text(&said, "error")), (400, "invalid_grant"));
    assert_eq!(
        theirs.introspect(&held.access_token).await,
        json!({ "active": false })
    );
    for token in [&held.access_token, &held.refresh_token] {
        let form = [("client_id", "web"), ("token", token.as_str())];
        assert_eq!(theirs.post("/revoke", &form).await.0, 200);
    }
    // A client that one of them registered is nobody to the other, and so is what it may manage itself with.
    let body = json!({"redirect_uris": ["https://client.example/cb"], "token_endpoint_auth_method": "none"});
    let (_, registered) = answer(ours.http.post(ours.server.url("/register")).json(&body)).await;
    let url = theirs.authorize_url(text(&registered, "client_id"), "scope=mcp%3Aread");
    let response = theirs.http.get(url).send().await.unwrap();
    assert_eq!(response.status(), 400);
    assert!(response.headers().get("location").is_none());
    if let Some(token) = registered["registration_access_token"].as_str() {
        let place = text(&registered, "registration_client_uri")
            .replace(ours.server.issuer(), theirs.server.issuer());
        let (status, _) = answer(theirs.http.get(place).bearer_auth(token)).await;
        assert!([401, 404].contains(&status), "{status}");
    }
    // Nor is the person signed in there. (Cookies know no ports, so a browser does send the one of the neighbour.)
    let session = browser.cookie("authflow_session").unwrap();
    let response = theirs
        .http
        .get(theirs.server.url("/ui/"))
        .header("cookie", format!("authflow_session={session}"))
        .send()
        .await
        .unwrap();
    let said = response.text().await.unwrap();
    assert!(!said.contains("Alice"), "{said}");

    // All of it still is what it was, where it came from.
    assert_eq!(ours.introspect(&held.access_token).await["active"], true);
    assert_eq!(ours.redeem("web", &held.code).await.0, 200);
    assert_eq!(ours.refresh("web", &held.refresh_token).await.0, 200);
    let (_, said) = poll(&ours, &held.device_code).await;
    assert_eq!(said["error"], "authorization_pending");
}

/// JA-34: an assertion for one server is refused by the other, and its identifier is used up by nobody else's look at it.
#[tokio::test]
async fn an_assertion_for_one_server_is_none_for_another() {
    let key = SigningKey::generate(Algorithm::Es256).unwrap();
    let open = || {
        let bootstrap = format!("{BOOTSTRAP}{}", machine("robot", &key));
        House::of(builder().bootstrap(bootstrap).start().unwrap())
    };
    let (ours, theirs) = (open(), open());
    let enter = async |house: &House, assertion: &str| {
        let form = [
            ("grant_type", "client_credentials"),
            ("resource", R1),
            (
                "client_assertion_type",
                "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            ),
            ("client_assertion", assertion),
        ];
        house.post("/token", &form).await
    };
    let sign = |house: &House| {
        key.sign("JWT", &claims("robot", house.server.issuer(), "1"))
            .unwrap()
    };
    let (for_ours, for_theirs) = (sign(&ours), sign(&theirs));
    for (house, foreign) in [(&theirs, &for_ours), (&ours, &for_theirs)] {
        let (status, said) = enter(house, foreign).await;
        assert_eq!((status, text(&said, "error")), (401, "invalid_client"));
    }
    // The same identifier at both: each server has a memory of its own.
    for (house, own) in [(&ours, &for_ours), (&theirs, &for_theirs)] {
        assert_eq!(enter(house, own).await.0, 200);
        assert_eq!(enter(house, own).await.0, 401);
    }
}
