//! The contract of a [`TokenStorage`]: the same laws for every store of that trait.
//!
//! ```
//! use std::sync::Arc;
//!
//! use mcp_authflow::memory::MemoryTokenStorage;
//! use mcp_authflow_testkit::manual_clock::ManualClock;
//!
//! async fn make_storage(clock: Arc<ManualClock>) -> Box<MemoryTokenStorage> {
//!     Box::new(MemoryTokenStorage::new(clock))
//! }
//!
//! mcp_authflow_testkit::token_storage_contract!(make_storage);
//! # fn main() {}
//! ```
//!
//! `make_storage` is called once a law with the clock that the store must go by, and answers a fresh, closed store under
//! the strict rules, or a guard that derefs to one.

#![allow(
    missing_docs,
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a law says what it wants in its name, and fails by panicking"
)]

use std::{ops::Deref, sync::Arc, time::Duration};

use mcp_authflow::port::token_storage::{
    NewToken, TokenCount, TokenKind, TokenRecord, TokenStorage, TokenStorageError, UserId,
};
use mcp_authflow_types::Timestamp;

use crate::{contract::race::race, manual_clock::ManualClock};

/// When every law begins.
pub const START: i64 = 1_800_000_000;

/// Checks one law against a fresh store; what [`token_storage_contract!`](crate::token_storage_contract) expands to.
pub fn check<G: Deref<Target: TokenStorage + Sized>>(
    make_storage: impl AsyncFnOnce(Arc<ManualClock>) -> G,
    law: impl AsyncFnOnce(&dyn TokenStorage, &ManualClock),
) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let clock = Arc::new(ManualClock::at(Timestamp::from_seconds(START)));
        let checked = tokio::time::timeout(Duration::from_secs(120), async {
            let storage = make_storage(clock.clone()).await;
            law(&*storage, &clock).await;
        });
        checked.await.expect("the law is checked within two minutes");
    });
}

/// Expands to one test for every law of the [contract](crate::token_storage).
#[macro_export]
macro_rules! token_storage_contract {
    ($make_storage:expr) => {
        $crate::token_storage_contract! { @laws $make_storage;
            what_is_stored_is_read_back;
            an_unknown_token_is_not_there;
            the_two_kinds_know_nothing_of_each_other;
            whatever_is_left_out_is_left_out_again;
            storing_again_replaces_what_was_said;
            a_token_is_never_bound_to_another_client;
            a_record_is_a_copy;
            a_token_is_over_from_the_second_it_expires;
            an_expired_token_is_removed_by_a_look;
            deleting_needs_nothing_to_delete;
            revoking_a_client_removes_all_of_it_and_nothing_else;
            a_clean_up_removes_what_is_over_and_counts_it;
            counts_tell_live_from_expired;
            nothing_works_before_it_is_initialized_or_after_it_is_closed;
            initializing_twice_keeps_everything_and_closing_twice_is_fine;
            one_of_many_callers_takes_a_refresh_token;
            an_expired_refresh_token_is_taken_by_nobody;
            racing_clients_do_not_share_a_token;
            a_token_stored_anew_survives_a_look_that_found_it_expired;
            hostile_text_survives;
        }
    };
    (@laws $make_storage:expr; $($law:ident;)+) => {
        $(
            #[test]
            fn $law() {
                $crate::token_storage::check($make_storage, $crate::token_storage::$law);
            }
        )+
    };
}

/// The operations of one kind under one name.
struct Of<'a>(&'a dyn TokenStorage, TokenKind);

impl Of<'_> {
    async fn store(&self, token: &str, new: &NewToken) -> Result<(), TokenStorageError> {
        match self.1 {
            TokenKind::Access => self.0.store_token(token, new).await,
            TokenKind::Refresh => self.0.store_refresh_token(token, new).await,
        }
    }

    async fn load(&self, token: &str) -> Option<TokenRecord> {
        match self.1 {
            TokenKind::Access => self.0.load_token(token).await,
            TokenKind::Refresh => self.0.load_refresh_token(token).await,
        }
        .unwrap()
    }

    async fn delete(&self, token: &str) {
        match self.1 {
            TokenKind::Access => self.0.delete_token(token).await,
            TokenKind::Refresh => self.0.delete_refresh_token(token).await,
        }
        .unwrap();
    }

    async fn clean_up(&self) -> u64 {
        match self.1 {
            TokenKind::Access => self.0.cleanup_expired_tokens().await,
            TokenKind::Refresh => self.0.cleanup_expired_refresh_tokens().await,
        }
        .unwrap()
    }

    async fn count(&self) -> TokenCount {
        match self.1 {
            TokenKind::Access => self.0.get_token_count().await,
            TokenKind::Refresh => self.0.get_refresh_token_count().await,
        }
        .unwrap()
    }
}

fn both(storage: &dyn TokenStorage) -> [Of<'_>; 2] {
    TokenKind::ALL.map(|kind| Of(storage, kind))
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(START + seconds)
}

/// A token of `client`, good for `seconds` from the start.
fn token(client: &str, seconds: i64) -> NewToken {
    let mut new = NewToken::new(client, at(seconds));
    new.scopes = vec!["read".to_owned()];
    new
}

/// S-174, S-175, S-176
pub async fn what_is_stored_is_read_back(storage: &dyn TokenStorage, clock: &ManualClock) {
    storage.initialize().await.unwrap();
    for of in both(storage) {
        let mut new = token("c1", 100);
        new.scopes = vec!["read".to_owned(), "write".to_owned()];
        new.resource = Some("https://mcp.example".to_owned());
        new.user_id = Some(UserId::Integer(42));
        of.store("t1", &new).await.unwrap();
        clock.advance(Duration::from_secs(1));
        let found = of.load("t1").await.unwrap();
        let expected = TokenRecord {
            created_at: found.created_at,
            ..TokenRecord::of(&new, at(0))
        };
        assert_eq!(found, expected);
        assert_eq!(of.load("t1").await, Some(expected));
    }
}

/// S-176
pub async fn an_unknown_token_is_not_there(storage: &dyn TokenStorage, _: &ManualClock) {
    storage.initialize().await.unwrap();
    for of in both(storage) {
        of.store("t1", &token("c1", 100)).await.unwrap();
        for other in ["T1", "t1 ", " t1", "t1\n", "", "t"] {
            assert_eq!(of.load(other).await, None, "{other:?}");
        }
    }
}

/// S-175
pub async fn the_two_kinds_know_nothing_of_each_other(storage: &dyn TokenStorage, _: &ManualClock) {
    storage.initialize().await.unwrap();
    let [access, refresh] = both(storage);
    access.store("same", &token("c1", 100)).await.unwrap();
    assert_eq!(refresh.load("same").await, None);
    refresh.store("same", &token("c2", 100)).await.unwrap();
    access.delete("same").await;
    assert_eq!(access.load("same").await, None);
    assert_eq!(refresh.load("same").await.unwrap().client_id, "c2");
}

/// S-175
pub async fn whatever_is_left_out_is_left_out_again(storage: &dyn TokenStorage, _: &ManualClock) {
    storage.initialize().await.unwrap();
    for of in both(storage) {
        of.store("t", &NewToken::new("", at(100))).await.unwrap();
        let found = of.load("t").await.unwrap();
        assert_eq!(
            (
                found.client_id.as_str(),
                found.scopes.len(),
                found.resource,
                found.user_id
            ),
            ("", 0, None, None)
        );
    }
}

/// S-180
pub async fn storing_again_replaces_what_was_said(storage: &dyn TokenStorage, clock: &ManualClock) {
    storage.initialize().await.unwrap();
    for of in both(storage) {
        let mut new = token("c1", 100);
        new.resource = Some("r".to_owned());
        new.user_id = Some(UserId::Integer(1));
        of.store("t", &new).await.unwrap();
        clock.advance(Duration::from_secs(1));
        let mut again = token("c1", 500);
        again.scopes = vec!["admin".to_owned()];
        of.store("t", &again).await.unwrap();
        let found = of.load("t").await.unwrap();
        assert_eq!(
            (found.scopes, found.resource, found.user_id, found.expires_at),
            (vec!["admin".to_owned()], None, None, at(500))
        );
        assert_eq!(of.count().await.stored(), 1);
        of.delete("t").await;
        of.store("t", &token("c2", 100)).await.unwrap();
    }
}

/// S-180
pub async fn a_token_is_never_bound_to_another_client(storage: &dyn TokenStorage, _: &ManualClock) {
    storage.initialize().await.unwrap();
    for of in both(storage) {
        of.store("t", &token("c1", 100)).await.unwrap();
        let answer = of.store("t", &token("c2", 500)).await;
        assert_eq!(answer, Err(TokenStorageError::OtherClients));
        let found = of.load("t").await.unwrap();
        assert_eq!((found.client_id.as_str(), found.expires_at), ("c1", at(100)));
    }
}

/// S-192
pub async fn a_record_is_a_copy(storage: &dyn TokenStorage, _: &ManualClock) {
    storage.initialize().await.unwrap();
    for of in both(storage) {
        let mut new = token("c1", 100);
        of.store("t", &new).await.unwrap();
        new.scopes.push("injected".to_owned());
        let mut found = of.load("t").await.unwrap();
        found.scopes.push("injected".to_owned());
        assert_eq!(of.load("t").await.unwrap().scopes, ["read"]);
    }
}

/// S-190, S-200
pub async fn a_token_is_over_from_the_second_it_expires(storage: &dyn TokenStorage, clock: &ManualClock) {
    storage.initialize().await.unwrap();
    for of in both(storage) {
        clock.set(at(0));
        of.store("t", &token("c1", 10)).await.unwrap();
        clock.set(at(9));
        assert!(of.load("t").await.is_some());
        clock.set(at(10));
        assert_eq!(of.load("t").await, None);
        for expires_at in [-5 - START, -START, -1, 0] {
            of.store("old", &token("c1", expires_at)).await.unwrap();
            assert_eq!(of.load("old").await, None, "{expires_at}");
        }
    }
}

/// S-176
pub async fn an_expired_token_is_removed_by_a_look(storage: &dyn TokenStorage, _: &ManualClock) {
    storage.initialize().await.unwrap();
    for of in both(storage) {
        of.store("t", &token("c1", -1)).await.unwrap();
        assert_eq!(of.count().await, TokenCount { live: 0, expired: 1 });
        assert_eq!(of.load("t").await, None);
        assert_eq!(of.count().await, TokenCount::default());
    }
}

/// S-177
pub async fn deleting_needs_nothing_to_delete(storage: &dyn TokenStorage, _: &ManualClock) {
    storage.initialize().await.unwrap();
    for of in both(storage) {
        of.delete("nothing").await;
        of.store("t1", &token("c1", 100)).await.unwrap();
        of.store("t2", &token("c1", 100)).await.unwrap();
        of.delete("t1").await;
        of.delete("t1").await;
        assert_eq!(of.load("t1").await, None);
        assert!(of.load("t2").await.is_some());
    }
}

/// S-178, S-204
pub async fn revoking_a_client_removes_all_of_it_and_nothing_else(
    storage: &dyn TokenStorage,
    _: &ManualClock,
) {
    storage.initialize().await.unwrap();
    let [access, refresh] = both(storage);
    for (name, client, seconds) in [
        ("1", "c1", 100),
        ("2", "c1", -100),
        ("3", "C1", 100),
        ("4", "c1 ", 100),
        ("5", "", 100),
        ("6", "c%", 100),
    ] {
        access.store(name, &token(client, seconds)).await.unwrap();
        refresh.store(name, &token(client, seconds)).await.unwrap();
    }
    assert_eq!(storage.revoke_client_tokens("nobody").await, Ok(0));
    assert_eq!(storage.revoke_client_tokens("c%").await, Ok(2));
    assert_eq!(storage.revoke_client_tokens("c1").await, Ok(4));
    assert_eq!(storage.revoke_client_tokens("c1").await, Ok(0));
    for of in [&access, &refresh] {
        assert_eq!((of.load("1").await, of.load("6").await), (None, None));
        assert_eq!(of.count().await, TokenCount { live: 3, expired: 0 });
    }
    assert_eq!(storage.revoke_client_tokens("").await, Ok(2));
}

/// S-179, S-193, S-203
pub async fn a_clean_up_removes_what_is_over_and_counts_it(storage: &dyn TokenStorage, clock: &ManualClock) {
    storage.initialize().await.unwrap();
    for of in both(storage) {
        clock.set(at(0));
        assert_eq!(of.clean_up().await, 0);
        for (name, seconds) in [("t1", 10), ("t2", 11), ("t3", 12), ("live", 1_000)] {
            of.store(name, &token("c1", seconds)).await.unwrap();
        }
        clock.set(at(11));
        assert_eq!(of.clean_up().await, 1);
        clock.set(at(100));
        assert_eq!((of.clean_up().await, of.clean_up().await), (2, 0));
        assert!(of.load("live").await.is_some());
        // More than any store takes in one batch.
        for number in 0..1_500 {
            of.store(&format!("x{number}"), &token("c1", 1)).await.unwrap();
        }
        assert_eq!(of.clean_up().await, 1_500);
        assert_eq!(of.count().await, TokenCount { live: 1, expired: 0 });
    }
}

/// S-179, S-205
pub async fn counts_tell_live_from_expired(storage: &dyn TokenStorage, clock: &ManualClock) {
    storage.initialize().await.unwrap();
    let [access, refresh] = both(storage);
    for number in 0..25 {
        access
            .store(&number.to_string(), &token("c1", 100))
            .await
            .unwrap();
    }
    access.store("soon over", &token("c1", 10)).await.unwrap();
    refresh.store("1", &token("c1", 100)).await.unwrap();
    clock.set(at(10));
    assert_eq!(access.count().await, TokenCount { live: 25, expired: 1 });
    assert_eq!(access.count().await.stored(), 26);
    assert_eq!(refresh.count().await, TokenCount { live: 1, expired: 0 });
}

/// S-187
pub async fn nothing_works_before_it_is_initialized_or_after_it_is_closed(
    storage: &dyn TokenStorage,
    _: &ManualClock,
) {
    for round in 0..2 {
        let no = TokenStorageError::NotInitialized;
        let new = token("c1", 100);
        assert_eq!(storage.store_token("t", &new).await, Err(no.clone()));
        assert_eq!(storage.load_token("t").await, Err(no.clone()));
        assert_eq!(storage.delete_token("t").await, Err(no.clone()));
        assert_eq!(storage.store_refresh_token("t", &new).await, Err(no.clone()));
        assert_eq!(storage.load_refresh_token("t").await, Err(no.clone()));
        assert_eq!(storage.delete_refresh_token("t").await, Err(no.clone()));
        assert_eq!(storage.revoke_client_tokens("c1").await, Err(no.clone()));
        assert_eq!(storage.cleanup_expired_tokens().await, Err(no.clone()));
        assert_eq!(storage.cleanup_expired_refresh_tokens().await, Err(no.clone()));
        assert_eq!(storage.get_token_count().await, Err(no.clone()));
        assert_eq!(storage.get_refresh_token_count().await, Err(no.clone()));
        assert_eq!(storage.take_refresh_token("t").await, Err(no));
        if round == 0 {
            storage.initialize().await.unwrap();
            storage.store_token("t", &new).await.unwrap();
            storage.close().await;
        }
    }
}

/// S-188, S-198
pub async fn initializing_twice_keeps_everything_and_closing_twice_is_fine(
    storage: &dyn TokenStorage,
    _: &ManualClock,
) {
    storage.close().await;
    storage.initialize().await.unwrap();
    storage.store_token("t", &token("c1", 100)).await.unwrap();
    storage.initialize().await.unwrap();
    assert!(storage.load_token("t").await.unwrap().is_some());
    storage.close().await;
    storage.close().await;
    storage.initialize().await.unwrap();
    storage.store_token("t2", &token("c1", 100)).await.unwrap();
}

/// S-182
pub async fn one_of_many_callers_takes_a_refresh_token(storage: &dyn TokenStorage, _: &ManualClock) {
    storage.initialize().await.unwrap();
    for round in 0..20 {
        let name = format!("t{round}");
        storage
            .store_refresh_token(&name, &token("c1", 100))
            .await
            .unwrap();
        let taken = race(8, async |_| storage.take_refresh_token(&name).await.unwrap());
        let winners: Vec<_> = taken.into_iter().flatten().collect();
        assert_eq!(winners.len(), 1, "{winners:?}");
        assert_eq!(winners[0].client_id, "c1");
        assert_eq!(storage.load_refresh_token(&name).await, Ok(None));
    }
    assert_eq!(storage.take_refresh_token("unknown").await, Ok(None));
}

/// S-182
pub async fn an_expired_refresh_token_is_taken_by_nobody(storage: &dyn TokenStorage, clock: &ManualClock) {
    storage.initialize().await.unwrap();
    storage.store_refresh_token("t", &token("c1", 10)).await.unwrap();
    clock.set(at(10));
    assert_eq!(storage.take_refresh_token("t").await, Ok(None));
}

/// S-180
pub async fn racing_clients_do_not_share_a_token(storage: &dyn TokenStorage, _: &ManualClock) {
    storage.initialize().await.unwrap();
    for round in 0..20 {
        let name = format!("t{round}");
        let answers = race(8, async |runner| {
            storage
                .store_token(&name, &token(&format!("c{runner}"), 100))
                .await
        });
        let winner = answers.iter().position(Result::is_ok).unwrap();
        for (runner, answer) in answers.iter().enumerate() {
            let expected = if runner == winner {
                Ok(())
            } else {
                Err(TokenStorageError::OtherClients)
            };
            assert_eq!(*answer, expected, "{answers:?}");
        }
        let found = storage.load_token(&name).await.unwrap().unwrap();
        assert_eq!(found.client_id, format!("c{winner}"));
    }
}

/// S-200
pub async fn a_token_stored_anew_survives_a_look_that_found_it_expired(
    storage: &dyn TokenStorage,
    _: &ManualClock,
) {
    storage.initialize().await.unwrap();
    for round in 0..20 {
        let name = format!("t{round}");
        storage.store_token(&name, &token("c1", -1)).await.unwrap();
        race(8, async |runner| {
            if runner == 0 {
                storage.store_token(&name, &token("c1", 100)).await.unwrap();
            } else {
                storage.load_token(&name).await.unwrap();
            }
        });
        assert!(
            storage.load_token(&name).await.unwrap().is_some(),
            "round {round}"
        );
    }
}

/// S-175
pub async fn hostile_text_survives(storage: &dyn TokenStorage, _: &ManualClock) {
    storage.initialize().await.unwrap();
    for of in both(storage) {
        for text in crate::contract::sample::hostile_texts() {
            let mut new = token(&text, 100);
            new.resource = Some(text.clone());
            of.store(&text, &new).await.unwrap();
            let found = of.load(&text).await.unwrap();
            assert_eq!((found.client_id, found.resource), (text.clone(), Some(text)));
        }
        of.store("a\0b", &token("c1", 100)).await.unwrap();
        assert!(of.load("a\0b").await.is_some());
    }
}

#[cfg(test)]
mod tests {
    /// A law that is written and never checked is worse than none.
    #[test]
    fn every_law_is_in_the_list() {
        let text = include_str!("token_storage.rs");
        let laws = text
            .split("pub async fn ")
            .skip(1)
            .filter_map(|rest| rest.split_once('('));
        let laws: Vec<&str> = laws
            .map(|(name, _)| name)
            .filter(|name| !name.contains('"'))
            .collect();
        assert!(laws.len() > 15);
        for law in laws {
            assert!(
                text.contains(&format!("            {law};\n")),
                "{law} is not in the list"
            );
        }
    }
}
