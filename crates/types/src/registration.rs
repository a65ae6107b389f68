//! How a client introduces itself (RFC 7591) and changes what it said (RFC 7592): the requests as far as they are used, and
//! the answer to both.

use crate::{
    ApplicationType, ClientId, ClientSecret, GrantType, RedirectUri, RegistrationAccessToken, ResponseType,
    Scope, Timestamp, TokenEndpointAuthMethod,
};

/// The members of a registration request that mean something here. Everything else is ignored (RFC 7591 §2), above all
/// what a client might wish were its own to set.
#[derive(Clone, Debug, Default)]
pub struct RegistrationRequest {
    /// Where answers may go, as the client spelled it.
    pub redirect_uris: Vec<String>,
    /// What it calls itself: a claim.
    pub client_name: Option<String>,
    /// Its home page: a claim.
    pub client_uri: Option<String>,
    /// Where its logo is: a claim.
    pub logo_uri: Option<String>,
    /// Its privacy policy: a claim.
    pub policy_uri: Option<String>,
    /// Its terms of service: a claim.
    pub tos_uri: Option<String>,
    /// How it wants to authenticate at the token endpoint.
    pub token_endpoint_auth_method: Option<String>,
    /// The grants it wants to use.
    pub grant_types: Option<Vec<String>>,
    /// The response types it wants to use.
    pub response_types: Option<Vec<String>>,
    /// The scope it believes it will ask for.
    pub scope: Option<String>,
    /// Web or native, as it sees itself.
    pub application_type: Option<String>,
    /// Which software it is, as it says.
    pub software_id: Option<String>,
    /// Which version of it, as it says.
    pub software_version: Option<String>,
    /// Its public keys: a JWK Set by value, unchecked.
    pub jwks: Option<serde_json::Value>,
    /// The address of its public keys, as the client spelled it.
    pub jwks_uri: Option<String>,
    /// Whether a software statement came along. None is verified here, so none counts (RFC 7591 §2.3).
    pub has_software_statement: bool,
}

/// Why a body is not a registration request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidRegistration {
    /// Not one JSON object, or one with repeated names or too much nesting.
    #[error("the body is not a JSON object")]
    NotAnObject,
    /// A member has the wrong type. The name is one of ours, never the caller's.
    #[error("{0} has the wrong type")]
    WrongType(&'static str),
    /// A text is too long.
    #[error("{0} is too long")]
    TooLong(&'static str),
    /// A text holds a control character, NUL among them: no name has one, and no database keeps that one.
    #[error("{0} holds a control character")]
    ControlCharacter(&'static str),
}

impl RegistrationRequest {
    /// The longest text member accepted, in bytes; `scope` may be as long as in any request.
    pub const MAX_TEXT_BYTES: usize = 1_024;
    /// The deepest nesting accepted.
    pub const MAX_DEPTH: usize = 32;

    /// Reads a JSON body. A member that is `null` counts as absent, except `redirect_uris`.
    ///
    /// # Errors
    /// [`InvalidRegistration`]
    pub fn parse(body: &[u8]) -> Result<Self, InvalidRegistration> {
        Self::of(&members(body)?)
    }

    fn of(members: &Members) -> Result<Self, InvalidRegistration> {
        use serde_json::Value;

        let longest = |name| {
            if name == "scope" {
                Scope::MAX_ASKED_BYTES
            } else {
                Self::MAX_TEXT_BYTES
            }
        };
        let text = |name: &'static str| match members.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) if text.len() > longest(name) => {
                Err(InvalidRegistration::TooLong(name))
            }
            Some(Value::String(text)) if text.chars().any(char::is_control) => {
                Err(InvalidRegistration::ControlCharacter(name))
            }
            Some(Value::String(text)) if text.is_empty() => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(InvalidRegistration::WrongType(name)),
        };
        let list = |name: &'static str| match members.get(name) {
            None => Ok(None),
            Some(Value::Null) if name != "redirect_uris" => Ok(None),
            Some(Value::Array(items)) => items
                .iter()
                .map(|item| item.as_str().map(str::to_owned))
                .collect::<Option<Vec<String>>>()
                .map(Some)
                .ok_or(InvalidRegistration::WrongType(name)),
            Some(_) => Err(InvalidRegistration::WrongType(name)),
        };
        Ok(Self {
            redirect_uris: list("redirect_uris")?.unwrap_or_default(),
            client_name: text("client_name")?,
            client_uri: text("client_uri")?,
            logo_uri: text("logo_uri")?,
            policy_uri: text("policy_uri")?,
            tos_uri: text("tos_uri")?,
            token_endpoint_auth_method: text("token_endpoint_auth_method")?,
            grant_types: list("grant_types")?,
            response_types: list("response_types")?,
            scope: text("scope")?,
            application_type: text("application_type")?,
            software_id: text("software_id")?,
            software_version: text("software_version")?,
            jwks: members.get("jwks").filter(|keys| !keys.is_null()).cloned(),
            jwks_uri: text("jwks_uri")?,
            has_software_statement: members.contains_key("software_statement"),
        })
    }
}

type Members = serde_json::Map<String, serde_json::Value>;

fn members(body: &[u8]) -> Result<Members, InvalidRegistration> {
    match crate::json::parse_strict(body, RegistrationRequest::MAX_DEPTH) {
        Some(serde_json::Value::Object(members)) => Ok(members),
        _ => Err(InvalidRegistration::NotAnObject),
    }
}

/// What a client says instead of what it said before (RFC 7592 §2.2). It replaces everything: what is left out is deleted.
#[derive(Clone, Debug)]
pub struct UpdateRequest {
    /// Who it says it is.
    pub client_id: String,
    /// Its secret, if it repeats it. It cannot choose one.
    pub client_secret: Option<ClientSecret>,
    /// Everything else.
    pub registration: RegistrationRequest,
}

/// Why a body is not an update of a registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidUpdate {
    /// It would be no registration either.
    #[error(transparent)]
    Registration(#[from] InvalidRegistration),
    /// "This request MUST include" the identifier.
    #[error("client_id is missing")]
    NoClientId,
    /// A member that is the server's to say.
    #[error("{0} is not the client's to say: leave it out")]
    NotItsOwn(&'static str),
}

impl UpdateRequest {
    /// What an update must not say (RFC 7592 §2.2).
    const NOT_ITS_OWN: [&'static str; 4] = [
        "registration_access_token",
        "registration_client_uri",
        "client_secret_expires_at",
        "client_id_issued_at",
    ];

    /// Reads a JSON body.
    ///
    /// # Errors
    /// [`InvalidUpdate`]
    pub fn parse(body: &[u8]) -> Result<Self, InvalidUpdate> {
        use serde_json::Value;

        let members = members(body)?;
        if let Some(name) = Self::NOT_ITS_OWN
            .into_iter()
            .find(|name| members.contains_key(*name))
        {
            return Err(InvalidUpdate::NotItsOwn(name));
        }
        let client_id = match members.get("client_id") {
            Some(Value::String(id)) => id.clone(),
            None | Some(Value::Null) => return Err(InvalidUpdate::NoClientId),
            Some(_) => return Err(InvalidRegistration::WrongType("client_id").into()),
        };
        let client_secret = match members.get("client_secret") {
            None | Some(Value::Null) => None,
            Some(Value::String(secret)) => {
                let secret = ClientSecret::present(secret);
                Some(secret.map_err(|_| InvalidRegistration::WrongType("client_secret"))?)
            }
            Some(_) => return Err(InvalidRegistration::WrongType("client_secret").into()),
        };
        Ok(Self {
            client_id,
            client_secret,
            registration: RegistrationRequest::of(&members)?,
        })
    }
}

/// Where a client manages its registration, and with what (RFC 7592 §3).
#[derive(Clone, Debug)]
pub struct ClientConfiguration {
    /// The address.
    pub registration_client_uri: String,
    /// The bearer token that opens it.
    pub registration_access_token: RegistrationAccessToken,
}

/// The answer to a registration (RFC 7591 §3.2.1) and to its management (RFC 7592 §3): every default spelled out, no null, no empty text; what it says is
/// what is stored.
#[derive(Clone, Debug)]
pub struct RegistrationResponse {
    /// The new identifier.
    pub client_id: ClientId,
    /// The secret, for a confidential client; shown this once.
    pub client_secret: Option<ClientSecret>,
    /// When the registration was made.
    pub client_id_issued_at: Timestamp,
    /// The redirect URIs that were kept.
    pub redirect_uris: Vec<RedirectUri>,
    /// What it calls itself.
    pub client_name: Option<String>,
    /// Its home page.
    pub client_uri: Option<String>,
    /// Where its logo is.
    pub logo_uri: Option<String>,
    /// Its privacy policy.
    pub policy_uri: Option<String>,
    /// Its terms of service.
    pub tos_uri: Option<String>,
    /// How it authenticates.
    pub token_endpoint_auth_method: TokenEndpointAuthMethod,
    /// The grants it may use.
    pub grant_types: Vec<GrantType>,
    /// The response types it may use.
    pub response_types: Vec<ResponseType>,
    /// The scope it may ask for; everything on offer when it named none.
    pub scope: Scope,
    /// Web or native, as its redirect URIs show.
    pub application_type: ApplicationType,
    /// Which software it is, as it says.
    pub software_id: Option<String>,
    /// Which version of it, as it says.
    pub software_version: Option<String>,
    /// Its public keys, where it keeps them here.
    pub jwks: Option<serde_json::Value>,
    /// Where its public keys are, otherwise.
    pub jwks_uri: Option<String>,
    /// How it can change all this; absent where it cannot.
    pub configuration: Option<ClientConfiguration>,
}

impl RegistrationResponse {
    /// The JSON body. `client_secret_expires_at` is 0, a number, and only beside a secret.
    pub fn body(&self) -> String {
        use serde_json::{Map, Value, json};

        let mut body = Map::new();
        let mut put = |name: &str, value: Value| body.insert(name.to_owned(), value);
        put("client_id", json!(self.client_id));
        if let Some(secret) = &self.client_secret {
            put("client_secret", json!(secret.expose()));
            put("client_secret_expires_at", json!(0));
        }
        put("client_id_issued_at", json!(self.client_id_issued_at));
        put("redirect_uris", json!(self.redirect_uris));
        for (name, value) in [
            ("client_name", &self.client_name),
            ("client_uri", &self.client_uri),
            ("logo_uri", &self.logo_uri),
            ("policy_uri", &self.policy_uri),
            ("tos_uri", &self.tos_uri),
            ("software_id", &self.software_id),
            ("software_version", &self.software_version),
            ("jwks_uri", &self.jwks_uri),
        ] {
            if let Some(value) = value {
                put(name, json!(value));
            }
        }
        if let Some(jwks) = &self.jwks {
            put("jwks", jwks.clone());
        }
        put(
            "token_endpoint_auth_method",
            json!(self.token_endpoint_auth_method),
        );
        put("grant_types", json!(self.grant_types));
        put("response_types", json!(self.response_types));
        put("application_type", json!(self.application_type));
        if !self.scope.is_empty() {
            put("scope", json!(self.scope));
        }
        if let Some(configuration) = &self.configuration {
            put(
                "registration_client_uri",
                json!(configuration.registration_client_uri),
            );
            let token = configuration.registration_access_token.expose();
            put("registration_access_token", json!(token));
        }
        Value::Object(body).to_string()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    /// DC-15, RFC 7592 §2.2
    #[test]
    fn an_update_says_who_it_is_from_and_nothing_that_is_the_servers() {
        let parse = |body: &str| UpdateRequest::parse(body.as_bytes()).map(|update| update.client_id);
        assert_eq!(
            parse(r#"{"client_id":"c","redirect_uris":[]}"#),
            Ok("c".to_owned())
        );
        assert_eq!(parse("{}"), Err(InvalidUpdate::NoClientId));
        assert_eq!(
            parse("[]"),
            Err(InvalidUpdate::Registration(InvalidRegistration::NotAnObject))
        );
        for name in [
            "registration_access_token",
            "registration_client_uri",
            "client_secret_expires_at",
            "client_id_issued_at",
        ] {
            let body = format!(r#"{{"client_id":"c","{name}":"x"}}"#);
            assert_eq!(parse(&body), Err(InvalidUpdate::NotItsOwn(name)));
        }
        for (body, name) in [
            (r#"{"client_id":7}"#, "client_id"),
            (r#"{"client_id":"c","client_secret":7}"#, "client_secret"),
            (r#"{"client_id":"c","client_secret":""}"#, "client_secret"),
        ] {
            let wrong = InvalidRegistration::WrongType(name);
            assert_eq!(parse(body), Err(InvalidUpdate::Registration(wrong)), "{body}");
        }
    }

    #[test]
    fn only_a_plain_json_object_is_a_registration() {
        for bad in [
            "",
            "null",
            "\"x\"",
            "[]",
            "{",
            "{\"a\":1,\"a\":2}",
            "\u{feff}{}",
            "{\"a\":NaN}",
            "{} {}",
            "a=b",
            &("{\"a\":".repeat(40) + "1" + &"}".repeat(40)),
        ] {
            assert_eq!(
                RegistrationRequest::parse(bad.as_bytes()).err(),
                Some(InvalidRegistration::NotAnObject),
                "{bad}"
            );
        }
        for bad in [
            "{\"redirect_uris\":null}",
            "{\"redirect_uris\":\"x\"}",
            "{\"redirect_uris\":[null]}",
            "{\"redirect_uris\":[[\"x\"]]}",
        ] {
            let wrong = InvalidRegistration::WrongType("redirect_uris");
            assert_eq!(
                RegistrationRequest::parse(bad.as_bytes()).err(),
                Some(wrong),
                "{bad}"
            );
        }
        let request =
            RegistrationRequest::parse(br#"{"redirect_uris":["https://a/b"],"client_name":"","x":{}}"#)
                .unwrap();
        assert_eq!(request.redirect_uris, ["https://a/b"]);
        assert_eq!(request.client_name, None);
        let nulls = br#"{"redirect_uris":["https://a/b"],"grant_types":null,"client_name":null}"#;
        assert_eq!(RegistrationRequest::parse(nulls).unwrap().grant_types, None);
        for bad in ["\\u0000", "a\\u001bb", "a\\nb", "\\u0085"] {
            let body = format!(r#"{{"redirect_uris":["https://a/b"],"client_name":"{bad}"}}"#);
            let wrong = InvalidRegistration::ControlCharacter("client_name");
            assert_eq!(
                RegistrationRequest::parse(body.as_bytes()).err(),
                Some(wrong),
                "{bad}"
            );
        }
    }
}
