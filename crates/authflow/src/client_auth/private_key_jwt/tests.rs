#![allow(clippy::unwrap_used, reason = "a test may panic")]
use std::sync::{
    LazyLock, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use mcp_authflow_jose::{Jwk, SigningKey};
use mcp_authflow_types::Timestamp;
use serde_json::{Value, json};

use super::*;
use crate::{
    memory::MemoryReplay,
    port::{Clock, store::StoreResult},
};

const ISSUER: &str = "https://auth.example";
const TOKEN_ENDPOINT: &str = "https://auth.example/token";
const NOW: i64 = 1_800_000_000;
/// The same, for moments between seconds.
const NOON: f64 = 1_800_000_000.0;

static KEY: LazyLock<SigningKey> =
    LazyLock::new(|| SigningKey::generate(Algorithm::Es256).unwrap().with_key_id("k1"));

fn server() -> AssertionPolicy {
    AssertionPolicy::for_issuer(&Issuer::parse(ISSUER).unwrap())
}

fn python() -> AssertionPolicy {
    AssertionPolicy::like_the_python_package(TOKEN_ENDPOINT)
}

fn claims(policy: &AssertionPolicy) -> Value {
    json!({
        "iss": "client-1", "sub": "client-1", "aud": policy.audiences[0],
        "iat": NOW, "exp": NOW + 60, "jti": "jti-1",
    })
}

/// A claim put in place of another; null takes it away.
fn with(policy: &AssertionPolicy, changes: Value) -> Value {
    let mut claims = claims(policy);
    let Value::Object(changes) = changes else {
        panic!("no object")
    };
    for (name, value) in changes {
        claims[name] = value;
    }
    claims
}

fn set(keys: &[&SigningKey]) -> KeySet {
    keys.iter()
        .map(|key| Jwk::parse(&key.public_jwk()).unwrap())
        .collect()
}

fn at(seconds: f64) -> NumericDate {
    NumericDate::parse(&json!(seconds)).unwrap()
}

fn judge_at(
    policy: &AssertionPolicy,
    claims: &Value,
    now: NumericDate,
) -> Result<OneTimeUse, AssertionReason> {
    let token = KEY.sign("JWT", claims).unwrap();
    let assertion = read(JWT_CLIENT_ASSERTION_TYPE, &token, policy)?;
    decide(&assertion, "client-1", &set(&[&KEY]), policy, now)
}

fn judge(policy: &AssertionPolicy, changes: Value) -> Result<(), AssertionReason> {
    judge_at(
        policy,
        &with(policy, changes),
        Timestamp::from_seconds(NOW).into(),
    )
    .map(drop)
}

/// S-104, S-106
#[test]
fn only_the_jwt_bearer_type_is_read() {
    let token = KEY.sign("JWT", &claims(&server())).unwrap();
    for wrong in [
        "",
        "urn:ietf:params:oauth:client-assertion-type:saml2-bearer",
        "URN:IETF:PARAMS:OAUTH:CLIENT-ASSERTION-TYPE:JWT-BEARER",
        "urn:ietf:params:oauth:grant-type:jwt-bearer",
    ] {
        assert_eq!(
            read(wrong, &token, &server()).unwrap_err(),
            AssertionReason::AssertionType,
            "{wrong}"
        );
    }
    assert_eq!(
        read(JWT_CLIENT_ASSERTION_TYPE, "", &server()).unwrap_err(),
        AssertionReason::AssertionMissing
    );
    assert!(read(JWT_CLIENT_ASSERTION_TYPE, &token, &server()).is_ok());
}

/// S-123, S-124, S-126, S-130, JA-16, JA-20: what is missing, null or of the wrong type is never taken for something else.
#[test]
fn every_required_claim_is_there_and_of_its_type() {
    use AssertionReason as No;
    for policy in [server(), python()] {
        assert_eq!(judge(&policy, json!({})), Ok(()));
        for name in REQUIRED {
            assert_eq!(judge(&policy, json!({name: null})), Err(No::MissingClaim(name)));
            let mut without = claims(&policy);
            without.as_object_mut().unwrap().remove(name);
            assert_eq!(judge_at(&policy, &without, at(NOON)), Err(No::MissingClaim(name)));
        }
        for (name, wrong, reason) in [
            ("iss", json!(5), No::Issuer),
            ("iss", json!(["client-1"]), No::Issuer),
            ("iss", json!("client-2"), No::Issuer),
            ("iss", json!("CLIENT-1"), No::Issuer),
            ("sub", json!(["client-1"]), No::ClaimType("sub")),
            ("sub", json!({}), No::ClaimType("sub")),
            ("sub", json!(true), No::ClaimType("sub")),
            ("sub", json!("client-2"), No::Subject),
            ("sub", json!("client-1\n"), No::Subject),
            ("exp", json!("1800000060"), No::ClaimType("exp")),
            ("exp", json!(true), No::ClaimType("exp")),
            ("exp", json!({}), No::ClaimType("exp")),
            ("exp", json!(1e300), No::ClaimType("exp")),
            ("iat", json!("1800000000"), No::ClaimType("iat")),
            ("iat", json!([NOW]), No::ClaimType("iat")),
            ("nbf", json!("9999999999"), No::ClaimType("nbf")),
            ("nbf", json!(null), No::ClaimType("nbf")),
            ("jti", json!(5), No::ClaimType("jti")),
            ("jti", json!(["a"]), No::ClaimType("jti")),
        ] {
            let changes = json!({name: wrong.clone()});
            assert_eq!(judge(&policy, changes), Err(reason), "{name}: {wrong}");
        }
    }
}

/// S-125, JA-21, JA-22, JA-34, JA-35: the server takes what is for it alone, whatever the token endpoint is called.
#[test]
fn an_assertion_is_for_this_server() {
    let no = Err(AssertionReason::Audience);
    for (aud, for_server, for_python) in [
        (json!(ISSUER), Ok(()), no),
        (json!([ISSUER]), Ok(()), no),
        (json!("https://auth.example/"), Ok(()), no),
        (json!("https://auth.example//"), no, no),
        (json!("https://AUTH.example"), no, no),
        (json!("https://auth.example:443"), no, no),
        (json!("https://auth.example/tenant"), no, no),
        (json!("https://other.example"), no, no),
        (json!([ISSUER, "https://evil.example"]), no, no),
        (json!(["https://evil.example", ISSUER]), no, no),
        (json!([ISSUER, ISSUER]), no, no),
        (json!(TOKEN_ENDPOINT), no, Ok(())),
        (json!([TOKEN_ENDPOINT, "https://other.example"]), no, Ok(())),
        (json!([TOKEN_ENDPOINT, 5]), no, no),
        (json!(5), no, no),
        (json!({"a": ISSUER}), no, no),
        (json!([[ISSUER]]), no, no),
    ] {
        assert_eq!(judge(&server(), json!({"aud": aud.clone()})), for_server, "{aud}");
        assert_eq!(judge(&python(), json!({"aud": aud.clone()})), for_python, "{aud}");
    }
    for nobody in [json!(""), json!([])] {
        let missing = Err(AssertionReason::MissingClaim("aud"));
        assert_eq!(judge(&server(), json!({"aud": nobody})), missing);
    }
    // With a path there is one spelling.
    let tenant = AssertionPolicy::for_issuer(&Issuer::parse("https://auth.example/t").unwrap());
    assert_eq!(judge(&tenant, json!({"aud": "https://auth.example/t/"})), no);
    // By a choice, the token endpoint is this server, too.
    let mut both = server();
    both.audiences.push(TOKEN_ENDPOINT.to_owned());
    assert_eq!(judge(&both, json!({"aud": TOKEN_ENDPOINT})), Ok(()));
    assert_eq!(judge(&both, json!({"aud": [TOKEN_ENDPOINT, ISSUER]})), no);
}

/// S-126, S-127, S-128: the edges that the Python package has, to the millisecond.
#[test]
fn the_python_policy_has_the_edges_of_the_python_package() {
    use AssertionReason as No;
    let policy = python();
    let verdict = |changes: Value, now: f64| judge_at(&policy, &with(&policy, changes), at(now)).map(drop);
    let now = NOON;
    for (changes, at, expected) in [
        (json!({"exp": NOW - 59}), now, Ok(())),
        (json!({"exp": NOW - 60}), now, Err(No::Expired)),
        (json!({"exp": now - 59.5}), now, Err(No::Expired)),
        (json!({"exp": NOW - 60}), now - 0.001, Ok(())),
        (json!({"exp": NOW - 60}), now - 0.5, Ok(())),
        (json!({"iat": NOW + 60}), now, Ok(())),
        (json!({"iat": now + 60.9}), now, Ok(())),
        (json!({"iat": NOW + 61}), now, Err(No::IssuedInFuture)),
        (json!({"iat": NOW - 360}), now, Ok(())),
        (json!({"iat": NOW - 360}), now + 0.5, Err(No::TooOld)),
        (json!({"iat": now - 360.5}), now, Err(No::TooOld)),
        (json!({"iat": -1}), now, Err(No::TooOld)),
        (json!({"nbf": NOW + 60}), now, Ok(())),
        (json!({"nbf": NOW + 61}), now, Err(No::NotYetValid)),
        // No ceiling, and no order of exp and iat.
        (json!({"exp": NOW + 1_000_000}), now, Ok(())),
        (json!({"exp": NOW + 60, "iat": NOW + 60}), now, Ok(())),
    ] {
        assert_eq!(verdict(changes.clone(), at), expected, "{changes} at {at}");
    }
}

/// P6, S-129, JA-15, JA-17
#[test]
fn the_server_takes_five_minutes_and_half_a_minute_of_skew() {
    use AssertionReason as No;
    for (changes, expected) in [
        (json!({"exp": NOW + 300}), Ok(())),
        (json!({"exp": NOW + 301}), Err(No::Lifetime)),
        (json!({"exp": NOW + 315_360_000}), Err(No::Lifetime)),
        (json!({"exp": NOW}), Err(No::Lifetime)),
        (json!({"exp": NOW - 1}), Err(No::Lifetime)),
        (json!({"iat": NOW - 100, "exp": NOW - 29}), Ok(())),
        (json!({"iat": NOW - 100, "exp": NOW - 30}), Err(No::Expired)),
        (json!({"iat": NOW - 300, "exp": NOW - 1}), Ok(())),
        (json!({"iat": NOW - 331, "exp": NOW - 1}), Err(No::Lifetime)),
        (json!({"iat": NOW - 3600, "exp": NOW + 60}), Err(No::Lifetime)),
        (json!({"iat": NOW + 30, "exp": NOW + 60}), Ok(())),
        (json!({"iat": NOW + 31, "exp": NOW + 60}), Err(No::IssuedInFuture)),
        (json!({"nbf": NOW + 31}), Err(No::NotYetValid)),
        (json!({"nbf": NOW + 30}), Ok(())),
    ] {
        assert_eq!(judge(&server(), changes.clone()), expected, "{changes}");
    }
}

/// S-131
#[test]
fn an_identifier_has_1_to_255_characters() {
    let length = |length: usize| judge(&server(), json!({"jti": "é".repeat(length)}));
    assert_eq!(length(0), Err(AssertionReason::JtiLength));
    assert_eq!(length(1), Ok(()));
    assert_eq!(length(255), Ok(()));
    assert_eq!(length(256), Err(AssertionReason::JtiLength));
    assert_eq!(judge(&server(), json!({"jti": "\n"})), Ok(()));
}

/// S-106: the order in which reasons are told.
#[test]
fn reasons_come_in_the_order_of_the_checks() {
    use AssertionReason as No;
    let policy = python();
    for (changes, expected) in [
        (json!({"iat": NOW + 3600, "exp": NOW - 3600}), No::IssuedInFuture),
        (json!({"exp": NOW - 3600, "iss": "y"}), No::Expired),
        (json!({"iss": "y", "aud": "x"}), No::Issuer),
        (json!({"aud": "x", "sub": "y"}), No::Audience),
        (json!({"sub": "y", "iat": NOW - 3600}), No::Subject),
        (json!({"jti": null, "exp": NOW - 3600}), No::MissingClaim("jti")),
    ] {
        assert_eq!(judge(&policy, changes.clone()), Err(expected), "{changes}");
    }
    let forged = SigningKey::generate(Algorithm::Es256).unwrap().with_key_id("k1");
    let token = forged
        .sign("JWT", &with(&policy, json!({"exp": NOW - 3600})))
        .unwrap();
    let assertion = read(JWT_CLIENT_ASSERTION_TYPE, &token, &policy).unwrap();
    let verdict = decide(&assertion, "client-1", &set(&[&KEY]), &policy, at(NOON));
    assert_eq!(verdict, Err(No::Signature));
}

/// S-112
#[test]
fn the_kind_of_token_is_checked_where_it_is_given() {
    for (typ, expected) in [
        ("JWT", true),
        ("client-authentication+jwt", true),
        ("at+jwt", false),
        ("dpop+jwt", false),
    ] {
        let token = KEY.sign(typ, &claims(&server())).unwrap();
        assert_eq!(
            read(JWT_CLIENT_ASSERTION_TYPE, &token, &server()).is_ok(),
            expected,
            "{typ}"
        );
        assert!(
            read(JWT_CLIENT_ASSERTION_TYPE, &token, &python()).is_ok(),
            "{typ}"
        );
    }
}

/// S-113: the operator narrows the set.
#[test]
fn an_algorithm_that_the_operator_left_out_is_refused() {
    let mut policy = server();
    policy.rules.algorithms = vec![Algorithm::EdDsa];
    let token = KEY.sign("JWT", &claims(&policy)).unwrap();
    assert_eq!(
        read(JWT_CLIENT_ASSERTION_TYPE, &token, &policy).unwrap_err(),
        AssertionReason::AlgorithmNotAllowed
    );
    assert_eq!(policy.algorithm_names(), ["EdDSA"]);
}

/// S-134, S-136: as long as an assertion could be accepted its use is remembered, for every life and every skew.
#[test]
fn a_use_is_remembered_for_as_long_as_the_assertion_could_be_accepted() {
    let keys = set(&[&KEY]);
    for policy in [server(), python()] {
        for iat in [-300, 0, 30, 60] {
            for life in [1_u64, 60, 300, 1_000_000] {
                let claims = with(
                    &policy,
                    json!({"iat": NOW + iat, "exp": NOW + iat + life.cast_signed()}),
                );
                let token = KEY.sign("JWT", &claims).unwrap();
                let assertion = read(JWT_CLIENT_ASSERTION_TYPE, &token, &policy).unwrap();
                let verdict = |second: i64| {
                    let now = Timestamp::from_seconds(second).into();
                    decide(&assertion, "client-1", &keys, &policy, now)
                };
                let seconds = (-61..=365).map(|after| NOW + iat + after);
                let accepted: Vec<_> = seconds
                    .filter_map(|second| verdict(second).ok().map(|once| (second, once)))
                    .collect();
                let Some(((_, first), (last, _))) = accepted.first().zip(accepted.last()) else {
                    assert!(
                        policy.max_lifetime.is_some_and(|most| most.as_secs() < life),
                        "{iat}, {life}"
                    );
                    continue;
                };
                let remembered = first.expires_at.seconds();
                assert_eq!(remembered, last + 1 + 60, "iat {iat}, life {life}");
                assert_eq!(first.issued_at.seconds(), NOW + iat);
            }
        }
    }
}

/// S-137, JA-34
#[test]
fn one_identifier_of_two_clients_or_at_two_servers_is_two() {
    let other_server = AssertionPolicy::for_issuer(&Issuer::parse("https://other.example").unwrap());
    let once = |policy: &AssertionPolicy| judge_at(policy, &claims(policy), at(NOON)).unwrap();
    assert_ne!(once(&server()).digest, once(&other_server).digest);
    let theirs = with(&server(), json!({"iss": "client-2", "sub": "client-2"}));
    let token = KEY.sign("JWT", &theirs).unwrap();
    let assertion = read(JWT_CLIENT_ASSERTION_TYPE, &token, &server()).unwrap();
    let other_client = decide(&assertion, "client-2", &set(&[&KEY]), &server(), at(NOON)).unwrap();
    assert_ne!(once(&server()).digest, other_client.digest);
    assert_ne!(once(&server()).owner, other_client.owner);
}

/// A key source that counts how it is asked, and changes its keys when asked for fresh ones.
struct Source {
    current: Mutex<Result<Arc<KeySet>, ClientKeysError>>,
    next: Mutex<Option<Arc<KeySet>>>,
    asked: AtomicUsize,
    refreshed: AtomicUsize,
}

impl Source {
    fn new(current: Result<KeySet, ClientKeysError>) -> Arc<Self> {
        Arc::new(Self {
            current: Mutex::new(current.map(Arc::new)),
            next: Mutex::new(None),
            asked: AtomicUsize::new(0),
            refreshed: AtomicUsize::new(0),
        })
    }
}

#[async_trait::async_trait]
impl ClientKeySource for Source {
    async fn client_keys(&self, _: &str, freshness: Freshness) -> Result<Arc<KeySet>, ClientKeysError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let mut current = self.current.lock().unwrap();
        if freshness == Freshness::Refresh {
            self.refreshed.fetch_add(1, Ordering::Relaxed);
            if let Some(next) = self.next.lock().unwrap().take() {
                *current = Ok(next);
            }
        }
        current.clone()
    }
}

/// A memory that cannot be asked.
struct Down(StoreError);

#[async_trait::async_trait]
impl Replay for Down {
    async fn record_once(&self, _: &OneTimeUse, _: Timestamp) -> StoreResult<RecordOnce> {
        Err(self.0.clone())
    }
}

struct Still;

impl Clock for Still {
    fn now(&self) -> Timestamp {
        Timestamp::from_seconds(NOW)
    }
}

fn authenticator(source: &Arc<Source>, replay: Arc<dyn Replay>) -> JwtClientAuthenticator {
    JwtClientAuthenticator::new(server(), source.clone(), replay, Arc::new(Still))
}

fn reason(outcome: Result<(), AssertionError>) -> AssertionReason {
    match outcome.unwrap_err() {
        AssertionError::Refused(reason) => reason,
        other => panic!("{other}"),
    }
}

/// S-107: neither junk nor another client's assertion makes anybody look for keys.
#[tokio::test]
async fn no_key_is_asked_for_before_the_assertion_was_looked_at() {
    let source = Source::new(Ok(set(&[&KEY])));
    let authenticator = authenticator(&source, Arc::new(MemoryReplay::new()));
    let others = KEY
        .sign(
            "JWT",
            &with(&server(), json!({"iss": "client-2", "sub": "client-2"})),
        )
        .unwrap();
    let elsewhere = KEY
        .sign("JWT", &with(&server(), json!({"aud": "https://other.example"})))
        .unwrap();
    for (assertion, expected) in [
        ("x", "malformed"),
        ("eyJhbGciOiJub25lIn0.e30.", "alg_blocked"),
        ("eyJhbGciOiJFUzI1NiJ9.eA.AA", "malformed"),
        (others.as_str(), "issuer"),
        (elsewhere.as_str(), "audience"),
    ] {
        let outcome = authenticator
            .authenticate("client-1", assertion, JWT_CLIENT_ASSERTION_TYPE)
            .await;
        assert_eq!(reason(outcome).code(), expected, "{assertion}");
    }
    assert_eq!(source.asked.load(Ordering::Relaxed), 0);
}

/// S-102, S-103, S-132: good once; and what is refused is not used up.
#[tokio::test]
async fn an_assertion_is_good_once() {
    let source = Source::new(Ok(set(&[&KEY])));
    let authenticator = authenticator(&source, Arc::new(MemoryReplay::new()));
    let good = KEY.sign("JWT", &claims(&server())).unwrap();
    let forged = SigningKey::generate(Algorithm::Es256).unwrap().with_key_id("k1");
    let bad = forged.sign("JWT", &claims(&server())).unwrap();
    let same_id = KEY
        .sign("JWT", &with(&server(), json!({"exp": NOW + 61})))
        .unwrap();
    let enter = |assertion: String| {
        let authenticator = authenticator.clone();
        async move {
            authenticator
                .authenticate("client-1", &assertion, JWT_CLIENT_ASSERTION_TYPE)
                .await
        }
    };
    assert_eq!(reason(enter(bad).await), AssertionReason::Signature);
    enter(good.clone()).await.unwrap();
    for used in [good, same_id] {
        assert_eq!(reason(enter(used).await), AssertionReason::Replay);
    }
}

/// S-120, S-122, JA-29, JA-30: one look for a newer set when the key is not there; none otherwise.
#[tokio::test]
async fn a_key_that_is_not_there_is_looked_for_once() {
    let new = SigningKey::generate(Algorithm::Es256).unwrap().with_key_id("k2");
    let source = Source::new(Ok(set(&[&KEY])));
    *source.next.lock().unwrap() = Some(Arc::new(set(&[&new])));
    let authenticator = authenticator(&source, Arc::new(MemoryReplay::new()));
    let enter = |key: &SigningKey, jti: &str| {
        let token = key.sign("JWT", &with(&server(), json!({"jti": jti}))).unwrap();
        let authenticator = authenticator.clone();
        async move {
            authenticator
                .authenticate("client-1", &token, JWT_CLIENT_ASSERTION_TYPE)
                .await
        }
    };
    enter(&KEY, "1").await.unwrap();
    assert_eq!(source.refreshed.load(Ordering::Relaxed), 0);
    enter(&new, "2").await.unwrap();
    assert_eq!(source.refreshed.load(Ordering::Relaxed), 1);
    // The old key is gone, and the look for it finds the same set.
    assert_eq!(reason(enter(&KEY, "3").await), AssertionReason::NoMatchingKey);
    assert_eq!(source.refreshed.load(Ordering::Relaxed), 2);
}

/// S-108, S-139: what cannot be checked is neither right nor wrong.
#[tokio::test]
async fn trouble_of_ours_is_not_the_clients() {
    let token = KEY.sign("JWT", &claims(&server())).unwrap();
    let outcome = |source: Result<KeySet, ClientKeysError>, replay: Arc<dyn Replay>| {
        let authenticator = authenticator(&Source::new(source), replay);
        let token = token.clone();
        async move {
            authenticator
                .authenticate("client-1", &token, JWT_CLIENT_ASSERTION_TYPE)
                .await
                .unwrap_err()
        }
    };
    let memory = || Arc::new(MemoryReplay::new());
    let unavailable =
        |error: &AssertionError| matches!(error, AssertionError::CannotCheck(StoreError::Unavailable(_)));
    let timed_out =
        |error: &AssertionError| matches!(error, AssertionError::CannotCheck(StoreError::TimedOut(_)));

    for (theirs, status) in [
        (ClientKeysError::Unavailable("x".to_owned()), 503),
        (ClientKeysError::TimedOut("x".to_owned()), 504),
    ] {
        match outcome(Err(theirs), memory()).await {
            AssertionError::KeysOutOfReach(error) => assert_eq!(error.response().status(), status),
            other => panic!("{other}"),
        }
    }
    let down = |error| Arc::new(Down(error));
    let keys = || Ok(set(&[&KEY]));
    assert!(unavailable(
        &outcome(keys(), down(StoreError::Unavailable("x".to_owned()))).await
    ));
    assert!(timed_out(
        &outcome(keys(), down(StoreError::TimedOut("x".to_owned()))).await
    ));
    for theirs in [ClientKeysError::None, ClientKeysError::Unusable("x".to_owned())] {
        assert_eq!(
            reason(Err(outcome(Err(theirs), memory()).await)),
            AssertionReason::NoKeys
        );
    }
}

/// S-138: a client that fills its share is told to wait, and is not let in unchecked.
#[tokio::test]
async fn a_memory_without_room_refuses() {
    let source = Source::new(Ok(set(&[&KEY])));
    let authenticator = authenticator(&source, Arc::new(MemoryReplay::with_room_for(10, 2)));
    for count in 0..4 {
        let token = KEY
            .sign("JWT", &with(&server(), json!({"jti": count.to_string()})))
            .unwrap();
        let outcome = authenticator
            .authenticate("client-1", &token, JWT_CLIENT_ASSERTION_TYPE)
            .await;
        let is_full = matches!(
            outcome,
            Err(AssertionError::CannotCheck(StoreError::Unavailable(_)))
        );
        assert_eq!((outcome.is_ok(), is_full), (count < 2, count >= 2), "{count}");
    }
}
