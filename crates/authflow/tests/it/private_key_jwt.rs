//! Client authentication by signed assertion (RFC 7523), at every endpoint that clients authenticate at.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use mcp_authflow::{
    AuthorizationServer, Ports,
    client_auth::private_key_jwt::JWT_CLIENT_ASSERTION_TYPE,
    port::{Clock as _, DocumentKind, Fetch, FetchError, Fetched, Freshness},
    record::ClientKeys,
};
use mcp_authflow_jose::{Algorithm, SigningKey};
use mcp_authflow_testkit::{
    cast::{add_client, client, machine, resource, secret_of},
    failing_store::Fault,
    params::{Params, basic},
};
use mcp_authflow_types::{
    ErrorCode, ErrorResponse, GrantType, TokenEndpointAuthMethod, TokenResponse,
    introspection::IntrospectionResponse,
};
use serde_json::{Value, json};

use crate::{
    log::Log,
    scene::{BEGINS_AT, ISSUER, Scene, refused},
};

/// A machine with a key, on stage.
struct Machine {
    scene: Scene,
    key: SigningKey,
}

fn key_set(keys: &[&SigningKey]) -> String {
    let keys: Vec<Value> = keys.iter().map(|key| key.public_jwk()).collect();
    json!({ "keys": keys }).to_string()
}

impl Machine {
    /// `PKJ`, with its key in its record.
    async fn new() -> Self {
        let key = SigningKey::generate(Algorithm::Es256).unwrap();
        let machine = Self {
            scene: Scene::new().await,
            key,
        };
        machine
            .add("PKJ", ClientKeys::Jwks(key_set(&[&machine.key])))
            .await;
        machine
    }

    async fn add(&self, id: &str, keys: ClientKeys) {
        let mut client = machine(id, "svc:sync");
        client.secret = None;
        client.profile.token_endpoint_auth_method = TokenEndpointAuthMethod::PrivateKeyJwt;
        client.profile.keys = Some(keys);
        add_client(&*self.scene.store, &client).await;
    }

    fn now(&self) -> i64 {
        self.scene.clock.now().seconds()
    }

    /// The claims of an honest assertion of a client.
    fn claims(&self, id: &str, jti: &str) -> Value {
        json!({
            "iss": id, "sub": id, "aud": ISSUER,
            "iat": self.now(), "exp": self.now() + 60, "jti": jti,
        })
    }

    fn assertion(&self, jti: &str) -> String {
        self.key.sign("JWT", &self.claims("PKJ", jti)).unwrap()
    }

    async fn enter(&self, assertion: &str) -> Result<TokenResponse, ErrorResponse> {
        self.scene
            .token_with(None, &with_assertion(Params::client_credentials(), assertion))
            .await
    }
}

fn with_assertion(request: Params, assertion: &str) -> Params {
    request
        .set("client_assertion_type", JWT_CLIENT_ASSERTION_TYPE)
        .set("client_assertion", assertion)
}

/// S-102, S-104: with and without `client_id`, which RFC 7521 §4.2 leaves to the client.
/// M-204
#[tokio::test]
async fn a_machine_with_a_key_gets_a_token() {
    let machine = Machine::new().await;
    let tokens = machine.enter(&machine.assertion("1")).await.unwrap();
    assert!(machine.scene.opens_r1(&tokens).await);
    let named = with_assertion(Params::client_credentials(), &machine.assertion("2")).set("client_id", "PKJ");
    machine.scene.token_with(None, &named).await.unwrap();
}

/// JA-08, S-132
#[tokio::test]
async fn an_assertion_is_good_once_at_whatever_endpoint() {
    let machine = Machine::new().await;
    let assertion = machine.assertion("1");
    machine.enter(&assertion).await.unwrap();
    refused(machine.enter(&assertion).await, ErrorCode::InvalidClient);
    let revoke = with_assertion(Params::of(&[("token", "x")]), &assertion);
    refused(
        machine.scene.revoke_with(None, &revoke).await,
        ErrorCode::InvalidClient,
    );
    // A new assertion under an old name is a replay, too.
    let mut claims = machine.claims("PKJ", "1");
    claims["exp"] = json!(machine.now() + 100);
    let renewed = machine.key.sign("JWT", &claims).unwrap();
    refused(machine.enter(&renewed).await, ErrorCode::InvalidClient);
    machine.enter(&machine.assertion("2")).await.unwrap();
}

/// RFC 7009 §2.1, RFC 7662 §2.1
#[tokio::test]
async fn revocation_and_introspection_take_assertions() {
    let machine = Machine::new().await;
    let mut introspector = client("RSK", &[]);
    introspector.profile.grant_types.clear();
    introspector.profile.introspects = Some(resource(mcp_authflow_testkit::cast::R1));
    introspector.profile.token_endpoint_auth_method = TokenEndpointAuthMethod::PrivateKeyJwt;
    introspector.profile.keys = Some(ClientKeys::Jwks(key_set(&[&machine.key])));
    add_client(&*machine.scene.store, &introspector).await;

    let tokens = machine.enter(&machine.assertion("1")).await.unwrap();
    let token = tokens.access_token.expose();
    let ask = |jti: &str| {
        let assertion = machine.key.sign("JWT", &machine.claims("RSK", jti)).unwrap();
        with_assertion(Params::of(&[("token", token)]), &assertion)
    };
    let answer = machine.scene.introspect_with(None, &ask("1")).await.unwrap();
    assert_ne!(answer, IntrospectionResponse::Inactive);
    refused(
        machine.scene.introspect_with(None, &ask("1")).await,
        ErrorCode::InvalidClient,
    );

    let revoke = with_assertion(Params::of(&[("token", token)]), &machine.assertion("2"));
    machine.scene.revoke_with(None, &revoke).await.unwrap();
    let answer = machine.scene.introspect_with(None, &ask("2")).await.unwrap();
    assert_eq!(answer, IntrospectionResponse::Inactive);
}

/// A client that acts for people redeems codes and refreshes like any other.
#[tokio::test]
async fn a_client_with_a_key_redeems_a_code_and_refreshes() {
    let machine = Machine::new().await;
    let mut web = client("WEBKEY", &["https://client.example/cb"]);
    web.profile.token_endpoint_auth_method = TokenEndpointAuthMethod::PrivateKeyJwt;
    web.profile.keys = Some(ClientKeys::Jwks(key_set(&[&machine.key])));
    add_client(&*machine.scene.store, &web).await;
    let sign = |jti: &str| machine.key.sign("JWT", &machine.claims("WEBKEY", jti)).unwrap();

    let code = machine.scene.code_for("WEBKEY").await;
    let bare = Params::redeem("WEBKEY", &code);
    refused(
        machine.scene.token_with(None, &bare).await,
        ErrorCode::InvalidClient,
    );
    let tokens = machine
        .scene
        .token_with(None, &with_assertion(bare, &sign("1")))
        .await
        .unwrap();
    let refresh = Params::refresh("WEBKEY", crate::scene::refresh_token(&tokens));
    refused(
        machine.scene.token_with(None, &refresh).await,
        ErrorCode::InvalidClient,
    );
    machine
        .scene
        .token_with(None, &with_assertion(refresh, &sign("2")))
        .await
        .unwrap();
}

/// CA-01, CA-02, CA-06, RFC 7521 §4.2: one method, the registered one, of one client.
#[tokio::test]
#[expect(clippy::too_many_lines, reason = "one table of what is wrong")]
async fn nothing_stands_in_for_a_key_and_a_key_for_nothing() {
    use ErrorCode::{InvalidClient, InvalidRequest};
    let machine = Machine::new().await;
    machine
        .add("PKJ2", ClientKeys::Jwks(key_set(&[&machine.key])))
        .await;
    let request = Params::client_credentials;
    let of = |id: &str| machine.key.sign("JWT", &machine.claims(id, "1")).unwrap();
    let svc = basic("SVC");
    for (case, authorization, form, code) in [
        (
            "Basic and assertion",
            Some(&svc),
            with_assertion(request(), &of("PKJ")),
            InvalidRequest,
        ),
        (
            "Basic and a type",
            Some(&svc),
            with_assertion(request(), ""),
            InvalidRequest,
        ),
        (
            "secret and assertion",
            None,
            with_assertion(request(), &of("PKJ")).set("client_secret", &secret_of("SVC")),
            InvalidRequest,
        ),
        (
            "assertion twice",
            None,
            with_assertion(request(), &of("PKJ")).and("client_assertion", &of("PKJ")),
            InvalidRequest,
        ),
        (
            "another client_id",
            None,
            with_assertion(request(), &of("PKJ")).set("client_id", "PKJ2"),
            InvalidClient,
        ),
        (
            "a client with a secret",
            None,
            with_assertion(request(), &of("SVC")),
            InvalidClient,
        ),
        (
            "a public client",
            None,
            with_assertion(request(), &of("PUB")),
            InvalidClient,
        ),
        (
            "nobody",
            None,
            with_assertion(request(), &of("NOBODY")),
            InvalidClient,
        ),
        (
            "no assertion",
            None,
            request().set("client_id", "PKJ"),
            InvalidClient,
        ),
        (
            "an empty one",
            None,
            with_assertion(request(), "").set("client_id", "PKJ"),
            InvalidClient,
        ),
        (
            "an assertion without its type",
            None,
            request().set("client_assertion", &of("PKJ")),
            InvalidClient,
        ),
        (
            "another type",
            None,
            with_assertion(request(), &of("PKJ")).set(
                "client_assertion_type",
                "urn:ietf:params:oauth:client-assertion-type:saml2-bearer",
            ),
            InvalidClient,
        ),
        (
            "a secret of a client with a key",
            None,
            request()
                .set("client_id", "PKJ")
                .set("client_secret", &secret_of("PKJ")),
            InvalidClient,
        ),
    ] {
        let outcome = machine
            .scene
            .token_with(authorization.map(String::as_str), &form)
            .await;
        assert_eq!(outcome.unwrap_err().code, code, "{case}");
    }
    // None of them used the identifier up.
    machine.enter(&of("PKJ")).await.unwrap();
    machine.enter(&of("PKJ2")).await.unwrap();
}

/// S-105, S-132, JA-01 to JA-07, JA-15 to JA-22, JA-26, JA-27: whatever is wrong with an assertion, nothing is issued, and the
/// honest client's identifier is not used up.
#[tokio::test]
#[expect(clippy::too_many_lines, reason = "one table of what is wrong")]
async fn a_wrong_assertion_gives_nothing_and_uses_nothing_up() {
    let machine = Machine::new().await;
    let other = SigningKey::generate(Algorithm::Es256).unwrap();
    let rsa = SigningKey::generate(Algorithm::Rs256).unwrap();
    let right = machine.key.key_id();
    let signed = |key: &SigningKey, header: Value, changes: Value| {
        let mut whole = json!({"alg": key.algorithm().as_str(), "kid": right, "typ": "JWT"});
        for (name, value) in header.as_object().unwrap() {
            whole[name] = value.clone();
        }
        let mut claims = machine.claims("PKJ", "1");
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        key.sign_as(&whole, claims.to_string().as_bytes()).unwrap()
    };
    let (now, none) = (machine.now(), json!({}));
    let with_header = |header: Value| signed(&machine.key, header, none.clone());
    let with_claims = |changes: Value| signed(&machine.key, none.clone(), changes);
    let good = with_header(none.clone());
    let (head, signature) = good.rsplit_once('.').unwrap();
    let mut wrong = vec![
        signed(&other, none.clone(), none.clone()),
        signed(&rsa, none.clone(), none.clone()),
        signed(&other, json!({"jwk": other.public_jwk()}), none.clone()),
        signed(
            &other,
            json!({"jwk": other.public_jwk(), "kid": other.key_id()}),
            none.clone(),
        ),
        signed(
            &other,
            json!({"jku": "https://evil.example/jwks.json"}),
            none.clone(),
        ),
        signed(&other, json!({"x5u": "http://169.254.169.254/"}), none.clone()),
        format!("{good}="),
        format!("{good} "),
        format!("{good}.x"),
        format!("Bearer {good}"),
        format!("{head}."),
        head.to_owned(),
        format!("{head}.{}", "A".repeat(86)),
        format!("{head}.{}", &signature[..84]),
        format!("{head}.{signature}AA"),
    ];
    for alg in [
        json!("none"),
        json!("None"),
        json!("NONE"),
        json!(["ES256"]),
        json!(""),
        json!("RS256"),
        json!("ES384"),
        json!("EdDSA"),
        json!("HS256"),
        json!(null),
    ] {
        wrong.push(with_header(json!({ "alg": alg })));
    }
    for kid in [
        json!("../../../../dev/null"),
        json!("' UNION SELECT 'x"),
        json!({}),
        json!("a\u{0}b"),
        json!(5),
        json!(other.key_id()),
    ] {
        wrong.push(with_header(json!({ "kid": kid })));
    }
    for crit in [json!(["bork"]), json!(["alg"]), json!([1]), json!("exp")] {
        wrong.push(with_header(json!({"crit": crit, "bork": 1})));
    }
    wrong.push(with_header(json!({"typ": "at+jwt"})));
    for exp in [
        json!(null),
        json!(now - 301),
        json!(now + 315_360_000),
        json!(now + 601),
        json!(now),
        json!("1999999999"),
        json!(true),
        json!({}),
        json!(1_999_999_999.5),
        json!(1e20),
    ] {
        wrong.push(with_claims(json!({ "exp": exp })));
    }
    for (name, value) in [
        ("iat", json!(now + 61)),
        ("iat", json!(now - 3600)),
        ("iat", json!(null)),
        ("nbf", json!(now + 61)),
        ("nbf", json!("9999999999")),
        ("sub", json!(["PKJ"])),
        ("sub", json!({})),
        ("sub", json!(null)),
        ("sub", json!(true)),
        ("sub", json!("SVC")),
        ("iss", json!("SVC")),
        ("aud", json!("https://other-as.test")),
        ("aud", json!("https://AUTH.example")),
        ("aud", json!("https://auth.example/x")),
        ("aud", json!("https://auth.example/token")),
        ("aud", json!("https://auth.example/par")),
        ("aud", json!("")),
        ("aud", json!(5)),
        ("aud", json!([])),
        ("aud", json!([ISSUER, "https://evil.example"])),
        ("aud", json!(["https://evil.example", ISSUER])),
        ("aud", json!([ISSUER, ISSUER])),
        ("jti", json!("")),
        ("jti", json!(7)),
        ("jti", json!("x".repeat(256))),
    ] {
        wrong.push(with_claims(json!({ name: value })));
    }
    let text = machine
        .key
        .sign_as(&json!({"alg": "ES256"}), b"\"text\"")
        .unwrap();
    let twice = br#"{"iss":"evil","iss":"PKJ","sub":"PKJ","aud":"https://auth.example"}"#;
    wrong.push(text);
    wrong.push(machine.key.sign_as(&json!({"alg": "ES256"}), b"").unwrap());
    wrong.push(machine.key.sign_as(&json!({"alg": "ES256"}), twice).unwrap());
    let many = wrong.len();
    for assertion in wrong {
        for named in [true, false] {
            let mut form = with_assertion(Params::client_credentials(), &assertion);
            if named {
                form = form.set("client_id", "PKJ");
            }
            refused(
                machine.scene.token_with(None, &form).await,
                ErrorCode::InvalidClient,
            );
        }
    }
    // Each is on the audit trail, with nothing of the assertion.
    let records = machine.scene.audit.drain();
    assert_eq!(records.len(), 2 * many);
    for record in records {
        assert!(
            record
                .line
                .starts_with("client_authentication Refused: the assertion is refused"),
            "{}",
            record.line
        );
        assert!(!record.shown.contains("eyJ"), "{}", record.shown);
    }
    machine.enter(&good).await.unwrap();
}

/// JA-03, RFC 8725 §3.1: the algorithm is that of the registered key, whatever an assertion's header says, and whoever signed.
#[tokio::test]
async fn an_assertion_is_proven_by_the_algorithm_of_the_registered_key_alone() {
    for registered in [Algorithm::Es256, Algorithm::Rs256, Algorithm::EdDsa] {
        let mut machine = Machine::new().await;
        machine.key = SigningKey::generate(registered).unwrap();
        machine
            .add("PKX", ClientKeys::Jwks(key_set(&[&machine.key])))
            .await;
        let claims = machine.claims("PKX", "1").to_string();
        let key = &machine.key;
        let assertion = |signer: &SigningKey, alg: &str| {
            let header = json!({"alg": alg, "kid": key.key_id(), "typ": "JWT"});
            signer.sign_as(&header, claims.as_bytes()).unwrap()
        };
        for &other in Algorithm::ALL.iter().filter(|one| **one != registered) {
            // The very key, where it can sign by the other algorithm as well; else another one under its name.
            let signer = SigningKey::from_pkcs8(other, &key.to_pkcs8().unwrap())
                .or_else(|_| SigningKey::generate(other))
                .unwrap();
            for alg in [other.as_str(), registered.as_str()] {
                let entered = machine.enter(&assertion(&signer, alg)).await;
                assert_eq!(
                    entered.unwrap_err(),
                    ErrorResponse::new(ErrorCode::InvalidClient),
                    "{registered}: signed by {other}, said to be {alg}"
                );
            }
            refused(
                machine.enter(&assertion(key, other.as_str())).await,
                ErrorCode::InvalidClient,
            );
        }
        for alg in [
            "ES256K", "RS1", "RSA1_5", "RSA-OAEP", "HS256", "none", "Ed448", "dir",
        ] {
            refused(
                machine.enter(&assertion(key, alg)).await,
                ErrorCode::InvalidClient,
            );
        }
        machine.enter(&assertion(key, registered.as_str())).await.unwrap();
    }
}

/// No lock-out weapon: nobody guesses an assertion, so what others send says nothing of a client that was right from there.
#[tokio::test]
async fn an_honest_client_is_not_locked_out_by_what_others_send_in_its_name() {
    let mut machine = Machine::new().await;
    machine.scene = Scene::with(|settings| settings.limits.client_authentications_per_minute = 5).await;
    machine
        .add("PKJ", ClientKeys::Jwks(key_set(&[&machine.key])))
        .await;
    let stranger = SigningKey::generate(Algorithm::Es256).unwrap();
    machine.enter(&machine.assertion("1")).await.unwrap();
    for number in 0..20 {
        let claims = machine.claims("PKJ", &format!("forged {number}"));
        let forged = stranger.sign("JWT", &claims).unwrap();
        refused(machine.enter(&forged).await, ErrorCode::InvalidClient);
    }
    machine.enter(&machine.assertion("2")).await.unwrap();
}

/// Of a client that was not right from there, so many are looked at and no more.
#[tokio::test]
async fn assertions_from_where_none_was_right_are_counted() {
    let mut machine = Machine::new().await;
    machine.scene = Scene::with(|settings| settings.limits.client_authentications_per_minute = 5).await;
    machine
        .add("PKJ", ClientKeys::Jwks(key_set(&[&machine.key])))
        .await;
    let stranger = SigningKey::generate(Algorithm::Es256).unwrap();
    for number in 0..8 {
        let forged = stranger
            .sign("JWT", &machine.claims("PKJ", &number.to_string()))
            .unwrap();
        let code = if number < 5 {
            ErrorCode::InvalidClient
        } else {
            ErrorCode::TooManyRequests
        };
        assert_eq!(machine.enter(&forged).await.unwrap_err().code, code, "{number}");
    }
}

/// P6, S-134, S-136: no second in the life of an assertion lets it in twice.
#[tokio::test]
async fn an_assertion_is_a_replay_for_as_long_as_it_could_be_accepted() {
    for (issued, life) in [(0, 5), (0, 60), (0, 300), (30, 300), (-200, 230)] {
        let machine = Machine::new().await;
        let mut claims = machine.claims("PKJ", "1");
        claims["iat"] = json!(machine.now() + issued);
        claims["exp"] = json!(machine.now() + issued + life);
        let assertion = machine.key.sign("JWT", &claims).unwrap();
        machine.enter(&assertion).await.unwrap();
        for second in 0..400 {
            machine.scene.wait(1);
            refused(machine.enter(&assertion).await, ErrorCode::InvalidClient);
            if second % 50 == 0 {
                machine
                    .enter(&machine.assertion(&format!("other {second}")))
                    .await
                    .unwrap();
            }
        }
    }
}

/// JA-12, S-139, P9: what cannot be checked is neither accepted nor called wrong, and is not used up.
#[tokio::test]
async fn a_memory_that_cannot_be_asked_is_said() {
    for (fault, expected) in [
        (Fault::Refuses, ErrorResponse::unavailable()),
        (Fault::IsBroken, ErrorResponse::unavailable()),
        (Fault::Hangs, ErrorResponse::timed_out()),
    ] {
        let machine = Machine::new().await;
        let assertion = machine.assertion("1");
        machine.scene.store.fail("record_once", fault);
        for _ in 0..2 {
            assert_eq!(machine.enter(&assertion).await.unwrap_err(), expected);
        }
        machine.scene.store.heal();
        machine.enter(&assertion).await.unwrap();
        refused(machine.enter(&assertion).await, ErrorCode::InvalidClient);
    }
}

/// Documents at addresses of the client's, and a count of how often their origin was asked.
#[derive(Default)]
struct Documents {
    current: Mutex<Option<Result<Arc<[u8]>, FetchError>>>,
    cached: Mutex<Option<Arc<[u8]>>>,
    asked: AtomicUsize,
}

impl Documents {
    fn publish(&self, keys: &[&SigningKey]) {
        *self.current.lock().unwrap() = Some(Ok(Arc::from(key_set(keys).into_bytes())));
    }

    fn fail(&self, error: FetchError) {
        *self.current.lock().unwrap() = Some(Err(error));
    }
}

#[async_trait::async_trait]
impl Fetch for Documents {
    async fn fetch(
        &self,
        url: &str,
        kind: DocumentKind,
        freshness: Freshness,
    ) -> Result<Fetched, FetchError> {
        assert_eq!((url, kind), ("https://pkju.example/jwks", DocumentKind::KeySet));
        let mut cached = self.cached.lock().unwrap();
        if freshness == Freshness::Refresh || cached.is_none() {
            self.asked.fetch_add(1, Ordering::Relaxed);
            *cached = Some(self.current.lock().unwrap().clone().unwrap()?);
        }
        Ok(Fetched {
            body: cached.clone().unwrap(),
            fresh_for: None,
            age: Duration::ZERO,
            asked_ago: Duration::ZERO,
            stale: false,
        })
    }
}

/// `PKJU`, whose keys are at an address.
async fn with_documents() -> (Machine, Arc<Documents>) {
    let mut machine = Machine::new().await;
    let documents = Arc::new(Documents::default());
    let ports = Ports {
        fetch: documents.clone(),
        ..machine.scene.server.ports().clone()
    };
    machine.scene.server = AuthorizationServer::new(machine.scene.server.settings().clone(), ports);
    machine
        .add(
            "PKJU",
            ClientKeys::JwksUri("https://pkju.example/jwks".to_owned()),
        )
        .await;
    documents.publish(&[&machine.key]);
    (machine, documents)
}

/// S-122, JA-29, JA-30: keys change at their address, and only a key that is not there makes us look again.
#[tokio::test]
async fn keys_at_an_address_may_change() {
    let (machine, documents) = with_documents().await;
    let new = SigningKey::generate(Algorithm::EdDsa).unwrap();
    let enter = async |key: &SigningKey, jti: &str| {
        machine
            .enter(&key.sign("JWT", &machine.claims("PKJU", jti)).unwrap())
            .await
    };
    let asked = || documents.asked.load(Ordering::Relaxed);
    for jti in ["1", "2", "3"] {
        enter(&machine.key, jti).await.unwrap();
    }
    assert_eq!(asked(), 1);
    documents.publish(&[&new]);
    enter(&new, "4").await.unwrap();
    assert_eq!(asked(), 2);
    refused(enter(&machine.key, "5").await, ErrorCode::InvalidClient);
    // Junk, and other people's assertions, ask nobody.
    let before = asked();
    for assertion in ["x".to_owned(), machine.assertion("1").replace('.', "")] {
        machine.enter(&assertion).await.unwrap_err();
    }
    assert_eq!(asked(), before);
}

/// S-108: an origin that is away is not the client's fault; an address that is never asked is.
#[tokio::test]
async fn keys_that_cannot_be_fetched_are_said() {
    for (error, expected) in [
        (
            FetchError::Unavailable("down".to_owned()),
            ErrorResponse::unavailable(),
        ),
        (
            FetchError::TimedOut("slow".to_owned()),
            ErrorResponse::timed_out(),
        ),
        (
            FetchError::Refused("private".to_owned()),
            ErrorCode::InvalidClient.into(),
        ),
        (
            FetchError::BadDocument("404".to_owned()),
            ErrorCode::InvalidClient.into(),
        ),
    ] {
        let (machine, documents) = with_documents().await;
        documents.fail(error);
        let assertion = machine.key.sign("JWT", &machine.claims("PKJU", "1")).unwrap();
        assert_eq!(machine.enter(&assertion).await.unwrap_err(), expected);
        documents.publish(&[&machine.key]);
        machine.enter(&assertion).await.unwrap();
    }
}

/// A client whose host is away is no fault of ours, however often it asks: a warning, with who it is and no more words
/// of its own than are quoted.
#[tokio::test]
async fn a_dead_address_of_keys_wakes_nobody() {
    let log = Log::listen();
    let (machine, documents) = with_documents().await;
    documents.fail(FetchError::Unavailable("down\nERROR forged".to_owned()));
    let assertion = machine.key.sign("JWT", &machine.claims("PKJU", "1")).unwrap();
    assert_eq!(
        machine.enter(&assertion).await.unwrap_err(),
        ErrorResponse::unavailable()
    );
    let text = log.text();
    let lines = log.lines_with("a client's keys cannot be had");
    assert!(
        lines.len() == 1
            && lines[0].contains(" WARN ")
            && lines[0].contains(r#"client_id="PKJU""#)
            && lines[0].contains(r"down\nERROR forged"),
        "{text}"
    );
    assert!(!text.contains("the store cannot be asked"), "{text}");
    assert!(!text.lines().any(|line| line.contains(" ERROR ")), "{text}");
    // A memory that is away is ours, and an error.
    documents.publish(&[&machine.key]);
    machine.scene.store.fail("record_once", Fault::Refuses);
    machine.enter(&assertion).await.unwrap_err();
    assert!(log.lines_with("the store cannot be asked")[0].contains("ERROR"));
}

/// S-113
/// M-004
#[tokio::test]
async fn the_operator_narrows_the_algorithms_and_metadata_say_so() {
    let mut machine = Machine::new().await;
    machine.enter(&machine.assertion("1")).await.unwrap();
    let mut settings = machine.scene.server.settings().clone();
    settings.client_assertions.rules.algorithms = vec![Algorithm::EdDsa, Algorithm::Ps256];
    let ports = machine.scene.server.ports().clone();
    machine.scene.server = AuthorizationServer::new(settings, ports);
    refused(
        machine.enter(&machine.assertion("2")).await,
        ErrorCode::InvalidClient,
    );

    let metadata: Value =
        serde_json::from_str(&machine.scene.server.metadata().await.unwrap().body()).unwrap();
    for endpoint in ["token", "revocation", "introspection"] {
        assert_eq!(
            metadata[format!("{endpoint}_endpoint_auth_signing_alg_values_supported")],
            json!(["EdDSA", "PS256"])
        );
    }
}

/// The scene begins when the constants say, and a machine may use nothing but its own grant.
#[tokio::test]
async fn a_key_gives_no_more_than_the_registration_does() {
    let machine = Machine::new().await;
    assert_eq!(machine.now(), BEGINS_AT.seconds());
    let mut client = client("NOGRANT", &["https://client.example/cb"]);
    client.profile.grant_types = vec![GrantType::AuthorizationCode];
    client.profile.token_endpoint_auth_method = TokenEndpointAuthMethod::PrivateKeyJwt;
    client.profile.keys = Some(ClientKeys::Jwks(key_set(&[&machine.key])));
    add_client(&*machine.scene.store, &client).await;
    let assertion = machine.key.sign("JWT", &machine.claims("NOGRANT", "1")).unwrap();
    refused(machine.enter(&assertion).await, ErrorCode::UnauthorizedClient);
}
