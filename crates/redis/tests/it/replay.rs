//! The memory of what was used once, while Redis is emptied, restarted, replaced and cut off.

use std::{sync::Arc, time::Duration};

use mcp_authflow::port::{OneTimeUse, RecordOnce, Replay, ReplayKind, StoreError};
use mcp_authflow_redis::{RedisConfig, RedisConnection, RedisReplay};
use mcp_authflow_testkit::contract::sample::{in_seconds, now, number};
use mcp_authflow_types::Timestamp;

use crate::server::{Server, connect, until_up};

/// One that nobody has used, issued now.
fn unused() -> OneTimeUse {
    issued(now())
}

fn issued(at: Timestamp) -> OneTimeUse {
    let expires_at = at + Duration::from_secs(330);
    let identifier = number().to_string();
    OneTimeUse::new(ReplayKind::ClientAssertion, "client", &identifier, at, expires_at)
}

async fn record(replay: &RedisReplay, once: &OneTimeUse) -> RecordOnce {
    replay.record_once(once, now()).await.unwrap()
}

/// Puts the epoch of a memory back by an hour, as if it had passed.
async fn an_hour_passes(server: &Server, replay: &RedisReplay) {
    let since = in_seconds(-3_600).seconds().to_string();
    let _: u32 = server
        .command(&["HSET", &replay.epoch_key(), "since", &since])
        .await;
}

/// A memory that began long ago.
async fn settled(server: &Server) -> RedisReplay {
    settled_over(server, server.connect().await).await
}

async fn settled_over(server: &Server, redis: RedisConnection) -> RedisReplay {
    let replay = RedisReplay::new(redis);
    assert_eq!(record(&replay, &unused()).await, RecordOnce::CannotTell);
    an_hour_passes(server, &replay).await;
    replay
}

/// S-132
#[tokio::test]
async fn what_is_used_once_is_a_replay_ever_after() {
    let server = Server::start();
    let replay = settled(&server).await;
    let once = unused();
    assert_eq!(record(&replay, &once).await, RecordOnce::FirstUse);
    for _ in 0..3 {
        assert_eq!(record(&replay, &once).await, RecordOnce::Replay);
    }
}

/// S-134, S-136, S-137: the key is of one length and lives for as long as any node could accept what it stands for.
#[tokio::test]
async fn a_record_lives_for_as_long_as_any_node_could_accept_it() {
    let server = Server::start();
    let replay = settled(&server).await;
    for (owner, identifier) in [("client", "1"), ("client2", "1"), ("", ""), ("é客🔑\r\n", "x")] {
        let kind = ReplayKind::ClientAssertion;
        let once = OneTimeUse::new(kind, owner, identifier, in_seconds(25), in_seconds(355));
        assert_eq!(record(&replay, &once).await, RecordOnce::FirstUse);
        let name = replay.key(&once);
        assert!(name.len() < 100 && name.is_ascii(), "{name}");
        let lives: i64 = server.command(&["PTTL", &name]).await;
        assert!((370_000..=376_000).contains(&lives), "{lives}");
    }
    let mut over = unused();
    over.expires_at = in_seconds(-RedisReplay::OFF - 1);
    assert_eq!(record(&replay, &over).await, RecordOnce::CannotTell);
}

/// Three nodes with a connection each.
async fn three_nodes(config: &RedisConfig) -> Vec<Arc<RedisReplay>> {
    let mut nodes = Vec::new();
    for _ in 0..3 {
        nodes.push(Arc::new(RedisReplay::new(connect(config).await)));
    }
    nodes
}

/// Races 32 callers, at all nodes; says how many were the first.
async fn race(nodes: &[Arc<RedisReplay>], once: OneTimeUse) -> usize {
    let running: Vec<_> = (0..32)
        .map(|runner| {
            let node = nodes[runner % nodes.len()].clone();
            tokio::spawn(async move { node.record_once(&once, now()).await })
        })
        .collect();
    let mut first = 0;
    for answer in running {
        first += usize::from(answer.await.unwrap().unwrap() == RecordOnce::FirstUse);
    }
    first
}

/// P1, G1
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_of_many_racing_callers_at_many_nodes_is_the_first() {
    let server = Server::start();
    let nodes = three_nodes(&server.config()).await;
    assert_eq!(race(&nodes, unused()).await, 0);
    an_hour_passes(&server, &nodes[0]).await;
    for _ in 0..1_000 {
        assert_eq!(race(&nodes, unused()).await, 1);
    }
}

/// P1, G1: whatever is flushed in between, nothing is accepted twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_flush_in_the_middle_of_a_race_opens_no_window() {
    const EACH: u32 = 100;
    let server = Server::start();
    let nodes = three_nodes(&server.config()).await;
    assert_eq!(race(&nodes, unused()).await, 0);
    let (mut first_uses, mut cut_short) = (0, 0);
    for round in 0..20 {
        an_hour_passes(&server, &nodes[0]).await;
        let flush = async {
            tokio::time::sleep(Duration::from_millis(5 * round)).await;
            let _: String = server.command(&["FLUSHALL"]).await;
        };
        let racing = async {
            let mut first_uses = 0;
            for id in 0..EACH {
                // From long ago to as far ahead as a client's clock may be.
                let once = issued(in_seconds(i64::from(id % 5) * 60 - 240 + RedisReplay::AHEAD));
                let first = race(&nodes, once).await;
                assert!(first <= 1, "round {round}, {id}: accepted {first} times");
                first_uses += u32::try_from(first).unwrap();
            }
            first_uses
        };
        let ((), first) = tokio::join!(flush, racing);
        first_uses += first;
        cut_short += u32::from(first > 0 && first < EACH);
    }
    assert!(
        first_uses > 0 && cut_short > 5,
        "{first_uses}, {cut_short} rounds were cut short"
    );
}

/// What was used before something befell Redis is not accepted after it, what was not used and could have been neither,
/// and what could not have been is.
async fn forgets_nothing(server: &Server, replay: &RedisReplay, used: &OneTimeUse, waiting: &OneTimeUse) {
    for once in [used, waiting, &unused()] {
        for _ in 0..2 {
            assert_eq!(record(replay, once).await, RecordOnce::CannotTell);
        }
    }
    an_hour_passes(server, replay).await;
    let fresh = unused();
    assert_eq!(record(replay, &fresh).await, RecordOnce::FirstUse);
    assert_eq!(record(replay, &fresh).await, RecordOnce::Replay);
}

#[tokio::test]
async fn a_flush_opens_no_window() {
    for flush in ["FLUSHALL", "FLUSHDB"] {
        let server = Server::start();
        let replay = settled(&server).await;
        let (used, waiting) = (unused(), unused());
        assert_eq!(record(&replay, &used).await, RecordOnce::FirstUse);
        let _: String = server.command(&[flush]).await;
        forgets_nothing(&server, &replay, &used, &waiting).await;
    }
}

#[tokio::test]
async fn a_restart_opens_no_window() {
    let mut server = Server::start();
    let redis = server.connect().await;
    let replay = settled_over(&server, redis.clone()).await;
    let (used, waiting) = (unused(), unused());
    assert_eq!(record(&replay, &used).await, RecordOnce::FirstUse);
    let epoch: Vec<String> = server.command(&["HGETALL", &replay.epoch_key()]).await;
    server.kill();
    assert!(replay.record_once(&unused(), now()).await.is_err());
    server.start_again();
    assert!(until_up(&redis).await < Duration::from_secs(5));
    // Even one that comes back with its epoch, and without the records, is known for another run.
    let mut words = vec!["HSET", "key"];
    let key = replay.epoch_key();
    words[1] = &key;
    words.extend(epoch.iter().map(String::as_str));
    let _: u32 = server.command(&words).await;
    let older = issued(now());
    forgets_nothing(&server, &replay, &older, &waiting).await;
}

#[tokio::test]
async fn an_eviction_opens_no_window() {
    let server = Server::start();
    let replay = settled(&server).await;
    let (used, waiting) = (unused(), unused());
    assert_eq!(record(&replay, &used).await, RecordOnce::FirstUse);
    let _: String = server
        .command(&["CONFIG", "SET", "maxmemory-policy", "volatile-ttl"])
        .await;
    let _: String = server.command(&["CONFIG", "SET", "maxmemory", "3mb"]).await;
    let mut rounds = 0;
    while server.command::<bool>(&["EXISTS", &replay.key(&used)]).await {
        rounds += 1;
        assert!(rounds < 1_000, "nothing is evicted");
        let (name, filler) = (format!("filler {rounds}"), "x".repeat(20_000));
        let _: String = server.command(&["SET", &name, &filler, "EX", "100000"]).await;
    }
    let there: bool = server.command(&["EXISTS", &replay.epoch_key()]).await;
    assert!(there, "the epoch itself was not thrown away");
    let _: String = server.command(&["CONFIG", "SET", "maxmemory", "0"]).await;
    forgets_nothing(&server, &replay, &used, &waiting).await;
}

/// A replica that is promoted may lack what was written last.
#[tokio::test]
async fn a_failover_opens_no_window() {
    let (server, replica) = (Server::start(), Server::start());
    let replay = settled(&server).await;
    let port = server.port().to_string();
    let _: String = replica.command(&["REPLICAOF", "127.0.0.1", &port]).await;
    let key = replay.epoch_key();
    tokio::time::timeout(Duration::from_secs(20), async {
        while !replica.command::<bool>(&["EXISTS", &key]).await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .expect("the replica catches up");
    let _: String = replica.command(&["REPLICAOF", "NO", "ONE"]).await;
    let (used, waiting) = (unused(), unused());
    assert_eq!(record(&replay, &used).await, RecordOnce::FirstUse);
    let mut config = replica.config();
    config.prefix = key.split(':').next().unwrap().to_owned();
    let promoted = RedisReplay::new(connect(&config).await);
    assert_eq!(promoted.epoch_key(), key);
    forgets_nothing(&replica, &promoted, &used, &waiting).await;
}

/// A clock that is put right by a second or two costs nobody anything; what is used meanwhile stays used.
#[tokio::test]
async fn a_server_whose_clock_went_back_a_little_is_believed() {
    let server = Server::start();
    let replay = settled(&server).await;
    let used = unused();
    assert_eq!(record(&replay, &used).await, RecordOnce::FirstUse);
    let ahead = in_seconds(RedisReplay::OFF - 2).seconds().to_string();
    let _: u32 = server
        .command(&["HSET", &replay.epoch_key(), "seen", &ahead])
        .await;
    assert_eq!(record(&replay, &used).await, RecordOnce::Replay);
    assert_eq!(record(&replay, &unused()).await, RecordOnce::FirstUse);
    let seen: String = server.command(&["HGET", &replay.epoch_key(), "seen"]).await;
    assert_eq!(seen, ahead, "small steps add up");
}

#[tokio::test]
async fn a_server_whose_clock_went_back_is_doubted() {
    let server = Server::start();
    let replay = settled(&server).await;
    let (used, waiting) = (unused(), unused());
    assert_eq!(record(&replay, &used).await, RecordOnce::FirstUse);
    // As it would be had its clock been ahead, and let the record expire.
    let ahead = in_seconds(1_000).seconds().to_string();
    let _: u32 = server
        .command(&["HSET", &replay.epoch_key(), "seen", &ahead])
        .await;
    let _: u32 = server.command(&["DEL", &replay.key(&used)]).await;
    forgets_nothing(&server, &replay, &used, &waiting).await;
}

/// While the clock of Redis is ahead every node is told that its own is off; records that expire meanwhile are missed
/// when it is right again.
#[tokio::test]
async fn a_clock_that_was_ahead_is_noticed_by_those_who_were_refused_for_it() {
    let server = Server::start();
    let replay = settled(&server).await;
    let key = replay.epoch_key();
    let long_ago = in_seconds(-1_000).seconds().to_string();
    let _: u32 = server.command(&["HSET", &key, "seen", &long_ago]).await;
    let answer = replay.record_once(&unused(), in_seconds(-600)).await;
    assert!(matches!(answer, Err(StoreError::Unavailable(_))), "{answer:?}");
    let seen: i64 = server.command(&["HGET", &key, "seen"]).await;
    assert!((now().seconds() - seen).abs() <= 5, "{seen}");
}

/// What a node takes that gives clients more leeway than this memory reckons with could have been used before it began.
#[tokio::test]
async fn what_is_dated_further_ahead_than_is_reckoned_with_is_not_taken() {
    let server = Server::start();
    let replay = settled(&server).await;
    let far = issued(in_seconds(RedisReplay::AHEAD + 20));
    assert_eq!(record(&replay, &far).await, RecordOnce::CannotTell);
    let _: String = server.command(&["FLUSHALL"]).await;
    let near = issued(in_seconds(RedisReplay::AHEAD - 5));
    for once in [&far, &near] {
        assert_eq!(record(&replay, once).await, RecordOnce::CannotTell);
    }
}

#[tokio::test]
async fn a_node_whose_clock_is_far_off_is_told_so() {
    let server = Server::start();
    let replay = settled(&server).await;
    for off in [-RedisReplay::OFF - 2, RedisReplay::OFF + 2] {
        let answer = replay.record_once(&unused(), in_seconds(off)).await;
        assert!(matches!(answer, Err(StoreError::Unavailable(_))), "{answer:?}");
    }
    for off in [2 - RedisReplay::OFF, RedisReplay::OFF - 2] {
        let answer = replay.record_once(&unused(), in_seconds(off)).await;
        assert_eq!(answer.unwrap(), RecordOnce::FirstUse);
    }
}

/// S-139, P9: never a guess, never more than two seconds, and good again in five.
#[tokio::test(flavor = "multi_thread")]
async fn without_redis_there_is_an_error_in_time() {
    let mut server = Server::start();
    let redis = server.connect().await;
    let replay = settled_over(&server, redis.clone()).await;
    let used = unused();
    assert_eq!(record(&replay, &used).await, RecordOnce::FirstUse);

    server.suspend();
    let start = tokio::time::Instant::now();
    let answer = replay.record_once(&unused(), now()).await;
    assert!(matches!(answer, Err(StoreError::TimedOut(_))), "{answer:?}");
    for _ in 0..1_000 {
        let answer = replay.record_once(&unused(), now()).await;
        assert!(matches!(answer, Err(StoreError::Unavailable(_))), "{answer:?}");
    }
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    server.resume();
    assert!(until_up(&redis).await < Duration::from_secs(5));
    assert_eq!(record(&replay, &used).await, RecordOnce::Replay);

    server.kill();
    let answer = replay.record_once(&unused(), now()).await;
    assert!(matches!(answer, Err(StoreError::Unavailable(_))), "{answer:?}");
}

/// A server that has no room refuses, and forgets nothing.
#[tokio::test]
async fn a_full_redis_refuses() {
    let server = Server::start();
    let redis = server.connect().await;
    let replay = settled_over(&server, redis.clone()).await;
    let used = unused();
    assert_eq!(record(&replay, &used).await, RecordOnce::FirstUse);
    let _: String = server.command(&["CONFIG", "SET", "maxmemory", "1"]).await;
    assert!(replay.record_once(&unused(), now()).await.is_err());
    let _: String = server.command(&["CONFIG", "SET", "maxmemory", "0"]).await;
    assert!(until_up(&redis).await < Duration::from_secs(5));
    assert_eq!(record(&replay, &used).await, RecordOnce::Replay);
}
