//! A clock that stands still until it is told to go on.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};

use mcp_authflow::port::{Clock, Stopwatch};
use mcp_authflow_types::Timestamp;

/// A clock for tests: it shows what it was set to.
///
/// ```
/// use std::time::Duration;
/// use mcp_authflow::port::Clock;
/// use mcp_authflow_testkit::manual_clock::ManualClock;
/// use mcp_authflow_types::Timestamp;
///
/// let clock = ManualClock::at(Timestamp::from_seconds(1_790_000_000));
/// clock.advance(Duration::from_secs(60));
/// assert_eq!(clock.now(), Timestamp::from_seconds(1_790_000_060));
/// ```
#[derive(Debug)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// Makes a clock that stands at `now`.
    pub fn at(now: Timestamp) -> Self {
        Self(AtomicI64::new(now.seconds()))
    }

    /// Moves the clock ahead, by whole seconds.
    pub fn advance(&self, by: Duration) {
        let now = self.now() + by;
        self.set(now);
    }

    /// Sets the clock, back too.
    pub fn set(&self, now: Timestamp) {
        self.0.store(now.seconds(), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_seconds(self.0.load(Ordering::SeqCst))
    }
}

impl Stopwatch for ManualClock {
    /// The seconds that it shows.
    fn elapsed(&self) -> Duration {
        self.now().since(Timestamp::from_seconds(0))
    }
}
