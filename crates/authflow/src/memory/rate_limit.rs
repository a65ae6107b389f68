//! A sliding-window limiter for one process.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use mcp_authflow_types::Timestamp;

use crate::port::{
    Clock, RateLimit,
    rate_limit::{Admission, Limit},
};

/// Counts tries in memory: of any window's length, at most as many are admitted as the limit says. A refused try is not
/// counted, so whoever waits as long as he is told is admitted.
///
/// It holds at most [`MAX_KEYS`](Self::MAX_KEYS) keys. When it is full, a new key takes the place of one whose window is
/// over, or else of the one among the next few that was quiet longest: an honest newcomer is never refused for want of
/// room, and whoever floods it with addresses can at most make it forget. Use a shared limiter (Redis) behind several
/// nodes.
///
/// ```
/// use std::{sync::Arc, time::Duration};
/// use mcp_authflow::{memory::MemoryRateLimit, port::{Clock, RateLimit as _, rate_limit::{Admission, Limit}}};
/// use mcp_authflow_types::Timestamp;
///
/// struct Noon;
/// impl Clock for Noon {
///     fn now(&self) -> Timestamp { Timestamp::from_seconds(43_200) }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let limiter = MemoryRateLimit::new(Arc::new(Noon));
/// let limit = Limit { name: "login", tries: 1, window: Duration::from_secs(600) };
/// assert_eq!(limiter.admit(limit, "alice").await, Admission::Admitted);
/// assert_eq!(limiter.admit(limit, "alice").await, Admission::Refused { retry_after: Duration::from_secs(600) });
/// assert_eq!(limiter.admit(limit, "bob").await, Admission::Admitted);
/// # }
/// ```
pub struct MemoryRateLimit {
    clock: Arc<dyn Clock>,
    max_keys: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    tries: HashMap<&'static str, HashMap<Arc<str>, Tries>>,
    /// Every key once, in the order in which it is looked at for eviction.
    queue: VecDeque<(&'static str, Arc<str>)>,
}

/// The tries of one key: how many in which second, oldest first.
struct Tries {
    window: Duration,
    seconds: VecDeque<(Timestamp, u32)>,
    count: u32,
}

impl Tries {
    /// Forgets what lies before the window. What lies in the future was counted before the clock was set back, and
    /// counts as of now: else a corrected clock would lock people out.
    fn slide(&mut self, now: Timestamp) {
        for (at, _) in self.seconds.iter_mut().rev() {
            if *at <= now {
                break;
            }
            *at = now;
        }
        while let Some((at, tries)) = self.seconds.front()
            && (*at + self.window).has_passed(now)
        {
            self.count -= tries;
            self.seconds.pop_front();
        }
    }

    fn add(&mut self, now: Timestamp) {
        self.count += 1;
        match self.seconds.back_mut() {
            Some((at, tries)) if *at == now => *tries += 1,
            _ => self.seconds.push_back((now, 1)),
        }
    }

    fn latest(&self) -> Option<Timestamp> {
        self.seconds.back().map(|(at, _)| *at)
    }
}

impl State {
    /// Looks at a few keys from the front of the queue, and drops the first whose window is over; when none of them is,
    /// and `must_drop`, the one that was quiet longest.
    fn evict(&mut self, now: Timestamp, must_drop: bool) {
        let probes = self.queue.len().min(if must_drop { 16 } else { 2 });
        let mut quietest: Option<(Timestamp, usize)> = None;
        for probe in 0..probes {
            let Some((rule, key)) = self.queue.pop_front() else {
                return;
            };
            let tries = self.tries.get_mut(rule).and_then(|keys| keys.get_mut(&key));
            let latest = tries.and_then(|tries| {
                tries.slide(now);
                tries.latest()
            });
            let Some(latest) = latest else {
                self.drop_key(rule, &key);
                return;
            };
            self.queue.push_back((rule, key));
            if quietest.is_none_or(|(found, _)| latest < found) {
                quietest = Some((latest, probe));
            }
        }
        // The keys looked at are now the last of the queue, in the order in which they were looked at.
        if let Some((_, probe)) = quietest.filter(|_| must_drop)
            && let Some((rule, key)) = self.queue.remove(self.queue.len() - probes + probe)
        {
            self.drop_key(rule, &key);
        }
    }

    fn drop_key(&mut self, rule: &'static str, key: &Arc<str>) {
        if let Some(keys) = self.tries.get_mut(rule) {
            keys.remove(key);
        }
    }

    fn admit(&mut self, limit: Limit, key: &str, now: Timestamp, max_keys: usize) -> Admission {
        if limit.tries == 0 {
            return Admission::Refused {
                retry_after: limit.window,
            };
        }
        if let Some(tries) = self.tries.get_mut(limit.name).and_then(|keys| keys.get_mut(key)) {
            tries.window = limit.window;
            tries.slide(now);
            if tries.count >= limit.tries {
                let oldest = tries.seconds.front().map_or(now, |(at, _)| *at);
                return Admission::Refused {
                    retry_after: (oldest + limit.window).since(now),
                };
            }
            tries.add(now);
            return Admission::Admitted;
        }
        self.evict(now, self.queue.len() >= max_keys);
        let shared: Arc<str> = key.into();
        let tries = Tries {
            window: limit.window,
            seconds: VecDeque::from([(now, 1)]),
            count: 1,
        };
        self.queue.push_back((limit.name, shared.clone()));
        self.tries.entry(limit.name).or_default().insert(shared, tries);
        Admission::Admitted
    }
}

impl MemoryRateLimit {
    /// The most keys held: with the limits of the server, some tens of MiB.
    pub const MAX_KEYS: usize = 65_536;

    /// Makes a limiter that has counted nothing yet.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            max_keys: Self::MAX_KEYS,
            state: Mutex::default(),
        }
    }

    /// The same with room for fewer or more keys; at least one.
    #[must_use]
    pub fn with_room_for(self, max_keys: usize) -> Self {
        Self {
            max_keys: max_keys.max(1),
            ..self
        }
    }
}

impl fmt::Debug for MemoryRateLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys = self
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .queue
            .len();
        f.debug_struct("MemoryRateLimit")
            .field("keys", &keys)
            .field("max_keys", &self.max_keys)
            .finish_non_exhaustive()
    }
}

#[async_trait::async_trait]
impl RateLimit for MemoryRateLimit {
    async fn admit(&self, limit: Limit, key: &str) -> Admission {
        let now = self.clock.now();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.admit(limit, key, now, self.max_keys)
    }

    async fn forgive(&self, limit: Limit, key: &str) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        // The key itself stays, so that the queue keeps naming every key once.
        if let Some(tries) = state.tries.get_mut(limit.name).and_then(|keys| keys.get_mut(key)) {
            tries.seconds.clear();
            tries.count = 0;
        }
    }
}
