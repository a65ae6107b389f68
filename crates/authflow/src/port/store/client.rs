//! Clients.

use std::sync::Arc;

use mcp_authflow_types::{ClientId, Resource, Timestamp, TokenHash};

use super::StoreResult;
use crate::record::{Client, ClientProfile, ResourceRecord};

/// How adding a client went.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddClient {
    /// It is there now.
    Added,
    /// The identifier is taken.
    Taken,
}

/// A client together with resources, read in one snapshot.
#[derive(Clone, Debug, Default)]
pub struct ClientWithResources {
    /// The client, if it exists.
    pub client: Option<Arc<Client>>,
    /// The resources asked for that are registered, in the order asked.
    pub resources: Vec<Arc<ResourceRecord>>,
}

/// A client that may change its own registration (RFC 7592).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientRegistration {
    /// The client.
    pub client: Arc<Client>,
    /// The digest of its registration access token.
    pub access_token: TokenHash,
}

/// What a client says of itself from now on.
#[derive(Clone, Debug)]
pub struct ReplaceRegistration {
    /// Which client.
    pub client_id: ClientId,
    /// The digest of the registration access token that was presented: nothing is replaced under another one.
    pub access_token: TokenHash,
    /// What it says.
    pub profile: ClientProfile,
    /// The digest of its secret, if it has one. The secret before it retires at once.
    pub secret: Option<TokenHash>,
    /// Whether everything that was issued to it so far stops, because it proves less from now on than it did.
    pub ends_what_was_issued: bool,
}

/// Keeps clients.
#[async_trait::async_trait]
pub trait ClientStore: Send + Sync {
    /// Adds a client. An identifier that was removed earlier may come back; its generation then continues, so that
    /// nothing of the earlier one revives (the stored generation wins over the one given).
    async fn add_client(&self, client: &Client) -> StoreResult<AddClient>;

    /// Reads a client. Removed ones are not found; expired ones are, and the caller judges.
    async fn load_client(&self, id: &ClientId) -> StoreResult<Option<Arc<Client>>>;

    /// Reads a client and, in the same snapshot, those of the `wanted` resources that are registered. With nothing
    /// wanted, at most two resources come along (in order of registration), so that the caller can tell whether there is
    /// exactly one.
    async fn load_client_with_resources(
        &self,
        id: &ClientId,
        wanted: &[Resource],
    ) -> StoreResult<ClientWithResources>;

    /// Lists clients by identifier, after `after`, at most `limit` of them.
    async fn list_clients(&self, after: Option<&ClientId>, limit: u32) -> StoreResult<Vec<Client>>;

    /// Removes a client; everything beneath it stops at once. Answers whether it was there.
    async fn remove_client(&self, id: &ClientId, now: Timestamp) -> StoreResult<bool>;

    /// Raises a client's generation: everything issued to it so far stops at once, the client itself stays. Answers the
    /// new generation, or nothing when there is no such client.
    async fn revoke_client(&self, id: &ClientId) -> StoreResult<Option<u32>>;

    /// Replaces a client's secret; the old one stays good until `old_until`, when given. Answers whether the client was
    /// there.
    async fn replace_client_secret(
        &self,
        id: &ClientId,
        secret: &TokenHash,
        old_until: Option<Timestamp>,
    ) -> StoreResult<bool>;

    /// Adds a client that registered itself, with the digest of the token by which it changes its registration; else like
    /// [`add_client`](Self::add_client).
    async fn register_client(&self, client: &Client, access_token: &TokenHash) -> StoreResult<AddClient>;

    /// Reads a client with the digest of its registration access token. One without such a token is not found, nor is one
    /// that was removed; an expired one is, and the caller judges.
    async fn load_registration(&self, id: &ClientId) -> StoreResult<Option<ClientRegistration>>;

    /// Replaces what a client says of itself, and raises its generation where that ends what was issued; in one step.
    /// Answers whether the client was there, under this token.
    async fn replace_registration(&self, replacement: &ReplaceRegistration) -> StoreResult<bool>;
}
