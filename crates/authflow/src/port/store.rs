//! Storage: verbs, one noun a file, each atomic.
//!
//! A commit re-checks its own precondition and answers how the race went; "somebody was faster" is an outcome, not an
//! error. What a store answers `Ok` to is durable. What it answers `Err` to has changed nothing, or is found done when
//! asked again. `mcp_authflow_testkit::store_contract!` is the definition: every store passes the same tests.
//!
//! Verbs take `now`, the node's clock. A store that has a clock of its own (PostgreSQL) may compare expiries with that
//! instead; the contract's tests use the real time for this reason. What one verb wrote down as the time of something is
//! compared with the same clock by the next: the retry window of a refresh token is the store's to measure.

mod client;
mod client_document;
mod device_code;
mod grant;
mod imported_token;
mod interaction;
mod resource;
mod session;
mod signing_key;
mod token;
mod upkeep;
mod user;

pub use client::{AddClient, ClientRegistration, ClientStore, ClientWithResources, ReplaceRegistration};
pub use client_document::{
    ClientDocumentStore, MOST_WAITING_HOSTS, NewClientDocument, NoteHost, PutClientDocument,
    WAITING_HOST_SECONDS,
};
pub use device_code::{BeginDevice, ClaimDevice, DeviceCodeStore, PollDevice};
pub use grant::{
    CodePeek, GrantQuery, GrantStore, GrantSummary, GrantWithStanding, LastUse, RedeemCode, Standing,
};
pub use imported_token::{ImportToken, ImportedEntry, ImportedTokenStore};
pub use interaction::{CloseInteraction, Closing, InteractionStore};
pub use resource::{AddResource, ResourceStore};
pub use session::SessionStore;
pub use signing_key::{AddSigningKey, SigningKeyStore};
pub use token::{
    AccessTokenPeek, IssueAccessToken, LiveAccessToken, NewTokens, RefreshTokenPeek, RefreshTokenWithGrant,
    RotateRefreshToken, Rotation, TokenStore,
};
pub use upkeep::{KeyFingerprint, Purged, TokenCounts, UpkeepStore};
pub use user::{AddUser, UserStore};

use super::Replay;

/// Why a store could not be asked, or could not do what it was asked. Never a guess: callers answer 503 or 504.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// It refuses: not reachable, full, read-only, too busy. Answered with 503.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// It did not answer in time. What was asked may or may not have happened. Answered with 504.
    #[error("the store did not answer in time: {0}")]
    TimedOut(String),
    /// It answered something that makes no sense: a damaged row, a schema that is not ours. Answered with 503.
    #[error("the store is broken: {0}")]
    Broken(String),
}

/// What a verb answers.
pub type StoreResult<T> = Result<T, StoreError>;

/// Everything the protocol asks of a store.
///
/// [`Replay`] is among it: what is used once is decided where codes and tokens are, unless an operator chooses otherwise.
pub trait Store:
    ClientStore
    + ClientDocumentStore
    + ResourceStore
    + InteractionStore
    + DeviceCodeStore
    + GrantStore
    + TokenStore
    + ImportedTokenStore
    + SigningKeyStore
    + UpkeepStore
    + Replay
{
}

impl<
    T: ClientStore
        + ClientDocumentStore
        + ResourceStore
        + InteractionStore
        + DeviceCodeStore
        + GrantStore
        + TokenStore
        + ImportedTokenStore
        + SigningKeyStore
        + UpkeepStore
        + Replay,
> Store for T
{
}

/// What local accounts and their sessions ask of a store; not needed by who brings a sign-in of their own.
pub trait AccountStore: UserStore + SessionStore {}

impl<T: UserStore + SessionStore> AccountStore for T {}
