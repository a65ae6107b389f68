//! The issuer's keys: fetched when first needed, renewed before they grow old, kept while the issuer cannot be asked.
//!
//! - Keys of less than `max_age` are used as they are; from four fifths of it they are renewed in the background.
//! - A token that names a key which is not among them waits for a set that was asked for *after* the token came: so a key
//!   that the issuer signs with at once is found, and a token is called bad only by what the issuer says now. All such
//!   tokens wait for the same question, and there is one a second at most, whatever is sent.
//! - A question goes on when the request that caused it goes away. Otherwise whoever sends a forged token and hangs up, again
//!   and again, would keep everybody from ever having keys.
//! - What comes and is no set, or has no key that can be used, replaces nothing. Without an answer the last good set is used
//!   for an hour, at once where the issuer failed to answer a moment ago; without one at all, nobody can say.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use mcp_authflow_jose::{KeySet, UnverifiedJws};
use mcp_authflow_types::Issuer;
use tokio::{
    sync::Semaphore,
    time::{sleep, timeout},
};

use super::{key_address::KeyAddress, key_times::KeyTimes};
use crate::{clock::Monotonic, outbound::InvalidEndpoint, verify::CannotCheck};

/// How many tokens may wait for keys at a time. More are told to come again; each holds a request of its caller's.
const MOST_WAITING: usize = 1_024;
/// How long after a question that failed the last good set is used without waiting for the next one.
const MOMENT: Duration = Duration::from_secs(10);

/// Where keys come from.
#[derive(Debug)]
pub(super) enum IssuerKeys {
    Fixed(Arc<KeySet>),
    Remote(Arc<RemoteKeys>),
}

impl IssuerKeys {
    /// The keys that need no question, if there are any.
    pub(super) fn at_hand(&self) -> Option<Arc<KeySet>> {
        match self {
            Self::Fixed(keys) => Some(Arc::clone(keys)),
            Self::Remote(remote) => {
                let kept = remote.at_hand()?;
                remote.renew_ahead(&kept);
                Some(kept.keys)
            }
        }
    }

    /// How many keys there are now, asked for if there is a need to.
    pub(super) async fn look(&self) -> Result<usize, CannotCheck> {
        match self {
            Self::Fixed(keys) => Ok(keys.len()),
            Self::Remote(remote) => remote.look().await,
        }
    }

    /// Keys among which is the one that the token names; else the newest that there are.
    pub(super) async fn which_may_have_signed(
        &self,
        jws: &UnverifiedJws,
    ) -> Result<Arc<KeySet>, CannotCheck> {
        match self {
            Self::Fixed(keys) => Ok(Arc::clone(keys)),
            Self::Remote(remote) => remote.which_may_have_signed(jws).await,
        }
    }
}

/// The keys of an issuer that is asked.
#[derive(Debug)]
pub(super) struct RemoteKeys {
    issuer: Issuer,
    address: KeyAddress,
    times: KeyTimes,
    now: Monotonic,
    known: Mutex<Known>,
    /// Held by who asks; the others queue up behind and find the answer.
    asking: Arc<tokio::sync::Mutex<()>>,
    waiting: Semaphore,
    is_renewing: AtomicBool,
}

#[derive(Debug, Default)]
struct Known {
    kept: Option<Kept>,
    /// When the issuer was last asked, and how that failed, if it did.
    asked_at: Option<Duration>,
    failure: Option<CannotCheck>,
}

/// A set, and when it was asked for.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    keys: Arc<KeySet>,
    body: Arc<[u8]>,
    asked_at: Duration,
}

impl RemoteKeys {
    /// The keys at the address that the issuer's metadata names.
    pub(super) fn of_issuer(
        issuer: &Issuer,
        times: KeyTimes,
        now: Monotonic,
    ) -> Result<Self, InvalidEndpoint> {
        let address = KeyAddress::in_metadata_of(issuer, times.time_limit)?;
        Ok(Self::new(issuer, address, times, now))
    }

    /// The keys at this address.
    pub(super) fn at(
        issuer: &Issuer,
        url: &str,
        times: KeyTimes,
        now: Monotonic,
    ) -> Result<Self, InvalidEndpoint> {
        let address = KeyAddress::at(url, times.time_limit)?;
        Ok(Self::new(issuer, address, times, now))
    }

    fn new(issuer: &Issuer, address: KeyAddress, times: KeyTimes, now: Monotonic) -> Self {
        Self {
            issuer: issuer.clone(),
            address,
            times,
            now,
            known: Mutex::default(),
            asking: Arc::default(),
            waiting: Semaphore::new(MOST_WAITING),
            is_renewing: AtomicBool::new(false),
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn age(&self, kept: &Kept) -> Duration {
        self.now.now().saturating_sub(kept.asked_at)
    }

    /// The set, while it is young enough to be used without a question.
    fn at_hand(&self) -> Option<Kept> {
        let kept = self.known().kept.clone()?;
        (self.age(&kept) < self.times.max_age).then_some(kept)
    }

    async fn look(self: &Arc<Self>) -> Result<usize, CannotCheck> {
        let keys = match self.at_hand() {
            Some(kept) => kept.keys,
            None => timeout(self.times.time_limit, self.asked_since(self.now.now(), |_| true))
                .await
                .unwrap_or(Err(CannotCheck::Refused))?,
        };
        Ok(keys.len())
    }

    async fn which_may_have_signed(
        self: &Arc<Self>,
        jws: &UnverifiedJws,
    ) -> Result<Arc<KeySet>, CannotCheck> {
        let has_its_key = |keys: &KeySet| keys.candidates(jws.algorithm(), jws.key_id()).next().is_some();
        let came_at = self.now.now();
        if let Some(kept) = self.at_hand()
            && has_its_key(&kept.keys)
        {
            self.renew_ahead(&kept);
            return Ok(kept.keys);
        }
        let last_good = || {
            let kept = self.known().kept.clone()?;
            (self.age(&kept) < self.times.last_good && has_its_key(&kept.keys)).then_some(kept)
        };
        // An outage must not cost every request the whole time limit.
        if self.has_just_failed()
            && let Some(kept) = last_good()
        {
            self.renew_ahead(&kept);
            return Ok(kept.keys);
        }
        let asked = match self.waiting.try_acquire() {
            Err(_) => Err(CannotCheck::Refused),
            Ok(_place) => timeout(self.times.time_limit, self.asked_since(came_at, has_its_key))
                .await
                .unwrap_or(Err(CannotCheck::TimedOut)),
        };
        asked.or_else(|why| {
            let keys = last_good().map(|kept| kept.keys);
            // Nobody was asked about this token who could be late with an answer: what is missing are the keys.
            keys.ok_or(match why {
                CannotCheck::TimedOut => CannotCheck::Refused,
                why => why,
            })
        })
    }

    fn has_just_failed(&self) -> bool {
        let known = self.known();
        let asked_at = known.asked_at.filter(|_| known.failure.is_some());
        asked_at
            .is_some_and(|asked_at| self.now.now().saturating_sub(asked_at) < self.times.time_limit + MOMENT)
    }

    fn has_just_asked(&self) -> bool {
        let asked_at = self.known().asked_at;
        asked_at.is_some_and(|asked_at| self.now.now().saturating_sub(asked_at) < self.times.min_interval)
    }

    /// A set that was asked for no earlier than this, or one that will do.
    async fn asked_since(
        self: &Arc<Self>,
        came_at: Duration,
        will_do: impl Fn(&KeySet) -> bool,
    ) -> Result<Arc<KeySet>, CannotCheck> {
        let turn = Arc::clone(&self.asking).lock_owned().await;
        // Somebody asked while we waited, or has just been told no.
        if let Some(kept) = self.at_hand()
            && (kept.asked_at >= came_at || will_do(&kept.keys))
        {
            return Ok(kept.keys);
        }
        let last_asked = {
            let known = self.known();
            match (known.failure, known.asked_at) {
                (Some(failure), Some(asked_at))
                    if self.now.now().saturating_sub(asked_at) < self.times.min_interval =>
                {
                    return Err(failure);
                }
                (_, asked_at) => asked_at,
            }
        };
        let this = Arc::clone(self);
        // In a task of its own, with the turn: it comes to its end even when nobody waits for it any more.
        let asking = tokio::spawn(async move {
            let _turn = turn;
            if let Some(asked_at) = last_asked {
                let rest = this
                    .times
                    .min_interval
                    .saturating_sub(this.now.now().saturating_sub(asked_at));
                if !rest.is_zero() {
                    sleep(rest).await;
                }
            }
            this.ask().await
        });
        asking.await.unwrap_or(Err(CannotCheck::Refused))
    }

    /// Asks, and keeps the answer. Called by whoever holds the turn.
    async fn ask(&self) -> Result<Arc<KeySet>, CannotCheck> {
        let asked_at = self.now.now();
        self.known().asked_at = Some(asked_at);
        // On the whole of it: finding the address may take several questions.
        let fetched = timeout(self.times.time_limit, self.address.fetch())
            .await
            .unwrap_or(Err(CannotCheck::TimedOut));
        let outcome = fetched.and_then(|body| {
            let same = self.known().kept.clone().filter(|kept| *kept.body == *body);
            if let Some(kept) = same {
                return Ok(Kept { asked_at, ..kept });
            }
            let keys = KeySet::parse(&body).map_err(|error| {
                tracing::warn!(issuer = %self.issuer, %error, "the issuer's keys cannot be read");
                CannotCheck::BadAnswer
            })?;
            if keys.is_empty() {
                tracing::warn!(issuer = %self.issuer, skipped = keys.skipped(), "the issuer has no usable keys");
                return Err(CannotCheck::BadAnswer);
            }
            tracing::info!(issuer = %self.issuer, keys = keys.len(), "the issuer's keys have changed");
            Ok(Kept {
                keys: Arc::new(keys),
                body: body.as_ref().into(),
                asked_at,
            })
        });
        let mut known = self.known();
        match outcome {
            Ok(kept) => {
                known.failure = None;
                let keys = Arc::clone(&kept.keys);
                known.kept = Some(kept);
                Ok(keys)
            }
            Err(why) => {
                known.failure = Some(why);
                Err(why)
            }
        }
    }

    /// Renews keys that will soon be old, beside the request that noticed it.
    fn renew_ahead(self: &Arc<Self>, kept: &Kept) {
        let is_due = self.age(kept) >= self.times.renewal_age() && !self.has_just_asked();
        if !is_due || self.is_renewing.swap(true, Ordering::Relaxed) {
            return;
        }
        let (this, asked_at) = (Arc::clone(self), kept.asked_at);
        tokio::spawn(async move {
            // A set asked for later than the one that is growing old.
            let since = asked_at + Duration::from_nanos(1);
            let renewed = timeout(this.times.time_limit, this.asked_since(since, |_| false)).await;
            if !matches!(renewed, Ok(Ok(_))) {
                tracing::warn!(issuer = %this.issuer, "the issuer's keys could not be renewed yet");
            }
            this.is_renewing.store(false, Ordering::Relaxed);
        });
    }
}
