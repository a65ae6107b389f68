//! The audit trail of a server that strangers can reach: whoever is refused again and again fills no disk with it.
//!
//! What was allowed, and every alarm, is written always. Of refusals each address has so many lines in a minute; the rest is
//! counted, and told in one line.

use std::{
    collections::HashMap,
    mem,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use mcp_authflow::{
    limiter_key,
    port::{Audit, AuditEvent, AuditOutcome, Stopwatch},
};

use super::AuditTrail;

/// As many as one address may start authorization requests in ten minutes: nobody honest is refused that often.
const LINES_A_MINUTE: u64 = 600;
/// How many addresses are told apart in a minute; what comes from any other is counted together.
const MOST_ADDRESSES: usize = 10_000;
const MINUTE: Duration = Duration::from_secs(60);

/// Writes the audit trail, a bounded number of refusals an address.
pub(crate) struct BoundedTrail<S> {
    stopwatch: S,
    minute: Mutex<Minute>,
}

/// The refusals of one minute.
#[derive(Default)]
struct Minute {
    began: Duration,
    by_address: HashMap<String, u64>,
}

impl<S: Stopwatch> BoundedTrail<S> {
    pub(crate) fn new(stopwatch: S) -> Self {
        Self {
            stopwatch,
            minute: Mutex::default(),
        }
    }

    /// Counts a refusal, and says whether it has a line of its own.
    fn has_a_line(&self, event: &AuditEvent<'_>) -> bool {
        let now = self.stopwatch.elapsed();
        let mut minute = self.minute.lock().unwrap_or_else(PoisonError::into_inner);
        let over = (now.saturating_sub(minute.began) >= MINUTE).then(|| {
            minute.began = now;
            mem::take(&mut minute.by_address)
        });
        let mut address = limiter_key(event.address);
        if minute.by_address.len() >= MOST_ADDRESSES && !minute.by_address.contains_key(&address) {
            "others".clone_into(&mut address);
        }
        let refusals = minute.by_address.entry(address.clone()).or_default();
        *refusals += 1;
        let refusals = *refusals;
        drop(minute);

        for (address, refusals) in over.unwrap_or_default() {
            if let Some(unwritten) = refusals.checked_sub(LINES_A_MINUTE).filter(|one| *one > 0) {
                tracing::warn!(target: "audit", address, unwritten, "refusals of the last minute have no lines");
            }
        }
        if refusals == LINES_A_MINUTE + 1 {
            tracing::warn!(target: "audit", address, "too many refusals: those that follow in this minute are counted only");
        }
        refusals <= LINES_A_MINUTE
    }
}

impl<S: Stopwatch> Audit for BoundedTrail<S> {
    fn record(&self, event: &AuditEvent<'_>) {
        if event.outcome != AuditOutcome::Refused || self.has_a_line(event) {
            AuditTrail.record(event);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use std::sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    };

    use mcp_authflow::port::audit::AuditAction;

    use super::*;

    fn refusal(address: &str) -> AuditEvent<'static> {
        AuditEvent::new(AuditAction::Authorize, AuditOutcome::Refused, "unknown client")
            .with_address(Some(address.parse().unwrap()))
    }

    /// LG-05, P12
    #[test]
    fn each_address_has_so_many_lines_a_minute() {
        let seconds = Arc::new(AtomicU64::new(0));
        let now = seconds.clone();
        let trail = BoundedTrail::new(move || Duration::from_secs(now.load(Ordering::Relaxed)));
        let lines = |address: &str| {
            let refusals = (0..2 * LINES_A_MINUTE).filter(|_| trail.has_a_line(&refusal(address)));
            u64::try_from(refusals.count()).unwrap()
        };
        assert_eq!(lines("192.0.2.1"), LINES_A_MINUTE);
        assert_eq!(lines("2001:db8::1"), LINES_A_MINUTE);
        assert_eq!(lines("2001:db8::2"), 0, "one /64 is one address");
        seconds.store(59, Ordering::Relaxed);
        assert_eq!(lines("192.0.2.1"), 0);
        seconds.store(60, Ordering::Relaxed);
        assert_eq!(lines("192.0.2.1"), LINES_A_MINUTE);
    }

    /// LG-05, P12: nor do many addresses fill the memory.
    #[test]
    fn addresses_beyond_number_share_their_lines() {
        let trail = BoundedTrail::new(|| Duration::ZERO);
        let most = u32::try_from(MOST_ADDRESSES).unwrap();
        let lines =
            |number: u32| trail.has_a_line(&refusal(&std::net::Ipv4Addr::from_bits(number).to_string()));
        assert!((0..most).all(lines));
        let beyond = (most..3 * most).filter(|number| lines(*number));
        assert_eq!(u64::try_from(beyond.count()).unwrap(), LINES_A_MINUTE);
        assert_eq!(trail.minute.lock().unwrap().by_address.len(), MOST_ADDRESSES + 1);
        assert!(lines(0), "whoever was there before has lines left");
    }
}
