//! How long an issuer's keys are kept, and how often it is asked for them.

use std::time::Duration;

/// The times by which keys are kept. The issuer's side of the bargain: it publishes a key for as long as `max_age` before
/// it signs with it, and after its last token has expired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyTimes {
    /// How long keys are used before they are fetched anew; they are renewed in the background from four fifths of it.
    /// A key that the issuer withdrew is refused after this time at the latest. Default 5 min.
    pub max_age: Duration,
    /// How long after their fetching keys are used at most, when the issuer cannot be asked. Default 1 h.
    pub last_good: Duration,
    /// The least time between two questions to the issuer. A token that names a key nobody knows waits for the next one,
    /// together with all others: no flood of such tokens is passed on. Default 1 s.
    pub min_interval: Duration,
    /// How long one fetch may take in all, and a token wait for keys. Default 2 s.
    pub time_limit: Duration,
}

impl Default for KeyTimes {
    fn default() -> Self {
        Self {
            max_age: Duration::from_secs(300),
            last_good: Duration::from_secs(3_600),
            min_interval: Duration::from_secs(1),
            time_limit: Duration::from_secs(2),
        }
    }
}

impl KeyTimes {
    /// From which age on keys are renewed in the background.
    pub(super) fn renewal_age(&self) -> Duration {
        self.max_age * 4 / 5
    }

    pub(super) fn are_sensible(&self) -> bool {
        self.max_age >= Duration::from_secs(1)
            && self.last_good >= self.max_age
            && self.min_interval > Duration::ZERO
            && self.time_limit > Duration::ZERO
    }
}
