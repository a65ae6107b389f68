//! What is remembered of clients that had to make room, so that nobody gets rid of friction by being forgotten.

use std::{sync::Arc, time::Duration};

use hashlink::LinkedHashMap;
use serde::Deserialize;

use super::ledger::Ledger;

/// What is kept of a client that had to make room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Carry {
    /// Everything but its last calls: friction, smoothed rates, raised targets, budget and number of calls. While it is
    /// away time passes for it as for everybody.
    #[default]
    Everything,
    /// Its friction, if there is enough of it, as it stood: as the Python package `mcp-authflow-resource` did. It comes
    /// back with a full budget and a new warm-up.
    Friction,
}

/// The terms on which clients are remembered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    pub(super) carry: Carry,
    /// Zero is not at all.
    pub(super) ttl: Duration,
    /// From which friction on it is a penalty.
    pub(super) min_friction: f64,
    /// How many of each kind.
    pub(super) max_saved: usize,
}

/// A client as it left.
#[derive(Debug)]
pub(super) struct Saved {
    pub(super) state: SavedState,
    pub(super) is_penalty: bool,
    ends_at: Duration,
}

#[derive(Debug)]
pub(super) enum SavedState {
    Ledger(Ledger),
    Friction(Vec<(Arc<str>, f64)>),
}

/// Those who left, oldest first. Two lists of bounded length: who has friction cannot be pushed out by a crowd of those
/// who have none.
#[derive(Debug)]
pub(super) struct Penalties {
    terms: Terms,
    heavy: LinkedHashMap<Arc<str>, Saved>,
    light: LinkedHashMap<Arc<str>, Saved>,
}

impl Penalties {
    pub(super) fn new(terms: Terms) -> Self {
        Self {
            terms,
            heavy: LinkedHashMap::new(),
            light: LinkedHashMap::new(),
        }
    }

    pub(super) fn terms(&self) -> &Terms {
        &self.terms
    }

    /// Remembers a client; and forgets those whose time is over, and the oldest one when there are too many.
    pub(super) fn save(&mut self, key: Arc<str>, state: SavedState, is_penalty: bool, now: Duration) {
        let Terms { ttl, max_saved, .. } = self.terms;
        if ttl.is_zero() || max_saved == 0 {
            return;
        }
        for list in [&mut self.heavy, &mut self.light] {
            // All stay for the same time, so that the oldest is the first to go.
            while list.front().is_some_and(|(_, oldest)| oldest.ends_at <= now) {
                list.pop_front();
            }
        }
        let list = if is_penalty {
            &mut self.heavy
        } else {
            &mut self.light
        };
        if list.len() >= max_saved {
            list.pop_front();
        }
        let ends_at = now.saturating_add(ttl);
        list.insert(
            key,
            Saved {
                state,
                is_penalty,
                ends_at,
            },
        );
    }

    /// Takes out what is remembered of a client, if its time is not over.
    pub(super) fn take(&mut self, key: &str, now: Duration) -> Option<Saved> {
        let saved = self.heavy.remove(key).or_else(|| self.light.remove(key))?;
        (saved.ends_at > now).then_some(saved)
    }

    pub(super) fn count(&self) -> usize {
        self.heavy.len() + self.light.len()
    }
}
