//! What of a registration is taken: the rules, which an update of one follows too.

use mcp_authflow_types::{
    ApplicationType, GrantType, RedirectUri, ResponseType, Scope, ScopeToken, TokenEndpointAuthMethod,
    redirect_uri::RedirectHost, registration::RegistrationRequest, scope::OFFLINE_ACCESS, uri::Uri,
};

use super::Reason;
use crate::{
    port::Policy,
    record::{ClientKeys, ClientOrigin, ClientProfile},
    registration::{InvalidKeys, keys::client_keys},
    settings::RegistrationSettings,
};

/// What of a registration is taken.
#[derive(Debug)]
pub(super) struct Accepted {
    pub(super) redirect_uris: Vec<RedirectUri>,
    pub(super) grant_types: Vec<GrantType>,
    pub(super) keys: Option<ClientKeys>,
    pub(super) token_endpoint_auth_method: TokenEndpointAuthMethod,
    pub(super) application_type: ApplicationType,
    pub(super) scope: Scope,
}

impl Accepted {
    /// Judges a registration. What may be dropped is dropped, since one odd entry must not lock a client out (Cursor
    /// registers three kinds of redirect URI at once); the answer lists what was kept.
    pub(super) fn judge(
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
        let is_code = |asked: &String| asked == ResponseType::Code.as_str();
        let asked = request.response_types.as_ref();
        if asked.is_some_and(|asked| asked.iter().any(is_code) != uses_code) {
            return Err(Reason::NoResponseType);
        }

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
            keys,
            token_endpoint_auth_method: method,
            application_type,
            scope,
        })
    }
}

impl Accepted {
    /// The client's profile, with what the client claims about itself.
    pub(super) fn profile(&self, request: &RegistrationRequest, policy: &dyn Policy) -> ClientProfile {
        // A page shows these, or fetches what is there; anything but https is dropped.
        let claimed = |uri: &Option<String>| uri.clone().filter(|uri| is_https(uri));
        ClientProfile {
            name: policy.client_name(request.client_name.as_deref()),
            uri: request.client_uri.clone(),
            logo_uri: claimed(&request.logo_uri),
            policy_uri: claimed(&request.policy_uri),
            tos_uri: claimed(&request.tos_uri),
            redirect_uris: self.redirect_uris.clone(),
            grant_types: self.grant_types.clone(),
            token_endpoint_auth_method: self.token_endpoint_auth_method,
            keys: self.keys.clone(),
            application_type: self.application_type,
            software_id: request.software_id.clone(),
            software_version: request.software_version.clone(),
            // No scope: what a client believes it will ask for is no ceiling (most name nothing, or too little).
            ..ClientProfile::new(ClientOrigin::Registration)
        }
    }
}

fn is_https(uri: &str) -> bool {
    Uri::parse(uri).is_some_and(|uri| uri.scheme.eq_ignore_ascii_case("https") && uri.authority.is_some())
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

    /// M-091
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
