//! What the parts ask of the outside.

use std::{
    sync::Arc,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use mcp_authflow::port::{Clock, Entropy, Stopwatch};
use mcp_authflow_types::{Timestamp, hex};

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

/// Limits are measured by a clock that nobody sets.
pub(crate) fn stopwatch() -> Arc<dyn Stopwatch> {
    let start = Instant::now();
    Arc::new(move || start.elapsed())
}

pub(crate) struct SystemEntropy;

impl Entropy for SystemEntropy {
    #[expect(clippy::disallowed_methods, reason = "this is the room for randomness")]
    #[expect(clippy::expect_used, reason = "a system without randomness must not go on")]
    fn fill(&self, bytes: &mut [u8]) {
        getrandom::fill(bytes).expect("the operating system gives randomness");
    }
}

/// `N` random bytes.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    (&SystemEntropy as &dyn Entropy).draw()
}

pub(crate) fn random_text() -> String {
    hex::encode(&random::<32>())
}
