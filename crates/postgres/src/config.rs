//! How to reach the database.

use std::{fmt, time::Duration};

/// How to reach the database, and how long to wait for it.
#[derive(Clone)]
#[non_exhaustive]
pub struct PostgresConfig {
    /// `postgres://user:password@host:port/database?…`, with the parameters of libpq that tokio-postgres knows, and:
    ///
    /// - `sslmode`: `disable` and `prefer` (the default) mean plain text; `require`, `verify-ca` and `verify-full` all mean
    ///   TLS with the certificate and the host name verified.
    /// - `sslrootcert`: a PEM file with the authorities to trust instead of the system's.
    pub url: String,
    /// The most connections this node holds. Default 8.
    pub pool_size: usize,
    /// How long a verb waits for one of them to be free. Default 1 s.
    pub pool_wait: Duration,
    /// How long a whole verb may take, that wait included. Default 1.5 s: an HTTP answer then leaves within 2 s.
    pub call_deadline: Duration,
    /// Whether statements are prepared under names, once a connection. Default true; false for a PgBouncer in transaction
    /// mode that does not track prepared statements (before 1.21). No startup options are sent then either, which such a
    /// PgBouncer refuses: set `statement_timeout`, `lock_timeout` and `synchronous_commit` on the role instead.
    pub prepared_statements: bool,
}

impl PostgresConfig {
    /// The defaults, for a URL.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            pool_size: 8,
            pool_wait: Duration::from_secs(1),
            call_deadline: Duration::from_millis(1_500),
            prepared_statements: true,
        }
    }
}

impl fmt::Debug for PostgresConfig {
    /// Shows everything but the URL, which may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresConfig")
            .field("pool_size", &self.pool_size)
            .field("pool_wait", &self.pool_wait)
            .field("call_deadline", &self.call_deadline)
            .field("prepared_statements", &self.prepared_statements)
            .finish_non_exhaustive()
    }
}
