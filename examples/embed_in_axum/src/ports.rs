//! What the server asks of the outside: the time, randomness, and someone to tell what it decided.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mcp_authflow::port::{Audit, AuditEvent, Clock, Entropy, Stopwatch};
use mcp_authflow_types::Timestamp;

/// The system's clock.
pub(crate) struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the room for the clock")]
    fn now(&self) -> Timestamp {
        let seconds = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        Timestamp::from_seconds(i64::try_from(seconds).unwrap_or(i64::MAX))
    }
}

/// How long this process has run: what limits are measured by, since the clock may be set.
pub(crate) struct SinceStart(Instant);

impl SinceStart {
    pub(crate) fn now() -> Self {
        Self(Instant::now())
    }
}

impl Stopwatch for SinceStart {
    fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

/// The system's randomness.
pub(crate) struct SystemEntropy;

impl Entropy for SystemEntropy {
    #[expect(clippy::disallowed_methods, reason = "this is the room for randomness")]
    #[expect(clippy::expect_used, reason = "a system without randomness must not go on")]
    fn fill(&self, bytes: &mut [u8]) {
        getrandom::fill(bytes).expect("the operating system gives randomness");
    }
}

/// Tells the terminal what was decided.
pub(crate) struct AuditToTerminal;

impl Audit for AuditToTerminal {
    fn record(&self, event: &AuditEvent<'_>) {
        println!("{}: {:?}, {}", event.action.as_str(), event.outcome, event.reason);
    }
}
