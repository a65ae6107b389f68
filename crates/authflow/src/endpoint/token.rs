//! The token endpoint (RFC 6749 §3.2): reads the clock once, finds the grant, and lets it run.

use std::{net::IpAddr, sync::Arc};

use mcp_authflow_types::{ClientId, ErrorCode, ErrorResponse, GrantType, Timestamp, TokenResponse};

use crate::{
    client::known::Granted,
    client_auth::{
        AuthenticatedClient, AuthenticationContext, ClientAuthReason, NotAuthenticated, Presented,
        attempts::Verdict, authenticate,
    },
    grant::{authorization_code, client_credentials, device_code, refresh_token},
    port::{Admission, AuditEvent, AuditOutcome, audit::AuditAction, rate_limit::Limit},
    record::Client,
    server::{AuthorizationServer, FormRequest, limiter_key},
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
        self.admit_request("token_address", request.address).await?;
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
            GrantType::DeviceCode => device_code::run(self, request, &presented, now).await,
        }
    }

    /// Counts a request of an address, at the endpoint that this name stands for.
    pub(super) async fn admit_request(
        &self,
        name: &'static str,
        address: Option<IpAddr>,
    ) -> Result<(), ErrorResponse> {
        let limit = Limit {
            name,
            tries: self.settings().limits.token_requests_per_address_per_minute,
            window: std::time::Duration::from_secs(60),
        };
        match self.ports().rate_limit.admit(limit, &limiter_key(address)).await {
            Admission::Admitted => Ok(()),
            Admission::Refused { retry_after } => Err(ErrorResponse::too_many_requests(retry_after)),
        }
    }

    /// Reads what a request presents for its client.
    pub(crate) fn presented(&self, request: FormRequest<'_>) -> Result<Presented, ErrorResponse> {
        Presented::read(
            request.authorization,
            request.form,
            &self.settings().client_assertions,
        )
        .map_err(|reason| {
            self.audit_unauthenticated(None, reason, request);
            reason.response(request.authorization.is_some())
        })
    }

    /// Lets a client in, or says why not, and keeps a record of who was not.
    pub(crate) async fn authenticated(
        &self,
        presented: &Presented,
        client: Option<Arc<Client>>,
        request: FormRequest<'_>,
        now: Timestamp,
    ) -> Result<AuthenticatedClient, ErrorResponse> {
        let context = AuthenticationContext {
            let_basic_and_post_swap: self.settings().let_basic_and_post_swap,
            known_clients: &self.settings().known_clients,
            assertions: &self.settings().client_assertions,
            keys: self.registered_keys(),
            replay: self.replay(),
        };
        let attempt = self.begin_attempt(presented, request.address).await?;
        let answer = authenticate(presented, client, &context, now).await;
        self.settle(attempt, Verdict::of(&answer)).await;
        match answer {
            Ok(client) => {
                self.note_leniency(client.granted.as_ref(), &client.id, request.address);
                Ok(client)
            }
            Err(NotAuthenticated::Refused(reason)) => {
                self.audit_unauthenticated(Some(presented), reason, request);
                Err(reason.response(presented.by_basic))
            }
            Err(NotAuthenticated::CannotCheck(error)) => Err(error.into()),
            Err(NotAuthenticated::KeysOutOfReach(error)) => {
                error.log(presented.client_id.as_str());
                Err(error.response())
            }
        }
    }

    /// Writes down that a known client was let pass where another would not have been.
    pub(crate) fn note_leniency(
        &self,
        granted: Option<&Granted>,
        client_id: &ClientId,
        address: Option<IpAddr>,
    ) {
        let Some(granted) = granted else { return };
        tracing::info!(
            client = &*granted.known_as,
            leniency = granted.leniency.as_str(),
            "a known client was let pass; known_clients.off ends that"
        );
        self.audit(
            &AuditEvent::new(AuditAction::Leniency, AuditOutcome::Allowed, granted.to_string())
                .with_client(client_id)
                .with_address(address),
        );
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
