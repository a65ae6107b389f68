//! Clients that describe themselves in a document, and the hosts of such documents.

use std::{collections::btree_map::Entry, sync::Arc};

use mcp_authflow_types::Timestamp;

use super::{KeptClient, MemoryStore, State};
use crate::{
    client::trust::DomainName,
    port::store::{
        ClientDocumentStore, MOST_WAITING_HOSTS, NewClientDocument, NoteHost, PutClientDocument, StoreResult,
        WAITING_HOST_SECONDS,
    },
    record::{Client, ClientOrigin, DocumentHostRecord, HostDecision},
};

impl State {
    fn put_client_document(&mut self, new: &NewClientDocument, now: Timestamp) -> PutClientDocument {
        let added = |generation| KeptClient {
            client: Arc::new(Client {
                id: new.id.clone(),
                generation,
                secret: None,
                retired_secret: None,
                created_at: now,
                expires_at: new.expires_at,
                profile: new.profile.clone(),
            }),
            is_removed: false,
            registration_access_token: None,
        };
        match self.clients.entry(new.id.clone()) {
            Entry::Vacant(place) if new.seen.is_none() => {
                place.insert(added(0));
            }
            Entry::Occupied(mut place) if place.get().is_removed && new.seen.is_none() => {
                let generation = place.get().client.generation;
                place.insert(added(generation));
            }
            Entry::Occupied(mut place) if !place.get().is_removed => {
                let client = Arc::make_mut(&mut place.get_mut().client);
                let counts = client.profile.document.map(|copy| copy.fetched_at);
                if client.profile.origin != ClientOrigin::MetadataDocument || counts != new.seen {
                    return PutClientDocument::Outrun;
                }
                client.generation += u32::from(new.ends_tokens);
                client.expires_at = client
                    .expires_at
                    .zip(new.expires_at)
                    .map(|(old, new)| old.max(new));
                client.profile = new.profile.clone();
            }
            Entry::Vacant(_) | Entry::Occupied(_) => return PutClientDocument::Outrun,
        }
        PutClientDocument::Put
    }
}

#[async_trait::async_trait]
impl ClientDocumentStore for MemoryStore {
    async fn put_client_document(
        &self,
        new: &NewClientDocument,
        now: Timestamp,
    ) -> StoreResult<PutClientDocument> {
        Ok(self.state().put_client_document(new, now))
    }

    async fn load_document_hosts(&self, hosts: &[DomainName]) -> StoreResult<Vec<DocumentHostRecord>> {
        let known = &self.state().document_hosts;
        Ok(hosts.iter().filter_map(|host| known.get(host)).cloned().collect())
    }

    async fn note_document_host(&self, host: &DomainName, now: Timestamp) -> StoreResult<NoteHost> {
        let hosts = &mut self.state().document_hosts;
        let waited = |record: &DocumentHostRecord| {
            record.decision.is_none() && now.seconds() - record.asked_at.seconds() >= WAITING_HOST_SECONDS
        };
        hosts.retain(|_, record| !waited(record));
        if hosts.contains_key(host) {
            return Ok(NoteHost::Known);
        }
        let waiting = hosts.values().filter(|record| record.decision.is_none()).count();
        if waiting >= MOST_WAITING_HOSTS as usize {
            return Ok(NoteHost::Full);
        }
        hosts.insert(
            host.clone(),
            DocumentHostRecord {
                host: host.clone(),
                asked_at: now,
                decision: None,
            },
        );
        Ok(NoteHost::Noted)
    }

    async fn decide_document_host(
        &self,
        host: &DomainName,
        decision: HostDecision,
        now: Timestamp,
    ) -> StoreResult<()> {
        let hosts = &mut self.state().document_hosts;
        let record = hosts.entry(host.clone()).or_insert_with(|| DocumentHostRecord {
            host: host.clone(),
            asked_at: now,
            decision: None,
        });
        record.decision = Some((decision, now));
        Ok(())
    }

    async fn list_document_hosts(&self) -> StoreResult<Vec<DocumentHostRecord>> {
        Ok(self.state().document_hosts.values().cloned().collect())
    }
}
