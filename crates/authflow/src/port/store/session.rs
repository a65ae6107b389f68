//! Sessions of local accounts.

use mcp_authflow_types::{Timestamp, TokenHash};

use super::StoreResult;
use crate::record::{Session, User};

/// Keeps sessions.
#[async_trait::async_trait]
pub trait SessionStore: Send + Sync {
    /// Begins a session in a browser: the browser's earlier session, if any, ends, and its open interactions move to the
    /// new cookie, all in one step. The store stamps `subject_generation`. Answers false, with nothing stored, when the
    /// account is gone or disabled.
    async fn begin_session(&self, session: &Session, replacing: Option<&TokenHash>) -> StoreResult<bool>;

    /// Reads a session with its account. Not answered when the account is disabled or its generation has moved on;
    /// expiry is the caller's to judge.
    async fn load_session(&self, hash: &TokenHash) -> StoreResult<Option<(Session, User)>>;

    /// Notes that a session was used.
    async fn touch_session(&self, hash: &TokenHash, now: Timestamp) -> StoreResult<()>;

    /// Ends a session.
    async fn end_session(&self, hash: &TokenHash) -> StoreResult<()>;
}
