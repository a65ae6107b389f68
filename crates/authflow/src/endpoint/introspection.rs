//! The introspection endpoint (RFC 7662): a resource server asks about tokens for its own resource, and no others.

use mcp_authflow_types::{
    ClientId, ErrorCode, ErrorResponse, ForeignToken, PresentedToken, Resource, Timestamp,
    introspection::{ActiveToken, IntrospectionResponse},
};

use crate::{
    port::{
        Admission, AuditEvent, AuditOutcome, audit::AuditAction, rate_limit::Limit, store::LiveAccessToken,
        token_storage::TokenKind,
    },
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
        let token = PresentedToken::parse(token, &self.settings().issuer);
        let (client, found) = match &token {
            PresentedToken::Access(token) => {
                let unregistered = self.settings().accept_unregistered_loopback_resources;
                let peek = self
                    .store()
                    .peek_access_token(&token.hash(), token.bucket(), id, unregistered)
                    .await?;
                (peek.client, peek.token)
            }
            PresentedToken::Refresh(_) | PresentedToken::Foreign(_) => {
                (self.store().load_client(id).await?, None)
            }
        };
        let client = self.authenticated(&presented, client, request, now).await?;
        let Some(own) = client
            .profile
            .introspects
            .as_ref()
            .filter(|_| client.has_proven_itself())
        else {
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
        self.admit_introspection(id).await?;
        // A token that another program minted: looked for only now, when we know who asks.
        let found = match &token {
            PresentedToken::Foreign(token) => self.peek_foreign(token, id, now).await?,
            _ => found,
        };
        let found =
            found.filter(|found| found.record.resource == *own && !found.record.expires_at.has_passed(now));
        Ok(found.map_or(IntrospectionResponse::Inactive, |found| {
            // The caller compares `aud` with the spelling that it was registered under, so that is what it is told.
            IntrospectionResponse::Active(self.describe(found, own.clone()))
        }))
    }

    /// Says what an access token for `resource` is good for, to a resource server in this very process: nobody has to
    /// prove who asks, and nothing is counted. Like [`introspect`](Self::introspect) it reads the store at every call.
    ///
    /// `resource` is registered; what was issued while a loopback resource needed no registration does not count for it.
    ///
    /// # Errors
    /// `temporarily_unavailable`, with 503 or 504, when the store cannot be asked.
    pub async fn look_up(
        &self,
        token: &str,
        resource: &Resource,
    ) -> Result<Option<ActiveToken>, ErrorResponse> {
        let now = self.now();
        let token = PresentedToken::parse(token, &self.settings().issuer);
        let (hash, bucket) = match &token {
            PresentedToken::Access(token) => (token.hash(), token.bucket()),
            PresentedToken::Refresh(_) => return Ok(None),
            PresentedToken::Foreign(token) => match self.find_foreign(TokenKind::Access, token, now).await? {
                Some(entry) => (token.hash(), entry.bucket),
                None => return Ok(None),
            },
        };
        // The verb reads a client beside the token, for callers who have to prove to be it. Nobody is called this.
        let nobody = ClientId::from_random([0; 16]);
        let peek = self
            .store()
            .peek_access_token(&hash, bucket, &nobody, false)
            .await?;
        let found = peek
            .token
            .filter(|found| found.record.resource == *resource && !found.record.expires_at.has_passed(now));
        Ok(found.map(|found| self.describe(found, resource.clone())))
    }

    /// Counts a question of a resource server. It has proven who it is, so nobody else uses up what it may ask.
    async fn admit_introspection(&self, client: &ClientId) -> Result<(), ErrorResponse> {
        let limit = Limit {
            name: "introspection_client",
            tries: self.settings().limits.introspections_per_client_per_minute,
            window: std::time::Duration::from_secs(60),
        };
        match self.ports().rate_limit.admit(limit, client.as_str()).await {
            Admission::Admitted => Ok(()),
            Admission::Refused { retry_after } => Err(ErrorResponse::too_many_requests(retry_after)),
        }
    }

    async fn peek_foreign(
        &self,
        token: &ForeignToken,
        client: &ClientId,
        now: Timestamp,
    ) -> Result<Option<LiveAccessToken>, ErrorResponse> {
        let Some(entry) = self.find_foreign(TokenKind::Access, token, now).await? else {
            return Ok(None);
        };
        let unregistered = self.settings().accept_unregistered_loopback_resources;
        let peek = self
            .store()
            .peek_access_token(&token.hash(), entry.bucket, client, unregistered)
            .await?;
        Ok(peek.token)
    }

    fn describe(&self, found: LiveAccessToken, audience: Resource) -> ActiveToken {
        let record = found.record;
        ActiveToken {
            scope: record.scope,
            client_id: record.client_id,
            subject: record.subject,
            audience,
            issuer: self.settings().issuer.to_string(),
            expires_at: record.expires_at,
            issued_at: record.issued_at,
            username: found.username,
        }
    }
}
