//! Protected resources.

use mcp_authflow_types::Resource;

use super::StoreResult;
use crate::record::{Client, ResourceRecord};

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

    /// Removes a resource and the clients that introspect for it; its tokens stop at once. Answers whether it was there.
    async fn remove_resource(&self, resource: &Resource) -> StoreResult<bool>;
}
