//! SQL with the types of its parameters.

use deadpool_postgres::ClientWrapper;
use tokio_postgres::{
    Error, Row,
    types::{ToSql, Type},
};

/// The parameters of a statement.
pub(crate) type Params<'a> = &'a [&'a (dyn ToSql + Sync)];

/// A statement that this store sends.
pub(crate) struct Statement {
    /// The SQL.
    pub(crate) sql: &'static str,
    /// What `$1`, `$2`, … are. Spelled out, so that an unnamed statement costs one round trip, and so that the server
    /// refuses at once what would not fit.
    pub(crate) types: &'static [Type],
}

impl Statement {
    /// Sends the statement; under a name, prepared once a connection, when `named`.
    pub(crate) async fn run(
        &self,
        client: &ClientWrapper,
        named: bool,
        params: Params<'_>,
    ) -> Result<Vec<Row>, Error> {
        if named {
            let prepared = client.prepare_typed_cached(self.sql, self.types).await?;
            return client.query(&prepared, params).await;
        }
        let typed: Vec<_> = params.iter().copied().zip(self.types.iter().cloned()).collect();
        client.query_typed(self.sql, &typed).await
    }
}

/// Every statement of the store.
pub(crate) fn all() -> impl Iterator<Item = &'static Statement> {
    [
        crate::client::STATEMENTS,
        crate::client_document::STATEMENTS,
        crate::resource::STATEMENTS,
        crate::interaction::STATEMENTS,
        crate::device_code::STATEMENTS,
        crate::grant::STATEMENTS,
        crate::imported_token::STATEMENTS,
        crate::token::STATEMENTS,
        crate::user::STATEMENTS,
        crate::session::STATEMENTS,
        crate::signing_key::STATEMENTS,
        crate::replay::STATEMENTS,
        crate::upkeep::STATEMENTS,
    ]
    .into_iter()
    .flatten()
    .copied()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use std::collections::BTreeSet;

    use mcp_authflow_testkit::service::postgres::{FreshDatabase, PrivatePostgres};
    use tokio_postgres::Client;

    use super::*;

    async fn migrated() -> (FreshDatabase, Client) {
        let server = PrivatePostgres::shared().unwrap_or_else(|error| panic!("{error:#}"));
        let database = server.fresh_database().unwrap();
        crate::migrate(&crate::PostgresConfig::new(database.url()))
            .await
            .unwrap();
        let (client, connection) = tokio_postgres::connect(database.url(), tokio_postgres::NoTls)
            .await
            .unwrap();
        tokio::spawn(connection);
        (database, client)
    }

    /// The server refuses a statement whose parameters cannot be what is declared.
    #[tokio::test(flavor = "multi_thread")]
    async fn every_statement_is_prepared_against_a_freshly_migrated_database() {
        let (_database, client) = migrated().await;
        for statement in all() {
            let prepared = client.prepare_typed(statement.sql, statement.types).await;
            let prepared = prepared.unwrap_or_else(|error| panic!("{error:?}\n{}", statement.sql));
            assert_eq!(prepared.params(), statement.types, "{}", statement.sql);
        }
    }

    /// A generic plan prunes when it is run. It looks by the digest, even though it is made while the tables are empty.
    #[tokio::test(flavor = "multi_thread")]
    async fn every_statement_looks_into_one_partition_of_a_table() {
        let (_database, client) = migrated().await;
        for (setting, value) in crate::connection::PLANNING {
            client
                .batch_execute(&format!("SET {setting} = {value}"))
                .await
                .unwrap();
        }
        let mut seen = 0;
        for (number, statement) in all().enumerate() {
            if !statement.sql.contains("_tokens t") {
                continue;
            }
            seen += 1;
            let types: Vec<&str> = statement.types.iter().map(Type::name).collect();
            let values: Vec<&str> = statement.types.iter().map(sample_of).collect();
            let prepare = format!(
                "PREPARE plan_{number} ({}) AS {}",
                types.join(", "),
                statement.sql
            );
            client.batch_execute(&prepare).await.unwrap();
            let explain = format!("EXPLAIN EXECUTE plan_{number} ({})", values.join(", "));
            let rows = client.query(&explain, &[]).await.unwrap();
            let plan: Vec<&str> = rows.iter().map(|row| row.get(0)).collect();
            let whole = plan.join("\n");
            assert!(!whole.contains("Seq Scan") && !whole.contains("Hash"), "{whole}");
            for (number, line) in plan
                .iter()
                .enumerate()
                .filter(|(_, line)| line.contains("_tokens_"))
            {
                let condition = plan.get(number + 1).is_some_and(|next| next.contains("(hash ="));
                assert!(condition || !line.contains("Scan"), "{whole}");
            }
            for table in [" on access_tokens_", " on refresh_tokens_"] {
                let looked_into: BTreeSet<&str> = plan
                    .iter()
                    .filter(|line| line.contains("Scan"))
                    .filter_map(|line| line.split_once(table)?.1.split(' ').next())
                    .collect();
                assert!(looked_into.len() <= 1, "{looked_into:?}\n{whole}");
            }
        }
        assert!(seen >= 6, "only {seen} statements name a table of tokens");
    }

    fn sample_of(kind: &Type) -> &'static str {
        match *kind {
            Type::INT4 => "500000",
            Type::INT8 => "1",
            Type::BOOL => "true",
            Type::BYTEA => r"'\x00'",
            _ => "'x'",
        }
    }
}
