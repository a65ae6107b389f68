//! Limits on how often something may be tried.

use std::time::Duration;

/// What is counted: the rule, and how often it admits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// The rule's name; keys of different rules never mix.
    pub name: &'static str,
    /// How many tries are admitted in a window.
    pub tries: u32,
    /// The window.
    pub window: Duration,
}

/// Why there is no such limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidLimit {
    /// It would refuse everything.
    #[error("a limit admits at least one try in a window")]
    NoTries,
    /// It would admit everything.
    #[error("the window of a limit is longer than nothing")]
    NoWindow,
    /// Nobody would live to see its end, and sums with it would overflow.
    #[error("the window of a limit is at most a year")]
    LongWindow,
    /// Its name is to be part of a shared store's key.
    #[error("a limit's name is 1 to 64 of the characters A-Z a-z 0-9 _ . -")]
    Name,
}

impl Limit {
    /// The longest window.
    pub const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

    /// Makes a limit and checks it.
    ///
    /// # Errors
    /// [`InvalidLimit`]: no tries, no window, a window of more than a [year](Self::LONGEST), an unsuitable name.
    pub fn new(name: &'static str, tries: u32, window: Duration) -> Result<Self, InvalidLimit> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
        if name.is_empty() || name.len() > 64 || !name.bytes().all(is_plain) {
            return Err(InvalidLimit::Name);
        }
        if tries == 0 {
            return Err(InvalidLimit::NoTries);
        }
        if window.is_zero() {
            return Err(InvalidLimit::NoWindow);
        }
        if window > Self::LONGEST {
            return Err(InvalidLimit::LongWindow);
        }
        Ok(Self { name, tries, window })
    }
}

/// A wait as `Retry-After` tells it: whole seconds, rounded up, so that whoever comes back then is admitted; at least 1
/// (RFC 9110 §10.2.3).
///
/// ```
/// use std::time::Duration;
/// use mcp_authflow::port::rate_limit::retry_after_seconds;
///
/// assert_eq!(retry_after_seconds(Duration::from_millis(1_001)), 2);
/// assert_eq!(retry_after_seconds(Duration::ZERO), 1);
/// ```
pub fn retry_after_seconds(wait: Duration) -> u64 {
    (wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(1)
}

/// Whether a try is admitted.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Go on.
    Admitted,
    /// Refuse, and say when to try again.
    Refused {
        /// How long until a try can be admitted.
        retry_after: Duration,
    },
}

/// What a limiter knows of a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyState {
    /// How long until the next try would be admitted; zero when it would be now.
    pub retry_after: Duration,
    /// How long ago the oldest of the tries was that are still held. A try that left the window may be held for a while.
    pub oldest: Option<Duration>,
}

/// Counts tries. Counting comes before checking; a limiter that forgets lets passwords be guessed and tables be
/// flooded, one that is too strict locks honest people out.
///
/// A limiter that cannot ask its shared memory does not fail: it falls back on counting by itself, more strictly.
#[async_trait::async_trait]
pub trait RateLimit: Send + Sync {
    /// Counts a try against `key` and says whether it is admitted. A refused try is not counted, so whoever waits as long
    /// as told is admitted.
    async fn admit(&self, limit: Limit, key: &str) -> Admission;

    /// Says how things stand with `key`, and counts nothing.
    async fn look(&self, limit: Limit, key: &str) -> KeyState;

    /// Takes back the try that was counted last against `key`: it turned out to be none. The default takes nothing back.
    async fn take_back(&self, limit: Limit, key: &str) {
        let _ = (limit, key);
    }

    /// Forgets the tries counted against `key`: it has shown that they were honest. The default forgets nothing.
    async fn forgive(&self, limit: Limit, key: &str) {
        let _ = (limit, key);
    }
}
