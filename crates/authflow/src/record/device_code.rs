//! A device code: a device without a browser waits for a person who has one (RFC 8628).

use std::{
    net::IpAddr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use mcp_authflow_types::{ClientId, Timestamp, TokenHash};

use super::GrantedResource;
use crate::{
    grant::device_code::poll::{DeviceStatus, Pace, Pacing},
    port::store::PollDevice,
};

/// A device code as it is kept. Once it is approved, what was approved is a [`Grant`](super::Grant) whose code is this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceCodeRecord {
    /// The device code's digest.
    pub hash: TokenHash,
    /// The user code's digest, keyed with the server's key: so few letters would be tried out otherwise.
    pub user_code: TokenHash,
    /// Which client asks.
    pub client_id: ClientId,
    /// The client's generation when it asked.
    pub client_generation: u32,
    /// What it asks for.
    pub request: DeviceRequest,
    /// When it asked.
    pub created_at: Timestamp,
    /// From when on both codes are no good.
    pub expires_at: Timestamp,
    /// How long the device must wait between two polls; longer after each one that came too soon.
    pub interval: Duration,
    /// When it last polled.
    pub last_poll_at: Option<Timestamp>,
    /// What a person decided.
    pub status: DeviceStatus,
}

/// What a device asks for, resolved and narrowed. A store keeps it as one JSON document.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct DeviceRequest {
    /// Each resource with the scope that can be granted there.
    pub resources: Vec<GrantedResource>,
    /// Whether the client would stay connected while the person is away: whether it may use refresh tokens at all.
    pub offline_access: bool,
    /// Where the device asked from, to be shown to the person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
}

impl DeviceCodeRecord {
    /// How long a code is remembered after its end, so that a device that polls late is told that it was late.
    pub const KEPT_AFTER_ITS_END: Duration = Duration::from_secs(3_600);

    /// Judges a poll of the right client, and moves time and interval (RFC 8628 §3.5). For a store that does this under a
    /// lock of its own.
    pub fn poll(&mut self, now: Timestamp) -> PollDevice {
        let mut pace = Pace {
            expires_at: moment(self.expires_at),
            interval: self.interval,
            last_poll_at: self.last_poll_at.map(moment),
        };
        let pacing = pace.poll(moment(now));
        if pacing == Pacing::Expired {
            return PollDevice::Expired;
        }
        self.interval = pace.interval;
        self.last_poll_at = Some(now);
        match (pacing, self.status) {
            (Pacing::TooSoon, _) => PollDevice::SlowDown {
                interval: self.interval,
            },
            (_, DeviceStatus::Pending) => PollDevice::Pending,
            (_, DeviceStatus::Denied) => PollDevice::Denied,
            (_, DeviceStatus::Approved) => PollDevice::Approved,
            (_, DeviceStatus::Over) => PollDevice::Gone,
        }
    }

    /// Whether a person may still decide.
    pub fn is_open(&self, now: Timestamp) -> bool {
        self.status == DeviceStatus::Pending && !self.expires_at.has_passed(now)
    }
}

fn moment(timestamp: Timestamp) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(u64::try_from(timestamp.seconds()).unwrap_or(0))
}
