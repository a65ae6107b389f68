//! Limits that all nodes count together.

use std::{fmt, sync::Arc, time::Duration};

use mcp_authflow::{
    memory::MemoryRateLimit,
    port::{
        RateLimit, Stopwatch, StoreError,
        rate_limit::{Admission, KeyState, Limit},
    },
};
use mcp_authflow_types::TokenHash;
use redis::{Script, ScriptInvocation};

use crate::RedisConnection;

/// A sliding-window limiter in Redis: checking and counting are one script, by the clock of Redis, so that all nodes
/// together admit exactly what the limit says.
///
/// The key in Redis is made of a prefix, the limit's name, and the SHA-256 of the key; it holds at most as many numbers as
/// the limit, and goes with the window.
///
/// **Without Redis** each node counts by itself, to the limit divided by the number of nodes, and to 1 at least; tries that
/// it admitted shortly before count. It admits nothing that it alone has seen too much of, so a Redis that was emptied
/// forgives only what other nodes saw. A Redis that hangs costs half a second once, and then nothing until it is back.
pub struct RedisRateLimit {
    redis: RedisConnection,
    alone: MemoryRateLimit,
    nodes: u32,
    script: Script,
    take_back: Script,
    forgive: Script,
    time: Option<Arc<dyn Stopwatch>>,
}

impl RedisRateLimit {
    /// Makes a limiter for one of `nodes` nodes; 0 counts as 1. The stopwatch serves to count without Redis.
    pub fn new(redis: RedisConnection, stopwatch: Arc<dyn Stopwatch>, nodes: u32) -> Self {
        Self {
            redis,
            alone: MemoryRateLimit::new(stopwatch),
            nodes: nodes.max(1),
            script: Script::new(include_str!("rate_limit.lua")),
            take_back: Script::new("return redis.call('RPOP', KEYS[1])"),
            forgive: Script::new("return redis.call('DEL', KEYS[1])"),
            time: None,
        }
    }

    /// Takes a stopwatch for the clock of Redis, too: for tests in which time stands still. Nodes that count together would
    /// have to share it.
    #[must_use]
    pub fn timed_by(self, stopwatch: Arc<dyn Stopwatch>) -> Self {
        Self {
            alone: MemoryRateLimit::new(stopwatch.clone()),
            time: Some(stopwatch),
            ..self
        }
    }

    /// The key under which a key's tries are kept.
    pub fn key(&self, limit: Limit, key: &str) -> String {
        let digest = TokenHash::of(key);
        let mut name = format!("{}:limit:{}:", self.redis.prefix(), limit.name);
        for byte in digest.as_bytes() {
            name.push(char::from(b"0123456789abcdef"[usize::from(byte >> 4)]));
            name.push(char::from(b"0123456789abcdef"[usize::from(byte & 15)]));
        }
        name
    }

    async fn ask(&self, verb: &str, limit: Limit, key: &str) -> Result<Answer, StoreError> {
        let now = self
            .time
            .as_ref()
            .map(|time| microseconds(time.elapsed()).to_string());
        let mut call: ScriptInvocation<'_> = self.script.key(self.key(limit, key));
        call.arg(verb)
            .arg(limit.tries)
            .arg(microseconds(limit.window).max(1))
            .arg(now.unwrap_or_default());
        let (is_admitted, wait, oldest): (bool, u64, i64) = self.redis.run(&call).await?;
        Ok(Answer {
            is_admitted,
            wait: Duration::from_micros(wait),
            oldest: u64::try_from(oldest).ok().map(Duration::from_micros),
        })
    }

    /// What one node may admit of a limit while it counts alone.
    fn share(&self, limit: Limit) -> Limit {
        Limit {
            tries: (limit.tries / self.nodes).max(limit.tries.min(1)),
            ..limit
        }
    }
}

struct Answer {
    is_admitted: bool,
    wait: Duration,
    oldest: Option<Duration>,
}

/// Rounded, not cut off: a tenth of a second is no whole number of anything in binary.
fn microseconds(time: Duration) -> u64 {
    u64::try_from((time.as_nanos() + 500) / 1_000).unwrap_or(u64::MAX)
}

impl fmt::Debug for RedisRateLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisRateLimit")
            .field("redis", &self.redis)
            .field("nodes", &self.nodes)
            .finish_non_exhaustive()
    }
}

#[async_trait::async_trait]
impl RateLimit for RedisRateLimit {
    async fn admit(&self, limit: Limit, key: &str) -> Admission {
        if limit.tries == 0 {
            return self.alone.admit(limit, key).await;
        }
        // What this node alone has seen too much of needs no question, and no time.
        let seen_here = self.alone.look(limit, key).await;
        if !seen_here.retry_after.is_zero() {
            return Admission::Refused {
                retry_after: seen_here.retry_after,
            };
        }
        match self.ask("admit", limit, key).await {
            Ok(Answer {
                is_admitted: true, ..
            }) => {
                // The answer counts, whatever comes of noting it.
                let _ = self.alone.admit(limit, key).await;
                Admission::Admitted
            }
            Ok(Answer { wait, .. }) => Admission::Refused { retry_after: wait },
            // It is logged where the connection breaks.
            Err(_) => self.alone.admit(self.share(limit), key).await,
        }
    }

    async fn look(&self, limit: Limit, key: &str) -> KeyState {
        match self.ask("look", limit, key).await {
            Ok(answer) => KeyState {
                retry_after: answer.wait,
                oldest: answer.oldest,
            },
            Err(_) => self.alone.look(self.share(limit), key).await,
        }
    }

    async fn take_back(&self, limit: Limit, key: &str) {
        self.alone.take_back(limit, key).await;
        // What is not taken back now is so when the window is over.
        let call = self.take_back.key(self.key(limit, key));
        let _: Result<Option<String>, StoreError> = self.redis.run(&call).await;
    }

    async fn forgive(&self, limit: Limit, key: &str) {
        self.alone.forgive(limit, key).await;
        let call = self.forgive.key(self.key(limit, key));
        let _: Result<u32, StoreError> = self.redis.run(&call).await;
    }
}
