//! Limits on how often something may be tried.

use std::time::Duration;

/// What is counted: the rule, and whom it is counted against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// The rule's name; keys of different rules never mix.
    pub name: &'static str,
    /// How many tries are admitted in a window.
    pub tries: u32,
    /// The window.
    pub window: Duration,
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

/// Counts tries. Counting comes before checking; a limiter that forgets lets passwords be guessed and tables be
/// flooded, one that is too strict locks honest people out.
#[async_trait::async_trait]
pub trait RateLimit: Send + Sync {
    /// Counts a try against `key` and says whether it is admitted.
    async fn admit(&self, limit: Limit, key: &str) -> Admission;

    /// Forgets the tries counted against `key`: it has shown that they were honest. The default forgets nothing.
    async fn forgive(&self, limit: Limit, key: &str) {
        let _ = (limit, key);
    }
}
