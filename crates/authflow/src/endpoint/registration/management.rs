//! Registration management (RFC 7592): a client reads, changes and removes its own registration, with the token that it was
//! given when it registered.
//!
//! The token is the whole authority, and it opens one registration. It stays the same as long as the registration lives: a
//! client that never saw the answer to a change would be locked out by a new one. Kept is its digest, as of every token, so
//! an answer repeats the one that was presented; of the client's secret there is only the digest too, so it is said once, when
//! it is made, and never read again.
//!
//! A change is judged like a registration. One after which the client proves less than before, because it gave up its secret
//! or its keys, ends everything that was issued to it: what was granted to a client that proves itself is not for whoever knows
//! its name. Requests that wait for a person die when their redirect URI goes. No approval is remembered for a client that
//! registered itself, so the next request asks a person again, whatever was changed.

use std::{cmp::Ordering, net::IpAddr, time::Duration};

use mcp_authflow_types::{
    ClientId, ClientSecret, ErrorCode, ErrorResponse, RegistrationAccessToken, Scope, ScopeToken,
    TokenEndpointAuthMethod,
    registration::{RegistrationResponse, UpdateRequest},
    scope::OFFLINE_ACCESS,
};

use super::{Accepted, Reason, Said};
use crate::{
    port::{
        Admission, AuditEvent, AuditOutcome,
        audit::AuditAction,
        rate_limit::Limit,
        store::{ClientRegistration, ReplaceRegistration},
    },
    record::{Client, ClientProfile},
    server::{AuthorizationServer, limiter_key},
};

/// What comes with every request to manage a registration. `Debug` does not show the token.
#[derive(Clone, Copy)]
pub struct ManageRegistration<'a> {
    /// The client of the address.
    pub client_id: &'a str,
    /// The `Authorization` header, when there is exactly one.
    pub authorization: Option<&'a str>,
    /// Where the request came from.
    pub address: Option<IpAddr>,
}

impl std::fmt::Debug for ManageRegistration<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ManageRegistration")
            .field("client_id", &self.client_id)
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

/// A registration, opened by its own token.
struct Opened {
    registration: ClientRegistration,
    token: RegistrationAccessToken,
}

impl AuthorizationServer {
    /// Says what is registered (RFC 7592 §2.1), the secret aside.
    ///
    /// # Errors
    /// `invalid_token` for a token that does not open this registration, whatever the reason: whether there is such a client is
    /// nobody else's business; `too_many_requests`, `temporarily_unavailable`.
    pub async fn read_registration(
        &self,
        request: ManageRegistration<'_>,
    ) -> Result<RegistrationResponse, ErrorResponse> {
        let opened = self.open_registration(&request).await?;
        self.audit_management(
            &request,
            &opened.registration.client,
            AuditOutcome::Allowed,
            "read",
        );
        let scope = self.scope_to_ask_for().await?;
        Ok(self.registration_response(Said {
            client: &opened.registration.client,
            secret: None,
            scope,
            access_token: Some(opened.token),
        }))
    }

    /// Replaces what is registered (RFC 7592 §2.2); what the client leaves out is deleted.
    ///
    /// # Errors
    /// As [`read_registration`](Self::read_registration) and [`register`](Self::register).
    pub async fn update_registration(
        &self,
        request: ManageRegistration<'_>,
        body: &[u8],
    ) -> Result<RegistrationResponse, ErrorResponse> {
        let Opened { registration, token } = self.open_registration(&request).await?;
        let before = &registration.client;
        let refuse = |reason: Reason| {
            self.audit_management(&request, before, AuditOutcome::Refused, reason.to_string());
            reason.response()
        };
        // 1. RFC 7592 §2.2: "The client MUST include its "client_id" field in the request, and it MUST be the same as its
        //    currently issued client identifier."
        let update = UpdateRequest::parse(body).map_err(|invalid| refuse(invalid.into()))?;
        if update.client_id != before.id.as_str() {
            return Err(refuse(Reason::AnotherClient));
        }
        // 2. The same: "The client MUST NOT be allowed to overwrite its existing client secret with its own chosen value."
        let is_chosen = |secret: &ClientSecret| before.secret != Some(secret.hash());
        if update.client_secret.as_ref().is_some_and(is_chosen) {
            return Err(refuse(Reason::ChosenSecret));
        }
        // 3. The rules of a registration.
        let settings = &self.settings().registration;
        let on_offer = self.scopes_on_offer().await?;
        let accepted =
            Accepted::judge(&update.registration, &on_offer, settings, self.policy()).map_err(refuse)?;
        let profile = accepted.profile(&update.registration, self.policy());
        // 4. A secret for whoever has none and needs one; it goes when it is no longer used.
        let uses_secret = accepted.token_endpoint_auth_method.uses_secret();
        let made =
            (uses_secret && before.secret.is_none()).then(|| ClientSecret::mint(&self.entropy().draw()));
        let secret = match &made {
            Some(made) => Some(made.hash()),
            None => before.secret.filter(|_| uses_secret),
        };
        let replacement = ReplaceRegistration {
            client_id: before.id.clone(),
            access_token: registration.access_token,
            ends_what_was_issued: proves_less(&before.profile, &profile),
            profile,
            secret,
        };
        if !self.store().replace_registration(&replacement).await? {
            // Removed since it was read.
            return Err(self.refuse_management(&request, "the registration is gone"));
        }
        let what = if replacement.ends_what_was_issued {
            "changed, and everything issued before has ended"
        } else {
            "changed"
        };
        self.audit_management(&request, before, AuditOutcome::Allowed, what);
        let after = Client {
            profile: replacement.profile,
            ..(**before).clone()
        };
        Ok(self.registration_response(Said {
            client: &after,
            secret: made,
            scope: accepted.scope,
            access_token: Some(token),
        }))
    }

    /// Removes the client (RFC 7592 §2.3); everything beneath it stops at once, this token included.
    ///
    /// # Errors
    /// As [`read_registration`](Self::read_registration).
    pub async fn remove_registration(&self, request: ManageRegistration<'_>) -> Result<(), ErrorResponse> {
        let opened = self.open_registration(&request).await?;
        let client = &opened.registration.client;
        // Of two that remove it, both are told that it is gone.
        self.store().remove_client(&client.id, self.now()).await?;
        self.audit_management(&request, client, AuditOutcome::Allowed, "removed");
        Ok(())
    }

    /// Lets a request through whose token opens the registration that it is about.
    async fn open_registration(&self, request: &ManageRegistration<'_>) -> Result<Opened, ErrorResponse> {
        let settings = &self.settings().registration;
        if !(settings.enabled && settings.management) {
            return Err(Reason::Off.response());
        }
        let limit = Limit {
            name: "registration_management",
            tries: settings.management_per_address_per_hour,
            window: Duration::from_secs(3_600),
        };
        let key = limiter_key(request.address);
        if let Admission::Refused { retry_after } = self.ports().rate_limit.admit(limit, &key).await {
            return Err(ErrorResponse::too_many_requests(retry_after));
        }
        let bearer = request.authorization.and_then(|header| header.split_once(' '));
        let token = bearer
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .and_then(|(_, token)| RegistrationAccessToken::parse(token).ok());
        let (Some(token), Ok(id)) = (token, ClientId::parse(request.client_id)) else {
            return Err(self.refuse_management(request, "no registration access token"));
        };
        let found = self.store().load_registration(&id).await?;
        // RFC 7592 §2.1: a client that does not exist is answered like a token that is wrong.
        match found {
            Some(registration)
                if registration.access_token == token.hash()
                    && registration.client.is_current(self.now()) =>
            {
                Ok(Opened { registration, token })
            }
            _ => Err(self.refuse_management(request, "the token does not open this registration")),
        }
    }

    /// The scope that a registration answers to a client that names none.
    async fn scope_to_ask_for(&self) -> Result<Scope, ErrorResponse> {
        let offline: Option<ScopeToken> = ScopeToken::parse(OFFLINE_ACCESS).ok();
        let on_offer = self
            .scopes_on_offer()
            .await?
            .union(&offline.into_iter().collect());
        Ok(match &self.settings().registration.default_scope {
            Some(default) => default.narrow_to(&on_offer),
            None => on_offer,
        })
    }

    fn refuse_management(&self, request: &ManageRegistration<'_>, reason: &'static str) -> ErrorResponse {
        self.audit(
            &AuditEvent::new(AuditAction::ManageRegistration, AuditOutcome::Refused, reason)
                .with_address(request.address),
        );
        ErrorCode::InvalidToken.into()
    }

    fn audit_management(
        &self,
        request: &ManageRegistration<'_>,
        client: &Client,
        outcome: AuditOutcome,
        reason: impl Into<std::borrow::Cow<'static, str>>,
    ) {
        self.audit(
            &AuditEvent::new(AuditAction::ManageRegistration, outcome, reason)
                .with_client(&client.id)
                .with_address(request.address),
        );
    }
}

/// Whether a client that says `after` proves less than one that says `before`: it gave up its secret or its keys, or goes from
/// keys to a secret. Other keys prove as much; so does another secret method.
fn proves_less(before: &ClientProfile, after: &ClientProfile) -> bool {
    let strength = |profile: &ClientProfile| match profile.token_endpoint_auth_method {
        TokenEndpointAuthMethod::None => 0,
        TokenEndpointAuthMethod::ClientSecretBasic | TokenEndpointAuthMethod::ClientSecretPost => 1,
        TokenEndpointAuthMethod::PrivateKeyJwt => 2,
    };
    strength(after).cmp(&strength(before)) == Ordering::Less
}
