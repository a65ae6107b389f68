//! Tokens of several issuers: each goes to the verifier of the one that it names, and to no other.

use std::{fmt, sync::Arc};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use mcp_authflow_types::Issuer;
use serde_json::Value;

use super::{TokenVerifier, VerifiedToken, VerifyError};

/// A token that names an issuer as a JWT does goes to that issuer's verifier; one that names none, to the main issuer's.
///
/// # Security
/// No issuer is shown the token of another, which it could use. What a verifier says of a token counts only in the name
/// of its own issuer: an authorization server cannot speak for another one.
pub(crate) struct ByIssuer {
    main: (Issuer, Arc<dyn TokenVerifier>),
    others: Vec<(Issuer, Arc<dyn TokenVerifier>)>,
}

impl ByIssuer {
    pub(crate) fn new(
        main: (Issuer, Arc<dyn TokenVerifier>),
        others: Vec<(Issuer, Arc<dyn TokenVerifier>)>,
    ) -> Self {
        Self { main, others }
    }

    /// Whose token it says to be; nothing of it is proven.
    fn verifier_of(&self, token: &str) -> Option<&(Issuer, Arc<dyn TokenVerifier>)> {
        let Some(named) = issuer_named_in(token) else {
            return Some(&self.main);
        };
        std::iter::once(&self.main)
            .chain(&self.others)
            .find(|(issuer, _)| named == issuer.as_str())
    }
}

/// The `iss` of what has the form of a JWT, three parts of which the second holds a JSON object. Whatever else is odd
/// about it is for the verifier to judge: a kind of signature that is not known here makes it nobody else's token.
fn issuer_named_in(token: &str) -> Option<Value> {
    let (front, _signature) = token.rsplit_once('.')?;
    let (_header, payload) = front.split_once('.')?;
    let payload = URL_SAFE_NO_PAD.decode(payload.trim_end_matches('=')).ok()?;
    let mut claims: serde_json::Map<String, Value> = serde_json::from_slice(&payload).ok()?;
    claims.remove("iss")
}

#[async_trait::async_trait]
impl TokenVerifier for ByIssuer {
    async fn verify(&self, token: &str) -> Result<VerifiedToken, VerifyError> {
        let Some((issuer, verifier)) = self.verifier_of(token) else {
            return Err(VerifyError::Inactive);
        };
        let mut told = verifier.verify(token).await?;
        match &told.issuer {
            None => told.issuer = Some(issuer.as_str().to_owned()),
            Some(said) if said == issuer.as_str() => {}
            Some(said) => {
                tracing::warn!(%issuer, said, "an issuer speaks for another one");
                return Err(VerifyError::Inactive);
            }
        }
        Ok(told)
    }
}

impl fmt::Debug for ByIssuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let issuers: Vec<&str> = std::iter::once(&self.main)
            .chain(&self.others)
            .map(|(issuer, _)| issuer.as_str())
            .collect();
        f.debug_tuple("ByIssuer").field(&issuers).finish()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use std::sync::Mutex;

    use super::*;

    /// Believes everything, and notes what it was shown.
    #[derive(Default)]
    struct Credulous(Mutex<Vec<String>>);

    #[async_trait::async_trait]
    impl TokenVerifier for Credulous {
        async fn verify(&self, token: &str) -> Result<VerifiedToken, VerifyError> {
            self.0.lock().unwrap().push(token.to_owned());
            Ok(VerifiedToken::default())
        }
    }

    fn jwt(header: &str, payload: &str) -> String {
        format!(
            "{}.{}.c2ln",
            URL_SAFE_NO_PAD.encode(header),
            URL_SAFE_NO_PAD.encode(payload)
        )
    }

    /// A token goes to the issuer that it names, also when its signature is of a kind that is not known here, and to nobody
    /// when that is a third one.
    #[tokio::test]
    async fn nobody_is_shown_the_token_of_another_issuer() {
        let (main, other) = (Arc::new(Credulous::default()), Arc::new(Credulous::default()));
        let issuer = |text: &str| Issuer::parse(text).unwrap();
        let tokens = ByIssuer::new(
            (issuer("https://main.test"), Arc::<Credulous>::clone(&main)),
            vec![(issuer("https://other.test"), Arc::<Credulous>::clone(&other))],
        );
        let of_main = r#"{"iss":"https://main.test"}"#;
        let of_other = r#"{"iss":"https://other.test"}"#;
        for header in [
            r#"{"alg":"ES256"}"#,
            r#"{"alg":"ES256K"}"#,
            r#"{"alg":"HS256"}"#,
            r#"{"alg":"ES256","crit":["x"],"x":1}"#,
            r#"{"alg":"ES256","alg":"ES256"}"#,
            "{}",
        ] {
            tokens.verify(&jwt(header, of_other)).await.unwrap();
            assert_eq!(
                (main.0.lock().unwrap().len(), other.0.lock().unwrap().len()),
                (0, 1),
                "{header}"
            );
            other.0.lock().unwrap().clear();
            tokens.verify(&jwt(header, of_main)).await.unwrap();
            assert_eq!(main.0.lock().unwrap().drain(..).len(), 1, "{header}");
            for third in [
                r#"{"iss":"https://third.test"}"#,
                r#"{"iss":["https://main.test"]}"#,
            ] {
                assert_eq!(
                    tokens.verify(&jwt(header, third)).await,
                    Err(VerifyError::Inactive),
                    "{header}"
                );
            }
        }
        // What names nobody is the main issuer's.
        for nobodys in [
            "mcpat_x",
            "a.b.c",
            "a.b.c.d.e",
            &jwt("{}", "{}"),
            &jwt("{}", "text"),
        ] {
            let told = tokens.verify(nobodys).await.unwrap();
            assert_eq!(told.issuer.as_deref(), Some("https://main.test"), "{nobodys}");
        }
        assert!(other.0.lock().unwrap().is_empty());
    }
}
