//! What was asked and what was answered, in the order in which it happened.

use std::sync::{Mutex, PoisonError};

pub(super) use crate::crowd::caller::Answer;

/// Tokens that descend from one approval (or one client's request) share a family.
pub(super) type FamilyId = u64;

/// A request that changes or asks about something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Call {
    /// An access token without a person: grants the first token of a family.
    Issue,
    /// An authorization code for tokens.
    Redeem { code: String },
    /// A refresh token for its successor.
    Rotate { refresh: String },
    /// The end of one access token.
    RevokeAccess { token: String },
    /// The end of a family, through its refresh token.
    RevokeFamily { refresh: String },
    /// Whether an access token is good.
    Introspect { token: String },
}

/// One exchange. `asked` and `answered` are points in one order over all tasks, so that
/// "after" means: asked after the other was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) family: FamilyId,
    pub(super) call: Call,
    pub(super) answer: Answer,
    pub(super) asked: u64,
    pub(super) answered: u64,
}

/// Everything that happened, written by many tasks.
#[derive(Debug, Default)]
pub(super) struct History {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    next_moment: u64,
    next_family: FamilyId,
    events: Vec<Event>,
}

impl History {
    /// Begins a family.
    pub(super) fn new_family(&self) -> FamilyId {
        let mut inner = self.lock();
        inner.next_family += 1;
        inner.next_family
    }

    /// Notes that something is being asked now; give the moment to [`History::answered`].
    pub(super) fn asked(&self) -> u64 {
        let mut inner = self.lock();
        inner.next_moment += 1;
        inner.next_moment
    }

    /// Notes the answer, or its absence.
    pub(super) fn answered(&self, family: FamilyId, asked: u64, call: Call, answer: Answer) {
        let mut inner = self.lock();
        inner.next_moment += 1;
        let answered = inner.next_moment;
        inner.events.push(Event {
            family,
            call,
            answer,
            asked,
            answered,
        });
    }

    /// A copy of everything so far.
    pub(super) fn events(&self) -> Vec<Event> {
        self.lock().events.clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
