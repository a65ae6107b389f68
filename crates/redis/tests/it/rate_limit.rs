//! The limiter, on Redis and without it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use mcp_authflow::{
    SlidingWindowRateLimiter,
    port::{
        RateLimit as _, Stopwatch,
        rate_limit::{Admission, KeyState, Limit},
    },
};
use mcp_authflow_redis::{RedisConfig, RedisRateLimit};

use crate::server::{Server, connect, until_up};

const LIMIT: Limit = Limit {
    name: "login",
    tries: 10,
    window: Duration::from_secs(600),
};

#[expect(clippy::disallowed_methods, reason = "a test of real time")]
fn running() -> Arc<dyn Stopwatch> {
    let start = Instant::now();
    Arc::new(move || start.elapsed())
}

async fn limiter(config: &RedisConfig, nodes: u32) -> RedisRateLimit {
    RedisRateLimit::new(connect(config).await, running(), nodes)
}

/// Time that stands still, in milliseconds.
#[derive(Clone, Default)]
struct Still(Arc<AtomicU64>);

impl Still {
    fn set(&self, milliseconds: u64) {
        self.0.store(milliseconds, Ordering::SeqCst);
    }

    fn stopwatch(&self) -> Arc<dyn Stopwatch> {
        let time = self.0.clone();
        Arc::new(move || Duration::from_millis(time.load(Ordering::SeqCst)))
    }
}

async fn admitted(limiter: &RedisRateLimit, key: &str, tries: u32) -> u32 {
    let mut admitted = 0;
    for _ in 0..tries {
        admitted += u32::from(limiter.admit(LIMIT, key).await == Admission::Admitted);
    }
    admitted
}

/// S-073, S-077: the old one let a hundred of a hundred through, against a limit of 5.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_callers_at_many_nodes_get_exactly_the_limit() {
    let server = Server::start();
    let config = server.config();
    let mut nodes = Vec::new();
    for _ in 0..3 {
        nodes.push(Arc::new(limiter(&config, 3).await));
    }
    for round in 0..10 {
        let running: Vec<_> = (0..100)
            .map(|runner: usize| {
                let node = nodes[runner % nodes.len()].clone();
                tokio::spawn(async move { node.admit(LIMIT, &format!("key {round}")).await })
            })
            .collect();
        let mut admitted = 0;
        for answer in running {
            admitted += usize::from(answer.await.unwrap() == Admission::Admitted);
        }
        assert_eq!(admitted, 10);
    }
}

/// S-065, S-070, S-076, S-078
#[tokio::test]
async fn the_window_slides_and_the_wait_is_until_the_next_call_would_be_allowed() {
    let server = Server::start();
    let time = Still::default();
    let backend = limiter(&server.config(), 1).await.timed_by(time.stopwatch());
    let limiter =
        SlidingWindowRateLimiter::over(Arc::new(backend), "part", 2, Duration::from_secs(10)).unwrap();
    let begin = 1_790_000_000_000;
    for (at, is_allowed, wait) in [
        (0, true, 0),
        (4_250, true, 6),
        (4_251, false, 6),
        (9_999, false, 1),
        // Exactly a window old is over; refused tries were not counted.
        (10_000, true, 5),
        (14_249, false, 1),
        (14_250, true, 6),
        (3_600_000, true, 0),
    ] {
        time.set(begin + at);
        assert_eq!(limiter.is_allowed("a").await, is_allowed, "{at}");
        assert_eq!(limiter.retry_after("a").await, wait, "{at}");
    }
    assert_eq!(limiter.retry_after("unknown").await, 0);
}

/// S-071
#[tokio::test]
async fn a_clock_set_back_locks_nobody_out_for_longer_than_a_window() {
    let server = Server::start();
    let time = Still::default();
    let limiter = limiter(&server.config(), 1).await.timed_by(time.stopwatch());
    time.set(1_790_000_000_000);
    assert_eq!(admitted(&limiter, "a", 9).await, 9);
    time.set(1_780_000_000_000);
    assert_eq!(admitted(&limiter, "a", 9).await, 1);
    let state = limiter.look(LIMIT, "a").await;
    assert_eq!(state.retry_after, LIMIT.window);
    time.set(1_780_000_600_000);
    assert_eq!(admitted(&limiter, "a", 20).await, 10);
}

/// S-064, S-067, S-075: of whatever text, a key is of one length; it holds no more than the limit, and goes by itself.
#[tokio::test]
async fn what_lies_in_redis_is_bounded() {
    let server = Server::start();
    let config = server.config();
    let limiter = limiter(&config, 1).await;
    let long = "k".repeat(100_000);
    let other = Limit {
        name: "other",
        ..LIMIT
    };
    for key in ["", "a", "a:b", "é客🔑", "\0\r\n", &long] {
        assert_eq!(admitted(&limiter, key, 12).await, 10, "{key:.20}");
        let name = limiter.key(LIMIT, key);
        assert_eq!(name.len(), config.prefix.len() + ":limit:login:".len() + 64);
        let count: u32 = server.command(&["LLEN", &name]).await;
        let lives: i64 = server.command(&["PTTL", &name]).await;
        assert_eq!(count, 10);
        assert!((500_000..=601_000).contains(&lives), "{lives}");
        // Another limiter of the same window has its own.
        assert_eq!(limiter.admit(other, key).await, Admission::Admitted);
    }
    let keys: Vec<String> = server
        .command(&["KEYS", &format!("{}:limit:*", config.prefix)])
        .await;
    assert_eq!(keys.len(), 12);
}

#[tokio::test]
async fn what_is_forgiven_is_forgotten() {
    let server = Server::start();
    let limiter = limiter(&server.config(), 1).await;
    assert_eq!(admitted(&limiter, "a", 12).await, 10);
    limiter.forgive(LIMIT, "a").await;
    assert_eq!(limiter.look(LIMIT, "a").await, KeyState::default());
    assert_eq!(admitted(&limiter, "a", 12).await, 10);
    for _ in 0..3 {
        limiter.take_back(LIMIT, "a").await;
    }
    assert_eq!(admitted(&limiter, "a", 12).await, 3);
    limiter.take_back(LIMIT, "unknown").await;
}

/// S-079, P10: without Redis a node admits its share, what it admitted before included, and costs no request its patience.
#[tokio::test(flavor = "multi_thread")]
async fn without_redis_a_node_counts_its_share_and_does_not_wait() {
    let mut server = Server::start();
    let redis = server.connect().await;
    let limiter = RedisRateLimit::new(redis.clone(), running(), 3);
    assert_eq!(admitted(&limiter, "before", 2).await, 2);
    server.kill();
    let start = tokio::time::Instant::now();
    assert_eq!(admitted(&limiter, "alice", 50).await, 3);
    assert_eq!(admitted(&limiter, "before", 50).await, 1);
    for number in 0..1_000 {
        assert_eq!(admitted(&limiter, &number.to_string(), 4).await, 3);
    }
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    assert!(!redis.is_up());
    let one = Limit { tries: 1, ..LIMIT };
    assert_eq!(limiter.admit(one, "one at least").await, Admission::Admitted);
    let none = Limit { tries: 0, ..LIMIT };
    assert_ne!(limiter.admit(none, "none").await, Admission::Admitted);

    server.start_again();
    assert!(until_up(&redis).await < Duration::from_secs(5));
    // It is empty, and yet this node admits no more than the limit.
    assert_eq!(admitted(&limiter, "alice", 50).await, 7);
}

/// S-079: a Redis that hangs costs half a second once.
#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_hangs_costs_half_a_second_once() {
    let server = Server::start();
    let redis = server.connect().await;
    let limiter = RedisRateLimit::new(redis.clone(), running(), 1);
    assert_eq!(admitted(&limiter, "a", 1).await, 1);
    server.suspend();
    let start = tokio::time::Instant::now();
    assert_eq!(admitted(&limiter, "a", 1).await, 1);
    let first = start.elapsed();
    assert!((400..1_500).contains(&first.as_millis()), "{first:?}");
    assert_eq!(admitted(&limiter, "a", 50).await, 8);
    let start = tokio::time::Instant::now();
    for number in 0..1_000 {
        assert_eq!(admitted(&limiter, &number.to_string(), 1).await, 1);
    }
    let rest = start.elapsed();
    assert!(rest < Duration::from_secs(1), "{rest:?}");
    server.resume();
    assert!(until_up(&redis).await < Duration::from_secs(5));
}

/// RL-07
#[tokio::test]
async fn a_flush_gives_a_node_no_second_helping() {
    let server = Server::start();
    let limiter = limiter(&server.config(), 1).await;
    assert_eq!(admitted(&limiter, "a", 6).await, 6);
    let _: String = server.command(&["FLUSHALL"]).await;
    assert_eq!(admitted(&limiter, "a", 100).await, 4);
}
