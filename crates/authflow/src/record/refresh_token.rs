//! A refresh token as it is kept.

use mcp_authflow_types::{Timestamp, TokenHash, secret::ExpiryBucket};

use super::GrantId;

/// A refresh token as it is kept. Spent ones stay until the end of their grant, each with a sealed copy of what it was
/// exchanged for, so that reuse is recognised as long as the family lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefreshTokenRecord {
    /// The token's digest.
    pub hash: TokenHash,
    /// The bucket spelled in the token: the day on which its grant ends.
    pub bucket: ExpiryBucket,
    /// The grant it belongs to.
    pub grant: GrantId,
    /// Since when it exists.
    pub issued_at: Timestamp,
    /// From when on it is no good, for want of use.
    pub expires_at: Timestamp,
}
