//! Tokens of the Python package's tables that were not copied yet: taken in when they are presented.

use std::{sync::Arc, time::Duration};

use mcp_authflow::{
    Settings,
    port::{
        AccountStore, Audit as _, AuditEvent, AuditOutcome, OldTokens, Store, StoreError,
        audit::AuditAction,
        store::{ImportedEntry, StoreResult},
        token_storage::{TokenKind, TokenStorage as _, TokenStorageError},
    },
};
use mcp_authflow_postgres::{PostgresTokenStorage, PostgresTokenStorageConfig};
use mcp_authflow_types::{Timestamp, TokenHash};
use tokio::time::timeout;

use super::{Mapping, Skip, within_ceilings};
use crate::{audit_trail::AuditTrail, config::Import};

/// How long one question to the old database may take; then whoever waits is told that it cannot be asked.
const PATIENCE: Duration = Duration::from_millis(1_500);

/// The Python package's tables, asked on every token that is not known here.
pub(crate) struct ReadThrough {
    old: PostgresTokenStorage,
    store: Arc<dyn Store>,
    accounts: Arc<dyn AccountStore>,
    settings: Settings,
    import: Import,
}

impl ReadThrough {
    /// Tables at an address; they are connected to when the first token is asked for, and again after every failure.
    pub(crate) fn new(
        url: &str,
        store: Arc<dyn Store>,
        accounts: Arc<dyn AccountStore>,
        settings: Settings,
        import: Import,
    ) -> Self {
        let mut old = PostgresTokenStorageConfig::new(Some(url.to_owned()));
        old.acquire_timeout = PATIENCE / 3;
        old.connect_timeout = PATIENCE / 2;
        old.statement_timeout = PATIENCE * 2 / 3;
        Self {
            old: PostgresTokenStorage::new(old),
            store,
            accounts,
            settings,
            import,
        }
    }

    /// Asks the old database, within bounds.
    async fn ask<T>(&self, question: impl Future<Output = Result<T, TokenStorageError>>) -> StoreResult<T> {
        let asking = async {
            if !self.old.is_open() {
                self.old.initialize().await?;
            }
            question.await
        };
        match timeout(PATIENCE, asking).await {
            Ok(answer) => answer.map_err(|error| match error {
                TokenStorageError::TimedOut(said) => {
                    StoreError::TimedOut(format!("the old database: {said}"))
                }
                other => StoreError::Unavailable(format!("the old database: {other}")),
            }),
            Err(_) => Err(StoreError::TimedOut("the old database gave no answer".to_owned())),
        }
    }

    fn note(token: &TokenHash, outcome: AuditOutcome, reason: String) {
        AuditTrail.record(&AuditEvent::new(AuditAction::Import, outcome, reason).with_token(token));
    }
}

#[async_trait::async_trait]
impl OldTokens for ReadThrough {
    async fn take_in(
        &self,
        kind: TokenKind,
        token: &TokenHash,
        now: Timestamp,
    ) -> StoreResult<Option<ImportedEntry>> {
        let Some(stored) = self.ask(self.old.find(kind, token)).await? else {
            return Ok(None);
        };
        // Read anew each time: what is registered changes, and each token comes here once.
        let mapping = Mapping::read(&self.settings, &self.import, &*self.store, &*self.accounts).await?;
        let mapped = match mapping.map(kind, &stored, now) {
            Ok(imported) => within_ceilings(&*self.store, vec![imported]).await?.pop(),
            Err(skip) => Some(Err(skip)),
        };
        let Some(mapped) = mapped else { return Ok(None) };
        let taken_in = match mapped {
            Ok(imported) => {
                let answers = self
                    .store
                    .import_tokens(std::slice::from_ref(&imported), now)
                    .await?;
                answers
                    .first()
                    .and_then(|answer| Skip::of(*answer, &imported))
                    .map_or(Ok(()), Err)
            }
            Err(skip) => Err(skip),
        };
        match taken_in {
            Ok(()) => {
                Self::note(
                    token,
                    AuditOutcome::Allowed,
                    format!("{} taken in", kind.as_str()),
                );
                self.store.find_imported(kind, token).await
            }
            Err(skip) => {
                Self::note(token, AuditOutcome::Refused, skip.to_string());
                Ok(None)
            }
        }
    }

    async fn is_there(&self, kind: TokenKind, token: &TokenHash) -> StoreResult<bool> {
        Ok(self.ask(self.old.find(kind, token)).await?.is_some())
    }

    async fn remove(&self, kind: TokenKind, token: &TokenHash) -> StoreResult<()> {
        self.ask(self.old.take(kind, token)).await.map(drop)
    }
}
