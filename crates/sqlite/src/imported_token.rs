//! Tokens that another program minted.

use mcp_authflow::{
    port::{
        store::{ImportToken, ImportedEntry, ImportedTokenStore, StoreResult},
        token_storage::TokenKind,
    },
    record::ImportedToken,
};
use mcp_authflow_types::{Timestamp, TokenHash};
use rusqlite::{Connection, OptionalExtension as _, named_params};

use crate::{SqliteStore, client, grant, sql::statements, token};

statements! {
    ENTER = "INSERT INTO imported_tokens (kind, hash, bucket, remembered_until)
        VALUES (:kind, :hash, :bucket, :remembered_until) ON CONFLICT (kind, hash) DO NOTHING";
    TAKE_BACK = "DELETE FROM imported_tokens WHERE kind = :kind AND hash = :hash";
    FIND = "SELECT bucket, is_claimed FROM imported_tokens WHERE kind = :kind AND hash = :hash";
    CLAIM = "UPDATE imported_tokens SET is_claimed = 1 WHERE kind = :kind AND hash = :hash";
    PURGE = "DELETE FROM imported_tokens WHERE (kind, hash) IN
        (SELECT kind, hash FROM imported_tokens WHERE remembered_until <= :now LIMIT :limit)";
}

const fn as_number(kind: TokenKind) -> i64 {
    match kind {
        TokenKind::Access => 1,
        TokenKind::Refresh => 2,
    }
}

/// Forgets entries whose time has passed.
pub(crate) fn purge(connection: &Connection, now: Timestamp, limit: u32) -> rusqlite::Result<u64> {
    let key = named_params! {":now": now.seconds(), ":limit": limit};
    let removed = connection.prepare_cached(PURGE)?.execute(key)?;
    Ok(u64::try_from(removed).unwrap_or(u64::MAX))
}

fn import(connection: &Connection, token: &ImportedToken, now: Timestamp) -> rusqlite::Result<ImportToken> {
    let entered = connection.prepare_cached(ENTER)?.execute(named_params! {
        ":kind": as_number(token.kind),
        ":hash": token.hash.as_bytes(),
        ":bucket": token.bucket(),
        ":remembered_until": token.remembered_until.seconds(),
    })?;
    if entered == 0 {
        return Ok(ImportToken::AlreadyThere);
    }
    let refuse = |answer| {
        let key = named_params! {":kind": as_number(token.kind), ":hash": token.hash.as_bytes()};
        connection.prepare_cached(TAKE_BACK)?.execute(key)?;
        Ok(answer)
    };
    let client = client::load(connection, &token.grant.client_id)?;
    let Some(client) = client.filter(|client| client.is_current(now)) else {
        return refuse(ImportToken::ClientGone);
    };
    let mut token = token.clone();
    token.grant.client_generation = client.generation;
    // The client was there a moment ago, in this very transaction: it is the subject.
    if !grant::add(connection, &token.grant, None, now)? {
        return refuse(ImportToken::SubjectDisabled);
    }
    if let Some(record) = token.access_token() {
        token::add(connection, &record, None, now)?;
    }
    if let Some(record) = token.refresh_token() {
        token::add_refresh_token(connection, &record)?;
    }
    Ok(ImportToken::Imported)
}

#[async_trait::async_trait]
impl ImportedTokenStore for SqliteStore {
    async fn import_tokens(&self, tokens: &[ImportedToken], now: Timestamp) -> StoreResult<Vec<ImportToken>> {
        let tokens = tokens.to_vec();
        self.write(move |connection| {
            tokens
                .iter()
                .map(|token| import(connection, token, now))
                .collect()
        })
        .await
    }

    async fn find_imported(&self, kind: TokenKind, token: &TokenHash) -> StoreResult<Option<ImportedEntry>> {
        let token = *token;
        self.read(move |connection| {
            let key = named_params! {":kind": as_number(kind), ":hash": token.as_bytes()};
            let entry = |row: &rusqlite::Row<'_>| {
                Ok(ImportedEntry {
                    bucket: row.get("bucket")?,
                    is_claimed: row.get("is_claimed")?,
                })
            };
            connection.prepare_cached(FIND)?.query_row(key, entry).optional()
        })
        .await
    }

    async fn claim_imported(&self, token: &TokenHash) -> StoreResult<bool> {
        let token = *token;
        self.write(move |connection| {
            let key = named_params! {":kind": as_number(TokenKind::Refresh), ":hash": token.as_bytes()};
            Ok(connection.prepare_cached(CLAIM)?.execute(key)? == 1)
        })
        .await
    }
}
