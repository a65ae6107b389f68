//! Protected resources.

use std::sync::Arc;

use mcp_authflow_types::{ClientId, Resource};

use super::{MemoryStore, State};
use crate::{
    port::store::{AddClient, AddResource, ResourceStore, StoreResult},
    record::{AccessTokenFormat, Client, ResourceRecord, ScopeDescription},
};

impl State {
    pub(super) fn resource(&self, resource: &Resource) -> Option<&Arc<ResourceRecord>> {
        self.resources.get(self.resource_numbers.get(resource)?)
    }

    fn add_resource(&mut self, record: &ResourceRecord, introspector: &Client) -> AddResource {
        if self.resource_numbers.contains_key(&record.resource) {
            return AddResource::Taken;
        }
        if self.add_client(introspector) == AddClient::Taken {
            return AddResource::ClientTaken;
        }
        let number = self.resources_added;
        self.resources_added += 1;
        self.resource_numbers.insert(record.resource.clone(), number);
        self.resources.insert(number, Arc::new(record.clone()));
        AddResource::Added
    }

    fn remove_resource(&mut self, resource: &Resource) -> bool {
        let Some(number) = self.resource_numbers.remove(resource) else {
            return false;
        };
        self.resources.remove(&number);
        let introspectors: Vec<ClientId> = self
            .clients
            .values()
            .filter(|kept| kept.client.profile.introspects.as_ref() == Some(resource))
            .map(|kept| kept.client.id.clone())
            .collect();
        for introspector in &introspectors {
            self.remove_client(introspector);
        }
        true
    }
}

#[async_trait::async_trait]
impl ResourceStore for MemoryStore {
    async fn add_resource(
        &self,
        resource: &ResourceRecord,
        introspector: &Client,
    ) -> StoreResult<AddResource> {
        Ok(self.state().add_resource(resource, introspector))
    }

    async fn list_resources(&self) -> StoreResult<Vec<ResourceRecord>> {
        Ok(self
            .state()
            .resources
            .values()
            .map(|one| (**one).clone())
            .collect())
    }

    async fn describe_resource(
        &self,
        resource: &Resource,
        name: &str,
        scopes: &[ScopeDescription],
    ) -> StoreResult<bool> {
        let mut state = self.state();
        let Some(number) = state.resource_numbers.get(resource).copied() else {
            return Ok(false);
        };
        if let Some(record) = state.resources.get_mut(&number) {
            let record = Arc::make_mut(record);
            name.clone_into(&mut record.name);
            scopes.clone_into(&mut record.scopes);
        }
        Ok(true)
    }

    async fn set_access_token_format(
        &self,
        resource: &Resource,
        format: AccessTokenFormat,
    ) -> StoreResult<bool> {
        let mut state = self.state();
        let Some(number) = state.resource_numbers.get(resource).copied() else {
            return Ok(false);
        };
        if let Some(record) = state.resources.get_mut(&number) {
            Arc::make_mut(record).access_token_format = format;
        }
        Ok(true)
    }

    async fn remove_resource(&self, resource: &Resource) -> StoreResult<bool> {
        Ok(self.state().remove_resource(resource))
    }
}
