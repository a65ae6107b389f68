//! Access tokens as they are made: opaque, or a JWT (RFC 9068).
//!
//! A JWT is kept in the store by its digest like any other, so whoever asks this server about one, or revokes it, finds it.

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use mcp_authflow_types::{AccessToken, ClientId, ErrorCode, ErrorResponse, Resource, Scope, Timestamp};
use serde_json::json;

use crate::{record::AccessTokenFormat, server::AuthorizationServer};

/// The media type of a JWT access token (RFC 9068 §2.1), as its `typ`.
pub(crate) const TYP: &str = "at+jwt";

/// The longest JWT that is issued. Common servers take 8 KiB of headers altogether; what is longer would be refused before
/// anybody reads it.
const MAX_BYTES: usize = 6 * 1024;

/// What an access token says, or stands for.
pub(crate) struct Said<'a> {
    pub(crate) client_id: &'a ClientId,
    pub(crate) subject: &'a str,
    pub(crate) resource: &'a Resource,
    pub(crate) scope: &'a Scope,
    pub(crate) issued_at: Timestamp,
    pub(crate) expires_at: Timestamp,
}

impl AuthorizationServer {
    /// Makes an access token. Nothing is stored yet.
    pub(crate) async fn make_access_token(
        &self,
        format: AccessTokenFormat,
        said: Said<'_>,
    ) -> Result<AccessToken, ErrorResponse> {
        let AccessTokenFormat::Jwt(algorithm) = format else {
            return Ok(AccessToken::mint(&self.entropy().draw(), said.expires_at));
        };
        // RFC 9068 §2.2. A name of its own, and nothing that could be used in its place: the store knows the token by the
        // digest of its whole text.
        let name: [u8; 16] = self.entropy().draw();
        let mut claims = json!({
            "iss": self.settings().issuer.as_str(),
            "sub": said.subject,
            "aud": said.resource.as_str(),
            "client_id": said.client_id.as_str(),
            "iat": said.issued_at.seconds(),
            "exp": said.expires_at.seconds(),
            "jti": BASE64_URL_SAFE_NO_PAD.encode(name),
        });
        if !said.scope.is_empty() {
            claims["scope"] = said.scope.to_string().into();
        }
        let signed = self
            .keys()
            .sign(algorithm, TYP, &claims, said.expires_at, said.issued_at);
        let text = signed.await?;
        if text.len() > MAX_BYTES {
            let mut refusal = ErrorResponse::new(ErrorCode::InvalidScope);
            refusal.detail = Some("the token would be too long for a header: ask for less scope".to_owned());
            return Err(refusal);
        }
        Ok(AccessToken::signed(text, said.expires_at))
    }
}
