//! Token storage on the documented tables of the Python package `mcp-authflow`, exactly as they are: both programs may work
//! on one database. It shares nothing with [`PostgresStore`](crate::PostgresStore), whose tables lie in a schema of their
//! own.
//!
//! | table | column | type |
//! |---|---|---|
//! | `mcp_access_tokens`, `mcp_refresh_tokens` | `token` | text, primary key: SHA-256 in hexadecimal digits |
//! | | `client_id` | text |
//! | | `scopes` | text, joined by blanks |
//! | | `resource` | text, may be null |
//! | | `expires_at` | timestamptz |
//! | | `created_at` | timestamptz, default `now()` |
//! | | `user_id` | integer, bigint, uuid or text, may be null |
//!
//! The operator makes the tables; [`PostgresTokenStorage`] makes, changes and drops none. What type `user_id` has it learns
//! from PostgreSQL, table by table.

mod config;
mod session;
mod sql;
mod user;

use std::{
    fmt,
    sync::{
        PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod, Runtime};
use mcp_authflow::port::token_storage::{
    NewToken, TokenCount, TokenKind, TokenRecord, TokenRules, TokenStorage, TokenStorageError,
    TokenStorageResult, hash_token,
};
use mcp_authflow_types::{Timestamp, TokenHash, hex};
use tokio_postgres::{NoTls, Row, config::TargetSessionAttrs};

pub use self::config::{PostgresTokenStorageConfig, TokenClock};
use self::{
    config::VARIABLE,
    session::{Session, column, counted, in_words},
    sql::{REVOKE_CLIENT, sql},
    user::SqlUser,
};
use crate::{OpenError, connection::Target, error::of_pool};

/// How many expired rows one statement of a clean-up deletes.
const BATCH: i64 = 1_000;
/// The calendar of the tables: the years 1 to 9999, which is what Python can read.
const CALENDAR: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;

/// A row as it lies in a table, for whoever moves away from it: the digest stands for the token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredToken {
    /// The column `token`: SHA-256 in hexadecimal digits, where the Python package wrote it.
    pub digest: String,
    /// Everything else.
    pub record: TokenRecord,
}

impl StoredToken {
    /// The digest, when it is one.
    pub fn hash(&self) -> Option<TokenHash> {
        hex::decode(&self.digest).map(TokenHash::from_bytes)
    }
}

/// The token storage on the documented tables.
///
/// ```no_run
/// use mcp_authflow::port::token_storage::TokenStorage;
/// use mcp_authflow_postgres::{PostgresTokenStorage, PostgresTokenStorageConfig};
///
/// # async fn example() -> Result<(), mcp_authflow::port::token_storage::TokenStorageError> {
/// let url = "postgres://app@127.0.0.1/app".to_owned();
/// let storage = PostgresTokenStorage::new(PostgresTokenStorageConfig::new(Some(url)));
/// storage.initialize().await?;
/// let found = storage.load_token("a token that some Python program stored").await?;
/// # Ok(())
/// # }
/// ```
pub struct PostgresTokenStorage {
    config: PostgresTokenStorageConfig,
    /// None while it is closed.
    pool: RwLock<Option<Pool>>,
    /// Whether there was a table of access tokens and none of refresh tokens when it was opened: the program never made any.
    never_refreshes: AtomicBool,
    /// Held while it is opened: of two callers one opens it.
    opening: tokio::sync::Mutex<()>,
}

impl fmt::Debug for PostgresTokenStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresTokenStorage")
            .field("config", &self.config)
            .field("is_open", &self.is_open())
            .finish_non_exhaustive()
    }
}

impl PostgresTokenStorage {
    /// Makes a closed store; nothing is connected to yet.
    pub fn new(config: PostgresTokenStorageConfig) -> Self {
        Self {
            config,
            pool: RwLock::default(),
            never_refreshes: AtomicBool::new(false),
            opening: tokio::sync::Mutex::default(),
        }
    }

    /// Whether it holds connections, or could.
    pub fn is_open(&self) -> bool {
        self.read_pool().is_some()
    }

    /// Reads a token by its digest, expired or not, and changes nothing. A program that never made refresh tokens has no
    /// table of them, and so none; a table that went away since this store was opened is an error.
    ///
    /// # Errors
    /// Any but [`TokenStorageError::InvalidArgument`].
    pub async fn find(&self, kind: TokenKind, hash: &TokenHash) -> TokenStorageResult<Option<StoredToken>> {
        self.one(kind, sql(kind).find, hash).await
    }

    /// Takes a token out by its digest, expired or not: of many callers, one gets it.
    ///
    /// # Errors
    /// Any but [`TokenStorageError::InvalidArgument`].
    pub async fn take(&self, kind: TokenKind, hash: &TokenHash) -> TokenStorageResult<Option<StoredToken>> {
        self.one(kind, sql(kind).take, hash).await
    }

    async fn one(
        &self,
        kind: TokenKind,
        statement: &'static str,
        hash: &TokenHash,
    ) -> TokenStorageResult<Option<StoredToken>> {
        let session = self.session().await?;
        let may_lack = kind == TokenKind::Refresh && self.never_refreshes.load(Ordering::Relaxed);
        if may_lack && !session.has_table(kind).await? {
            return Ok(None);
        }
        let digest = hex::encode(hash.as_bytes());
        let rows = session.ask(statement, &[&digest]).await?;
        rows.first().map(stored).transpose()
    }

    /// Lists tokens in the order of their digests, after `after`, at most `limit`; expired ones are in it. A table that is
    /// not there is empty.
    ///
    /// # Errors
    /// Any but [`TokenStorageError::InvalidArgument`].
    pub async fn list(
        &self,
        kind: TokenKind,
        after: Option<&str>,
        limit: u32,
    ) -> TokenStorageResult<Vec<StoredToken>> {
        let session = self.session().await?;
        if !session.has_table(kind).await? {
            return Ok(Vec::new());
        }
        let rows = session.ask(sql(kind).list, &[&after, &i64::from(limit)]).await?;
        rows.iter().map(stored).collect()
    }

    fn read_pool(&self) -> Option<Pool> {
        self.pool.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What the clock shows, for a statement; null stands for the database's own.
    fn now(&self) -> Option<SystemTime> {
        match &self.config.clock {
            TokenClock::Database => None,
            TokenClock::Given(clock) => Some(clock()),
        }
    }

    async fn session(&self) -> TokenStorageResult<Session> {
        let pool = self.read_pool().ok_or(TokenStorageError::NotInitialized)?;
        self.session_of(&pool).await
    }

    async fn session_of(&self, pool: &Pool) -> TokenStorageResult<Session> {
        let object = pool.get().await.map_err(|error| in_words(of_pool(&error)))?;
        Ok(Session {
            object: Some(object),
            // The server gives up first, so that its answer says why.
            deadline: self.config.statement_timeout + Duration::from_secs(1),
            is_busy: AtomicBool::new(false),
        })
    }

    fn make_pool(&self) -> TokenStorageResult<Pool> {
        let Some(url) = &self.config.url else {
            return Err(TokenStorageError::Misconfigured(format!(
                "the environment variable {VARIABLE} is required for the token storage"
            )));
        };
        let misconfigured = |error: OpenError| TokenStorageError::Misconfigured(error.to_string());
        let Target { mut postgres, tls } = Target::of(url).map_err(misconfigured)?;
        postgres.target_session_attrs(TargetSessionAttrs::Any);
        postgres.connect_timeout(self.config.connect_timeout);
        let options = postgres
            .get_options()
            .map_or_else(String::new, |given| format!("{given} "));
        postgres.options(format!(
            "{options}-c statement_timeout={} -c idle_in_transaction_session_timeout=30000",
            self.config.statement_timeout.as_millis().max(1)
        ));
        let manager_config = ManagerConfig {
            recycling_method: RecyclingMethod::Fast,
        };
        let manager = match tls {
            Some(tls) => Manager::from_config(postgres, tls, manager_config),
            None => Manager::from_config(postgres, NoTls, manager_config),
        };
        Pool::builder(manager)
            .max_size(self.config.pool_size.max(1))
            .wait_timeout(Some(self.config.acquire_timeout))
            .create_timeout(Some(self.config.connect_timeout))
            .recycle_timeout(Some(self.config.acquire_timeout))
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(|error| TokenStorageError::Misconfigured(error.to_string()))
    }

    async fn store(&self, kind: TokenKind, token: &str, new: &NewToken) -> TokenStorageResult<()> {
        for (name, text) in [
            ("client_id", Some(&new.client_id)),
            ("resource", new.resource.as_ref()),
        ]
        .into_iter()
        .chain(new.scopes.iter().map(|scope| ("a scope", Some(scope))))
        {
            if text.is_some_and(|text| text.contains('\0')) {
                return Err(TokenStorageError::InvalidArgument(format!(
                    "{name} holds a NUL character, which PostgreSQL cannot keep"
                )));
            }
        }
        if !CALENDAR.contains(&new.expires_at.seconds()) {
            return Err(TokenStorageError::InvalidArgument(format!(
                "expires_at is not between the years 1 and 9999: {}",
                new.expires_at
            )));
        }
        let session = self.session().await?;
        let statement = session.prepare(sql(kind).store).await?;
        if let (Some(user), Some(column)) = (&new.user_id, statement.params().get(5)) {
            user::check(user, column)?;
        }
        let rows = session
            .send(
                &statement,
                &[
                    &hash_token(token),
                    &new.client_id,
                    &new.scopes.join(" "),
                    &new.resource,
                    &new.expires_at.seconds(),
                    &SqlUser(new.user_id.clone()),
                    &self.config.rules.may_rebind(),
                ],
            )
            .await?;
        if rows.is_empty() {
            return Err(TokenStorageError::OtherClients);
        }
        tracing::debug!(token = %fingerprint(token), "{} stored", kind.as_str());
        Ok(())
    }

    async fn load(&self, kind: TokenKind, token: &str) -> TokenStorageResult<Option<TokenRecord>> {
        let session = self.session().await?;
        let (digest, now, rules) = (hash_token(token), self.now(), self.is_python());
        let rows = session.ask(sql(kind).load, &[&digest, &now, &rules]).await?;
        let Some(row) = rows.first() else {
            tracing::debug!(token = %fingerprint(token), "no such {}", kind.as_str());
            return Ok(None);
        };
        if column(row, "is_over")? {
            // Over still? Whoever stored it anew in between must find it again.
            session
                .ask(sql(kind).delete_if_over, &[&digest, &now, &rules])
                .await?;
            tracing::debug!(token = %fingerprint(token), "{} expired", kind.as_str());
            return Ok(None);
        }
        Ok(Some(stored(row)?.record))
    }

    fn is_python(&self) -> bool {
        self.config.rules == TokenRules::Python
    }

    async fn delete(&self, kind: TokenKind, token: &str) -> TokenStorageResult<()> {
        let session = self.session().await?;
        session.ask(sql(kind).delete, &[&hash_token(token)]).await?;
        tracing::debug!(token = %fingerprint(token), "{} deleted", kind.as_str());
        Ok(())
    }

    async fn clean_up(&self, kind: TokenKind) -> TokenStorageResult<u64> {
        let now = self.now();
        let mut removed = 0;
        loop {
            // A connection each time: others get in between.
            let session = self.session().await?;
            let rows = session.ask(sql(kind).clean_up, &[&now, &BATCH]).await?;
            let batch = counted(&rows, "done")?;
            removed += batch;
            if batch < BATCH.unsigned_abs() {
                break;
            }
        }
        if removed > 0 {
            tracing::info!(removed, "expired {}s cleaned up", kind.as_str());
        }
        Ok(removed)
    }

    async fn count(&self, kind: TokenKind) -> TokenStorageResult<TokenCount> {
        let session = self.session().await?;
        let rows = session
            .ask(sql(kind).count, &[&self.now(), &self.is_python()])
            .await?;
        let (stored, expired) = (counted(&rows, "stored")?, counted(&rows, "expired")?);
        Ok(TokenCount {
            live: stored.saturating_sub(expired),
            expired,
        })
    }
}

fn stored(row: &Row) -> TokenStorageResult<StoredToken> {
    let SqlUser(user_id) = column(row, "user_id")?;
    Ok(StoredToken {
        digest: column(row, "token")?,
        record: TokenRecord {
            client_id: column(row, "client_id")?,
            scopes: column::<&str>(row, "scopes")?
                .split_whitespace()
                .map(str::to_owned)
                .collect(),
            resource: column(row, "resource")?,
            expires_at: Timestamp::from_seconds(column(row, "expires_at")?),
            created_at: Timestamp::from_seconds(column(row, "created_at")?),
            user_id,
        },
    })
}

fn fingerprint(token: &str) -> String {
    mcp_authflow::port::token_storage::token_fingerprint(token)
}

#[async_trait::async_trait]
impl TokenStorage for PostgresTokenStorage {
    /// Connects, and checks that the tables that are there have every column. When that fails the connections are closed
    /// again.
    ///
    /// # Errors
    /// [`TokenStorageError::Misconfigured`] for an address that is missing or not understood,
    /// [`TokenStorageError::SchemaDrift`] naming tables and columns, or what the database says.
    async fn initialize(&self) -> TokenStorageResult<()> {
        let _alone = self.opening.lock().await;
        if self.is_open() {
            return Ok(());
        }
        let pool = self.make_pool()?;
        let checked = async {
            let session = self.session_of(&pool).await?;
            session.check_schema().await?;
            Ok(session.has_table(TokenKind::Access).await? && !session.has_table(TokenKind::Refresh).await?)
        };
        match checked.await {
            Ok(never_refreshes) => self.never_refreshes.store(never_refreshes, Ordering::Relaxed),
            Err(error) => {
                pool.close();
                return Err(error);
            }
        }
        *self.pool.write().unwrap_or_else(PoisonError::into_inner) = Some(pool);
        tracing::info!("token storage opened in PostgreSQL");
        Ok(())
    }

    async fn close(&self) {
        let pool = self.pool.write().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(pool) = pool {
            pool.close();
            tracing::info!("token storage closed");
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

    /// Without a table of refresh tokens there are none; a table of access tokens must be there.
    async fn revoke_client_tokens(&self, client_id: &str) -> TokenStorageResult<u64> {
        let session = self.session().await?;
        if client_id.contains('\0') {
            return Ok(0);
        }
        let has_refresh = session.has_table(TokenKind::Refresh).await?;
        let statement = if has_refresh {
            REVOKE_CLIENT
        } else {
            sql(TokenKind::Access).revoke_client
        };
        let revoked = counted(&session.ask(statement, &[&client_id]).await?, "done")?;
        if revoked > 0 {
            tracing::info!(?client_id, revoked, "all tokens of a client revoked");
        }
        Ok(revoked)
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
        let session = self.session().await?;
        let (digest, now, python) = (hash_token(refresh_token), self.now(), self.is_python());
        let rows = session
            .ask(sql(TokenKind::Refresh).take_live, &[&digest, &now, &python])
            .await?;
        Ok(rows.first().map(stored).transpose()?.map(|stored| stored.record))
    }
}
