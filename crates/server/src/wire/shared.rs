//! What nodes share besides the database: limits, and perhaps the memory of used assertions.

use std::sync::Arc;

use anyhow::Context as _;
use mcp_authflow::{
    memory::MemoryRateLimit,
    port::{RateLimit, Replay},
};
use mcp_authflow_redis::{RedisConfig, RedisConnection, RedisRateLimit, RedisReplay};

use crate::{
    config::{Config, Database},
    system::SinceStart,
};

/// The ports that Redis serves, and what stands in for it.
pub(crate) struct Shared {
    pub(crate) rate_limit: Arc<dyn RateLimit>,
    pub(crate) replay: Option<Arc<dyn Replay>>,
    /// The connection, for whoever asks how things are.
    pub(crate) redis: Option<RedisConnection>,
}

impl Shared {
    /// Connects to Redis where it is configured. One that is not there now does not keep the server from starting.
    pub(crate) async fn connect(config: &Config) -> anyhow::Result<Self> {
        let stopwatch = Arc::new(SinceStart::now());
        let Some(redis) = &config.redis else {
            if matches!(config.database, Database::Postgres { .. }) && config.nodes == 1 {
                tracing::info!(
                    "limits are counted by this node alone: where several serve together, set redis.url, or nodes"
                );
            }
            return Ok(Self {
                rate_limit: Arc::new(MemoryRateLimit::new(stopwatch).for_one_of(config.nodes)),
                replay: None,
                redis: None,
            });
        };
        let mut settings = RedisConfig::new(redis.url.clone());
        settings.prefix.clone_from(&redis.prefix);
        let connection = RedisConnection::connect(settings).await.context("redis.url")?;
        let replay: Option<Arc<dyn Replay>> = if redis.remembers_assertions {
            Some(Arc::new(RedisReplay::new(connection.clone())))
        } else {
            None
        };
        Ok(Self {
            rate_limit: Arc::new(RedisRateLimit::new(connection.clone(), stopwatch, config.nodes)),
            replay,
            redis: Some(connection),
        })
    }
}
