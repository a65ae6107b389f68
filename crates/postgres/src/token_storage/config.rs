//! Where the tables are, and how they are asked.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use mcp_authflow::port::token_storage::TokenRules;

/// The variable that holds the address, as the Python package has it.
pub(super) const VARIABLE: &str = "DATABASE_URL";

/// By whose clock tokens expire.
#[derive(Clone, Default)]
pub enum TokenClock {
    /// The database's, one for all nodes.
    #[default]
    Database,
    /// The one given: for tests, and for a database whose clock is off.
    Given(Arc<dyn Fn() -> SystemTime + Send + Sync>),
}

impl fmt::Debug for TokenClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Database => "Database",
            Self::Given(_) => "Given(…)",
        })
    }
}

/// How to reach the tables.
#[derive(Clone)]
#[non_exhaustive]
pub struct PostgresTokenStorageConfig {
    /// `postgres://user:password@host:port/database?…`, with the parameters of
    /// [`PostgresConfig::url`](crate::PostgresConfig::url), TLS included. Without one, nothing can be initialized.
    pub url: Option<String>,
    /// The most connections. Default 10.
    pub pool_size: usize,
    /// How long an operation waits for one of them. Default 5 s.
    pub acquire_timeout: Duration,
    /// How long to wait for a new connection. Default 5 s.
    pub connect_timeout: Duration,
    /// After how long the server gives a statement up, and we shortly after. Default 30 s.
    pub statement_timeout: Duration,
    /// By whose clock tokens expire. Default: the database's.
    pub clock: TokenClock,
    /// The rules. Default: [`TokenRules::Strict`]; beside a running Python program rather [`TokenRules::Python`].
    pub rules: TokenRules,
}

impl PostgresTokenStorageConfig {
    /// The defaults, for an address. An empty one counts as none.
    pub fn new(url: Option<String>) -> Self {
        Self {
            url: url.filter(|url| !url.is_empty()),
            pool_size: 10,
            acquire_timeout: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(5),
            statement_timeout: Duration::from_secs(30),
            clock: TokenClock::default(),
            rules: TokenRules::default(),
        }
    }

    /// The defaults, for the address in the variable `DATABASE_URL`, which `lookup` reads now.
    ///
    /// ```
    /// use mcp_authflow_postgres::PostgresTokenStorageConfig;
    ///
    /// # #[allow(clippy::disallowed_methods)]
    /// let config = PostgresTokenStorageConfig::from_variables(|name| std::env::var(name).ok());
    /// assert_eq!(config.pool_size, 10);
    /// ```
    pub fn from_variables(lookup: impl FnOnce(&str) -> Option<String>) -> Self {
        Self::new(lookup(VARIABLE))
    }
}

impl fmt::Debug for PostgresTokenStorageConfig {
    /// Shows everything but the URL, which may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresTokenStorageConfig")
            .field("pool_size", &self.pool_size)
            .field("acquire_timeout", &self.acquire_timeout)
            .field("connect_timeout", &self.connect_timeout)
            .field("statement_timeout", &self.statement_timeout)
            .field("clock", &self.clock)
            .field("rules", &self.rules)
            .finish_non_exhaustive()
    }
}
