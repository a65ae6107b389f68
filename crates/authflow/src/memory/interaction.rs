//! Authorization requests that wait for a person.

use mcp_authflow_types::{Timestamp, TokenHash};

use super::{KeptInteraction, MemoryStore, State};
use crate::{
    port::store::{CloseInteraction, Closing, InteractionStore, StoreResult},
    record::{Grant, Interaction, InteractionId},
};

impl State {
    pub(super) fn close_interaction(
        &mut self,
        id: InteractionId,
        browser: &TokenHash,
        closing: &Closing<'_>,
        now: Timestamp,
    ) -> CloseInteraction {
        match self.interactions.get(&id) {
            None => return CloseInteraction::Gone,
            Some(kept)
                if kept.interaction.browser != *browser || kept.interaction.expires_at.has_passed(now) =>
            {
                return CloseInteraction::Gone;
            }
            Some(kept) if kept.is_closed => return CloseInteraction::AlreadyClosed,
            Some(_) => {}
        }
        if let Closing::Approve {
            grant,
            subject_generation,
            keep_client_until,
        } = *closing
        {
            let subject = self.subject(&grant.subject);
            if subject.is_disabled || subject_generation.is_some_and(|known| known != subject.generation) {
                return CloseInteraction::Gone;
            }
            match self.client_mut(&grant.client_id) {
                Some(client) if client.is_current(now) && client.generation == grant.client_generation => {
                    client.expires_at = client.expires_at.map(|end| end.max(keep_client_until));
                }
                _ => return CloseInteraction::Gone,
            }
            self.add_grant(Grant {
                subject_generation: subject.generation,
                ..grant.clone()
            });
        }
        if let Some(kept) = self.interactions.get_mut(&id) {
            kept.is_closed = true;
        }
        CloseInteraction::Closed
    }
}

#[async_trait::async_trait]
impl InteractionStore for MemoryStore {
    async fn begin_interaction(&self, interaction: &Interaction) -> StoreResult<()> {
        let kept = KeptInteraction {
            interaction: interaction.clone(),
            is_closed: false,
        };
        self.state().interactions.insert(interaction.id, kept);
        Ok(())
    }

    async fn load_interaction(
        &self,
        id: InteractionId,
        browser: &TokenHash,
        now: Timestamp,
    ) -> StoreResult<Option<Interaction>> {
        Ok(self
            .state()
            .interactions
            .get(&id)
            .filter(|kept| !kept.is_closed && !kept.interaction.expires_at.has_passed(now))
            .filter(|kept| kept.interaction.browser == *browser)
            .map(|kept| kept.interaction.clone()))
    }

    async fn close_interaction(
        &self,
        id: InteractionId,
        browser: &TokenHash,
        closing: Closing<'_>,
        now: Timestamp,
    ) -> StoreResult<CloseInteraction> {
        Ok(self.state().close_interaction(id, browser, &closing, now))
    }
}
