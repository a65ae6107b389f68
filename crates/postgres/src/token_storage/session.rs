//! One connection on loan: asking in time, and what the answers say.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use deadpool_postgres::Object;
use mcp_authflow::port::{
    StoreError,
    token_storage::{TokenKind, TokenStorageError, TokenStorageResult},
};
use tokio::time::timeout;
use tokio_postgres::{Row, Statement, types::ToSql};

use super::sql::table;
use crate::error::{Trouble, with_causes};

/// Every column that the tables must have.
const COLUMNS: [&str; 7] = [
    "token",
    "client_id",
    "scopes",
    "resource",
    "expires_at",
    "created_at",
    "user_id",
];

/// A connection on loan. One that may still be busy is not given back.
pub(super) struct Session {
    pub(super) object: Option<Object>,
    pub(super) deadline: Duration,
    /// Whether an answer is outstanding.
    pub(super) is_busy: AtomicBool,
}

impl Drop for Session {
    /// A caller that goes away in the middle takes its connection along.
    fn drop(&mut self) {
        if let Some(object) = self.object.take()
            && self.is_busy.load(Ordering::Relaxed)
        {
            drop(Object::take(object));
        }
    }
}

impl Session {
    fn client(&self) -> TokenStorageResult<&Object> {
        self.object
            .as_ref()
            .ok_or_else(|| TokenStorageError::Unavailable("the connection is gone".to_owned()))
    }

    async fn in_time<T>(
        &self,
        work: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> TokenStorageResult<T> {
        self.is_busy.store(true, Ordering::Relaxed);
        let answer = timeout(self.deadline, work).await;
        let Ok(answer) = answer else {
            return Err(TokenStorageError::TimedOut(
                "PostgreSQL gave no answer before the deadline".to_owned(),
            ));
        };
        self.is_busy.store(false, Ordering::Relaxed);
        answer.map_err(|error| of_statement(&error))
    }

    /// Learns the types of a statement's parameters from PostgreSQL, once a connection: so it is with `user_id`.
    pub(super) async fn prepare(&self, sql: &str) -> TokenStorageResult<Statement> {
        self.in_time(self.client()?.prepare_cached(sql)).await
    }

    pub(super) async fn send(
        &self,
        statement: &Statement,
        params: &[&(dyn ToSql + Sync)],
    ) -> TokenStorageResult<Vec<Row>> {
        self.in_time(self.client()?.query(statement, params)).await
    }

    pub(super) async fn ask(
        &self,
        sql: &str,
        params: &[&(dyn ToSql + Sync)],
    ) -> TokenStorageResult<Vec<Row>> {
        let statement = self.prepare(sql).await?;
        self.send(&statement, params).await
    }

    pub(super) async fn has_table(&self, kind: TokenKind) -> TokenStorageResult<bool> {
        let rows = self
            .ask("SELECT to_regclass($1) IS NOT NULL AS is_there", &[&table(kind)])
            .await?;
        rows.first().map_or(Ok(false), |row| column(row, "is_there"))
    }

    /// Compares the tables that are there with what they should have.
    pub(super) async fn check_schema(&self) -> TokenStorageResult<()> {
        let tables = TokenKind::ALL.map(table);
        let rows = self
            .ask(
                "SELECT table_name::text AS table_name, column_name::text AS column_name \
                 FROM information_schema.columns \
                 WHERE table_name = ANY ($1) AND table_schema = ANY (current_schemas(false))",
                &[&tables.as_slice()],
            )
            .await?;
        let mut found = Vec::new();
        for row in &rows {
            found.push((
                column::<String>(row, "table_name")?,
                column::<String>(row, "column_name")?,
            ));
        }
        let mut complaints = Vec::new();
        for table in tables {
            if !found.iter().any(|(name, _)| name == table) {
                continue;
            }
            let mut missing: Vec<&str> = COLUMNS
                .into_iter()
                .filter(|wanted| {
                    !found
                        .iter()
                        .any(|(name, column)| name == table && column == wanted)
                })
                .collect();
            missing.sort_unstable();
            if !missing.is_empty() {
                complaints.push(format!("{table} lacks {}", missing.join(", ")));
            }
        }
        if complaints.is_empty() {
            return Ok(());
        }
        Err(TokenStorageError::SchemaDrift(format!(
            "the tables of the token storage are out of date: {}; add the missing columns with ALTER TABLE, for CREATE \
             TABLE IF NOT EXISTS adds none",
            complaints.join("; ")
        )))
    }
}

pub(super) fn column<'a, T: tokio_postgres::types::FromSql<'a>>(
    row: &'a Row,
    name: &str,
) -> TokenStorageResult<T> {
    row.try_get(name)
        .map_err(|error| TokenStorageError::Database(with_causes(&error)))
}

pub(super) fn counted(rows: &[Row], name: &str) -> TokenStorageResult<u64> {
    let count: i64 = rows.first().map_or(Ok(0), |row| column(row, name))?;
    Ok(u64::try_from(count).unwrap_or(0))
}

pub(super) fn of_statement(error: &tokio_postgres::Error) -> TokenStorageError {
    let text = with_causes(error);
    match Trouble::of(error).into_error() {
        // What the store's words say of our own schema is not true of these tables.
        StoreError::Broken(_) => TokenStorageError::Database(text),
        other => in_words(other),
    }
}

pub(super) fn in_words(error: StoreError) -> TokenStorageError {
    match error {
        StoreError::Unavailable(said) => TokenStorageError::Unavailable(said),
        StoreError::TimedOut(said) => TokenStorageError::TimedOut(said),
        other => TokenStorageError::Database(other.to_string()),
    }
}
