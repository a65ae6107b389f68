//! Local accounts.

use std::ops::Bound;

use mcp_authflow_types::Timestamp;

use super::{MemoryStore, State};
use crate::{
    port::store::{AddUser, StoreResult, UserStore},
    record::{User, UserId},
};

impl State {
    pub(super) fn user(&self, id: &UserId) -> Option<&User> {
        self.users.get(self.usernames.get(id)?)
    }

    fn add_user(&mut self, user: &User, only_as_first: bool) -> AddUser {
        if only_as_first && !self.users.is_empty() {
            return AddUser::NotTheFirst;
        }
        if self.users.contains_key(&user.username) {
            return AddUser::Taken;
        }
        let subject = self.subjects.entry(user.id.to_string()).or_default();
        subject.is_disabled = user.disabled_at.is_some();
        self.usernames.insert(user.id.clone(), user.username.clone());
        self.users.insert(user.username.clone(), user.clone());
        AddUser::Added
    }
}

#[async_trait::async_trait]
impl UserStore for MemoryStore {
    async fn add_user(&self, user: &User, only_as_first: bool) -> StoreResult<AddUser> {
        Ok(self.state().add_user(user, only_as_first))
    }

    async fn has_users(&self) -> StoreResult<bool> {
        Ok(!self.state().users.is_empty())
    }

    async fn load_user(&self, username: &str) -> StoreResult<Option<User>> {
        Ok(self.state().users.get(username).cloned())
    }

    async fn list_users(&self, after: Option<&str>, limit: u32) -> StoreResult<Vec<User>> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        Ok(self
            .state()
            .users
            .range::<str, _>((from, Bound::Unbounded))
            .take(limit as usize)
            .map(|(_, user)| user.clone())
            .collect())
    }

    async fn set_user_disabled(&self, username: &str, disabled: bool, now: Timestamp) -> StoreResult<bool> {
        let mut state = self.state();
        let Some(user) = state.users.get_mut(username) else {
            return Ok(false);
        };
        user.disabled_at = disabled.then_some(now);
        let id = user.id.to_string();
        let subject = state.subjects.entry(id).or_default();
        subject.is_disabled = disabled;
        subject.generation += u32::from(disabled);
        Ok(true)
    }

    async fn set_user_password(&self, id: &UserId, password_hash: &str) -> StoreResult<bool> {
        let mut guard = self.state();
        let state = &mut *guard;
        let Some(user) = state
            .usernames
            .get(id)
            .and_then(|username| state.users.get_mut(username))
        else {
            return Ok(false);
        };
        password_hash.clone_into(&mut user.password_hash);
        state.sessions.retain(|_, session| session.user != *id);
        Ok(true)
    }
}
