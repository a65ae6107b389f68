//! Clients.

use std::sync::Arc;

use mcp_authflow::{
    port::store::{
        AddClient, ClientRegistration, ClientStore, ClientWithResources, ReplaceRegistration, StoreResult,
    },
    record::Client,
};
use mcp_authflow_types::{ClientId, Resource, Timestamp, TokenHash};
use tokio_postgres::{
    Row,
    types::{Json, ToSql, Type},
};

use crate::{
    PostgresStore, resource,
    row::{
        as_counter, counter, did_something, document, field, moment, optional_bytes, optional_moment, parsed,
    },
    statement::Statement,
};

/// The columns of `authflow.clients c`.
macro_rules! client_columns {
    () => {
        "c.client_id AS c_id, c.generation AS c_generation, c.secret AS c_secret, \
         c.retired_secret AS c_retired_secret, c.retired_until AS c_retired_until, c.created_at AS c_created_at, \
         c.expires_at AS c_expires_at, c.profile AS c_profile"
    };
}
pub(crate) use client_columns;

/// One row, whatever there is: what is looked for is joined to it. The client is `$1`.
macro_rules! from_one_beside_client {
    () => {
        " FROM (SELECT 1) AS one LEFT JOIN authflow.clients c ON c.client_id = $1 AND c.removed_at IS NULL "
    };
}
pub(crate) use from_one_beside_client;

pub(crate) const STATEMENTS: &[&Statement] = &[
    &ADD,
    &LOAD,
    &LOAD_WITH_WANTED,
    &LOAD_WITH_FIRST_TWO,
    &LIST,
    &REMOVE,
    &REVOKE,
    &REPLACE_SECRET,
    &LOAD_REGISTRATION,
    &REPLACE_REGISTRATION,
];

/// A tombstone comes back to life with the generation it has.
static ADD: Statement = Statement {
    sql: "INSERT INTO authflow.clients AS old (client_id, generation, secret, retired_secret, retired_until, \
          created_at, expires_at, introspects, profile, registration_access_token) \
          VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) \
          ON CONFLICT (client_id) DO UPDATE SET secret = excluded.secret, retired_secret = excluded.retired_secret, \
          retired_until = excluded.retired_until, created_at = excluded.created_at, \
          expires_at = excluded.expires_at, introspects = excluded.introspects, profile = excluded.profile, \
          registration_access_token = excluded.registration_access_token, \
          removed_at = NULL WHERE old.removed_at IS NOT NULL RETURNING 1",
    types: &[
        Type::TEXT,
        Type::INT4,
        Type::BYTEA,
        Type::BYTEA,
        Type::INT8,
        Type::INT8,
        Type::INT8,
        Type::TEXT,
        Type::JSONB,
        Type::BYTEA,
    ],
};

static LOAD: Statement = Statement {
    sql: concat!(
        "SELECT ",
        client_columns!(),
        " FROM authflow.clients c WHERE c.client_id = $1 AND c.removed_at IS NULL"
    ),
    types: &[Type::TEXT],
};

static LOAD_WITH_WANTED: Statement = Statement {
    sql: concat!(
        "SELECT ",
        client_columns!(),
        ", ",
        resource::resource_columns!(),
        from_one_beside_client!(),
        "LEFT JOIN (unnest($2) WITH ORDINALITY AS wanted (equivalence_key, place) \
         JOIN authflow.resources r ON r.equivalence_key = wanted.equivalence_key AND r.removed_at IS NULL) ON true \
         ORDER BY wanted.place"
    ),
    types: &[Type::TEXT, Type::TEXT_ARRAY],
};

static LOAD_WITH_FIRST_TWO: Statement = Statement {
    sql: concat!(
        "SELECT ",
        client_columns!(),
        ", ",
        resource::resource_columns!(),
        from_one_beside_client!(),
        "LEFT JOIN (SELECT * FROM authflow.resources WHERE removed_at IS NULL ORDER BY resource_no LIMIT 2) r ON true \
         ORDER BY r.resource_no"
    ),
    types: &[Type::TEXT],
};

static LIST: Statement = Statement {
    sql: concat!(
        "SELECT ",
        client_columns!(),
        " FROM authflow.clients c WHERE c.removed_at IS NULL AND c.client_id > $1 ORDER BY c.client_id LIMIT $2"
    ),
    types: &[Type::TEXT, Type::INT8],
};

static REMOVE: Statement = Statement {
    sql: "WITH removed AS (UPDATE authflow.clients SET removed_at = $2, generation = generation + 1, secret = NULL, \
          retired_secret = NULL, retired_until = NULL, registration_access_token = NULL \
          WHERE client_id = $1 AND removed_at IS NULL RETURNING 1) \
          SELECT count(*) AS done FROM removed",
    types: &[Type::TEXT, Type::INT8],
};

static REVOKE: Statement = Statement {
    sql: "UPDATE authflow.clients SET generation = generation + 1 WHERE client_id = $1 AND removed_at IS NULL \
          RETURNING generation",
    types: &[Type::TEXT],
};

static REPLACE_SECRET: Statement = Statement {
    sql: "WITH replaced AS (UPDATE authflow.clients SET secret = $2, \
          retired_secret = CASE WHEN $3 IS NULL THEN NULL ELSE secret END, \
          retired_until = CASE WHEN secret IS NULL THEN NULL ELSE $3 END \
          WHERE client_id = $1 AND removed_at IS NULL RETURNING 1) SELECT count(*) AS done FROM replaced",
    types: &[Type::TEXT, Type::BYTEA, Type::INT8],
};

static LOAD_REGISTRATION: Statement = Statement {
    sql: concat!(
        "SELECT ",
        client_columns!(),
        ", c.registration_access_token FROM authflow.clients c \
         WHERE c.client_id = $1 AND c.removed_at IS NULL AND c.registration_access_token IS NOT NULL"
    ),
    types: &[Type::TEXT],
};

static REPLACE_REGISTRATION: Statement = Statement {
    sql: "WITH replaced AS (UPDATE authflow.clients SET secret = $3, \
          retired_secret = CASE WHEN secret IS NOT DISTINCT FROM $3 THEN retired_secret END, \
          retired_until = CASE WHEN secret IS NOT DISTINCT FROM $3 THEN retired_until END, \
          profile = $4, generation = generation + $5 \
          WHERE client_id = $1 AND removed_at IS NULL AND registration_access_token = $2 RETURNING 1) \
          SELECT count(*) AS done FROM replaced",
    types: &[Type::TEXT, Type::BYTEA, Type::BYTEA, Type::JSONB, Type::INT4],
};

#[async_trait::async_trait]
impl ClientStore for PostgresStore {
    async fn add_client(&self, client: &Client) -> StoreResult<AddClient> {
        let rows = self.ask().write(&ADD, &Columns::of(client).params()).await?;
        Ok(added(&rows))
    }

    async fn register_client(&self, client: &Client, access_token: &TokenHash) -> StoreResult<AddClient> {
        let mut columns = Columns::of(client);
        columns.registration_access_token = Some(access_token.as_bytes());
        let rows = self.ask().write(&ADD, &columns.params()).await?;
        Ok(added(&rows))
    }

    async fn load_registration(&self, id: &ClientId) -> StoreResult<Option<ClientRegistration>> {
        let rows = self.ask().read(&LOAD_REGISTRATION, &[&id.as_str()]).await?;
        let Some(row) = rows.first() else {
            return Ok(None);
        };
        let access_token = optional_bytes(row, "registration_access_token")?;
        Ok(read(row)?
            .zip(access_token)
            .map(|(client, access_token)| ClientRegistration {
                client,
                access_token: TokenHash::from_bytes(access_token),
            }))
    }

    async fn replace_registration(&self, replacement: &ReplaceRegistration) -> StoreResult<bool> {
        let presented: &[u8] = replacement.access_token.as_bytes();
        let secret: Option<&[u8]> = replacement
            .secret
            .as_ref()
            .map(|secret| secret.as_bytes().as_slice());
        let raise = i32::from(replacement.ends_what_was_issued);
        let params: [&(dyn ToSql + Sync); 5] = [
            &replacement.client_id.as_str(),
            &presented,
            &secret,
            &Json(&replacement.profile),
            &raise,
        ];
        let rows = self.ask().write(&REPLACE_REGISTRATION, &params).await?;
        did_something(&rows)
    }

    async fn load_client(&self, id: &ClientId) -> StoreResult<Option<Arc<Client>>> {
        let rows = self.ask().read(&LOAD, &[&id.as_str()]).await?;
        rows.first().map_or(Ok(None), read)
    }

    async fn load_client_with_resources(
        &self,
        id: &ClientId,
        wanted: &[Resource],
    ) -> StoreResult<ClientWithResources> {
        let ask = self.ask();
        let rows = if wanted.is_empty() {
            ask.read(&LOAD_WITH_FIRST_TWO, &[&id.as_str()]).await?
        } else {
            let keys: Vec<&str> = wanted.iter().map(Resource::equivalence_key).collect();
            ask.read(&LOAD_WITH_WANTED, &[&id.as_str(), &keys]).await?
        };
        let mut found = ClientWithResources::default();
        for row in &rows {
            if found.client.is_none() {
                found.client = read(row)?;
            }
            found.resources.extend(resource::read(row)?.map(Arc::new));
        }
        Ok(found)
    }

    async fn list_clients(&self, after: Option<&ClientId>, limit: u32) -> StoreResult<Vec<Client>> {
        let after = after.map_or("", ClientId::as_str);
        let rows = self.ask().read(&LIST, &[&after, &i64::from(limit)]).await?;
        let read = rows.iter().map(read);
        read.filter_map(|client| client.map(|one| one.map(Arc::unwrap_or_clone)).transpose())
            .collect()
    }

    async fn remove_client(&self, id: &ClientId, now: Timestamp) -> StoreResult<bool> {
        let rows = self.ask().write(&REMOVE, &[&id.as_str(), &now.seconds()]).await?;
        did_something(&rows)
    }

    async fn revoke_client(&self, id: &ClientId) -> StoreResult<Option<u32>> {
        // Raising it twice when a connection was lost ends nothing more than raising it once.
        let (rows, _) = self.ask().write_again(&REVOKE, &[&id.as_str()]).await?;
        rows.first().map(|row| counter(row, "generation")).transpose()
    }

    async fn replace_client_secret(
        &self,
        id: &ClientId,
        secret: &TokenHash,
        old_until: Option<Timestamp>,
    ) -> StoreResult<bool> {
        let secret: &[u8] = secret.as_bytes();
        let old_until = old_until.map(Timestamp::seconds);
        let rows = self
            .ask()
            .write(&REPLACE_SECRET, &[&id.as_str(), &secret, &old_until])
            .await?;
        did_something(&rows)
    }
}

/// Adds a client as part of a transaction.
pub(crate) async fn add_within(
    transaction: &crate::ask::Transaction<'_>,
    client: &Client,
) -> StoreResult<AddClient> {
    let rows = transaction.rows(&ADD, &Columns::of(client).params()).await?;
    Ok(added(&rows))
}

fn added(rows: &[Row]) -> AddClient {
    if rows.is_empty() {
        AddClient::Taken
    } else {
        AddClient::Added
    }
}

/// A client in the form of its columns.
struct Columns<'a> {
    id: &'a str,
    generation: i32,
    secret: Option<&'a [u8]>,
    retired_secret: Option<&'a [u8]>,
    retired_until: Option<i64>,
    created_at: i64,
    expires_at: Option<i64>,
    introspects: Option<&'a str>,
    profile: Json<&'a mcp_authflow::record::ClientProfile>,
    registration_access_token: Option<&'a [u8]>,
}

impl<'a> Columns<'a> {
    fn of(client: &'a Client) -> Self {
        let retired = client.retired_secret.as_ref();
        Self {
            id: client.id.as_str(),
            generation: as_counter(client.generation),
            secret: client.secret.as_ref().map(|secret| secret.as_bytes().as_slice()),
            retired_secret: retired.map(|(secret, _)| secret.as_bytes().as_slice()),
            retired_until: retired.map(|(_, until)| until.seconds()),
            created_at: client.created_at.seconds(),
            expires_at: client.expires_at.map(Timestamp::seconds),
            introspects: client.profile.introspects.as_ref().map(Resource::equivalence_key),
            profile: Json(&client.profile),
            registration_access_token: None,
        }
    }

    fn params(&self) -> [&(dyn ToSql + Sync); 10] {
        [
            &self.id,
            &self.generation,
            &self.secret,
            &self.retired_secret,
            &self.retired_until,
            &self.created_at,
            &self.expires_at,
            &self.introspects,
            &self.profile,
            &self.registration_access_token,
        ]
    }
}

/// Reads the client of a row, if the row has one.
pub(crate) fn read(row: &Row) -> StoreResult<Option<Arc<Client>>> {
    if field::<Option<&str>>(row, "c_id")?.is_none() {
        return Ok(None);
    }
    let retired_secret = optional_bytes(row, "c_retired_secret")?.map(TokenHash::from_bytes);
    Ok(Some(Arc::new(Client {
        id: parsed(row, "c_id", ClientId::parse)?,
        generation: counter(row, "c_generation")?,
        secret: optional_bytes(row, "c_secret")?.map(TokenHash::from_bytes),
        retired_secret: retired_secret.zip(optional_moment(row, "c_retired_until")?),
        created_at: moment(row, "c_created_at")?,
        expires_at: optional_moment(row, "c_expires_at")?,
        profile: document(row, "c_profile")?,
    })))
}
