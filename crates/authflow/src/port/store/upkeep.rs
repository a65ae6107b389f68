//! Keeping the store itself in order.

use mcp_authflow_types::Timestamp;

use super::StoreResult;
use crate::port::token_storage::TokenCount;

/// How many rows a clean-up removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Purged {
    /// Interactions.
    pub interactions: u64,
    /// Device codes, some time after their end.
    pub device_codes: u64,
    /// Grants that ended, with their refresh tokens, and grants whose code was never redeemed.
    pub grants: u64,
    /// Access and refresh tokens.
    pub tokens: u64,
    /// Sessions.
    pub sessions: u64,
    /// Self-registered clients.
    pub clients: u64,
    /// Records of what was used once, such as identifiers of assertions.
    pub one_time_uses: u64,
    /// Entries of imported tokens.
    pub imported_tokens: u64,
}

/// How many tokens there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(
    clippy::struct_field_names,
    reason = "access and refresh alone would be said of something else"
)]
pub struct TokenCounts {
    /// Access tokens. Those of a revoked grant count as long as they have not expired.
    pub access_tokens: TokenCount,
    /// Refresh tokens that were not exchanged yet, counted likewise.
    pub refresh_tokens: TokenCount,
    /// Refresh tokens that were exchanged, remembered until their grant ends.
    pub spent_refresh_tokens: u64,
}

/// Whether the server key is the one this store was made with.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyFingerprint {
    /// It is, or this is the first key the store sees.
    Matches,
    /// It is another one: what was made under the first cannot be read.
    Differs,
}

/// Keeps the store in order.
#[async_trait::async_trait]
pub trait UpkeepStore: Send + Sync {
    /// Asks whether the store can be asked, and what time it has (its own clock where it has one, else `now`).
    async fn probe(&self, now: Timestamp) -> StoreResult<Timestamp>;

    /// Removes what has expired, at most `limit` rows of a kind, never what reuse detection must still remember: a spent
    /// refresh token and a redeemed code stay until their grant's end. Tokens go a bucket at a time, once all of it has
    /// expired, and may exceed the limit. Called again as long as anything was removed.
    async fn purge_expired(&self, now: Timestamp, limit: u32) -> StoreResult<Purged>;

    /// Counts the tokens that lie there. It looks at all of them, so it is for an operator, not for a request.
    async fn count_tokens(&self, now: Timestamp) -> StoreResult<TokenCounts>;

    /// Remembers the server key's fingerprint the first time, and compares it ever after.
    async fn pin_server_key(&self, fingerprint: &[u8; 32]) -> StoreResult<KeyFingerprint>;
}
