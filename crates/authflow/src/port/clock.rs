//! Time: what the clock shows, and how long something took.

use std::time::Duration;

use mcp_authflow_types::Timestamp;

/// Tells the time. A clock that is wrong by more than five minutes against the database makes a node report not ready;
/// one that steps back may let expired things live as much longer, as far as no database clock overrules it.
pub trait Clock: Send + Sync {
    /// The time in whole seconds.
    fn now(&self) -> Timestamp;
}

/// Measures intervals. It is not the clock: one that is set back or ahead with the system's clock locks people out, or
/// lets them try without end.
///
/// Anything that counts up from a moment of its own will do:
///
/// ```
/// use std::time::Instant;
/// use mcp_authflow::port::Stopwatch;
///
/// let start = Instant::now();
/// let stopwatch = move || start.elapsed();
/// assert!(Stopwatch::elapsed(&stopwatch) >= std::time::Duration::ZERO);
/// ```
pub trait Stopwatch: Send + Sync {
    /// How long it has run; never less than it said before.
    fn elapsed(&self) -> Duration;
}

impl<F: Fn() -> Duration + Send + Sync> Stopwatch for F {
    fn elapsed(&self) -> Duration {
        self()
    }
}
