//! Authorization requests that wait for a person.

use mcp_authflow_types::{Timestamp, TokenHash};

use super::StoreResult;
use crate::record::{Grant, Interaction, InteractionId};

/// How an interaction is closed.
#[derive(Clone, Debug)]
pub enum Closing<'a> {
    /// The person approved: the grant, with its code, is stored in the same step.
    Approve {
        /// The grant. The store stamps `subject_generation`.
        grant: &'a Grant,
        /// The subject's generation as the caller knew it; when given and no longer current, nothing is stored.
        subject_generation: Option<u32>,
        /// Until when a self-registered client is kept for this grant's sake; moved ahead, never back.
        keep_client_until: Timestamp,
    },
    /// The person said no.
    Deny,
}

/// How closing went. Of all callers, one closes.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseInteraction {
    /// This caller closed it.
    Closed,
    /// It was closed before.
    AlreadyClosed,
    /// It is unknown, expired, not this browser's, or its client or subject is no longer what it was.
    Gone,
}

/// Keeps interactions for the few minutes that they live.
#[async_trait::async_trait]
pub trait InteractionStore: Send + Sync {
    /// Stores a new interaction.
    async fn begin_interaction(&self, interaction: &Interaction) -> StoreResult<()>;

    /// Reads an open, unexpired interaction of this browser.
    async fn load_interaction(
        &self,
        id: InteractionId,
        browser: &TokenHash,
        now: Timestamp,
    ) -> StoreResult<Option<Interaction>>;

    /// Closes an interaction: one caller closes; approving stores grant and code in the same step. A wrong answer here
    /// is a code that nobody approved, or two.
    ///
    /// Re-checked in the same step: open, unexpired, of this browser; for an approval also that the client is there, not
    /// expired and of the grant's generation, that the subject is not disabled, and that its generation is the one given.
    async fn close_interaction(
        &self,
        id: InteractionId,
        browser: &TokenHash,
        closing: Closing<'_>,
        now: Timestamp,
    ) -> StoreResult<CloseInteraction>;
}
