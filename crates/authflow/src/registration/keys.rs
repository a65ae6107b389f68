//! The keys of a client that authenticates by `private_key_jwt` (RFC 7591 §2, RFC 7517).

use mcp_authflow_jose::{KeySet, KeySetError};
use mcp_authflow_types::uri::Uri;
use serde_json::Value;

use crate::record::ClientKeys;

/// Why the keys of a client cannot be registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidKeys {
    /// RFC 7591 §2: "The jwks_uri and jwks parameters MUST NOT both be present in the same request or response."
    #[error("jwks and jwks_uri exclude each other")]
    Both,
    /// `private_key_jwt` without keys proves nothing.
    #[error("private_key_jwt needs jwks or jwks_uri")]
    Missing,
    /// The set is too large, or none.
    #[error("jwks is no acceptable key set: {0}")]
    NotAKeySet(KeySetError),
    /// Whoever sends such a key has given it away.
    #[error("jwks holds a private or symmetric key")]
    Private,
    /// No key in it could ever verify an assertion.
    #[error("jwks holds no usable public key")]
    NoneUsable,
    /// Not an https address.
    #[error("jwks_uri is not an https address without user information and fragment")]
    BadUri,
}

/// Members that only a private or symmetric key has (RFC 7518 §6.2.2, §6.3.2, §6.4.1; RFC 8037 §2).
const PRIVATE_MEMBERS: &[&str] = &["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// The longest `jwks_uri`, in bytes; that of a redirect URI.
const MAX_URI_BYTES: usize = 2_048;

/// Judges the keys that a registration brings. Absent ones are `None`, whatever the method: the caller knows whether it
/// needs any.
pub(crate) fn client_keys(
    jwks: Option<&Value>,
    jwks_uri: Option<&str>,
) -> Result<Option<ClientKeys>, InvalidKeys> {
    match (jwks, jwks_uri) {
        (None, None) => Ok(None),
        (Some(_), Some(_)) => Err(InvalidKeys::Both),
        (Some(jwks), None) => {
            let text = jwks.to_string();
            let keys = KeySet::parse(text.as_bytes()).map_err(InvalidKeys::NotAKeySet)?;
            let is_private = |key: &Value| {
                key["kty"] == "oct" || PRIVATE_MEMBERS.iter().any(|member| key.get(member).is_some())
            };
            if jwks["keys"]
                .as_array()
                .is_some_and(|keys| keys.iter().any(is_private))
            {
                return Err(InvalidKeys::Private);
            }
            if keys.is_empty() {
                return Err(InvalidKeys::NoneUsable);
            }
            Ok(Some(ClientKeys::Jwks(text)))
        }
        (None, Some(uri)) => Uri::parse(uri)
            .filter(|parts| {
                uri.len() <= MAX_URI_BYTES
                    && parts.scheme.eq_ignore_ascii_case("https")
                    && parts.fragment.is_none()
                    && parts
                        .authority
                        .is_some_and(|authority| !authority.host.is_empty())
            })
            .map(|_| Some(ClientKeys::JwksUri(uri.to_owned())))
            .ok_or(InvalidKeys::BadUri),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use serde_json::json;

    use super::*;

    fn ed25519() -> Value {
        json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"})
    }

    /// RFC 7591 §2
    /// S-157
    /// JA-31
    #[test]
    fn keys_are_public_usable_few_and_in_one_place() {
        let good = json!({"keys": [ed25519(), {"kty": "unheard of"}]});
        assert!(matches!(
            client_keys(Some(&good), None),
            Ok(Some(ClientKeys::Jwks(_)))
        ));
        let uri = Some("https://client.example/jwks.json");
        assert!(matches!(client_keys(None, uri), Ok(Some(ClientKeys::JwksUri(_)))));
        assert_eq!(client_keys(None, None), Ok(None));
        assert_eq!(client_keys(Some(&good), uri), Err(InvalidKeys::Both));

        let mut private = ed25519();
        private["d"] = json!("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A");
        for (keys, problem) in [
            (json!({"keys": [ed25519(), private]}), InvalidKeys::Private),
            (
                json!({"keys": [ed25519(), {"kty": "oct", "k": "c2VjcmV0"}]}),
                InvalidKeys::Private,
            ),
            (json!({"keys": []}), InvalidKeys::NoneUsable),
            (
                json!({"keys": [{"kty": "RSA", "n": "AQAB", "e": "AQAB"}]}),
                InvalidKeys::NoneUsable,
            ),
        ] {
            assert_eq!(client_keys(Some(&keys), None), Err(problem), "{keys}");
        }
        for no_set in [
            json!({}),
            json!([]),
            json!("x"),
            json!({"keys": vec![ed25519(); 33]}),
        ] {
            let problem = client_keys(Some(&no_set), None).unwrap_err();
            assert!(matches!(problem, InvalidKeys::NotAKeySet(_)), "{problem}");
        }
        for bad in [
            "http://client.example/jwks.json",
            "https:///jwks.json",
            "https://user@client.example/jwks.json",
            "https://client.example/jwks.json#keys",
            "jwks.json",
            "javascript:alert(1)",
            &format!("https://client.example/{}", "a".repeat(2_048)),
        ] {
            assert_eq!(client_keys(None, Some(bad)), Err(InvalidKeys::BadUri), "{bad}");
        }
    }
}
