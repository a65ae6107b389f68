//! What the introspection endpoint answers (RFC 7662 §2.2).

use crate::{ClientId, Resource, Scope, Timestamp};

/// An introspection answer: the truth about a live token, or nothing but `active: false`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IntrospectionResponse {
    /// Unknown, expired, revoked, or none of the caller's business; all look alike.
    Inactive,
    /// A live access token for a resource of the caller's.
    Active(ActiveToken),
}

/// What is said of a live access token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActiveToken {
    /// What it allows at its audience.
    pub scope: Scope,
    /// To whom it was issued.
    pub client_id: ClientId,
    /// On whose behalf; the client itself for client_credentials.
    pub subject: String,
    /// The one resource it is for, in its registered spelling.
    pub audience: Resource,
    /// Who issued it.
    pub issuer: String,
    /// From when on it is no good.
    pub expires_at: Timestamp,
    /// Since when it exists.
    pub issued_at: Timestamp,
    /// The person's name for showing, where there is one.
    pub username: Option<String>,
}

impl IntrospectionResponse {
    /// The JSON body: `active` is a JSON boolean, absent members are left out.
    pub fn body(&self) -> String {
        #[derive(serde::Serialize)]
        struct Body<'a> {
            active: bool,
            #[serde(skip_serializing_if = "Scope::is_empty")]
            scope: &'a Scope,
            client_id: &'a ClientId,
            #[serde(skip_serializing_if = "Option::is_none")]
            username: Option<&'a str>,
            token_type: &'static str,
            exp: Timestamp,
            iat: Timestamp,
            sub: &'a str,
            aud: &'a Resource,
            iss: &'a str,
        }
        match self {
            Self::Inactive => r#"{"active":false}"#.to_owned(),
            Self::Active(token) => {
                let body = Body {
                    active: true,
                    scope: &token.scope,
                    client_id: &token.client_id,
                    username: token.username.as_deref(),
                    token_type: "Bearer",
                    exp: token.expires_at,
                    iat: token.issued_at,
                    sub: &token.subject,
                    aud: &token.audience,
                    iss: &token.issuer,
                };
                // Strings and numbers cannot fail to serialize; were it to happen, nothing is let through.
                serde_json::to_string(&body).unwrap_or_else(|_| Self::Inactive.body())
            }
        }
    }
}
