//! Whose the URLs are that the older transport posts to.
//!
//! Its server puts a session id into the URL, and whoever knows the URL speaks in the session. So the client is given
//! another URL, with a handle of ours that only the caller who opened the stream may use (M-127, M-128), and only while
//! the stream is open.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use http::uri::PathAndQuery;

use crate::{entropy, owner::Owner};

/// What stands between the endpoint on our side and the handle.
pub(super) const PREFIX: &str = "/~";

#[derive(Default)]
pub(super) struct Sessions {
    open: Mutex<HashMap<String, (Owner, PathAndQuery)>>,
}

/// A session; over when it is dropped.
pub(super) struct Session {
    handle: String,
    sessions: Arc<Sessions>,
}

impl Session {
    pub(super) fn handle(&self) -> &str {
        &self.handle
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.sessions.lock().remove(&self.handle);
    }
}

impl Sessions {
    pub(super) fn open(self: &Arc<Self>, owner: Owner, target: PathAndQuery) -> Session {
        let handle = entropy::session_id();
        self.lock().insert(handle.clone(), (owner, target));
        Session {
            handle,
            sessions: Arc::clone(self),
        }
    }

    /// Where a post of `owner` goes. Somebody else's session is none.
    pub(super) fn find(&self, handle: &str, owner: &Owner) -> Option<PathAndQuery> {
        let open = self.lock();
        let (of, target) = open.get(handle)?;
        (of == owner).then(|| target.clone())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, (Owner, PathAndQuery)>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
