//! What PostgreSQL says, in the store's words: refused, late, or senseless.

use deadpool_postgres::{HookError, PoolError, TimeoutType};
use mcp_authflow::port::StoreError;
use tokio_postgres::error::{Error, SqlState};

use crate::SchemaStatus;

/// Why a store could not be opened.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The URL is not understood. The URL itself is not repeated: it may hold a password.
    #[error("the database URL is not understood: {0}")]
    Url(String),
    /// TLS was asked for and cannot be had.
    #[error("no TLS to the database: {0}")]
    Tls(String),
    /// The schema is not what this version works with; the text names the remedy.
    #[error("{0}")]
    Schema(SchemaStatus),
    /// The database could not be asked.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What is to be done about an error.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// PostgreSQL undid the statement on account of another one; it may be sent again.
    Undone(StoreError),
    /// The connection is gone; whether the statement happened is not known.
    Lost(StoreError),
    /// The answer stands. The connection is no good any more when `discard`.
    Final {
        /// The answer.
        error: StoreError,
        /// Whether to throw the connection away.
        discard: bool,
    },
}

impl Trouble {
    /// Reads an error.
    pub(crate) fn of(error: &Error) -> Self {
        let Some(db) = error.as_db_error() else {
            return Self::without_state(error);
        };
        let said = format!("{} (SQLSTATE {})", db.message(), db.code().code());
        let last = |error| Self::Final {
            error,
            discard: false,
        };
        match *db.code() {
            SqlState::T_R_SERIALIZATION_FAILURE | SqlState::T_R_DEADLOCK_DETECTED => {
                Self::Undone(StoreError::Unavailable(said))
            }
            // Even a terminated session may have committed first, when it waited for a standby.
            SqlState::ADMIN_SHUTDOWN | SqlState::CRASH_SHUTDOWN | SqlState::CANNOT_CONNECT_NOW => {
                Self::Lost(StoreError::Unavailable(said))
            }
            SqlState::QUERY_CANCELED => last(StoreError::TimedOut(said)),
            SqlState::UNDEFINED_TABLE
            | SqlState::UNDEFINED_COLUMN
            | SqlState::UNDEFINED_FUNCTION
            | SqlState::INVALID_SCHEMA_NAME => last(StoreError::Broken(format!(
                "the schema is not ours: {said}; run `authflow migrate`"
            ))),
            // A connection to a standby is of no use: the next one may find the primary. The other two are a prepared
            // statement that outlived a change of the schema, or that a PgBouncer gave to somebody else.
            SqlState::READ_ONLY_SQL_TRANSACTION
            | SqlState::FEATURE_NOT_SUPPORTED
            | SqlState::INVALID_SQL_STATEMENT_NAME => Self::Final {
                error: StoreError::Unavailable(said),
                discard: true,
            },
            _ => last(by_class(db.code().code(), said)),
        }
    }

    fn without_state(error: &Error) -> Self {
        let said = with_causes(error);
        if is_late(error) {
            return Self::Final {
                error: StoreError::TimedOut(said),
                discard: true,
            };
        }
        // A row or a parameter that does not fit its Rust type is our own mistake, or damage; the rest is the connection.
        if said.contains("serializing") || said.contains("unexpected number of") {
            return Self::Final {
                error: StoreError::Broken(said),
                discard: false,
            };
        }
        Self::Lost(StoreError::Unavailable(said))
    }

    /// The answer when nothing more is tried.
    pub(crate) fn into_error(self) -> StoreError {
        match self {
            Self::Undone(error) | Self::Lost(error) | Self::Final { error, .. } => error,
        }
    }
}

/// For who tries nothing more.
impl From<Trouble> for StoreError {
    fn from(trouble: Trouble) -> Self {
        trouble.into_error()
    }
}

/// An answer that another try would not change.
impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        Self::Final { error, discard: true }
    }
}

/// PostgreSQL's classes (documentation, Appendix A).
fn by_class(code: &str, said: String) -> StoreError {
    match code.get(..2) {
        // connection, authorization, unknown database, resources (too many connections, disk full), object not in the
        // right state (lock not available), operator intervention, system error; 42501 is a missing privilege
        Some("08" | "28" | "3D" | "53" | "55" | "57" | "58") => StoreError::Unavailable(said),
        _ if code == "42501" || code.starts_with("40") => StoreError::Unavailable(said),
        _ => StoreError::Broken(said),
    }
}

/// What the pool says.
pub(crate) fn of_pool(error: &PoolError) -> StoreError {
    match error {
        PoolError::Backend(error) | PoolError::PostCreateHook(HookError::Backend(error)) => {
            Trouble::of(error).into_error()
        }
        PoolError::Timeout(TimeoutType::Create) => {
            StoreError::TimedOut("PostgreSQL accepts no connection in time".to_owned())
        }
        PoolError::Timeout(_) => StoreError::Unavailable("all connections are busy".to_owned()),
        other => StoreError::Unavailable(other.to_string()),
    }
}

/// Whether the database refuses connections: it is down, starting, or full.
pub(crate) fn is_refusal(error: &PoolError) -> bool {
    let (PoolError::Backend(error) | PoolError::PostCreateHook(HookError::Backend(error))) = error else {
        return false;
    };
    match error.code() {
        Some(code) => [SqlState::CANNOT_CONNECT_NOW, SqlState::TOO_MANY_CONNECTIONS].contains(code),
        None => io_error(error).is_some_and(|cause| cause.kind() == std::io::ErrorKind::ConnectionRefused),
    }
}

/// An error with its causes; tokio-postgres keeps them out of its own text.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.ends_with(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text
}

fn is_late(error: &Error) -> bool {
    io_error(error).is_some_and(|cause| cause.kind() == std::io::ErrorKind::TimedOut)
}

fn io_error(error: &Error) -> Option<&std::io::Error> {
    std::error::Error::source(error)?.downcast_ref()
}
