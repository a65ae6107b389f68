//! Keeping the store itself in order.

use mcp_authflow::port::{
    store::{KeyFingerprint, Purged, StoreResult, TokenCounts, UpkeepStore},
    token_storage::TokenCount,
};
use mcp_authflow_types::{AccessToken, RefreshToken, Timestamp};
use rusqlite::{Connection, Row, ToSql, named_params};

use crate::{
    SqliteStore,
    sql::{in_one_snapshot, statements},
};

statements! {
    PROBE = "SELECT EXISTS (SELECT 1 FROM migrations WHERE number = 1)";
    PURGE_INTERACTIONS = "DELETE FROM interactions WHERE id IN
        (SELECT id FROM interactions WHERE expires_at <= :now LIMIT :limit)";
    PURGE_SESSIONS = "DELETE FROM sessions WHERE hash IN
        (SELECT hash FROM sessions WHERE expires_at <= :now LIMIT :limit)";
    PURGE_GRANTS = "DELETE FROM grants WHERE id IN
        (SELECT id FROM grants WHERE purge_at <= :now LIMIT :limit)";
    PURGE_CLIENTS = "DELETE FROM clients WHERE number IN
        (SELECT number FROM clients WHERE expires_at <= :now AND NOT is_removed LIMIT :limit)";
    PURGE_ACCESS_TOKENS = "DELETE FROM access_tokens WHERE (bucket, hash) IN
        (SELECT bucket, hash FROM access_tokens WHERE bucket < :bucket LIMIT :limit)";
    PURGE_REFRESH_TOKENS = "DELETE FROM refresh_tokens WHERE (bucket, hash) IN
        (SELECT bucket, hash FROM refresh_tokens WHERE bucket < :bucket LIMIT :limit)";
    PIN_KEY = "INSERT INTO settings (name, value) VALUES ('server_key_fingerprint', :fingerprint)
        ON CONFLICT (name) DO NOTHING";
    COUNT_ACCESS_TOKENS = "SELECT count(*) FILTER (WHERE expires_at > :now), count(*) FILTER (WHERE expires_at <= :now)
        FROM access_tokens";
    COUNT_REFRESH_TOKENS = "SELECT count(*) FILTER (WHERE spent_at IS NULL AND expires_at > :now),
        count(*) FILTER (WHERE spent_at IS NULL AND expires_at <= :now), count(*) FILTER (WHERE spent_at IS NOT NULL)
        FROM refresh_tokens";
    IS_KEY = "SELECT value = :fingerprint FROM settings WHERE name = 'server_key_fingerprint'";
}

fn delete(connection: &Connection, sql: &str, key: &[(&str, &dyn ToSql)]) -> rusqlite::Result<u64> {
    let removed = connection.prepare_cached(sql)?.execute(key)?;
    Ok(u64::try_from(removed).unwrap_or(u64::MAX))
}

fn purge(connection: &Connection, now: Timestamp, limit: u32) -> rusqlite::Result<Purged> {
    let expired = named_params! {":now": now.seconds(), ":limit": limit};
    let hours = named_params! {":bucket": AccessToken::bucket_of(now), ":limit": limit};
    let days = named_params! {":bucket": RefreshToken::bucket_of(now), ":limit": limit};
    Ok(Purged {
        interactions: delete(connection, PURGE_INTERACTIONS, expired)?,
        device_codes: crate::device_code::purge(connection, now, limit)?,
        grants: delete(connection, PURGE_GRANTS, expired)?,
        tokens: delete(connection, PURGE_ACCESS_TOKENS, hours)?
            + delete(connection, PURGE_REFRESH_TOKENS, days)?,
        sessions: delete(connection, PURGE_SESSIONS, expired)?,
        clients: delete(connection, PURGE_CLIENTS, expired)?,
        one_time_uses: crate::replay::forget(connection, now, limit)?,
        imported_tokens: crate::imported_token::purge(connection, now, limit)?,
    })
}

#[async_trait::async_trait]
impl UpkeepStore for SqliteStore {
    async fn probe(&self, now: Timestamp) -> StoreResult<Timestamp> {
        self.read(|connection| connection.prepare_cached(PROBE)?.query_row([], |row| row.get(0)))
            .await
            .map(|_: bool| now)
    }

    async fn purge_expired(&self, now: Timestamp, limit: u32) -> StoreResult<Purged> {
        self.write(move |connection| purge(connection, now, limit)).await
    }

    async fn count_tokens(&self, now: Timestamp) -> StoreResult<TokenCounts> {
        self.read(move |connection| {
            let key = named_params! {":now": now.seconds()};
            let count = |row: &Row<'_>, column| row.get(column).map(|count: i64| count.unsigned_abs());
            let both = |row: &Row<'_>| {
                Ok(TokenCount {
                    live: count(row, 0)?,
                    expired: count(row, 1)?,
                })
            };
            in_one_snapshot(connection, |connection| {
                let mut refresh = connection.prepare_cached(COUNT_REFRESH_TOKENS)?;
                let (refresh_tokens, spent_refresh_tokens) =
                    refresh.query_row(key, |row| Ok((both(row)?, count(row, 2)?)))?;
                Ok(TokenCounts {
                    access_tokens: connection
                        .prepare_cached(COUNT_ACCESS_TOKENS)?
                        .query_row(key, both)?,
                    refresh_tokens,
                    spent_refresh_tokens,
                })
            })
        })
        .await
    }

    async fn pin_server_key(&self, fingerprint: &[u8; 32]) -> StoreResult<KeyFingerprint> {
        let fingerprint = *fingerprint;
        self.write(move |connection| {
            let key = named_params! {":fingerprint": fingerprint};
            connection.prepare_cached(PIN_KEY)?.execute(key)?;
            let is_it = connection
                .prepare_cached(IS_KEY)?
                .query_row(key, |row| row.get(0))?;
            Ok(if is_it {
                KeyFingerprint::Matches
            } else {
                KeyFingerprint::Differs
            })
        })
        .await
    }
}
