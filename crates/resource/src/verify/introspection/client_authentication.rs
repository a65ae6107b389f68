//! How the resource proves who it is when it asks about a token (RFC 7662 §2.1).

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use base64::Engine as _;
use form_urlencoded::Serializer;
use http::HeaderValue;
use mcp_authflow_jose::{SigningKey, SigningKeyError};
use mcp_authflow_types::{ClientSecret, Timestamp};
use serde_json::json;
use zeroize::Zeroizing;

/// The longest client id or secret, in bytes: an assertion or a header of some kilobytes still passes everywhere.
const MAX_BYTES: usize = 4_096;
/// RFC 7523 §3: short, because it is made for one question.
const ASSERTION_LIFETIME: Duration = Duration::from_secs(60);
/// RFC 7523 §2.2
const JWT_CLIENT_ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// A secret text: shown by nothing, wiped when dropped.
#[derive(Clone)]
pub struct Credential(Zeroizing<String>);

impl From<&str> for Credential {
    fn from(secret: &str) -> Self {
        Self(Zeroizing::new(secret.to_owned()))
    }
}

impl From<String> for Credential {
    fn from(secret: String) -> Self {
        Self(Zeroizing::new(secret))
    }
}

impl Credential {
    /// Whether it is one that an authorization server of ours gives: 1 to 512 printable ASCII characters.
    pub(crate) fn is_a_client_secret(&self) -> bool {
        ClientSecret::present(&self.0).is_ok()
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credential(…)")
    }
}

/// How the resource proves who it is: one of the ways that exist, with what that way needs (S-220, S-221).
#[derive(Clone, Debug)]
pub enum ClientAuthentication {
    /// Not at all.
    ///
    /// # Security
    /// For authorization servers that know their callers by the network. One that answers anybody lets anybody try
    /// tokens out (RFC 7662 §4).
    None,
    /// `Authorization: Basic`, id and secret form-encoded each before they are joined (RFC 6749 §2.3.1).
    ClientSecretBasic {
        /// Who asks.
        client_id: String,
        /// The secret; may be empty where the authorization server gave an empty one (RFC 6749 Appendix A.2).
        client_secret: Credential,
    },
    /// `client_id` and `client_secret` in the form (RFC 6749 §2.3.1).
    ClientSecretPost {
        /// Who asks.
        client_id: String,
        /// The secret; may be empty where the authorization server gave an empty one.
        client_secret: Credential,
    },
    /// `Authorization: Bearer`, a token of the resource's own.
    Bearer {
        /// The token.
        token: Credential,
    },
    /// A JWT signed for each question anew (RFC 7523 §2.2), so that no secret ever travels.
    PrivateKeyJwt {
        /// Who asks: `iss` and `sub`.
        client_id: String,
        /// The key whose public half the authorization server knows.
        key: Arc<SigningKey>,
        /// For whom the JWT is: `aud`. `None`: the issuer that the resource trusts.
        audience: Option<String>,
    },
}

/// Why the resource could not prove who it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidClientAuthentication {
    /// There is no such way.
    #[error(
        "{0:?} is no way to authenticate at an introspection endpoint: it is none, client_secret_basic, \
         client_secret_post, bearer or private_key_jwt"
    )]
    UnknownMethod(String),
    /// The way needs something that is not there.
    #[error("{method} needs {what}")]
    Missing {
        /// The way.
        method: &'static str,
        /// What is not there.
        what: &'static str,
    },
    /// The bearer token cannot stand in a header.
    #[error("the token with which the resource asks is 1 to 4096 printable ASCII characters")]
    BearerToken,
    /// An id or a secret that nobody has.
    #[error("the client id and the client secret of introspection have at most 4096 bytes each")]
    TooLong,
    /// The system has no randomness.
    #[error("the system gives no randomness for the identifiers of client assertions")]
    NoRandomness,
}

impl ClientAuthentication {
    /// [`ClientSecretBasic`](Self::ClientSecretBasic), the usual way.
    pub fn client_secret_basic(client_id: impl Into<String>, client_secret: impl Into<Credential>) -> Self {
        Self::ClientSecretBasic {
            client_id: client_id.into(),
            client_secret: client_secret.into(),
        }
    }

    /// [`ClientSecretPost`](Self::ClientSecretPost).
    pub fn client_secret_post(client_id: impl Into<String>, client_secret: impl Into<Credential>) -> Self {
        Self::ClientSecretPost {
            client_id: client_id.into(),
            client_secret: client_secret.into(),
        }
    }

    /// [`Bearer`](Self::Bearer).
    pub fn bearer(token: impl Into<Credential>) -> Self {
        Self::Bearer { token: token.into() }
    }

    /// [`PrivateKeyJwt`](Self::PrivateKeyJwt) for the issuer that the resource trusts.
    pub fn private_key_jwt(client_id: impl Into<String>, key: SigningKey) -> Self {
        Self::PrivateKeyJwt {
            client_id: client_id.into(),
            key: Arc::new(key),
            audience: None,
        }
    }

    /// The way that a configuration names by its registered name, with the credentials it holds. Without a name:
    /// `client_secret_basic` when there is a secret, else none at all. `private_key_jwt` needs a key, which a
    /// configuration does not hold; make it with [`private_key_jwt`](Self::private_key_jwt).
    ///
    /// ```
    /// use mcp_authflow_resource::verify::ClientAuthentication;
    ///
    /// assert!(ClientAuthentication::named(Some("client_secret_post"), Some("rs"), Some("secret")).is_ok());
    /// assert!(ClientAuthentication::named(Some("client_secret_post"), Some("rs"), None).is_err());
    /// assert!(ClientAuthentication::named(Some("client_secret_pots"), Some("rs"), Some("secret")).is_err());
    /// ```
    ///
    /// # Errors
    /// [`InvalidClientAuthentication`]: an unknown name, and authentication without the credentials for it. Neither is
    /// ever taken for no authentication.
    pub fn named(
        method: Option<&str>,
        client_id: Option<&str>,
        client_secret: Option<&str>,
    ) -> Result<Self, InvalidClientAuthentication> {
        let both = |method: &'static str| match (client_id, client_secret) {
            (Some(id), Some(secret)) => Ok((id.to_owned(), Credential::from(secret))),
            (None, _) => Err(InvalidClientAuthentication::Missing {
                method,
                what: "a client id",
            }),
            (_, None) => Err(InvalidClientAuthentication::Missing {
                method,
                what: "a client secret",
            }),
        };
        match method {
            Some("none") => Ok(Self::None),
            None if client_secret.is_none() => Ok(Self::None),
            None | Some("client_secret_basic") => {
                let (client_id, client_secret) = both("client_secret_basic")?;
                Ok(Self::ClientSecretBasic {
                    client_id,
                    client_secret,
                })
            }
            Some("client_secret_post") => {
                let (client_id, client_secret) = both("client_secret_post")?;
                Ok(Self::ClientSecretPost {
                    client_id,
                    client_secret,
                })
            }
            Some("bearer") => match client_secret {
                Some(token) => Ok(Self::bearer(token)),
                None => Err(InvalidClientAuthentication::Missing {
                    method: "bearer",
                    what: "a token, in the place of the client secret",
                }),
            },
            Some("private_key_jwt") => Err(InvalidClientAuthentication::Missing {
                method: "private_key_jwt",
                what: "a signing key",
            }),
            Some(other) => Err(InvalidClientAuthentication::UnknownMethod(other.to_owned())),
        }
    }

    /// The same for this issuer, where it needs to know one and was not told another.
    pub(crate) fn for_issuer(mut self, issuer: &str) -> Self {
        if let Self::PrivateKeyJwt { audience, .. } = &mut self {
            audience.get_or_insert_with(|| issuer.to_owned());
        }
        self
    }
}

/// What goes into a request; made once, because it is the same each time, but for the assertion.
#[derive(Debug)]
pub(super) enum Credentials {
    Nothing,
    /// Marked sensitive, so that nothing prints it.
    Header(HeaderValue),
    Members {
        client_id: String,
        client_secret: Credential,
    },
    Assertion(Assertion),
}

impl Credentials {
    pub(super) fn prepare(authentication: ClientAuthentication) -> Result<Self, InvalidClientAuthentication> {
        let bounded = |text: &str| {
            if text.len() <= MAX_BYTES {
                Ok(())
            } else {
                Err(InvalidClientAuthentication::TooLong)
            }
        };
        match authentication {
            ClientAuthentication::None => Ok(Self::Nothing),
            ClientAuthentication::ClientSecretBasic {
                client_id,
                client_secret,
            } => {
                bounded(&client_id)?;
                bounded(&client_secret.0)?;
                Ok(Self::Header(basic(&client_id, &client_secret.0)))
            }
            ClientAuthentication::ClientSecretPost {
                client_id,
                client_secret,
            } => {
                bounded(&client_id)?;
                bounded(&client_secret.0)?;
                Ok(Self::Members {
                    client_id,
                    client_secret,
                })
            }
            ClientAuthentication::Bearer { token } => bearer(&token.0).map(Self::Header),
            ClientAuthentication::PrivateKeyJwt {
                client_id,
                key,
                audience,
            } => Assertion::prepare(client_id, key, audience).map(Self::Assertion),
        }
    }

    /// Puts what stands in the form into the form, and gives back what stands in the header.
    pub(super) fn present(
        &self,
        form: &mut Serializer<'_, String>,
        now: Timestamp,
    ) -> Result<Option<HeaderValue>, SigningKeyError> {
        match self {
            Self::Nothing => {}
            Self::Header(value) => return Ok(Some(value.clone())),
            Self::Members {
                client_id,
                client_secret,
            } => {
                form.append_pair("client_id", client_id)
                    .append_pair("client_secret", &client_secret.0);
            }
            Self::Assertion(assertion) => {
                form.append_pair("client_id", &assertion.client_id)
                    .append_pair("client_assertion_type", JWT_CLIENT_ASSERTION_TYPE)
                    .append_pair("client_assertion", &assertion.sign(now)?);
            }
        }
        Ok(None)
    }
}

/// RFC 6749 §2.3.1: id and secret are form-encoded each, then joined by a colon.
fn basic(client_id: &str, client_secret: &str) -> HeaderValue {
    let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let pair = Zeroizing::new(format!("{}:{}", encode(client_id), encode(client_secret)));
    let value = format!("Basic {}", base64::prelude::BASE64_STANDARD.encode(&*pair));
    // Base64 is printable ASCII; an empty value would be refused by any server.
    let mut value = HeaderValue::try_from(value).unwrap_or(HeaderValue::from_static(""));
    value.set_sensitive(true);
    value
}

fn bearer(token: &str) -> Result<HeaderValue, InvalidClientAuthentication> {
    let no = InvalidClientAuthentication::BearerToken;
    if !(1..=MAX_BYTES).contains(&token.len()) || !token.bytes().all(|b| matches!(b, b' '..=b'~')) {
        return Err(no);
    }
    let mut value = HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| no)?;
    value.set_sensitive(true);
    Ok(value)
}

/// Signs a JWT for each question.
#[derive(Debug)]
pub(super) struct Assertion {
    client_id: String,
    key: Arc<SigningKey>,
    audience: String,
    /// Random once a verifier; with the count behind it, no two assertions of any process share a `jti`.
    run: String,
    count: AtomicU64,
}

impl Assertion {
    fn prepare(
        client_id: String,
        key: Arc<SigningKey>,
        audience: Option<String>,
    ) -> Result<Self, InvalidClientAuthentication> {
        let missing = |what| InvalidClientAuthentication::Missing {
            method: "private_key_jwt",
            what,
        };
        if client_id.is_empty() {
            return Err(missing("a client id"));
        }
        if client_id.len() > MAX_BYTES {
            return Err(InvalidClientAuthentication::TooLong);
        }
        let audience = audience
            .filter(|audience| !audience.is_empty())
            .ok_or(missing("an audience: the authorization server's issuer"))?;
        let mut random = [0; 16];
        #[expect(
            clippy::disallowed_methods,
            reason = "drawn once a verifier; no rule depends on it, and no test could want to repeat it"
        )]
        getrandom::fill(&mut random).map_err(|_| InvalidClientAuthentication::NoRandomness)?;
        Ok(Self {
            client_id,
            key,
            audience,
            run: base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(random),
            count: AtomicU64::new(0),
        })
    }

    /// RFC 7523 §3
    fn sign(&self, now: Timestamp) -> Result<String, SigningKeyError> {
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        self.key.sign(
            "JWT",
            &json!({
                "iss": self.client_id,
                "sub": self.client_id,
                "aud": self.audience,
                "iat": now.seconds(),
                "exp": (now + ASSERTION_LIFETIME).seconds(),
                "jti": format!("{}.{number}", self.run),
            }),
        )
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use mcp_authflow_jose::{Algorithm, JwsRules, KeySet, UnverifiedJws};

    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);

    fn presented(authentication: ClientAuthentication) -> (Option<String>, String) {
        let credentials = Credentials::prepare(authentication).unwrap();
        let mut form = Serializer::new(String::new());
        let header = credentials.present(&mut form, NOW).unwrap();
        if let Some(header) = &header {
            assert_eq!(format!("{header:?}"), "Sensitive");
        }
        let header = header.map(|value| value.to_str().unwrap().to_owned());
        (header, form.finish())
    }

    /// S-226, RFC 6749 §2.3.1
    #[test]
    fn credentials_are_form_encoded_before_they_are_joined() {
        let (header, form) = presented(ClientAuthentication::client_secret_basic(
            "https://c.test/a+b",
            "p% +/=&é",
        ));
        let encoded = header.unwrap();
        let pair = base64::prelude::BASE64_STANDARD
            .decode(encoded.strip_prefix("Basic ").unwrap())
            .unwrap();
        assert_eq!(pair, b"https%3A%2F%2Fc.test%2Fa%2Bb:p%25+%2B%2F%3D%26%C3%A9");
        assert_eq!(form, "");
    }

    /// S-226
    #[test]
    fn credentials_stand_in_the_form_or_in_the_header_and_never_in_both() {
        let post = ClientAuthentication::client_secret_post("a b", "c&d=e");
        assert_eq!(
            presented(post),
            (None, "client_id=a+b&client_secret=c%26d%3De".to_owned())
        );
        let bearer = ClientAuthentication::bearer("s3cret");
        assert_eq!(
            presented(bearer),
            (Some("Bearer s3cret".to_owned()), String::new())
        );
        assert_eq!(presented(ClientAuthentication::None), (None, String::new()));
    }

    /// S-226, RFC 7523 §3
    #[test]
    fn each_question_has_an_assertion_of_its_own() {
        let key = SigningKey::generate(Algorithm::Es256).unwrap();
        let keys = KeySet::parse(json!({"keys": [key.public_jwk()]}).to_string().as_bytes()).unwrap();
        let authentication = ClientAuthentication::private_key_jwt("rs", key).for_issuer("https://auth.test");
        let credentials = Credentials::prepare(authentication).unwrap();
        let mut identifiers = std::collections::BTreeSet::new();
        for _ in 0..3 {
            let mut form = Serializer::new(String::new());
            assert_eq!(credentials.present(&mut form, NOW).unwrap(), None);
            let form: std::collections::BTreeMap<_, _> = form_urlencoded::parse(form.finish().as_bytes())
                .into_owned()
                .collect();
            assert_eq!(form["client_id"], "rs");
            assert_eq!(form["client_assertion_type"], JWT_CLIENT_ASSERTION_TYPE);
            let jws = UnverifiedJws::parse(&form["client_assertion"], &JwsRules::default()).unwrap();
            let mut claims = jws.verify(&keys).unwrap().claims().unwrap().members().clone();
            let identifier = claims.remove("jti").unwrap();
            identifiers.insert(identifier.as_str().unwrap().to_owned());
            assert_eq!(
                serde_json::Value::Object(claims),
                json!({"iss": "rs", "sub": "rs", "aud": "https://auth.test", "iat": NOW.seconds(), "exp": NOW.seconds() + 60})
            );
        }
        assert_eq!(identifiers.len(), 3);
    }

    #[test]
    fn a_named_audience_is_kept() {
        let authentication = ClientAuthentication::PrivateKeyJwt {
            client_id: "rs".to_owned(),
            key: Arc::new(SigningKey::generate(Algorithm::Es256).unwrap()),
            audience: Some("https://auth.test/introspect".to_owned()),
        };
        let ClientAuthentication::PrivateKeyJwt { audience, .. } =
            authentication.for_issuer("https://auth.test")
        else {
            panic!("it stays what it was");
        };
        assert_eq!(audience.as_deref(), Some("https://auth.test/introspect"));
    }

    /// S-220, S-221
    #[test]
    fn authentication_is_never_silently_off() {
        use InvalidClientAuthentication as No;
        let named = |method, id, secret| ClientAuthentication::named(method, id, secret).map(presented);
        let nothing = (None, String::new());
        for (method, id, secret) in [
            (None, None, None),
            (None, Some("rs"), None),
            (Some("none"), Some("rs"), Some("s")),
        ] {
            assert_eq!(named(method, id, secret), Ok(nothing.clone()));
        }
        assert_eq!(
            named(None, Some("rs"), Some("s")).unwrap().0.unwrap(),
            "Basic cnM6cw=="
        );
        for (method, id, secret) in [
            (None, None, Some("s")),
            (Some("client_secret_basic"), None, Some("s")),
            (Some("client_secret_basic"), Some("rs"), None),
            (Some("client_secret_post"), None, Some("s")),
            (Some("client_secret_post"), Some("rs"), None),
            (Some("bearer"), Some("rs"), None),
            (Some("private_key_jwt"), Some("rs"), Some("s")),
        ] {
            let refused = named(method, id, secret).unwrap_err();
            assert!(matches!(refused, No::Missing { .. }), "{method:?}: {refused}");
        }
        for method in ["", "CLIENT_SECRET_BASIC", "tls_client_auth"] {
            let refused = named(Some(method), Some("rs"), Some("s")).unwrap_err();
            assert_eq!(refused, No::UnknownMethod(method.to_owned()));
        }
        let refused = |authentication| Credentials::prepare(authentication).unwrap_err();
        for token in ["", "é", "a\r\nb"] {
            assert_eq!(refused(ClientAuthentication::bearer(token)), No::BearerToken);
        }
        let long = "x".repeat(MAX_BYTES + 1);
        assert_eq!(
            refused(ClientAuthentication::client_secret_post("rs", long)),
            No::TooLong
        );
        let key = SigningKey::generate(Algorithm::Es256).unwrap();
        let refused = refused(ClientAuthentication::private_key_jwt("rs", key));
        assert!(refused.to_string().contains("audience"), "{refused}");
    }

    #[test]
    fn no_secret_is_shown_by_debug() {
        for authentication in [
            ClientAuthentication::client_secret_basic("rs", "hush-hush"),
            ClientAuthentication::client_secret_post("rs", "hush-hush"),
            ClientAuthentication::bearer("hush-hush"),
        ] {
            let shown = format!(
                "{authentication:?} {:?}",
                Credentials::prepare(authentication.clone())
            );
            assert!(!shown.contains("hush"), "{shown}");
        }
    }
}
