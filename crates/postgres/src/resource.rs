//! Protected resources.

use mcp_authflow::{
    port::store::{AddClient, AddResource, ResourceStore, StoreResult},
    record::{AccessTokenFormat, Client, ResourceRecord, ScopeDescription, SigningAlgorithm},
};
use mcp_authflow_types::Resource;
use tokio_postgres::{
    Row,
    types::{Json, Type},
};

use crate::{
    PostgresStore, client,
    row::{did_something, document, field, moment, parsed},
    signing_key::named,
    statement::Statement,
};

/// The columns of `authflow.resources r`.
macro_rules! resource_columns {
    () => {
        "r.resource AS r_resource, r.name AS r_name, r.scopes AS r_scopes, r.created_at AS r_created_at, \
         r.jwt_algorithm AS r_jwt_algorithm"
    };
}
pub(crate) use resource_columns;

pub(crate) const STATEMENTS: &[&Statement] = &[&ADD, &LIST, &DESCRIBE, &SET_FORMAT, &REMOVE];

static ADD: Statement = Statement {
    sql: "INSERT INTO authflow.resources (equivalence_key, resource, name, scopes, created_at, jwt_algorithm) \
          VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (equivalence_key) WHERE removed_at IS NULL DO NOTHING RETURNING 1",
    types: &[
        Type::TEXT,
        Type::TEXT,
        Type::TEXT,
        Type::JSONB,
        Type::INT8,
        Type::TEXT,
    ],
};

static LIST: Statement = Statement {
    sql: concat!(
        "SELECT ",
        resource_columns!(),
        " FROM authflow.resources r WHERE r.removed_at IS NULL ORDER BY r.resource_no"
    ),
    types: &[],
};

static DESCRIBE: Statement = Statement {
    sql: "WITH changed AS (UPDATE authflow.resources SET name = $2, scopes = $3 \
          WHERE equivalence_key = $1 AND removed_at IS NULL RETURNING 1) SELECT count(*) AS done FROM changed",
    types: &[Type::TEXT, Type::TEXT, Type::JSONB],
};

static SET_FORMAT: Statement = Statement {
    sql: "WITH changed AS (UPDATE authflow.resources SET jwt_algorithm = $2 \
          WHERE equivalence_key = $1 AND removed_at IS NULL RETURNING 1) SELECT count(*) AS done FROM changed",
    types: &[Type::TEXT, Type::TEXT],
};

static REMOVE: Statement = Statement {
    sql: "WITH removed AS (UPDATE authflow.resources SET removed_at = authflow.clock() \
          WHERE equivalence_key = $1 AND removed_at IS NULL RETURNING 1), \
          introspectors AS (UPDATE authflow.clients c SET removed_at = authflow.clock(), \
          generation = c.generation + 1, secret = NULL, retired_secret = NULL, retired_until = NULL FROM removed \
          WHERE c.introspects = $1 AND c.removed_at IS NULL) \
          SELECT count(*) AS done FROM removed",
    types: &[Type::TEXT],
};

#[async_trait::async_trait]
impl ResourceStore for PostgresStore {
    async fn add_resource(
        &self,
        resource: &ResourceRecord,
        introspector: &Client,
    ) -> StoreResult<AddResource> {
        let ask = self.ask();
        let transaction = ask.begin().await?;
        let key = resource.resource.equivalence_key();
        let (spelling, scopes) = (resource.resource.as_str(), Json(&resource.scopes));
        let created_at = resource.created_at.seconds();
        let algorithm = algorithm(resource.access_token_format);
        let added = transaction
            .rows(
                &ADD,
                &[&key, &spelling, &resource.name, &scopes, &created_at, &algorithm],
            )
            .await?;
        if added.is_empty() {
            transaction.roll_back().await?;
            return Ok(AddResource::Taken);
        }
        if client::add_within(&transaction, introspector).await? == AddClient::Taken {
            transaction.roll_back().await?;
            return Ok(AddResource::ClientTaken);
        }
        transaction.commit().await?;
        Ok(AddResource::Added)
    }

    async fn list_resources(&self) -> StoreResult<Vec<ResourceRecord>> {
        let rows = self.ask().read(&LIST, &[]).await?;
        rows.iter().filter_map(|row| read(row).transpose()).collect()
    }

    async fn describe_resource(
        &self,
        resource: &Resource,
        name: &str,
        scopes: &[ScopeDescription],
    ) -> StoreResult<bool> {
        let (key, scopes) = (resource.equivalence_key(), Json(scopes));
        let (rows, _) = self.ask().write_again(&DESCRIBE, &[&key, &name, &scopes]).await?;
        did_something(&rows)
    }

    async fn set_access_token_format(
        &self,
        resource: &Resource,
        format: AccessTokenFormat,
    ) -> StoreResult<bool> {
        let (key, algorithm) = (resource.equivalence_key(), algorithm(format));
        let (rows, _) = self.ask().write_again(&SET_FORMAT, &[&key, &algorithm]).await?;
        did_something(&rows)
    }

    async fn remove_resource(&self, resource: &Resource) -> StoreResult<bool> {
        let rows = self.ask().write(&REMOVE, &[&resource.equivalence_key()]).await?;
        did_something(&rows)
    }
}

/// A format as it is kept.
fn algorithm(format: AccessTokenFormat) -> Option<&'static str> {
    format.algorithm().map(SigningAlgorithm::as_str)
}

/// Reads the resource of a row, if the row has one.
pub(crate) fn read(row: &Row) -> StoreResult<Option<ResourceRecord>> {
    if field::<Option<&str>>(row, "r_resource")?.is_none() {
        return Ok(None);
    }
    Ok(Some(ResourceRecord {
        resource: parsed(row, "r_resource", Resource::parse)?,
        name: field(row, "r_name")?,
        scopes: document(row, "r_scopes")?,
        access_token_format: AccessTokenFormat::by(
            field::<Option<&str>>(row, "r_jwt_algorithm")?
                .map(named)
                .transpose()?,
        ),
        created_at: moment(row, "r_created_at")?,
    }))
}
