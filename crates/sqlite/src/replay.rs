//! What was used once.

use mcp_authflow::port::{OneTimeUse, RecordOnce, Replay, store::StoreResult};
use mcp_authflow_types::Timestamp;
use rusqlite::{Connection, named_params};

use crate::{SqliteStore, sql::statements};

statements! {
    RECORD = "INSERT INTO replays (digest, expires_at) SELECT :digest, :expires_at
        WHERE :expires_at > :now
            AND :expires_at > coalesce((SELECT until FROM replays_forgotten WHERE only_one = 1), :expires_at - 1)
        ON CONFLICT DO NOTHING";
    IS_USED = "SELECT EXISTS (SELECT 1 FROM replays WHERE digest = :digest)";
    FORGET = "DELETE FROM replays WHERE digest IN
        (SELECT digest FROM replays WHERE expires_at <= :now ORDER BY expires_at LIMIT :limit) RETURNING expires_at";
    MARK = "INSERT INTO replays_forgotten (only_one, until) VALUES (1, :until)
        ON CONFLICT (only_one) DO UPDATE SET until = max(until, excluded.until)";
}

fn record(connection: &Connection, once: &OneTimeUse, now: Timestamp) -> rusqlite::Result<RecordOnce> {
    let recorded = connection.prepare_cached(RECORD)?.execute(named_params! {
        ":digest": once.digest,
        ":expires_at": once.expires_at.seconds(),
        ":now": now.seconds(),
    })?;
    if recorded == 1 {
        return Ok(RecordOnce::FirstUse);
    }
    let is_used = connection
        .prepare_cached(IS_USED)?
        .query_row(named_params! {":digest": once.digest}, |row| row.get(0))?;
    Ok(if is_used {
        RecordOnce::Replay
    } else {
        RecordOnce::CannotTell
    })
}

/// Forgets at most `limit` of what has expired; answers how many went.
pub(crate) fn forget(connection: &Connection, now: Timestamp, limit: u32) -> rusqlite::Result<u64> {
    let mut statement = connection.prepare_cached(FORGET)?;
    let gone = statement
        .query_map(named_params! {":now": now.seconds(), ":limit": limit}, |row| {
            row.get(0)
        })?
        .collect::<rusqlite::Result<Vec<i64>>>()?;
    if let Some(until) = gone.iter().max() {
        connection
            .prepare_cached(MARK)?
            .execute(named_params! {":until": until})?;
    }
    Ok(u64::try_from(gone.len()).unwrap_or(u64::MAX))
}

#[async_trait::async_trait]
impl Replay for SqliteStore {
    async fn record_once(&self, once: &OneTimeUse, now: Timestamp) -> StoreResult<RecordOnce> {
        let once = *once;
        self.write(move |connection| record(connection, &once, now)).await
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use mcp_authflow::port::{ReplayKind, store::UpkeepStore as _};

    use super::*;
    use crate::SqliteOptions;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    /// P6: a clock that was a day ahead and is set back revives nothing, and kills nothing that was made since.
    #[tokio::test]
    async fn a_clock_that_is_set_back_revives_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.sqlite");
        let store = SqliteStore::open(&path, SqliteOptions::default()).await.unwrap();
        let once = |identifier, expires_at| {
            let kind = ReplayKind::ClientAssertion;
            OneTimeUse::new(kind, "client", identifier, at(1_000), at(expires_at))
        };
        let used = once("1", 1_360);
        let answer = store.record_once(&used, at(1_000)).await.unwrap();
        assert_eq!(answer, RecordOnce::FirstUse);
        let purged = store.purge_expired(at(1_000 + 86_400), 10).await.unwrap();
        assert_eq!(purged.one_time_uses, 1);
        let answer = store.record_once(&used, at(1_001)).await.unwrap();
        assert_eq!(answer, RecordOnce::CannotTell);
        let fresh = once("2", 1_361);
        let answer = store.record_once(&fresh, at(1_001)).await.unwrap();
        assert_eq!(answer, RecordOnce::FirstUse);

        // P1: a restart forgets nothing.
        store.close().await;
        let store = SqliteStore::open(&path, SqliteOptions::default()).await.unwrap();
        let answer = store.record_once(&fresh, at(1_002)).await.unwrap();
        assert_eq!(answer, RecordOnce::Replay);
        let answer = store.record_once(&used, at(1_002)).await.unwrap();
        assert_eq!(answer, RecordOnce::CannotTell);
    }
}
