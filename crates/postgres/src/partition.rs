//! The partitions of the tokens: made ahead, dropped whole when their bucket has passed.
//!
//! A bucket is an hour for access tokens and a day for refresh tokens. A partition is made empty and then attached, which
//! does not disturb running statements; rows that lay in the default partition meanwhile move. Detaching one needs the
//! whole table for an instant: it waits a short time for it and otherwise tries again at the next clean-up.

use mcp_authflow::port::{StoreError, store::StoreResult};
use tokio_postgres::{Client, Row};

use crate::{ask::Transaction, error::Trouble, row::field};

/// A table of tokens, partitioned by bucket.
pub(crate) struct Tokens {
    /// The table, in schema `authflow`.
    pub(crate) table: &'static str,
    /// How many seconds a bucket is long.
    pub(crate) bucket_seconds: i64,
    /// How many buckets are made ahead: 48 hours, and 92 days since a grant lives 90.
    pub(crate) ahead: i64,
}

pub(crate) const ACCESS_TOKENS: Tokens = Tokens {
    table: "access_tokens",
    bucket_seconds: 3_600,
    ahead: 48,
};

pub(crate) const REFRESH_TOKENS: Tokens = Tokens {
    table: "refresh_tokens",
    bucket_seconds: 86_400,
    ahead: 92,
};

impl Tokens {
    /// The bucket in which `now`, in seconds, lies.
    pub(crate) fn bucket_at(&self, now: i64) -> i64 {
        now.div_euclid(self.bucket_seconds)
    }

    fn list(&self) -> String {
        format!(
            "SELECT c.relname::text AS name, authflow.clock() AS now FROM pg_inherits i JOIN pg_class c \
             ON c.oid = i.inhrelid WHERE i.inhparent = 'authflow.{}'::regclass",
            self.table
        )
    }

    /// What to run so that a bucket has a partition.
    fn make(&self, bucket: i64) -> String {
        let table = self.table;
        format!(
            "CREATE TABLE authflow.{table}_{bucket} (LIKE authflow.{table} INCLUDING ALL); \
             WITH strays AS (DELETE FROM authflow.{table}_default WHERE bucket = {bucket} RETURNING *) \
             INSERT INTO authflow.{table}_{bucket} SELECT * FROM strays; \
             ALTER TABLE authflow.{table} ATTACH PARTITION authflow.{table}_{bucket} FOR VALUES IN ({bucket});"
        )
    }

    fn make_missing(&self, listed: &Listed) -> (usize, String) {
        let now = self.bucket_at(listed.now);
        let missing: Vec<i64> = (now..=now + self.ahead)
            .filter(|bucket| !listed.buckets.contains(bucket))
            .collect();
        let sql = missing.iter().map(|bucket| self.make(*bucket)).collect();
        (missing.len(), sql)
    }

    /// Makes the partitions that are missing from now on ahead.
    pub(crate) async fn make_ahead(&self, transaction: &Transaction<'_>) -> StoreResult<usize> {
        let listed = Listed::read(self, &transaction.query(&self.list()).await?)?;
        let (count, sql) = self.make_missing(&listed);
        if count > 0 {
            transaction.batch(&sql).await?;
        }
        Ok(count)
    }

    /// Drops one partition whose bucket has passed, and counts its rows.
    pub(crate) async fn drop_one_passed(&self, transaction: &Transaction<'_>) -> StoreResult<Option<u64>> {
        let listed = Listed::read(self, &transaction.query(&self.list()).await?)?;
        let now = self.bucket_at(listed.now);
        let Some(bucket) = listed.buckets.into_iter().filter(|bucket| *bucket < now).min() else {
            return Ok(None);
        };
        let partition = format!("authflow.{}_{bucket}", self.table);
        let rows = transaction
            .query(&format!("SELECT count(*) AS rows FROM {partition}"))
            .await?;
        let rows: i64 = rows.first().map_or(Ok(0), |row| field(row, "rows"))?;
        transaction.batch(&format!("DROP TABLE {partition}")).await?;
        Ok(Some(u64::try_from(rows).unwrap_or(0)))
    }
}

/// Makes the partitions ahead on a connection of one's own.
pub(crate) async fn make_ahead_alone(client: &Client) -> StoreResult<usize> {
    let broken = |error: tokio_postgres::Error| Trouble::of(&error).into_error();
    let mut made = 0;
    for tokens in [ACCESS_TOKENS, REFRESH_TOKENS] {
        let rows = client.query_typed(&tokens.list(), &[]).await.map_err(broken)?;
        let (count, sql) = tokens.make_missing(&Listed::read(&tokens, &rows)?);
        if count > 0 {
            let sql = format!("BEGIN; {sql} COMMIT");
            client.batch_execute(&sql).await.map_err(broken)?;
        }
        made += count;
    }
    Ok(made)
}

/// The buckets that have a partition, and the time.
struct Listed {
    buckets: std::collections::BTreeSet<i64>,
    now: i64,
}

impl Listed {
    fn read(tokens: &Tokens, rows: &[Row]) -> StoreResult<Self> {
        let mut listed = Self {
            buckets: std::collections::BTreeSet::new(),
            now: 0,
        };
        for row in rows {
            listed.now = field(row, "now")?;
            let name: &str = field(row, "name")?;
            let bucket = name
                .strip_prefix(tokens.table)
                .and_then(|rest| rest.strip_prefix('_'));
            // The default partition has no number.
            if let Some(bucket) = bucket.and_then(|bucket| bucket.parse().ok()) {
                listed.buckets.insert(bucket);
            }
        }
        if listed.now == 0 {
            return Err(StoreError::Broken(format!(
                "authflow.{}_default is missing; restore the database, or run `authflow migrate` on an empty one",
                tokens.table
            )));
        }
        Ok(listed)
    }
}
