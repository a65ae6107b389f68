//! Access tokens that are JWTs (RFC 9068): what they say, who can prove it, and that this server knows them like any other.

use std::collections::HashSet;

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use mcp_authflow::{
    port::store::ResourceStore as _,
    record::{AccessTokenFormat, SigningAlgorithm},
};
use mcp_authflow_jose::{JwsRules, KeySet, UnverifiedJws};
use mcp_authflow_testkit::{
    cast::{self, R1, R2},
    failing_store::Fault,
    params::Params,
};
use mcp_authflow_types::{ErrorCode, ErrorResponse, TokenResponse, introspection::IntrospectionResponse};
use serde_json::{Value, json};

use crate::scene::{BEGINS_AT, ISSUER, Scene, refresh_token, refused};

const ES256: AccessTokenFormat = AccessTokenFormat::Jwt(SigningAlgorithm::Es256);

impl Scene {
    /// A scene in which the first resource gets access tokens of this format.
    pub(crate) async fn with_format(format: AccessTokenFormat) -> Self {
        let scene = Self::new().await;
        scene.set_format(R1, format).await;
        scene
    }

    pub(crate) async fn set_format(&self, resource: &str, format: AccessTokenFormat) {
        let resource = cast::resource(resource);
        assert!(
            self.store
                .set_access_token_format(&resource, format)
                .await
                .unwrap()
        );
    }

    pub(crate) async fn key_set(&self) -> KeySet {
        KeySet::parse(self.server.jwks().await.unwrap().body.as_bytes()).unwrap()
    }
}

/// What a token says, proven by a key of the set.
fn proven(token: &str, keys: &KeySet) -> Value {
    let rules = JwsRules {
        types: Some(&["at+jwt"]),
        requires_type: true,
        ..JwsRules::default()
    };
    let jws = UnverifiedJws::parse(token, &rules).unwrap();
    assert!(jws.verify(keys).is_ok(), "no key proves it");
    part(token, 1)
}

/// What a token says, unproven.
pub(crate) fn said(tokens: &TokenResponse) -> Value {
    part(tokens.access_token.expose(), 1)
}

fn part(token: &str, place: usize) -> Value {
    let part = token.split('.').nth(place).unwrap();
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

/// RFC 9068 §2.1, §2.2
#[tokio::test]
async fn every_grant_gives_a_token_that_says_what_it_is_good_for() {
    for algorithm in SigningAlgorithm::ALL {
        let scene = Scene::with_format(AccessTokenFormat::Jwt(*algorithm)).await;
        let by_code = scene.tokens_for("PUB").await;
        let by_refresh = scene.refresh("PUB", &by_code).await.unwrap();
        let device = scene.device("DEV1").await;
        scene.approve_device(&device).await.unwrap();
        let by_device = scene.poll("DEV1", &device).await.unwrap();
        let by_itself = scene.token("SVC", &Params::client_credentials()).await.unwrap();
        let keys = scene.key_set().await;
        let mut names = HashSet::new();
        for (tokens, client, subject, scope) in [
            (&by_code, "PUB", "u_alice", "mcp:read"),
            (&by_refresh, "PUB", "u_alice", "mcp:read"),
            (&by_device, "DEV1", "u_alice", "mcp:read"),
            (&by_itself, "SVC", "SVC", "svc:sync"),
        ] {
            let token = tokens.access_token.expose();
            let mut claims = proven(token, &keys);
            let name = claims["jti"].take();
            assert_eq!(
                claims,
                json!({
                    "iss": ISSUER,
                    "sub": subject,
                    "aud": R1,
                    "client_id": client,
                    "iat": BEGINS_AT.seconds(),
                    "exp": BEGINS_AT.seconds() + 600,
                    "jti": null,
                    "scope": scope,
                })
            );
            assert_eq!(tokens.expires_in, 600);
            let header = part(token, 0);
            assert_eq!(
                (&header["alg"], &header["typ"]),
                (&json!(algorithm.as_str()), &json!("at+jwt"))
            );
            assert_eq!(header.as_object().unwrap().len(), 3, "alg, kid, typ: {header}");
            let name = name.as_str().unwrap().to_owned();
            let by_name = scene.introspect("RS1", &name).await.unwrap();
            assert_eq!(by_name, IntrospectionResponse::Inactive, "its name opens nothing");
            assert!(names.insert(name), "every token has a name of its own");
        }
    }
}

/// RFC 9068 §3; RFC 8707 §2.2: `offline_access` is no scope of a resource.
#[tokio::test]
async fn a_token_says_no_more_than_its_resource_may_know() {
    let scene = Scene::with_format(ES256).await;
    let request = Params::authorize("PUB").set("scope", "mcp:read offline_access");
    let code = scene.code(&request, Scene::alice()).await;
    let tokens = scene.token("PUB", &Params::redeem("PUB", &code)).await.unwrap();
    let claims = proven(tokens.access_token.expose(), &scene.key_set().await);
    assert_eq!(claims["scope"], "mcp:read");
    assert_eq!(claims.get("username"), None);
    assert_eq!(claims["aud"], json!(R1), "one audience, and a text");
}

#[tokio::test]
async fn the_other_resources_tokens_stay_opaque() {
    let scene = Scene::with_format(ES256).await;
    let request = Params::authorize("PUB").and("resource", R2);
    let code = scene.code(&request, Scene::alice()).await;
    let first = scene.token("PUB", &Params::redeem("PUB", &code)).await.unwrap();
    assert!(first.access_token.expose().starts_with("eyJ"));
    let refresh = Params::refresh("PUB", refresh_token(&first));
    let second = scene.token("PUB", &refresh.set("resource", R2)).await.unwrap();
    assert!(second.access_token.expose().starts_with("mcpat_"));
    // What was changed counts from the next token on.
    scene.set_format(R1, AccessTokenFormat::Opaque).await;
    scene.set_format(R2, ES256).await;
    let third = scene.refresh("PUB", &second).await.unwrap();
    assert!(third.access_token.expose().starts_with("mcpat_"));
    let refresh = Params::refresh("PUB", refresh_token(&third));
    let fourth = scene.token("PUB", &refresh.set("resource", R2)).await.unwrap();
    let claims = proven(fourth.access_token.expose(), &scene.key_set().await);
    assert_eq!(claims["aud"], R2);
    assert!(scene.opens_r1(&first).await, "tokens that were issued stay good");
}

/// IN-03, IN-11: a JWT and an opaque token are told about in the same words.
#[tokio::test]
async fn a_resource_server_that_asks_is_told_the_same_of_a_jwt() {
    let (jwt, opaque) = (Scene::with_format(ES256).await, Scene::new().await);
    let mut answers = Vec::new();
    for scene in [&jwt, &opaque] {
        let tokens = scene.tokens_for("PUB").await;
        let token = tokens.access_token.expose();
        answers.push(scene.introspect("RS1", token).await.unwrap().body());
        let elsewhere = scene.introspect("RS2", token).await.unwrap();
        assert_eq!(elsewhere, IntrospectionResponse::Inactive);
        scene.wait(600);
        assert!(!scene.opens_r1(&tokens).await, "it has expired");
    }
    assert_eq!(answers[0], answers[1]);
}

/// JT-08: whatever is changed in a token, nobody issued that.
#[tokio::test]
async fn a_jwt_that_was_tampered_with_is_inactive_and_proven_by_no_key() {
    let scene = Scene::with_format(ES256).await;
    let tokens = scene.tokens_for("PUB").await;
    let other = scene.tokens_for("WEB").await;
    let token = tokens.access_token.expose();
    let parts: Vec<&str> = token.split('.').collect();
    let encode = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let mut claims = part(token, 1);
    claims["scope"] = "admin".into();
    let mut later = part(token, 1);
    later["exp"] = (BEGINS_AT.seconds() + 86_400).into();
    let mut none = part(token, 0);
    none["alg"] = "none".into();
    let forged = [
        format!("{}.{}.{}", parts[0], encode(&claims), parts[2]),
        format!("{}.{}.{}", parts[0], encode(&later), parts[2]),
        format!("{}.{}.", encode(&none), parts[1]),
        format!("{}.{}.{}", encode(&none), parts[1], parts[2]),
        format!(
            "{}.{}.{}",
            parts[0],
            parts[1],
            other.access_token.expose().split('.').nth(2).unwrap()
        ),
        format!(
            "{}.{}.{}",
            parts[0],
            parts[1],
            BASE64_URL_SAFE_NO_PAD.encode([0; 64])
        ),
        format!("{token}="),
        format!("{token}.{}", parts[2]),
        token[..token.len() - 2].to_owned(),
    ];
    let keys = scene.key_set().await;
    for forged in &forged {
        let answer = scene.introspect("RS1", forged).await.unwrap();
        assert_eq!(answer, IntrospectionResponse::Inactive, "{forged}");
        let rules = JwsRules {
            types: Some(&["at+jwt"]),
            ..JwsRules::default()
        };
        let is_proven = UnverifiedJws::parse(forged, &rules).is_ok_and(|jws| jws.verify(&keys).is_ok());
        assert!(!is_proven, "{forged}");
    }
    assert!(scene.opens_r1(&tokens).await);
}

/// P2: where the server is asked, a good signature alone opens nothing: it knows what it issued.
#[tokio::test]
async fn what_the_key_signed_but_nobody_issued_is_inactive() {
    let scene = Scene::with_format(ES256).await;
    let tokens = scene.tokens_for("PUB").await;
    let mut claims = part(tokens.access_token.expose(), 1);
    claims["jti"] = "another".into();
    let signed = scene.server.sign("at+jwt", &claims).await.unwrap();
    proven(&signed, &scene.key_set().await);
    let answer = scene.introspect("RS1", &signed).await.unwrap();
    assert_eq!(answer, IntrospectionResponse::Inactive);
}

/// RFC 7009; P2
#[tokio::test]
async fn a_revoked_jwt_is_inactive_at_once() {
    let scene = Scene::with_format(ES256).await;
    let tokens = scene.tokens_for("PUB").await;
    refused(
        scene.revoke("WEB", tokens.access_token.expose()).await,
        ErrorCode::InvalidClient,
    );
    assert!(scene.opens_r1(&tokens).await);
    scene.revoke("PUB", tokens.access_token.expose()).await.unwrap();
    assert!(!scene.opens_r1(&tokens).await);
    let again = scene.refresh("PUB", &tokens).await.unwrap();
    assert!(scene.opens_r1(&again).await, "the grant stands");
    scene.revoke("PUB", refresh_token(&again)).await.unwrap();
    assert!(!scene.opens_r1(&again).await, "the whole grant ended");
}

/// RT-02: a lost answer comes again, byte for byte.
#[tokio::test]
async fn within_the_retry_window_the_same_jwt_comes_again() {
    let scene = Scene::with_format(ES256).await;
    let old = scene.tokens_for("PUB").await;
    let answer = scene.refresh("PUB", &old).await.unwrap();
    scene.wait(20);
    let again = scene.refresh("PUB", &old).await.unwrap();
    assert_eq!(again.access_token.expose(), answer.access_token.expose());
    assert_eq!(refresh_token(&again), refresh_token(&answer));
    assert_eq!(again.expires_in, 580);
    assert!(scene.opens_r1(&again).await);
}

/// RFC 8725 §2.8: an access token is nothing but an access token.
#[tokio::test]
async fn a_jwt_is_good_for_nothing_else() {
    let scene = Scene::with_format(ES256).await;
    let tokens = scene.tokens_for("PUB").await;
    let token = tokens.access_token.expose();
    refused(
        scene.token("PUB", &Params::refresh("PUB", token)).await,
        ErrorCode::InvalidGrant,
    );
    refused(
        scene.token("PUB", &Params::redeem("PUB", token)).await,
        ErrorCode::InvalidGrant,
    );
    let machine = scene.token("SVC", &Params::client_credentials()).await.unwrap();
    let as_assertion = Params::client_credentials()
        .and("client_id", "SVC")
        .and(
            "client_assertion_type",
            "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        )
        .and("client_assertion", machine.access_token.expose());
    refused(
        scene.token_with(None, &as_assertion).await,
        ErrorCode::InvalidClient,
    );
    assert!(scene.opens_r1(&tokens).await);
}

/// P9: without the keys nothing is signed, and nothing is spent by it.
#[tokio::test]
async fn without_a_recent_look_at_the_keys_nothing_is_signed() {
    for (fault, expected) in [
        (Fault::Refuses, ErrorResponse::unavailable()),
        (Fault::IsBroken, ErrorResponse::unavailable()),
        (Fault::Hangs, ErrorResponse::timed_out()),
    ] {
        let scene = Scene::with_format(ES256).await;
        let redeem = Params::redeem("PUB", &scene.code_for("PUB").await);
        scene.store.fail("list_signing_keys", fault);
        assert_eq!(scene.token("PUB", &redeem).await.unwrap_err(), expected);
        assert_eq!(scene.server.jwks().await.unwrap_err(), expected);
        scene.store.heal();
        let tokens = scene.token("PUB", &redeem).await.unwrap();
        assert!(scene.opens_r1(&tokens).await);

        // What was seen a moment ago is good for half a minute, and not a second longer.
        scene.store.fail("list_signing_keys", fault);
        scene.wait(29);
        let tokens = scene.refresh("PUB", &tokens).await.unwrap();
        scene.wait(1);
        assert_eq!(scene.refresh("PUB", &tokens).await.unwrap_err(), expected);
        assert_eq!(scene.server.jwks().await.unwrap_err(), expected);
        scene.store.heal();
        scene.refresh("PUB", &tokens).await.unwrap();
    }
}

#[tokio::test]
async fn opaque_tokens_need_no_keys() {
    let scene = Scene::new().await;
    for verb in ["list_signing_keys", "add_signing_key"] {
        scene.store.fail(verb, Fault::Refuses);
    }
    let tokens = scene.tokens_for("PUB").await;
    let tokens = scene.refresh("PUB", &tokens).await.unwrap();
    assert!(scene.opens_r1(&tokens).await);
    scene.token("SVC", &Params::client_credentials()).await.unwrap();
}

/// What no server takes in a header is not issued: the client is told to ask for less.
#[tokio::test]
async fn a_token_too_long_for_a_header_is_not_issued() {
    let scene = Scene::new().await;
    let long: Vec<String> = (0..64)
        .map(|number| format!("{number:02}{}", "x".repeat(98)))
        .collect();
    let scopes: Vec<&str> = long.iter().map(String::as_str).collect();
    let uri = "https://wordy.test/mcp";
    cast::add_resource(&*scene.store, uri, &scopes, "WORDY").await;
    scene.set_format(uri, ES256).await;
    cast::add_client(&*scene.store, &cast::machine("BIG", &long.join(" "))).await;
    let header = mcp_authflow_testkit::params::basic("BIG");
    let ask = async |count: usize| -> Result<TokenResponse, ErrorResponse> {
        let request = Params::client_credentials()
            .set("resource", uri)
            .set("scope", &long[..count].join(" "));
        scene.token_with(Some(&header), &request).await
    };
    let error = ask(64).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::InvalidScope);
    assert!(error.body().contains("ask for less scope"), "{}", error.body());
    let tokens = ask(30).await.unwrap();
    assert!(tokens.access_token.expose().len() > 4_000);
}
