//! Signing in, below HTTP.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use mcp_authflow::{
    Ports, Settings,
    memory::{MemoryRateLimit, MemoryStore},
    port::{
        Clock as _, NoFetch,
        store::{AddUser, UserStore as _},
    },
};
use mcp_authflow_testkit::{audit_log::AuditLog, manual_clock::ManualClock, seeded_entropy::SeededEntropy};
use mcp_authflow_types::Issuer;

use super::*;
use crate::pages::{OneLine, Site};

const PASSWORD: &str = "correct horse battery staple";

/// People among whom alice has an account, and bob had one.
async fn people() -> People {
    let (store, clock) = (
        Arc::new(MemoryStore::new()),
        Arc::new(ManualClock::at(Timestamp::from_seconds(1_790_000_000))),
    );
    for (number, name) in ["alice", "bob"].into_iter().enumerate() {
        let user = User {
            id: UserId::from_random([u8::try_from(number).unwrap(); 16]),
            username: name.to_owned(),
            display_name: None,
            password_hash: password::hash(PASSWORD).unwrap(),
            is_admin: false,
            created_at: clock.now(),
            disabled_at: None,
        };
        assert_eq!(store.add_user(&user, false).await.unwrap(), AddUser::Added);
    }
    assert!(store.set_user_disabled("bob", true, clock.now()).await.unwrap());
    let key = ServerKey::from_bytes([7; 32]);
    let ports = Ports {
        store: store.clone(),
        clock: clock.clone(),
        entropy: Arc::new(SeededEntropy::new(1)),
        audit: Arc::new(AuditLog::default()),
        key: key.clone(),
        rate_limit: Arc::new(MemoryRateLimit::new(clock)),
        replay: None,
        old_tokens: None,
        fetch: Arc::new(NoFetch),
    };
    let settings = Settings::new(Issuer::parse("https://auth.example").unwrap());
    let site = Site {
        name: OneLine::name("authflow"),
        host: OneLine::name("auth.example"),
        base_path: String::new(),
    };
    let sessions = Sessions {
        idle: Duration::from_secs(60),
        absolute: Duration::from_secs(60),
    };
    People::new(
        AuthorizationServer::new(settings, ports),
        store,
        Pages::new(&site, None).unwrap(),
        key,
        sessions,
    )
}

/// TI-01: whatever name is tried, a password is checked for it: who waits for that learns nothing by it. Nothing is timed here.
/// With no place left to check passwords in, whoever would be answered without a check would not be told to come back.
#[tokio::test]
async fn a_password_is_checked_for_every_name() {
    let people = people().await;
    let long = "a".repeat(10_000);
    let names = ["alice", "nobody", "bob", "", "!!", "a\0b", "né", long.as_str()];
    let nobody_waits = people.inner.passwords.take_every_place().unwrap();
    for name in names {
        for tried in ["not this one at all", PASSWORD, ""] {
            let outcome = people.sign_in(name, tried, None, None).await;
            assert!(matches!(outcome, SignIn::Busy), "{name:.10} {tried}");
        }
    }
    drop(nobody_waits);
    for name in names {
        let outcome = people.sign_in(name, "not this one at all", None, None).await;
        assert!(matches!(outcome, SignIn::Wrong(_)), "{name:.10}");
    }
    // Right for an account that is disabled is as wrong as anything.
    let outcome = people.sign_in("bob", PASSWORD, None, None).await;
    assert!(matches!(outcome, SignIn::Wrong(None)));
    let outcome = people.sign_in("alice", PASSWORD, None, None).await;
    assert!(matches!(outcome, SignIn::Done(..)));
}
