//! Access tokens and refresh tokens.

use std::{net::IpAddr, sync::Arc, time::Duration};

use mcp_authflow_types::{ClientId, Timestamp, TokenHash, secret::ExpiryBucket};

use super::{GrantWithStanding, StoreResult};
use crate::record::{AccessTokenRecord, Client, GrantId, RefreshTokenRecord};

/// The tokens of one answer, stored together.
#[derive(Clone, Debug)]
pub struct NewTokens {
    /// The access token.
    pub access_token: AccessTokenRecord,
    /// The refresh token, where there is one.
    pub refresh_token: Option<RefreshTokenRecord>,
    /// The network address that asked for them, where it is known; what is shown as the grant's last use.
    pub address: Option<IpAddr>,
}

/// A refresh token with its grant.
#[derive(Clone, Debug)]
pub struct RefreshTokenWithGrant {
    /// The refresh token.
    pub token: RefreshTokenRecord,
    /// When it was exchanged, by the store's clock, if it was. Whether it may be presented again is not to be judged from
    /// this: `rotate_refresh_token` answers it.
    pub spent_at: Option<Timestamp>,
    /// Its grant.
    pub grant: GrantWithStanding,
}

/// A refresh token and a client, read in one snapshot.
#[derive(Clone, Debug, Default)]
pub struct RefreshTokenPeek {
    /// The client asked for, if it exists.
    pub client: Option<Arc<Client>>,
    /// The token, live or spent.
    pub token: Option<RefreshTokenWithGrant>,
}

/// An exchange of a refresh token.
#[derive(Clone, Debug)]
pub struct Rotation {
    /// The token presented.
    pub presented: TokenHash,
    /// Its bucket.
    pub bucket: ExpiryBucket,
    /// The grant of both tokens.
    pub grant: GrantId,
    /// The successor, in the same bucket.
    pub successor: RefreshTokenRecord,
    /// The access token beside it.
    pub access_token: AccessTokenRecord,
    /// The answer of this exchange, sealed; kept with the presented token.
    pub sealed: Vec<u8>,
    /// How long the same answer may be had again, by the store's clock. Zero is strict.
    pub retry_window: Duration,
    /// The network address that asked, where it is known; what is shown as the grant's last use.
    pub address: Option<IpAddr>,
}

/// How rotating went. Of all callers, one wins.
#[must_use]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RotateRefreshToken {
    /// This caller won: the presented token is spent, its successor stored.
    Rotated,
    /// The token was spent before, less than the retry window ago, and its successor is unspent: the sealed answer of that
    /// exchange.
    Retried {
        /// The answer, openable with the presented token.
        sealed: Vec<u8>,
    },
    /// The token was spent before, and its window is over, by time or because the successor was spent.
    Reused,
    /// The token is unknown or expired, or its grant or the access token's resource no longer stands.
    Gone,
}

/// A live access token and a client, read in one snapshot.
#[derive(Clone, Debug, Default)]
pub struct AccessTokenPeek {
    /// The client asked for, if it exists.
    pub client: Option<Arc<Client>>,
    /// The token, when it stands; expiry is the caller's to judge.
    pub token: Option<LiveAccessToken>,
}

/// An access token whose grant, client, subject and resource still stand.
#[derive(Clone, Debug)]
pub struct LiveAccessToken {
    /// The token.
    pub record: AccessTokenRecord,
    /// The person's name for showing.
    pub username: Option<String>,
}

/// How issuing went.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IssueAccessToken {
    /// The token is stored.
    Issued,
    /// The client is gone, or no longer of the token's generation.
    Gone,
}

/// Keeps tokens, by digest and bucket.
#[async_trait::async_trait]
pub trait TokenStore: Send + Sync {
    /// Stores an access token that has no grant (client_credentials), tied to the registration of its resource. Re-checked
    /// in the same step: the client is there, not expired, and of the token's generation.
    async fn issue_access_token(
        &self,
        token: &AccessTokenRecord,
        now: Timestamp,
    ) -> StoreResult<IssueAccessToken>;

    /// Reads an access token, and a client beside it. The token is answered only while it stands: there, its grant (if
    /// any) not revoked, its client there and of its generation, its subject likewise and not disabled, and the
    /// registration not ended that it was issued under. One that was issued without a registration is answered for a
    /// resource on loopback alone, and only if `resource_may_be_unregistered`. A wrong answer is a revoked token that still
    /// opens doors.
    async fn peek_access_token(
        &self,
        token: &TokenHash,
        bucket: ExpiryBucket,
        client: &ClientId,
        resource_may_be_unregistered: bool,
    ) -> StoreResult<AccessTokenPeek>;

    /// Forgets an access token. Answers whether it was there.
    async fn revoke_access_token(&self, token: &TokenHash, bucket: ExpiryBucket) -> StoreResult<bool>;

    /// Reads a refresh token with its grant and what of it stands, and a client beside it. Of the resources
    /// that were approved without a registration, those on loopback stand if `resource_may_be_unregistered`, others never
    /// do.
    async fn peek_refresh_token(
        &self,
        token: &TokenHash,
        bucket: ExpiryBucket,
        client: &ClientId,
        resource_may_be_unregistered: bool,
    ) -> StoreResult<RefreshTokenPeek>;

    /// Exchanges a refresh token: one caller wins; the old token becomes spent and the new ones are stored in the same
    /// step. A wrong answer forks a chain: two live successors, a thief unnoticed.
    ///
    /// Re-checked in the same step: unspent, unexpired, its grant not revoked and not ended, client and subject as the
    /// grant knew them, the registration under which the access token's resource was approved not ended; to that one the
    /// access token is tied. Whoever finds the token spent gets the sealed answer, as long as less than `retry_window` has
    /// passed since and the successor is unspent. This is the only judge of a spent token: both times are told by one clock,
    /// the store's own where it has one, so that a node whose clock is off neither ends an honest family nor lets a late
    /// replay pass. In this order: a grant that no longer stands answers `Gone`; a spent token `Retried` or `Reused`, even
    /// after its own expiry and whatever became of the resource; an expired one, or one for a resource that is gone, `Gone`.
    async fn rotate_refresh_token(
        &self,
        rotation: &Rotation,
        now: Timestamp,
    ) -> StoreResult<RotateRefreshToken>;
}
