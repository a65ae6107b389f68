//! The token endpoint (RFC 6749 §3.2): reads the clock once, finds the grant, and lets it run.

use std::sync::Arc;

use mcp_authflow_types::{ErrorCode, ErrorResponse, GrantType, Timestamp, TokenResponse};

use crate::{
    client_auth::{AuthenticatedClient, ClientAuthReason, Presented, authenticate},
    grant::{authorization_code, client_credentials, refresh_token},
    port::{AuditEvent, AuditOutcome, audit::AuditAction},
    record::Client,
    server::{AuthorizationServer, FormRequest},
};

impl AuthorizationServer {
    /// Answers a token request (RFC 6749 §3.2). A request that fails changes nothing, but for one thing: a code or a
    /// spent refresh token that comes back, with every binding right, ends what came of it.
    ///
    /// # Errors
    /// The error to answer; `invalid_client` when the client did not prove itself, `invalid_grant` for a code or refresh
    /// token that is no good (all alike), `temporarily_unavailable` when the store cannot be asked.
    pub async fn token(&self, request: FormRequest<'_>) -> Result<TokenResponse, ErrorResponse> {
        let now = self.now();
        if let Some(name) = request.form.repeated() {
            return Err(ErrorResponse::repeated(name));
        }
        let grant_type = request
            .form
            .value("grant_type")
            .ok_or_else(|| ErrorResponse::missing("grant_type"))?;
        let grant_type = GrantType::parse(grant_type).ok_or(ErrorCode::UnsupportedGrantType)?;
        let presented = self.presented(request)?;
        match grant_type {
            GrantType::AuthorizationCode => authorization_code::run(self, request, &presented, now).await,
            GrantType::RefreshToken => refresh_token::run(self, request, &presented, now).await,
            GrantType::ClientCredentials => client_credentials::run(self, request, &presented, now).await,
            GrantType::DeviceCode => Err(ErrorCode::UnsupportedGrantType.into()),
        }
    }

    /// Reads what a request presents for its client.
    pub(crate) fn presented(&self, request: FormRequest<'_>) -> Result<Presented, ErrorResponse> {
        Presented::read(request.authorization, request.form).map_err(|reason| {
            self.audit_unauthenticated(None, reason, request);
            reason.response(request.authorization.is_some())
        })
    }

    /// Lets a client in, or says why not, and keeps a record of who was not.
    pub(crate) fn authenticated(
        &self,
        presented: &Presented,
        client: Option<Arc<Client>>,
        request: FormRequest<'_>,
        now: Timestamp,
    ) -> Result<AuthenticatedClient, ErrorResponse> {
        authenticate(presented, client, self.settings().let_basic_and_post_swap, now).map_err(|reason| {
            self.audit_unauthenticated(Some(presented), reason, request);
            reason.response(presented.by_basic)
        })
    }

    fn audit_unauthenticated(
        &self,
        presented: Option<&Presented>,
        reason: ClientAuthReason,
        request: FormRequest<'_>,
    ) {
        let mut event = AuditEvent::new(
            AuditAction::ClientAuthentication,
            AuditOutcome::Refused,
            reason.to_string(),
        )
        .with_address(request.address);
        event.client_id = presented.map(|presented| &presented.client_id);
        self.audit(&event);
    }
}
