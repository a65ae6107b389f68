//! Clients.

use std::{collections::btree_map::Entry, ops::Bound, sync::Arc};

use mcp_authflow_types::{ClientId, Resource, Timestamp, TokenHash};

use super::{KeptClient, MemoryStore, State};
use crate::{
    port::store::{
        AddClient, ClientRegistration, ClientStore, ClientWithResources, ReplaceRegistration, StoreResult,
    },
    record::Client,
};

impl State {
    pub(super) fn add_client(&mut self, client: &Client) -> AddClient {
        self.register_client(client, None)
    }

    fn register_client(&mut self, client: &Client, access_token: Option<TokenHash>) -> AddClient {
        match self.clients.entry(client.id.clone()) {
            Entry::Vacant(place) => {
                place.insert(KeptClient {
                    client: Arc::new(client.clone()),
                    registration_access_token: access_token,
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
                    registration_access_token: access_token,
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

    async fn register_client(&self, client: &Client, access_token: &TokenHash) -> StoreResult<AddClient> {
        Ok(self.state().register_client(client, Some(*access_token)))
    }

    async fn load_registration(&self, id: &ClientId) -> StoreResult<Option<ClientRegistration>> {
        let state = self.state();
        let kept = state.clients.get(id).filter(|kept| !kept.is_removed);
        Ok(kept.and_then(|kept| {
            Some(ClientRegistration {
                client: kept.client.clone(),
                access_token: kept.registration_access_token?,
            })
        }))
    }

    async fn replace_registration(&self, replacement: &ReplaceRegistration) -> StoreResult<bool> {
        let mut state = self.state();
        let Some(kept) = state.clients.get_mut(&replacement.client_id) else {
            return Ok(false);
        };
        if kept.is_removed || kept.registration_access_token != Some(replacement.access_token) {
            return Ok(false);
        }
        let client = Arc::make_mut(&mut kept.client);
        if client.secret != replacement.secret {
            client.retired_secret = None;
        }
        client.secret = replacement.secret;
        client.profile = replacement.profile.clone();
        client.generation += u32::from(replacement.ends_what_was_issued);
        Ok(true)
    }
}
