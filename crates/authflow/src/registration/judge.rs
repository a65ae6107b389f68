//! What of a registration is taken: pure, in one order.

use mcp_authflow_types::{
    ApplicationType, GrantType, RedirectUri, ResponseType, Scope, TokenEndpointAuthMethod, json,
    registration::RegistrationRequest,
    uri::{Uri, is_loopback_host},
};
use serde_json::{Map, Value};

use super::{
    ClientRegistrationRequest, InvalidKeys, RedirectUriRewriter, RedirectUriValidator, keys::client_keys,
};

/// By which rules registrations are judged.
///
/// | | `Standard` | `AsPythonPackage` |
/// |---|---|---|
/// | body | `application/json`, UTF-8, no repeated names, not empty | any content type; of repeated names the last; an empty body is `{}` |
/// | grants, method | those asked for, if the server offers them; by default authorization code and refresh, `client_secret_basic` | `client_credentials` alone with `client_secret_post`, if it is among those asked for; otherwise authorization code, refresh and `device_code` with `none` |
/// | redirect URIs | at least one for the authorization code grant | perhaps none |
/// | scope | what of it is on offer | as asked |
/// | other metadata | what RFC 7591 names, checked, and answered | anything, unchecked and not answered |
/// | limiter | before the gate, so that guessed tokens count | behind the gate |
/// | 201, 401 | `Cache-Control: no-store`; `WWW-Authenticate: Bearer` | without |
///
/// Under both a body has at most 64 KiB, JSON is strict, a member of the wrong type is refused, the only response type is
/// `code`, at most 20 redirect URIs are taken, and nothing is stored when a request fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum RegistrationRules {
    /// RFC 7591, read strictly.
    #[default]
    Standard,
    /// What `mcp-authflow` 0.9 for Python answers to a request that is in order; for clients that rest on it.
    AsPythonPackage,
}

/// Why a registration is not made. The text is the answer's `error_description`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("the content type is not application/json")]
    NotSaidToBeJson,
    #[error("The request body is larger than 64 KiB")]
    TooLarge,
    #[error("Invalid JSON")]
    NotJson,
    #[error("Request body must be a JSON object")]
    NotAnObject,
    #[error("{0} has the wrong type")]
    WrongType(&'static str),
    #[error("{0} is too long or holds a control character")]
    BadText(&'static str),
    #[error("{0} is no https address")]
    BadAddress(&'static str),
    #[error("Too many redirect URIs")]
    TooManyRedirectUris,
    #[error("A redirect URI is required")]
    NoRedirectUri,
    #[error("Invalid redirect_uri{}", shown(.0))]
    BadRedirectUri(String),
    #[error("grant_types names none, or one that is not offered")]
    BadGrants,
    #[error("token_endpoint_auth_method is not offered, or not with these grants")]
    BadMethod,
    #[error("response_types is not code, or does not fit the grants")]
    BadResponseTypes,
    #[error("scope is malformed, or nothing of it is on offer")]
    BadScope,
    #[error(transparent)]
    BadKeys(#[from] InvalidKeys),
}

/// A refused URI stands in the description only in the characters that may stand there (RFC 6749 Appendix A.8).
fn shown(uri: &str) -> String {
    let is_plain = uri
        .bytes()
        .all(|b| matches!(b, 0x20..=0x21 | 0x23..=0x5b | 0x5d..=0x7e));
    if is_plain && uri.len() <= RedirectUri::MAX_BYTES {
        format!(": {uri}")
    } else {
        String::new()
    }
}

/// By what a registration is judged.
pub(super) struct Judge {
    pub(super) rules: RegistrationRules,
    pub(super) default_scope: String,
    pub(super) scope_on_offer: Option<Scope>,
    pub(super) grants_on_offer: Vec<GrantType>,
    pub(super) methods_on_offer: Vec<TokenEndpointAuthMethod>,
    pub(super) default_redirect_uris: Vec<String>,
    pub(super) redirect_uri_rewriters: Vec<RedirectUriRewriter>,
    pub(super) redirect_uri_validator: Option<RedirectUriValidator>,
}

impl Judge {
    /// The largest body, in bytes.
    pub(super) const MAX_BODY_BYTES: usize = 64 * 1024;

    /// Judges a body that is said to be of a content type.
    pub(super) fn judge(
        &self,
        content_type: Option<&str>,
        body: &[u8],
    ) -> Result<ClientRegistrationRequest, Refusal> {
        // 1. RFC 7591 §3.1: "The client sends an HTTP POST … using the application/json format." A page of another site
        //    can send any other type without asking.
        if self.rules == RegistrationRules::Standard && !content_type.is_some_and(is_json) {
            return Err(Refusal::NotSaidToBeJson);
        }
        if body.len() > Self::MAX_BODY_BYTES {
            return Err(Refusal::TooLarge);
        }
        // 2. An object.
        let value = match self.rules {
            RegistrationRules::Standard => json::parse_strict(body, RegistrationRequest::MAX_DEPTH),
            RegistrationRules::AsPythonPackage => {
                match body.strip_prefix("\u{feff}".as_bytes()).unwrap_or(body) {
                    [] => Some(Value::Object(Map::new())),
                    body => serde_json::from_slice(body).ok(),
                }
            }
        };
        let Value::Object(mut members) = value.ok_or(Refusal::NotJson)? else {
            return Err(Refusal::NotAnObject);
        };
        // 3. The members that mean something, by type.
        let asked = Asked {
            client_name: self.text(&mut members, "client_name")?,
            redirect_uris: self.list(&mut members, "redirect_uris")?.unwrap_or_default(),
            grant_types: self.list(&mut members, "grant_types")?,
            response_types: self.list(&mut members, "response_types")?,
            token_endpoint_auth_method: match self.rules {
                RegistrationRules::Standard => self.text(&mut members, "token_endpoint_auth_method")?,
                // What is asked for changes nothing.
                RegistrationRules::AsPythonPackage => {
                    members.remove("token_endpoint_auth_method");
                    None
                }
            },
            scope: self.text(&mut members, "scope")?,
        };
        // 4. Redirect URIs: those asked for, rewritten; else the defaults; each by the policy.
        let redirect_uris = self.redirect_uris(asked.redirect_uris)?;
        // 5. RFC 7591 §2, grant_types, token_endpoint_auth_method, response_types.
        let (grant_types, method) = match self.rules {
            RegistrationRules::Standard => {
                self.grants_asked_for(asked.grant_types, asked.token_endpoint_auth_method)?
            }
            RegistrationRules::AsPythonPackage => grants_as_ever(&asked.grant_types.unwrap_or_default()),
        };
        let uses_code = grant_types
            .iter()
            .any(|grant| grant == GrantType::AuthorizationCode.as_str());
        let response_types = self.response_types(asked.response_types, uses_code)?;
        if self.rules == RegistrationRules::Standard && uses_code && redirect_uris.is_empty() {
            return Err(Refusal::NoRedirectUri);
        }
        // 6. RFC 7591 §2, scope: what of it is on offer; left out, the default.
        let scope = self.scope(asked.scope)?;
        // 7. The other members.
        let extra = match self.rules {
            RegistrationRules::Standard => further_metadata(&members, &method)?,
            RegistrationRules::AsPythonPackage => members,
        };
        Ok(ClientRegistrationRequest {
            client_name: asked.client_name,
            redirect_uris,
            grant_types,
            response_types,
            token_endpoint_auth_method: method,
            scope,
            extra,
        })
    }

    fn redirect_uris(&self, asked: Vec<String>) -> Result<Vec<String>, Refusal> {
        let mut uris = asked;
        for rewrite in &self.redirect_uri_rewriters {
            uris = rewrite(uris);
        }
        if uris.is_empty() {
            uris.clone_from(&self.default_redirect_uris);
        }
        if uris.len() > RedirectUri::MAX_PER_CLIENT {
            return Err(Refusal::TooManyRedirectUris);
        }
        match &self.redirect_uri_validator {
            Some(may_register) => match uris.iter().find(|uri| !may_register(uri)) {
                Some(bad) => Err(Refusal::BadRedirectUri(bad.clone())),
                None => Ok(uris),
            },
            None => Ok(uris),
        }
    }

    /// A text member, taken out.
    fn text(&self, members: &mut Map<String, Value>, name: &'static str) -> Result<Option<String>, Refusal> {
        let longest = if name == "scope" {
            Scope::MAX_ASKED_BYTES
        } else {
            RegistrationRequest::MAX_TEXT_BYTES
        };
        match members.remove(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => {
                if self.rules == RegistrationRules::Standard
                    && (text.len() > longest || text.chars().any(char::is_control))
                {
                    return Err(Refusal::BadText(name));
                }
                Ok(Some(text))
            }
            Some(value) if name == "scope" && self.counts_as_left_out(&value) => Ok(None),
            Some(_) => Err(Refusal::WrongType(name)),
        }
    }

    /// A list of texts, taken out.
    fn list(
        &self,
        members: &mut Map<String, Value>,
        name: &'static str,
    ) -> Result<Option<Vec<String>>, Refusal> {
        match members.remove(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) if self.counts_as_left_out(&value) => Ok(None),
            Some(Value::Array(items)) => items
                .into_iter()
                .map(|item| match item {
                    Value::String(text) => Some(text),
                    _ => None,
                })
                .collect::<Option<_>>()
                .map(Some)
                .ok_or(Refusal::WrongType(name)),
            Some(_) => Err(Refusal::WrongType(name)),
        }
    }

    /// What Python takes for false.
    fn counts_as_left_out(&self, value: &Value) -> bool {
        self.rules == RegistrationRules::AsPythonPackage
            && match value {
                Value::Null => true,
                Value::Bool(flag) => !flag,
                Value::Number(number) => number.as_f64() == Some(0.0),
                Value::String(text) => text.is_empty(),
                Value::Array(items) => items.is_empty(),
                Value::Object(members) => members.is_empty(),
            }
    }

    /// The grants and the method asked for, as far as they fit together and are offered.
    fn grants_asked_for(
        &self,
        grants: Option<Vec<String>>,
        method: Option<String>,
    ) -> Result<(Vec<String>, String), Refusal> {
        let grants = match grants {
            None => vec![GrantType::AuthorizationCode, GrantType::RefreshToken],
            Some(asked) => {
                let mut grants = Vec::new();
                for asked in asked {
                    let grant = GrantType::parse(&asked)
                        .filter(|grant| self.grants_on_offer.contains(grant))
                        .ok_or(Refusal::BadGrants)?;
                    if !grants.contains(&grant) {
                        grants.push(grant);
                    }
                }
                grants
            }
        };
        // A refresh token comes of another grant.
        if grants.iter().all(|grant| *grant == GrantType::RefreshToken) {
            return Err(Refusal::BadGrants);
        }
        let offers = |method: &TokenEndpointAuthMethod| self.methods_on_offer.contains(method);
        let method = match method.filter(|method| !method.is_empty()) {
            // "If unspecified or omitted, the default is client_secret_basic". RFC 7591 §3.2.1: the server "MAY reject or
            // replace" what it does not offer.
            None => Some(TokenEndpointAuthMethod::ClientSecretBasic)
                .filter(offers)
                .or(self.methods_on_offer.first().copied()),
            Some(asked) => TokenEndpointAuthMethod::parse(&asked).filter(offers),
        };
        let method = method.ok_or(Refusal::BadMethod)?;
        // RFC 6749 §4.4: "The client credentials grant type MUST only be used by confidential clients."
        if method == TokenEndpointAuthMethod::None && grants.contains(&GrantType::ClientCredentials) {
            return Err(Refusal::BadMethod);
        }
        let grants = grants
            .into_iter()
            .map(|grant| grant.as_str().to_owned())
            .collect();
        Ok((grants, method.as_str().to_owned()))
    }

    /// RFC 7591 §2.1: `code` goes with the authorization code grant, and there is no other.
    fn response_types(&self, asked: Option<Vec<String>>, uses_code: bool) -> Result<Vec<String>, Refusal> {
        let code = ResponseType::Code.as_str();
        let is_strict = self.rules == RegistrationRules::Standard;
        match asked {
            None if is_strict && !uses_code => Ok(Vec::new()),
            None => Ok(vec![code.to_owned()]),
            Some(asked)
                if asked.iter().any(|asked| asked != code) || is_strict && asked.is_empty() == uses_code =>
            {
                Err(Refusal::BadResponseTypes)
            }
            Some(asked) => Ok(asked),
        }
    }

    fn scope(&self, asked: Option<String>) -> Result<String, Refusal> {
        let Some(asked) = asked.filter(|asked| !asked.is_empty()) else {
            return Ok(self.default_scope.clone());
        };
        let Some(on_offer) = &self.scope_on_offer else {
            return Ok(asked);
        };
        let scope = Scope::parse_asked(&asked)
            .map_err(|_| Refusal::BadScope)?
            .narrow_to(on_offer);
        if scope.is_empty() {
            return Err(Refusal::BadScope);
        }
        Ok(scope.to_string())
    }
}

struct Asked {
    client_name: Option<String>,
    redirect_uris: Vec<String>,
    grant_types: Option<Vec<String>>,
    response_types: Option<Vec<String>>,
    token_endpoint_auth_method: Option<String>,
    scope: Option<String>,
}

/// The two sets of grants that the Python package gives, and the method with each.
fn grants_as_ever(asked: &[String]) -> (Vec<String>, String) {
    let (grants, method): (&[&str], _) = if asked.iter().any(|grant| grant == "client_credentials") {
        (&["client_credentials"], "client_secret_post")
    } else {
        (&["authorization_code", "refresh_token", "device_code"], "none")
    };
    (
        grants.iter().map(|grant| (*grant).to_owned()).collect(),
        method.to_owned(),
    )
}

/// RFC 7591 §2: the members that this house reads beside the six, checked. What nobody here understands is ignored, above
/// all what a client might wish were its own to set.
fn further_metadata(members: &Map<String, Value>, method: &str) -> Result<Map<String, Value>, Refusal> {
    let mut kept = Map::new();
    let mut keep = |name: &str, value: &Value| kept.insert(name.to_owned(), value.clone());
    let given = |name: &str| {
        members
            .get(name)
            .filter(|value| !value.is_null() && **value != "")
    };
    for name in [
        "software_id",
        "software_version",
        "client_uri",
        "logo_uri",
        "tos_uri",
        "policy_uri",
        "application_type",
    ] {
        let Some(value) = given(name) else { continue };
        let text = value.as_str().ok_or(Refusal::WrongType(name))?;
        if text.len() > RegistrationRequest::MAX_TEXT_BYTES || text.chars().any(char::is_control) {
            return Err(Refusal::BadText(name));
        }
        if name.ends_with("_uri") && !is_page_address(text) {
            return Err(Refusal::BadAddress(name));
        }
        if name == "application_type" && ApplicationType::parse(text).is_none() {
            return Err(Refusal::BadText(name));
        }
        keep(name, value);
    }
    if let Some(value) = given("contacts") {
        let contacts = value.as_array().ok_or(Refusal::WrongType("contacts"))?;
        if !contacts.iter().all(Value::is_string) {
            return Err(Refusal::WrongType("contacts"));
        }
        keep("contacts", value);
    }
    let jwks_uri = given("jwks_uri")
        .map(|value| value.as_str().ok_or(Refusal::WrongType("jwks_uri")))
        .transpose()?;
    let has_keys = client_keys(given("jwks"), jwks_uri)?.is_some();
    if method == TokenEndpointAuthMethod::PrivateKeyJwt.as_str() && !has_keys {
        return Err(InvalidKeys::Missing.into());
    }
    for name in ["jwks", "jwks_uri"] {
        if let Some(value) = given(name) {
            keep(name, value);
        }
    }
    Ok(kept)
}

/// An address that a person may be shown as a link: https, or plain http on this computer.
fn is_page_address(text: &str) -> bool {
    Uri::parse(text).is_some_and(|uri| {
        uri.authority.is_some_and(|authority| {
            !authority.host.is_empty()
                && (uri.scheme.eq_ignore_ascii_case("https")
                    || uri.scheme.eq_ignore_ascii_case("http") && is_loopback_host(authority.host))
        })
    })
}

/// Whether a content type is JSON, in UTF-8 if anything is said of that.
fn is_json(content_type: &str) -> bool {
    let mut parts = content_type.split(';').map(str::trim);
    parts
        .next()
        .is_some_and(|essence| essence.eq_ignore_ascii_case("application/json"))
        && parts
            .filter_map(|parameter| parameter.split_once('='))
            .filter(|(name, _)| name.eq_ignore_ascii_case("charset"))
            .all(|(_, charset)| charset.trim_matches('"').eq_ignore_ascii_case("utf-8"))
}
