//! Protected resources.

use std::sync::Arc;

use mcp_authflow::{
    port::store::{AddClient, AddResource, ResourceStore, StoreResult},
    record::{AccessTokenFormat, Client, ResourceRecord, ScopeDescription, SigningAlgorithm},
};
use mcp_authflow_types::Resource;
use rusqlite::{Connection, OptionalExtension as _, Row, named_params};

use crate::{
    SqliteStore, client,
    signing_key::Named,
    sql::{Json, Text, moment, statements},
};

statements! {
    ADD = "INSERT INTO resources (key, uri, name, scopes, jwt_algorithm, created_at)
        VALUES (:key, :uri, :name, :scopes, :jwt_algorithm, :created_at)
        ON CONFLICT (key) DO NOTHING";
    LOAD = "SELECT * FROM resources WHERE key = :key";
    FIRST_TWO = "SELECT * FROM resources ORDER BY number LIMIT 2";
    LIST = "SELECT * FROM resources ORDER BY number";
    DESCRIBE = "UPDATE resources SET name = :name, scopes = :scopes WHERE key = :key";
    SET_FORMAT = "UPDATE resources SET jwt_algorithm = :jwt_algorithm WHERE key = :key";
    REMOVE = "DELETE FROM resources WHERE key = :key";
    REMOVE_INTROSPECTORS = "UPDATE clients SET is_removed = 1, generation = generation + 1
        WHERE introspects = :key AND NOT is_removed";
}

fn resource(row: &Row<'_>) -> rusqlite::Result<ResourceRecord> {
    let Text(resource) = row.get("uri")?;
    let Json(scopes) = row.get("scopes")?;
    let algorithm: Option<Named> = row.get("jwt_algorithm")?;
    Ok(ResourceRecord {
        resource,
        name: row.get("name")?,
        scopes,
        access_token_format: AccessTokenFormat::by(algorithm.map(|Named(algorithm)| algorithm)),
        created_at: moment(row, "created_at")?,
    })
}

/// Reads those of the wanted resources that are registered, or with none wanted the first two.
pub(crate) fn load(
    connection: &Connection,
    wanted: &[Resource],
) -> rusqlite::Result<Vec<Arc<ResourceRecord>>> {
    let mut found = Vec::with_capacity(wanted.len().max(2));
    if wanted.is_empty() {
        let mut statement = connection.prepare_cached(FIRST_TWO)?;
        for one in statement.query_map([], resource)? {
            found.push(Arc::new(one?));
        }
    } else {
        let mut statement = connection.prepare_cached(LOAD)?;
        for one in wanted {
            let key = named_params! {":key": one.equivalence_key()};
            found.extend(statement.query_row(key, resource).optional()?.map(Arc::new));
        }
    }
    Ok(found)
}

fn add(
    connection: &Connection,
    record: &ResourceRecord,
    introspector: &Client,
) -> rusqlite::Result<AddResource> {
    // There is one writer: nobody comes between the look and the step.
    if client::is_there(connection, &introspector.id)? {
        let key = named_params! {":key": record.resource.equivalence_key()};
        let is_taken = connection.prepare_cached(LOAD)?.exists(key)?;
        return Ok(if is_taken {
            AddResource::Taken
        } else {
            AddResource::ClientTaken
        });
    }
    let added = connection.prepare_cached(ADD)?.execute(named_params! {
        ":key": record.resource.equivalence_key(),
        ":uri": record.resource.as_str(),
        ":name": record.name,
        ":scopes": Json(&record.scopes),
        ":jwt_algorithm": record.access_token_format.algorithm().map(SigningAlgorithm::as_str),
        ":created_at": record.created_at.seconds(),
    })?;
    if added == 0 {
        return Ok(AddResource::Taken);
    }
    match client::add(connection, introspector)? {
        AddClient::Added => Ok(AddResource::Added),
        // It was looked for above. An error undoes the resource too.
        AddClient::Taken => Err(rusqlite::Error::StatementChangedRows(0)),
    }
}

#[async_trait::async_trait]
impl ResourceStore for SqliteStore {
    async fn add_resource(
        &self,
        resource: &ResourceRecord,
        introspector: &Client,
    ) -> StoreResult<AddResource> {
        let (resource, introspector) = (resource.clone(), introspector.clone());
        self.write(move |connection| add(connection, &resource, &introspector))
            .await
    }

    async fn list_resources(&self) -> StoreResult<Vec<ResourceRecord>> {
        self.read(|connection| {
            connection
                .prepare_cached(LIST)?
                .query_map([], resource)?
                .collect()
        })
        .await
    }

    async fn describe_resource(
        &self,
        resource: &Resource,
        name: &str,
        scopes: &[ScopeDescription],
    ) -> StoreResult<bool> {
        let (resource, name, scopes) = (resource.clone(), name.to_owned(), scopes.to_vec());
        self.write(move |connection| {
            let described = connection.prepare_cached(DESCRIBE)?.execute(named_params! {
                ":key": resource.equivalence_key(),
                ":name": name,
                ":scopes": Json(&scopes),
            })?;
            Ok(described == 1)
        })
        .await
    }

    async fn set_access_token_format(
        &self,
        resource: &Resource,
        format: AccessTokenFormat,
    ) -> StoreResult<bool> {
        let resource = resource.clone();
        self.write(move |connection| {
            let set = connection.prepare_cached(SET_FORMAT)?.execute(named_params! {
                ":key": resource.equivalence_key(),
                ":jwt_algorithm": format.algorithm().map(SigningAlgorithm::as_str),
            })?;
            Ok(set == 1)
        })
        .await
    }

    async fn remove_resource(&self, resource: &Resource) -> StoreResult<bool> {
        let resource = resource.clone();
        self.write(move |connection| {
            let key = named_params! {":key": resource.equivalence_key()};
            let was_there = connection.prepare_cached(REMOVE)?.execute(key)? == 1;
            if was_there {
                connection.prepare_cached(REMOVE_INTROSPECTORS)?.execute(key)?;
            }
            Ok(was_there)
        })
        .await
    }
}
