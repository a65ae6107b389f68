//! The introspection endpoint (RFC 7662): a resource server asks about tokens for its own resource, and no others.

use mcp_authflow_types::{
    ErrorCode, ErrorResponse, PresentedToken,
    introspection::{ActiveToken, IntrospectionResponse},
};

use crate::{
    client_auth::AuthenticatedClient,
    port::{AuditEvent, AuditOutcome, audit::AuditAction, store::LiveAccessToken},
    server::{AuthorizationServer, FormRequest},
};

impl AuthorizationServer {
    /// Says what an access token is good for. Every call reads the store: a token that was revoked a moment ago is
    /// inactive now, on every node.
    ///
    /// # Errors
    /// `invalid_client` when the caller did not prove itself or protects no resource; `temporarily_unavailable` when the
    /// store cannot be asked: never `active: false` for an unknown truth.
    pub async fn introspect(&self, request: FormRequest<'_>) -> Result<IntrospectionResponse, ErrorResponse> {
        let now = self.now();
        if let Some(name) = request.form.repeated() {
            return Err(ErrorResponse::repeated(name));
        }
        let token = request
            .form
            .value("token")
            .ok_or_else(|| ErrorResponse::missing("token"))?;
        let presented = self.presented(request)?;
        let id = &presented.client_id;
        let (client, found) = match PresentedToken::parse(token) {
            PresentedToken::Access(token) => {
                let unregistered = self.settings().accept_unregistered_loopback_resources;
                let peek = self
                    .store()
                    .peek_access_token(&token.hash(), token.bucket(), id, unregistered)
                    .await?;
                (peek.client, peek.token)
            }
            PresentedToken::Refresh(_) | PresentedToken::Foreign => {
                (self.store().load_client(id).await?, None)
            }
        };
        let client = self.authenticated(&presented, client, request, now)?;
        let Some(own) = &client.profile.introspects else {
            self.audit(
                &AuditEvent::new(
                    AuditAction::Introspect,
                    AuditOutcome::Refused,
                    "the client protects no resource",
                )
                .with_client(id)
                .with_address(request.address),
            );
            let mut refusal = ErrorResponse::new(ErrorCode::InvalidClient);
            refusal.basic_challenge = presented.by_basic;
            return Err(refusal);
        };
        let found =
            found.filter(|found| found.record.resource == *own && !found.record.expires_at.has_passed(now));
        Ok(found.map_or(IntrospectionResponse::Inactive, |found| {
            self.describe(found, &client)
        }))
    }

    fn describe(&self, found: LiveAccessToken, caller: &AuthenticatedClient) -> IntrospectionResponse {
        let record = found.record;
        // The caller compares `aud` with the spelling that it was registered under, so that is what it is told.
        let audience = caller.profile.introspects.clone().unwrap_or(record.resource);
        IntrospectionResponse::Active(ActiveToken {
            scope: record.scope,
            client_id: record.client_id,
            subject: record.subject,
            audience,
            issuer: self.settings().issuer.to_string(),
            expires_at: record.expires_at,
            issued_at: record.issued_at,
            username: found.username,
        })
    }
}
