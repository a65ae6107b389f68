//! Where registered clients are kept.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use base64::Engine as _;
use hashlink::LinkedHashMap;
use mcp_authflow_types::{ClientSecret, Timestamp, TokenHash};
use serde_json::{Map, Value};

use super::{ClientRegistrationRequest, IssuedClient, RegisteredClient};
use crate::port::{Clock, Entropy};

/// Why a registry could not answer. What it was goes to the log; a client only hears that it was not registered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// It failed. Answered with 500 `server_error`.
    #[error("the registry failed: {0}")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It has no room for another client. Answered with 503 `temporarily_unavailable`, and when to try again.
    #[error("the registry is full")]
    Full {
        /// When there may be room again.
        retry_after: Duration,
    },
}

impl From<&str> for RegistryError {
    fn from(why: &str) -> Self {
        Self::Failed(why.into())
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

/// How long a client is kept in a full registry although nobody has looked it up: who registers comes back within
/// seconds, but a person may sit between.
const LOOKED_UP_WITHIN: Duration = Duration::from_secs(600);

/// The longest that somebody is told to wait for room.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// A registry in memory, which forgets everything when the process ends.
///
/// Identifiers are `mcp-` and 128 random bits, secrets 256 random bits, both in base64url. Of a secret only the digest
/// is kept. A client is forgotten 90 days after its registration, its secret with it.
///
/// There is room for 10,000 clients and for 64 MiB, whichever is less, further metadata counted. When it is used up, those
/// are forgotten that nobody has looked up within ten minutes of their registration, the oldest first and no more of them
/// than it takes. A client that was looked up once keeps its place: a registration for which there is no room then is
/// refused as [`Full`](RegistryError::Full).
pub struct MemoryClientRegistry {
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    lifetime: Option<Duration>,
    max_clients: usize,
    max_bytes: usize,
    clients: Mutex<Clients>,
}

struct Kept {
    client: Arc<RegisteredClient>,
    secret: Option<TokenHash>,
    expires_at: Option<Timestamp>,
    bytes: usize,
    was_looked_up: bool,
}

impl Kept {
    fn is_over(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|end| end.has_passed(now))
    }

    /// When it may be forgotten to make room.
    fn gives_way_at(&self) -> Option<Timestamp> {
        (!self.was_looked_up).then(|| self.client.client_id_issued_at + LOOKED_UP_WITHIN)
    }
}

/// The clients in the order of their registration, and what they weigh.
#[derive(Default)]
struct Clients {
    by_id: LinkedHashMap<String, Kept>,
    bytes: usize,
}

impl Clients {
    /// A client that is still there. From now on it is one that was looked up.
    fn look_up(&mut self, client_id: &str, now: Timestamp) -> Option<&Kept> {
        let kept = self.by_id.get_mut(client_id).filter(|kept| !kept.is_over(now))?;
        kept.was_looked_up = true;
        Some(kept)
    }

    fn keep(&mut self, kept: Kept) {
        self.bytes += kept.bytes;
        self.by_id.insert(kept.client.client_id.clone(), kept);
    }

    fn forget(&mut self, client_id: &str) -> bool {
        let Some(kept) = self.by_id.remove(client_id) else {
            return false;
        };
        self.bytes -= kept.bytes;
        true
    }

    /// Makes room for one client of this weight, if that can be done; otherwise those that are there stay.
    fn make_room(
        &mut self,
        bytes: usize,
        max_clients: usize,
        max_bytes: usize,
        now: Timestamp,
    ) -> Result<(), RegistryError> {
        // All live equally long: the first to come are the first to go.
        while let Some(over) = self.by_id.front().filter(|(_, kept)| kept.is_over(now)) {
            let client_id = over.0.clone();
            self.forget(&client_id);
        }
        let (mut clients_after, mut bytes_after) = (self.by_id.len() + 1, self.bytes.saturating_add(bytes));
        let mut give_way = Vec::new();
        for (client_id, kept) in &self.by_id {
            if clients_after <= max_clients && bytes_after <= max_bytes {
                break;
            }
            if kept.gives_way_at().is_some_and(|moment| moment.has_passed(now)) {
                give_way.push(client_id.clone());
                clients_after -= 1;
                bytes_after -= kept.bytes;
            }
        }
        if clients_after > max_clients || bytes_after > max_bytes {
            return Err(RegistryError::Full {
                retry_after: self.next_room(now),
            });
        }
        for client_id in give_way {
            self.forget(&client_id);
        }
        Ok(())
    }

    /// How long until the next client gives way or comes to its end.
    fn next_room(&self, now: Timestamp) -> Duration {
        self.by_id
            .values()
            .flat_map(|kept| [kept.gives_way_at(), kept.expires_at])
            .flatten()
            .filter(|moment| !moment.has_passed(now))
            .min()
            .map_or(LONGEST_WAIT, |moment| moment.since(now).min(LONGEST_WAIT))
    }
}

/// About how many bytes of memory a client takes: a bound on what a stranger can make of 64 KiB of JSON.
fn weight(request: &ClientRegistrationRequest) -> usize {
    // Its places in the map and on the heap, identifier and digest; what a text costs beside its bytes.
    const CLIENT: usize = 1024;
    const TEXT: usize = 32;
    let lists = [
        &request.redirect_uris,
        &request.grant_types,
        &request.response_types,
    ];
    let listed: usize = lists.into_iter().flatten().map(|text| TEXT + text.len()).sum();
    let texts = request.client_name.as_ref().map_or(0, String::len)
        + request.token_endpoint_auth_method.len()
        + request.scope.len();
    CLIENT + listed + texts + members_weight(&request.extra)
}

fn members_weight(members: &Map<String, Value>) -> usize {
    // The first member brings a node with room for eleven; further ones fill nodes to one half at least.
    const NODE: usize = 1024;
    const MEMBER: usize = 192;
    if members.is_empty() {
        return 0;
    }
    let each = |(name, value): (&String, &Value)| MEMBER + name.len() + value_weight(value);
    NODE + members.iter().map(each).sum::<usize>()
}

/// What a value has on the heap. Its depth is bounded by the parser.
fn value_weight(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        Value::String(text) => text.len(),
        Value::Array(values) => values
            .iter()
            .map(|value| size_of::<Value>() + value_weight(value))
            .sum(),
        Value::Object(members) => members_weight(members),
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
            max_bytes: 64 * 1024 * 1024,
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

    /// The same with room for fewer or more bytes of memory, as near as they can be told. A client takes 2 KiB or so, and a
    /// stranger's up to some MiB.
    #[must_use]
    pub fn with_room_for_bytes(self, max_bytes: usize) -> Self {
        Self { max_bytes, ..self }
    }

    /// Whether the secret is the client's. Compared by digest, in constant time.
    pub fn secret_matches(&self, client_id: &str, secret: &str) -> bool {
        let presented = TokenHash::of(secret);
        let now = self.clock.now();
        self.kept()
            .look_up(client_id, now)
            .is_some_and(|kept| kept.secret == Some(presented))
    }

    /// Forgets a client. Answers whether it was there.
    pub fn remove_client(&self, client_id: &str) -> bool {
        self.kept().forget(client_id)
    }

    fn kept(&self) -> MutexGuard<'_, Clients> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn random_text<const N: usize>(&self) -> String {
        let random: [u8; N] = self.entropy.draw();
        base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(random)
    }
}

impl fmt::Debug for MemoryClientRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (clients, bytes) = {
            let kept = self.kept();
            (kept.by_id.len(), kept.bytes)
        };
        f.debug_struct("MemoryClientRegistry")
            .field("clients", &clients)
            .field("max_clients", &self.max_clients)
            .field("bytes", &bytes)
            .field("max_bytes", &self.max_bytes)
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
            .map_err(|error| RegistryError::Failed(error.into()))?;
        let client = RegisteredClient {
            client_id: format!("mcp-{}", self.random_text::<16>()),
            client_id_issued_at: now,
            client_secret_expires_at: expires_at.filter(|_| keeps_secret),
            metadata: request.clone(),
        };
        let bytes = weight(request);
        let mut clients = self.kept();
        // 128 random bits met before: the randomness is broken, and the earlier client must not lose its place.
        if clients.by_id.contains_key(&client.client_id) {
            return Err("the randomness repeats itself".into());
        }
        clients.make_room(bytes, self.max_clients, self.max_bytes, now)?;
        clients.keep(Kept {
            client: Arc::new(client.clone()),
            secret: client_secret.as_ref().map(ClientSecret::hash),
            expires_at,
            bytes,
            was_looked_up: false,
        });
        drop(clients);
        Ok(IssuedClient {
            client,
            client_secret,
        })
    }

    async fn get_client(&self, client_id: &str) -> Result<Option<RegisteredClient>, RegistryError> {
        let now = self.clock.now();
        let found = self
            .kept()
            .look_up(client_id, now)
            .map(|kept| kept.client.clone());
        Ok(found.map(Arc::unwrap_or_clone))
    }
}
