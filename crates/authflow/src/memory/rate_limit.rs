//! A sliding-window limiter for one process.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::sliding_window::{Room, Windows, nanoseconds};
use crate::port::{
    RateLimit, Stopwatch,
    rate_limit::{Admission, KeyState, Limit},
};

/// Counts tries in memory: of any window's length, at most as many are admitted as the limit says, to the nanosecond and
/// whatever the number of threads. A refused try is not counted, so whoever waits as long as he is told is admitted.
///
/// A try costs the same whether the limit is 10 or 10,000. Of each rule it holds at most [`MAX_KEYS`](Self::MAX_KEYS)
/// keys and [`MAX_TRIES`](Self::MAX_TRIES) tries. When it is full, the keys that were quiet longest go: an honest newcomer
/// is never refused for want of room, and whoever floods it with addresses can at most make it forget, and no other rule.
///
/// It counts for one process: behind several, use a shared limiter (`mcp-authflow-redis`).
///
/// ```
/// use std::{sync::Arc, time::Duration};
/// use mcp_authflow::{memory::MemoryRateLimit, port::{RateLimit as _, rate_limit::{Admission, Limit}}};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// // A stopwatch that stands still; `let start = Instant::now(); move || start.elapsed()` is one that runs.
/// let limiter = MemoryRateLimit::new(Arc::new(|| Duration::ZERO));
/// let limit = Limit { name: "login", tries: 1, window: Duration::from_secs(600) };
/// assert_eq!(limiter.admit(limit, "alice").await, Admission::Admitted);
/// assert_eq!(limiter.admit(limit, "alice").await, Admission::Refused { retry_after: Duration::from_secs(600) });
/// assert_eq!(limiter.admit(limit, "bob").await, Admission::Admitted);
/// # }
/// ```
pub struct MemoryRateLimit {
    stopwatch: Arc<dyn Stopwatch>,
    room: Room,
    nodes: u32,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    rules: HashMap<&'static str, Windows>,
    now: SteadyTime,
}

/// What the stopwatch says, kept from going back: after a step back it goes on from where it was.
#[derive(Default)]
struct SteadyTime {
    shown: u64,
    lost: u64,
}

impl SteadyTime {
    fn advance(&mut self, shown: u64) -> u64 {
        self.lost = self.lost.saturating_add(self.shown.saturating_sub(shown));
        self.shown = shown;
        shown.saturating_add(self.lost)
    }
}

impl MemoryRateLimit {
    /// The most keys held of a rule: some 15 MiB of the server's.
    pub const MAX_KEYS: usize = 65_536;
    /// The most tries held of a rule: 8 MiB, twice that at worst.
    pub const MAX_TRIES: usize = 1_048_576;

    /// Makes a limiter that has counted nothing yet.
    pub fn new(stopwatch: Arc<dyn Stopwatch>) -> Self {
        Self {
            stopwatch,
            room: Room {
                keys: Self::MAX_KEYS,
                tries: Self::MAX_TRIES,
            },
            nodes: 1,
            state: Mutex::default(),
        }
    }

    /// The same for one of several nodes that do not count together: each admits its share of a limit, the limit divided
    /// by their number, and 1 at least. 0 counts as 1.
    #[must_use]
    pub fn for_one_of(self, nodes: u32) -> Self {
        Self {
            nodes: nodes.max(1),
            ..self
        }
    }

    /// What this node admits of a limit.
    fn share(&self, limit: Limit) -> u32 {
        (limit.tries / self.nodes).max(limit.tries.min(1))
    }

    /// The same with room for fewer or more keys of a rule; at least one.
    #[must_use]
    pub fn with_room_for(self, max_keys: usize) -> Self {
        Self {
            room: Room {
                keys: max_keys.max(1),
                ..self.room
            },
            ..self
        }
    }

    /// How many keys of a rule are held.
    pub fn keys_of(&self, rule: &str) -> usize {
        self.state().rules.get(rule).map_or(0, Windows::keys)
    }

    /// How many tries of a key are held.
    pub fn tries_of(&self, rule: &str, key: &str) -> usize {
        self.state()
            .rules
            .get(rule)
            .map_or(0, |windows| windows.tries_of(key))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Works on the windows of a rule. The stopwatch is read under the lock: the order of tries is that of their times.
    fn with<T>(&self, limit: Limit, work: impl FnOnce(&mut Windows, u64) -> T) -> T {
        let mut guard = self.state();
        let state = &mut *guard;
        let now = state.now.advance(nanoseconds(self.stopwatch.elapsed()));
        work(state.rules.entry(limit.name).or_default(), now)
    }
}

impl fmt::Debug for MemoryRateLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: usize = self.state().rules.values().map(Windows::keys).sum();
        f.debug_struct("MemoryRateLimit")
            .field("keys", &keys)
            .field("max_keys", &self.room.keys)
            .finish_non_exhaustive()
    }
}

#[async_trait::async_trait]
impl RateLimit for MemoryRateLimit {
    async fn admit(&self, limit: Limit, key: &str) -> Admission {
        self.with(limit, |windows, now| {
            windows.admit(key, self.share(limit), limit.window, now, self.room)
        })
    }

    async fn look(&self, limit: Limit, key: &str) -> KeyState {
        self.with(limit, |windows, now| {
            windows.look(key, self.share(limit), limit.window, now)
        })
    }

    async fn take_back(&self, limit: Limit, key: &str) {
        self.with(limit, |windows, _| windows.take_back(key));
    }

    async fn forgive(&self, limit: Limit, key: &str) {
        self.with(limit, |windows, _| windows.forgive(key));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// S-071
    #[test]
    fn time_goes_on_from_where_it_was_after_a_step_back() {
        let mut time = SteadyTime::default();
        let shown = [100, 150, 20, 20, 30, 1_000, 0, 5];
        let steady = shown.map(|shown| time.advance(shown));
        assert_eq!(steady, [100, 150, 150, 150, 160, 1_130, 1_130, 1_135]);
    }
}
