//! Grants and their authorization codes.

use mcp_authflow_types::{ClientId, Resource, Timestamp, TokenHash};

use super::{KeptGrant, MemoryStore, RegistrationNumber, State};
use crate::{
    port::store::{
        CodePeek, GrantQuery, GrantStore, GrantSummary, GrantWithStanding, LastUse, NewTokens, RedeemCode,
        Standing, StoreResult,
    },
    record::{AccessTokenRecord, Grant, GrantId, GrantedResource},
};

/// The registration has ended under which a resource was approved.
pub(super) struct ResourceGone;

impl State {
    pub(super) fn add_grant(&mut self, grant: Grant) {
        self.codes.insert(grant.code.hash, grant.id);
        self.grants_of
            .entry(grant.subject.clone())
            .or_default()
            .insert((grant.created_at, grant.id));
        let resources = grant.resources.iter().map(|one| &one.resource);
        let registrations = resources
            .filter_map(|one| Some((one.clone(), *self.resource_numbers.get(one)?)))
            .collect();
        let kept = KeptGrant {
            registrations,
            last_used: None,
            grant,
        };
        self.grants.insert(kept.grant.id, kept);
    }

    pub(super) fn forget_grant(&mut self, id: GrantId) {
        let Some(KeptGrant { grant, .. }) = self.grants.remove(&id) else {
            return;
        };
        self.codes.remove(&grant.code.hash);
        if let Some(grants) = self.grants_of.get_mut(&grant.subject) {
            grants.remove(&(grant.created_at, grant.id));
            if grants.is_empty() {
                self.grants_of.remove(&grant.subject);
            }
        }
    }

    fn redeem_code(&mut self, code: &TokenHash, tokens: &NewTokens, now: Timestamp) -> RedeemCode {
        let Some(kept) = self.codes.get(code).and_then(|id| self.grants.get(id)) else {
            return RedeemCode::Gone;
        };
        let grant = &kept.grant;
        if !self.is_live(grant, now) {
            return RedeemCode::Gone;
        }
        if grant.code.redeemed_at.is_some() {
            return RedeemCode::Replayed;
        }
        if grant.code.expires_at.has_passed(now) {
            return RedeemCode::Gone;
        }
        let Ok(registration) = self.registration_beneath(kept, &tokens.access_token) else {
            return RedeemCode::Gone;
        };
        let id = grant.id;
        if let Some(kept) = self.grants.get_mut(&id) {
            kept.grant.code.redeemed_at = Some(now);
            kept.last_used = Some(LastUse {
                at: now,
                address: tokens.address,
            });
        }
        self.add_access_token(&tokens.access_token, registration);
        if let Some(token) = &tokens.refresh_token {
            self.add_refresh_token(token.clone());
        }
        RedeemCode::Redeemed
    }

    /// As what an access token's resource was registered when the grant above it was approved, if it was.
    ///
    /// The two answers are told apart so that a resource without a registration is not taken for one that has ended.
    pub(super) fn registration_beneath(
        &self,
        kept: &KeptGrant,
        token: &AccessTokenRecord,
    ) -> Result<Option<RegistrationNumber>, ResourceGone> {
        match kept.registrations.get(&token.resource).copied() {
            Some(number) if !self.resources.contains_key(&number) => Err(ResourceGone),
            registration => Ok(registration),
        }
    }

    /// The grants of a subject, newest first.
    fn grants_of<'a>(&'a self, subject: &str) -> impl Iterator<Item = &'a KeptGrant> {
        self.grants_of
            .get(subject)
            .into_iter()
            .flat_map(|grants| grants.iter().rev())
            .filter_map(|(_, id)| self.grants.get(id))
    }

    pub(super) fn with_standing(
        &self,
        kept: &KeptGrant,
        resource_may_be_unregistered: bool,
    ) -> GrantWithStanding {
        let stands = |one: &Resource| {
            let registration = kept.registrations.get(one).copied();
            self.resource_stands(one, registration, resource_may_be_unregistered)
        };
        let signed = |one: &Resource| {
            let registered = self.resources.get(kept.registrations.get(one)?)?;
            Some((one.clone(), registered.access_token_format.algorithm()?))
        };
        let resources = kept.grant.resources.iter().map(|one| &one.resource);
        GrantWithStanding {
            signed: resources.clone().filter_map(signed).collect(),
            standing: self.standing(&kept.grant),
            grant: kept.grant.clone(),
            gone: resources.filter(|one| !stands(one)).cloned().collect(),
        }
    }
}

#[async_trait::async_trait]
impl GrantStore for MemoryStore {
    async fn peek_code(
        &self,
        code: &TokenHash,
        client: &ClientId,
        resource_may_be_unregistered: bool,
    ) -> StoreResult<CodePeek> {
        let state = self.state();
        let grant = state.codes.get(code).and_then(|id| state.grants.get(id));
        Ok(CodePeek {
            client: state.client(client).cloned(),
            grant: grant.map(|kept| state.with_standing(kept, resource_may_be_unregistered)),
        })
    }

    async fn redeem_code(
        &self,
        code: &TokenHash,
        tokens: &NewTokens,
        now: Timestamp,
    ) -> StoreResult<RedeemCode> {
        Ok(self.state().redeem_code(code, tokens, now))
    }

    async fn revoke_grant(&self, grant: GrantId, now: Timestamp) -> StoreResult<bool> {
        Ok(match self.state().grants.get_mut(&grant) {
            Some(kept) if kept.grant.revoked_at.is_none() => {
                kept.grant.revoked_at = Some(now);
                true
            }
            _ => false,
        })
    }

    async fn revoke_client_grants(
        &self,
        subject: &str,
        client: &ClientId,
        now: Timestamp,
    ) -> StoreResult<u64> {
        let mut state = self.state();
        let to_end: Vec<GrantId> = state
            .grants_of(subject)
            .map(|kept| &kept.grant)
            .filter(|grant| grant.client_id == *client && grant.revoked_at.is_none())
            .map(|grant| grant.id)
            .collect();
        for id in &to_end {
            if let Some(kept) = state.grants.get_mut(id) {
                kept.grant.revoked_at = Some(now);
            }
        }
        Ok(to_end.len() as u64)
    }

    async fn revoke_subject(&self, subject: &str) -> StoreResult<u32> {
        let mut state = self.state();
        let kept = state.subjects.entry(subject.to_owned()).or_default();
        kept.generation += 1;
        Ok(kept.generation)
    }

    async fn is_covered(
        &self,
        subject: &str,
        client: &ClientId,
        resources: &[GrantedResource],
        offline_access: bool,
        since: Timestamp,
        now: Timestamp,
    ) -> StoreResult<bool> {
        let state = self.state();
        Ok(state
            .grants_of(subject)
            .take_while(|kept| kept.grant.created_at >= since)
            .filter(|kept| kept.grant.client_id == *client && kept.grant.code.redeemed_at.is_some())
            .filter(|kept| state.is_live(&kept.grant, now))
            .any(|kept| {
                let GrantWithStanding { mut grant, gone, .. } = state.with_standing(kept, false);
                grant.resources.retain(|one| !gone.contains(&one.resource));
                grant.covers(resources, offline_access)
            }))
    }

    async fn list_grants(
        &self,
        query: &GrantQuery,
        limit: u32,
        now: Timestamp,
    ) -> StoreResult<Vec<GrantSummary>> {
        let state = self.state();
        let mut found: Vec<&KeptGrant> = match &query.subject {
            Some(subject) => state.grants_of(subject).collect(),
            None => state.grants.values().collect(),
        };
        let is_newest_first = query.subject.is_some();
        if !is_newest_first {
            found.sort_unstable_by_key(|kept| kept.grant.id);
        }
        let follows = |grant: &Grant| {
            query.after.is_none_or(|(created_at, id)| {
                if is_newest_first {
                    (grant.created_at, grant.id) < (created_at, id)
                } else {
                    grant.id > id
                }
            })
        };
        let is_asked_for = |kept: &KeptGrant| {
            let grant = &kept.grant;
            let is_connected = || grant.code.redeemed_at.is_some() && state.standing(grant) == Standing::Live;
            !grant.expires_at.has_passed(now)
                && query
                    .client
                    .as_ref()
                    .is_none_or(|client| grant.client_id == *client)
                && (!query.only_connected || is_connected())
                && follows(grant)
        };
        Ok(found
            .into_iter()
            .filter(|kept| is_asked_for(kept))
            .take(limit as usize)
            .map(|kept| GrantSummary {
                grant: kept.grant.clone(),
                standing: state.standing(&kept.grant),
                last_used: kept.last_used,
            })
            .collect())
    }
}
