//! Reads the tools again and again: soon while the MCP server is not up, now and then while it is.

use std::{sync::Arc, time::Duration};

use mcp_authflow::port::{Entropy, Store};
use mcp_authflow_resource::InvalidProtection;

use super::{
    door::{Door, Doorway},
    own_issuer::register,
    survey::{Found, Survey},
};
use crate::system::SystemEntropy;

/// How long after a failure it is tried again: doubled each time, up to a limit.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// How long after word of a change the tools are read: servers change several one after the other, and tell each client.
const SETTLE: Duration = Duration::from_millis(500);

/// Keeps the door in step with the tools behind it.
pub(crate) struct Watch {
    survey: Survey,
    doorway: Doorway,
    door: Door,
    every: Duration,
    known: Option<Found>,
    store: Option<Arc<dyn Store>>,
}

impl Watch {
    pub(crate) fn new(
        doorway: Doorway,
        door: Door,
        every: Duration,
        known: Option<Found>,
    ) -> Result<Self, InvalidProtection> {
        Ok(Self {
            survey: doorway.survey()?,
            doorway,
            door,
            every,
            known,
            store: None,
        })
    }

    /// Tells the store what the MCP server calls itself, once that is known.
    pub(crate) fn telling(mut self, store: Arc<dyn Store>) -> Self {
        self.store = Some(store);
        self
    }

    /// Watches for as long as the process runs.
    pub(crate) async fn run(mut self) {
        let mut wait = if self.known.is_some() {
            self.every
        } else {
            FIRST_WAIT
        };
        let mut is_told = self.known.is_none();
        let changed = self.door.changed();
        loop {
            tokio::select! {
                () = tokio::time::sleep(jittered(wait)) => {}
                () = changed.notified() => tokio::time::sleep(SETTLE).await,
            }
            match self.survey.read().await {
                Ok(found) => {
                    is_told = false;
                    wait = self.every;
                    if self.known.as_ref() != Some(&found) {
                        self.take(found).await;
                    }
                }
                Err(error) => {
                    // What was known stays in force: a tool does not become harmless because nobody can ask.
                    if !is_told {
                        tracing::warn!(%error, "the tools cannot be read; trying again");
                        is_told = true;
                    }
                    wait = if wait >= self.every {
                        FIRST_WAIT
                    } else {
                        (wait * 2).min(LONGEST_WAIT)
                    };
                }
            }
        }
    }

    async fn take(&mut self, found: Found) {
        match self.doorway.hang(Some(&found)) {
            Ok(hung) => {
                tracing::info!(tools = found.tools.len(), "the MCP server's tools were read anew");
                if self.known.is_none() {
                    // What the start could not say.
                    for line in self.doorway.authority.lines(&found) {
                        tracing::info!(line, "the MCP server has");
                    }
                }
                self.door.replace(hung);
            }
            Err(error) => {
                tracing::error!(%error, "the tools that were read cannot be protected; the old rules stay");
                return;
            }
        }
        if let Some(store) = &self.store {
            let name = self.doorway.name.as_deref().or(found.name.as_deref());
            let scopes = self.doorway.authority.described(Some(&found));
            if let Err(error) = register(&**store, &self.doorway.resource, name, &scopes).await {
                tracing::warn!(%error, "the store cannot be told of the MCP server's name");
            }
        }
        self.known = Some(found);
    }
}

/// Three to five quarters of it, so that nodes do not ask together.
fn jittered(wait: Duration) -> Duration {
    let random: [u8; 1] = (&SystemEntropy as &dyn Entropy).draw();
    let quarter = wait / 4;
    quarter * 3 + quarter * 2 * u32::from(random[0]) / 255
}
