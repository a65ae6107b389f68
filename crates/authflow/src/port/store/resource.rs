//! Protected resources, and what is tied to their registration.
//!
//! Tokens and approvals are tied to the registration of a resource, not to its identifier. They stand while the
//! registration stands that they were made under: one that is removed takes them along, and when the resource is registered
//! again, whoever may be behind it now, nothing of the earlier one revives. A person has to approve anew.
//!
//! A resource on loopback ([`Resource::is_loopback`]) may need no registration. What was made for one while it had none
//! stands wherever the caller says `resource_may_be_unregistered`, and nowhere else.

use mcp_authflow_types::Resource;

use super::StoreResult;
use crate::record::{AccessTokenFormat, Client, ResourceRecord, ScopeDescription};

/// How adding a resource went.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddResource {
    /// It is there now.
    Added,
    /// An equivalent resource is registered already.
    Taken,
    /// The client that is to introspect for it has an identifier that is taken.
    ClientTaken,
}

/// Keeps protected resources.
#[async_trait::async_trait]
pub trait ResourceStore: Send + Sync {
    /// Registers a resource together with the client that introspects for it; both or neither.
    async fn add_resource(
        &self,
        resource: &ResourceRecord,
        introspector: &Client,
    ) -> StoreResult<AddResource>;

    /// Lists all resources in the order of their registration.
    async fn list_resources(&self) -> StoreResult<Vec<ResourceRecord>>;

    /// Changes what a resource is called, and what can be allowed there. What was allowed before stays allowed. Answers
    /// whether it was there.
    async fn describe_resource(
        &self,
        resource: &Resource,
        name: &str,
        scopes: &[ScopeDescription],
    ) -> StoreResult<bool>;

    /// Changes how access tokens for a resource are made from now on; those that were issued stay as they are. Answers
    /// whether it was there.
    async fn set_access_token_format(
        &self,
        resource: &Resource,
        format: AccessTokenFormat,
    ) -> StoreResult<bool>;

    /// Removes a resource and the clients that introspect for it; its tokens stop at once, and its part of every grant,
    /// for good. Answers whether it was there.
    async fn remove_resource(&self, resource: &Resource) -> StoreResult<bool>;
}
