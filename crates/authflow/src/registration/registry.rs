//! Where registered clients are kept.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use base64::Engine as _;
use mcp_authflow_types::{ClientSecret, Timestamp, TokenHash};

use super::{ClientRegistrationRequest, IssuedClient, RegisteredClient};
use crate::port::{Clock, Entropy};

/// Why a registry could not answer. What it was goes to the log; a client only hears that it was not registered.
#[derive(Debug, thiserror::Error)]
#[error("the registry failed: {0}")]
pub struct RegistryError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

impl From<&str> for RegistryError {
    fn from(why: &str) -> Self {
        Self(why.into())
    }
}

/// Keeps registered clients. One that stores a secret in the clear makes every copy of its table a set of keys.
#[async_trait::async_trait]
pub trait ClientRegistry: Send + Sync {
    /// Registers a client: gives it an identifier of its own and, unless it is public or signs with a key of its own, a
    /// secret.
    async fn create_client(&self, request: &ClientRegistrationRequest)
    -> Result<IssuedClient, RegistryError>;

    /// Finds a client.
    async fn get_client(&self, client_id: &str) -> Result<Option<RegisteredClient>, RegistryError>;
}

/// A registry in memory, which forgets everything when the process ends.
///
/// Identifiers are `mcp-` and 128 random bits, secrets 256 random bits, both in base64url. Of a secret only the digest
/// is kept. A client is forgotten 90 days after its registration, its secret with it; there is room for 10,000, and
/// when that is full of living ones a registration fails.
pub struct MemoryClientRegistry {
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    lifetime: Option<Duration>,
    max_clients: usize,
    clients: Mutex<HashMap<String, Kept>>,
}

struct Kept {
    client: Arc<RegisteredClient>,
    secret: Option<TokenHash>,
    expires_at: Option<Timestamp>,
}

impl Kept {
    fn is_over(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|end| end.has_passed(now))
    }
}

impl MemoryClientRegistry {
    /// Makes an empty registry.
    pub fn new(clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        Self {
            clock,
            entropy,
            lifetime: Some(Duration::from_secs(90 * 86_400)),
            max_clients: 10_000,
            clients: Mutex::default(),
        }
    }

    /// The same with another lifetime of a registration; `None` for ever.
    #[must_use]
    pub fn with_lifetime(self, lifetime: Option<Duration>) -> Self {
        Self { lifetime, ..self }
    }

    /// The same with room for fewer or more clients; at least one.
    #[must_use]
    pub fn with_room_for(self, max_clients: usize) -> Self {
        Self {
            max_clients: max_clients.max(1),
            ..self
        }
    }

    /// Whether the secret is the client's. Compared by digest, in constant time.
    pub fn secret_matches(&self, client_id: &str, secret: &str) -> bool {
        let presented = TokenHash::of(secret);
        let now = self.clock.now();
        self.kept()
            .get(client_id)
            .filter(|kept| !kept.is_over(now))
            .is_some_and(|kept| kept.secret == Some(presented))
    }

    /// Forgets a client. Answers whether it was there.
    pub fn remove_client(&self, client_id: &str) -> bool {
        self.kept().remove(client_id).is_some()
    }

    fn kept(&self) -> MutexGuard<'_, HashMap<String, Kept>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn random_text<const N: usize>(&self) -> String {
        let random: [u8; N] = self.entropy.draw();
        base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(random)
    }
}

impl fmt::Debug for MemoryClientRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryClientRegistry")
            .field("clients", &self.kept().len())
            .field("max_clients", &self.max_clients)
            .finish_non_exhaustive()
    }
}

#[async_trait::async_trait]
impl ClientRegistry for MemoryClientRegistry {
    async fn create_client(
        &self,
        request: &ClientRegistrationRequest,
    ) -> Result<IssuedClient, RegistryError> {
        let now = self.clock.now();
        let expires_at = self.lifetime.map(|lifetime| now + lifetime);
        let keeps_secret = !matches!(
            request.token_endpoint_auth_method.as_str(),
            "none" | "private_key_jwt"
        );
        let client_secret = keeps_secret
            .then(|| ClientSecret::bring(&self.random_text::<32>()))
            .transpose()
            .map_err(|error| RegistryError(error.into()))?;
        let client = RegisteredClient {
            client_id: format!("mcp-{}", self.random_text::<16>()),
            client_id_issued_at: now,
            client_secret_expires_at: expires_at.filter(|_| keeps_secret),
            metadata: request.clone(),
        };
        let mut clients = self.kept();
        if clients.len() >= self.max_clients {
            clients.retain(|_, kept| !kept.is_over(now));
        }
        if clients.len() >= self.max_clients {
            return Err("there is no room for another client".into());
        }
        // 128 random bits met before: the randomness is broken, and the earlier client must not lose its place.
        if clients.contains_key(&client.client_id) {
            return Err("the randomness repeats itself".into());
        }
        clients.insert(
            client.client_id.clone(),
            Kept {
                client: Arc::new(client.clone()),
                secret: client_secret.as_ref().map(ClientSecret::hash),
                expires_at,
            },
        );
        Ok(IssuedClient {
            client,
            client_secret,
        })
    }

    async fn get_client(&self, client_id: &str) -> Result<Option<RegisteredClient>, RegistryError> {
        let now = self.clock.now();
        let found = self
            .kept()
            .get(client_id)
            .filter(|kept| !kept.is_over(now))
            .map(|kept| kept.client.clone());
        Ok(found.map(Arc::unwrap_or_clone))
    }
}
