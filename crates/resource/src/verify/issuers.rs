//! Tokens of several issuers: each goes to the verifier of the one that it names, and to no other.

use std::{fmt, sync::Arc};

use mcp_authflow_jose::{JwsRules, UnverifiedJws};
use mcp_authflow_types::Issuer;

use super::{TokenVerifier, VerifiedToken, VerifyError};

/// A token that names an issuer as a JWT does goes to that issuer's verifier; one that names none, to the main issuer's.
///
/// # Security
/// No issuer is shown the token of another, which it could use. What a verifier says of a token counts only in the name
/// of its own issuer: an authorization server cannot speak for another one.
pub(crate) struct ByIssuer {
    main: (Issuer, Arc<dyn TokenVerifier>),
    others: Vec<(Issuer, Arc<dyn TokenVerifier>)>,
    /// All there is to a token that is only asked whose it is.
    rules: JwsRules,
}

impl ByIssuer {
    pub(crate) fn new(
        main: (Issuer, Arc<dyn TokenVerifier>),
        others: Vec<(Issuer, Arc<dyn TokenVerifier>)>,
    ) -> Self {
        let rules = JwsRules {
            types: None,
            ..JwsRules::default()
        };
        Self { main, others, rules }
    }

    /// Whose token it says to be; nothing of it is proven.
    fn verifier_of(&self, token: &str) -> Option<&(Issuer, Arc<dyn TokenVerifier>)> {
        let Ok(jws) = UnverifiedJws::parse(token, &self.rules) else {
            return Some(&self.main);
        };
        let claims = jws.unverified_claims().ok()?;
        let named = claims.text("iss").ok()??;
        std::iter::once(&self.main)
            .chain(&self.others)
            .find(|(issuer, _)| issuer.as_str() == named)
    }
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
