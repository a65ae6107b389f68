//! Tokens that another program minted.

use std::collections::HashMap;

use mcp_authflow_types::{Timestamp, TokenHash};

use super::{MemoryStore, State};
use crate::{
    port::{
        store::{ImportToken, ImportedEntry, ImportedTokenStore, StoreResult},
        token_storage::TokenKind,
    },
    record::ImportedToken,
};

/// Which tokens were taken in, and until when that is remembered.
pub(super) type Imported = HashMap<(TokenKind, TokenHash), (ImportedEntry, Timestamp)>;

impl State {
    fn import(&mut self, token: &ImportedToken, now: Timestamp) -> ImportToken {
        let key = (token.kind, token.hash);
        if self.imported.contains_key(&key) {
            return ImportToken::AlreadyThere;
        }
        let Some(client) = self
            .client(&token.grant.client_id)
            .filter(|client| client.is_current(now))
        else {
            return ImportToken::ClientGone;
        };
        let subject = self.subject(&token.grant.subject);
        if subject.is_disabled {
            return ImportToken::SubjectDisabled;
        }
        let mut token = token.clone();
        token.grant.client_generation = client.generation;
        token.grant.subject_generation = subject.generation;
        let entry = ImportedEntry {
            bucket: token.bucket(),
            is_claimed: false,
        };
        self.imported.insert(key, (entry, token.remembered_until));
        if let Some(record) = token.access_token() {
            let registration = self.resource_numbers.get(&record.resource).copied();
            self.add_access_token(&record, registration);
        }
        if let Some(record) = token.refresh_token() {
            self.add_refresh_token(record);
        }
        self.add_grant(token.grant);
        ImportToken::Imported
    }
}

#[async_trait::async_trait]
impl ImportedTokenStore for MemoryStore {
    async fn import_tokens(&self, tokens: &[ImportedToken], now: Timestamp) -> StoreResult<Vec<ImportToken>> {
        let mut state = self.state();
        Ok(tokens.iter().map(|token| state.import(token, now)).collect())
    }

    async fn find_imported(&self, kind: TokenKind, token: &TokenHash) -> StoreResult<Option<ImportedEntry>> {
        Ok(self
            .state()
            .imported
            .get(&(kind, *token))
            .map(|(entry, _)| *entry))
    }

    async fn claim_imported(&self, token: &TokenHash) -> StoreResult<bool> {
        let mut state = self.state();
        let found = state.imported.get_mut(&(TokenKind::Refresh, *token));
        Ok(found.map(|(entry, _)| entry.is_claimed = true).is_some())
    }
}
