//! Local accounts.

use mcp_authflow_types::Timestamp;

use super::StoreResult;
use crate::record::{User, UserId};

/// How adding an account went.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddUser {
    /// It is there now.
    Added,
    /// The name is taken.
    Taken,
    /// The first account was asked for, and there is one already.
    NotTheFirst,
}

/// Keeps local accounts.
#[async_trait::async_trait]
pub trait UserStore: Send + Sync {
    /// Adds an account. With `only_as_first`, of all callers one may succeed, and only while there is no account at all.
    async fn add_user(&self, user: &User, only_as_first: bool) -> StoreResult<AddUser>;

    /// Whether there is any account.
    async fn has_users(&self) -> StoreResult<bool>;

    /// Reads an account by the name its owner types, disabled ones included.
    async fn load_user(&self, username: &str) -> StoreResult<Option<User>>;

    /// Lists accounts by name, after `after`, at most `limit`.
    async fn list_users(&self, after: Option<&str>, limit: u32) -> StoreResult<Vec<User>>;

    /// Disables an account or enables it again. Disabling ends its sessions, grants and tokens in the same step, and none
    /// of them comes back with the account. Answers whether there is such an account.
    async fn set_user_disabled(&self, username: &str, disabled: bool, now: Timestamp) -> StoreResult<bool>;

    /// Replaces a password and ends the account's sessions in the same step. Answers whether there is such an account.
    async fn set_user_password(&self, id: &UserId, password_hash: &str) -> StoreResult<bool>;
}
