//! Sessions of local accounts.

use mcp_authflow_types::{Timestamp, TokenHash};

use super::{MemoryStore, State};
use crate::{
    port::store::{SessionStore, StoreResult},
    record::{Session, User, UserId},
};

impl State {
    fn begin_session(
        &mut self,
        session: &Session,
        verified: Option<&str>,
        replacing: Option<&TokenHash>,
    ) -> bool {
        let subject = self.subject(session.user.as_str());
        let Some(user) = self.user(&session.user) else {
            return false;
        };
        if subject.is_disabled || verified.is_some_and(|verified| verified != user.password_hash) {
            return false;
        }
        if let Some(replaced) = replacing {
            self.sessions.remove(replaced);
            for kept in self.interactions.values_mut() {
                if !kept.is_closed && kept.interaction.browser == *replaced {
                    kept.interaction.browser = session.hash;
                }
            }
        }
        let session = Session {
            subject_generation: subject.generation,
            ..session.clone()
        };
        self.sessions.insert(session.hash, session);
        true
    }
}

#[async_trait::async_trait]
impl SessionStore for MemoryStore {
    async fn begin_session(
        &self,
        session: &Session,
        verified: Option<&str>,
        replacing: Option<&TokenHash>,
    ) -> StoreResult<bool> {
        Ok(self.state().begin_session(session, verified, replacing))
    }

    async fn load_session(&self, hash: &TokenHash) -> StoreResult<Option<(Session, User)>> {
        let state = self.state();
        let found = state.sessions.get(hash).filter(|session| {
            let subject = state.subject(session.user.as_str());
            !subject.is_disabled && subject.generation == session.subject_generation
        });
        Ok(found.and_then(|session| Some((session.clone(), state.user(&session.user)?.clone()))))
    }

    async fn touch_session(&self, hash: &TokenHash, now: Timestamp) -> StoreResult<()> {
        if let Some(session) = self.state().sessions.get_mut(hash) {
            session.last_seen_at = now;
        }
        Ok(())
    }

    async fn end_session(&self, hash: &TokenHash) -> StoreResult<()> {
        self.state().sessions.remove(hash);
        Ok(())
    }

    async fn end_sessions_of(&self, user: &UserId) -> StoreResult<u64> {
        let mut state = self.state();
        let before = state.sessions.len();
        state.sessions.retain(|_, session| session.user != *user);
        Ok((before - state.sessions.len()) as u64)
    }
}
