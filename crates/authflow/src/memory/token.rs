//! Access tokens and refresh tokens.

use mcp_authflow_types::{ClientId, Timestamp, TokenHash, secret::ExpiryBucket};

use super::{KeptRefreshToken, MemoryStore, RegistrationNumber, Spent, State};
use crate::{
    port::store::{
        AccessTokenPeek, IssueAccessToken, LastUse, LiveAccessToken, RefreshTokenPeek, RefreshTokenWithGrant,
        RotateRefreshToken, Rotation, Standing, StoreResult, TokenStore,
    },
    record::{AccessTokenRecord, RefreshTokenRecord},
};

impl State {
    pub(super) fn add_access_token(
        &mut self,
        record: &AccessTokenRecord,
        registration: Option<RegistrationNumber>,
    ) {
        let token = self.authorities.keep(record, registration);
        self.access_tokens.insert(record.bucket, record.hash, token);
    }

    pub(super) fn add_refresh_token(&mut self, record: RefreshTokenRecord) {
        let (bucket, hash) = (record.bucket, record.hash);
        self.refresh_tokens
            .insert(bucket, hash, KeptRefreshToken { record, spent: None });
    }

    fn live_access_token(
        &self,
        token: &TokenHash,
        bucket: ExpiryBucket,
        resource_may_be_unregistered: bool,
    ) -> Option<LiveAccessToken> {
        let kept = self.access_tokens.find(bucket, token)?;
        let authority = &*kept.authority;
        if !self.is_of_generation(&authority.client_id, authority.client_generation) {
            return None;
        }
        if !self.resource_stands(
            &authority.resource,
            authority.registration,
            resource_may_be_unregistered,
        ) {
            return None;
        }
        let username = match authority.grant {
            None => None,
            Some(id) => {
                let grant = &self.grants.get(&id)?.grant;
                if self.standing(grant) != Standing::Live {
                    return None;
                }
                grant.username.clone()
            }
        };
        Some(LiveAccessToken {
            record: kept.record(bucket, token),
            username,
        })
    }

    fn is_spent(&self, token: &TokenHash, bucket: ExpiryBucket) -> bool {
        self.refresh_tokens
            .find(bucket, token)
            .is_some_and(|token| token.spent.is_some())
    }

    fn refresh_token(
        &self,
        token: &TokenHash,
        bucket: ExpiryBucket,
        resource_may_be_unregistered: bool,
    ) -> Option<RefreshTokenWithGrant> {
        let KeptRefreshToken { record, spent } = self.refresh_tokens.find(bucket, token)?;
        let grant = self.grants.get(&record.grant)?;
        Some(RefreshTokenWithGrant {
            token: record.clone(),
            spent_at: spent.as_ref().map(|spent| spent.at),
            grant: self.with_standing(grant, resource_may_be_unregistered),
        })
    }

    fn rotate_refresh_token(&mut self, rotation: &Rotation, now: Timestamp) -> RotateRefreshToken {
        let Some(presented) = self
            .refresh_tokens
            .find(rotation.bucket, &rotation.presented)
            .filter(|token| token.record.grant == rotation.grant)
        else {
            return RotateRefreshToken::Gone;
        };
        let kept = self.grants.get(&rotation.grant);
        let Some(kept) = kept.filter(|kept| self.is_live(&kept.grant, now)) else {
            return RotateRefreshToken::Gone;
        };
        if let Some(spent) = &presented.spent {
            let may_retry = now.since(spent.at) < rotation.retry_window
                && !self.is_spent(&spent.successor, rotation.bucket);
            return if may_retry {
                RotateRefreshToken::Retried {
                    sealed: spent.sealed.clone(),
                }
            } else {
                RotateRefreshToken::Reused
            };
        }
        if presented.record.expires_at.has_passed(now) {
            return RotateRefreshToken::Gone;
        }
        let Ok(registration) = self.registration_beneath(kept, &rotation.access_token) else {
            return RotateRefreshToken::Gone;
        };
        let successor = &rotation.successor;
        if let Some(kept) = self.grants.get_mut(&rotation.grant) {
            kept.last_used = Some(LastUse {
                at: now,
                address: rotation.address,
            });
        }
        if let Some(presented) = self.refresh_tokens.find_mut(rotation.bucket, &rotation.presented) {
            presented.spent = Some(Spent {
                at: now,
                successor: successor.hash,
                sealed: rotation.sealed.clone(),
            });
        }
        self.add_refresh_token(successor.clone());
        self.add_access_token(&rotation.access_token, registration);
        RotateRefreshToken::Rotated
    }
}

#[async_trait::async_trait]
impl TokenStore for MemoryStore {
    async fn issue_access_token(
        &self,
        token: &AccessTokenRecord,
        now: Timestamp,
    ) -> StoreResult<IssueAccessToken> {
        let mut state = self.state();
        match state.client(&token.client_id) {
            Some(client) if client.is_current(now) && client.generation == token.client_generation => {
                let registration = state.resource_numbers.get(&token.resource).copied();
                state.add_access_token(token, registration);
                Ok(IssueAccessToken::Issued)
            }
            _ => Ok(IssueAccessToken::Gone),
        }
    }

    async fn peek_access_token(
        &self,
        token: &TokenHash,
        bucket: ExpiryBucket,
        client: &ClientId,
        resource_may_be_unregistered: bool,
    ) -> StoreResult<AccessTokenPeek> {
        let state = self.state();
        Ok(AccessTokenPeek {
            client: state.client(client).cloned(),
            token: state.live_access_token(token, bucket, resource_may_be_unregistered),
        })
    }

    async fn revoke_access_token(&self, token: &TokenHash, bucket: ExpiryBucket) -> StoreResult<bool> {
        Ok(self.state().access_tokens.remove(bucket, token).is_some())
    }

    async fn peek_refresh_token(
        &self,
        token: &TokenHash,
        bucket: ExpiryBucket,
        client: &ClientId,
        resource_may_be_unregistered: bool,
    ) -> StoreResult<RefreshTokenPeek> {
        let state = self.state();
        Ok(RefreshTokenPeek {
            client: state.client(client).cloned(),
            token: state.refresh_token(token, bucket, resource_may_be_unregistered),
        })
    }

    async fn rotate_refresh_token(
        &self,
        rotation: &Rotation,
        now: Timestamp,
    ) -> StoreResult<RotateRefreshToken> {
        Ok(self.state().rotate_refresh_token(rotation, now))
    }
}
