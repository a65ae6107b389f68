//! The limiter in memory.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use mcp_authflow::{
    SlidingWindowRateLimiter,
    memory::MemoryRateLimit,
    port::{
        RateLimit as _,
        rate_limit::{Admission, InvalidLimit, KeyState, Limit},
    },
};
use mcp_authflow_testkit::{
    contract::race::{RUNNERS, race},
    manual_clock::ManualClock,
};
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

fn part(tries: u32, seconds: u64) -> (Arc<ManualClock>, SlidingWindowRateLimiter) {
    let clock = Arc::new(ManualClock::at(Timestamp::from_seconds(1_790_000_000)));
    let window = Duration::from_secs(seconds);
    let limiter = SlidingWindowRateLimiter::in_memory("part", tries, window, clock.clone()).unwrap();
    (clock, limiter)
}

/// S-061
#[test]
fn a_limit_that_limits_nothing_or_everything_is_an_error() {
    let minute = Duration::from_secs(60);
    for (name, tries, window, error) in [
        ("part", 0, minute, InvalidLimit::NoTries),
        ("part", 1, Duration::ZERO, InvalidLimit::NoWindow),
        (
            "part",
            1,
            Limit::LONGEST + Duration::from_nanos(1),
            InvalidLimit::LongWindow,
        ),
        ("", 1, minute, InvalidLimit::Name),
        ("a b", 1, minute, InvalidLimit::Name),
        ("a:b", 1, minute, InvalidLimit::Name),
    ] {
        let stopwatch = Arc::new(|| Duration::ZERO);
        let made = SlidingWindowRateLimiter::in_memory(name, tries, window, stopwatch);
        assert_eq!(made.unwrap_err(), error, "{name} {tries} {window:?}");
    }
}

/// S-062, S-064, S-067
#[tokio::test]
async fn any_text_is_a_key_and_is_compared_exactly() {
    let (_, limiter) = part(2, 60);
    let long = "k".repeat(100_000);
    for key in [
        "",
        "a",
        "A",
        "a:b",
        " a",
        "é客🔑",
        "e\u{301}",
        "\u{e9}",
        "\0",
        &long,
        &long[1..],
    ] {
        let mut allowed = 0;
        for _ in 0..5 {
            allowed += u32::from(limiter.is_allowed(key).await);
        }
        assert_eq!(allowed, 2, "{key:.20}");
    }
}

/// S-063, S-070
#[tokio::test]
async fn the_wait_is_until_the_next_call_would_be_allowed() {
    let (clock, limiter) = part(2, 60);
    assert_eq!(limiter.retry_after("a").await, 0, "unknown");
    assert!(limiter.is_allowed("a").await);
    clock.advance(Duration::from_secs(10));
    assert_eq!(limiter.retry_after("a").await, 0, "not limited");
    assert!(limiter.is_allowed("a").await);
    assert_eq!(limiter.retry_after("a").await, 50);
    clock.advance(Duration::from_secs(50));
    assert_eq!(limiter.retry_after("a").await, 0);
    assert!(limiter.is_allowed("a").await);
    assert_eq!(limiter.retry_after("a").await, 10);
    clock.advance(Duration::from_secs(3_600));
    assert_eq!(limiter.retry_after("a").await, 0, "all aged out");
}

/// S-063: parts of a second are rounded up; one that is exactly a window old is over.
#[tokio::test]
async fn a_wait_of_parts_of_a_second_is_rounded_up() {
    let elapsed = Arc::new(AtomicU64::new(0));
    let stopwatch = {
        let elapsed = elapsed.clone();
        Arc::new(move || Duration::from_millis(elapsed.load(Ordering::SeqCst)))
    };
    let limiter =
        SlidingWindowRateLimiter::in_memory("part", 1, Duration::from_millis(2_500), stopwatch).unwrap();
    assert!(limiter.is_allowed("a").await);
    for (at, wait) in [
        (0, 3),
        (1, 3),
        (499, 3),
        (500, 2),
        (1_499, 2),
        (1_500, 1),
        (2_499, 1),
    ] {
        elapsed.store(at, Ordering::SeqCst);
        assert_eq!(limiter.retry_after("a").await, wait, "{at}");
        assert!(!limiter.is_allowed("a").await, "{at}");
    }
    elapsed.store(2_500, Ordering::SeqCst);
    assert_eq!(limiter.retry_after("a").await, 0);
    assert!(limiter.is_allowed("a").await);
}

/// S-070, as it was
#[tokio::test]
async fn the_wait_as_the_python_package_tells_it_is_there_for_comparison() {
    let (clock, limiter) = part(2, 60);
    assert_eq!(limiter.retry_after_as_in_python("a").await, 0);
    assert!(limiter.is_allowed("a").await);
    assert_eq!(limiter.retry_after_as_in_python("a").await, 61);
    clock.advance(Duration::from_secs(10));
    assert_eq!(limiter.retry_after_as_in_python("a").await, 51);
    clock.advance(Duration::from_secs(3_600));
    assert_eq!(limiter.retry_after_as_in_python("a").await, 1);
}

/// S-068, S-069
#[tokio::test]
async fn keys_that_are_over_go_once_a_window() {
    let clock = Arc::new(ManualClock::at(Timestamp::from_seconds(1_790_000_000)));
    let limiter = MemoryRateLimit::new(clock.clone());
    let one = Limit { tries: 1, ..LIMIT };
    let admit = async |key: &str| {
        assert_eq!(limiter.admit(one, key).await, Admission::Admitted);
        limiter.keys_of(one.name)
    };
    assert_eq!(admit("a").await, 1);
    clock.advance(Duration::from_secs(60));
    assert_eq!(admit("b").await, 2, "exactly a window old is held");
    clock.advance(Duration::from_secs(59));
    assert_eq!(admit("c").await, 3, "not twice in a window");
    clock.advance(Duration::from_secs(1));
    assert_eq!(admit("d").await, 3);
    clock.advance(Duration::from_secs(61));
    assert_eq!(admit("e").await, 1);
    assert_eq!(limiter.look(one, "unknown").await, KeyState::default());
    assert_eq!(limiter.keys_of(one.name), 1, "looking makes no key");
}

/// S-067: what has aged out goes with the next call of its key.
#[tokio::test]
async fn of_a_key_never_more_is_held_than_its_limit() {
    let clock = Arc::new(ManualClock::at(Timestamp::from_seconds(1_790_000_000)));
    let limiter = MemoryRateLimit::new(clock.clone());
    for second in 0..300 {
        let _ = limiter.admit(LIMIT, "a").await;
        let held = limiter.tries_of(LIMIT.name, "a");
        assert!((1..=3).contains(&held), "{second}: {held}");
        clock.advance(Duration::from_secs(1));
    }
}

/// S-072
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_threads_get_exactly_the_limit() {
    for _ in 0..20 {
        let (_, limiter) = part(500, 60);
        let allowed = race(RUNNERS, async |_| {
            let mut allowed = 0;
            for _ in 0..50 {
                allowed += u32::from(limiter.is_allowed("a").await);
            }
            allowed
        });
        assert_eq!(allowed.iter().sum::<u32>(), 500);
    }
}

/// S-066: twice the tries of a large limit take twice as long, not a thousand times. Counted in work, not in time: a
/// limit of 100,000 is used up and slides on within the patience of a test.
#[tokio::test]
async fn a_large_limit_costs_no_more_a_call_than_a_small_one() {
    let (clock, limiter) = part(100_000, 60);
    for _ in 0..4 {
        for _ in 0..100_000 {
            assert!(limiter.is_allowed("a").await);
        }
        for _ in 0..100_000 {
            assert!(!limiter.is_allowed("a").await);
        }
        clock.advance(Duration::from_secs(60));
    }
}

/// S-073: over one shared memory, several limiters of one name count together; others do not (S-075).
#[tokio::test]
async fn limiters_of_one_name_over_one_memory_count_together() {
    let backend: Arc<dyn mcp_authflow::port::RateLimit> =
        Arc::new(MemoryRateLimit::new(Arc::new(|| Duration::ZERO)));
    let over = |name| SlidingWindowRateLimiter::over(backend.clone(), name, 1, Duration::from_secs(60));
    let (one, same, other) = (over("one").unwrap(), over("one").unwrap(), over("other").unwrap());
    assert!(one.is_allowed("a").await);
    assert!(!same.is_allowed("a").await);
    assert!(other.is_allowed("a").await);
}

#[tokio::test]
async fn a_try_that_was_none_is_taken_back() {
    let (_, limiter) = limiter();
    for _ in 0..3 {
        assert_eq!(limiter.admit(LIMIT, "alice").await, Admission::Admitted);
    }
    limiter.take_back(LIMIT, "alice").await;
    limiter.take_back(LIMIT, "bob").await;
    assert_eq!(limiter.tries_of(LIMIT.name, "alice"), 2);
    assert_eq!(limiter.admit(LIMIT, "alice").await, Admission::Admitted);
    assert_eq!(limiter.admit(LIMIT, "alice").await, refused(60));
    for _ in 0..5 {
        limiter.take_back(LIMIT, "alice").await;
    }
    assert_eq!(limiter.keys_of(LIMIT.name), 0);
}

/// S-073, P10
#[tokio::test]
async fn of_several_nodes_that_do_not_count_together_each_admits_its_share() {
    for (nodes, tries, share) in [(0, 10, 10), (1, 10, 10), (3, 10, 3), (3, 2, 1), (3, 0, 0)] {
        let (_, limiter) = limiter();
        let limiter = limiter.for_one_of(nodes);
        let limit = Limit { tries, ..LIMIT };
        let mut admitted = 0;
        for _ in 0..20 {
            admitted += u32::from(limiter.admit(limit, "alice").await == Admission::Admitted);
        }
        assert_eq!(admitted, share, "{tries} over {nodes}");
        let wait = limiter.look(limit, "alice").await.retry_after;
        assert_eq!(wait, Duration::from_secs(60));
    }
}
