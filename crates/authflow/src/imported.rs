//! Tokens that another program minted: where they lie, and who decides about them.
//!
//! While the other program still runs, both could exchange one refresh token, and its chain would have two ends. So before
//! the first exchange here:
//!
//! 1. The token is taken in: a row of ours, durable. From here on a crash signs nobody out.
//! 2. Is it still there, at the other program? If not, and nobody here has claimed it, the other one has exchanged or
//!    revoked it since: it is refused, and its grant ends.
//! 3. It is claimed: a mark of ours, durable. Who finds the mark later knows that step 4 may have been done already.
//! 4. It is removed there. From here on the other program cannot use it.
//! 5. It is exchanged here, by the store's one commit: of many callers one wins.
//!
//! A crash after any step leaves a token that can be presented here again, and goes on from step 2. What the other program
//! exchanges between the steps 2 and 4 is not noticed, and has two successors: that is a moment, unless a crash falls
//! between 3 and 4; then it lasts until the token is presented here again.

use mcp_authflow_types::{ErrorResponse, ForeignToken, Timestamp, TokenHash};

use crate::{
    port::{
        OldTokens,
        store::{ImportedEntry, StoreResult},
        token_storage::TokenKind,
    },
    server::AuthorizationServer,
};

impl AuthorizationServer {
    /// Finds out where a foreign token lies; takes it in first when it is good at the other program.
    pub(crate) async fn find_foreign(
        &self,
        kind: TokenKind,
        token: &ForeignToken,
        now: Timestamp,
    ) -> StoreResult<Option<ImportedEntry>> {
        let hash = token.hash();
        let found = self.store().find_imported(kind, &hash).await?;
        let (None, Some(old)) = (found, self.old_tokens()) else {
            return Ok(found);
        };
        if let Some(taken_in) = old.take_in(kind, &hash, now).await? {
            return Ok(Some(taken_in));
        }
        // It may be gone there because somebody took it over between the two questions.
        self.store().find_imported(kind, &hash).await
    }

    /// Makes sure that an unspent imported refresh token is exchanged nowhere but here. Answers false when the other program
    /// has done something with it since it was taken in.
    pub(crate) async fn take_over(&self, token: &TokenHash) -> Result<bool, ErrorResponse> {
        let Some(old) = self.old_tokens() else {
            return Ok(true);
        };
        let kind = TokenKind::Refresh;
        if !old.is_there(kind, token).await? {
            let entry = self.store().find_imported(kind, token).await?;
            return Ok(entry.is_some_and(|entry| entry.is_claimed));
        }
        if !self.store().claim_imported(token).await? {
            return Ok(false);
        }
        old.remove(kind, token).await?;
        Ok(true)
    }

    /// Removes a token that is revoked here from the other program, which would honour it still.
    pub(crate) async fn revoke_elsewhere(
        &self,
        kind: TokenKind,
        token: &TokenHash,
    ) -> Result<(), ErrorResponse> {
        if let Some(old) = self.old_tokens() {
            old.remove(kind, token).await?;
        }
        Ok(())
    }

    fn old_tokens(&self) -> Option<&dyn OldTokens> {
        self.ports().old_tokens.as_deref()
    }
}
