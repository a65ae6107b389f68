//! Grants and their authorization codes.

use std::{net::IpAddr, sync::Arc, time::Duration};

use mcp_authflow_types::{ClientId, Resource, Timestamp, TokenHash};

use super::{NewTokens, StoreResult};
use crate::record::{AccessTokenFormat, Client, Grant, GrantId, GrantedResource, SigningAlgorithm};

/// Whether a grant still stands, expiry aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It does.
    Live,
    /// It was revoked, or its client or subject is no longer what it was.
    Ended,
}

/// A grant and whether it stands, read in one snapshot.
#[derive(Clone, Debug)]
pub struct GrantWithStanding {
    /// The grant.
    pub grant: Grant,
    /// Whether it stands.
    pub standing: Standing,
    /// Which of its resources no longer do: their registration has ended, or they have none and need one. No token is
    /// issued for them, even where the grant stands.
    pub gone: Vec<Resource>,
    /// Which of its resources get access tokens that are signed, and by which algorithm. The others get opaque ones.
    pub signed: Vec<(Resource, SigningAlgorithm)>,
}

impl GrantWithStanding {
    /// How access tokens for one of its resources are made.
    pub fn access_token_format(&self, resource: &Resource) -> AccessTokenFormat {
        let found = self.signed.iter().find(|(one, _)| one == resource);
        AccessTokenFormat::by(found.map(|(_, algorithm)| *algorithm))
    }
}

/// A code's grant and a client, read in one snapshot.
#[derive(Clone, Debug, Default)]
pub struct CodePeek {
    /// The client asked for, if it exists.
    pub client: Option<Arc<Client>>,
    /// The grant to which the code belongs, redeemed or not.
    pub grant: Option<GrantWithStanding>,
}

/// How redeeming a code went. Of all callers, one wins.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RedeemCode {
    /// This caller won; its tokens are stored.
    Redeemed,
    /// The code was redeemed before; nothing was stored.
    Replayed,
    /// The code is unknown or expired, or its grant or the access token's resource no longer stands; nothing was stored.
    Gone,
}

/// A grant as it is shown to its owner or an operator.
#[derive(Clone, Debug)]
pub struct GrantSummary {
    /// The grant.
    pub grant: Grant,
    /// Whether it stands.
    pub standing: Standing,
    /// When its client last fetched tokens; none before the first time.
    pub last_used: Option<LastUse>,
}

/// The last time that a client fetched tokens of a grant, to within [`LastUse::PRECISION`].
///
/// What is seen here is the exchange of a code or a refresh token. A token that is shown to an MCP server is not: that
/// would be a write a look-up, and it lives for minutes only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastUse {
    /// When, by the store's clock.
    pub at: Timestamp,
    /// The network address that asked, where the server knows it.
    pub address: Option<IpAddr>,
}

impl LastUse {
    /// A refresh from the same address is not written down again within this time: a busy client costs no more than an
    /// idle one.
    pub const PRECISION: Duration = Duration::from_secs(60);
}

/// Which grants are listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GrantQuery {
    /// Those of this subject; `None` is everybody's.
    pub subject: Option<String>,
    /// Those to this client; `None` is every client's.
    pub client: Option<ClientId>,
    /// Only those by which a client is connected: redeemed, and standing.
    pub only_connected: bool,
    /// Those that follow this one in the list, told by its `created_at` and `id`.
    pub after: Option<(Timestamp, GrantId)>,
}

impl GrantQuery {
    /// All grants of a subject.
    pub fn of(subject: impl Into<String>) -> Self {
        Self {
            subject: Some(subject.into()),
            ..Self::default()
        }
    }
}

/// Keeps grants.
#[async_trait::async_trait]
pub trait GrantStore: Send + Sync {
    /// Reads a code's grant with what of it stands, and a client beside it. Of the resources that
    /// were approved without a registration, those on loopback stand if `resource_may_be_unregistered`, others never do.
    async fn peek_code(
        &self,
        code: &TokenHash,
        client: &ClientId,
        resource_may_be_unregistered: bool,
    ) -> StoreResult<CodePeek>;

    /// Redeems a code: one caller wins, and its tokens are stored in the same step, with the address they go to as the
    /// grant's last use. A wrong answer is a code spent twice.
    ///
    /// Re-checked in the same step: not redeemed, not expired, the grant not revoked and not ended, its client there and
    /// of the grant's generation, its subject likewise and not disabled, the registration under which the access token's
    /// resource was approved not ended. In this order: a grant that no longer stands answers `Gone`, a redeemed code
    /// `Replayed` even after its own expiry, an expired one or one for a resource that is gone `Gone`. The access token is
    /// tied to the registration under which its resource was approved, whatever is registered by now.
    async fn redeem_code(
        &self,
        code: &TokenHash,
        tokens: &NewTokens,
        now: Timestamp,
    ) -> StoreResult<RedeemCode>;

    /// Revokes a grant: everything beneath stops at once, tokens being issued now included. Answers whether this caller
    /// ended it.
    async fn revoke_grant(&self, grant: GrantId, now: Timestamp) -> StoreResult<bool>;

    /// Revokes every grant of a subject to a client, redeemed or not: everything beneath stops at once, tokens being issued
    /// now included. Answers how many this caller ended.
    async fn revoke_client_grants(
        &self,
        subject: &str,
        client: &ClientId,
        now: Timestamp,
    ) -> StoreResult<u64>;

    /// Ends everything of a subject, its sessions included, by raising its generation; answers the new one.
    async fn revoke_subject(&self, subject: &str) -> StoreResult<u32>;

    /// Whether a live, redeemed grant of this subject to this client, made no earlier than `since`, already covers what
    /// is asked for. What was approved under a registration that has ended, or under none, covers nothing.
    async fn is_covered(
        &self,
        subject: &str,
        client: &ClientId,
        resources: &[GrantedResource],
        offline_access: bool,
        since: Timestamp,
        now: Timestamp,
    ) -> StoreResult<bool>;

    /// Lists unexpired grants, at most `limit`: those of a subject newest first, everybody's in the order of their
    /// identifiers.
    async fn list_grants(
        &self,
        query: &GrantQuery,
        limit: u32,
        now: Timestamp,
    ) -> StoreResult<Vec<GrantSummary>>;
}
