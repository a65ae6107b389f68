//! An access token as it is kept: its digest, and what is said of it.

use mcp_authflow_types::{ClientId, Resource, Scope, Timestamp, TokenHash, secret::ExpiryBucket};

use super::GrantId;

/// An access token as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessTokenRecord {
    /// The token's digest.
    pub hash: TokenHash,
    /// The bucket spelled in the token.
    pub bucket: ExpiryBucket,
    /// The grant it descends from; absent for client_credentials.
    pub grant: Option<GrantId>,
    /// To whom it was issued.
    pub client_id: ClientId,
    /// The client's generation at issue.
    pub client_generation: u32,
    /// On whose behalf; the client's identifier for client_credentials.
    pub subject: String,
    /// The one resource it is for, in its registered spelling.
    pub resource: Resource,
    /// What it allows there.
    pub scope: Scope,
    /// Since when it exists.
    pub issued_at: Timestamp,
    /// From when on it is no good.
    pub expires_at: Timestamp,
}
