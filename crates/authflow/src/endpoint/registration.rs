//! Dynamic client registration (RFC 7591): anyone may introduce a client, and gains nothing by it but an identifier.
//!
//! What a client says of itself is kept as a claim. What is the server's to decide (identifier, secret, trust) cannot be
//! said at all. The answers follow what real clients break on: every default spelled out, no nulls.
//!
//! | file | what it says |
//! |---|---|
//! | [`accepted`] | what of a registration is taken |
//! | [`management`] | how a client reads, changes and removes its registration (RFC 7592) |

mod accepted;
mod management;

use std::{net::IpAddr, time::Duration};

use mcp_authflow_types::{
    ClientId, ClientSecret, ErrorCode, ErrorResponse, GrantType, RegistrationAccessToken, ResponseType,
    Scope,
    registration::{
        ClientConfiguration, InvalidRegistration, InvalidUpdate, RegistrationRequest, RegistrationResponse,
    },
};

use self::accepted::Accepted;
pub use self::management::ManageRegistration;
use crate::{
    port::{Admission, AuditEvent, AuditOutcome, audit::AuditAction, rate_limit::Limit, store::AddClient},
    record::{Client, ClientKeys},
    registration::InvalidKeys,
    server::{AuthorizationServer, limiter_key},
};

/// Why a client is not registered, or its registration not changed.
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
    #[error(transparent)]
    MalformedUpdate(InvalidUpdate),
    #[error("client_id is not that of this registration")]
    AnotherClient,
    #[error("client_secret is not the current one, and a client does not choose its secret")]
    ChosenSecret,
}

impl From<InvalidUpdate> for Reason {
    fn from(invalid: InvalidUpdate) -> Self {
        match invalid {
            InvalidUpdate::Registration(invalid) => Self::Malformed(invalid),
            other => Self::MalformedUpdate(other),
        }
    }
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
            | Self::Malformed(_)
            | Self::MalformedUpdate(_)
            | Self::AnotherClient
            | Self::ChosenSecret => ErrorResponse {
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
            profile: accepted.profile(&request, self.policy()),
        };
        let access_token = settings
            .registration
            .management
            .then(|| RegistrationAccessToken::mint(&self.entropy().draw()));
        let added = match &access_token {
            Some(token) => self.store().register_client(&client, &token.hash()).await?,
            None => self.store().add_client(&client).await?,
        };
        match added {
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
        let said = Said {
            client: &client,
            secret,
            scope: accepted.scope,
            access_token,
        };
        Ok(self.registration_response(said))
    }

    fn registration_response(&self, said: Said<'_>) -> RegistrationResponse {
        let profile = said.client.profile.clone();
        let (jwks, jwks_uri) = match profile.keys {
            None => (None, None),
            // It was read before it was kept.
            Some(ClientKeys::Jwks(text)) => (serde_json::from_str(&text).ok(), None),
            Some(ClientKeys::JwksUri(uri)) => (None, Some(uri)),
        };
        let uses_code = profile.grant_types.contains(&GrantType::AuthorizationCode);
        RegistrationResponse {
            client_id: said.client.id.clone(),
            client_secret: said.secret,
            client_id_issued_at: said.client.created_at,
            redirect_uris: profile.redirect_uris,
            client_name: profile.name,
            client_uri: profile.uri,
            logo_uri: profile.logo_uri,
            policy_uri: profile.policy_uri,
            tos_uri: profile.tos_uri,
            token_endpoint_auth_method: profile.token_endpoint_auth_method,
            grant_types: profile.grant_types,
            response_types: uses_code.then_some(ResponseType::Code).into_iter().collect(),
            scope: said.scope,
            application_type: profile.application_type,
            software_id: profile.software_id,
            software_version: profile.software_version,
            jwks,
            jwks_uri,
            configuration: said
                .access_token
                .map(|registration_access_token| ClientConfiguration {
                    registration_client_uri: self
                        .settings()
                        .issuer
                        .endpoint(&format!("/register/{}", said.client.id)),
                    registration_access_token,
                }),
        }
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

/// What an answer about a registration says beside what is kept of the client.
struct Said<'a> {
    client: &'a Client,
    /// The secret, where it was just made.
    secret: Option<ClientSecret>,
    scope: Scope,
    access_token: Option<RegistrationAccessToken>,
}
