//! The revocation endpoint (RFC 7009).

use mcp_authflow_types::{ClientId, ErrorCode, ErrorResponse, ForeignToken, PresentedToken, Timestamp};

use crate::{
    client_auth::AuthenticatedClient,
    port::{AuditEvent, AuditOutcome, audit::AuditAction, token_storage::TokenKind},
    record::GrantId,
    server::{AuthorizationServer, FormRequest},
};

impl AuthorizationServer {
    /// Revokes a token: an access token alone, a refresh token with its whole grant. A token that is unknown or dead
    /// already is as good as revoked (RFC 7009 §2.2). `token_type_hint` is not needed: a token shows its kind.
    ///
    /// # Errors
    /// `invalid_client` when the client did not prove itself, or when the token is another client's (RFC 7009 §2.1);
    /// `too_many_requests`; `temporarily_unavailable` when the revocation could not be made durable. There is no success
    /// without effect.
    pub async fn revoke(&self, request: FormRequest<'_>) -> Result<(), ErrorResponse> {
        let now = self.now();
        self.admit_request("revocation_address", request.address).await?;
        if let Some(name) = request.form.repeated() {
            return Err(ErrorResponse::repeated(name));
        }
        let token = request
            .form
            .value("token")
            .ok_or_else(|| ErrorResponse::missing("token"))?;
        let presented = self.presented(request)?;
        let id = &presented.client_id;
        let (hash, owner, grant) = match PresentedToken::parse(token, &self.settings().issuer) {
            PresentedToken::Access(token) => {
                let (hash, bucket) = (token.hash(), token.bucket());
                let peek = self.store().peek_access_token(&hash, bucket, id, true).await?;
                let client = self.authenticated(&presented, peek.client, request, now).await?;
                let Some(found) = peek.token else { return Ok(()) };
                if found.record.client_id == client.id {
                    self.store().revoke_access_token(&hash, bucket).await?;
                }
                (hash, found.record.client_id, found.record.grant)
            }
            PresentedToken::Refresh(token) => {
                let peek = self
                    .store()
                    .peek_refresh_token(&token.hash(), token.bucket(), id, true)
                    .await?;
                let client = self.authenticated(&presented, peek.client, request, now).await?;
                let Some(found) = peek.token else { return Ok(()) };
                let grant = found.grant.grant;
                if grant.client_id == client.id {
                    self.store().revoke_grant(grant.id, now).await?;
                }
                (token.hash(), grant.client_id, Some(grant.id))
            }
            PresentedToken::Foreign(token) => {
                let client = self.store().load_client(id).await?;
                let client = self.authenticated(&presented, client, request, now).await?;
                match self.revoke_foreign(&token, &client, now).await? {
                    Some((owner, grant)) => (token.hash(), owner, Some(grant)),
                    None => return Ok(()),
                }
            }
        };
        let is_owner = owner == *id;
        let (outcome, reason) = if is_owner {
            (AuditOutcome::Allowed, "revoked")
        } else {
            (AuditOutcome::Refused, "the token is another client's")
        };
        let mut event = AuditEvent::new(AuditAction::Revoke, outcome, reason)
            .with_client(id)
            .with_token(&hash)
            .with_address(request.address);
        event.grant = grant;
        self.audit(&event);
        if is_owner {
            Ok(())
        } else {
            Err(ErrorCode::InvalidClient.into())
        }
    }

    /// Revokes a token that another program minted, whatever kind it is. Answers whose it was, and its grant.
    ///
    /// There first, then here: when it fails in between, it is live here yet, and whoever asks again finds it. The other way
    /// round nobody could tell any more whose the token is that the other program still honours.
    async fn revoke_foreign(
        &self,
        token: &ForeignToken,
        client: &AuthenticatedClient,
        now: Timestamp,
    ) -> Result<Option<(ClientId, GrantId)>, ErrorResponse> {
        let hash = token.hash();
        let mut revoked = None;
        for kind in TokenKind::ALL {
            let Some(entry) = self.find_foreign(kind, token, now).await? else {
                continue;
            };
            let (store, bucket) = (self.store(), entry.bucket);
            let found = match kind {
                TokenKind::Access => store
                    .peek_access_token(&hash, bucket, &client.id, true)
                    .await?
                    .token
                    .and_then(|found| Some((found.record.client_id, found.record.grant?))),
                TokenKind::Refresh => store
                    .peek_refresh_token(&hash, bucket, &client.id, true)
                    .await?
                    .token
                    .map(|found| (found.grant.grant.client_id, found.grant.grant.id)),
            };
            let Some((owner, grant)) = found else { continue };
            if owner == client.id {
                self.revoke_elsewhere(kind, &hash).await?;
                store.revoke_grant(grant, now).await?;
            }
            revoked = Some((owner, grant));
        }
        Ok(revoked)
    }
}
