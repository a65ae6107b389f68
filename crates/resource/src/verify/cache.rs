//! Remembers for a short time what was said of a token, so that the authorization server is not asked for every request.
//!
//! Off unless it is put in front of a verifier. What it holds are facts about tokens and no tokens: the keys are SHA-256.
//! The layer judges the facts anew for each request and each route, by its audience, issuer and scope (P8).
//!
//! 1. Known and fresh: the answer is at hand. Whether the token has expired since is looked up on the clock of day.
//! 2. Being asked just now: wait for that answer, unless it was asked for too long ago.
//! 3. Else ask, and keep the answer: for its time when it is a yes, for a second when it is a no, not at all when nobody
//!    could say.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use hashlink::LruCache;
use mcp_authflow_types::{Timestamp, TokenHash};
use tokio::sync::watch;

use super::{TokenVerifier, VerifiedToken, VerifyError};
use crate::clock::{Clock, Monotonic};

/// Into how many parts a large cache is divided, so that requests seldom wait for each other. Evictions happen part by
/// part; a small cache has one part, and evicts exactly what was not used for the longest time.
const PARTS: usize = 16;
/// From here on a cache is large: each part holds hundreds.
const LARGE: usize = 4_096;

/// How long and how much a [`Cached`] verifier remembers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Caching {
    time_to_live: Duration,
    refused_for: Duration,
    max_tokens: usize,
}

/// Why a cache cannot be set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidCaching {
    /// It would keep nothing for any time.
    #[error("a cache that keeps tokens for no time is none: leave it out")]
    NoTime,
    /// It would keep nothing.
    #[error("a cache has room for at least one token")]
    NoRoom,
}

impl Default for Caching {
    /// A good token for 5 s, a bad one for 1 s, 8,192 of each.
    fn default() -> Self {
        Self::for_at_most(Duration::from_secs(5))
    }
}

impl Caching {
    /// Keeps a good token for at most this long, counted from when the question about it was sent, and never beyond its
    /// `exp`.
    ///
    /// # Security
    /// For so long a revoked token is still let in.
    pub const fn for_at_most(time_to_live: Duration) -> Self {
        Self {
            time_to_live,
            refused_for: Duration::from_secs(1),
            max_tokens: 8_192,
        }
    }

    /// Keeps in mind for this long that a token is unknown, expired or revoked. Default: 1 s, and never longer than a good
    /// one is kept. Zero: not at all.
    ///
    /// A client that goes on with a dead token costs one question a second then. It does not help against a flood of
    /// different tokens; what bounds that is [`max_in_flight`](crate::OutboundSettings::max_in_flight).
    pub const fn refusals_for(mut self, time: Duration) -> Self {
        self.refused_for = time;
        self
    }

    /// The most good tokens kept, and the most bad ones; the least recently used leave first. Default: 8,192. One of our
    /// own server takes about 2 KiB of memory, so 16 MiB when full; a bad one takes a hundred bytes. The two do not push
    /// each other out.
    pub const fn tokens(mut self, max: usize) -> Self {
        self.max_tokens = max;
        self
    }
}

/// A verifier with a memory.
///
/// ```
/// use std::time::Duration;
/// use mcp_authflow_resource::verify::{Cached, Caching, ClientAuthentication, Introspection};
///
/// let asks = Introspection::new("https://auth.example/introspect", ClientAuthentication::bearer("token"))?;
/// let verifier = Cached::new(asks, Caching::for_at_most(Duration::from_secs(2)))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Questions about one token are joined while they are fresh: fifty requests at once ask once (S-246). Without a cache
/// they are not, because an answer on its way may have been given before a revocation that came before the request.
pub struct Cached<V> {
    verifier: V,
    caching: Caching,
    parts: Box<[Mutex<Part>]>,
    wall: Clock,
    monotonic: Monotonic,
}

struct Part {
    good: LruCache<TokenHash, Good>,
    /// Until when.
    bad: LruCache<TokenHash, Duration>,
    flights: HashMap<TokenHash, Flight>,
    /// Tells flights apart.
    next_flight: u64,
}

#[derive(Clone)]
struct Good {
    token: Arc<VerifiedToken>,
    /// From when on it is no longer fresh.
    end: Duration,
}

type Outcome = Result<Arc<VerifiedToken>, VerifyError>;

/// A question that is being asked.
struct Flight {
    number: u64,
    began: Duration,
    outcome: watch::Receiver<Option<Outcome>>,
}

/// What is to be done about a token.
enum Step<'a> {
    Answer(Outcome),
    Wait(watch::Receiver<Option<Outcome>>),
    Ask(Lead<'a>),
}

impl<V: TokenVerifier> Cached<V> {
    /// Puts a memory in front of `verifier`.
    ///
    /// # Errors
    /// [`InvalidCaching`]
    pub fn new(verifier: V, caching: Caching) -> Result<Self, InvalidCaching> {
        if caching.time_to_live.is_zero() {
            return Err(InvalidCaching::NoTime);
        }
        if caching.max_tokens == 0 {
            return Err(InvalidCaching::NoRoom);
        }
        let parts = if caching.max_tokens < LARGE { 1 } else { PARTS };
        let room = caching.max_tokens.div_ceil(parts);
        let part = || {
            Mutex::new(Part {
                good: LruCache::new(room),
                bad: LruCache::new(room),
                flights: HashMap::new(),
                next_flight: 0,
            })
        };
        Ok(Self {
            verifier,
            caching,
            parts: std::iter::repeat_with(part).take(parts).collect(),
            wall: Clock::system(),
            monotonic: Monotonic::system(),
        })
    }

    /// Tells the time of day and how much time has passed since some fixed moment. Default: the system's clocks. For
    /// tests.
    #[must_use]
    pub fn with_clocks(
        self,
        wall: impl Fn() -> Timestamp + Send + Sync + 'static,
        monotonic: impl Fn() -> Duration + Send + Sync + 'static,
    ) -> Self {
        self.at(Clock::new(wall), Monotonic::new(monotonic))
    }

    pub(crate) fn at(mut self, wall: Clock, monotonic: Monotonic) -> Self {
        self.wall = wall;
        self.monotonic = monotonic;
        self
    }

    /// Forgets a token at once: for who learns of a revocation. A question about it that is on its way is not kept.
    pub fn forget(&self, token: &str) {
        let hash = TokenHash::of(token);
        let mut part = self.part(&hash);
        part.good.remove(&hash);
        part.bad.remove(&hash);
        part.flights.remove(&hash);
    }

    /// How many good tokens are kept, those included that are no longer fresh: they leave when they are asked for or
    /// pushed out.
    pub fn len(&self) -> usize {
        self.parts.iter().map(|part| lock(part).good.len()).sum()
    }

    /// Whether no good token is kept.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn part(&self, hash: &TokenHash) -> MutexGuard<'_, Part> {
        lock(self.part_of(hash))
    }

    fn part_of(&self, hash: &TokenHash) -> &Mutex<Part> {
        &self.parts[usize::from(hash.as_bytes()[31]) % self.parts.len()]
    }

    fn step(&self, hash: &TokenHash) -> Step<'_> {
        let now = self.monotonic.now();
        let mut part = self.part(hash);
        // 1. What is known.
        if let Some(good) = part.good.get(hash) {
            let has_expired = good
                .token
                .expires_at
                .is_some_and(|end| end.has_passed(self.wall.now()));
            if now < good.end && !has_expired {
                return Step::Answer(Ok(Arc::clone(&good.token)));
            }
            part.good.remove(hash);
        }
        if let Some(end) = part.bad.get(hash) {
            if now < *end {
                return Step::Answer(Err(VerifyError::Inactive));
            }
            part.bad.remove(hash);
        }
        // 2. What is being asked, if its answer could still be kept when it comes: it may have been given already.
        if let Some(flight) = part.flights.get(hash)
            && now < flight.began.saturating_add(self.caching.time_to_live)
        {
            return Step::Wait(flight.outcome.clone());
        }
        // 3. Nobody knows.
        let (sender, outcome) = watch::channel(None);
        let number = part.next_flight;
        part.next_flight += 1;
        part.flights.insert(
            *hash,
            Flight {
                number,
                began: now,
                outcome,
            },
        );
        Step::Ask(Lead {
            part: self.part_of(hash),
            hash: *hash,
            number,
            began: now,
            sender,
        })
    }

    /// Keeps what was said, unless the token was forgotten or asked about anew in the meantime, and tells who waits.
    fn land(&self, lead: &Lead<'_>, outcome: &Outcome) {
        if let Some(mut part) = lead.take_off_the_list() {
            match outcome {
                Ok(token) => {
                    part.bad.remove(&lead.hash);
                    let end = self.end(lead.began, token.expires_at);
                    if self.monotonic.now() < end {
                        let token = Arc::clone(token);
                        part.good.insert(lead.hash, Good { token, end });
                    }
                }
                Err(VerifyError::Inactive) => {
                    part.good.remove(&lead.hash);
                    let kept = self.caching.refused_for.min(self.caching.time_to_live);
                    if !kept.is_zero() {
                        part.bad.insert(lead.hash, lead.began.saturating_add(kept));
                    }
                }
                // Who could not say has said nothing.
                Err(VerifyError::CannotCheck(_)) => {}
            }
        }
        lead.sender.send_replace(Some(outcome.clone()));
    }

    /// From when the question was sent: the answer may be as old. Capped by what is left of the token's life (S-242).
    fn end(&self, began: Duration, expires_at: Option<Timestamp>) -> Duration {
        let end = began.saturating_add(self.caching.time_to_live);
        let Some(expires_at) = expires_at else { return end };
        let left = expires_at.seconds().saturating_sub(self.wall.now().seconds());
        let left = Duration::from_secs(u64::try_from(left).unwrap_or(0));
        end.min(self.monotonic.now().saturating_add(left))
    }
}

#[async_trait::async_trait]
impl<V: TokenVerifier> TokenVerifier for Cached<V> {
    async fn verify(&self, token: &str) -> Result<VerifiedToken, VerifyError> {
        let hash = TokenHash::of(token);
        let outcome = loop {
            match self.step(&hash) {
                Step::Answer(outcome) => break outcome,
                Step::Wait(mut outcome) => {
                    // Whoever asked may have gone away before there was an answer; then somebody else asks.
                    if let Ok(outcome) = outcome.wait_for(Option::is_some).await
                        && let Some(outcome) = &*outcome
                    {
                        break outcome.clone();
                    }
                }
                Step::Ask(lead) => {
                    let outcome = self.verifier.verify(token).await.map(Arc::new);
                    self.land(&lead, &outcome);
                    break outcome;
                }
            }
        };
        outcome.map(Arc::unwrap_or_clone)
    }
}

/// The one who asks. Gone without an answer, when the request that asks is cancelled, it leaves the place to the next:
/// its channel closes.
struct Lead<'a> {
    part: &'a Mutex<Part>,
    hash: TokenHash,
    number: u64,
    began: Duration,
    sender: watch::Sender<Option<Outcome>>,
}

impl Lead<'_> {
    /// Takes the question off the list; `None` when it is not there any more, or another one is.
    fn take_off_the_list(&self) -> Option<MutexGuard<'_, Part>> {
        let mut part = lock(self.part);
        let is_ours = part
            .flights
            .get(&self.hash)
            .is_some_and(|flight| flight.number == self.number);
        is_ours.then(|| {
            part.flights.remove(&self.hash);
            part
        })
    }
}

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        drop(self.take_off_the_list());
    }
}

/// A panic in a verifier happens outside of the lock, so nothing behind it is ever half done.
fn lock(part: &Mutex<Part>) -> MutexGuard<'_, Part> {
    part.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<V> fmt::Debug for Cached<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cached")
            .field("caching", &self.caching)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "cache/tests.rs"]
mod tests;
