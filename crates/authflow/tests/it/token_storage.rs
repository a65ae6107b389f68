//! The contract of token storage, on the one in memory, and what only that one has: a cap.

use std::sync::Arc;

use mcp_authflow::{
    memory::MemoryTokenStorage,
    port::token_storage::{NewToken, TokenRules, TokenStorage as _, TokenStorageError, token_fingerprint},
};
use mcp_authflow_testkit::manual_clock::ManualClock;
use mcp_authflow_types::Timestamp;

use crate::log::Log;

async fn make_storage(clock: Arc<ManualClock>) -> Box<MemoryTokenStorage> {
    Box::new(MemoryTokenStorage::new(clock))
}

mcp_authflow_testkit::token_storage_contract!(make_storage);

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(seconds)
}

/// S-193
#[tokio::test]
async fn a_full_store_makes_room_of_expired_tokens_and_refuses_when_there_are_none() {
    let clock = Arc::new(ManualClock::at(at(1_000)));
    let storage = MemoryTokenStorage::new(clock.clone()).holding_at_most(3);
    storage.initialize().await.unwrap();
    for (name, end) in [("a", 1_010), ("b", 1_020), ("c", 2_000)] {
        storage
            .store_token(name, &NewToken::new("c1", at(end)))
            .await
            .unwrap();
    }
    let new = NewToken::new("c1", at(2_000));
    assert_eq!(
        storage.store_token("d", &new).await,
        Err(TokenStorageError::Full(3))
    );
    // One that is there already takes no room, and the other kind has its own.
    storage.store_token("c", &new).await.unwrap();
    storage.store_refresh_token("d", &new).await.unwrap();
    clock.set(at(1_011));
    storage.store_token("d", &new).await.unwrap();
    assert_eq!(storage.load_token("a").await, Ok(None));
    assert_eq!(
        storage.store_token("e", &new).await,
        Err(TokenStorageError::Full(3))
    );
}

/// S-188: what was in memory is gone when it is closed.
#[tokio::test]
async fn closing_empties_the_store() {
    let storage = MemoryTokenStorage::new(Arc::new(ManualClock::at(at(1_000))));
    storage.initialize().await.unwrap();
    storage
        .store_token("t", &NewToken::new("c1", at(2_000)))
        .await
        .unwrap();
    storage.close().await;
    storage.initialize().await.unwrap();
    assert_eq!(storage.load_token("t").await, Ok(None));
}

/// S-180, S-190, S-191: the Python package's rules are there for who needs them.
#[tokio::test]
async fn under_the_python_packages_rules_a_token_is_bound_anew_and_good_at_its_last_second() {
    let clock = Arc::new(ManualClock::at(at(1_000)));
    let storage = MemoryTokenStorage::new(clock.clone()).with_rules(TokenRules::Python);
    storage.initialize().await.unwrap();
    storage
        .store_token("t", &NewToken::new("c1", at(2_000)))
        .await
        .unwrap();
    clock.set(at(1_001));
    storage
        .store_token("t", &NewToken::new("c2", at(1_010)))
        .await
        .unwrap();
    assert_eq!(storage.revoke_client_tokens("c1").await, Ok(0));
    clock.set(at(1_010));
    let found = storage.load_token("t").await.unwrap().unwrap();
    assert_eq!((found.client_id.as_str(), found.created_at), ("c2", at(1_001)));
    clock.set(at(1_011));
    assert_eq!(storage.load_token("t").await, Ok(None));
}

/// S-189: no form of what is kept shows a token.
#[tokio::test]
async fn nothing_that_is_kept_shows_the_token() {
    let storage = MemoryTokenStorage::new(Arc::new(ManualClock::at(at(1_000))));
    storage.initialize().await.unwrap();
    storage
        .store_token("a secret token", &NewToken::new("c1", at(2_000)))
        .await
        .unwrap();
    let found = storage.load_token("a secret token").await.unwrap();
    assert!(!format!("{found:?} {storage:?}").contains("secret"));
}

/// S-185
#[tokio::test]
async fn the_log_tells_what_happens_by_fingerprints_and_never_a_token() {
    let log = Log::listen();
    let clock = Arc::new(ManualClock::at(at(1_000)));
    let storage = MemoryTokenStorage::new(clock.clone());
    storage.initialize().await.unwrap();
    for (token, client) in [
        ("secret-1", "c1"),
        ("secret-2", "evil\nINFO forged"),
        ("secret-3", "c1"),
    ] {
        storage
            .store_token(token, &NewToken::new(client, at(2_000)))
            .await
            .unwrap();
    }
    storage.load_token("secret-unknown").await.unwrap();
    storage.delete_token("secret-3").await.unwrap();
    storage.revoke_client_tokens("evil\nINFO forged").await.unwrap();
    clock.set(at(3_000));
    storage.cleanup_expired_tokens().await.unwrap();
    storage.cleanup_expired_tokens().await.unwrap();
    storage.revoke_client_tokens("c1").await.unwrap();
    storage.close().await;
    let log = log.text();
    assert!(!log.contains("secret"), "{log}");
    for (level, what, times) in [
        ("INFO", "opened", 1),
        ("DEBUG", "access token stored", 3),
        ("DEBUG", "no such access token", 1),
        ("DEBUG", "access token deleted", 1),
        ("INFO", "all tokens of a client revoked", 1),
        ("INFO", "expired access tokens cleaned up", 1),
        ("INFO", "closed", 1),
    ] {
        let lines = log
            .lines()
            .filter(|line| line.contains(level) && line.contains(what));
        assert_eq!(lines.count(), times, "{what}: {log}");
    }
    assert!(log.contains(&token_fingerprint("secret-1")), "{log}");
    assert!(
        !log.lines()
            .any(|line| line.trim_start().starts_with("INFO forged")),
        "{log}"
    );
}
