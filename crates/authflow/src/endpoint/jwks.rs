//! The key set (RFC 7517 §5, at the `jwks_uri` of RFC 8414 §2), and what is signed by its keys.

use mcp_authflow_types::{ErrorResponse, Timestamp};
use serde_json::Value;

use crate::{
    keys::{PublishedKeys, SigningError},
    record::SigningAlgorithm,
    server::AuthorizationServer,
};

impl AuthorizationServer {
    /// The public keys by which tokens of this server are verified: those that sign, those that will soon, and those of
    /// which tokens may still be alive.
    ///
    /// # Errors
    /// `temporarily_unavailable` when the store cannot be asked and was not asked for some time. Whoever verifies goes on
    /// with the set that it has.
    pub async fn jwks(&self) -> Result<PublishedKeys, ErrorResponse> {
        Ok(self.keys().published(self.now()).await?)
    }

    /// Signs a JWT with the key whose turn it is, by ES256; whoever reads it verifies it by [`jwks`](Self::jwks).
    ///
    /// `typ` says what kind of token it is (RFC 8725 §3.11), so that one kind is never taken for another. The claims are
    /// an object, with `exp` in whole seconds: a key is published as long as what it signed may be read.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use mcp_authflow::{AuthorizationServer, keys::SigningError};
    /// # async fn example(server: &AuthorizationServer, now: i64) -> Result<String, SigningError> {
    /// let claims = serde_json::json!({
    ///     "iss": server.settings().issuer.as_str(),
    ///     "aud": "http://127.0.0.1:9000/mcp",
    ///     "sub": "u_1",
    ///     "iat": now,
    ///     "exp": now + 60,
    /// });
    /// server.sign("authflow-identity+jwt", &claims).await
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`SigningError`], which is also an [`ErrorResponse`]: 503 when the store cannot be asked.
    pub async fn sign(&self, typ: &str, claims: &Value) -> Result<String, SigningError> {
        let expires_at = claims
            .get("exp")
            .and_then(Value::as_i64)
            .map(Timestamp::from_seconds)
            .ok_or(SigningError::NoExpiry)?;
        let algorithm = SigningAlgorithm::default();
        self.keys()
            .sign(algorithm, typ, claims, expires_at, self.now())
            .await
    }
}
