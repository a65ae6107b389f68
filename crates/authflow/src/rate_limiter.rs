//! A limiter with one limit of its own, for use without the server.

use std::{fmt, sync::Arc, time::Duration};

use crate::{
    memory::MemoryRateLimit,
    port::{
        RateLimit, Stopwatch,
        rate_limit::{Admission, InvalidLimit, Limit},
    },
};

/// Admits at most so many calls a window and key: in any stretch of time that is as long as the window, wherever it
/// begins.
///
/// It counts in memory ([`in_memory`](Self::in_memory)), for one process, or over any [`RateLimit`]
/// ([`over`](Self::over)): with `RedisRateLimit` of `mcp-authflow-redis`, all processes count together. Each limiter has
/// a name; of two limiters over one memory that have different names, neither uses up the other's calls.
///
/// A key may be any text, is compared exactly, and is held as a digest. A call that is refused is not counted.
///
/// ```
/// use std::{sync::Arc, time::{Duration, Instant}};
/// use mcp_authflow::SlidingWindowRateLimiter;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), mcp_authflow::port::rate_limit::InvalidLimit> {
/// let start = Instant::now();
/// let stopwatch = Arc::new(move || start.elapsed());
/// let limiter = SlidingWindowRateLimiter::in_memory("login", 2, Duration::from_secs(60), stopwatch)?;
/// assert!(limiter.is_allowed("198.51.100.7").await);
/// assert!(limiter.is_allowed("198.51.100.7").await);
/// assert!(!limiter.is_allowed("198.51.100.7").await);
/// assert_eq!(limiter.retry_after("198.51.100.7").await, 60);
/// assert_eq!(limiter.retry_after("203.0.113.9").await, 0);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct SlidingWindowRateLimiter {
    limit: Limit,
    backend: Arc<dyn RateLimit>,
}

impl SlidingWindowRateLimiter {
    /// A limiter of this process.
    ///
    /// # Errors
    /// [`InvalidLimit`]: see [`Limit::new`].
    pub fn in_memory(
        name: &'static str,
        requests_per_window: u32,
        window: Duration,
        stopwatch: Arc<dyn Stopwatch>,
    ) -> Result<Self, InvalidLimit> {
        let backend = Arc::new(MemoryRateLimit::new(stopwatch));
        Self::over(backend, name, requests_per_window, window)
    }

    /// A limiter over a memory that may be shared.
    ///
    /// # Errors
    /// [`InvalidLimit`]: see [`Limit::new`].
    pub fn over(
        backend: Arc<dyn RateLimit>,
        name: &'static str,
        requests_per_window: u32,
        window: Duration,
    ) -> Result<Self, InvalidLimit> {
        let limit = Limit::new(name, requests_per_window, window)?;
        Ok(Self { limit, backend })
    }

    /// Its limit.
    pub const fn limit(&self) -> Limit {
        self.limit
    }

    /// Counts a call, unless it is one too many.
    pub async fn is_allowed(&self, key: &str) -> bool {
        self.admit(key).await == Admission::Admitted
    }

    /// The same, and says how long to wait.
    pub async fn admit(&self, key: &str) -> Admission {
        self.backend.admit(self.limit, key).await
    }

    /// In how many whole seconds a call would be allowed, rounded up; 0 when it would be now. Counts nothing.
    pub async fn retry_after(&self, key: &str) -> u64 {
        let wait = self.backend.look(self.limit, key).await.retry_after;
        wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
    }

    /// What the Python package `mcp-authflow` answers as its `get_retry_after`: the whole seconds of what is left of a
    /// window since the oldest call that is held, plus one; 0 when none is held. It says up to a second too much, and 1 or
    /// more to a key that may call at once. For whoever compares the two.
    pub async fn retry_after_as_in_python(&self, key: &str) -> u64 {
        let oldest = self.backend.look(self.limit, key).await.oldest;
        oldest.map_or(0, |age| self.limit.window.saturating_sub(age).as_secs() + 1)
    }
}

impl fmt::Debug for SlidingWindowRateLimiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SlidingWindowRateLimiter")
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}
