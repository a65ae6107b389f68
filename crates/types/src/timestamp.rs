//! A moment in whole seconds since 1970, and the one place where expiry is defined.

use std::{fmt, time::Duration};

/// A moment, in whole seconds since 1970-01-01 00:00 UTC.
///
/// ```
/// use std::time::Duration;
/// use mcp_authflow_types::Timestamp;
///
/// let issued = Timestamp::from_seconds(1_000);
/// let expires = issued + Duration::from_secs(60);
/// assert!(!expires.has_passed(Timestamp::from_seconds(1_059)));
/// assert!(expires.has_passed(Timestamp::from_seconds(1_060)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// Makes a timestamp from seconds since the epoch.
    pub const fn from_seconds(seconds: i64) -> Self {
        Self(seconds)
    }

    /// The seconds since the epoch.
    pub const fn seconds(self) -> i64 {
        self.0
    }

    /// Whether something that expires at `self` has expired at `now`: it is valid while `now < expires_at`.
    pub const fn has_passed(self, now: Self) -> bool {
        now.0 >= self.0
    }

    /// How long from `earlier` until `self`; zero when `earlier` is not earlier.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_secs(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl std::ops::Add<Duration> for Timestamp {
    type Output = Self;

    /// Adds whole seconds, and stays at the far end instead of overflowing.
    fn add(self, duration: Duration) -> Self {
        Self(
            self.0
                .saturating_add(i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)),
        )
    }
}

impl std::ops::Sub<Duration> for Timestamp {
    type Output = Self;

    /// Subtracts whole seconds, and stays at the far end instead of overflowing.
    fn sub(self, duration: Duration) -> Self {
        Self(
            self.0
                .saturating_sub(i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)),
        )
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_stays_at_the_ends_instead_of_overflowing() {
        let end = Timestamp::from_seconds(i64::MAX);
        assert_eq!(end + Duration::from_secs(1), end);
        assert_eq!(
            Timestamp::from_seconds(5).since(Timestamp::from_seconds(9)),
            Duration::ZERO
        );
        assert_eq!(Timestamp::from_seconds(0) + Duration::from_secs(u64::MAX), end);
    }
}
