//! A good request that waits for a person.

use std::{sync::Arc, time::Duration};

use mcp_authflow_types::{Prompt, Resource, TokenHash};

use super::PageReason;
use crate::{
    record::{
        Client, DeviceOrigin, GrantedResource, Interaction, InteractionId, RedirectTarget, ResourceRecord,
    },
    server::AuthorizationServer,
};

/// A good request that waits for a person: everything that the consent page says, and the way to answer.
#[derive(Debug)]
pub struct Pending {
    pub(super) interaction: Interaction,
    pub(super) client: Arc<Client>,
    pub(super) answer_to: AnswerTo,
    pub(super) resources: Vec<PendingResource>,
}

/// Where the answer of a person goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AnswerTo {
    /// To the client, at an address that is proven to be the client's.
    Client(RedirectTarget),
    /// To a device that waits for it (RFC 8628). The person sees no more of the device than its user code: say so, say
    /// where it asked from, and warn of whoever sends codes to others (RFC 8628 §5.4).
    Device(DeviceOrigin),
}

impl AnswerTo {
    /// The client's address, unless a device waits.
    pub fn target(&self) -> Option<&RedirectTarget> {
        match self {
            Self::Client(target) => Some(target),
            Self::Device(_) => None,
        }
    }
}

/// A resource of a request.
#[derive(Clone, Debug)]
pub struct PendingResource {
    /// Its record; absent for one on loopback that nobody registered.
    pub record: Option<Arc<ResourceRecord>>,
    /// What is asked for there.
    pub asked: GrantedResource,
}

impl Pending {
    /// The request's identifier.
    pub fn id(&self) -> InteractionId {
        self.interaction.id
    }

    /// Who asks.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Where the answer will go.
    pub fn answer_to(&self) -> &AnswerTo {
        &self.answer_to
    }

    /// What is asked for, resource by resource.
    pub fn resources(&self) -> &[PendingResource] {
        &self.resources
    }

    /// Whether approval lets the client stay connected while the person is away.
    pub fn offline_access(&self) -> bool {
        self.interaction.request.offline_access
    }

    /// What was asked for, and when.
    pub fn interaction(&self) -> &Interaction {
        &self.interaction
    }
}

impl AuthorizationServer {
    /// Finds a request that waits, for the browser that started it.
    ///
    /// # Errors
    /// [`PageReason::Gone`] when it is unknown, over, or another browser's, or its client is no longer what it was;
    /// [`PageReason::Unavailable`] when the store cannot be asked.
    pub async fn resume(&self, id: InteractionId, browser: &TokenHash) -> Result<Pending, PageReason> {
        let now = self.now();
        let interaction = self
            .store()
            .load_interaction(id, browser, now)
            .await?
            .ok_or(PageReason::Gone)?;
        let wanted: Vec<Resource> = interaction
            .request
            .resources
            .iter()
            .map(|one| one.resource.clone())
            .collect();
        let found = self
            .store()
            .load_client_with_resources(&interaction.client_id, &wanted)
            .await?;
        let client = found
            .client
            .filter(|client| client.is_current(now) && client.generation == interaction.client_generation)
            .filter(|client| self.lets_in(client))
            .ok_or(PageReason::Gone)?;
        // Proven again: a client that changed its redirect URIs meanwhile gets nothing at the old one.
        let answer_to = if let Some(device) = &interaction.request.device {
            AnswerTo::Device(device.clone())
        } else {
            let presented = interaction.request.redirect_uri.as_deref();
            // What was let pass was written down when the request came in.
            let (target, _) = client.redirect_target_or_known(presented, &self.settings().known_clients)?;
            // The one that was meant when none was named is still the one that the person sees.
            let was_meant = interaction.request.only_redirect_uri.as_deref();
            if was_meant.is_some_and(|uri| uri != target.as_str()) {
                return Err(PageReason::Gone);
            }
            AnswerTo::Client(target)
        };
        // What a person was shown before the document changed is not approved after it: what is approved then counts as an
        // approval of the new one.
        let changed_at = client.profile.document.and_then(|copy| copy.changed_at);
        if changed_at.is_some_and(|changed_at| changed_at > interaction.created_at) {
            return Err(PageReason::Gone);
        }
        let resources = interaction
            .request
            .resources
            .iter()
            .map(|asked| PendingResource {
                record: found
                    .resources
                    .iter()
                    .find(|record| record.resource == asked.resource)
                    .cloned(),
                asked: asked.clone(),
            })
            .collect();
        Ok(Pending {
            interaction,
            client,
            answer_to,
            resources,
        })
    }

    /// Whether an earlier approval of this person may stand in for a new one: only for clients that can prove who they
    /// are, only for what was approved already, not for what was approved before the client's document changed, and never when
    /// the client asks for consent.
    ///
    /// # Errors
    /// [`PageReason::Unavailable`] when the store cannot be asked.
    pub async fn is_approved_already(&self, pending: &Pending, subject: &str) -> Result<bool, PageReason> {
        let request = &pending.interaction.request;
        // Nobody can tell whose device it is that asks, whoever made the program on it (RFC 8628 §5.4).
        let is_device = request.device.is_some();
        // Nor is a redirect remembered that is let pass although the client did not register it.
        let is_registered = pending
            .client
            .redirect_target(request.redirect_uri.as_deref())
            .is_ok();
        if is_device || !is_registered || request.prompts(Prompt::Consent) {
            return Ok(false);
        }
        if !self.may_be_remembered(&pending.client).await? {
            return Ok(false);
        }
        let now = self.now();
        let changed_at = pending.client.profile.document.and_then(|copy| copy.changed_at);
        // What was approved in the very second of the change may have been approved before it.
        let after_change = changed_at.map(|changed_at| changed_at + Duration::from_secs(1));
        let remembered = now - self.settings().lifetimes.consent;
        let since = after_change.map_or(remembered, |after| remembered.max(after));
        Ok(self
            .store()
            .is_covered(
                subject,
                &pending.client.id,
                &request.resources,
                request.offline_access,
                since,
                now,
            )
            .await?)
    }
}
