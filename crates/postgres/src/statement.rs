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
        crate::resource::STATEMENTS,
        crate::interaction::STATEMENTS,
        crate::grant::STATEMENTS,
        crate::token::STATEMENTS,
        crate::user::STATEMENTS,
        crate::session::STATEMENTS,
        crate::upkeep::STATEMENTS,
    ]
    .into_iter()
    .flatten()
    .copied()
}
