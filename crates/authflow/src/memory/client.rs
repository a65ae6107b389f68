//! Clients.

use std::{collections::btree_map::Entry, ops::Bound, sync::Arc};

use mcp_authflow_types::{ClientId, Resource, Timestamp, TokenHash};

use super::{KeptClient, MemoryStore, State};
use crate::{
    port::store::{AddClient, ClientStore, ClientWithResources, StoreResult},
    record::Client,
};

impl State {
    pub(super) fn add_client(&mut self, client: &Client) -> AddClient {
        match self.clients.entry(client.id.clone()) {
            Entry::Vacant(place) => {
                place.insert(KeptClient {
                    client: Arc::new(client.clone()),
                    is_removed: false,
                });
                AddClient::Added
            }
            Entry::Occupied(mut place) if place.get().is_removed => {
                let generation = place.get().client.generation;
                place.insert(KeptClient {
                    client: Arc::new(Client {
                        generation,
                        ..client.clone()
                    }),
                    is_removed: false,
                });
                AddClient::Added
            }
            Entry::Occupied(_) => AddClient::Taken,
        }
    }

    pub(super) fn remove_client(&mut self, id: &ClientId) -> bool {
        match self.clients.get_mut(id) {
            Some(kept) if !kept.is_removed => {
                Arc::make_mut(&mut kept.client).generation += 1;
                kept.is_removed = true;
                true
            }
            _ => false,
        }
    }
}

#[async_trait::async_trait]
impl ClientStore for MemoryStore {
    async fn add_client(&self, client: &Client) -> StoreResult<AddClient> {
        Ok(self.state().add_client(client))
    }

    async fn load_client(&self, id: &ClientId) -> StoreResult<Option<Arc<Client>>> {
        Ok(self.state().client(id).cloned())
    }

    async fn load_client_with_resources(
        &self,
        id: &ClientId,
        wanted: &[Resource],
    ) -> StoreResult<ClientWithResources> {
        let state = self.state();
        let resources = if wanted.is_empty() {
            state.resources.values().take(2).cloned().collect()
        } else {
            wanted
                .iter()
                .filter_map(|one| state.resource(one))
                .cloned()
                .collect()
        };
        Ok(ClientWithResources {
            client: state.client(id).cloned(),
            resources,
        })
    }

    async fn list_clients(&self, after: Option<&ClientId>, limit: u32) -> StoreResult<Vec<Client>> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        Ok(self
            .state()
            .clients
            .range::<ClientId, _>((from, Bound::Unbounded))
            .map(|(_, kept)| kept)
            .filter(|kept| !kept.is_removed)
            .take(limit as usize)
            .map(|kept| (*kept.client).clone())
            .collect())
    }

    async fn remove_client(&self, id: &ClientId, _now: Timestamp) -> StoreResult<bool> {
        Ok(self.state().remove_client(id))
    }

    async fn revoke_client(&self, id: &ClientId) -> StoreResult<Option<u32>> {
        Ok(self.state().client_mut(id).map(|client| {
            client.generation += 1;
            client.generation
        }))
    }

    async fn replace_client_secret(
        &self,
        id: &ClientId,
        secret: &TokenHash,
        old_until: Option<Timestamp>,
    ) -> StoreResult<bool> {
        let mut state = self.state();
        let Some(client) = state.client_mut(id) else {
            return Ok(false);
        };
        client.retired_secret = client.secret.replace(*secret).zip(old_until);
        Ok(true)
    }
}
