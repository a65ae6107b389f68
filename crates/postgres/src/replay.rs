//! What was used once.

use mcp_authflow::port::{OneTimeUse, RecordOnce, Replay, StoreError, store::StoreResult};
use mcp_authflow_types::Timestamp;
use tokio_postgres::types::Type;

use crate::{PostgresStore, row::field, statement::Statement};

pub(crate) const STATEMENTS: &[&Statement] = &[&RECORD, &FORGET];

/// The database's clock alone says what has expired, since by it the clean-up forgets. It is read again once the row is
/// written: whoever waited for a clean-up that removed this very row comes too late.
static RECORD: Statement = Statement {
    sql: "WITH reach AS (SELECT $2 > authflow.clock() AND $2 > coalesce((SELECT until FROM authflow.replays_forgotten), \
          $2 - 1) AS is_in_reach), \
          used AS (INSERT INTO authflow.replays (digest, expires_at) SELECT $1, $2 FROM reach WHERE is_in_reach \
          ON CONFLICT DO NOTHING \
          RETURNING expires_at > floor(extract(epoch FROM pg_catalog.clock_timestamp()))::bigint AS is_in_time) \
          SELECT is_in_reach, (SELECT is_in_time FROM used) AS is_in_time, \
          EXISTS (SELECT FROM authflow.replays WHERE digest = $1) AS was_used FROM reach",
    types: &[Type::BYTEA, Type::INT8],
};

/// Forgets at most `$1`, and says until when it has done so.
pub(crate) static FORGET: Statement = Statement {
    sql: "WITH gone AS (DELETE FROM authflow.replays WHERE digest = ANY (ARRAY(SELECT digest FROM authflow.replays \
          WHERE expires_at <= authflow.clock() ORDER BY expires_at LIMIT $1 FOR UPDATE SKIP LOCKED)) \
          RETURNING expires_at), \
          marked AS (INSERT INTO authflow.replays_forgotten AS old (until) SELECT max(expires_at) FROM gone \
          HAVING count(*) > 0 ON CONFLICT (only_one) DO UPDATE SET until = greatest(old.until, excluded.until)) \
          SELECT count(*) AS done FROM gone",
    types: &[Type::INT8],
};

#[async_trait::async_trait]
impl Replay for PostgresStore {
    /// When the connection is lost it is not tried again: it may have happened, and would then look like a replay.
    async fn record_once(&self, once: &OneTimeUse, _now: Timestamp) -> StoreResult<RecordOnce> {
        let digest: &[u8] = &once.digest;
        let rows = self
            .ask()
            .write(&RECORD, &[&digest, &once.expires_at.seconds()])
            .await?;
        let [row] = rows.as_slice() else {
            return Err(StoreError::Broken(
                "a record of a use answered nothing".to_owned(),
            ));
        };
        let (is_in_time, is_in_reach): (Option<bool>, bool) =
            (field(row, "is_in_time")?, field(row, "is_in_reach")?);
        Ok(match is_in_time {
            Some(true) => RecordOnce::FirstUse,
            // It is there, and perhaps newer than this statement's view of the table.
            None if is_in_reach || field(row, "was_used")? => RecordOnce::Replay,
            Some(false) | None => RecordOnce::CannotTell,
        })
    }
}
