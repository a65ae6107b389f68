//! A memory of what was used once, in Redis, that knows when it has forgotten.

use std::fmt;

use mcp_authflow::port::{OneTimeUse, RecordOnce, Replay, StoreError, store::StoreResult};
use mcp_authflow_types::Timestamp;
use redis::Script;

use crate::RedisConnection;

/// Remembers what was used once in Redis, for those who want no row in their database for it. The main store is the better
/// choice where there is one: what it has written stays.
///
/// # Security
/// Redis forgets: it is flushed, restarted, fails over to a replica that missed something, or throws keys away for want of
/// room. So an *epoch* lies beside the records, with the identity of the server's run and the number of keys that it
/// threw away. When it is missing, or another, the memory begins now: whatever was issued before, or could have been, is
/// answered [`RecordOnce::CannotTell`]. For honest clients this lasts [`AHEAD`](Self::AHEAD) and [`OFF`](Self::OFF)
/// together (40 s), and no longer than what they hold lives. All of it is one script; two callers cannot come between.
///
/// The clock is that of Redis. A node whose clock is more than [`OFF`](Self::OFF) away from it gets an error. The clock of
/// Redis itself may be set ahead and back again; this is noticed when anybody asked meanwhile, and does no harm when it was
/// by no more than `OFF`.
///
/// What is dated further ahead than [`AHEAD`](Self::AHEAD) is [`RecordOnce::CannotTell`], too: a node that gives clients
/// more leeway gives it in vain.
///
/// Choose `maxmemory-policy noeviction` for this Redis: with any other, each eviction makes the memory begin again.
pub struct RedisReplay {
    redis: RedisConnection,
    script: Script,
}

impl RedisReplay {
    /// How far a node's clock may be from that of Redis, in seconds.
    pub const OFF: i64 = 10;
    /// How far ahead of a node's clock something accepted may be dated, in seconds: the leeway for clients' clocks.
    pub const AHEAD: i64 = 30;

    /// Makes the memory.
    pub fn new(redis: RedisConnection) -> Self {
        Self {
            redis,
            script: Script::new(include_str!("replay.lua")),
        }
    }

    /// The key of the epoch. Its tag in braces keeps all keys of this memory on one node of a cluster.
    pub fn epoch_key(&self) -> String {
        format!("{}:{{replay}}:epoch", self.redis.prefix())
    }

    /// The key under which a use is kept: of one length, whoever chose the identifier.
    pub fn key(&self, once: &OneTimeUse) -> String {
        let mut key = format!("{}:{{replay}}:", self.redis.prefix());
        for byte in once.digest {
            key.push(char::from(b"0123456789abcdef"[usize::from(byte >> 4)]));
            key.push(char::from(b"0123456789abcdef"[usize::from(byte & 15)]));
        }
        key
    }
}

impl fmt::Debug for RedisReplay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisReplay")
            .field("redis", &self.redis)
            .finish_non_exhaustive()
    }
}

#[async_trait::async_trait]
impl Replay for RedisReplay {
    async fn record_once(&self, once: &OneTimeUse, now: Timestamp) -> StoreResult<RecordOnce> {
        let mut call = self.script.key(self.epoch_key());
        call.key(self.key(once))
            .arg(now.seconds())
            .arg(once.issued_at.seconds())
            .arg(once.expires_at.seconds())
            .arg(Self::OFF)
            .arg(Self::AHEAD);
        let (answer, since, begins): (String, i64, bool) = self.redis.run(&call).await?;
        if begins {
            tracing::warn!(
                since,
                "Redis begins to remember used assertions anew (it was emptied, restarted or replaced, or threw keys \
                 away): those issued before are refused"
            );
        }
        match answer.as_str() {
            "first" => Ok(RecordOnce::FirstUse),
            "replay" => Ok(RecordOnce::Replay),
            "unknown" => Ok(RecordOnce::CannotTell),
            "clock" => Err(StoreError::Unavailable(format!(
                "this node's clock and that of Redis are more than {} s apart",
                Self::OFF
            ))),
            _ => Err(StoreError::Broken(
                "Redis does not say which run of which server it is".to_owned(),
            )),
        }
    }
}
