//! Tokens that another program minted, taken in with a grant of their own.

use mcp_authflow_types::{Timestamp, TokenHash, secret::ExpiryBucket};

use super::StoreResult;
use crate::{port::token_storage::TokenKind, record::ImportedToken};

/// How taking a token in went.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImportToken {
    /// It is there now, with its grant.
    Imported,
    /// It was taken in before, whatever became of it since.
    AlreadyThere,
    /// Its client is not there, or has expired; nothing was stored.
    ClientGone,
    /// Its subject's account is disabled; nothing was stored.
    SubjectDisabled,
}

/// An imported token, as far as its look-up goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImportedEntry {
    /// The bucket in which the token lies.
    pub bucket: ExpiryBucket,
    /// Whether it was claimed: from then on this store alone decides about it.
    pub is_claimed: bool,
}

/// Keeps what another program minted. Its tokens have no bucket in their text, so an entry by digest says where they lie;
/// everything else is done by the verbs for tokens and grants.
#[async_trait::async_trait]
pub trait ImportedTokenStore: Send + Sync {
    /// Takes tokens in, each with its grant, all in one step; answers in the same order. Grants are stamped with the current
    /// generations of their client and subject, and tied to what their resources are registered as now. One that was
    /// taken in before is left as it is: one that was revoked or exchanged since must not come back.
    async fn import_tokens(&self, tokens: &[ImportedToken], now: Timestamp) -> StoreResult<Vec<ImportToken>>;

    /// Finds out where an imported token lies.
    async fn find_imported(&self, kind: TokenKind, token: &TokenHash) -> StoreResult<Option<ImportedEntry>>;

    /// Claims an imported refresh token, before it is taken out of where it came from. Again, it does nothing. Answers
    /// whether it is there.
    async fn claim_imported(&self, token: &TokenHash) -> StoreResult<bool>;
}
