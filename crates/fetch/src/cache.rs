//! What is known of each URL: a copy, how the last try failed, when a refresh was forced. Bounded in entries and bytes.
//!
//! [`Known::step`] is the rule, pure: what a caller gets without a fetch, and when there has to be one.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use crate::{error::FetchError, lifetime::Lifetime, media::Media};

/// What a document may be, how large, and how long a copy of it may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Limits {
    /// What kind of body is taken.
    pub media: Media,
    /// The most bytes of its body.
    pub max_bytes: usize,
    /// The longest time that a copy is used, whatever its origin allows.
    pub max_age: Duration,
}

impl Limits {
    /// For client metadata: 10 KiB, a day.
    pub const METADATA: Self = Self {
        media: Media::Json,
        max_bytes: 10 * 1_024,
        max_age: Duration::from_secs(86_400),
    };
    /// For key sets: 64 KiB, five minutes, after which a withdrawn key is withdrawn here as well.
    pub const KEY_SET: Self = Self {
        media: Media::Json,
        max_bytes: 64 * 1_024,
        max_age: Duration::from_secs(300),
    };
    /// For logos of clients: 64 KiB, a day.
    pub const LOGO: Self = Self {
        media: Media::RasterImage,
        max_bytes: 64 * 1_024,
        max_age: Duration::from_secs(86_400),
    };
}

/// How fresh a document has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// A copy will do, as long as it may be used.
    Cached,
    /// The copy lacks what is looked for: ask again, though for one URL at most once in 30 s.
    Refresh,
}

/// A document and how old it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// The bytes as they came; the same allocation as long as it is the same copy.
    pub body: Arc<[u8]>,
    /// How long ago it was asked for, the age that its origin stated included.
    pub age: Duration,
    /// How long ago this fetcher asked for it, where it comes from memory, as it does for a refresh that is forced too soon;
    /// zero where it was asked for now.
    pub asked_ago: Duration,
    /// How long its origin lets it be used from now on (RFC 9111 §4.2), without any bound of ours; absent when the origin
    /// says nothing of it.
    pub fresh_for: Option<Duration>,
    /// It is past its time, and stands in because its origin cannot be asked.
    pub stale: bool,
}

/// What an entry is found by. The limits are part of it: a large document that was fetched as a key set is not to be
/// had as metadata.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) url: Box<str>,
    pub(crate) limits: Limits,
}

/// The times of the rule.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    /// How long a copy is used of which its origin says nothing.
    pub(crate) default_age: Duration,
    /// How long a copy is used at least, so that no origin makes us ask at every request.
    pub(crate) min_age: Duration,
    /// How long nothing is asked after a failure.
    pub(crate) pause: Duration,
    /// How long nothing is forced after a forced refresh.
    pub(crate) refresh_interval: Duration,
    /// How long after its time a copy stands in when its origin cannot be asked.
    pub(crate) last_good: Duration,
}

/// A document as it came, with its time.
#[derive(Clone, Debug)]
pub(crate) struct Copy {
    body: Arc<[u8]>,
    asked_at: Duration,
    /// How old it was when it came.
    first_age: Duration,
    /// How long its origin let it be used when it came.
    stated: Option<Duration>,
    fresh_until: Duration,
    may_be_stale: bool,
}

impl Copy {
    /// The copy asked for at `asked_at`, with its lifetime between the bounds.
    pub(crate) fn new(
        body: &[u8],
        lifetime: Lifetime,
        limits: Limits,
        asked_at: Duration,
        times: &Times,
    ) -> Self {
        let floor = times.min_age.min(limits.max_age);
        let stays_fresh = lifetime
            .remaining
            .unwrap_or(times.default_age)
            .clamp(floor, limits.max_age);
        Self {
            body: body.into(),
            asked_at,
            first_age: lifetime.age,
            stated: lifetime.remaining,
            fresh_until: asked_at + stays_fresh,
            may_be_stale: lifetime.may_be_stale,
        }
    }

    pub(crate) fn document(&self, now: Duration) -> Document {
        let since = now.saturating_sub(self.asked_at);
        Document {
            body: Arc::clone(&self.body),
            age: since.saturating_add(self.first_age),
            asked_ago: since,
            fresh_for: self.stated.map(|stated| stated.saturating_sub(since)),
            stale: now >= self.fresh_until,
        }
    }
}

/// What is known of one URL.
#[derive(Debug, Default)]
struct Known {
    copy: Option<Copy>,
    /// How the last try failed, and when.
    failure: Option<(FetchError, Duration)>,
    /// When a forced refresh last brought a copy.
    refreshed_at: Option<Duration>,
    /// Its place in the order of use.
    used: u64,
}

/// What a caller gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Use(Document),
    Fail(FetchError),
    Fetch,
}

impl Known {
    fn step(&self, freshness: Freshness, now: Duration, times: &Times) -> Step {
        let fresh = self.copy.as_ref().filter(|copy| now < copy.fresh_until);
        // 1. A copy will do, and there is one.
        if let (Freshness::Cached, Some(copy)) = (freshness, fresh) {
            return Step::Use(copy.document(now));
        }
        // 2. The last try failed a moment ago: no other one yet, whoever asks.
        if let Some((error, failed_at)) = &self.failure
            && now < *failed_at + times.pause
        {
            return match self.stand_in(freshness, now, times) {
                Some(document) => Step::Use(document),
                None => Step::Fail(error.clone()),
            };
        }
        // 3. A refresh was forced a moment ago: what it brought is the answer, to this caller as well.
        if let (Some(copy), Some(refreshed_at)) = (fresh, self.refreshed_at)
            && now < refreshed_at + times.refresh_interval
        {
            return Step::Use(copy.document(now));
        }
        Step::Fetch
    }

    /// The last good copy, for a caller who is content with a copy, when the origin cannot be asked. An origin that
    /// answered otherwise has taken its document back; [`Cache::failed`] has dropped it then.
    fn stand_in(&self, freshness: Freshness, now: Duration, times: &Times) -> Option<Document> {
        let copy = self.copy.as_ref()?;
        let stands =
            freshness == Freshness::Cached && copy.may_be_stale && now < copy.fresh_until + times.last_good;
        stands.then(|| copy.document(now))
    }

    fn bytes(&self, key: &Key) -> usize {
        key.url.len() + self.copy.as_ref().map_or(0, |copy| copy.body.len()) + BYTES_BESIDE
    }
}

/// What an entry takes beside URL and body, roughly: keys, maps, error text.
const BYTES_BESIDE: usize = 512;

/// What is known of the URLs used last.
#[derive(Debug)]
pub(crate) struct Cache {
    known: HashMap<Arc<Key>, Known>,
    /// The same by last use, the oldest first.
    by_use: BTreeMap<u64, Arc<Key>>,
    uses: u64,
    bytes: usize,
    max_entries: usize,
    max_bytes: usize,
    times: Times,
}

impl Cache {
    pub(crate) fn new(max_entries: usize, max_bytes: usize, times: Times) -> Self {
        Self {
            known: HashMap::new(),
            by_use: BTreeMap::new(),
            uses: 0,
            bytes: 0,
            max_entries,
            max_bytes,
            times,
        }
    }

    pub(crate) fn times(&self) -> &Times {
        &self.times
    }

    /// What a caller gets now.
    pub(crate) fn step(&mut self, key: &Arc<Key>, freshness: Freshness, now: Duration) -> Step {
        let times = self.times;
        match self.used(key) {
            Some(known) => known.step(freshness, now, &times),
            None => Step::Fetch,
        }
    }

    /// What a caller gets whose fetch failed just now, where that is not the failure.
    pub(crate) fn stand_in(
        &mut self,
        key: &Arc<Key>,
        freshness: Freshness,
        now: Duration,
    ) -> Option<Document> {
        let times = self.times;
        self.used(key)?.stand_in(freshness, now, &times)
    }

    /// Notes a copy that came.
    pub(crate) fn keep(&mut self, key: &Arc<Key>, copy: Copy, freshness: Freshness, now: Duration) {
        self.change(key, |known| {
            known.copy = Some(copy);
            known.failure = None;
            if freshness == Freshness::Refresh {
                known.refreshed_at = Some(now);
            }
        });
    }

    /// Notes a failure. The copy stays when the origin could not be asked; an origin that answered with something else,
    /// or is not to be asked any more, has taken it back.
    pub(crate) fn failed(&mut self, key: &Arc<Key>, error: &FetchError, now: Duration) {
        self.change(key, |known| {
            match error {
                FetchError::Unavailable(_) => {}
                FetchError::Refused(_) | FetchError::BadDocument(_) => known.copy = None,
            }
            known.failure = Some((error.clone(), now));
        });
    }

    /// Finds an entry and makes it the one used last.
    fn used(&mut self, key: &Arc<Key>) -> Option<&mut Known> {
        let known = self.known.get_mut(key)?;
        self.uses += 1;
        if let Some(key) = self.by_use.remove(&known.used) {
            self.by_use.insert(self.uses, key);
        }
        known.used = self.uses;
        Some(known)
    }

    fn change(&mut self, key: &Arc<Key>, change: impl FnOnce(&mut Known)) {
        if self.used(key).is_none() {
            self.uses += 1;
            let new = Known {
                used: self.uses,
                ..Known::default()
            };
            self.bytes += new.bytes(key);
            self.by_use.insert(self.uses, Arc::clone(key));
            self.known.insert(Arc::clone(key), new);
        }
        if let Some(known) = self.known.get_mut(key) {
            self.bytes -= known.bytes(key);
            change(known);
            self.bytes += known.bytes(key);
        }
        while self.known.len() > self.max_entries || self.bytes > self.max_bytes {
            let Some((_, oldest)) = self.by_use.pop_first() else {
                break;
            };
            if let Some(known) = self.known.remove(&oldest) {
                self.bytes -= known.bytes(&oldest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;
    use crate::error::{BadDocument, Unavailable};

    const TIMES: Times = Times {
        default_age: Duration::from_secs(300),
        min_age: Duration::from_secs(30),
        pause: Duration::from_secs(10),
        refresh_interval: Duration::from_secs(30),
        last_good: Duration::ZERO,
    };
    const DOWN: FetchError = FetchError::Unavailable(Unavailable::Busy);
    const GONE: FetchError = FetchError::BadDocument(BadDocument::Status(404));

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn key(url: &str) -> Arc<Key> {
        Arc::new(Key {
            url: url.into(),
            limits: Limits::METADATA,
        })
    }

    fn copy(body: &str, remaining: Option<u64>, asked_at: u64) -> Copy {
        let lifetime = Lifetime {
            remaining: remaining.map(Duration::from_secs),
            age: Duration::ZERO,
            may_be_stale: true,
        };
        Copy::new(body.as_bytes(), lifetime, Limits::METADATA, at(asked_at), &TIMES)
    }

    fn cache_with(times: Times) -> (Cache, Arc<Key>) {
        (Cache::new(100, 1_000_000, times), key("https://c.test/"))
    }

    fn used(step: Step) -> (Vec<u8>, u64, bool) {
        match step {
            Step::Use(document) => (document.body.to_vec(), document.age.as_secs(), document.stale),
            other => panic!("{other:?}"),
        }
    }

    /// CM-13
    #[test]
    fn the_lifetime_is_bounded_on_both_sides() {
        for (limits, said, lives) in [
            (Limits::METADATA, None, 300),
            (Limits::METADATA, Some(0), 30),
            (Limits::METADATA, Some(29), 30),
            (Limits::METADATA, Some(3_600), 3_600),
            (Limits::METADATA, Some(315_360_000), 86_400),
            (Limits::KEY_SET, Some(3_600), 300),
            (
                Limits {
                    max_age: at(5),
                    ..Limits::KEY_SET
                },
                None,
                5,
            ),
        ] {
            let lifetime = Lifetime {
                remaining: said.map(Duration::from_secs),
                age: Duration::ZERO,
                may_be_stale: true,
            };
            let copy = Copy::new(b"{}", lifetime, limits, at(100), &TIMES);
            assert_eq!(copy.fresh_until, at(100 + lives), "{limits:?} {said:?}");
        }
    }

    /// M-066: whoever keeps copies of its own is told what the origin said.
    #[test]
    fn what_the_origin_says_is_handed_on_without_a_bound() {
        for (said, after, left) in [
            (None, 0, None),
            (Some(0), 5, Some(0)),
            (Some(600), 0, Some(600)),
            (Some(600), 40, Some(560)),
            (Some(315_360_000), 0, Some(315_360_000)),
        ] {
            let document = copy("1", said, 100).document(at(100 + after));
            assert_eq!(
                document.fresh_for,
                left.map(Duration::from_secs),
                "{said:?} {after}"
            );
        }
    }

    #[test]
    fn a_copy_is_used_until_its_time_and_not_a_second_longer() {
        let (mut cache, key) = cache_with(TIMES);
        assert_eq!(cache.step(&key, Freshness::Cached, at(0)), Step::Fetch);
        cache.keep(&key, copy("1", Some(60), 0), Freshness::Cached, at(1));
        assert_eq!(
            used(cache.step(&key, Freshness::Cached, at(59))),
            (b"1".to_vec(), 59, false)
        );
        assert_eq!(cache.step(&key, Freshness::Cached, at(60)), Step::Fetch);
    }

    #[test]
    fn a_refresh_is_forced_once_in_a_while() {
        let (mut cache, key) = cache_with(TIMES);
        cache.keep(&key, copy("1", None, 0), Freshness::Cached, at(0));
        // A key that was published a second ago is found at once.
        assert_eq!(cache.step(&key, Freshness::Refresh, at(1)), Step::Fetch);
        cache.keep(&key, copy("2", None, 1), Freshness::Refresh, at(2));
        for second in [2, 10, 31] {
            assert_eq!(
                used(cache.step(&key, Freshness::Refresh, at(second))).0,
                b"2",
                "{second}"
            );
        }
        assert_eq!(cache.step(&key, Freshness::Refresh, at(32)), Step::Fetch);
    }

    /// SF-21
    #[test]
    fn after_a_failure_nobody_asks_for_a_while() {
        let (mut cache, key) = cache_with(TIMES);
        cache.failed(&key, &DOWN, at(0));
        for freshness in [Freshness::Cached, Freshness::Refresh] {
            assert_eq!(cache.step(&key, freshness, at(9)), Step::Fail(DOWN));
            assert_eq!(cache.step(&key, freshness, at(10)), Step::Fetch);
        }
    }

    #[test]
    fn a_refresh_that_failed_leaves_the_copy_but_is_not_answered_with_it() {
        let (mut cache, key) = cache_with(TIMES);
        cache.keep(&key, copy("1", None, 0), Freshness::Refresh, at(0));
        cache.failed(&key, &DOWN, at(40));
        assert_eq!(used(cache.step(&key, Freshness::Cached, at(41))).0, b"1");
        assert_eq!(cache.step(&key, Freshness::Refresh, at(41)), Step::Fail(DOWN));
    }

    /// CM-14: past its time a copy is not used, unless the operator lets it stand in.
    #[test]
    fn the_last_good_copy_stands_in_for_a_stated_time_only() {
        let (mut cache, key) = cache_with(TIMES);
        cache.keep(&key, copy("1", Some(60), 0), Freshness::Cached, at(0));
        cache.failed(&key, &DOWN, at(60));
        assert_eq!(cache.step(&key, Freshness::Cached, at(60)), Step::Fail(DOWN));

        let (mut cache, key) = cache_with(Times {
            last_good: at(100),
            ..TIMES
        });
        cache.keep(&key, copy("1", Some(60), 0), Freshness::Cached, at(0));
        assert_eq!(cache.step(&key, Freshness::Cached, at(60)), Step::Fetch);
        cache.failed(&key, &DOWN, at(60));
        assert_eq!(
            used(cache.step(&key, Freshness::Cached, at(61))),
            (b"1".to_vec(), 61, true)
        );
        assert_eq!(cache.step(&key, Freshness::Refresh, at(61)), Step::Fail(DOWN));
        assert!(cache.stand_in(&key, Freshness::Cached, at(159)).is_some());
        assert!(cache.stand_in(&key, Freshness::Cached, at(160)).is_none());
    }

    #[test]
    fn an_origin_that_answers_otherwise_has_taken_its_document_back() {
        let (mut cache, key) = cache_with(Times {
            last_good: at(100),
            ..TIMES
        });
        cache.keep(&key, copy("1", None, 0), Freshness::Cached, at(0));
        cache.failed(&key, &GONE, at(5));
        assert_eq!(cache.step(&key, Freshness::Cached, at(6)), Step::Fail(GONE));
        assert_eq!(cache.stand_in(&key, Freshness::Cached, at(6)), None);
        assert_eq!(cache.step(&key, Freshness::Cached, at(15)), Step::Fetch);
    }

    #[test]
    fn the_same_url_under_other_limits_is_another_document() {
        let (mut cache, key) = cache_with(TIMES);
        cache.keep(&key, copy("1", None, 0), Freshness::Cached, at(0));
        let other = Arc::new(Key {
            limits: Limits::KEY_SET,
            ..(*key).clone()
        });
        assert_eq!(cache.step(&other, Freshness::Cached, at(1)), Step::Fetch);
    }

    #[test]
    fn the_entry_used_longest_ago_goes_first() {
        let mut cache = Cache::new(2, 1_000_000, TIMES);
        let [a, b, c] = ["a", "b", "c"].map(key);
        for key in [&a, &b] {
            cache.keep(key, copy("1", None, 0), Freshness::Cached, at(0));
        }
        used(cache.step(&a, Freshness::Cached, at(1)));
        cache.failed(&c, &DOWN, at(1));
        used(cache.step(&a, Freshness::Cached, at(1)));
        assert_eq!(cache.step(&b, Freshness::Cached, at(1)), Step::Fetch);
        assert_eq!(cache.step(&c, Freshness::Cached, at(1)), Step::Fail(DOWN));
    }

    /// P12
    #[test]
    fn entries_and_bytes_stay_within_their_bounds() {
        let mut cache = Cache::new(50, 60_000, TIMES);
        for round in 0..2_000_u64 {
            let key = key(&format!("https://c.test/{}", round * 7 % 311));
            match round % 5 {
                0 => cache.failed(&key, &DOWN, at(round)),
                1 => cache.failed(&key, &GONE, at(round)),
                _ => {
                    let body = "x".repeat(usize::try_from(round * 37 % 9_000).unwrap());
                    cache.keep(&key, copy(&body, None, round), Freshness::Cached, at(round));
                }
            }
            assert!(cache.known.len() <= 50 && cache.bytes <= 60_000);
            assert_eq!(cache.known.len(), cache.by_use.len());
            let counted: usize = cache.known.iter().map(|(key, known)| known.bytes(key)).sum();
            assert_eq!(counted, cache.bytes);
        }
        let giant = "x".repeat(70_000);
        cache.keep(
            &key("https://c.test/"),
            copy(&giant, None, 0),
            Freshness::Cached,
            at(0),
        );
        assert_eq!((cache.known.len(), cache.bytes), (0, 0));
    }
}
