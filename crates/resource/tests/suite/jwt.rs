//! JWT access tokens behind the layer: what is refused, and what happens when the issuer's keys change, fail or lie.

mod forged;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{Router, extract::State, response::Response, routing::get};
use mcp_authflow_jose::{Algorithm, KeySet, SigningKey};
use mcp_authflow_resource::{
    CannotCheck, ProtectedResource,
    verify::{JwtVerifier, JwtVerifierBuilder, KeyTimes},
};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::house::{House, NOW, RESOURCE, Seen};

/// An issuer that publishes its metadata and whatever a test puts at its `jwks_uri`.
#[derive(Clone)]
struct KeyIssuer {
    url: String,
    published: Arc<Mutex<Published>>,
    asked: Arc<AtomicUsize>,
    seconds: Arc<AtomicU64>,
}

#[derive(Clone)]
enum Published {
    Body(u16, String),
    Slowly(String),
    Never,
}

impl KeyIssuer {
    #[expect(
        clippy::disallowed_methods,
        reason = "a peer that lives as long as its test needs no header timeout"
    )]
    async fn start(keys: &[&SigningKey]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = Self {
            url: format!("http://{}", listener.local_addr().unwrap()),
            published: Arc::new(Mutex::new(Published::Never)),
            asked: Arc::default(),
            seconds: Arc::default(),
        };
        issuer.publish(keys);
        let metadata = json!({"issuer": issuer.url, "jwks_uri": format!("{}/jwks", issuer.url)});
        let app = Router::new()
            .route(
                "/.well-known/oauth-authorization-server",
                get(|| async move { metadata.to_string() }),
            )
            .route(
                "/jwks",
                get(|State(issuer): State<Self>| async move {
                    issuer.asked.fetch_add(1, Ordering::Relaxed);
                    let published = issuer.published.lock().unwrap().clone();
                    match published {
                        Published::Body(status, body) => Response::builder()
                            .status(status)
                            .header("content-type", "application/json")
                            .body(body.into())
                            .unwrap(),
                        Published::Slowly(body) => {
                            tokio::time::sleep(Duration::from_millis(200)).await;
                            Response::new(body.into())
                        }
                        Published::Never => std::future::pending::<Response>().await,
                    }
                }),
            )
            .with_state(issuer.clone());
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        issuer
    }

    fn publish(&self, keys: &[&SigningKey]) {
        let keys: Vec<Value> = keys.iter().map(|key| key.public_jwk()).collect();
        self.answer(200, json!({ "keys": keys }).to_string());
    }

    fn answer(&self, status: u16, body: String) {
        *self.published.lock().unwrap() = Published::Body(status, body);
    }

    fn publish_slowly(&self, keys: &[&SigningKey]) {
        let keys: Vec<Value> = keys.iter().map(|key| key.public_jwk()).collect();
        *self.published.lock().unwrap() = Published::Slowly(json!({ "keys": keys }).to_string());
    }

    fn hang(&self) {
        *self.published.lock().unwrap() = Published::Never;
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    /// Lets time pass for the verifier.
    fn pass(&self, time: Duration) {
        self.seconds.fetch_add(time.as_secs(), Ordering::Relaxed);
    }

    fn verifier(&self) -> JwtVerifierBuilder {
        let seconds = Arc::clone(&self.seconds);
        let times = KeyTimes {
            min_interval: Duration::from_millis(50),
            ..KeyTimes::default()
        };
        JwtVerifier::builder(&self.url)
            .key_times(times)
            .clock(|| NOW)
            .monotonic_clock(monotonic(seconds))
    }

    fn house(&self) -> House {
        house(&self.url, self.verifier().build().unwrap())
    }

    fn claims(&self) -> Value {
        json!({
            "iss": self.url, "sub": "u1", "aud": RESOURCE, "client_id": "c1", "scope": "read",
            "iat": NOW.seconds(), "exp": NOW.seconds() + 600, "jti": "j1",
        })
    }

    fn token(&self, key: &SigningKey) -> String {
        key.sign("at+jwt", &self.claims()).unwrap()
    }
}

/// Real time, so that pauses end, and the test's on top.
fn monotonic(seconds: Arc<AtomicU64>) -> impl Fn() -> Duration + Send + Sync {
    let start = tokio::time::Instant::now();
    move || start.elapsed() + Duration::from_secs(seconds.load(Ordering::Relaxed))
}

fn house(issuer: &str, verifier: JwtVerifier) -> House {
    let protect = ProtectedResource::builder(RESOURCE, issuer)
        .verify_with(verifier)
        .require_scope("read")
        .clock(|| NOW);
    House::behind(protect.build().unwrap())
}

fn es256() -> SigningKey {
    SigningKey::generate(Algorithm::Es256).unwrap()
}

fn assert_is_invalid(seen: &Seen) {
    assert_eq!(seen.status, 401, "{}", seen.body);
    assert!(seen.body.contains(r#""error":"invalid_token""#), "{}", seen.body);
    assert!(seen.header("www-authenticate").is_some());
}

#[tokio::test]
async fn keys_can_be_fetched_before_the_first_token_comes() {
    let key = es256();
    let issuer = KeyIssuer::start(&[&key]).await;
    let verifier = issuer.verifier().build().unwrap();
    assert_eq!(verifier.fetch_keys().await, Ok(1));
    assert_eq!(verifier.fetch_keys().await, Ok(1), "at hand");
    let house = house(&issuer.url, verifier);
    assert_eq!(house.call_with(&issuer.token(&key)).await.status, 200);
    assert_eq!(issuer.asked(), 1);
    issuer.answer(500, String::new());
    let refused = issuer.verifier().build().unwrap().fetch_keys().await;
    assert_eq!(refused, Err(CannotCheck::Refused));
}

/// M-122: with every algorithm that is built, and nothing asked but metadata and keys, once.
#[tokio::test]
async fn a_good_token_is_let_in_without_a_question_each() {
    let keys: Vec<SigningKey> = [
        Algorithm::Es256,
        Algorithm::EdDsa,
        Algorithm::Es384,
        Algorithm::Rs256,
    ]
    .into_iter()
    .map(|algorithm| SigningKey::generate(algorithm).unwrap())
    .collect();
    let issuer = KeyIssuer::start(&keys.iter().collect::<Vec<_>>()).await;
    let house = issuer.house();
    for _ in 0..3 {
        for key in &keys {
            let seen = house.call_with(&issuer.token(key)).await;
            assert_eq!(seen.status, 200, "{}", seen.body);
        }
    }
    assert_eq!((house.runs(), issuer.asked()), (12, 1));
}

/// JT-03, RFC 9068 §4: an ID token or an assertion of the same issuer, with the same key, is no access token.
#[tokio::test]
async fn another_kind_of_token_is_refused() {
    let key = es256();
    let issuer = KeyIssuer::start(&[&key]).await;
    let house = issuer.house();
    for good in ["at+jwt", "at+JWT", "application/at+jwt"] {
        let token = key.sign(good, &issuer.claims()).unwrap();
        assert_eq!(house.call_with(&token).await.status, 200, "{good}");
    }
    for bad in [
        "JWT",
        "id_token+jwt",
        "dpop+jwt",
        "logout+jwt",
        "authflow-identity+jwt",
        "",
    ] {
        let token = key.sign(bad, &issuer.claims()).unwrap();
        assert_is_invalid(&house.call_with(&token).await);
    }
    let header = json!({"alg": "ES256", "kid": key.key_id()});
    let token = key
        .sign_as(&header, issuer.claims().to_string().as_bytes())
        .unwrap();
    assert_is_invalid(&house.call_with(&token).await);
    assert_eq!(house.runs(), 3);
}

/// M-020, M-122, M-123, RP-03, RP-18, RFC 9068 §2.2: each claim is there, of its type, and says what it must.
#[tokio::test]
async fn each_claim_is_checked() {
    let key = es256();
    let issuer = KeyIssuer::start(&[&key]).await;
    let house = issuer.house();
    let now = NOW.seconds();
    let good = [
        ("aud", json!([RESOURCE, "https://other.test"])),
        ("exp", json!(now + 1)),
        ("exp", json!(now - 29)),
        ("nbf", json!(now + 29)),
    ];
    for (name, value) in good {
        let mut claims = issuer.claims();
        claims[name] = value;
        let seen = house.call_with(&key.sign("at+jwt", &claims).unwrap()).await;
        assert_eq!(seen.status, 200, "{claims}");
    }
    let bad = [
        ("iss", json!("https://other.test")),
        ("iss", json!(format!("{}/", issuer.url))),
        ("iss", json!([issuer.url])),
        ("aud", json!("https://rs.test")),
        ("aud", json!("https://rs.test/mcp/")),
        ("aud", json!("https://rs.test/mcp2")),
        ("aud", json!(["https://other.test"])),
        ("aud", json!([])),
        ("aud", json!("c1")),
        ("aud", json!(issuer.url)),
        ("exp", json!(now - 31)),
        ("exp", json!((now + 600).to_string())),
        ("exp", json!(1e300)),
        ("nbf", json!(now + 31)),
        ("nbf", json!("0")),
        ("iat", json!("now")),
        ("sub", json!(5)),
        ("client_id", json!("")),
        ("jti", json!(null)),
        ("scope", json!(["read"])),
        ("scope", json!("read  write")),
        ("cnf", json!({"jkt": "x"})),
    ];
    for (name, value) in bad {
        let mut claims = issuer.claims();
        claims[name] = value;
        let seen = house.call_with(&key.sign("at+jwt", &claims).unwrap()).await;
        assert_eq!(seen.status, 401, "{claims} {}", seen.body);
    }
    for name in ["iss", "sub", "aud", "client_id", "iat", "exp", "jti"] {
        let mut claims = issuer.claims();
        claims.as_object_mut().unwrap().remove(name);
        assert_is_invalid(&house.call_with(&key.sign("at+jwt", &claims).unwrap()).await);
    }
    assert_eq!(house.runs(), 4);
}

/// RP-04: a good token of another scope is a 403.
#[tokio::test]
async fn a_scope_that_is_missing_is_told() {
    let key = es256();
    let issuer = KeyIssuer::start(&[&key]).await;
    let mut claims = issuer.claims();
    claims["scope"] = json!("write");
    let seen = issuer
        .house()
        .call_with(&key.sign("at+jwt", &claims).unwrap())
        .await;
    assert_eq!(seen.status, 403);
    assert!(
        seen.header("www-authenticate")
            .unwrap()
            .contains("insufficient_scope")
    );
}

fn house_with(issuer: &KeyIssuer, change: impl FnOnce(JwtVerifierBuilder) -> JwtVerifierBuilder) -> House {
    house(&issuer.url, change(issuer.verifier()).build().unwrap())
}

/// P14: a key that the issuer signs with at once is found; a withdrawn one ends after `max_age` at the latest.
#[tokio::test]
async fn keys_change_and_nobody_is_refused() {
    let (old, new) = (es256(), es256());
    let issuer = KeyIssuer::start(&[&old]).await;
    let house = issuer.house();
    assert_eq!(house.call_with(&issuer.token(&old)).await.status, 200);
    issuer.publish(&[&new, &old]);
    assert_eq!(house.call_with(&issuer.token(&new)).await.status, 200);
    assert_eq!(house.call_with(&issuer.token(&old)).await.status, 200);
    assert_eq!(issuer.asked(), 2);

    issuer.publish(&[&new]);
    assert_eq!(
        house.call_with(&issuer.token(&old)).await.status,
        200,
        "not known yet"
    );
    issuer.pass(Duration::from_secs(301));
    assert_is_invalid(&house.call_with(&issuer.token(&old)).await);
    assert_eq!(house.call_with(&issuer.token(&new)).await.status, 200);
}

/// From four fifths of their age keys are renewed beside the requests, so that none waits.
#[tokio::test]
async fn keys_are_renewed_ahead() {
    let (old, new) = (es256(), es256());
    let issuer = KeyIssuer::start(&[&old]).await;
    let house = issuer.house();
    assert_eq!(house.call_with(&issuer.token(&old)).await.status, 200);
    issuer.publish(&[&new]);
    issuer.pass(Duration::from_secs(250));
    assert_eq!(house.call_with(&issuer.token(&old)).await.status, 200);
    let mut refused = false;
    for _ in 0..200 {
        refused = house.call_with(&issuer.token(&old)).await.status == 401;
        if refused {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(refused, "the keys were renewed and the withdrawn one is gone");
}

/// JT-10, P9: what is no key set replaces none; the last good one is used for an hour, and then nobody can say.
#[tokio::test]
async fn a_key_address_that_fails_or_lies_changes_nothing() {
    let key = es256();
    let issuer = KeyIssuer::start(&[&key]).await;
    let many: Vec<Value> = (0..10_000)
        .map(|n| json!({"kty": "EC", "kid": n.to_string()}))
        .collect();
    let lies = [
        (500, String::new()),
        (404, String::new()),
        (200, json!({"keys": []}).to_string()),
        (200, "{}".to_owned()),
        (200, "<html>maintenance</html>".to_owned()),
        (
            200,
            json!({"keys": [{"kty": "oct", "k": "c2VjcmV0", "kid": key.key_id()}]}).to_string(),
        ),
        (200, json!({ "keys": many }).to_string()),
    ];
    for (status, body) in lies {
        issuer.publish(&[&key]);
        let house = issuer.house();
        assert_eq!(house.call_with(&issuer.token(&key)).await.status, 200);
        issuer.answer(status, body.clone());
        issuer.pass(Duration::from_secs(301));
        let seen = house.call_with(&issuer.token(&key)).await;
        assert_eq!(seen.status, 200, "{status} {body:.60}");
        issuer.pass(Duration::from_secs(3_600));
        let seen = house.call_with(&issuer.token(&key)).await;
        assert_eq!(seen.status, 503, "{status} {body:.60}");
        assert_eq!(seen.header("www-authenticate"), None);
        issuer.publish(&[&key]);
        issuer.pass(Duration::from_secs(2));
        assert_eq!(
            house.call_with(&issuer.token(&key)).await.status,
            200,
            "and it is well again"
        );
    }
    // A name that stands there twice: each is tried.
    let (twin, other) = (key.public_jwk(), es256().with_key_id(key.key_id()).public_jwk());
    issuer.answer(200, json!({"keys": [other, twin]}).to_string());
    assert_eq!(issuer.house().call_with(&issuer.token(&key)).await.status, 200);
}

/// P9: without any keys nobody is let in, and nobody sent away.
#[tokio::test]
async fn without_keys_nobody_can_say() {
    let key = es256();
    let issuer = KeyIssuer::start(&[&key]).await;
    issuer.hang();
    let times = KeyTimes {
        time_limit: Duration::from_millis(200),
        ..KeyTimes::default()
    };
    let house = house_with(&issuer, |builder| builder.key_times(times));
    let seen = house.call_with(&issuer.token(&key)).await;
    assert_eq!(seen.status, 503);
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", nobody.local_addr().unwrap());
    drop(nobody);
    let verifier = JwtVerifier::builder(&issuer.url)
        .jwks_uri(url)
        .clock(|| NOW)
        .build();
    let house = crate::jwt::house(&issuer.url, verifier.unwrap());
    let seen = house.call_with(&issuer.token(&key)).await;
    assert_eq!(seen.status, 503);
    assert_eq!(seen.header("www-authenticate"), None);
    // What is no token of this issuer's needs no keys to be refused.
    assert_is_invalid(&house.call_with("mcpat_not-a-jwt").await);
}

/// P12, P14: a flood of tokens that name unknown keys is not passed on, and good tokens do not notice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_unknown_keys_is_one_question_at_a_time() {
    let (key, late) = (es256(), es256());
    let issuer = KeyIssuer::start(&[&key]).await;
    let house = issuer.house();
    assert_eq!(house.call_with(&issuer.token(&key)).await.status, 200);
    let before = issuer.asked();
    let mut flood = tokio::task::JoinSet::new();
    for n in 0..200 {
        let forged = es256()
            .with_key_id(&format!("k{n}"))
            .sign("at+jwt", &issuer.claims())
            .unwrap();
        let house = house.clone();
        flood.spawn(async move { house.call_with(&forged).await.status.as_u16() });
    }
    assert_eq!(house.call_with(&issuer.token(&key)).await.status, 200);
    issuer.publish(&[&key, &late]);
    assert_eq!(
        house.call_with(&issuer.token(&late)).await.status,
        200,
        "found in the midst of it"
    );
    let answers = flood.join_all().await;
    assert!(answers.iter().all(|status| *status == 401), "{answers:?}");
    let questions = issuer.asked() - before;
    assert!(questions <= 20, "{questions} questions for 201 unknown keys");
}

/// P9, P12: whoever sends a forged token and hangs up before there is an answer takes the keys from nobody.
#[tokio::test]
async fn a_caller_who_hangs_up_takes_nothing_from_the_others() {
    let key = es256();
    let issuer = KeyIssuer::start(&[]).await;
    issuer.publish_slowly(&[&key]);
    let house = house_with(&issuer, |builder| builder.key_times(KeyTimes::default()));
    let forged = issuer.token(&es256());
    for _ in 0..3 {
        drop(tokio::time::timeout(Duration::from_millis(20), house.call_with(&forged)).await);
    }
    assert_eq!(house.call_with(&issuer.token(&key)).await.status, 200);
    assert_eq!(issuer.asked(), 1);
}

/// A token that is known is no reason to let the keys grow old: the next one would wait for new ones.
#[tokio::test]
async fn keys_are_renewed_ahead_also_where_all_tokens_are_known() {
    let key = es256();
    let issuer = KeyIssuer::start(&[&key]).await;
    let house = issuer.house();
    let token = issuer.token(&key);
    assert_eq!(house.call_with(&token).await.status, 200);
    issuer.pass(Duration::from_secs(250));
    for _ in 0..200 {
        assert_eq!(house.call_with(&token).await.status, 200);
        if issuer.asked() == 2 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the keys are never renewed");
}

/// JT-10, P9: an issuer that hangs costs one request its time, and not every one for an hour; then nobody can say.
#[tokio::test]
async fn an_outage_does_not_slow_every_request_down() {
    let (old, new) = (es256(), es256());
    let issuer = KeyIssuer::start(&[&old]).await;
    let times = KeyTimes {
        min_interval: Duration::from_millis(1),
        time_limit: Duration::from_millis(500),
        ..KeyTimes::default()
    };
    let house = house_with(&issuer, |builder| builder.key_times(times));
    assert_eq!(house.call_with(&issuer.token(&old)).await.status, 200);
    issuer.hang();
    issuer.pass(Duration::from_secs(301));
    assert_eq!(house.call_with(&issuer.token(&old)).await.status, 200);
    let start = tokio::time::Instant::now();
    for _ in 0..10 {
        assert_eq!(house.call_with(&issuer.token(&old)).await.status, 200);
    }
    assert!(start.elapsed() < 4 * times.time_limit, "{:?}", start.elapsed());
    issuer.pass(Duration::from_secs(3_600));
    let seen = house.call_with(&issuer.token(&old)).await;
    assert_eq!(seen.status, 503);
    assert_eq!(seen.header("www-authenticate"), None);
    // When it is back, its word counts again.
    issuer.publish(&[&new]);
    for _ in 0..200 {
        if house.call_with(&issuer.token(&old)).await.status == 401 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the withdrawn key is never refused");
}

/// Several issuers: each speaks for itself alone.
#[tokio::test]
async fn several_issuers_are_trusted_each_with_its_own_keys() {
    let (a_key, b_key) = (es256(), es256());
    let (a, b) = (
        KeyIssuer::start(&[&a_key]).await,
        KeyIssuer::start(&[&b_key]).await,
    );
    let protect = ProtectedResource::builder(RESOURCE, &a.url)
        .verify_with(a.verifier().build().unwrap())
        .also_trust(&b.url, b.verifier().build().unwrap())
        .clock(|| NOW)
        .build()
        .unwrap();
    let published = protect.metadata().body();
    assert!(
        published.contains(&a.url) && published.contains(&b.url),
        "{published}"
    );
    let house = House::behind(protect);
    assert_eq!(house.call_with(&a.token(&a_key)).await.status, 200);
    assert_eq!(house.call_with(&b.token(&b_key)).await.status, 200);
    assert_is_invalid(&house.call_with(&a.token(&b_key)).await);
    assert_is_invalid(&house.call_with(&b.token(&a_key)).await);
    let mut third = a.claims();
    third["iss"] = json!("https://third.test");
    assert_is_invalid(&house.call_with(&a_key.sign("at+jwt", &third).unwrap()).await);
}

#[test]
fn settings_that_cannot_be_meant_are_refused() {
    let build = |builder: JwtVerifierBuilder| builder.build().unwrap_err().to_string();
    assert!(build(JwtVerifier::builder("auth.test")).contains("issuer"));
    assert!(build(JwtVerifier::builder("https://auth.test").algorithms([])).contains("algorithm"));
    let remote = JwtVerifier::builder("https://auth.test").jwks_uri("http://auth.test/jwks");
    assert!(build(remote).contains("keys"));
    let fixed = JwtVerifier::builder("https://auth.test").keys(KeySet::default());
    assert!(fixed.build().is_ok());
}
