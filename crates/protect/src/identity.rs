//! Who is calling, told to the upstream in a short-lived signed JWT: the header `Authflow-Identity`.
//!
//! The upstream finds the keys at the authorization server's `jwks_uri` and checks signature, `typ`, `iss`, `aud` and
//! `exp` as for any JWT (RFC 7519 §7.2). An upstream that does not care ignores the header.

use http::{HeaderName, HeaderValue};
use mcp_authflow_resource::Caller;
use mcp_authflow_types::{ClientId, Timestamp};
use serde_json::{Map, Value, json};

/// The header that carries the identity. Whatever a client sends under this name, in any spelling, is removed.
pub const IDENTITY_HEADER: HeaderName = HeaderName::from_static("authflow-identity");

/// The `typ` of the JWT (RFC 8725 §3.11), so that it cannot be taken for an access token or the other way round.
pub const IDENTITY_TYP: &str = "authflow-identity+jwt";

/// The member of `_meta` that carries the identity to a server that is spoken to over stdio. A client's own value of it
/// is removed.
pub const IDENTITY_META: &str = "io.github.mcp-authflow/identity";

/// How long an identity is good, in seconds. Each request gets its own, so this covers only the way to the upstream and
/// clocks that differ.
pub const IDENTITY_SECONDS: i64 = 60;

/// What the upstream is told about the caller of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Identity {
    /// For whom the statement is meant: the upstream's URL as configured (`aud`).
    pub audience: String,
    /// Who issued the caller's token, when that is known. Told (`token_iss`) when it is not the issuer of the identity
    /// itself: two issuers may have the same subjects.
    pub token_issuer: Option<String>,
    /// On whose behalf the client calls (`sub`); the stable identifier.
    pub subject: Option<String>,
    /// Through which client (`client_id`).
    pub client_id: Option<String>,
    /// The person's name, for showing only (`username`).
    pub username: Option<String>,
    /// What the caller's token allows (`scope`).
    pub scope: String,
}

impl Identity {
    /// What is said of `caller` to `audience`.
    pub fn of(caller: &Caller, audience: &str) -> Self {
        Self {
            audience: audience.to_owned(),
            token_issuer: caller.token().issuer.clone(),
            subject: caller.subject().map(str::to_owned),
            client_id: caller.client_id().map(|id| ClientId::as_str(id).to_owned()),
            username: caller.username().map(str::to_owned),
            scope: caller.scope().to_string(),
        }
    }

    /// The claims to sign: `iss`, `aud`, `iat`, `exp` ([`IDENTITY_SECONDS`] later), `jti`, `scope`, and those of `sub`,
    /// `client_id`, `username` and `token_iss` that are known. The JWT's `typ` is [`IDENTITY_TYP`].
    pub fn claims(&self, issuer: &str, now: Timestamp, jti: &str) -> Map<String, Value> {
        let issued_at = now.seconds();
        let mut claims = Map::new();
        for (name, value) in [
            ("iss", json!(issuer)),
            ("aud", json!(self.audience)),
            ("iat", json!(issued_at)),
            ("exp", json!(issued_at.saturating_add(IDENTITY_SECONDS))),
            ("jti", json!(jti)),
            ("scope", json!(self.scope)),
        ] {
            claims.insert(name.to_owned(), value);
        }
        let other_issuer = self.token_issuer.clone().filter(|theirs| theirs != issuer);
        for (name, value) in [
            ("token_iss", &other_issuer),
            ("sub", &self.subject),
            ("client_id", &self.client_id),
            ("username", &self.username),
        ] {
            if let Some(value) = value {
                claims.insert(name.to_owned(), json!(value));
            }
        }
        claims
    }
}

/// Signs what is said about a caller.
///
/// # Security
/// The upstream believes it. Sign with a key that signs nothing chosen by a client under the same `typ`.
#[async_trait::async_trait]
pub trait IdentitySigner: Send + Sync {
    /// The compact JWT. Asked once a request, so it has to be quick.
    ///
    /// # Errors
    /// [`CannotSign`]: the request is answered with 503 and not passed on.
    async fn sign(&self, identity: Identity) -> Result<HeaderValue, CannotSign>;
}

/// The identity cannot be signed at the moment; the text is for the log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the caller's identity cannot be signed: {0}")]
pub struct CannotSign(pub String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_claims_say_who_for_whom_and_until_when() {
        let identity = Identity {
            audience: "http://127.0.0.1:9000/mcp".to_owned(),
            token_issuer: Some("https://auth.example".to_owned()),
            subject: Some("u1".to_owned()),
            client_id: Some("c1".to_owned()),
            username: None,
            scope: "notes:read".to_owned(),
        };
        let claims = identity.claims("https://auth.example", Timestamp::from_seconds(1_000), "j1");
        assert_eq!(
            Value::Object(claims),
            json!({
                "iss": "https://auth.example", "aud": "http://127.0.0.1:9000/mcp", "iat": 1_000, "exp": 1_060,
                "jti": "j1", "sub": "u1", "client_id": "c1", "scope": "notes:read",
            })
        );
    }
}
