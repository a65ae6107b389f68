//! The schema: migrations that are run on purpose, once, however many nodes start; and the check that they were.

use std::{fmt, time::Duration};

use mcp_authflow::port::{StoreError, store::StoreResult};
use sha2::Digest as _;
use tokio_postgres::{Client, NoTls};

use crate::{OpenError, PostgresConfig, connection::Target, error::Trouble, partition};

/// A step from one schema to the next. Never changed once released.
struct Migration {
    number: i32,
    name: &'static str,
    sql: &'static str,
}

const MIGRATIONS: &[Migration] = &[
    Migration {
        number: 1,
        name: "foundation",
        sql: include_str!("../migrations/0001_foundation.sql"),
    },
    Migration {
        number: 2,
        name: "replay",
        sql: include_str!("../migrations/0002_replay.sql"),
    },
    Migration {
        number: 3,
        name: "device",
        sql: include_str!("../migrations/0003_device.sql"),
    },
    Migration {
        number: 4,
        name: "imported_tokens",
        sql: include_str!("../migrations/0004_imported_tokens.sql"),
    },
    Migration {
        number: 5,
        name: "signing_keys",
        sql: include_str!("../migrations/0005_signing_keys.sql"),
    },
    Migration {
        number: 6,
        name: "client_documents",
        sql: include_str!("../migrations/0006_client_documents.sql"),
    },
    Migration {
        number: 7,
        name: "connected_apps",
        sql: include_str!("../migrations/0007_connected_apps.sql"),
    },
    Migration {
        number: 8,
        name: "registration_management",
        sql: include_str!("../migrations/0008_registration_management.sql"),
    },
];

/// The advisory lock of this store, `authflow` in ASCII: one node migrates, one node cleans up, one first account is made.
pub(crate) const ADVISORY_LOCK: i64 = 0x6175_7468_666c_6f77;

/// How long a migrator waits for another one.
const WAIT_FOR_MIGRATOR: Duration = Duration::from_secs(60);
/// How long a connection may take here.
const CONNECT: Duration = Duration::from_secs(5);

/// What a migration did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MigrationReport {
    /// The migrations that this call ran, as `0001_foundation`; none when the schema was current.
    pub applied: Vec<String>,
    /// The number of the schema now.
    pub version: i32,
    /// How many partitions for tokens this call made.
    pub partitions: usize,
}

/// What the database's schema is to this version.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SchemaStatus {
    /// As it should be.
    Current,
    /// There is none.
    Missing,
    /// Migrations are missing.
    Older {
        /// The last one that was run.
        found: i32,
        /// The last one there is.
        wanted: i32,
    },
    /// A newer version migrated it.
    Newer {
        /// The last one that was run.
        found: i32,
        /// The last one that this version knows.
        known: i32,
    },
    /// A migration was run whose text is not ours.
    Foreign {
        /// Which one.
        number: i32,
    },
    /// Every migration was run, and yet something is missing.
    Damaged {
        /// What PostgreSQL says.
        what: String,
    },
}

impl fmt::Display for SchemaStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Current => f.write_str("the database's schema is current"),
            Self::Missing => f.write_str("the database has no schema authflow yet; run `authflow migrate`"),
            Self::Older { found, wanted } => write!(
                f,
                "the database's schema is number {found} and this version needs {wanted}; run `authflow migrate`"
            ),
            Self::Newer { found, known } => write!(
                f,
                "the database's schema is number {found} and this version knows only {known}; start the version \
                 that migrated it, or a newer one"
            ),
            Self::Foreign { number } => write!(
                f,
                "migration {number} of the database is not the one of this version; start the version that ran \
                 it, or run `authflow migrate` on an empty database"
            ),
            Self::Damaged { what } => write!(
                f,
                "the database's schema is damaged ({what}): it is no longer what `authflow migrate` made; restore it \
                 from a backup, or run `authflow migrate` on an empty database"
            ),
        }
    }
}

/// Brings the schema up to date, and makes the partitions of the next days. Whoever else migrates at the same time is
/// waited for, and leaves nothing to do.
///
/// # Errors
/// [`OpenError::Schema`] when a newer or a foreign version was there first; nothing is changed then. A migration that
/// fails is undone as a whole.
pub async fn migrate(config: &PostgresConfig) -> Result<MigrationReport, OpenError> {
    let client = connect_alone(&config.url).await?;
    run(
        &client,
        &format!("SET lock_timeout = {}", WAIT_FOR_MIGRATOR.as_millis()),
    )
    .await?;
    // Held until the connection ends, however it ends.
    run(&client, &format!("SELECT pg_advisory_lock({ADVISORY_LOCK})")).await?;
    // A migration that waits for a busy table makes everybody behind it wait, too: better to give up soon.
    run(
        &client,
        "SET lock_timeout = '5s'; SET client_min_messages = warning",
    )
    .await?;

    let found = match status_of(&client).await? {
        SchemaStatus::Current => MIGRATIONS.len(),
        SchemaStatus::Missing => {
            begin_history(&client).await?;
            0
        }
        SchemaStatus::Older { found, .. } => usize::try_from(found).unwrap_or(0),
        other => return Err(OpenError::Schema(other)),
    };
    let mut report = MigrationReport {
        version: latest(),
        ..MigrationReport::default()
    };
    for migration in MIGRATIONS.iter().skip(found) {
        run(
            &client,
            &format!(
                "BEGIN; {}; INSERT INTO authflow.migrations (number, name, checksum) \
                 VALUES ({}, '{}', '\\x{}'); COMMIT",
                migration.sql,
                migration.number,
                migration.name,
                migration.checksum_in_hex(),
            ),
        )
        .await?;
        report
            .applied
            .push(format!("{:04}_{}", migration.number, migration.name));
    }
    report.partitions = partition::make_ahead_alone(&client).await?;
    Ok(report)
}

/// Says what the schema is to this version. Changes nothing.
///
/// # Errors
/// When the database cannot be asked.
pub async fn schema_status(config: &PostgresConfig) -> Result<SchemaStatus, OpenError> {
    let client = connect_alone(&config.url).await?;
    let status = tokio::time::timeout(CONNECT, status_of(&client)).await;
    status.map_err(|_| late())?.map_err(OpenError::Store)
}

/// Reads the history of migrations.
pub(crate) async fn status_of(client: &Client) -> StoreResult<SchemaStatus> {
    let there = "SELECT to_regclass('authflow.migrations') IS NOT NULL AS there";
    let there = client.query_typed(there, &[]).await.map_err(to_store_error)?;
    if !there.first().is_some_and(|row| row.get::<_, bool>(0)) {
        return Ok(SchemaStatus::Missing);
    }
    let history = "SELECT number, checksum FROM authflow.migrations ORDER BY number";
    let history = client.query_typed(history, &[]).await.map_err(to_store_error)?;
    let mut found = 0;
    for row in &history {
        let number: i32 = crate::row::field(row, "number")?;
        let checksum: &[u8] = crate::row::field(row, "checksum")?;
        let ours = MIGRATIONS.iter().find(|ours| ours.number == number);
        if ours.is_some_and(|ours| ours.checksum() != checksum) {
            return Ok(SchemaStatus::Foreign { number });
        }
        found = number;
    }
    let wanted = latest();
    Ok(match found.cmp(&wanted) {
        std::cmp::Ordering::Less if found == 0 => SchemaStatus::Missing,
        std::cmp::Ordering::Less => SchemaStatus::Older { found, wanted },
        std::cmp::Ordering::Equal => SchemaStatus::Current,
        std::cmp::Ordering::Greater => SchemaStatus::Newer { found, known: wanted },
    })
}

fn latest() -> i32 {
    MIGRATIONS.last().map_or(0, |last| last.number)
}

impl Migration {
    fn checksum(&self) -> [u8; 32] {
        sha2::Sha256::digest(self.sql.as_bytes()).into()
    }

    fn checksum_in_hex(&self) -> String {
        use fmt::Write as _;
        self.checksum().iter().fold(String::new(), |mut text, byte| {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
    }
}

async fn begin_history(client: &Client) -> Result<(), OpenError> {
    // Asked first, because `IF NOT EXISTS` wants the right to create schemas even where there is one.
    let there = "SELECT to_regnamespace('authflow') IS NOT NULL AS there";
    let there = client.query_typed(there, &[]).await.map_err(to_store_error)?;
    if !there.first().is_some_and(|row| row.get::<_, bool>(0)) {
        run(client, "CREATE SCHEMA authflow").await?;
    }
    run(
        client,
        "CREATE TABLE IF NOT EXISTS authflow.migrations (number integer PRIMARY KEY, name text NOT NULL, \
         checksum bytea NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())",
    )
    .await
}

/// A connection of its own, without the deadlines of requests.
async fn connect_alone(url: &str) -> Result<Client, OpenError> {
    let Target { mut postgres, tls } = Target::of(url)?;
    postgres.connect_timeout(CONNECT);
    let connecting = async {
        if let Some(tls) = tls {
            let (client, connection) = postgres.connect(tls).await?;
            tokio::spawn(log_its_end(connection));
            Ok(client)
        } else {
            let (client, connection) = postgres.connect(NoTls).await?;
            tokio::spawn(log_its_end(connection));
            Ok(client)
        }
    };
    let connected = tokio::time::timeout(CONNECT, connecting).await;
    Ok(connected.map_err(|_| late())?.map_err(to_store_error)?)
}

/// The connection ends with its client, or because the database went away; the client then says so by itself.
async fn log_its_end(connection: impl Future<Output = Result<(), tokio_postgres::Error>>) {
    if let Err(error) = connection.await {
        tracing::debug!(%error, "a connection to PostgreSQL ended");
    }
}

async fn run(client: &Client, sql: &str) -> Result<(), OpenError> {
    client
        .batch_execute(sql)
        .await
        .map_err(|error| to_store_error(error).into())
}

#[expect(clippy::needless_pass_by_value, reason = "its place is in map_err")]
fn to_store_error(error: tokio_postgres::Error) -> StoreError {
    Trouble::of(&error).into_error()
}

fn late() -> StoreError {
    StoreError::TimedOut("PostgreSQL does not answer".to_owned())
}
