//! What the token endpoint answers (RFC 6749 §5.1).

use crate::{AccessToken, RefreshToken, Scope};

/// A successful token response. `scope` is always said, since it may be narrower than what was asked for.
#[derive(Clone, Debug)]
pub struct TokenResponse {
    /// The access token, always of type `Bearer` (RFC 6750).
    pub access_token: AccessToken,
    /// Seconds until the access token expires.
    pub expires_in: u64,
    /// The refresh token, when there is one.
    pub refresh_token: Option<RefreshToken>,
    /// What was granted.
    pub scope: Scope,
}

impl TokenResponse {
    /// The JSON body. The tokens are the one place where they leave the server.
    pub fn body(&self) -> String {
        #[derive(serde::Serialize)]
        struct Body<'a> {
            access_token: &'a str,
            token_type: &'static str,
            expires_in: u64,
            #[serde(skip_serializing_if = "Option::is_none")]
            refresh_token: Option<&'a str>,
            #[serde(skip_serializing_if = "Scope::is_empty")]
            scope: &'a Scope,
        }
        let body = Body {
            access_token: self.access_token.expose(),
            token_type: "Bearer",
            expires_in: self.expires_in,
            refresh_token: self.refresh_token.as_ref().map(RefreshToken::expose),
            scope: &self.scope,
        };
        // Strings, numbers and a set of strings cannot fail to serialize.
        serde_json::to_string(&body).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Timestamp;

    #[test]
    fn the_body_is_that_of_rfc_6749_section_5_1() {
        let access_token = AccessToken::mint(&[0; 32], Timestamp::from_seconds(0));
        let text = access_token.expose().to_owned();
        let response = TokenResponse {
            access_token,
            expires_in: 600,
            refresh_token: None,
            scope: Scope::empty(),
        };
        assert_eq!(
            response.body(),
            format!(r#"{{"access_token":"{text}","token_type":"Bearer","expires_in":600}}"#)
        );
    }
}
