//! Token storage as a part of its own: thirteen operations on opaque tokens, for a token endpoint that you write yourself.
//!
//! It carries on the `TokenStorage` of the Python package `mcp-authflow`: the same operations, on the same tables where the
//! store is `PostgresTokenStorage`. The server does not use it: its own [`Store`](super::Store) has verbs that cannot lose
//! a race and grants that end all that came of them.
//!
//! | store | where | for |
//! |---|---|---|
//! | [`MemoryTokenStorage`](crate::memory::MemoryTokenStorage) | here | one process, tests |
//! | `SqliteTokenStorage` | `mcp-authflow-sqlite` | one process, one file |
//! | `PostgresTokenStorage` | `mcp-authflow-postgres` | the documented tables, shared with the Python package |
//!
//! ```
//! # use std::{sync::Arc, time::Duration};
//! use mcp_authflow::{
//!     memory::MemoryTokenStorage,
//!     port::{Clock, token_storage::{NewToken, TokenStorage, TokenStorageError}},
//! };
//! # use mcp_authflow_types::Timestamp;
//! # struct Stopped;
//! # impl Clock for Stopped { fn now(&self) -> Timestamp { Timestamp::from_seconds(1_790_000_000) } }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), TokenStorageError> {
//! # let system_clock: Arc<dyn Clock> = Arc::new(Stopped);
//! let storage = MemoryTokenStorage::new(system_clock.clone());
//! storage.initialize().await?;
//! let mut new = NewToken::new("my-client", system_clock.now() + Duration::from_secs(3_600));
//! new.scopes = vec!["notes:read".to_owned()];
//! storage.store_token("an opaque token", &new).await?;
//!
//! let found = storage.load_token("an opaque token").await?;
//! assert_eq!(found.map(|record| record.client_id).as_deref(), Some("my-client"));
//! assert_eq!(storage.load_token("another").await?, None);
//! # Ok(())
//! # }
//! ```
//!
//! # Security
//! A store keeps the SHA-256 of a token and nothing else of it. That is enough for tokens of at least 128 random bits; a
//! token that can be guessed can be found in a stolen table.

use std::fmt;

use mcp_authflow_types::{Timestamp, TokenHash, hex};

/// The digest under which a token is kept: lower-case hexadecimal SHA-256 of its UTF-8 bytes.
///
/// ```
/// use mcp_authflow::port::token_storage::hash_token;
///
/// assert!(hash_token("token").starts_with("3c469e9d6c5875d3"));
/// ```
pub fn hash_token(token: &str) -> String {
    hex::encode(TokenHash::of(token).as_bytes())
}

/// What a log may say of a token: `fp:` and the first eight digits of its digest.
///
/// ```
/// use mcp_authflow::port::token_storage::token_fingerprint;
///
/// assert_eq!(token_fingerprint("token"), "fp:3c469e9d");
/// ```
pub fn token_fingerprint(token: &str) -> String {
    format!("fp:{}", TokenHash::of(token).fingerprint())
}

/// Whose token it is, in the form that the application gives its users.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum UserId {
    /// A number.
    Integer(i64),
    /// A text; a UUID is one, too.
    Text(String),
}

impl From<i64> for UserId {
    fn from(id: i64) -> Self {
        Self::Integer(id)
    }
}

impl From<&str> for UserId {
    fn from(id: &str) -> Self {
        Self::Text(id.to_owned())
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(id) => id.fmt(f),
            Self::Text(id) => id.fmt(f),
        }
    }
}

/// What is said of a token that is to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NewToken {
    /// To which client it was issued.
    pub client_id: String,
    /// What it allows. Default: nothing.
    pub scopes: Vec<String>,
    /// Which resource it is for. Default: not said.
    pub resource: Option<String>,
    /// From when on it is no good.
    pub expires_at: Timestamp,
    /// On whose behalf. Default: not said.
    pub user_id: Option<UserId>,
}

impl NewToken {
    /// A token of a client, without scopes, resource and user.
    pub fn new(client_id: impl Into<String>, expires_at: Timestamp) -> Self {
        Self {
            client_id: client_id.into(),
            scopes: Vec::new(),
            resource: None,
            expires_at,
            user_id: None,
        }
    }
}

/// What is kept of a token. It is a copy: changing it changes nothing in the store. The token itself is not in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRecord {
    /// To which client it was issued.
    pub client_id: String,
    /// What it allows.
    pub scopes: Vec<String>,
    /// Which resource it is for.
    pub resource: Option<String>,
    /// From when on it is no good.
    pub expires_at: Timestamp,
    /// When it was stored.
    pub created_at: Timestamp,
    /// On whose behalf.
    pub user_id: Option<UserId>,
}

impl TokenRecord {
    /// What is kept of a token that is stored at `now`.
    pub fn of(new: &NewToken, now: Timestamp) -> Self {
        Self {
            client_id: new.client_id.clone(),
            scopes: new.scopes.clone(),
            resource: new.resource.clone(),
            expires_at: new.expires_at,
            created_at: now,
            user_id: new.user_id.clone(),
        }
    }
}

/// The two kinds of token. One text may be stored as both; they know nothing of each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TokenKind {
    /// Access tokens.
    Access,
    /// Refresh tokens.
    Refresh,
}

impl TokenKind {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Access, Self::Refresh];

    /// The kind as a word for logs and messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Access => "access token",
            Self::Refresh => "refresh token",
        }
    }
}

/// How many tokens of a kind are stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TokenCount {
    /// Those that are good.
    pub live: u64,
    /// Those that have expired and were not cleaned up yet.
    pub expired: u64,
}

impl TokenCount {
    /// All that are there, as the Python package counts.
    pub const fn stored(self) -> u64 {
        self.live + self.expired
    }
}

/// Where the Python package has one rule and we have a better one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TokenRules {
    /// A token is no good from the second on that `expires_at` names, in every store; what is stored for one client is never
    /// bound to another one.
    #[default]
    Strict,
    /// As `mcp-authflow` 0.9 has it: a token is good at `expires_at` itself, and storing a token again binds it to whoever
    /// is named then. For two programs that must answer alike about the same table.
    Python,
}

impl TokenRules {
    /// Whether a token is over at `now`.
    pub fn is_over(self, expires_at: Timestamp, now: Timestamp) -> bool {
        match self {
            Self::Strict => expires_at.has_passed(now),
            Self::Python => expires_at < now,
        }
    }

    /// Whether a stored token may become another client's.
    pub const fn may_rebind(self) -> bool {
        matches!(self, Self::Python)
    }
}

/// Why an operation came to nothing. [`is_final`](Self::is_final) says whether trying again is of any use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenStorageError {
    /// The store was not told how to work, or in a way that it does not understand. The operator's to mend.
    #[error("{0}")]
    Misconfigured(String),
    /// The tables are not what they should be. The operator's to mend.
    #[error("{0}")]
    SchemaDrift(String),
    /// `initialize` was not called, or `close` was.
    #[error("the token storage is not initialized; call initialize() first")]
    NotInitialized,
    /// A value that this store cannot keep.
    #[error("{0}")]
    InvalidArgument(String),
    /// The token is stored already, for another client.
    #[error("the token is stored already, for another client")]
    OtherClients,
    /// The store holds as much as it may.
    #[error("the token storage is full: it holds {0} tokens")]
    Full(usize),
    /// The database refuses, for now.
    #[error("the token storage is unavailable: {0}")]
    Unavailable(String),
    /// The database did not answer in time; what was asked may have happened.
    #[error("the token storage did not answer in time: {0}")]
    TimedOut(String),
    /// The database says something else, such as that a table is not there.
    #[error("the token storage is broken: {0}")]
    Database(String),
}

impl TokenStorageError {
    /// Whether it is one of the faults that stay until somebody changes the program or its surroundings: misconfiguration,
    /// schema drift, not initialized.
    pub const fn is_final(&self) -> bool {
        matches!(
            self,
            Self::Misconfigured(_) | Self::SchemaDrift(_) | Self::NotInitialized
        )
    }

    /// Whether it may go well when tried again.
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::TimedOut(_))
    }

    /// Whether what was given is at fault, and not the state of something.
    pub const fn is_invalid_argument(&self) -> bool {
        matches!(
            self,
            Self::Misconfigured(_) | Self::InvalidArgument(_) | Self::OtherClients
        )
    }
}

/// What an operation answers.
pub type TokenStorageResult<T> = Result<T, TokenStorageError>;

/// Keeps access tokens and refresh tokens, by digest.
///
/// Every operation but [`initialize`](Self::initialize) and [`close`](Self::close) fails with
/// [`TokenStorageError::NotInitialized`] before the one and after the other. Nothing is cleaned up unless somebody calls
/// the two clean-ups, which work in batches.
#[async_trait::async_trait]
pub trait TokenStorage: Send + Sync {
    /// Opens the store. Again, it keeps everything as it is.
    ///
    /// # Errors
    /// Leaves the store closed.
    async fn initialize(&self) -> TokenStorageResult<()>;

    /// Closes the store. Again, it does nothing.
    async fn close(&self);

    /// Stores an access token. One that is there already gets what is said now, as long as it is the same client's; under
    /// [`TokenRules::Python`] whosesoever it is. A store that lets a replayed token be bound to another client hands one
    /// client's rights to another.
    ///
    /// # Errors
    /// [`TokenStorageError::OtherClients`]; [`TokenStorageError::InvalidArgument`] for what the store cannot keep.
    async fn store_token(&self, token: &str, new: &NewToken) -> TokenStorageResult<()>;

    /// Reads an access token. One that has expired is not there, and is removed by the way.
    async fn load_token(&self, token: &str) -> TokenStorageResult<Option<TokenRecord>>;

    /// Removes an access token; there need not be one.
    async fn delete_token(&self, token: &str) -> TokenStorageResult<()>;

    /// Stores a refresh token, as [`store_token`](Self::store_token) does.
    ///
    /// # Errors
    /// As there.
    async fn store_refresh_token(&self, refresh_token: &str, new: &NewToken) -> TokenStorageResult<()>;

    /// Reads a refresh token, as [`load_token`](Self::load_token) does.
    async fn load_refresh_token(&self, refresh_token: &str) -> TokenStorageResult<Option<TokenRecord>>;

    /// Removes a refresh token; there need not be one.
    async fn delete_refresh_token(&self, refresh_token: &str) -> TokenStorageResult<()>;

    /// Removes everything of a client, expired tokens included; answers how many of both kinds went.
    async fn revoke_client_tokens(&self, client_id: &str) -> TokenStorageResult<u64>;

    /// Removes expired access tokens; answers how many. It leaves those that expired this very second.
    async fn cleanup_expired_tokens(&self) -> TokenStorageResult<u64>;

    /// Removes expired refresh tokens, as [`cleanup_expired_tokens`](Self::cleanup_expired_tokens) does.
    async fn cleanup_expired_refresh_tokens(&self) -> TokenStorageResult<u64>;

    /// Counts access tokens.
    async fn get_token_count(&self) -> TokenStorageResult<TokenCount>;

    /// Counts refresh tokens.
    async fn get_refresh_token_count(&self) -> TokenStorageResult<TokenCount>;

    /// Takes a refresh token out, for its exchange: of many callers, one gets the record. Loading and deleting instead lets
    /// two callers exchange one token.
    async fn take_refresh_token(&self, refresh_token: &str) -> TokenStorageResult<Option<TokenRecord>>;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// S-186
    #[test]
    fn a_fault_says_whether_trying_again_is_of_use() {
        use TokenStorageError as E;
        for (error, is_final, is_transient) in [
            (E::Misconfigured(String::new()), true, false),
            (E::SchemaDrift(String::new()), true, false),
            (E::NotInitialized, true, false),
            (E::InvalidArgument(String::new()), false, false),
            (E::OtherClients, false, false),
            (E::Full(1), false, false),
            (E::Unavailable(String::new()), false, true),
            (E::TimedOut(String::new()), false, true),
            (E::Database(String::new()), false, false),
        ] {
            assert_eq!(
                (error.is_final(), error.is_transient()),
                (is_final, is_transient),
                "{error:?}"
            );
        }
    }

    /// S-181
    #[test]
    fn a_token_is_kept_and_logged_by_its_digest() {
        let digest = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(hash_token(""), digest);
        assert_eq!(token_fingerprint(""), "fp:e3b0c442");
    }
}
