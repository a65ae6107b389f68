//! Keeping the store itself in order: the clean-up, which one node does at a time, and a look at the server.

use std::time::Duration;

use mcp_authflow::port::{
    StoreError,
    store::{KeyFingerprint, Purged, StoreResult, TokenCounts, UpkeepStore},
    token_storage::TokenCount,
};
use mcp_authflow_types::Timestamp;
use tokio_postgres::types::Type;

use crate::{
    PostgresStore,
    ask::{Ask, Transaction},
    partition::{ACCESS_TOKENS, REFRESH_TOKENS, Tokens},
    row::{field, moment},
    schema::ADVISORY_LOCK,
    statement::Statement,
};

/// How long a clean-up may take; it is nobody's request.
const CLEAN_UP: Duration = Duration::from_secs(30);

/// A clean-up gives way: a lock that it does not get soon it tries again next time.
const GIVE_WAY: &str = "SET LOCAL lock_timeout = '200ms'; SET LOCAL statement_timeout = '20s'";

/// How many partitions of a table one clean-up drops at most: each stops the table's traffic for an instant.
const MOST_DROPPED: usize = 16;

pub(crate) const STATEMENTS: &[&Statement] = &[
    &PROBE,
    &PIN_KEY,
    &TRY_LOCK,
    &PURGE_INTERACTIONS,
    &PURGE_GRANTS,
    &PURGE_SESSIONS,
    &PURGE_CLIENTS,
    &PURGE_STRAY_ACCESS,
    &PURGE_STRAY_REFRESH,
    &HAS_STRAYS,
    &COUNT_TOKENS,
];

static PROBE: Statement = Statement {
    sql: "SELECT authflow.clock() AS now, current_setting('transaction_read_only') = 'on' AS is_read_only",
    types: &[],
};

/// The update that changes nothing waits for whoever pins at the same time, and answers what was pinned.
static PIN_KEY: Statement = Statement {
    sql: "INSERT INTO authflow.instance AS old (server_key) VALUES ($1) \
          ON CONFLICT (only_one) DO UPDATE SET server_key = old.server_key RETURNING server_key",
    types: &[Type::BYTEA],
};

static TRY_LOCK: Statement = Statement {
    sql: "SELECT pg_try_advisory_xact_lock($1) AS is_mine",
    types: &[Type::INT8],
};

/// Deletes at most `$1` rows of a table by its key; rows that somebody is at work on wait for the next time.
macro_rules! purge {
    ($table:literal, $key:literal, $condition:literal) => {
        concat!(
            "WITH gone AS (DELETE FROM authflow.",
            $table,
            " WHERE ",
            $key,
            " = ANY (ARRAY(SELECT ",
            $key,
            " FROM authflow.",
            $table,
            " WHERE ",
            $condition,
            " LIMIT $1 FOR UPDATE SKIP LOCKED)) RETURNING 1) SELECT count(*) AS done FROM gone"
        )
    };
}

static PURGE_INTERACTIONS: Statement = Statement {
    sql: purge!("interactions", "id", "expires_at <= authflow.clock()"),
    types: &[Type::INT8],
};

static PURGE_GRANTS: Statement = Statement {
    sql: purge!("grants", "id", "purge_at <= authflow.clock()"),
    types: &[Type::INT8],
};

static PURGE_SESSIONS: Statement = Statement {
    sql: purge!("sessions", "hash", "expires_at <= authflow.clock()"),
    types: &[Type::INT8],
};

static PURGE_CLIENTS: Statement = Statement {
    sql: purge!("clients", "client_no", "expires_at <= authflow.clock()"),
    types: &[Type::INT8],
};

static PURGE_STRAY_ACCESS: Statement = Statement {
    sql: purge!("access_tokens_default", "hash", "expires_at <= authflow.clock()"),
    types: &[Type::INT8],
};

/// Spent ones are remembered until their grant's last day has passed.
static PURGE_STRAY_REFRESH: Statement = Statement {
    sql: purge!(
        "refresh_tokens_default",
        "hash",
        "bucket < authflow.clock() / 86400"
    ),
    types: &[Type::INT8],
};

static HAS_STRAYS: Statement = Statement {
    sql: "SELECT EXISTS (SELECT FROM authflow.access_tokens_default) AS access_tokens, \
          EXISTS (SELECT FROM authflow.refresh_tokens_default) AS refresh_tokens",
    types: &[],
};

static COUNT_TOKENS: Statement = Statement {
    sql: "SELECT a.*, r.* FROM (SELECT count(*) FILTER (WHERE expires_at > authflow.clock()) AS live_access, \
          count(*) FILTER (WHERE expires_at <= authflow.clock()) AS expired_access FROM authflow.access_tokens) a, \
          (SELECT count(*) FILTER (WHERE spent_at IS NULL AND expires_at > authflow.clock()) AS live_refresh, \
          count(*) FILTER (WHERE spent_at IS NULL AND expires_at <= authflow.clock()) AS expired_refresh, \
          count(*) FILTER (WHERE spent_at IS NOT NULL) AS spent_refresh FROM authflow.refresh_tokens) r",
    types: &[],
};

#[async_trait::async_trait]
impl UpkeepStore for PostgresStore {
    async fn probe(&self, _now: Timestamp) -> StoreResult<Timestamp> {
        let rows = self.ask().read(&PROBE, &[]).await?;
        let Some(row) = rows.first() else {
            return Err(StoreError::Broken("a probe answered nothing".to_owned()));
        };
        if field(row, "is_read_only")? {
            return Err(StoreError::Unavailable("PostgreSQL is read-only".to_owned()));
        }
        moment(row, "now")
    }

    /// Beyond the port's promise, it makes the partitions of the next days, drops those whose time has passed as a whole,
    /// whatever `limit` says, and warns when tokens lie in a default partition.
    async fn purge_expired(&self, _now: Timestamp, limit: u32) -> StoreResult<Purged> {
        let ask = self.ask_within(CLEAN_UP);
        let limit = i64::from(limit);
        let mut purged = Purged {
            interactions: delete(&ask, &PURGE_INTERACTIONS, limit).await?,
            device_codes: delete(&ask, &crate::device_code::PURGE, limit).await?,
            grants: delete(&ask, &PURGE_GRANTS, limit).await?,
            sessions: delete(&ask, &PURGE_SESSIONS, limit).await?,
            clients: delete(&ask, &PURGE_CLIENTS, limit).await?,
            one_time_uses: delete(&ask, &crate::replay::FORGET, limit).await?,
            imported_tokens: delete(&ask, &crate::imported_token::PURGE, limit).await?,
            tokens: 0,
        };
        for (tokens, stray) in [
            (ACCESS_TOKENS, &PURGE_STRAY_ACCESS),
            (REFRESH_TOKENS, &PURGE_STRAY_REFRESH),
        ] {
            purged.tokens += delete(&ask, stray, limit).await?;
            warn_of_strays(&ask, &tokens).await?;
            match keep_partitions(&ask, &tokens).await {
                Ok(rows) => purged.tokens += rows,
                // The table was busy. There are partitions for days yet, so the next clean-up does it.
                Err(error @ StoreError::Unavailable(_)) => {
                    tracing::info!(table = tokens.table, %error, "partitions are left for the next clean-up");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(purged)
    }

    async fn count_tokens(&self, _now: Timestamp) -> StoreResult<TokenCounts> {
        let ask = self.ask_within(CLEAN_UP);
        let transaction = ask.begin().await?;
        transaction.batch(GIVE_WAY).await?;
        let rows = transaction.rows(&COUNT_TOKENS, &[]).await?;
        transaction.commit().await?;
        let count = |column| -> StoreResult<u64> {
            let count: i64 = rows.first().map_or(Ok(0), |row| field(row, column))?;
            Ok(u64::try_from(count).unwrap_or(0))
        };
        Ok(TokenCounts {
            access_tokens: TokenCount {
                live: count("live_access")?,
                expired: count("expired_access")?,
            },
            refresh_tokens: TokenCount {
                live: count("live_refresh")?,
                expired: count("expired_refresh")?,
            },
            spent_refresh_tokens: count("spent_refresh")?,
        })
    }

    async fn pin_server_key(&self, fingerprint: &[u8; 32]) -> StoreResult<KeyFingerprint> {
        let ours: &[u8] = fingerprint;
        let (rows, _) = self.ask().write_again(&PIN_KEY, &[&ours]).await?;
        let pinned: &[u8] = match rows.as_slice() {
            [row] => field(row, "server_key")?,
            _ => return Err(StoreError::Broken("pinning a key answered none".to_owned())),
        };
        Ok(if pinned == ours {
            KeyFingerprint::Matches
        } else {
            KeyFingerprint::Differs
        })
    }
}

/// Begins a transaction of the clean-up, unless another node is at it.
async fn begin_alone<'a>(ask: &'a Ask<'_>) -> StoreResult<Option<Transaction<'a>>> {
    let transaction = ask.begin().await?;
    transaction.batch(GIVE_WAY).await?;
    let rows = transaction.rows(&TRY_LOCK, &[&(ADVISORY_LOCK + 2)]).await?;
    if rows.first().map_or(Ok(false), |row| field(row, "is_mine"))? {
        return Ok(Some(transaction));
    }
    transaction.roll_back().await?;
    Ok(None)
}

/// Deletes at most `limit` rows; none while another node is at it.
async fn delete(ask: &Ask<'_>, statement: &Statement, limit: i64) -> StoreResult<u64> {
    let Some(transaction) = begin_alone(ask).await? else {
        return Ok(0);
    };
    let rows = transaction.rows(statement, &[&limit]).await?;
    let count: i64 = rows.first().map_or(Ok(0), |row| field(row, "done"))?;
    transaction.commit().await?;
    Ok(u64::try_from(count).unwrap_or(0))
}

/// Makes the partitions ahead and drops what has passed; answers how many rows went.
async fn keep_partitions(ask: &Ask<'_>, tokens: &Tokens) -> StoreResult<u64> {
    let Some(transaction) = begin_alone(ask).await? else {
        return Ok(0);
    };
    tokens.make_ahead(&transaction).await?;
    transaction.commit().await?;
    let mut rows = 0;
    for _ in 0..MOST_DROPPED {
        let Some(transaction) = begin_alone(ask).await? else {
            break;
        };
        let dropped = tokens.drop_one_passed(&transaction).await?;
        transaction.commit().await?;
        match dropped {
            Some(more) => rows += more,
            None => break,
        }
    }
    Ok(rows)
}

/// A row in a default partition is found and judged like any other, but dropped with no partition: somebody forgot to
/// clean up for days, or issues tokens that live longer than the partitions reach.
async fn warn_of_strays(ask: &Ask<'_>, tokens: &Tokens) -> StoreResult<()> {
    let rows = ask.read(&HAS_STRAYS, &[]).await?;
    if rows.first().map_or(Ok(false), |row| field(row, tokens.table))? {
        tracing::warn!(
            table = tokens.table,
            "tokens lie in the default partition: there was no clean-up for days, or tokens live longer than \
             partitions are made ahead"
        );
    }
    Ok(())
}
