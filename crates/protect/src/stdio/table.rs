//! All sessions, found by id or by owner; and how many there may be.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::session::Session;
use crate::{
    owner::{Owner, Person},
    trouble::Trouble,
};

/// The most sessions of one person, through whatever clients: editors open a handful, and nobody is to have them all.
const MAX_OF_ONE: usize = 8;

#[derive(Debug)]
pub(super) struct Table {
    inner: Mutex<Inner>,
    max_children: usize,
}

#[derive(Debug, Default)]
struct Inner {
    sessions: HashMap<String, Arc<Session>>,
    /// Of each person, those whose children are being started.
    starting: HashMap<Person, usize>,
    /// One at a time for each caller without sessions of their own.
    stateless: HashMap<Owner, Arc<tokio::sync::Mutex<Option<Arc<Session>>>>>,
}

/// The right to start one child.
pub(super) struct Permit {
    table: Arc<Table>,
    person: Person,
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut inner = self.table.lock();
        if let Some(count) = inner.starting.get_mut(&self.person) {
            *count -= 1;
            if *count == 0 {
                inner.starting.remove(&self.person);
            }
        }
    }
}

impl Table {
    pub(super) fn new(max_children: usize) -> Arc<Self> {
        Arc::new(Self {
            inner: Mutex::default(),
            max_children,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for the right to start a child of `owner`'s. When there are too many, the one that idles for the longest time
    /// makes room: first among the person's own, else among all.
    pub(super) fn permit(self: &Arc<Self>, owner: &Owner) -> Result<Permit, Trouble> {
        let person = owner.person();
        let mut inner = self.lock();
        let starting: usize = inner.starting.values().sum();
        let of_one = inner.starting.get(&person).copied().unwrap_or_default()
            + inner
                .sessions
                .values()
                .filter(|session| session.owner.person() == person)
                .count();
        if of_one >= MAX_OF_ONE {
            inner.make_room(Some(&person))?;
        }
        if inner.sessions.len() + starting >= self.max_children {
            inner.make_room(None)?;
        }
        *inner.starting.entry(person.clone()).or_default() += 1;
        Ok(Permit {
            table: Arc::clone(self),
            person,
        })
    }

    /// The session of this id, if it is `owner`'s (M-127).
    pub(super) fn find(&self, id: &str, owner: &Owner) -> Option<Arc<Session>> {
        let inner = self.lock();
        let session = inner.sessions.get(id)?;
        (session.owner == *owner && !session.is_over()).then(|| Arc::clone(session))
    }

    pub(super) fn insert(&self, session: &Arc<Session>) {
        self.lock()
            .sessions
            .insert(session.id.clone(), Arc::clone(session));
    }

    pub(super) fn remove(&self, id: &str) {
        self.lock().sessions.remove(id);
    }

    /// Where the one session of a caller who has none of their own is, or is being started.
    pub(super) fn place(&self, owner: &Owner) -> Arc<tokio::sync::Mutex<Option<Arc<Session>>>> {
        let mut inner = self.lock();
        // Those that are over, and that nobody else waits at.
        inner.stateless.retain(|_, place| {
            let lives = |session: &Arc<Session>| !session.is_over();
            Arc::strong_count(place) > 1
                || place
                    .try_lock()
                    .is_ok_and(|session| session.as_ref().is_some_and(lives))
        });
        Arc::clone(inner.stateless.entry(owner.clone()).or_default())
    }

    pub(super) fn all(&self) -> Vec<Arc<Session>> {
        self.lock().sessions.values().cloned().collect()
    }
}

impl Inner {
    fn make_room(&mut self, of: Option<&Person>) -> Result<(), Trouble> {
        let idle = self
            .sessions
            .values()
            .filter(|session| of.is_none_or(|person| session.owner.person() == *person))
            .filter(|session| session.is_idle())
            .min_by_key(|session| session.last_used());
        let Some(idle) = idle.cloned() else {
            return Err(Trouble::TooManyChildren);
        };
        tracing::info!("an idle session makes room for a new one");
        idle.end();
        self.sessions.remove(&idle.id);
        Ok(())
    }
}
