//! Keeping the store itself in order.

use std::{collections::HashMap, hash::Hash};

use mcp_authflow_types::{AccessToken, ClientId, RefreshToken, Timestamp};

use super::{MemoryStore, State};
use crate::{
    port::{
        store::{KeyFingerprint, Purged, StoreResult, TokenCounts, UpkeepStore},
        token_storage::TokenCount,
    },
    record::{Grant, GrantId},
};

/// Removes at most `limit` of what is over.
fn purge<K: Clone + Eq + Hash, V>(kept: &mut HashMap<K, V>, limit: u32, is_over: impl Fn(&V) -> bool) -> u64 {
    let mut removed = 0;
    kept.retain(|_, value| {
        let goes = removed < u64::from(limit) && is_over(value);
        removed += u64::from(goes);
        !goes
    });
    removed
}

fn add(counts: &mut TokenCount, expires_at: Timestamp, now: Timestamp) {
    if expires_at.has_passed(now) {
        counts.expired += 1;
    } else {
        counts.live += 1;
    }
}

fn count(ids: usize) -> u64 {
    u64::try_from(ids).unwrap_or(u64::MAX)
}

impl State {
    fn purge_grants(&mut self, now: Timestamp, limit: u32) -> u64 {
        let is_over = |grant: &Grant| {
            grant.expires_at.has_passed(now)
                || (grant.code.redeemed_at.is_none() && grant.code.expires_at.has_passed(now))
        };
        let over: Vec<GrantId> = self
            .grants
            .values()
            .map(|kept| &kept.grant)
            .filter(|grant| is_over(grant))
            .take(limit as usize)
            .map(|grant| grant.id)
            .collect();
        for id in &over {
            self.forget_grant(*id);
        }
        count(over.len())
    }

    fn purge_clients(&mut self, now: Timestamp, limit: u32) -> u64 {
        let over: Vec<ClientId> = self
            .clients
            .values()
            .filter(|kept| !kept.is_removed && !kept.client.is_current(now))
            .take(limit as usize)
            .map(|kept| kept.client.id.clone())
            .collect();
        for id in &over {
            self.clients.remove(id);
        }
        count(over.len())
    }
}

#[async_trait::async_trait]
impl UpkeepStore for MemoryStore {
    async fn probe(&self, now: Timestamp) -> StoreResult<Timestamp> {
        Ok(now)
    }

    async fn purge_expired(&self, now: Timestamp, limit: u32) -> StoreResult<Purged> {
        let mut guard = self.state();
        let state = &mut *guard;
        state.authorities.forget_unused();
        let access_tokens = state.access_tokens.take_before(AccessToken::bucket_of(now));
        let refresh_tokens = state.refresh_tokens.take_before(RefreshToken::bucket_of(now));
        let mut purged = Purged {
            interactions: purge(&mut state.interactions, limit, |kept| {
                kept.interaction.expires_at.has_passed(now)
            }),
            device_codes: state.purge_devices(now, limit),
            grants: state.purge_grants(now, limit),
            tokens: 0,
            sessions: purge(&mut state.sessions, limit, |session| {
                session.expires_at.has_passed(now)
            }),
            clients: state.purge_clients(now, limit),
            one_time_uses: count(state.replay.forget(now, limit as usize)),
            imported_tokens: purge(&mut state.imported, limit, |(_, until)| until.has_passed(now)),
        };
        drop(guard);
        purged.tokens = access_tokens.map(|bucket| count(bucket.len())).sum::<u64>()
            + refresh_tokens.map(|bucket| count(bucket.len())).sum::<u64>();
        Ok(purged)
    }

    async fn count_tokens(&self, now: Timestamp) -> StoreResult<TokenCounts> {
        let state = self.state();
        let mut counts = TokenCounts::default();
        for token in state.access_tokens.iter() {
            add(&mut counts.access_tokens, token.expires_at, now);
        }
        for token in state.refresh_tokens.iter() {
            if token.spent.is_some() {
                counts.spent_refresh_tokens += 1;
            } else {
                add(&mut counts.refresh_tokens, token.record.expires_at, now);
            }
        }
        Ok(counts)
    }

    async fn pin_server_key(&self, fingerprint: &[u8; 32]) -> StoreResult<KeyFingerprint> {
        let mut state = self.state();
        let pinned = state.key_fingerprint.get_or_insert(*fingerprint);
        Ok(if pinned == fingerprint {
            KeyFingerprint::Matches
        } else {
            KeyFingerprint::Differs
        })
    }
}
