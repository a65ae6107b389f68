//! The schema: numbered migrations, each run once in a transaction of its own, and a check that it is what it should be.
//!
//! To change the schema: add `migrations/NNNN_what.sql` and its line in [`MIGRATIONS`]. A migration that was released is
//! never changed again; its checksum is kept in the database.

use std::{collections::BTreeSet, path::Path};

use mcp_authflow_types::TokenHash;
use rusqlite::{Connection, TransactionBehavior};

use crate::OpenError;

struct Migration {
    number: i64,
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

/// What is kept about migrations themselves.
const BOOKS: &str = "CREATE TABLE IF NOT EXISTS migrations (
    number      INTEGER PRIMARY KEY,
    name        TEXT NOT NULL,
    checksum    BLOB NOT NULL,
    applied_at  INTEGER NOT NULL DEFAULT (unixepoch())
) STRICT";

/// Brings a database to the newest schema, and checks that it is that.
pub(crate) fn migrate(path: &Path, connection: &mut Connection) -> Result<(), OpenError> {
    let sqlite = |source| OpenError::of(path, source);
    let known = MIGRATIONS.last().map_or(0, |newest| newest.number);
    let found = version(connection).map_err(sqlite)?;
    if found > known {
        return Err(OpenError::Newer {
            path: path.to_owned(),
            found,
            known,
        });
    }
    for migration in MIGRATIONS.iter().filter(|one| one.number > found) {
        apply(connection, migration).map_err(sqlite)?;
    }
    check(path, connection)
}

fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

fn apply(connection: &mut Connection, migration: &Migration) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Another process may have been faster.
    if version(&transaction)? >= migration.number {
        return Ok(());
    }
    transaction.execute_batch(BOOKS)?;
    transaction.execute_batch(migration.sql)?;
    transaction.execute(
        "INSERT INTO migrations (number, name, checksum) VALUES (?1, ?2, ?3)",
        (migration.number, migration.name, checksum(migration.sql)),
    )?;
    transaction.pragma_update(None, "user_version", migration.number)?;
    transaction.commit()
}

fn checksum(sql: &str) -> [u8; 32] {
    *TokenHash::of(sql).as_bytes()
}

/// Compares the schema with that of a database made anew, and the migrations with those that ran.
fn check(path: &Path, connection: &Connection) -> Result<(), OpenError> {
    let differs = |detail: String| OpenError::Schema {
        path: path.to_owned(),
        detail,
    };
    let sqlite = |source| OpenError::of(path, source);
    for migration in MIGRATIONS {
        let ran: Option<[u8; 32]> = sqlite_optional(connection.query_row(
            "SELECT checksum FROM migrations WHERE number = ?1",
            [migration.number],
            |row| row.get(0),
        ))
        .map_err(sqlite)?;
        if ran != Some(checksum(migration.sql)) {
            let (number, name) = (migration.number, migration.name);
            return Err(differs(format!(
                "migration {number} `{name}` ran in another form"
            )));
        }
    }
    let model = Connection::open_in_memory().map_err(sqlite)?;
    let built = MIGRATIONS
        .iter()
        .try_for_each(|migration| model.execute_batch(migration.sql));
    let expected = built.and_then(|()| columns(&model)).map_err(sqlite)?;
    let actual = columns(connection).map_err(sqlite)?;
    match expected.difference(&actual).next() {
        None => Ok(()),
        Some(missing) => Err(differs(format!("missing: {missing}"))),
    }
}

fn sqlite_optional<T>(found: rusqlite::Result<T>) -> rusqlite::Result<Option<T>> {
    rusqlite::OptionalExtension::optional(found)
}

/// Every table with each of its columns, and every index, as lines of text.
fn columns(connection: &Connection) -> rusqlite::Result<BTreeSet<String>> {
    let mut statement = connection.prepare(
        "SELECT t.name || '.' || c.name || ' ' || c.type || iif(c.\"notnull\", ' NOT NULL', '')
         FROM sqlite_schema t JOIN pragma_table_info(t.name) c
         WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite_%'
         UNION ALL
         SELECT 'index on ' || t.name || iif(i.\"unique\", ' (unique): ', ': ')
            || (SELECT group_concat(k.name, ', ') FROM pragma_index_info(i.name) k)
         FROM sqlite_schema t JOIN pragma_index_list(t.name) i
         WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite_%'",
    )?;
    statement.query_map([], |row| row.get(0))?.collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    fn migrated() -> Connection {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(Path::new("memory"), &mut connection).unwrap();
        connection
    }

    #[test]
    fn migrations_are_numbered_without_a_gap() {
        let numbers: Vec<i64> = MIGRATIONS.iter().map(|one| one.number).collect();
        let counted: Vec<i64> = (1..).take(numbers.len()).collect();
        assert_eq!(numbers, counted);
    }

    #[test]
    fn every_statement_is_understood_by_a_database_made_anew() {
        let connection = migrated();
        let nouns = [
            crate::client::STATEMENTS,
            crate::client_document::STATEMENTS,
            crate::device_code::STATEMENTS,
            crate::grant::STATEMENTS,
            crate::imported_token::STATEMENTS,
            crate::interaction::STATEMENTS,
            crate::replay::STATEMENTS,
            crate::resource::STATEMENTS,
            crate::session::STATEMENTS,
            crate::signing_key::STATEMENTS,
            crate::token::STATEMENTS,
            crate::upkeep::STATEMENTS,
            crate::user::STATEMENTS,
        ];
        for (name, sql) in nouns.into_iter().flatten() {
            if let Err(error) = connection.prepare(sql) {
                panic!("{name}: {error}");
            }
        }
    }

    /// What a wrong plan would cost: a look-up that reads the whole table.
    #[test]
    fn no_statement_of_a_request_reads_a_whole_table() {
        let connection = migrated();
        let nouns = [
            crate::device_code::STATEMENTS,
            crate::grant::STATEMENTS,
            crate::imported_token::STATEMENTS,
            crate::interaction::STATEMENTS,
            crate::replay::STATEMENTS,
            crate::session::STATEMENTS,
            crate::token::STATEMENTS,
            crate::upkeep::STATEMENTS,
        ];
        // What an operator counts is no request.
        let of_requests = |(name, _): &&(&str, &str)| !name.starts_with("COUNT_");
        for (name, sql) in nouns.into_iter().flatten().filter(of_requests) {
            let mut plan = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
            // Unbound parameters are NULL, which is all that a plan needs.
            let mut rows = plan.raw_query();
            let mut steps: Vec<String> = Vec::new();
            while let Some(row) = rows.next().unwrap() {
                steps.push(row.get("detail").unwrap());
            }
            for step in &steps {
                // `j` is a JSON document of one row, with a handful of entries.
                let whole = step.starts_with("SCAN")
                    && !step.starts_with("SCAN j VIRTUAL TABLE")
                    && !step.contains("CONSTANT ROW")
                    && !step.contains("LIST SUBQUERY");
                assert!(!whole, "{name}: {steps:?}");
            }
        }
    }

    /// P17: what an earlier version left is brought up to date, and nothing of it changes its meaning.
    #[test]
    fn a_database_of_an_earlier_version_is_brought_up_to_date() {
        let mut connection = Connection::open_in_memory().unwrap();
        for migration in &MIGRATIONS[..4] {
            apply(&mut connection, migration).unwrap();
        }
        connection
            .execute_batch(
                "INSERT INTO resources (key, uri, name, scopes, created_at) VALUES ('k', 'u', 'n', '[]', 1)",
            )
            .unwrap();
        migrate(Path::new("memory"), &mut connection).unwrap();
        let algorithm: Option<String> = connection
            .query_row("SELECT jwt_algorithm FROM resources", [], |row| row.get(0))
            .unwrap();
        assert_eq!(algorithm, None, "its access tokens stay opaque");
    }

    #[test]
    fn a_missing_column_or_index_is_noticed() {
        for damage in [
            "ALTER TABLE grants DROP COLUMN username",
            "DROP INDEX clients_by_introspects",
            "DROP TABLE refresh_tokens",
            "UPDATE migrations SET checksum = x'00'",
            "DELETE FROM migrations",
        ] {
            let mut connection = migrated();
            connection.execute_batch(damage).unwrap();
            let refused = migrate(Path::new("memory"), &mut connection);
            let is_noticed = matches!(
                &refused,
                Err(OpenError::Schema { .. } | OpenError::Refused { .. })
            );
            assert!(is_noticed, "{damage}: {refused:?}");
        }
    }
}
