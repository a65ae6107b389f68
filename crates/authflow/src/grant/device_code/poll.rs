//! What a device that polls is told (RFC 8628 §3.5), as a pure function: usable by itself, with records of your own.
//!
//! | function | what it does |
//! |---|---|
//! | [`poll_device`] | judges a poll and moves the record: the interval grows, an approval is told once |
//! | [`evaluate_device_poll`] | judges a poll exactly as the Python packages did, and changes nothing |
//!
//! ```
//! use std::time::{Duration, SystemTime};
//! use mcp_authflow::grant::device_code::poll::{DeviceDecisionKind as Kind, DeviceRecord, DeviceStatus, poll_device};
//!
//! let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_790_000_000);
//! let mut record = DeviceRecord::new("GmRhmhcx", "WDJB-MJHT", "tv-app", now + Duration::from_secs(600));
//!
//! let poll = |record: &mut DeviceRecord, seconds| {
//!     let at = now + Duration::from_secs(seconds);
//!     poll_device(Some(record), "GmRhmhcx", "tv-app", at).kind
//! };
//! assert_eq!(poll(&mut record, 0), Kind::AuthorizationPending);
//! assert_eq!(poll(&mut record, 3), Kind::SlowDown); // and from now on every ten seconds
//! record.status = DeviceStatus::Approved; // a person typed the user code and approved
//! assert_eq!(poll(&mut record, 13), Kind::Approved);
//! assert_eq!(poll(&mut record, 23), Kind::InvalidGrant); // once
//! ```

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use subtle::ConstantTimeEq as _;

/// By how much the interval grows each time a device polls too soon (RFC 8628 §3.5).
pub const INTERVAL_GROWTH: Duration = Duration::from_secs(5);

/// How long a device waits between two polls when nothing else is said (RFC 8628 §3.2).
pub const DEFAULT_INTERVAL: Duration = Duration::from_secs(5);

/// What was decided about a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeviceStatus {
    /// Nothing yet.
    Pending,
    /// A person approved, and the tokens were not fetched.
    Approved,
    /// A person said no.
    Denied,
    /// The tokens were fetched, or a status of your own that stands for no other of these.
    Over,
}

impl DeviceStatus {
    /// The values that have a name of their own.
    pub const ALL: &'static [Self] = &[Self::Pending, Self::Approved, Self::Denied];

    /// The name under which it is stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Denied => "denied",
            Self::Over => "over",
        }
    }

    /// Reads a name, case by case. Whatever is none of the three is [`Over`](Self::Over): good for nothing.
    pub fn parse(text: &str) -> Self {
        match text {
            "pending" => Self::Pending,
            "approved" => Self::Approved,
            "denied" => Self::Denied,
            _ => Self::Over,
        }
    }
}

/// A device code as its owner keeps it. Keep the code as a digest where you can, and then present digests.
#[derive(Clone, PartialEq, Eq)]
pub struct DeviceRecord {
    /// The device code, or its digest.
    pub device_code: String,
    /// The user code, or its digest.
    pub user_code: String,
    /// Which client asked.
    pub client_id: String,
    /// What for: scope tokens with a space between.
    pub scopes: String,
    /// What was decided.
    pub status: DeviceStatus,
    /// Who decided.
    pub user_id: Option<String>,
    /// From when on it is no good.
    pub expires_at: SystemTime,
    /// How long the device waits between two polls.
    pub interval: Duration,
    /// When it last polled.
    pub last_poll_at: Option<SystemTime>,
}

impl DeviceRecord {
    /// A new record that nobody has decided about and that was never polled for, with an interval of five seconds.
    pub fn new(
        device_code: impl Into<String>,
        user_code: impl Into<String>,
        client_id: impl Into<String>,
        expires_at: SystemTime,
    ) -> Self {
        Self {
            device_code: device_code.into(),
            user_code: user_code.into(),
            client_id: client_id.into(),
            scopes: String::new(),
            status: DeviceStatus::Pending,
            user_id: None,
            expires_at,
            interval: DEFAULT_INTERVAL,
            last_poll_at: None,
        }
    }
}

impl fmt::Debug for DeviceRecord {
    /// Shows neither code.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeviceRecord")
            .field("client_id", &self.client_id)
            .field("scopes", &self.scopes)
            .field("status", &self.status)
            .field("expires_at", &self.expires_at)
            .field("interval", &self.interval)
            .field("last_poll_at", &self.last_poll_at)
            .finish_non_exhaustive()
    }
}

/// What a device is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeviceDecisionKind {
    /// Here are its tokens.
    Approved,
    /// Nobody has decided.
    AuthorizationPending,
    /// The person said no.
    AccessDenied,
    /// It polls too often.
    SlowDown,
    /// The code has expired.
    ExpiredToken,
    /// The code is unknown, another client's, or used.
    InvalidGrant,
}

impl DeviceDecisionKind {
    /// Every kind.
    pub const ALL: &'static [Self] = &[
        Self::Approved,
        Self::AuthorizationPending,
        Self::AccessDenied,
        Self::SlowDown,
        Self::ExpiredToken,
        Self::InvalidGrant,
    ];

    /// The error code of RFC 8628 §3.5 and RFC 6749 §5.2; `approved` where there is none.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Approved => "approved",
            Self::AuthorizationPending => "authorization_pending",
            Self::AccessDenied => "access_denied",
            Self::SlowDown => "slow_down",
            Self::ExpiredToken => "expired_token",
            Self::InvalidGrant => "invalid_grant",
        }
    }
}

/// A decision about one poll.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceDecision<'r> {
    /// What the device is told.
    pub kind: DeviceDecisionKind,
    /// The record, where the device code was right; for the log, and for whom the tokens are.
    pub record: Option<&'r DeviceRecord>,
    /// How long the device must wait; with [`SlowDown`](DeviceDecisionKind::SlowDown) only.
    pub retry_after: Option<Duration>,
}

/// Times and interval of a device code: the part of the rule that is about time alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pace {
    pub(crate) expires_at: SystemTime,
    pub(crate) interval: Duration,
    pub(crate) last_poll_at: Option<SystemTime>,
}

/// What time says to a poll.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pacing {
    InTime,
    TooSoon,
    Expired,
}

impl Pace {
    /// Judges a poll and moves on. RFC 8628 §3.5: after `slow_down` "the interval MUST be increased by 5 seconds for this
    /// and all subsequent requests". Every poll before the end counts as the last one, so that whoever hurries on and on
    /// is slowed down on and on.
    pub(crate) fn poll(&mut self, now: SystemTime) -> Pacing {
        if self.expires_at <= now {
            return Pacing::Expired;
        }
        let is_too_soon = is_too_soon(self.last_poll_at, self.interval, now);
        self.last_poll_at = Some(now);
        if is_too_soon {
            self.interval = self.interval.saturating_add(INTERVAL_GROWTH);
            Pacing::TooSoon
        } else {
            Pacing::InTime
        }
    }
}

/// Whether less than the interval has passed. A last poll in the future, of a clock that was set back, is just now.
fn is_too_soon(last_poll_at: Option<SystemTime>, interval: Duration, now: SystemTime) -> bool {
    last_poll_at.is_some_and(|last| now.duration_since(last).unwrap_or(Duration::ZERO) < interval)
}

/// Judges a poll and moves the record on (RFC 8628 §3.4, §3.5).
///
/// Whoever fails a binding changes nothing: an unknown code, an empty one, or one of another client is
/// [`InvalidGrant`](DeviceDecisionKind::InvalidGrant). From the second of its end a code is
/// [`ExpiredToken`](DeviceDecisionKind::ExpiredToken). A poll that comes too soon makes the interval five seconds longer,
/// for good. An approval is told once: the record is [`Over`](DeviceStatus::Over) then.
///
/// # Security
/// Load, call and store the record in one transaction, or under one lock: otherwise two polls at once are both told
/// [`Approved`](DeviceDecisionKind::Approved).
pub fn poll_device<'r>(
    record: Option<&'r mut DeviceRecord>,
    presented_device_code: &str,
    presented_client_id: &str,
    now: SystemTime,
) -> DeviceDecision<'r> {
    use DeviceDecisionKind as Kind;
    // 1. The code is the one that was issued, and it is one.
    let Some(record) = record.filter(|record| {
        !presented_device_code.is_empty() && is_same_secret(&record.device_code, presented_device_code)
    }) else {
        return decision(Kind::InvalidGrant, None);
    };
    // 2. RFC 8628 §3.4: it was issued to this client.
    if record.client_id != presented_client_id {
        return decision(Kind::InvalidGrant, Some(record));
    }
    // 3. RFC 8628 §3.5: its end, then its pace.
    let mut pace = Pace {
        expires_at: record.expires_at,
        interval: record.interval,
        last_poll_at: record.last_poll_at,
    };
    let pacing = pace.poll(now);
    record.interval = pace.interval;
    record.last_poll_at = pace.last_poll_at;
    match pacing {
        Pacing::Expired => return decision(Kind::ExpiredToken, Some(record)),
        Pacing::TooSoon => {
            return DeviceDecision {
                retry_after: Some(record.interval),
                ..decision(Kind::SlowDown, Some(record))
            };
        }
        Pacing::InTime => {}
    }
    // 4. What was decided. RFC 6749 §4.1.2's rule for codes holds for this one too: once.
    let kind = of_status(record.status);
    if kind == Kind::Approved {
        record.status = DeviceStatus::Over;
    }
    decision(kind, Some(record))
}

/// Judges a poll as the Python packages did, and changes nothing: moving `last_poll_at` is the caller's task, the interval
/// never grows, a code is good at the very instant of its end, and an approval is told again and again. To move over
/// without a change of behaviour; otherwise use [`poll_device`].
///
/// In this order: the code (constant time), the client, the end, the pace, what was decided.
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use mcp_authflow::grant::device_code::poll::{DeviceDecisionKind, DeviceRecord, evaluate_device_poll};
///
/// let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_790_000_000);
/// let record = DeviceRecord::new("GmRhmhcx", "WDJB-MJHT", "tv-app", now + Duration::from_secs(600));
/// let decision = evaluate_device_poll(Some(&record), "GmRhmhcx", "tv-app", now);
/// assert_eq!(decision.kind, DeviceDecisionKind::AuthorizationPending);
/// assert_eq!(decision.record, Some(&record));
/// ```
pub fn evaluate_device_poll<'r>(
    record: Option<&'r DeviceRecord>,
    presented_device_code: &str,
    presented_client_id: &str,
    now: SystemTime,
) -> DeviceDecision<'r> {
    use DeviceDecisionKind as Kind;
    let Some(record) = record.filter(|record| is_same_secret(&record.device_code, presented_device_code))
    else {
        return decision(Kind::InvalidGrant, None);
    };
    if record.client_id != presented_client_id {
        return decision(Kind::InvalidGrant, Some(record));
    }
    if record.expires_at < now {
        return decision(Kind::ExpiredToken, Some(record));
    }
    if is_too_soon(record.last_poll_at, record.interval, now) {
        return DeviceDecision {
            retry_after: Some(record.interval),
            ..decision(Kind::SlowDown, Some(record))
        };
    }
    decision(of_status(record.status), Some(record))
}

const fn of_status(status: DeviceStatus) -> DeviceDecisionKind {
    match status {
        DeviceStatus::Pending => DeviceDecisionKind::AuthorizationPending,
        DeviceStatus::Denied => DeviceDecisionKind::AccessDenied,
        DeviceStatus::Approved => DeviceDecisionKind::Approved,
        DeviceStatus::Over => DeviceDecisionKind::InvalidGrant,
    }
}

fn decision(kind: DeviceDecisionKind, record: Option<&DeviceRecord>) -> DeviceDecision<'_> {
    DeviceDecision {
        kind,
        record,
        retry_after: None,
    }
}

fn is_same_secret(kept: &str, presented: &str) -> bool {
    kept.as_bytes().ct_eq(presented.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::{DeviceDecisionKind as Kind, *};

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn moment(millis: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(millis)
    }

    /// A code of `c1` that ends at 2,000 s.
    fn record() -> DeviceRecord {
        DeviceRecord::new("dc", "WDJB-MJHT", "c1", moment(2_000_000))
    }

    fn poll(record: &mut DeviceRecord, millis: u64) -> Kind {
        poll_device(Some(record), "dc", "c1", moment(millis)).kind
    }

    fn evaluate(record: &DeviceRecord, millis: u64) -> Kind {
        evaluate_device_poll(Some(record), "dc", "c1", moment(millis)).kind
    }

    /// S-081
    #[test]
    fn names_are_those_of_the_rfc_and_of_the_packages() {
        let kinds: Vec<&str> = Kind::ALL.iter().map(|kind| kind.as_str()).collect();
        assert_eq!(
            kinds,
            [
                "approved",
                "authorization_pending",
                "access_denied",
                "slow_down",
                "expired_token",
                "invalid_grant"
            ]
        );
        for status in DeviceStatus::ALL {
            assert_eq!(DeviceStatus::parse(status.as_str()), *status);
        }
        for other in ["", "PENDING", " approved", "consumed"] {
            assert_eq!(DeviceStatus::parse(other), DeviceStatus::Over, "{other}");
        }
    }

    /// S-087, S-088, S-089; DV-06
    #[test]
    fn a_code_is_bound_to_its_client_and_a_stranger_moves_nothing() {
        for status in [DeviceStatus::Pending, DeviceStatus::Approved] {
            let mut record = record();
            record.status = status;
            let before = record.clone();
            for (code, client, has_record) in [
                ("", "c1", false),
                ("dc ", "c1", false),
                ("d", "c1", false),
                ("dc", "c2", true),
                ("dc", "", true),
            ] {
                let decision = evaluate_device_poll(Some(&record), code, client, moment(1_000));
                assert_eq!(
                    (decision.kind, decision.record.is_some()),
                    (Kind::InvalidGrant, has_record)
                );
                let decision = poll_device(Some(&mut record), code, client, moment(1_000));
                assert_eq!(
                    (decision.kind, decision.record.is_some()),
                    (Kind::InvalidGrant, has_record)
                );
            }
            assert_eq!(record, before);
        }
        assert_eq!(
            evaluate_device_poll(None, "dc", "c1", moment(0)).kind,
            Kind::InvalidGrant
        );
        assert_eq!(poll_device(None, "dc", "c1", moment(0)).kind, Kind::InvalidGrant);
        let mut empty = DeviceRecord::new("", "u", "c1", moment(9));
        assert_eq!(
            poll_device(Some(&mut empty), "", "c1", moment(0)).kind,
            Kind::InvalidGrant
        );
    }

    /// S-090; DV-04
    #[test]
    fn a_code_expires_whatever_was_decided() {
        for status in DeviceStatus::ALL {
            let mut record = record();
            record.status = *status;
            assert_eq!(evaluate(&record, 2_000_001), Kind::ExpiredToken);
            assert_ne!(evaluate(&record, 2_000_000), Kind::ExpiredToken);
            assert_eq!(poll(&mut record, 2_000_000), Kind::ExpiredToken);
            assert_ne!(poll(&mut record, 1_999_999), Kind::ExpiredToken);
        }
    }

    /// S-091
    #[test]
    fn less_than_the_interval_is_too_soon_whatever_was_decided() {
        for status in DeviceStatus::ALL {
            let mut record = record();
            record.status = *status;
            record.last_poll_at = Some(moment(1_000_000));
            for (millis, is_too_soon) in [(1_000_000, true), (1_004_999, true), (1_005_000, false)] {
                let decision = evaluate_device_poll(Some(&record), "dc", "c1", moment(millis));
                assert_eq!(decision.kind == Kind::SlowDown, is_too_soon, "{millis}");
                assert_eq!(decision.retry_after, is_too_soon.then_some(at(5)), "{millis}");
            }
            // A clock that was set back.
            assert_eq!(evaluate(&record, 990_000), Kind::SlowDown);
        }
    }

    /// S-092
    #[test]
    fn what_was_decided_is_told() {
        let mut record = record();
        for (status, kind) in [
            (DeviceStatus::Pending, Kind::AuthorizationPending),
            (DeviceStatus::Denied, Kind::AccessDenied),
            (DeviceStatus::Approved, Kind::Approved),
            (DeviceStatus::Over, Kind::InvalidGrant),
        ] {
            record.status = status;
            let decision = evaluate_device_poll(Some(&record), "dc", "c1", moment(1));
            assert_eq!((decision.kind, decision.record), (kind, Some(&record)));
        }
    }

    /// S-095; DV-02; RFC 8628 §3.5
    #[test]
    fn the_interval_grows_with_every_poll_that_comes_too_soon_and_stays() {
        let mut record = record();
        assert_eq!(poll(&mut record, 1_000_000), Kind::AuthorizationPending);
        for (millis, interval) in [(1_000_200, 10), (1_000_400, 15), (1_000_600, 20)] {
            let decision = poll_device(Some(&mut record), "dc", "c1", moment(millis));
            assert_eq!(
                (decision.kind, decision.retry_after),
                (Kind::SlowDown, Some(at(interval)))
            );
        }
        assert_eq!(poll(&mut record, 1_020_599), Kind::SlowDown);
        assert_eq!(poll(&mut record, 1_045_599), Kind::AuthorizationPending);
        assert_eq!(record.interval, at(25));
        assert_eq!(poll(&mut record, 1_070_599), Kind::AuthorizationPending);
    }

    /// S-096; DV-08
    #[test]
    fn an_approval_is_told_once() {
        let mut record = record();
        record.status = DeviceStatus::Approved;
        assert_eq!(
            [evaluate(&record, 1_000), evaluate(&record, 9_000)],
            [Kind::Approved; 2]
        );
        assert_eq!(poll(&mut record, 1_000), Kind::Approved);
        assert_eq!(poll(&mut record, 9_000), Kind::InvalidGrant);
    }

    /// DV-05
    #[test]
    fn a_denial_is_told_for_good() {
        let mut record = record();
        record.status = DeviceStatus::Denied;
        for seconds in [10, 20, 30] {
            assert_eq!(poll(&mut record, seconds * 1_000), Kind::AccessDenied);
        }
    }

    /// S-093, S-094, S-098
    #[test]
    fn a_record_holds_what_its_owner_keeps_and_shows_no_code() {
        let record = record();
        assert_eq!(record.interval, DEFAULT_INTERVAL);
        assert_eq!((record.last_poll_at, record.user_id.as_deref()), (None, None));
        let shown = format!("{record:?}");
        assert!(!shown.contains("WDJB") && !shown.contains("\"dc\""), "{shown}");
    }
}
