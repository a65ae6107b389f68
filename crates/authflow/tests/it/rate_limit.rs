//! The limiter in memory.

use std::{sync::Arc, time::Duration};

use mcp_authflow::{
    memory::MemoryRateLimit,
    port::{
        RateLimit as _,
        rate_limit::{Admission, Limit},
    },
};
use mcp_authflow_testkit::manual_clock::ManualClock;
use mcp_authflow_types::Timestamp;

const LIMIT: Limit = Limit {
    name: "login",
    tries: 3,
    window: Duration::from_secs(60),
};

fn limiter() -> (Arc<ManualClock>, MemoryRateLimit) {
    let clock = Arc::new(ManualClock::at(Timestamp::from_seconds(1_790_000_000)));
    (clock.clone(), MemoryRateLimit::new(clock))
}

fn refused(seconds: u64) -> Admission {
    Admission::Refused {
        retry_after: Duration::from_secs(seconds),
    }
}

#[tokio::test]
async fn a_window_of_any_start_admits_no_more_than_the_limit() {
    let (clock, limiter) = limiter();
    let mut admitted: Vec<u64> = Vec::new();
    for second in 0..300 {
        if limiter.admit(LIMIT, "alice").await == Admission::Admitted {
            admitted.push(second);
        }
        clock.advance(Duration::from_secs(1));
    }
    assert_eq!(&admitted[..6], [0, 1, 2, 60, 61, 62]);
    for start in &admitted {
        let within = admitted.iter().filter(|at| (*start..start + 60).contains(at));
        assert!(within.count() <= 3);
    }
}

/// S-062
#[tokio::test]
async fn whoever_waits_as_long_as_he_is_told_is_admitted() {
    let (clock, limiter) = limiter();
    for _ in 0..3 {
        assert_eq!(limiter.admit(LIMIT, "alice").await, Admission::Admitted);
        clock.advance(Duration::from_secs(10));
    }
    for _ in 0..100 {
        assert_eq!(limiter.admit(LIMIT, "alice").await, refused(30));
    }
    clock.advance(Duration::from_secs(29));
    assert_eq!(limiter.admit(LIMIT, "alice").await, refused(1));
    clock.advance(Duration::from_secs(1));
    assert_eq!(limiter.admit(LIMIT, "alice").await, Admission::Admitted);
    assert_eq!(limiter.admit(LIMIT, "alice").await, refused(10));
}

#[tokio::test]
async fn keys_and_rules_do_not_mix() {
    let (_, limiter) = limiter();
    let other = Limit {
        name: "register",
        tries: 1,
        ..LIMIT
    };
    for key in ["alice", "ALICE", "", "alice "] {
        for _ in 0..3 {
            assert_eq!(limiter.admit(LIMIT, key).await, Admission::Admitted);
        }
        assert_eq!(limiter.admit(LIMIT, key).await, refused(60));
        assert_eq!(limiter.admit(other, key).await, Admission::Admitted);
        assert_eq!(limiter.admit(other, key).await, refused(60));
    }
    let none = Limit {
        name: "none",
        tries: 0,
        ..LIMIT
    };
    assert_eq!(limiter.admit(none, "alice").await, refused(60));
}

#[tokio::test]
async fn a_clock_set_back_locks_nobody_out_for_longer_than_a_window() {
    let (clock, limiter) = limiter();
    for _ in 0..3 {
        assert_eq!(limiter.admit(LIMIT, "alice").await, Admission::Admitted);
    }
    clock.set(Timestamp::from_seconds(1_780_000_000));
    assert_eq!(limiter.admit(LIMIT, "alice").await, refused(60));
    clock.advance(Duration::from_secs(60));
    assert_eq!(limiter.admit(LIMIT, "alice").await, Admission::Admitted);
}

#[tokio::test]
async fn a_full_limiter_forgets_what_is_over_first_and_then_the_quietest() {
    let (clock, limiter) = limiter();
    let limiter = limiter.with_room_for(4);
    let one = Limit { tries: 1, ..LIMIT };
    for key in ["a", "b", "c", "d"] {
        assert_eq!(limiter.admit(one, key).await, Admission::Admitted);
        clock.advance(Duration::from_secs(1));
    }
    // Nothing is over: the quietest goes, the others are remembered.
    assert_eq!(limiter.admit(one, "e").await, Admission::Admitted);
    for (key, seconds) in [("b", 57), ("c", 58), ("d", 59), ("e", 60)] {
        assert_eq!(limiter.admit(one, key).await, refused(seconds), "{key}");
    }
    // "b" is over: it goes, although others stand before it.
    clock.advance(Duration::from_secs(57));
    assert_eq!(limiter.admit(one, "f").await, Admission::Admitted);
    for (key, seconds) in [("c", 1), ("d", 2), ("e", 3), ("f", 60)] {
        assert_eq!(limiter.admit(one, key).await, refused(seconds), "{key}");
    }
}

#[tokio::test]
async fn a_flood_of_keys_is_held_in_bounded_room_and_refuses_no_newcomer() {
    let (clock, limiter) = limiter();
    let limiter = limiter.with_room_for(1_000);
    for number in 0..20_000 {
        let answer = limiter.admit(LIMIT, &format!("address {number}")).await;
        assert_eq!(answer, Admission::Admitted);
        if number % 100 == 0 {
            clock.advance(Duration::from_secs(1));
        }
    }
    let shown = format!("{limiter:?}");
    assert!(shown.contains("keys: 1000"), "{shown}");
}
