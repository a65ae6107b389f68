//! Token storage in one SQLite file of its own, for a token endpoint that you write yourself. It shares nothing with
//! [`SqliteStore`](crate::SqliteStore), not even the file.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use mcp_authflow::port::{
    Clock, StoreError,
    token_storage::{
        NewToken, TokenCount, TokenKind, TokenRecord, TokenRules, TokenStorage, TokenStorageError,
        TokenStorageResult, UserId,
    },
};
use mcp_authflow_types::TokenHash;
use rusqlite::{
    Connection, OpenFlags, OptionalExtension as _, Row, TransactionBehavior, named_params,
    types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef},
};

use crate::{
    error::{caught, judge},
    sql::{Json, moment},
};

/// Marks a file as a token storage of ours (`PRAGMA application_id`): "MCPT".
const APPLICATION_ID: i32 = 0x4d43_5054;
/// The schema, and its number (`PRAGMA user_version`).
const SCHEMA: &str = include_str!("../migrations/token_storage.sql");
const VERSION: i64 = 1;
/// How long an operation waits for another process that writes.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// How many expired tokens go in one transaction: others get in between.
const BATCH: u16 = 500;

/// A token storage in one SQLite file, made when it is not there. Every answer is durable.
///
/// ```no_run
/// # use std::sync::Arc;
/// use mcp_authflow::port::token_storage::TokenStorage;
/// use mcp_authflow_sqlite::SqliteTokenStorage;
///
/// # async fn example(clock: Arc<dyn mcp_authflow::port::Clock>)
/// # -> Result<(), mcp_authflow::port::token_storage::TokenStorageError> {
/// let storage = SqliteTokenStorage::new("tokens.sqlite", clock);
/// storage.initialize().await?;
/// # Ok(())
/// # }
/// ```
pub struct SqliteTokenStorage {
    path: PathBuf,
    clock: Arc<dyn Clock>,
    rules: TokenRules,
    /// None while it is closed.
    connection: Arc<Mutex<Option<Connection>>>,
}

impl SqliteTokenStorage {
    /// Makes a closed store on a file that goes by `clock`.
    pub fn new(path: impl Into<PathBuf>, clock: Arc<dyn Clock>) -> Self {
        Self {
            path: path.into(),
            clock,
            rules: TokenRules::default(),
            connection: Arc::default(),
        }
    }

    /// Sets the rules; [`TokenRules::Strict`] unless told otherwise.
    #[must_use]
    pub fn with_rules(mut self, rules: TokenRules) -> Self {
        self.rules = rules;
        self
    }

    /// Works on the connection, on a thread where waiting is fine.
    async fn with_connection<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Option<Connection>) -> TokenStorageResult<T> + Send + 'static,
    ) -> TokenStorageResult<T> {
        let connection = self.connection.clone();
        let working = tokio::task::spawn_blocking(move || {
            work(&mut connection.lock().unwrap_or_else(PoisonError::into_inner))
        });
        working
            .await
            .unwrap_or_else(|_| Err(TokenStorageError::Unavailable("the runtime is ending".to_owned())))
    }

    /// Does something in one transaction.
    async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> TokenStorageResult<T> {
        self.with_connection(|open| {
            let connection = open.as_mut().ok_or(TokenStorageError::NotInitialized)?;
            caught(|| {
                let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
                let answer = job(&transaction)?;
                transaction.commit()?;
                Ok(answer)
            })
            .map_err(in_words)
        })
        .await
    }

    async fn store(&self, kind: TokenKind, token: &str, new: &NewToken) -> TokenStorageResult<()> {
        let (hash, rules) = (TokenHash::of(token), self.rules);
        let record = TokenRecord::of(new, self.clock.now());
        let is_stored = self
            .run(move |connection| {
                let stored = connection
                    .prepare_cached(sql(kind).store)?
                    .execute(named_params! {
                        ":hash": hash.as_bytes(),
                        ":client_id": record.client_id,
                        ":scopes": Json(&record.scopes),
                        ":resource": record.resource,
                        ":expires_at": record.expires_at.seconds(),
                        ":created_at": record.created_at.seconds(),
                        ":user_id": record.user_id.map(SqlUser),
                        ":may_rebind": rules.may_rebind(),
                    })?;
                Ok(stored == 1)
            })
            .await?;
        if !is_stored {
            return Err(TokenStorageError::OtherClients);
        }
        tracing::debug!(token = %fingerprint(&hash), "{} stored", kind.as_str());
        Ok(())
    }

    async fn load(&self, kind: TokenKind, token: &str) -> TokenStorageResult<Option<TokenRecord>> {
        let (hash, rules, now) = (TokenHash::of(token), self.rules, self.clock.now());
        let found = self
            .run(move |connection| {
                let found = connection
                    .prepare_cached(sql(kind).load)?
                    .query_row(named_params! {":hash": hash.as_bytes()}, record)
                    .optional()?;
                if let Some(found) = &found
                    && rules.is_over(found.expires_at, now)
                {
                    connection
                        .prepare_cached(sql(kind).delete)?
                        .execute(named_params! {":hash": hash.as_bytes()})?;
                }
                Ok(found)
            })
            .await?;
        match found {
            None => {
                tracing::debug!(token = %fingerprint(&hash), "no such {}", kind.as_str());
                Ok(None)
            }
            Some(found) if rules.is_over(found.expires_at, now) => {
                tracing::debug!(token = %fingerprint(&hash), "{} expired", kind.as_str());
                Ok(None)
            }
            found => Ok(found),
        }
    }

    async fn delete(&self, kind: TokenKind, token: &str) -> TokenStorageResult<()> {
        let hash = TokenHash::of(token);
        self.run(move |connection| {
            connection
                .prepare_cached(sql(kind).delete)?
                .execute(named_params! {":hash": hash.as_bytes()})
        })
        .await?;
        tracing::debug!(token = %fingerprint(&hash), "{} deleted", kind.as_str());
        Ok(())
    }

    async fn clean_up(&self, kind: TokenKind) -> TokenStorageResult<u64> {
        let now = self.clock.now();
        let mut removed = 0;
        loop {
            let batch = self
                .run(move |connection| {
                    let key = named_params! {":now": now.seconds(), ":limit": BATCH};
                    connection.prepare_cached(sql(kind).clean_up)?.execute(key)
                })
                .await?;
            removed += batch;
            if batch < usize::from(BATCH) {
                break;
            }
        }
        if removed > 0 {
            tracing::info!(removed, "expired {}s cleaned up", kind.as_str());
        }
        Ok(as_count(removed))
    }

    async fn count(&self, kind: TokenKind) -> TokenStorageResult<TokenCount> {
        let (rules, now) = (self.rules, self.clock.now());
        self.run(move |connection| {
            let key = named_params! {":now": now.seconds(), ":is_over_then": rules.is_over(now, now)};
            connection.prepare_cached(sql(kind).count)?.query_row(key, |row| {
                let (stored, expired) = (counted(row.get(0)?), counted(row.get(1)?));
                Ok(TokenCount {
                    live: stored.saturating_sub(expired),
                    expired,
                })
            })
        })
        .await
    }
}

impl fmt::Debug for SqliteTokenStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteTokenStorage")
            .field("path", &self.path)
            .field("rules", &self.rules)
            .finish_non_exhaustive()
    }
}

/// The statements for one kind.
struct Sql {
    store: &'static str,
    load: &'static str,
    delete: &'static str,
    take: &'static str,
    revoke_client: &'static str,
    clean_up: &'static str,
    count: &'static str,
}

macro_rules! statements_on {
    ($table:literal) => {
        Sql {
            store: concat!(
                "INSERT INTO ", $table, " (hash, client_id, scopes, resource, expires_at, created_at, user_id)
                VALUES (:hash, :client_id, :scopes, :resource, :expires_at, :created_at, :user_id)
                ON CONFLICT (hash) DO UPDATE SET client_id = excluded.client_id, scopes = excluded.scopes,
                    resource = excluded.resource, expires_at = excluded.expires_at,
                    created_at = excluded.created_at, user_id = excluded.user_id
                WHERE :may_rebind OR client_id = excluded.client_id"
            ),
            load: concat!(
                "SELECT client_id, scopes, resource, expires_at, created_at, user_id FROM ", $table,
                " WHERE hash = :hash"
            ),
            delete: concat!("DELETE FROM ", $table, " WHERE hash = :hash"),
            take: concat!(
                "DELETE FROM ", $table, " WHERE hash = :hash
                RETURNING client_id, scopes, resource, expires_at, created_at, user_id"
            ),
            revoke_client: concat!("DELETE FROM ", $table, " WHERE client_id = :client_id"),
            clean_up: concat!(
                "DELETE FROM ", $table, " WHERE hash IN
                (SELECT hash FROM ", $table, " WHERE expires_at < :now LIMIT :limit)"
            ),
            count: concat!(
                "SELECT count(*), coalesce(sum(expires_at < :now OR (:is_over_then AND expires_at = :now)), 0) FROM ",
                $table
            ),
        }
    };
}

fn sql(kind: TokenKind) -> &'static Sql {
    static ACCESS: Sql = statements_on!("access_tokens");
    static REFRESH: Sql = statements_on!("refresh_tokens");
    match kind {
        TokenKind::Access => &ACCESS,
        TokenKind::Refresh => &REFRESH,
    }
}

fn record(row: &Row<'_>) -> rusqlite::Result<TokenRecord> {
    let Json(scopes) = row.get("scopes")?;
    let user: Option<SqlUser> = row.get("user_id")?;
    Ok(TokenRecord {
        client_id: row.get("client_id")?,
        scopes,
        resource: row.get("resource")?,
        expires_at: moment(row, "expires_at")?,
        created_at: moment(row, "created_at")?,
        user_id: user.map(|SqlUser(id)| id),
    })
}

/// A user in a column that keeps the type of what it is given.
struct SqlUser(UserId);

impl ToSql for SqlUser {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        match &self.0 {
            UserId::Integer(id) => id.to_sql(),
            UserId::Text(id) => id.to_sql(),
        }
    }
}

impl FromSql for SqlUser {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        match value {
            ValueRef::Integer(id) => Ok(Self(UserId::Integer(id))),
            ValueRef::Text(_) => Ok(Self(UserId::Text(value.as_str()?.to_owned()))),
            _ => Err(FromSqlError::InvalidType),
        }
    }
}

/// Opens the file, or makes it; refuses one that is anything else.
fn open(path: &Path) -> TokenStorageResult<Connection> {
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let sqlite = |error| of_opening(path, &error);
    let mut connection = Connection::open_with_flags(path, flags).map_err(sqlite)?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(sqlite)?;
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(sqlite)?;
    let pragma = |name| transaction.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let application = pragma("application_id").map_err(sqlite)?;
    let version = pragma("user_version").map_err(sqlite)?;
    let tables: i64 = transaction
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(sqlite)?;
    let drift = |what: String| {
        let path = path.display();
        TokenStorageError::SchemaDrift(format!("{path} is no token storage of this version: {what}"))
    };
    match (application, version, tables) {
        (0, 0, 0) => {
            transaction
                .execute_batch(SCHEMA)
                .and_then(|()| transaction.pragma_update(None, "application_id", APPLICATION_ID))
                .and_then(|()| transaction.pragma_update(None, "user_version", VERSION))
                .map_err(sqlite)?;
        }
        (application, _, _) if application != i64::from(APPLICATION_ID) => {
            return Err(drift(
                "it belongs to another application; name a file of its own".to_owned(),
            ));
        }
        (_, VERSION, _) => check_columns(&transaction).map_err(|error| drift(error.to_string()))?,
        (_, other, _) => return Err(drift(format!("its schema has number {other}, not {VERSION}"))),
    }
    transaction.commit().map_err(sqlite)?;
    connection
        .pragma_update(None, "journal_mode", "wal")
        .and_then(|()| connection.pragma_update(None, "synchronous", "full"))
        .and_then(|()| connection.pragma_update(None, "trusted_schema", false))
        .map_err(sqlite)?;
    Ok(connection)
}

/// A column that somebody took away is noticed here, before it costs a token.
fn check_columns(connection: &Connection) -> rusqlite::Result<()> {
    for kind in TokenKind::ALL {
        let Sql {
            store,
            load,
            delete,
            take,
            revoke_client,
            clean_up,
            count,
        } = sql(kind);
        for statement in [store, load, delete, take, revoke_client, clean_up, count] {
            connection.prepare(statement)?;
        }
    }
    Ok(())
}

fn of_opening(path: &Path, error: &rusqlite::Error) -> TokenStorageError {
    match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::NotADatabase) => {
            TokenStorageError::SchemaDrift(format!("{} is no SQLite file", path.display()))
        }
        Some(rusqlite::ErrorCode::CannotOpen) => {
            TokenStorageError::Misconfigured(format!("{} cannot be opened: {error}", path.display()))
        }
        _ => in_words(judge(error)),
    }
}

fn in_words(error: StoreError) -> TokenStorageError {
    match error {
        StoreError::Unavailable(said) => TokenStorageError::Unavailable(said),
        StoreError::TimedOut(said) => TokenStorageError::TimedOut(said),
        other => TokenStorageError::Database(other.to_string()),
    }
}

fn counted(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

fn as_count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

fn fingerprint(hash: &TokenHash) -> String {
    format!("fp:{}", hash.fingerprint())
}

#[async_trait::async_trait]
impl TokenStorage for SqliteTokenStorage {
    /// Makes the file and its tables when they are not there.
    async fn initialize(&self) -> TokenStorageResult<()> {
        let path = self.path.clone();
        self.with_connection(move |connection| {
            if connection.is_none() {
                *connection = Some(open(&path)?);
                tracing::info!(path = %path.display(), "token storage opened");
            }
            Ok(())
        })
        .await
    }

    async fn close(&self) {
        let closing = self.with_connection(|connection| {
            if let Some(connection) = connection.take() {
                // What cannot be closed well is closed all the same when it is dropped.
                drop(connection.close());
                tracing::info!("token storage closed");
            }
            Ok(())
        });
        if let Err(error) = closing.await {
            tracing::warn!(%error, "token storage not closed");
        }
    }

    async fn store_token(&self, token: &str, new: &NewToken) -> TokenStorageResult<()> {
        self.store(TokenKind::Access, token, new).await
    }

    async fn load_token(&self, token: &str) -> TokenStorageResult<Option<TokenRecord>> {
        self.load(TokenKind::Access, token).await
    }

    async fn delete_token(&self, token: &str) -> TokenStorageResult<()> {
        self.delete(TokenKind::Access, token).await
    }

    async fn store_refresh_token(&self, refresh_token: &str, new: &NewToken) -> TokenStorageResult<()> {
        self.store(TokenKind::Refresh, refresh_token, new).await
    }

    async fn load_refresh_token(&self, refresh_token: &str) -> TokenStorageResult<Option<TokenRecord>> {
        self.load(TokenKind::Refresh, refresh_token).await
    }

    async fn delete_refresh_token(&self, refresh_token: &str) -> TokenStorageResult<()> {
        self.delete(TokenKind::Refresh, refresh_token).await
    }

    async fn revoke_client_tokens(&self, client_id: &str) -> TokenStorageResult<u64> {
        let client = client_id.to_owned();
        let revoked = self
            .run(move |connection| {
                let mut revoked = 0;
                for kind in TokenKind::ALL {
                    revoked += connection
                        .prepare_cached(sql(kind).revoke_client)?
                        .execute(named_params! {":client_id": client})?;
                }
                Ok(revoked)
            })
            .await?;
        if revoked > 0 {
            tracing::info!(?client_id, revoked, "all tokens of a client revoked");
        }
        Ok(as_count(revoked))
    }

    async fn cleanup_expired_tokens(&self) -> TokenStorageResult<u64> {
        self.clean_up(TokenKind::Access).await
    }

    async fn cleanup_expired_refresh_tokens(&self) -> TokenStorageResult<u64> {
        self.clean_up(TokenKind::Refresh).await
    }

    async fn get_token_count(&self) -> TokenStorageResult<TokenCount> {
        self.count(TokenKind::Access).await
    }

    async fn get_refresh_token_count(&self) -> TokenStorageResult<TokenCount> {
        self.count(TokenKind::Refresh).await
    }

    async fn take_refresh_token(&self, refresh_token: &str) -> TokenStorageResult<Option<TokenRecord>> {
        let (hash, rules, now) = (TokenHash::of(refresh_token), self.rules, self.clock.now());
        let taken = self
            .run(move |connection| {
                connection
                    .prepare_cached(sql(TokenKind::Refresh).take)?
                    .query_row(named_params! {":hash": hash.as_bytes()}, record)
                    .optional()
            })
            .await?;
        Ok(taken.filter(|record| !rules.is_over(record.expires_at, now)))
    }
}
