//! What an issuer says of itself (RFC 8414): found at the addresses where clients look for it, and believed only when it is
//! the issuer's own.

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::Full;
use mcp_authflow_types::{Issuer, json::parse_strict, metadata::well_known_paths};
use serde_json::{Map, Value};

use crate::{outbound::Outbound, verify::CannotCheck};

/// The deepest document read.
const MAX_DEPTH: usize = 16;

/// The metadata of one issuer.
#[derive(Clone, Debug)]
pub struct IssuerMetadata {
    body: Bytes,
    members: Map<String, Value>,
}

impl IssuerMetadata {
    /// Asks for it, at one spelling of its address after the other as long as the answer is that there is none (4xx).
    ///
    /// # Errors
    /// [`CannotCheck`], logged: also for a document that is not strict JSON, and for one that names another issuer, which
    /// "MUST NOT be used" (RFC 8414 §3.3).
    pub async fn ask(outbound: &Outbound, issuer: &Issuer) -> Result<Self, CannotCheck> {
        for path in well_known_paths(issuer) {
            let url = format!("{}{path}", issuer.origin());
            let request = Request::get(&url)
                .header(header::ACCEPT, "application/json")
                .body(Full::default())
                .map_err(|_| CannotCheck::BadAnswer)?;
            let answer = outbound.send(request).await?;
            let status = answer.status();
            if status.is_client_error() {
                continue;
            }
            if status != StatusCode::OK {
                tracing::warn!(url, %status, "the issuer's metadata is not given out");
                return Err(if status.is_server_error() {
                    CannotCheck::Refused
                } else {
                    CannotCheck::BadAnswer
                });
            }
            return Self::read(answer.into_body(), issuer).ok_or_else(|| {
                tracing::warn!(url, "the issuer's metadata is none, or another issuer's");
                CannotCheck::BadAnswer
            });
        }
        tracing::warn!(%issuer, "the issuer publishes no metadata");
        Err(CannotCheck::BadAnswer)
    }

    fn read(body: Bytes, issuer: &Issuer) -> Option<Self> {
        let Some(Value::Object(members)) = parse_strict(&body, MAX_DEPTH) else {
            return None;
        };
        let is_its_own = members.get("issuer")?.as_str()? == issuer.as_str();
        is_its_own.then_some(Self { body, members })
    }

    /// A member that is a text, such as `jwks_uri` or `introspection_endpoint`. Whether it is an address that may be asked
    /// is said by [`Outbound::endpoint`].
    pub fn text(&self, member: &str) -> Option<&str> {
        self.members.get(member)?.as_str()
    }

    /// The document, byte for byte.
    pub const fn body(&self) -> &Bytes {
        &self.body
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    /// RFC 8414 §3.3
    #[test]
    fn only_the_issuers_own_word_is_believed() {
        let issuer = Issuer::parse("https://auth.example/t").unwrap();
        let read = |text: &'static str| IssuerMetadata::read(Bytes::from_static(text.as_bytes()), &issuer);
        let text = r#"{"issuer":"https://auth.example/t", "jwks_uri":"https://auth.example/jwks", "x":1}"#;
        let metadata = read(text).unwrap();
        assert_eq!(metadata.text("jwks_uri"), Some("https://auth.example/jwks"));
        assert_eq!((metadata.text("x"), metadata.text("y")), (None, None));
        assert_eq!(metadata.body(), text);
        for bad in [
            "",
            "[]",
            "{}",
            r#"{"issuer":1}"#,
            r#"{"issuer":"https://auth.example"}"#,
            r#"{"issuer":"https://auth.example/t/"}"#,
            r#"{"issuer":"https://auth.example/t","jwks_uri":"https://a.example","jwks_uri":"https://b.example"}"#,
        ] {
            assert!(read(bad).is_none(), "{bad}");
        }
    }
}
