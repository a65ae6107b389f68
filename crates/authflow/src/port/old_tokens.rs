//! The tables of another program whose tokens are still out there, for the time of moving over.

use mcp_authflow_types::{Timestamp, TokenHash};

use super::{
    store::{ImportedEntry, StoreResult},
    token_storage::TokenKind,
};

/// Where tokens of another program lie that were not taken in yet.
///
/// Each answer must come soon: a request waits for it. One that cannot be had is an error, never a guess: a token that is
/// good there must not be called bad here because nobody could ask.
#[async_trait::async_trait]
pub trait OldTokens: Send + Sync {
    /// Takes a token in that is good there: stores it, with a grant of its own, and answers where it lies. None when it is
    /// not there, has expired, or has nobody to belong to. A wrong yes lets in whoever made the token up.
    async fn take_in(
        &self,
        kind: TokenKind,
        token: &TokenHash,
        now: Timestamp,
    ) -> StoreResult<Option<ImportedEntry>>;

    /// Whether a token is there, expired or not.
    async fn is_there(&self, kind: TokenKind, token: &TokenHash) -> StoreResult<bool>;

    /// Removes a token there: the other program does not know it from then on. What is not there is as good as removed.
    async fn remove(&self, kind: TokenKind, token: &TokenHash) -> StoreResult<()>;
}
