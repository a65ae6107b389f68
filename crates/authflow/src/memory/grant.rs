//! Grants and their authorization codes.

use mcp_authflow_types::{ClientId, Timestamp, TokenHash};

use super::{MemoryStore, State};
use crate::{
    port::store::{
        CodePeek, GrantStore, GrantSummary, GrantWithStanding, NewTokens, RedeemCode, StoreResult,
    },
    record::{Grant, GrantId, GrantedResource},
};

impl State {
    pub(super) fn add_grant(&mut self, grant: Grant) {
        self.codes.insert(grant.code.hash, grant.id);
        self.grants_of
            .entry(grant.subject.clone())
            .or_default()
            .insert((grant.created_at, grant.id));
        self.grants.insert(grant.id, grant);
    }

    pub(super) fn forget_grant(&mut self, id: GrantId) {
        let Some(grant) = self.grants.remove(&id) else {
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
        let Some(grant) = self.codes.get(code).and_then(|id| self.grants.get(id)) else {
            return RedeemCode::Gone;
        };
        if !self.is_live(grant, now) {
            return RedeemCode::Gone;
        }
        if grant.code.redeemed_at.is_some() {
            return RedeemCode::Replayed;
        }
        if grant.code.expires_at.has_passed(now) {
            return RedeemCode::Gone;
        }
        let id = grant.id;
        if let Some(grant) = self.grants.get_mut(&id) {
            grant.code.redeemed_at = Some(now);
        }
        self.add_access_token(&tokens.access_token);
        if let Some(token) = &tokens.refresh_token {
            self.refresh_tokens
                .insert(token.bucket, token.hash, token.clone());
        }
        RedeemCode::Redeemed
    }

    /// The grants of a subject, newest first.
    fn grants_of<'a>(&'a self, subject: &str) -> impl Iterator<Item = &'a Grant> {
        self.grants_of
            .get(subject)
            .into_iter()
            .flat_map(|grants| grants.iter().rev())
            .filter_map(|(_, id)| self.grants.get(id))
    }

    pub(super) fn with_standing(&self, grant: &Grant) -> GrantWithStanding {
        GrantWithStanding {
            standing: self.standing(grant),
            grant: grant.clone(),
        }
    }
}

#[async_trait::async_trait]
impl GrantStore for MemoryStore {
    async fn peek_code(&self, code: &TokenHash, client: &ClientId) -> StoreResult<CodePeek> {
        let state = self.state();
        let grant = state.codes.get(code).and_then(|id| state.grants.get(id));
        Ok(CodePeek {
            client: state.client(client).cloned(),
            grant: grant.map(|grant| state.with_standing(grant)),
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
            Some(grant) if grant.revoked_at.is_none() => {
                grant.revoked_at = Some(now);
                true
            }
            _ => false,
        })
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
            .take_while(|grant| grant.created_at >= since)
            .any(|grant| {
                grant.client_id == *client
                    && grant.code.redeemed_at.is_some()
                    && state.is_live(grant, now)
                    && grant.covers(resources, offline_access)
            }))
    }

    async fn list_grants(&self, subject: &str, limit: u32, now: Timestamp) -> StoreResult<Vec<GrantSummary>> {
        let state = self.state();
        Ok(state
            .grants_of(subject)
            .filter(|grant| !grant.expires_at.has_passed(now))
            .take(limit as usize)
            .map(|grant| GrantSummary {
                grant: grant.clone(),
                standing: state.standing(grant),
            })
            .collect())
    }
}
