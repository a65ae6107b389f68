//! The keys that sign tokens: made, published ahead, used, and published until the last of their tokens has expired.
//!
//! Every node has a [`KeyRing`]: a picture of the keys in the store that is never older than [`KeySettings::refresh_every`].
//! A new key is published for [`KeySettings::lead`] before it signs, so that whoever keeps the set for as long as it may
//! ([`KeySettings::max_age`]) has the key before the first token of it. Which key does what when is pure: `keys/schedule`.
//!
//! The ring is asked only where something is signed or the set is published; opaque tokens need none of it.

mod schedule;

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use mcp_authflow_jose::{SealingKey, ServerKey, SigningKey, SigningKeyError};
use mcp_authflow_types::{ErrorCode, ErrorResponse, Timestamp, TokenHash, hex};
use serde_json::{Value, json};

pub use self::schedule::KeyPhase;
use crate::{
    port::{
        Audit, AuditEvent, AuditOutcome, Entropy, Store, StoreError, audit::AuditAction, store::AddSigningKey,
    },
    record::{SigningAlgorithm, SigningKeyRecord},
    settings::{KeySettings, Settings},
};

/// What a ring asks of the outside.
#[derive(Clone)]
pub struct RingPorts {
    /// Where the keys are kept.
    pub store: Arc<dyn Store>,
    /// Randomness, for sealing. Keys draw their own from the system.
    pub entropy: Arc<dyn Entropy>,
    /// The audit trail.
    pub audit: Arc<dyn Audit>,
    /// The server key, under which private keys are sealed.
    pub key: ServerKey,
}

/// The signing keys, as one node knows them.
pub struct KeyRing {
    ports: RingPorts,
    sealing: SealingKey,
    settings: KeySettings,
    /// How long tokens live that are signed without more ado.
    usual_life: Duration,
    picture: Mutex<Option<Arc<Picture>>>,
    is_looking: AtomicBool,
}

/// What was in the store at a moment.
struct Picture {
    seen_at: Timestamp,
    records: Vec<SigningKeyRecord>,
    /// Opened, in the same order.
    keys: Vec<Arc<SigningKey>>,
    published: PublishedKeys,
}

/// The public keys, as they are published (RFC 7517 §5).
#[derive(Clone, Debug)]
pub struct PublishedKeys {
    /// The JSON body.
    pub body: Arc<str>,
    /// An opaque tag that changes with the body, in quotes (RFC 9110 §8.8.3).
    pub etag: Arc<str>,
    /// For how long whoever fetched it may keep it.
    pub max_age: Duration,
}

/// A key and what it does.
#[derive(Clone, Debug)]
pub struct KeyStatus {
    /// The key.
    pub key: SigningKeyRecord,
    /// What it does.
    pub phase: KeyPhase,
}

/// What became of a key that was to be retired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RetireKey {
    /// It is gone. It was the one that signed and there was none behind it, so that a new one was made, which signs at once.
    Replaced(String),
    /// It is gone, and was not needed.
    Removed,
    /// There is no such key.
    Unknown,
}

/// Why something was not signed, or a key not made.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SigningError {
    /// The store cannot be asked, and what was seen last is too old to go by.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The cryptographic library failed.
    #[error(transparent)]
    Key(#[from] SigningKeyError),
    /// The claims have no `exp`, which would bind the key for ever.
    #[error("what is signed needs an `exp`")]
    NoExpiry,
    /// Others add keys faster than this node can.
    #[error("other nodes add signing keys at the same moment; try again")]
    Overtaken,
    /// More keys would be published than verifiers read.
    #[error(
        "{0} keys are published, which is as many as verifiers read; wait until the tokens of the oldest have expired, or \
         retire some"
    )]
    TooMany(usize),
}

impl From<SigningError> for ErrorResponse {
    fn from(error: SigningError) -> Self {
        match error {
            SigningError::Store(error) => error.into(),
            SigningError::Overtaken => Self::unavailable(),
            SigningError::Key(_) | SigningError::NoExpiry | SigningError::TooMany(_) => {
                tracing::error!(%error, "nothing can be signed");
                ErrorCode::ServerError.into()
            }
        }
    }
}

/// How many keys are published at most: verifiers read 32 of a set (ours do), and one may have to replace a stolen one.
const MOST_PUBLISHED: usize = 31;
/// How often this node tries again when others add keys at the same moment.
const TRIES: usize = 5;
/// How long ago a request may have read the clock.
const SLOWEST_REQUEST: Duration = Duration::from_secs(5);
/// What private keys are sealed for.
const PURPOSE: &str = "signing keys";

impl KeyRing {
    /// Makes a ring that has not looked yet.
    pub fn new(ports: RingPorts, settings: &Settings) -> Self {
        Self {
            sealing: ports.key.sealing_key(PURPOSE),
            ports,
            settings: settings.keys,
            usual_life: settings.lifetimes.access_token,
            picture: Mutex::default(),
            is_looking: AtomicBool::new(false),
        }
    }

    /// The public keys, for whoever verifies.
    ///
    /// # Errors
    /// [`SigningError::Store`] when the store cannot be asked and the last look was too long ago: a key that was
    /// retired must not be published for want of a database.
    pub async fn published(&self, now: Timestamp) -> Result<PublishedKeys, SigningError> {
        Ok(self.look(now).await?.published.clone())
    }

    /// Signs claims that hold until `expires_at`, with the key whose turn it is.
    ///
    /// # Errors
    /// [`SigningError`]; without a recent look nothing is signed.
    pub async fn sign(
        &self,
        algorithm: SigningAlgorithm,
        typ: &str,
        claims: &Value,
        expires_at: Timestamp,
        now: Timestamp,
    ) -> Result<String, SigningError> {
        let life = expires_at.since(now);
        for _ in 0..TRIES {
            let picture = self.look(now).await?;
            let Some(place) = schedule::signer(&picture.records, algorithm, now) else {
                // The first of its algorithm. Nobody can have fetched a set with a key before it, so it may sign at once.
                self.add(&picture.records, algorithm, now, now).await?;
                continue;
            };
            let record = &picture.records[place];
            if record.longest_life < life {
                self.ports.store.extend_signing_key(&record.key_id, life).await?;
                self.look_again(now).await?;
                continue;
            }
            return Ok(picture.keys[place].sign(typ, claims)?);
        }
        Err(SigningError::Overtaken)
    }

    /// All keys, and what each does.
    ///
    /// # Errors
    /// [`SigningError::Store`]
    pub async fn list(&self, now: Timestamp) -> Result<Vec<KeyStatus>, SigningError> {
        let records = self.ports.store.list_signing_keys().await?;
        let phases: Vec<KeyPhase> = (0..records.len())
            .map(|place| schedule::phase(&records, place, now))
            .collect();
        let status = |(key, phase)| KeyStatus { key, phase };
        Ok(records.into_iter().zip(phases).map(status).collect())
    }

    /// Makes the next key of an algorithm. It is published now and signs after [`KeySettings::lead`]; `at_once`, or when it
    /// is the first one, it signs now.
    ///
    /// # Errors
    /// [`SigningError`]
    pub async fn rotate(
        &self,
        algorithm: SigningAlgorithm,
        at_once: bool,
        now: Timestamp,
    ) -> Result<SigningKeyRecord, SigningError> {
        for _ in 0..TRIES {
            let records = self.ports.store.list_signing_keys().await?;
            check_room(&records, now)?;
            let is_first = schedule::signer(&records, algorithm, now).is_none();
            let active_from = if at_once || is_first {
                now
            } else {
                now + self.settings.lead()
            };
            if let Some(added) = self.add(&records, algorithm, active_from, now).await? {
                return Ok(added);
            }
        }
        Err(SigningError::Overtaken)
    }

    /// Makes the first key of an algorithm where there is none, so that it is published before the first token of it is
    /// asked for.
    ///
    /// # Errors
    /// [`SigningError`]
    pub async fn ensure(&self, algorithm: SigningAlgorithm, now: Timestamp) -> Result<(), SigningError> {
        for _ in 0..TRIES {
            let picture = self.look(now).await?;
            if schedule::signer(&picture.records, algorithm, now).is_some() {
                return Ok(());
            }
            self.add(&picture.records, algorithm, now, now).await?;
        }
        Err(SigningError::Overtaken)
    }

    /// Drops a key at once, as one must that somebody else may know. Where it is the one that signs and no other is behind
    /// it, a new one is made first, which signs from now on.
    ///
    /// Every node notices within [`KeySettings::refresh_every`]. Whoever verifies by itself notices when it fetches the set
    /// again, after [`KeySettings::max_age`] at the latest, and then refuses what the key signed, forged or not. Where this
    /// server is asked, nothing forged was ever good: it knows what it issued.
    ///
    /// # Errors
    /// [`SigningError`]
    pub async fn retire(&self, key_id: &str, now: Timestamp) -> Result<RetireKey, SigningError> {
        for _ in 0..TRIES {
            let records = self.ports.store.list_signing_keys().await?;
            let Some(place) = records.iter().position(|key| key.key_id == key_id) else {
                return Ok(RetireKey::Unknown);
            };
            let algorithm = records[place].algorithm;
            let mut retired = RetireKey::Removed;
            if schedule::signer(&records, algorithm, now) == Some(place) {
                let Some(successor) = self.add(&records, algorithm, now, now).await? else {
                    continue;
                };
                retired = RetireKey::Replaced(successor.key_id);
            }
            let was_there = self.ports.store.remove_signing_key(key_id).await?;
            self.forget();
            if was_there {
                self.note("a signing key was retired", key_id);
                return Ok(retired);
            }
            return Ok(RetireKey::Unknown);
        }
        Err(SigningError::Overtaken)
    }

    /// Makes a key behind the newest of its algorithm and stores it. `None` when somebody else was faster.
    async fn add(
        &self,
        records: &[SigningKeyRecord],
        algorithm: SigningAlgorithm,
        active_from: Timestamp,
        now: Timestamp,
    ) -> Result<Option<SigningKeyRecord>, SigningError> {
        let key = SigningKey::generate(algorithm.algorithm())?;
        let key_id = key.key_id().to_owned();
        let nonce = self.ports.entropy.draw();
        let record = SigningKeyRecord {
            sealed: self.sealing.seal(nonce, key_id.as_bytes(), &key.to_pkcs8()?),
            key_id,
            algorithm,
            created_at: now,
            active_from,
            longest_life: self.usual_life,
        };
        let after = schedule::newest(records, algorithm).map(|newest| newest.key_id.as_str());
        let added = self.ports.store.add_signing_key(&record, after).await?;
        self.forget();
        Ok(match added {
            AddSigningKey::Added => {
                self.note("a signing key was made", &record.key_id);
                Some(record)
            }
            AddSigningKey::Overtaken => None,
        })
    }

    /// The keys as they were a moment ago. While the picture is fresh nobody waits; in the second half of its time one
    /// caller looks again and the others go by the one there is.
    async fn look(&self, now: Timestamp) -> Result<Arc<Picture>, SigningError> {
        let Some(picture) = self.picture() else {
            return self.look_again(now).await;
        };
        // A picture of the future: this request has taken its time, or the clock was set back, and then nobody knows how old
        // it is.
        let is_of_the_future = picture.seen_at.since(now) > SLOWEST_REQUEST;
        let age = now.since(picture.seen_at);
        if is_of_the_future || age >= self.settings.refresh_every() {
            return self.look_again(now).await;
        }
        if age * 2 < self.settings.refresh_every() || self.is_looking.swap(true, Ordering::AcqRel) {
            return Ok(picture);
        }
        let _until_done = Looking(&self.is_looking);
        match self.look_again(now).await {
            Ok(newer) => Ok(newer),
            Err(error) => {
                tracing::warn!(%error, "signing keys cannot be looked at again; going by those seen a moment ago");
                Ok(picture)
            }
        }
    }

    /// Looks into the store, and does what is due there.
    async fn look_again(&self, now: Timestamp) -> Result<Arc<Picture>, SigningError> {
        for _ in 0..TRIES {
            let records = self.ports.store.list_signing_keys().await?;
            if let Some(due) = self.due(&records, now) {
                let active_from = match schedule::signer(&records, due, now) {
                    Some(_) => now + self.settings.lead(),
                    None => now,
                };
                self.add(&records, due, active_from, now).await?;
                continue;
            }
            let picture = Arc::new(self.picture_of(records, now).await?);
            *self.picture.lock().unwrap_or_else(PoisonError::into_inner) = Some(picture.clone());
            return Ok(picture);
        }
        Err(SigningError::Overtaken)
    }

    /// The algorithm of which a key is to be made now: the default one while there is none, and those whose newest key is
    /// old enough where keys are rotated by themselves.
    fn due(&self, records: &[SigningKeyRecord], now: Timestamp) -> Option<SigningAlgorithm> {
        let default = SigningAlgorithm::default();
        if schedule::newest(records, default).is_none() {
            return Some(default);
        }
        let every = self.settings.rotate_every?;
        check_room(records, now).ok()?;
        SigningAlgorithm::ALL.iter().copied().find(|&algorithm| {
            schedule::newest(records, algorithm)
                .is_some_and(|newest| (newest.created_at + every).has_passed(now))
        })
    }

    async fn picture_of(
        &self,
        mut records: Vec<SigningKeyRecord>,
        now: Timestamp,
    ) -> Result<Picture, SigningError> {
        let over: Vec<usize> = (0..records.len())
            .filter(|&place| schedule::phase(&records, place, now) == KeyPhase::Over)
            .collect();
        for place in over.into_iter().rev() {
            let ended = records.remove(place);
            // It is published no more either way; another node or another time removes what this one could not.
            if let Err(error) = self.ports.store.remove_signing_key(&ended.key_id).await {
                tracing::warn!(key_id = ended.key_id, %error, "a signing key that is over could not be removed");
            }
        }
        let before = self.picture();
        let keys = records
            .iter()
            .map(|record| self.open(record, before.as_deref()))
            .collect::<Result<Vec<_>, _>>()?;
        let public: Vec<Value> = keys.iter().map(|key| key.public_jwk()).collect();
        let body = json!({ "keys": public }).to_string();
        let tag = hex::encode(&TokenHash::of(&body).as_bytes()[..16]);
        Ok(Picture {
            seen_at: now,
            records,
            keys,
            published: PublishedKeys {
                body: body.into(),
                etag: format!("\"{tag}\"").into(),
                max_age: self.settings.max_age(),
            },
        })
    }

    fn open(
        &self,
        record: &SigningKeyRecord,
        before: Option<&Picture>,
    ) -> Result<Arc<SigningKey>, SigningError> {
        let known = before.and_then(|picture| {
            picture
                .keys
                .iter()
                .find(|key| key.key_id() == record.key_id)
                .cloned()
        });
        if let Some(known) = known {
            return Ok(known);
        }
        let opened = self
            .sealing
            .open(record.key_id.as_bytes(), &record.sealed)
            .and_then(|der| SigningKey::from_pkcs8(record.algorithm.algorithm(), &der).ok())
            .filter(|key| key.key_id() == record.key_id);
        opened.map(Arc::new).ok_or_else(|| {
            let id = &record.key_id;
            StoreError::Broken(format!(
                "the signing key {id} was sealed with another server key or is damaged; if it is lost: authflow keys \
                 retire {id}"
            ))
            .into()
        })
    }

    fn picture(&self) -> Option<Arc<Picture>> {
        self.picture
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Makes the next caller look, after this node has changed something.
    fn forget(&self) {
        let mut picture = self.picture.lock().unwrap_or_else(PoisonError::into_inner);
        *picture = None;
    }

    fn note(&self, what: &str, key_id: &str) {
        let reason = format!("{what}: {key_id}");
        self.ports.audit.record(&AuditEvent::new(
            AuditAction::SigningKey,
            AuditOutcome::Allowed,
            reason,
        ));
    }
}

/// Whether one more key may be published.
fn check_room(records: &[SigningKeyRecord], now: Timestamp) -> Result<(), SigningError> {
    let published = (0..records.len())
        .filter(|&place| schedule::phase(records, place, now) != KeyPhase::Over)
        .count();
    if published < MOST_PUBLISHED {
        Ok(())
    } else {
        Err(SigningError::TooMany(published))
    }
}

/// That one caller looks, until it is done or goes away.
struct Looking<'a>(&'a AtomicBool);

impl Drop for Looking<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl std::fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyRing")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for RingPorts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RingPorts(…)")
    }
}
