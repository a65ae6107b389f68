//! The reference adapter: the shortest correct implementation of the storage ports, and of the rate limiter.
//!
//! [`MemoryStore`] forgets everything when the process ends: it serves tests, demonstrations, and a resource server's
//! author on a train. One lock guards all of it; no step under the lock waits or searches, except `purge_expired`, what
//! ends or moves a person's sessions, and lists of everybody's grants.

mod access_token;
mod buckets;
mod client;
mod client_document;
mod device_code;
mod grant;
mod imported_token;
mod interaction;
mod rate_limit;
mod replay;
mod resource;
mod session;
mod signing_key;
mod sliding_window;
mod token;
mod token_storage;
mod upkeep;
mod user;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use mcp_authflow_types::{ClientId, Resource, Timestamp, TokenHash};

use self::{
    access_token::{Authorities, KeptAccessToken},
    buckets::Buckets,
};
pub use self::{rate_limit::MemoryRateLimit, replay::MemoryReplay, token_storage::MemoryTokenStorage};
use crate::{
    client::trust::DomainName,
    port::store::{LastUse, Standing},
    record::{
        Client, DeviceCodeRecord, DocumentHostRecord, Grant, GrantId, Interaction, InteractionId,
        RefreshTokenRecord, ResourceRecord, Session, SigningKeyRecord, User, UserId,
    },
};

/// A store in memory.
///
/// ```
/// use mcp_authflow::memory::MemoryStore;
///
/// let store = MemoryStore::new();
/// ```
#[derive(Default)]
pub struct MemoryStore(Mutex<State>);

impl MemoryStore {
    /// Makes an empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// A verb that panicked half-way would be a defect of ours; what it left is still served rather than nothing.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").finish_non_exhaustive()
    }
}

#[derive(Default)]
struct State {
    /// Removed ones included: their generation must outlive them.
    clients: BTreeMap<ClientId, KeptClient>,
    document_hosts: BTreeMap<DomainName, DocumentHostRecord>,
    /// By the number of their registration, which is never used twice: what is tied to one ends with it.
    resources: BTreeMap<RegistrationNumber, Arc<ResourceRecord>>,
    resource_numbers: HashMap<Resource, RegistrationNumber>,
    resources_added: RegistrationNumber,
    interactions: HashMap<InteractionId, KeptInteraction>,
    devices: HashMap<TokenHash, KeptDevice>,
    /// The devices by the digests of their user codes.
    user_codes: HashMap<TokenHash, TokenHash>,
    grants: HashMap<GrantId, KeptGrant>,
    codes: HashMap<TokenHash, GrantId>,
    grants_of: HashMap<String, BTreeSet<(Timestamp, GrantId)>>,
    access_tokens: Buckets<KeptAccessToken>,
    authorities: Authorities,
    refresh_tokens: Buckets<KeptRefreshToken>,
    subjects: HashMap<String, Subject>,
    users: BTreeMap<String, User>,
    usernames: HashMap<UserId, String>,
    sessions: HashMap<TokenHash, Session>,
    replay: replay::Memory,
    imported: imported_token::Imported,
    /// In the order in which they were added.
    signing_keys: Vec<SigningKeyRecord>,
    key_fingerprint: Option<[u8; 32]>,
}

struct KeptClient {
    client: Arc<Client>,
    registration_access_token: Option<TokenHash>,
    is_removed: bool,
}

type RegistrationNumber = u64;

struct KeptGrant {
    grant: Grant,
    /// As what its resources were registered on approval, those that were.
    registrations: HashMap<Resource, RegistrationNumber>,
    last_used: Option<LastUse>,
}

struct KeptRefreshToken {
    record: RefreshTokenRecord,
    /// What became of it, once it is exchanged.
    spent: Option<Spent>,
}

struct Spent {
    at: Timestamp,
    successor: TokenHash,
    /// The answer of the exchange.
    sealed: Vec<u8>,
}

struct KeptInteraction {
    interaction: Interaction,
    is_closed: bool,
}

struct KeptDevice {
    record: DeviceCodeRecord,
    /// The interaction in which a person decides, once somebody has typed the user code.
    claimed_by: Option<InteractionId>,
}

/// What is remembered of a subject, whether or not it has an account here.
#[derive(Clone, Copy, Default)]
struct Subject {
    generation: u32,
    is_disabled: bool,
}

impl State {
    fn client(&self, id: &ClientId) -> Option<&Arc<Client>> {
        self.clients
            .get(id)
            .filter(|kept| !kept.is_removed)
            .map(|kept| &kept.client)
    }

    fn client_mut(&mut self, id: &ClientId) -> Option<&mut Client> {
        self.clients
            .get_mut(id)
            .filter(|kept| !kept.is_removed)
            .map(|kept| Arc::make_mut(&mut kept.client))
    }

    fn subject(&self, subject: &str) -> Subject {
        self.subjects.get(subject).copied().unwrap_or_default()
    }

    /// Whether the client is there and still what it was.
    fn is_of_generation(&self, id: &ClientId, generation: u32) -> bool {
        self.client(id)
            .is_some_and(|client| client.generation == generation)
    }

    /// Whether a grant still stands, expiry aside.
    fn standing(&self, grant: &Grant) -> Standing {
        let subject = self.subject(&grant.subject);
        let stands = grant.revoked_at.is_none()
            && self.is_of_generation(&grant.client_id, grant.client_generation)
            && subject.generation == grant.subject_generation
            && !subject.is_disabled;
        if stands { Standing::Live } else { Standing::Ended }
    }

    /// Whether what was made for a resource under a registration, or none, stands.
    fn resource_stands(
        &self,
        resource: &Resource,
        registration: Option<RegistrationNumber>,
        resource_may_be_unregistered: bool,
    ) -> bool {
        match registration {
            Some(number) => self.resources.contains_key(&number),
            None => resource_may_be_unregistered && resource.is_loopback(),
        }
    }

    /// Whether a grant stands and has not come to its end.
    fn is_live(&self, grant: &Grant, now: Timestamp) -> bool {
        self.standing(grant) == Standing::Live && !grant.expires_at.has_passed(now)
    }
}
