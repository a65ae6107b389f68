//! The whole check, for a server of any make.

use std::sync::Arc;

use mcp_authflow_jose::NumericDate;

use super::{AssertionError, AssertionPolicy, prove, read};
use crate::port::{ClientKeySource, Clock, Replay};

/// Authenticates clients by signed assertions, beside any server.
///
/// ```
/// use std::sync::Arc;
///
/// use mcp_authflow::{
///     client_auth::private_key_jwt::{AssertionPolicy, JWT_CLIENT_ASSERTION_TYPE, JwtClientAuthenticator},
///     memory::MemoryReplay,
///     port::{ClientKeySource, ClientKeysError, Clock, Freshness},
/// };
/// use mcp_authflow_jose::{Algorithm, KeySet, SigningKey};
/// use mcp_authflow_types::{Issuer, Timestamp};
/// use serde_json::json;
///
/// /// One client, whose keys are at hand.
/// struct Keys(Arc<KeySet>);
///
/// #[async_trait::async_trait]
/// impl ClientKeySource for Keys {
///     async fn client_keys(&self, client_id: &str, _: Freshness) -> Result<Arc<KeySet>, ClientKeysError> {
///         (client_id == "client-1").then(|| self.0.clone()).ok_or(ClientKeysError::None)
///     }
/// }
///
/// struct Noon;
///
/// impl Clock for Noon {
///     fn now(&self) -> Timestamp {
///         Timestamp::from_seconds(1_800_000_000)
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// // The client's side.
/// let key = SigningKey::generate(Algorithm::Es256)?;
/// let assertion = key.sign("JWT", &json!({
///     "iss": "client-1", "sub": "client-1", "aud": "https://auth.example",
///     "iat": 1_800_000_000, "exp": 1_800_000_060, "jti": "b3c1",
/// }))?;
///
/// // The server's side.
/// let keys = KeySet::parse(json!({"keys": [key.public_jwk()]}).to_string().as_bytes())?;
/// let authenticator = JwtClientAuthenticator::new(
///     AssertionPolicy::for_issuer(&Issuer::parse("https://auth.example")?),
///     Arc::new(Keys(Arc::new(keys))),
///     Arc::new(MemoryReplay::new()),
///     Arc::new(Noon),
/// );
/// authenticator.authenticate("client-1", &assertion, JWT_CLIENT_ASSERTION_TYPE).await?;
/// assert!(authenticator.authenticate("client-1", &assertion, JWT_CLIENT_ASSERTION_TYPE).await.is_err());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct JwtClientAuthenticator {
    policy: Arc<AssertionPolicy>,
    keys: Arc<dyn ClientKeySource>,
    replay: Arc<dyn Replay>,
    clock: Arc<dyn Clock>,
}

impl JwtClientAuthenticator {
    /// Puts a policy and what it needs together.
    ///
    /// # Security
    /// Every process that accepts assertions must ask the same `replay`: with a memory of its own each, an assertion is
    /// good once per process.
    pub fn new(
        policy: AssertionPolicy,
        keys: Arc<dyn ClientKeySource>,
        replay: Arc<dyn Replay>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            policy: Arc::new(policy),
            keys,
            replay,
            clock,
        }
    }

    /// Lets the client in, once for each assertion.
    ///
    /// # Errors
    /// [`AssertionError`]. Tell the client `invalid_client`, or 503 and 504 for what cannot be checked, and nothing more.
    pub async fn authenticate(
        &self,
        client_id: &str,
        client_assertion: &str,
        client_assertion_type: &str,
    ) -> Result<(), AssertionError> {
        let now = self.clock.now().into();
        self.authenticate_at(client_id, client_assertion, client_assertion_type, now)
            .await
    }

    /// The same at a moment, down to the millisecond.
    ///
    /// # Errors
    /// [`AssertionError`]
    pub async fn authenticate_at(
        &self,
        client_id: &str,
        client_assertion: &str,
        client_assertion_type: &str,
        now: NumericDate,
    ) -> Result<(), AssertionError> {
        let outcome = async {
            let assertion = read(client_assertion_type, client_assertion, &self.policy)?;
            prove(
                &assertion,
                client_id,
                &self.policy,
                &*self.keys,
                &*self.replay,
                now,
            )
            .await
        }
        .await;
        // What a stranger wrote is quoted, and of the assertion nothing is told.
        match &outcome {
            Ok(()) => tracing::info!(?client_id, "a client proved itself by an assertion"),
            Err(AssertionError::Refused(reason)) => {
                tracing::warn!(?client_id, code = reason.code(), %reason, "a client's assertion is refused");
            }
            Err(AssertionError::CannotCheck(error)) => {
                tracing::error!(?client_id, %error, "a client's assertion cannot be checked");
            }
            Err(AssertionError::KeysOutOfReach(error)) => error.log(client_id),
        }
        outcome
    }
}

impl std::fmt::Debug for JwtClientAuthenticator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JwtClientAuthenticator")
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}
