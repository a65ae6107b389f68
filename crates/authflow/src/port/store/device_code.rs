//! Device codes and the user codes beside them.

use std::time::Duration;

use mcp_authflow_types::{ClientId, Timestamp, TokenHash};

use super::{CloseInteraction, Closing, StoreResult};
use crate::record::{DeviceCodeRecord, Interaction, InteractionId};

/// How beginning went.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BeginDevice {
    /// The code is stored.
    Begun,
    /// There is another device with this user code; nothing was stored.
    UserCodeTaken,
}

/// How claiming went.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClaimDevice {
    /// The device is this browser's to decide about.
    Claimed,
    /// It is unknown, expired or decided about, or another browser was first; nothing was stored.
    Gone,
}

/// What a device that polls is told.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PollDevice {
    /// Nobody has decided.
    Pending,
    /// It polls too often: from now on this is how long it waits.
    SlowDown {
        /// The new interval, five seconds longer than the one before.
        interval: Duration,
    },
    /// The person said no.
    Denied,
    /// The person approved: the grant is there, under the device code's digest, for `redeem_code`.
    Approved,
    /// The code has expired.
    Expired,
    /// The code is unknown or another client's; nothing was changed.
    Gone,
}

/// Keeps device codes for the minutes that they live.
///
/// A device code is taken by [`redeem_code`](super::GrantStore::redeem_code): approving stores a grant whose code is the
/// device code, so there is one way to redeem, and one place where it happens once.
#[async_trait::async_trait]
pub trait DeviceCodeStore: Send + Sync {
    /// Stores a new device code, unless its user code is that of another device, live or not yet forgotten.
    async fn begin_device(&self, device: &DeviceCodeRecord) -> StoreResult<BeginDevice>;

    /// Finds the device of a user code about which this browser may decide: unexpired, not decided about, and claimed by
    /// no other browser. What is not to be found is all alike.
    async fn find_device(
        &self,
        user_code: &TokenHash,
        browser: &TokenHash,
        now: Timestamp,
    ) -> StoreResult<Option<DeviceCodeRecord>>;

    /// Claims a device for a browser, and stores the interaction in which the person decides, in one step. Of several
    /// browsers the first keeps it; the same browser may claim it again, and only its newest interaction counts then. A
    /// wrong answer lets a stranger decide what is another's.
    ///
    /// Re-checked in the same step: unexpired, not decided about, claimed by nobody, or by an interaction of this browser.
    async fn claim_device(
        &self,
        device: &TokenHash,
        interaction: &Interaction,
        now: Timestamp,
    ) -> StoreResult<ClaimDevice>;

    /// Closes the interaction by which a device was claimed, as
    /// [`close_interaction`](super::InteractionStore::close_interaction) does, and lets the device know in the same step.
    /// Of all callers, one closes; denied is denied for good.
    ///
    /// Re-checked in the same step, beside what closing an interaction checks: the device is unexpired, not decided about,
    /// and claimed by this interaction. `Gone` otherwise.
    async fn close_device(
        &self,
        device: &TokenHash,
        id: InteractionId,
        browser: &TokenHash,
        closing: Closing<'_>,
        now: Timestamp,
    ) -> StoreResult<CloseInteraction>;

    /// Judges a poll of a client (RFC 8628 §3.5), and moves the time of the last poll and the interval in the same step. A
    /// poll of another client, or of this one after it was revoked, is `Gone` and moves nothing. In this order: `Gone`,
    /// `Expired`, `SlowDown`, and then what was decided.
    async fn poll_device(
        &self,
        device: &TokenHash,
        client: &ClientId,
        client_generation: u32,
        now: Timestamp,
    ) -> StoreResult<PollDevice>;
}
