//! An issuer with a path, through the binary from end to end: nothing of it lies beside its path but what RFC 8414 §3 and RFC
//! 9728 §3 put before it.

use mcp_authflow_testkit::browser::{Decision, Visit};
use serde_json::{Value, json};

use crate::house::{House, PASSWORD, RS_SECRET, VERIFIER, answer, builder, page, text};

fn tenant() -> House {
    House::of(builder().issuer_path("/tenant").start().unwrap())
}

async fn metadata(house: &House) -> Value {
    let url = format!(
        "{}/.well-known/oauth-authorization-server/tenant",
        house.server.origin()
    );
    let (status, metadata) = answer(house.http.get(url)).await;
    assert_eq!(status, 200);
    metadata
}

/// M-003, M-045, M-093; RFC 8414 §3.1
#[tokio::test]
async fn every_endpoint_lies_beneath_the_path_and_works_there() {
    let house = tenant();
    let metadata = metadata(&house).await;
    let issuer = house.server.issuer();
    assert_eq!(issuer, format!("{}/tenant", house.server.origin()));
    assert_eq!(metadata["issuer"], issuer);
    for (name, value) in metadata.as_object().unwrap() {
        if name.ends_with("_endpoint") || name == "jwks_uri" {
            let beneath = value.as_str().unwrap().strip_prefix(issuer);
            assert!(
                beneath.is_some_and(|rest| rest.starts_with('/')),
                "{name}: {value}"
            );
        }
    }

    // A client of its own, from registration to revocation, by what the documents say.
    let registration = json!({
        "redirect_uris": ["https://client.example/cb"],
        "token_endpoint_auth_method": "none",
    });
    let register = house.http.post(text(&metadata, "registration_endpoint"));
    let (status, client) = answer(
        register
            .header("content-type", "application/json")
            .body(registration.to_string()),
    )
    .await;
    assert_eq!(status, 201, "{client}");
    let id = text(&client, "client_id");

    let url = house.authorize_url(id, "scope=mcp%3Aread");
    assert!(url.starts_with(text(&metadata, "authorization_endpoint")));
    let redirect = house
        .browser()
        .sign_in_and(&url, "alice", PASSWORD, Decision::Allow)
        .await
        .unwrap();
    assert_eq!(redirect.parameter("iss").unwrap().as_deref(), Some(issuer));
    let code = redirect.parameter("code").unwrap().unwrap();
    let form = [
        ("grant_type", "authorization_code"),
        ("code", code.as_str()),
        ("client_id", id),
        ("code_verifier", VERIFIER),
        ("redirect_uri", "https://client.example/cb"),
    ];
    let (status, tokens) = answer(house.http.post(text(&metadata, "token_endpoint")).form(&form)).await;
    assert_eq!(status, 200, "{tokens}");
    let token = text(&tokens, "access_token");
    let ask = || house.http.post(text(&metadata, "introspection_endpoint"));
    let heard = async || {
        let question = ask().form(&[("token", token)]).basic_auth("rs1", Some(RS_SECRET));
        answer(question).await.1
    };
    let active = heard().await;
    assert_eq!(
        (&active["active"], &active["iss"]),
        (&json!(true), &json!(issuer))
    );
    let revoke = house.http.post(text(&metadata, "revocation_endpoint"));
    let (status, _) = answer(revoke.form(&[("token", token), ("client_id", id)])).await;
    assert_eq!(status, 200);
    assert_eq!(heard().await["active"], false);
    let (status, keys) = answer(house.http.get(text(&metadata, "jwks_uri"))).await;
    assert_eq!((status, keys["keys"].is_array()), (200, true));

    // RFC 7592: read and removed at its own address.
    let uri = text(&client, "registration_client_uri");
    assert_eq!(uri, format!("{issuer}/register/{id}"));
    let bearer = text(&client, "registration_access_token");
    let (status, read) = answer(house.http.get(uri).bearer_auth(bearer)).await;
    assert_eq!((status, &read["client_id"]), (200, &client["client_id"]));
    assert_eq!(answer(house.http.delete(uri).bearer_auth(bearer)).await.0, 204);
    assert_eq!(answer(house.http.get(uri).bearer_auth(bearer)).await.0, 401);
}

/// M-003, MX-01: what a person sees lies there as well, and so does where a device sends a person.
#[tokio::test]
async fn every_page_lies_beneath_the_path() {
    let house = tenant();
    let browser = house.browser();
    let login = page(
        browser
            .open(&house.authorize_url("web", "scope=mcp%3Aread"))
            .await
            .unwrap(),
    );
    let issuer = house.server.issuer();
    let beneath = |url: &str| url.starts_with(&format!("{issuer}/ui/"));
    assert!(beneath(login.url.as_str()), "{}", login.url);
    let form = login.form_with("step", "login").unwrap().clone();
    let fields = [("username", "alice"), ("password", PASSWORD)];
    let consent = page(browser.submit(&login, &form, &fields).await.unwrap());
    assert!(beneath(consent.url.as_str()), "{}", consent.url);
    let form = consent.form_with("step", "consent").unwrap().clone();
    let decided = browser
        .submit(&consent, &form, &[("decision", "deny")])
        .await
        .unwrap();
    let Visit::Left(redirect) = decided else {
        panic!("it leaves")
    };
    assert_eq!(
        redirect.parameter("error").unwrap().as_deref(),
        Some("access_denied")
    );
    assert_eq!(redirect.parameter("iss").unwrap().as_deref(), Some(issuer));

    let home = page(browser.open(&house.server.url("/ui/")).await.unwrap());
    assert!(beneath(home.url.as_str()), "{}", home.url);
    let request = [
        ("client_id", "tv"),
        ("scope", "mcp:read"),
        ("resource", "https://rs1.test/mcp"),
    ];
    let (status, begun) = house.post("/device_authorization", &request).await;
    assert_eq!(status, 200, "{begun}");
    assert_eq!(begun["verification_uri"], format!("{issuer}/ui/device"));
}

/// At the root there is nothing that another tenant could mistake for its own.
#[tokio::test]
async fn nothing_of_it_answers_at_the_root() {
    let house = tenant();
    for path in [
        "/authorize",
        "/token",
        "/register",
        "/revoke",
        "/introspect",
        "/jwks",
        "/ui/",
    ] {
        let url = format!("{}{path}", house.server.origin());
        for method in [reqwest::Method::GET, reqwest::Method::POST] {
            let response = house.http.request(method.clone(), &url).send().await.unwrap();
            assert_eq!(response.status(), 404, "{method} {path}");
        }
    }
    let (status, _) = answer(house.http.get(format!(
        "{}/.well-known/oauth-authorization-server",
        house.server.origin()
    )))
    .await;
    assert_eq!(status, 404);
}
