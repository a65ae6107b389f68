//! Laws about what may be used once.

use mcp_authflow::port::{OneTimeUse, RecordOnce, ReplayKind};
use mcp_authflow_types::Timestamp;

use super::{
    WholeStore,
    race::{RUNNERS, one_won, race},
    sample,
};

/// One that nobody has used, of an owner that every other one has, too.
fn unused(expires_at: Timestamp) -> OneTimeUse {
    of("owner", &sample::number().to_string(), expires_at)
}

fn of(owner: &str, identifier: &str, expires_at: Timestamp) -> OneTimeUse {
    let kind = ReplayKind::ClientAssertion;
    OneTimeUse::new(kind, owner, identifier, sample::now(), expires_at)
}

async fn record(store: &dyn WholeStore, once: &OneTimeUse) -> RecordOnce {
    store.record_once(once, sample::now()).await.unwrap()
}

pub async fn what_is_used_once_is_a_replay_ever_after(store: &dyn WholeStore) {
    let once = unused(sample::in_seconds(300));
    assert_eq!(record(store, &once).await, RecordOnce::FirstUse);
    for _ in 0..3 {
        assert_eq!(record(store, &once).await, RecordOnce::Replay);
    }
    // Whatever it says of its life: it is the same one.
    let mut longer = once;
    longer.expires_at = sample::in_seconds(600);
    longer.issued_at = sample::in_seconds(1);
    assert_eq!(record(store, &longer).await, RecordOnce::Replay);
}

pub async fn one_owners_identifiers_do_not_block_anothers(store: &dyn WholeStore) {
    let expires_at = sample::in_seconds(300);
    for (owner, identifier) in [
        ("a", "bc"),
        ("ab", "c"),
        ("b", "bc"),
        ("a", "BC"),
        ("", ""),
        ("a", ""),
    ] {
        let once = of(owner, identifier, expires_at);
        assert_eq!(
            record(store, &once).await,
            RecordOnce::FirstUse,
            "{owner} {identifier}"
        );
        assert_eq!(
            record(store, &once).await,
            RecordOnce::Replay,
            "{owner} {identifier}"
        );
    }
}

/// P1
pub async fn one_of_many_racing_callers_is_the_first(store: &dyn WholeStore) {
    for _ in 0..20 {
        let once = unused(sample::in_seconds(300));
        let answers = race(RUNNERS, async |_| record(store, &once).await);
        one_won(&answers, &RecordOnce::FirstUse, &RecordOnce::Replay);
        assert_eq!(record(store, &once).await, RecordOnce::Replay);
    }
}

pub async fn of_what_has_expired_nobody_can_tell(store: &dyn WholeStore) {
    for seconds in [-1, -86_400] {
        let once = unused(sample::in_seconds(seconds));
        for _ in 0..2 {
            assert_eq!(record(store, &once).await, RecordOnce::CannotTell);
        }
    }
}

/// P1, S-134, S-136: a purge opens no window, and leaves nothing behind.
pub async fn a_use_is_remembered_for_as_long_as_it_could_be_accepted(store: &dyn WholeStore) {
    let short: Vec<OneTimeUse> = (0..5).map(|_| unused(sample::in_seconds(2))).collect();
    let long = unused(sample::in_seconds(300));
    for once in short.iter().chain([&long]) {
        assert_eq!(record(store, once).await, RecordOnce::FirstUse);
    }
    let deadline = short[4].expires_at;
    let mut purged = 0;
    while !deadline.has_passed(sample::now()) {
        for once in &short {
            let answer = record(store, once).await;
            assert_ne!(answer, RecordOnce::FirstUse);
        }
        purged += store
            .purge_expired(sample::now(), 100)
            .await
            .unwrap()
            .one_time_uses;
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    sample::until_passed(deadline).await;
    for _ in 0..4 {
        let step = store.purge_expired(sample::now(), 2).await.unwrap().one_time_uses;
        assert!(step <= 2, "{step}");
        purged += step;
        for once in &short {
            assert_ne!(record(store, once).await, RecordOnce::FirstUse);
        }
    }
    assert!(purged <= 5, "{purged}");
    let rest = store.purge_expired(sample::now(), 100).await.unwrap();
    assert_eq!(rest.one_time_uses, 0, "nothing is left behind");
    assert_eq!(record(store, &long).await, RecordOnce::Replay);
    assert_eq!(record(store, &short[0]).await, RecordOnce::CannotTell);
    assert_eq!(
        record(store, &unused(sample::in_seconds(300))).await,
        RecordOnce::FirstUse
    );
}
