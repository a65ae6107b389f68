//! Device codes.

use mcp_authflow_types::{ClientId, Timestamp, TokenHash};

use super::{KeptDevice, KeptInteraction, MemoryStore, State};
use crate::{
    grant::device_code::poll::DeviceStatus,
    port::store::{
        BeginDevice, ClaimDevice, CloseInteraction, Closing, DeviceCodeStore, PollDevice, StoreResult,
    },
    record::{DeviceCodeRecord, Interaction, InteractionId},
};

impl State {
    fn begin_device(&mut self, device: &DeviceCodeRecord) -> BeginDevice {
        if self.user_codes.contains_key(&device.user_code) {
            return BeginDevice::UserCodeTaken;
        }
        self.user_codes.insert(device.user_code, device.hash);
        let kept = KeptDevice {
            record: device.clone(),
            claimed_by: None,
        };
        self.devices.insert(device.hash, kept);
        BeginDevice::Begun
    }

    /// Whether this browser may decide about a device.
    fn may_decide(&self, device: &KeptDevice, browser: &TokenHash, now: Timestamp) -> bool {
        let is_anothers = device
            .claimed_by
            .and_then(|id| self.interactions.get(&id))
            .is_some_and(|kept| kept.interaction.browser != *browser);
        device.record.is_open(now) && !is_anothers
    }

    fn claim_device(&mut self, hash: &TokenHash, interaction: &Interaction, now: Timestamp) -> ClaimDevice {
        let device = self.devices.get(hash);
        if !device.is_some_and(|device| self.may_decide(device, &interaction.browser, now)) {
            return ClaimDevice::Gone;
        }
        if let Some(device) = self.devices.get_mut(hash) {
            device.claimed_by = Some(interaction.id);
        }
        let kept = KeptInteraction {
            interaction: interaction.clone(),
            is_closed: false,
        };
        self.interactions.insert(interaction.id, kept);
        ClaimDevice::Claimed
    }

    fn close_device(
        &mut self,
        hash: &TokenHash,
        id: InteractionId,
        browser: &TokenHash,
        closing: &Closing<'_>,
        now: Timestamp,
    ) -> CloseInteraction {
        let is_closed = self
            .interactions
            .get(&id)
            .is_some_and(|kept| kept.is_closed && kept.interaction.browser == *browser);
        let device = self.devices.get(hash);
        let is_its_own =
            device.is_some_and(|device| device.claimed_by == Some(id) && device.record.is_open(now));
        if !is_its_own && !is_closed {
            return CloseInteraction::Gone;
        }
        let closed = self.close_interaction(id, browser, closing, now);
        if closed == CloseInteraction::Closed
            && let Some(device) = self.devices.get_mut(hash)
        {
            device.record.status = match closing {
                Closing::Approve { .. } => DeviceStatus::Approved,
                Closing::Deny => DeviceStatus::Denied,
            };
        }
        closed
    }

    /// Forgets at most `limit` devices some time after their end.
    pub(super) fn purge_devices(&mut self, now: Timestamp, limit: u32) -> u64 {
        let is_over = |device: &KeptDevice| {
            (device.record.expires_at + DeviceCodeRecord::KEPT_AFTER_ITS_END).has_passed(now)
        };
        let over: Vec<(TokenHash, TokenHash)> = self
            .devices
            .values()
            .filter(|device| is_over(device))
            .take(limit as usize)
            .map(|device| (device.record.hash, device.record.user_code))
            .collect();
        for (hash, user_code) in &over {
            self.devices.remove(hash);
            self.user_codes.remove(user_code);
        }
        u64::try_from(over.len()).unwrap_or(u64::MAX)
    }
}

#[async_trait::async_trait]
impl DeviceCodeStore for MemoryStore {
    async fn begin_device(&self, device: &DeviceCodeRecord) -> StoreResult<BeginDevice> {
        Ok(self.state().begin_device(device))
    }

    async fn find_device(
        &self,
        user_code: &TokenHash,
        browser: &TokenHash,
        now: Timestamp,
    ) -> StoreResult<Option<DeviceCodeRecord>> {
        let state = self.state();
        let device = state
            .user_codes
            .get(user_code)
            .and_then(|hash| state.devices.get(hash));
        Ok(device
            .filter(|device| state.may_decide(device, browser, now))
            .map(|device| device.record.clone()))
    }

    async fn claim_device(
        &self,
        device: &TokenHash,
        interaction: &Interaction,
        now: Timestamp,
    ) -> StoreResult<ClaimDevice> {
        Ok(self.state().claim_device(device, interaction, now))
    }

    async fn close_device(
        &self,
        device: &TokenHash,
        id: InteractionId,
        browser: &TokenHash,
        closing: Closing<'_>,
        now: Timestamp,
    ) -> StoreResult<CloseInteraction> {
        Ok(self.state().close_device(device, id, browser, &closing, now))
    }

    async fn poll_device(
        &self,
        device: &TokenHash,
        client: &ClientId,
        client_generation: u32,
        now: Timestamp,
    ) -> StoreResult<PollDevice> {
        let mut state = self.state();
        let device = state.devices.get_mut(device).filter(|device| {
            let record = &device.record;
            record.client_id == *client && record.client_generation == client_generation
        });
        Ok(device.map_or(PollDevice::Gone, |device| device.record.poll(now)))
    }
}
