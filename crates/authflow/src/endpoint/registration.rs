//! Dynamic client registration (RFC 7591): anyone may introduce a client, and gains nothing by it but an identifier.
//!
//! What a client says of itself is kept as a claim. What is the server's to decide (identifier, secret, trust) cannot be
//! said at all. The answers follow what real clients break on: every default spelled out, no nulls.

use std::{net::IpAddr, time::Duration};

use mcp_authflow_types::{
    ApplicationType, ClientId, ClientSecret, ErrorCode, ErrorResponse, GrantType, RedirectUri, ResponseType,
    Scope, ScopeToken, TokenEndpointAuthMethod,
    redirect_uri::RedirectHost,
    registration::{InvalidRegistration, RegistrationRequest, RegistrationResponse},
    scope::OFFLINE_ACCESS,
};

use crate::{
    port::{
        Admission, AuditEvent, AuditOutcome, Policy, audit::AuditAction, rate_limit::Limit, store::AddClient,
    },
    record::{Client, ClientKeys, ClientOrigin, ClientProfile},
    registration::{InvalidKeys, keys::client_keys},
    server::{AuthorizationServer, limiter_key},
    settings::RegistrationSettings,
};

/// Why a client is not registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
enum Reason {
    #[error("registration is off")]
    Off,
    #[error("not authorized to register")]
    NotAuthorized,
    #[error("too many redirect URIs")]
    TooManyRedirectUris,
    #[error("no redirect URI that may be registered")]
    NoRedirectUri,
    #[error("no grant that a self-registered client may use")]
    NoGrant,
    #[error("no supported response type")]
    NoResponseType,
    #[error("an unsupported token_endpoint_auth_method")]
    UnsupportedMethod,
    #[error("a malformed scope")]
    MalformedScope,
    #[error(transparent)]
    BadKeys(#[from] InvalidKeys),
    #[error(transparent)]
    Malformed(#[from] InvalidRegistration),
}

impl Reason {
    fn response(self) -> ErrorResponse {
        match self {
            Self::Off => ErrorResponse {
                status: Some(403),
                detail: Some("dynamic client registration is off".to_owned()),
                ..ErrorCode::AccessDenied.into()
            },
            Self::TooManyRedirectUris | Self::NoRedirectUri => ErrorCode::InvalidRedirectUri.into(),
            Self::Malformed(InvalidRegistration::WrongType("redirect_uris")) => ErrorResponse {
                detail: Some(self.to_string()),
                ..ErrorCode::InvalidRedirectUri.into()
            },
            Self::NotAuthorized => ErrorResponse {
                detail: Some("an initial access token is needed to register".to_owned()),
                ..ErrorCode::InvalidToken.into()
            },
            Self::NoGrant
            | Self::NoResponseType
            | Self::UnsupportedMethod
            | Self::MalformedScope
            | Self::BadKeys(_)
            | Self::Malformed(_) => ErrorResponse {
                detail: Some(self.to_string()),
                ..ErrorCode::InvalidClientMetadata.into()
            },
        }
    }
}

impl AuthorizationServer {
    /// Registers a client (RFC 7591 §3.1). A registration that nobody approves expires (default: after 24 h).
    ///
    /// # Errors
    /// `invalid_token` without an initial access token where one is asked for, `invalid_redirect_uri` when no redirect URI
    /// can be kept, `invalid_client_metadata` for the rest,
    /// `too_many_requests` beyond the limit per address, `temporarily_unavailable` when the store cannot be asked.
    pub async fn register(
        &self,
        body: &[u8],
        authorization: Option<&str>,
        address: Option<IpAddr>,
    ) -> Result<RegistrationResponse, ErrorResponse> {
        let now = self.now();
        let settings = self.settings();
        self.admit_registration(authorization, address).await?;
        let request = RegistrationRequest::parse(body)
            .map_err(|malformed| self.refuse_registration(malformed.into(), address))?;
        let on_offer = self.scopes_on_offer().await?;
        let accepted = Accepted::judge(&request, &on_offer, &settings.registration, self.policy())
            .map_err(|reason| self.refuse_registration(reason, address))?;

        let secret = accepted
            .token_endpoint_auth_method
            .uses_secret()
            .then(|| ClientSecret::mint(&self.entropy().draw()));
        let client = Client {
            id: ClientId::from_random(self.entropy().draw()),
            generation: 0,
            secret: secret.as_ref().map(ClientSecret::hash),
            retired_secret: None,
            created_at: now,
            expires_at: Some(now + settings.lifetimes.unused_client),
            profile: ClientProfile {
                name: self.policy().client_name(request.client_name.as_deref()),
                uri: request.client_uri,
                redirect_uris: accepted.redirect_uris,
                grant_types: accepted.grant_types,
                token_endpoint_auth_method: accepted.token_endpoint_auth_method,
                keys: accepted.keys,
                // What a client believes it will ask for is no ceiling (most name nothing, or too little).
                application_type: accepted.application_type,
                software_id: request.software_id,
                software_version: request.software_version,
                ..ClientProfile::new(ClientOrigin::Registration)
            },
        };
        match self.store().add_client(&client).await? {
            AddClient::Added => {}
            // 128 random bits met before: the randomness is broken, and going on would be worse.
            AddClient::Taken => return Err(ErrorCode::ServerError.into()),
        }
        self.audit(
            &AuditEvent::new(AuditAction::Register, AuditOutcome::Allowed, "registered")
                .with_client(&client.id)
                .with_address(address),
        );
        self.policy().client_registered(&client).await;
        let (jwks, jwks_uri) = match client.profile.keys {
            None => (None, None),
            Some(ClientKeys::Jwks(_)) => (request.jwks, None),
            Some(ClientKeys::JwksUri(uri)) => (None, Some(uri)),
        };
        Ok(RegistrationResponse {
            client_id: client.id,
            client_secret: secret,
            client_id_issued_at: now,
            redirect_uris: client.profile.redirect_uris,
            client_name: client.profile.name,
            client_uri: client.profile.uri,
            token_endpoint_auth_method: client.profile.token_endpoint_auth_method,
            grant_types: client.profile.grant_types,
            response_types: accepted.response_types,
            scope: accepted.scope,
            application_type: client.profile.application_type,
            software_id: client.profile.software_id,
            software_version: client.profile.software_version,
            jwks,
            jwks_uri,
        })
    }

    /// Lets a request through before it is read: registration is on, the address has tries left, and the caller may register.
    async fn admit_registration(
        &self,
        authorization: Option<&str>,
        address: Option<IpAddr>,
    ) -> Result<(), ErrorResponse> {
        let settings = &self.settings().registration;
        if !settings.enabled {
            return Err(self.refuse_registration(Reason::Off, address));
        }
        let limit = Limit {
            name: "registration",
            tries: settings.per_address_per_hour,
            window: Duration::from_secs(3_600),
        };
        if let Admission::Refused { retry_after } =
            self.ports().rate_limit.admit(limit, &limiter_key(address)).await
        {
            self.audit(
                &AuditEvent::new(
                    AuditAction::Register,
                    AuditOutcome::Refused,
                    "too many from one address",
                )
                .with_address(address),
            );
            return Err(ErrorResponse::too_many_requests(retry_after));
        }
        // Behind the limit, so that guesses count.
        let tokens = &settings.initial_access_tokens;
        let is_authorized = (tokens.is_empty() || tokens.admit(authorization))
            && self.policy().may_register(authorization, address).await;
        if !is_authorized {
            return Err(self.refuse_registration(Reason::NotAuthorized, address));
        }
        Ok(())
    }

    fn refuse_registration(&self, reason: Reason, address: Option<IpAddr>) -> ErrorResponse {
        self.audit(
            &AuditEvent::new(AuditAction::Register, AuditOutcome::Refused, reason.to_string())
                .with_address(address),
        );
        reason.response()
    }
}

/// What of a registration is taken.
#[derive(Debug)]
struct Accepted {
    redirect_uris: Vec<RedirectUri>,
    grant_types: Vec<GrantType>,
    response_types: Vec<ResponseType>,
    keys: Option<ClientKeys>,
    token_endpoint_auth_method: TokenEndpointAuthMethod,
    application_type: ApplicationType,
    scope: Scope,
}

impl Accepted {
    /// Judges a registration. What may be dropped is dropped, since one odd entry must not lock a client out (Cursor
    /// registers three kinds of redirect URI at once); the answer lists what was kept.
    fn judge(
        request: &RegistrationRequest,
        on_offer: &Scope,
        settings: &RegistrationSettings,
        policy: &dyn Policy,
    ) -> Result<Self, Reason> {
        // 1. RFC 7591 §2, token_endpoint_auth_method.
        let method = request
            .token_endpoint_auth_method
            .as_deref()
            .map(|method| TokenEndpointAuthMethod::parse(method).ok_or(Reason::UnsupportedMethod))
            .transpose()?;

        // 2. RFC 7591 §2, grant_types: nobody registers into machine authority. Left out, both grants that a person's
        //    approval feeds are given.
        let grant_types = match &request.grant_types {
            None => vec![GrantType::AuthorizationCode, GrantType::RefreshToken],
            Some(asked) => [
                GrantType::AuthorizationCode,
                GrantType::DeviceCode,
                GrantType::RefreshToken,
            ]
            .into_iter()
            .filter(|grant| asked.iter().any(|asked| asked == grant.as_str()))
            .collect(),
        };
        let uses_code = grant_types.contains(&GrantType::AuthorizationCode);
        if !uses_code && !grant_types.contains(&GrantType::DeviceCode) {
            return Err(Reason::NoGrant);
        }

        // 3. RFC 7591 §2, redirect_uris: those that may be registered at all, and that the operator allows. Private-use
        //    schemes prove nothing about who answers, so they are for public clients. A device has none.
        if request.redirect_uris.len() > RedirectUri::MAX_PER_CLIENT {
            return Err(Reason::TooManyRedirectUris);
        }
        let mut redirect_uris: Vec<RedirectUri> = request
            .redirect_uris
            .iter()
            .filter_map(|uri| RedirectUri::parse(uri).ok())
            .collect();
        redirect_uris = policy.rewrite_redirect_uris(redirect_uris);
        redirect_uris.retain(|uri| {
            is_allowed(uri, &settings.allowed_redirect_hosts) && policy.may_register_redirect_uri(uri)
        });
        if redirect_uris.len() > RedirectUri::MAX_PER_CLIENT {
            return Err(Reason::TooManyRedirectUris);
        }
        let is_app = |uri: &RedirectUri| matches!(uri.host(), RedirectHost::App(_));
        let method = match method {
            Some(TokenEndpointAuthMethod::None) => TokenEndpointAuthMethod::None,
            Some(method) => {
                redirect_uris.retain(|uri| !is_app(uri));
                method
            }
            // "If unspecified or omitted, the default is client_secret_basic"; an app cannot keep a secret.
            None if redirect_uris.iter().any(is_app) => TokenEndpointAuthMethod::None,
            None => TokenEndpointAuthMethod::ClientSecretBasic,
        };
        if uses_code && redirect_uris.is_empty() {
            return Err(Reason::NoRedirectUri);
        }

        // 4. RFC 7591 §2.1, response_types: `code`, for the grant that has one.
        let response_types = match &request.response_types {
            None if uses_code => vec![ResponseType::Code],
            None => Vec::new(),
            Some(asked) if asked.iter().any(|asked| asked == ResponseType::Code.as_str()) == uses_code => {
                if uses_code {
                    vec![ResponseType::Code]
                } else {
                    Vec::new()
                }
            }
            Some(_) => return Err(Reason::NoResponseType),
        };

        // 5. RFC 7591 §2, jwks and jwks_uri: what a client proves itself with that keeps no secret here.
        let keys = client_keys(request.jwks.as_ref(), request.jwks_uri.as_deref())?
            .filter(|_| method == TokenEndpointAuthMethod::PrivateKeyJwt);
        if method == TokenEndpointAuthMethod::PrivateKeyJwt && keys.is_none() {
            return Err(InvalidKeys::Missing.into());
        }

        // 6. OpenID Connect DCR §2, application_type: said by the redirect URIs, not by the client; Cursor calls itself
        //    "web" and is not. What has none runs on a device.
        let application_type = if redirect_uris.is_empty() {
            ApplicationType::Native
        } else {
            RedirectUri::application_type(&redirect_uris)
        };

        // 7. RFC 7591 §2, scope: what of it is on offer; left out, the operator's default, else everything that is.
        let offline: Option<ScopeToken> = ScopeToken::parse(OFFLINE_ACCESS).ok();
        let on_offer = on_offer.union(&offline.into_iter().collect());
        let scope = match &request.scope {
            None => match &settings.default_scope {
                Some(default) => default.narrow_to(&on_offer),
                None => on_offer,
            },
            Some(asked) => Scope::parse_asked(asked)
                .map_err(|_| Reason::MalformedScope)?
                .narrow_to(&on_offer),
        };
        Ok(Self {
            redirect_uris,
            grant_types,
            response_types,
            keys,
            token_endpoint_auth_method: method,
            application_type,
            scope,
        })
    }
}

/// Whether a redirect URI leads where the operator lets self-registered clients lead; an empty list names everywhere.
fn is_allowed(uri: &RedirectUri, allowed: &[String]) -> bool {
    let host = match uri.host() {
        RedirectHost::Web(host) | RedirectHost::Loopback(host) => host.to_owned(),
        RedirectHost::App(scheme) => format!("{scheme}:"),
    };
    allowed.is_empty() || allowed.iter().any(|one| one.eq_ignore_ascii_case(&host))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;
    use crate::port::NoPolicy;

    fn judge_with(body: &str, settings: &RegistrationSettings) -> Result<Accepted, Reason> {
        let on_offer = Scope::parse("mcp:read mcp:write").unwrap();
        let request = RegistrationRequest::parse(body.as_bytes()).unwrap();
        Accepted::judge(&request, &on_offer, settings, &NoPolicy)
    }

    fn judge(body: &str) -> Result<Accepted, Reason> {
        judge_with(body, &RegistrationSettings::default())
    }

    /// M §6.4 trap 5
    #[test]
    fn the_shape_that_cursor_registers_is_taken_whole() {
        let accepted = judge(
            r#"{"client_name":"Cursor","application_type":"web","token_endpoint_auth_method":"none",
                "grant_types":["authorization_code","refresh_token"],"response_types":["code"],
                "redirect_uris":["cursor://anysphere.cursor-mcp/oauth/callback",
                "https://www.cursor.com/agents/mcp/oauth/callback","http://localhost:8787/callback"]}"#,
        )
        .unwrap();
        assert_eq!(accepted.redirect_uris.len(), 3);
        assert_eq!(accepted.application_type, ApplicationType::Native);
        assert_eq!(accepted.token_endpoint_auth_method, TokenEndpointAuthMethod::None);
        assert_eq!(accepted.scope.to_string(), "mcp:read mcp:write offline_access");
    }

    #[test]
    fn a_dangerous_redirect_is_dropped_and_fails_only_when_none_is_left() {
        let kept =
            judge(r#"{"redirect_uris":["javascript:alert(1)","http://localhost:8787/callback"]}"#).unwrap();
        assert_eq!(kept.redirect_uris.len(), 1);
        for none_left in [
            r#"{"redirect_uris":["javascript:alert(1)"]}"#,
            r#"{"redirect_uris":[]}"#,
            r"{}",
            r#"{"redirect_uris":["https://*.example.com/cb"]}"#,
            r#"{"redirect_uris":["http://evil.example/cb"]}"#,
            r#"{"redirect_uris":["app:/cb"],"token_endpoint_auth_method":"client_secret_basic"}"#,
        ] {
            assert_eq!(
                judge(none_left).unwrap_err(),
                Reason::NoRedirectUri,
                "{none_left}"
            );
        }
    }

    #[test]
    fn nobody_registers_into_machine_authority() {
        let uri = r#""redirect_uris":["https://a.example/cb"]"#;
        for grants in [
            r#"["client_credentials"]"#,
            r#"["password"]"#,
            "[]",
            r#"["refresh_token"]"#,
        ] {
            let body = format!(r#"{{{uri},"grant_types":{grants}}}"#);
            assert_eq!(judge(&body).unwrap_err(), Reason::NoGrant, "{grants}");
        }
        let mixed = judge(&format!(
            r#"{{{uri},"grant_types":["authorization_code","client_credentials"]}}"#
        ))
        .unwrap();
        assert_eq!(mixed.grant_types, [GrantType::AuthorizationCode]);
        let privileged = judge(&format!(r#"{{{uri},"scope":"mcp:read admin *"}}"#)).unwrap();
        assert_eq!(privileged.scope.to_string(), "mcp:read");
    }
}
