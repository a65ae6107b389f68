//! Sessions of local accounts.

use mcp_authflow::{
    port::store::{SessionStore, StoreResult},
    record::{Session, User, UserId},
};
use mcp_authflow_types::{Timestamp, TokenHash};
use tokio_postgres::types::Type;

use crate::{
    PostgresStore,
    row::{counter, did_something, digest, field, moment},
    statement::Statement,
    user::{self, user_columns},
};

pub(crate) const STATEMENTS: &[&Statement] = &[&BEGIN, &LOAD, &TOUCH, &END, &END_OF_USER];

/// The lock waits for whoever changes the password, and looks again at what it has become; a change waits for us in turn,
/// and then ends this session with the others.
static BEGIN: Statement = Statement {
    sql: "WITH account AS (SELECT u.user_id, coalesce(s.generation, 0) AS generation FROM authflow.users u \
          LEFT JOIN authflow.subjects s ON s.subject = u.user_id \
          WHERE u.user_id = $2 AND u.disabled_at IS NULL AND NOT coalesce(s.disabled, false) \
          AND ($7 IS NULL OR u.password_hash = $7) FOR SHARE OF u), \
          begun AS (INSERT INTO authflow.sessions (hash, user_id, subject_generation, authenticated_at, \
          last_seen_at, expires_at) SELECT $1, user_id, generation, $3, $4, $5 FROM account RETURNING 1), \
          ended AS (DELETE FROM authflow.sessions USING begun WHERE hash = $6), \
          moved AS (UPDATE authflow.interactions SET browser = $1 FROM begun WHERE browser = $6 AND closed_at IS NULL) \
          SELECT count(*) AS done FROM begun",
    types: &[
        Type::BYTEA,
        Type::TEXT,
        Type::INT8,
        Type::INT8,
        Type::INT8,
        Type::BYTEA,
        Type::TEXT,
    ],
};

static LOAD: Statement = Statement {
    sql: concat!(
        "SELECT n.hash, n.subject_generation, n.authenticated_at, n.last_seen_at, n.expires_at, ",
        user_columns!(),
        " FROM authflow.sessions n JOIN authflow.users u ON u.user_id = n.user_id \
         LEFT JOIN authflow.subjects s ON s.subject = n.user_id \
         WHERE n.hash = $1 AND u.disabled_at IS NULL AND NOT coalesce(s.disabled, false) \
         AND coalesce(s.generation, 0) = n.subject_generation"
    ),
    types: &[Type::BYTEA],
};

static TOUCH: Statement = Statement {
    sql: "UPDATE authflow.sessions SET last_seen_at = greatest(last_seen_at, $2) WHERE hash = $1",
    types: &[Type::BYTEA, Type::INT8],
};

static END: Statement = Statement {
    sql: "DELETE FROM authflow.sessions WHERE hash = $1",
    types: &[Type::BYTEA],
};

static END_OF_USER: Statement = Statement {
    sql: "WITH ended AS (DELETE FROM authflow.sessions WHERE user_id = $1 RETURNING 1) \
          SELECT count(*) AS done FROM ended",
    types: &[Type::TEXT],
};

#[async_trait::async_trait]
impl SessionStore for PostgresStore {
    async fn begin_session(
        &self,
        session: &Session,
        verified: Option<&str>,
        replacing: Option<&TokenHash>,
    ) -> StoreResult<bool> {
        let hash: &[u8] = session.hash.as_bytes();
        let replacing = replacing.map(|hash| hash.as_bytes().as_slice());
        let rows = self
            .ask()
            .write(
                &BEGIN,
                &[
                    &hash,
                    &session.user.as_str(),
                    &session.authenticated_at.seconds(),
                    &session.last_seen_at.seconds(),
                    &session.expires_at.seconds(),
                    &replacing,
                    &verified,
                ],
            )
            .await?;
        did_something(&rows)
    }

    async fn load_session(&self, hash: &TokenHash) -> StoreResult<Option<(Session, User)>> {
        let hash: &[u8] = hash.as_bytes();
        let rows = self.ask().read(&LOAD, &[&hash]).await?;
        let Some(row) = rows.first() else {
            return Ok(None);
        };
        let session = Session {
            hash: digest(row, "hash")?,
            user: UserId::from_stored(field(row, "u_id")?),
            subject_generation: counter(row, "subject_generation")?,
            authenticated_at: moment(row, "authenticated_at")?,
            last_seen_at: moment(row, "last_seen_at")?,
            expires_at: moment(row, "expires_at")?,
        };
        Ok(Some((session, user::read(row)?)))
    }

    async fn touch_session(&self, hash: &TokenHash, now: Timestamp) -> StoreResult<()> {
        let hash: &[u8] = hash.as_bytes();
        self.ask().write_again(&TOUCH, &[&hash, &now.seconds()]).await?;
        Ok(())
    }

    async fn end_session(&self, hash: &TokenHash) -> StoreResult<()> {
        let hash: &[u8] = hash.as_bytes();
        self.ask().write_again(&END, &[&hash]).await?;
        Ok(())
    }

    async fn end_sessions_of(&self, user: &UserId) -> StoreResult<u64> {
        let (rows, _) = self.ask().write_again(&END_OF_USER, &[&user.as_str()]).await?;
        let ended: i64 = rows.first().map_or(Ok(0), |row| field(row, "done"))?;
        Ok(ended.unsigned_abs())
    }
}
