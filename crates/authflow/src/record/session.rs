//! A session: somebody is signed in, in one browser.

use std::time::Duration;

use mcp_authflow_types::{Timestamp, TokenHash};

use super::UserId;

/// A signed-in browser. The browser holds the secret, the store its digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The digest of the cookie.
    pub hash: TokenHash,
    /// Who is signed in.
    pub user: UserId,
    /// The subject's generation at sign-in; stamped by the store.
    pub subject_generation: u32,
    /// When the password was last given.
    pub authenticated_at: Timestamp,
    /// When it was last used, to within a minute.
    pub last_seen_at: Timestamp,
    /// Its absolute end.
    pub expires_at: Timestamp,
}

impl Session {
    /// Whether the session still counts at `now`: before its absolute end, and used within the idle time.
    pub fn is_current(&self, now: Timestamp, idle: Duration) -> bool {
        !self.expires_at.has_passed(now) && !(self.last_seen_at + idle).has_passed(now)
    }
}
