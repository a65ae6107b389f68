//! One connection for all, with deadlines; and a breaker, so that a dead Redis costs no request its patience.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use mcp_authflow::port::{StoreError, store::StoreResult};
use redis::{
    AsyncConnectionConfig, Client, FromRedisValue, RedisError, RedisResult, ScriptInvocation,
    aio::MultiplexedConnection,
};

/// How to reach Redis.
#[derive(Clone)]
#[non_exhaustive]
pub struct RedisConfig {
    /// `redis://[user:password@]host[:port]/[database]`
    pub url: String,
    /// What every key begins with, so that several servers can share one Redis. Default: `mcp_authflow`.
    pub prefix: String,
    /// How long a connection may take. Default: 1 s.
    pub connect_timeout: Duration,
    /// How long an answer may take. Default: 500 ms.
    pub response_timeout: Duration,
    /// How long after a failed try the next one is made. Default: 500 ms.
    pub probe_every: Duration,
}

impl RedisConfig {
    /// The defaults for a URL.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            prefix: "mcp_authflow".to_owned(),
            connect_timeout: Duration::from_secs(1),
            response_timeout: Duration::from_millis(500),
            probe_every: Duration::from_millis(500),
        }
    }
}

impl fmt::Debug for RedisConfig {
    /// The URL may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisConfig")
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

/// The URL names no Redis that this version can talk to.
#[derive(Clone, Debug, thiserror::Error)]
#[error("this is no URL of a Redis (redis://[user:password@]host[:port]/[database]): {0}")]
pub struct InvalidRedisUrl(String);

/// A connection to Redis that comes back by itself. Cheap to clone; clones share it.
///
/// Whatever fails breaks it. From then on every call fails at once, while a task of its own tries to write something, until
/// that works.
#[derive(Clone)]
pub struct RedisConnection {
    inner: Arc<Inner>,
}

struct Inner {
    client: Client,
    config: RedisConfig,
    line: Mutex<Line>,
}

/// What there is to talk over.
struct Line {
    connection: Option<MultiplexedConnection>,
    /// Which connection this is, so that a late failure of an old one does not break the new one.
    number: u64,
}

impl RedisConnection {
    /// Connects. A Redis that is not there now is tried again, for as long as the connection or a clone of it lives.
    ///
    /// # Errors
    /// [`InvalidRedisUrl`]
    pub async fn connect(config: RedisConfig) -> Result<Self, InvalidRedisUrl> {
        let client = Client::open(config.url.as_str()).map_err(|error| InvalidRedisUrl(error.to_string()))?;
        let inner = Arc::new(Inner {
            client,
            config,
            line: Mutex::new(Line {
                connection: None,
                number: 0,
            }),
        });
        match inner.dial().await {
            Ok(connection) => inner.line().connection = Some(connection),
            Err(error) => {
                tracing::warn!(%error, "Redis cannot be asked");
                probe_until_back(&inner);
            }
        }
        Ok(Self { inner })
    }

    /// Whether Redis could be asked when it last was.
    pub fn is_up(&self) -> bool {
        self.inner.line().connection.is_some()
    }

    /// What every key begins with.
    pub(crate) fn prefix(&self) -> &str {
        &self.inner.config.prefix
    }

    /// Runs a script.
    pub(crate) async fn run<T: FromRedisValue>(&self, script: &ScriptInvocation<'_>) -> StoreResult<T> {
        let (mut connection, number) = {
            let line = self.inner.line();
            let connection = line.connection.clone();
            (connection.ok_or_else(not_there)?, line.number)
        };
        // Loading the script may take another two round trips, within the same time.
        let answer = self
            .inner
            .in_time(script.invoke_async::<T>(&mut connection))
            .await;
        answer.map_err(|failure| {
            self.inner.break_line(number, &failure);
            failure.into()
        })
    }
}

impl fmt::Debug for RedisConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisConnection")
            .field("is_up", &self.is_up())
            .finish_non_exhaustive()
    }
}

fn not_there() -> StoreError {
    StoreError::Unavailable("Redis cannot be asked at present".to_owned())
}

/// Why Redis did not answer.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("no answer in time")]
    Late,
    #[error(transparent)]
    Redis(RedisError),
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Late => Self::TimedOut("Redis gave no answer in time".to_owned()),
            Failure::Redis(error) if error.is_timeout() => {
                Self::TimedOut("Redis gave no answer in time".to_owned())
            }
            Failure::Redis(error) => Self::Unavailable(format!("Redis: {error}")),
        }
    }
}

impl Inner {
    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn in_time<T>(&self, work: impl Future<Output = RedisResult<T>>) -> Result<T, Failure> {
        match tokio::time::timeout(self.config.response_timeout, work).await {
            Ok(answer) => answer.map_err(Failure::Redis),
            Err(_) => Err(Failure::Late),
        }
    }

    /// Makes a connection and writes something over it, by a script: what cannot do that is of no use.
    async fn dial(&self) -> Result<MultiplexedConnection, Failure> {
        let timeouts = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.config.connect_timeout))
            .set_response_timeout(Some(self.config.response_timeout));
        let dialling = self
            .client
            .get_multiplexed_async_connection_with_config(&timeouts);
        // Its own limit covers the handshake only in part.
        let patience = self.config.connect_timeout + self.config.response_timeout;
        let mut connection = match tokio::time::timeout(patience, dialling).await {
            Ok(dialled) => dialled.map_err(Failure::Redis)?,
            Err(_) => return Err(Failure::Late),
        };
        let mut probe = redis::cmd("EVAL");
        probe
            .arg("return redis.call('SET', KEYS[1], 1, 'PX', 1000)")
            .arg(1)
            .arg(format!("{}:probe", self.config.prefix));
        self.in_time(probe.query_async::<()>(&mut connection)).await?;
        Ok(connection)
    }

    /// Marks the connection as broken, once, and begins to look for another.
    fn break_line(self: &Arc<Self>, number: u64, failure: &Failure) {
        {
            let mut line = self.line();
            if line.number != number || line.connection.take().is_none() {
                return;
            }
            line.number += 1;
        }
        tracing::warn!(error = %failure, "Redis cannot be asked any more");
        probe_until_back(self);
    }
}

/// Tries until Redis can be asked again, or nobody wants to.
fn probe_until_back(inner: &Arc<Inner>) {
    let wait = inner.config.probe_every;
    let inner: Weak<Inner> = Arc::downgrade(inner);
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(wait).await;
            let Some(inner) = inner.upgrade() else { return };
            match inner.dial().await {
                Ok(connection) => {
                    inner.line().connection = Some(connection);
                    tracing::info!("Redis can be asked again");
                    return;
                }
                Err(error) => tracing::debug!(%error, "Redis still cannot be asked"),
            }
        }
    });
}
