//! Shared limits and a shared memory of what was used once, in Redis (or Valkey).
//!
//! ```no_run
//! use std::{sync::Arc, time::Instant};
//!
//! use mcp_authflow::Ports;
//! use mcp_authflow_redis::{RedisConfig, RedisConnection, RedisRateLimit};
//!
//! # async fn example(ports: Ports) -> Result<Ports, mcp_authflow_redis::InvalidRedisUrl> {
//! let redis = RedisConnection::connect(RedisConfig::new("redis://127.0.0.1/")).await?;
//! let start = Instant::now();
//! let nodes = 3;
//! let ports = Ports {
//!     rate_limit: Arc::new(RedisRateLimit::new(redis, Arc::new(move || start.elapsed()), nodes)),
//!     ..ports
//! };
//! # Ok(ports)
//! # }
//! ```
//!
//! Nothing here is the only copy of something whose loss would open a hole: without Redis limits are counted in the
//! process, more strictly, and a memory that was emptied is known to have been. A dead Redis costs the first requests half
//! a second each and later ones nothing, until it is back.
//!
//! | file | what |
//! |---|---|
//! | `connection` | one connection, its deadlines, and what happens when it is lost |
//! | `rate_limit` | the port of that name; `rate_limit.lua` |
//! | `replay` | the port of that name, with a guard against forgetting; `replay.lua` |

mod connection;
mod rate_limit;
mod replay;

pub use connection::{InvalidRedisUrl, RedisConfig, RedisConnection};
pub use rate_limit::RedisRateLimit;
pub use replay::RedisReplay;
