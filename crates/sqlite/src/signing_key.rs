//! Keys that sign tokens.

use std::time::Duration;

use mcp_authflow::{
    port::store::{AddSigningKey, SigningKeyStore, StoreResult},
    record::{SigningAlgorithm, SigningKeyRecord},
};
use rusqlite::{
    Row, named_params,
    types::{FromSql, FromSqlError, FromSqlResult, ValueRef},
};

use crate::{
    SqliteStore,
    sql::{moment, statements},
};

statements! {
    /// There is one writer: nobody comes between the look and the step.
    ADD = "INSERT INTO signing_keys (key_id, algorithm, sealed, created_at, active_from, longest_life)
        SELECT :key_id, :algorithm, :sealed, :created_at, :active_from, :longest_life
        WHERE (SELECT key_id FROM signing_keys WHERE algorithm = :algorithm ORDER BY number DESC LIMIT 1) IS :after";
    LIST = "SELECT * FROM signing_keys ORDER BY number";
    EXTEND = "UPDATE signing_keys SET longest_life = max(longest_life, :longest_life) WHERE key_id = :key_id";
    REMOVE = "DELETE FROM signing_keys WHERE key_id = :key_id";
}

/// An algorithm by its name.
pub(crate) struct Named(pub(crate) SigningAlgorithm);

impl FromSql for Named {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        SigningAlgorithm::parse(value.as_str()?)
            .map(Self)
            .ok_or(FromSqlError::InvalidType)
    }
}

fn signing_key(row: &Row<'_>) -> rusqlite::Result<SigningKeyRecord> {
    let Named(algorithm) = row.get("algorithm")?;
    Ok(SigningKeyRecord {
        key_id: row.get("key_id")?,
        algorithm,
        sealed: row.get("sealed")?,
        created_at: moment(row, "created_at")?,
        active_from: moment(row, "active_from")?,
        longest_life: Duration::from_secs(row.get::<_, i64>("longest_life")?.unsigned_abs()),
    })
}

/// Whole seconds, as they are kept.
fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

#[async_trait::async_trait]
impl SigningKeyStore for SqliteStore {
    async fn add_signing_key(
        &self,
        key: &SigningKeyRecord,
        after: Option<&str>,
    ) -> StoreResult<AddSigningKey> {
        let (key, after) = (key.clone(), after.map(str::to_owned));
        self.write(move |connection| {
            let added = connection.prepare_cached(ADD)?.execute(named_params! {
                ":key_id": key.key_id,
                ":algorithm": key.algorithm.as_str(),
                ":sealed": key.sealed,
                ":created_at": key.created_at.seconds(),
                ":active_from": key.active_from.seconds(),
                ":longest_life": seconds(key.longest_life),
                ":after": after,
            })?;
            Ok(if added == 1 {
                AddSigningKey::Added
            } else {
                AddSigningKey::Overtaken
            })
        })
        .await
    }

    async fn list_signing_keys(&self) -> StoreResult<Vec<SigningKeyRecord>> {
        self.read(|connection| {
            connection
                .prepare_cached(LIST)?
                .query_map([], signing_key)?
                .collect()
        })
        .await
    }

    async fn extend_signing_key(&self, key_id: &str, longest_life: Duration) -> StoreResult<bool> {
        let key_id = key_id.to_owned();
        self.write(move |connection| {
            let extended = connection.prepare_cached(EXTEND)?.execute(named_params! {
                ":key_id": key_id,
                ":longest_life": seconds(longest_life),
            })?;
            Ok(extended == 1)
        })
        .await
    }

    async fn remove_signing_key(&self, key_id: &str) -> StoreResult<bool> {
        let key_id = key_id.to_owned();
        self.write(move |connection| {
            let removed = connection
                .prepare_cached(REMOVE)?
                .execute(named_params! {":key_id": key_id})?;
            Ok(removed == 1)
        })
        .await
    }
}
