//! Sessions of local accounts.

use mcp_authflow_types::{Timestamp, TokenHash};

use super::StoreResult;
use crate::record::{Session, User, UserId};

/// Keeps sessions.
#[async_trait::async_trait]
pub trait SessionStore: Send + Sync {
    /// Begins a session in a browser: the browser's earlier session, if any, ends, and its open interactions move to the
    /// new cookie, all in one step. The store stamps `subject_generation`. Answers false, with nothing stored, when the
    /// account is gone or disabled, or its password is no longer `verified`.
    ///
    /// `verified` is the account's `password_hash` that the typed password was checked against. That check takes long,
    /// and whoever changes a password meanwhile means to shut out who knew the old one: a store that does not look
    /// again, in the step that [`set_user_password`](super::UserStore::set_user_password) cannot overlap, lets them in for
    /// as long as a session lasts. `None` where no password was checked: another way of signing in.
    async fn begin_session(
        &self,
        session: &Session,
        verified: Option<&str>,
        replacing: Option<&TokenHash>,
    ) -> StoreResult<bool>;

    /// Reads a session with its account. Not answered when the account is disabled or its generation has moved on;
    /// expiry is the caller's to judge.
    async fn load_session(&self, hash: &TokenHash) -> StoreResult<Option<(Session, User)>>;

    /// Notes that a session was used.
    async fn touch_session(&self, hash: &TokenHash, now: Timestamp) -> StoreResult<()>;

    /// Ends a session.
    async fn end_session(&self, hash: &TokenHash) -> StoreResult<()>;

    /// Ends all sessions of an account, in every browser. Its grants stay. Answers how many there were.
    async fn end_sessions_of(&self, user: &UserId) -> StoreResult<u64>;
}
