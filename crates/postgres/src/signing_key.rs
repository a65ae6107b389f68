//! Keys that sign tokens.

use std::time::Duration;

use mcp_authflow::{
    port::{
        StoreError,
        store::{AddSigningKey, SigningKeyStore, StoreResult},
    },
    record::{SigningAlgorithm, SigningKeyRecord},
};
use tokio_postgres::{Row, types::Type};

use crate::{
    PostgresStore,
    ask::Doubt,
    row::{did_something, field, moment},
    statement::Statement,
};

pub(crate) const STATEMENTS: &[&Statement] = &[&ADD, &IS_THERE, &LIST, &EXTEND, &REMOVE];

/// Whoever comes second waits for the first one's row, and then finds its place taken.
static ADD: Statement = Statement {
    sql: "INSERT INTO authflow.signing_keys (key_id, algorithm, predecessor, sealed, created_at, active_from, \
          longest_life) SELECT $1, $2, $3, $4, $5, $6, $7 \
          WHERE coalesce((SELECT k.key_id FROM authflow.signing_keys k WHERE k.algorithm = $2 \
          ORDER BY k.key_no DESC LIMIT 1), '') = $3 ON CONFLICT (algorithm, predecessor) DO NOTHING RETURNING 1",
    types: &[
        Type::TEXT,
        Type::TEXT,
        Type::TEXT,
        Type::BYTEA,
        Type::INT8,
        Type::INT8,
        Type::INT8,
    ],
};

static IS_THERE: Statement = Statement {
    sql: "SELECT 1 FROM authflow.signing_keys WHERE key_id = $1",
    types: &[Type::TEXT],
};

static LIST: Statement = Statement {
    sql: "SELECT key_id, algorithm, sealed, created_at, active_from, longest_life FROM authflow.signing_keys \
          ORDER BY key_no",
    types: &[],
};

static EXTEND: Statement = Statement {
    sql: "WITH extended AS (UPDATE authflow.signing_keys SET longest_life = greatest(longest_life, $2) \
          WHERE key_id = $1 RETURNING 1) SELECT count(*) AS done FROM extended",
    types: &[Type::TEXT, Type::INT8],
};

static REMOVE: Statement = Statement {
    sql: "WITH removed AS (DELETE FROM authflow.signing_keys WHERE key_id = $1 RETURNING 1) \
          SELECT count(*) AS done FROM removed",
    types: &[Type::TEXT],
};

#[async_trait::async_trait]
impl SigningKeyStore for PostgresStore {
    async fn add_signing_key(
        &self,
        key: &SigningKeyRecord,
        after: Option<&str>,
    ) -> StoreResult<AddSigningKey> {
        let ask = self.ask();
        let (rows, doubt) = ask
            .write_again(
                &ADD,
                &[
                    &key.key_id,
                    &key.algorithm.as_str(),
                    &after.unwrap_or_default(),
                    &key.sealed,
                    &key.created_at.seconds(),
                    &key.active_from.seconds(),
                    &seconds(key.longest_life),
                ],
            )
            .await?;
        // Nobody else has a key of this name: if it is there, this caller put it there.
        let is_added = !rows.is_empty()
            || (doubt == Doubt::MayHaveHappened && !ask.read(&IS_THERE, &[&key.key_id]).await?.is_empty());
        Ok(if is_added {
            AddSigningKey::Added
        } else {
            AddSigningKey::Overtaken
        })
    }

    async fn list_signing_keys(&self) -> StoreResult<Vec<SigningKeyRecord>> {
        let rows = self.ask().read(&LIST, &[]).await?;
        rows.iter().map(read).collect()
    }

    async fn extend_signing_key(&self, key_id: &str, longest_life: Duration) -> StoreResult<bool> {
        let life = seconds(longest_life);
        let (rows, _) = self.ask().write_again(&EXTEND, &[&key_id, &life]).await?;
        did_something(&rows)
    }

    async fn remove_signing_key(&self, key_id: &str) -> StoreResult<bool> {
        // Repeated after a lost connection it may answer "it was not there", but it is gone, which is the point.
        let (rows, _) = self.ask().write_again(&REMOVE, &[&key_id]).await?;
        did_something(&rows)
    }
}

fn read(row: &Row) -> StoreResult<SigningKeyRecord> {
    Ok(SigningKeyRecord {
        key_id: field(row, "key_id")?,
        algorithm: named(field(row, "algorithm")?)?,
        sealed: field(row, "sealed")?,
        created_at: moment(row, "created_at")?,
        active_from: moment(row, "active_from")?,
        longest_life: Duration::from_secs(u64::try_from(field::<i64>(row, "longest_life")?).unwrap_or(0)),
    })
}

/// Reads an algorithm by its name.
pub(crate) fn named(name: &str) -> StoreResult<SigningAlgorithm> {
    SigningAlgorithm::parse(name)
        .ok_or_else(|| StoreError::Broken(format!("{name} is no algorithm that this version signs with")))
}

/// Whole seconds, as they are kept.
fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}
