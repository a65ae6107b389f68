//! Clients.

use std::sync::Arc;

use mcp_authflow::{
    port::store::{
        AddClient, ClientRegistration, ClientStore, ClientWithResources, ReplaceRegistration, StoreResult,
    },
    record::Client,
};
use mcp_authflow_types::{ClientId, Resource, Timestamp, TokenHash};
use rusqlite::{Connection, OptionalExtension as _, Row, named_params};

use crate::{
    SqliteStore, resource,
    sql::{Json, Text, in_one_snapshot, moment, moment_if_any, statements},
};

statements! {
    /// A removed client comes back under the generation that its removal left.
    ADD = "INSERT INTO clients (id, generation, secret, retired_secret, retired_until, created_at, expires_at, introspects, profile, registration_access_token)
        VALUES (:id, :generation, :secret, :retired_secret, :retired_until, :created_at, :expires_at, :introspects, :profile, :access_token)
        ON CONFLICT (id) DO UPDATE SET
            is_removed = 0, secret = excluded.secret, retired_secret = excluded.retired_secret,
            retired_until = excluded.retired_until, created_at = excluded.created_at,
            expires_at = excluded.expires_at, introspects = excluded.introspects, profile = excluded.profile,
            registration_access_token = excluded.registration_access_token
        WHERE clients.is_removed";
    IS_THERE = "SELECT EXISTS (SELECT 1 FROM clients WHERE id = :id AND NOT is_removed)";
    LOAD = "SELECT * FROM clients WHERE id = :id AND NOT is_removed";
    LIST = "SELECT * FROM clients WHERE id > :after AND NOT is_removed ORDER BY id LIMIT :limit";
    REMOVE = "UPDATE clients SET is_removed = 1, generation = generation + 1 WHERE id = :id AND NOT is_removed";
    REVOKE = "UPDATE clients SET generation = generation + 1 WHERE id = :id AND NOT is_removed RETURNING generation";
    REPLACE_SECRET = "UPDATE clients SET
            retired_secret = iif(:old_until IS NULL, NULL, secret),
            retired_until = iif(secret IS NULL, NULL, :old_until),
            secret = :secret
        WHERE id = :id AND NOT is_removed";
    LOAD_REGISTRATION = "SELECT * FROM clients
        WHERE id = :id AND NOT is_removed AND registration_access_token IS NOT NULL";
    REPLACE_REGISTRATION = "UPDATE clients SET
            retired_secret = iif(secret IS :secret, retired_secret, NULL),
            retired_until = iif(secret IS :secret, retired_until, NULL),
            secret = :secret, profile = :profile, generation = generation + :raise
        WHERE id = :id AND NOT is_removed AND registration_access_token = :access_token";
}

fn client(row: &Row<'_>) -> rusqlite::Result<Client> {
    let Text(id) = row.get("id")?;
    let Json(profile) = row.get("profile")?;
    let secret: Option<[u8; 32]> = row.get("secret")?;
    let retired: Option<[u8; 32]> = row.get("retired_secret")?;
    let until = moment_if_any(row, "retired_until")?;
    Ok(Client {
        id,
        generation: row.get("generation")?,
        secret: secret.map(TokenHash::from_bytes),
        retired_secret: retired.map(TokenHash::from_bytes).zip(until),
        created_at: moment(row, "created_at")?,
        expires_at: moment_if_any(row, "expires_at")?,
        profile,
    })
}

/// Reads a client, for whatever is read beside it too.
pub(crate) fn load(connection: &Connection, id: &ClientId) -> rusqlite::Result<Option<Arc<Client>>> {
    let found = connection
        .prepare_cached(LOAD)?
        .query_row(named_params! {":id": id.as_str()}, client)
        .optional()?;
    Ok(found.map(Arc::new))
}

/// Adds a client, for its own sake or together with a resource.
pub(crate) fn add(connection: &Connection, client: &Client) -> rusqlite::Result<AddClient> {
    register(connection, client, None)
}

fn register(
    connection: &Connection,
    client: &Client,
    access_token: Option<&TokenHash>,
) -> rusqlite::Result<AddClient> {
    let (retired, until) = client.retired_secret.unzip();
    let introspects = client.profile.introspects.as_ref();
    let added = connection.prepare_cached(ADD)?.execute(named_params! {
        ":id": client.id.as_str(),
        ":generation": client.generation,
        ":secret": client.secret.as_ref().map(TokenHash::as_bytes),
        ":retired_secret": retired.as_ref().map(TokenHash::as_bytes),
        ":retired_until": until.map(Timestamp::seconds),
        ":created_at": client.created_at.seconds(),
        ":expires_at": client.expires_at.map(Timestamp::seconds),
        ":introspects": introspects.map(Resource::equivalence_key),
        ":profile": Json(&client.profile),
        ":access_token": access_token.map(TokenHash::as_bytes),
    })?;
    Ok(if added == 1 {
        AddClient::Added
    } else {
        AddClient::Taken
    })
}

/// Whether an identifier is taken.
pub(crate) fn is_there(connection: &Connection, id: &ClientId) -> rusqlite::Result<bool> {
    connection
        .prepare_cached(IS_THERE)?
        .query_row(named_params! {":id": id.as_str()}, |row| row.get(0))
}

#[async_trait::async_trait]
impl ClientStore for SqliteStore {
    async fn add_client(&self, client: &Client) -> StoreResult<AddClient> {
        let client = client.clone();
        self.write(move |connection| add(connection, &client)).await
    }

    async fn load_client(&self, id: &ClientId) -> StoreResult<Option<Arc<Client>>> {
        let id = id.clone();
        self.read(move |connection| load(connection, &id)).await
    }

    async fn load_client_with_resources(
        &self,
        id: &ClientId,
        wanted: &[Resource],
    ) -> StoreResult<ClientWithResources> {
        let (id, wanted) = (id.clone(), wanted.to_vec());
        self.read(move |connection| {
            in_one_snapshot(connection, |connection| {
                Ok(ClientWithResources {
                    client: load(connection, &id)?,
                    resources: resource::load(connection, &wanted)?,
                })
            })
        })
        .await
    }

    async fn list_clients(&self, after: Option<&ClientId>, limit: u32) -> StoreResult<Vec<Client>> {
        // Every identifier lies behind the empty text.
        let after = after.map_or_else(String::new, ClientId::to_string);
        self.read(move |connection| {
            connection
                .prepare_cached(LIST)?
                .query_map(named_params! {":after": after, ":limit": limit}, client)?
                .collect()
        })
        .await
    }

    async fn remove_client(&self, id: &ClientId, _now: Timestamp) -> StoreResult<bool> {
        let id = id.clone();
        self.write(move |connection| {
            let removed = connection
                .prepare_cached(REMOVE)?
                .execute(named_params! {":id": id.as_str()})?;
            Ok(removed == 1)
        })
        .await
    }

    async fn revoke_client(&self, id: &ClientId) -> StoreResult<Option<u32>> {
        let id = id.clone();
        self.write(move |connection| {
            connection
                .prepare_cached(REVOKE)?
                .query_row(named_params! {":id": id.as_str()}, |row| row.get(0))
                .optional()
        })
        .await
    }

    async fn replace_client_secret(
        &self,
        id: &ClientId,
        secret: &TokenHash,
        old_until: Option<Timestamp>,
    ) -> StoreResult<bool> {
        let (id, secret) = (id.clone(), *secret);
        self.write(move |connection| {
            let replaced = connection
                .prepare_cached(REPLACE_SECRET)?
                .execute(named_params! {
                    ":id": id.as_str(),
                    ":secret": secret.as_bytes(),
                    ":old_until": old_until.map(Timestamp::seconds),
                })?;
            Ok(replaced == 1)
        })
        .await
    }

    async fn register_client(&self, client: &Client, access_token: &TokenHash) -> StoreResult<AddClient> {
        let (client, access_token) = (client.clone(), *access_token);
        self.write(move |connection| register(connection, &client, Some(&access_token)))
            .await
    }

    async fn load_registration(&self, id: &ClientId) -> StoreResult<Option<ClientRegistration>> {
        let id = id.clone();
        self.read(move |connection| {
            connection
                .prepare_cached(LOAD_REGISTRATION)?
                .query_row(named_params! {":id": id.as_str()}, |row| {
                    Ok(ClientRegistration {
                        client: Arc::new(client(row)?),
                        access_token: TokenHash::from_bytes(row.get("registration_access_token")?),
                    })
                })
                .optional()
        })
        .await
    }

    async fn replace_registration(&self, replacement: &ReplaceRegistration) -> StoreResult<bool> {
        let replacement = replacement.clone();
        self.write(move |connection| {
            let replaced = connection
                .prepare_cached(REPLACE_REGISTRATION)?
                .execute(named_params! {
                    ":id": replacement.client_id.as_str(),
                    ":access_token": replacement.access_token.as_bytes(),
                    ":secret": replacement.secret.as_ref().map(TokenHash::as_bytes),
                    ":profile": Json(&replacement.profile),
                    ":raise": replacement.ends_what_was_issued,
                })?;
            Ok(replaced == 1)
        })
        .await
    }
}
