//! The partitions of the tokens: made ahead, dropped whole when their buckets have passed.
//!
//! A bucket is an hour for access tokens and a day for refresh tokens; a partition holds six hours, or seven days. One a
//! bucket would drop rows sooner, but a look with a cached plan locks and prunes every partition: with the 93 days that a
//! refresh token may live it takes 3 ms, with 15 weeks 0.1 ms, and planning each look anew 0.3 ms.
//!
//! A partition is made empty and then attached, which does not disturb running statements; rows that lay in the default
//! partition meanwhile move. Dropping one needs the whole table for an instant: it waits a short time for that and
//! otherwise tries again at the next clean-up.

use mcp_authflow::port::{StoreError, store::StoreResult};
use tokio_postgres::{Client, Row};

use crate::{ask::Transaction, error::Trouble, row::field};

/// A table of tokens, partitioned by bucket.
pub(crate) struct Tokens {
    /// The table, in schema `authflow`.
    pub(crate) table: &'static str,
    /// How many seconds a bucket is long.
    pub(crate) bucket_seconds: i64,
    /// How many buckets a partition holds.
    pub(crate) span: i64,
    /// How many buckets ahead there is a partition for: 48 hours, and 92 days since a grant lives 90.
    pub(crate) ahead: i64,
}

pub(crate) const ACCESS_TOKENS: Tokens = Tokens {
    table: "access_tokens",
    bucket_seconds: 3_600,
    span: 6,
    ahead: 48,
};

pub(crate) const REFRESH_TOKENS: Tokens = Tokens {
    table: "refresh_tokens",
    bucket_seconds: 86_400,
    span: 7,
    ahead: 92,
};

impl Tokens {
    /// The bucket in which `now`, in seconds, lies.
    fn bucket_at(&self, now: i64) -> i64 {
        now.div_euclid(self.bucket_seconds)
    }

    /// The first buckets of the partitions that there should be.
    fn wanted(&self, now: i64) -> impl Iterator<Item = i64> {
        let now = self.bucket_at(now);
        let first = now - now.rem_euclid(self.span);
        (first..=now + self.ahead).step_by(usize::try_from(self.span).unwrap_or(1))
    }

    fn list(&self) -> String {
        format!(
            "SELECT c.relname::text AS name, authflow.clock() AS now FROM pg_inherits i JOIN pg_class c \
             ON c.oid = i.inhrelid WHERE i.inhparent = 'authflow.{}'::regclass",
            self.table
        )
    }

    /// What to run so that there is a partition from a bucket on.
    fn make(&self, first: i64) -> String {
        let table = self.table;
        let end = first + self.span;
        format!(
            "CREATE TABLE authflow.{table}_{first} (LIKE authflow.{table} INCLUDING ALL); \
             WITH strays AS (DELETE FROM authflow.{table}_default WHERE bucket >= {first} AND bucket < {end} \
             RETURNING *) INSERT INTO authflow.{table}_{first} SELECT * FROM strays; \
             ALTER TABLE authflow.{table} ATTACH PARTITION authflow.{table}_{first} FOR VALUES FROM ({first}) TO ({end});"
        )
    }

    fn make_missing(&self, listed: &Listed) -> (usize, String) {
        let missing: Vec<i64> = self
            .wanted(listed.now)
            .filter(|first| !listed.partitions.contains(first))
            .collect();
        let sql = missing.iter().map(|first| self.make(*first)).collect();
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

    /// Drops one partition whose buckets have passed, and counts its rows.
    pub(crate) async fn drop_one_passed(&self, transaction: &Transaction<'_>) -> StoreResult<Option<u64>> {
        let listed = Listed::read(self, &transaction.query(&self.list()).await?)?;
        let now = self.bucket_at(listed.now);
        let passed = listed
            .partitions
            .into_iter()
            .find(|first| first + self.span <= now);
        let Some(first) = passed else {
            return Ok(None);
        };
        let partition = format!("authflow.{}_{first}", self.table);
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

/// The first buckets of the partitions that there are, and the time.
struct Listed {
    partitions: std::collections::BTreeSet<i64>,
    now: i64,
}

impl Listed {
    fn read(tokens: &Tokens, rows: &[Row]) -> StoreResult<Self> {
        let mut listed = Self {
            partitions: std::collections::BTreeSet::new(),
            now: 0,
        };
        for row in rows {
            listed.now = field(row, "now")?;
            let name: &str = field(row, "name")?;
            let first = name
                .strip_prefix(tokens.table)
                .and_then(|rest| rest.strip_prefix('_'));
            // The default partition has no number.
            if let Some(first) = first.and_then(|first| first.parse().ok()) {
                listed.partitions.insert(first);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_reach_from_now_as_far_ahead_as_said() {
        for tokens in [ACCESS_TOKENS, REFRESH_TOKENS] {
            for now in (0..20).map(|step| 1_790_000_000 + step * tokens.bucket_seconds) {
                let bucket = tokens.bucket_at(now);
                let wanted: Vec<i64> = tokens.wanted(now).collect();
                let has = |bucket| {
                    wanted
                        .iter()
                        .any(|first| (*first..first + tokens.span).contains(&bucket))
                };
                assert!(
                    (bucket..=bucket + tokens.ahead).all(has),
                    "{wanted:?} at {bucket}"
                );
                assert!(!has(bucket - tokens.span));
                assert!(wanted.iter().all(|first| first % tokens.span == 0));
            }
        }
    }
}
