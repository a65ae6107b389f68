//! Access tokens and refresh tokens.

use mcp_authflow::{
    port::store::{
        AccessTokenPeek, IssueAccessToken, LiveAccessToken, RefreshTokenPeek, RefreshTokenWithGrant,
        RotateRefreshToken, Rotation, StoreResult, TokenStore,
    },
    record::{AccessTokenRecord, GrantId, RefreshTokenRecord},
};
use mcp_authflow_types::{ClientId, Resource, Timestamp, TokenHash, secret::ExpiryBucket};
use rusqlite::{Connection, OptionalExtension as _, Row, named_params};

use crate::{
    SqliteStore, client,
    grant::{
        grant_columns, grant_with_its_own, grant_with_standing, note_use, resource_number, resource_stands,
        standing_columns, stands,
    },
    sql::{Text, in_one_snapshot, moment, moment_if_any, statements},
};

statements! {
    /// Without a grant the client is checked; with one, whoever adds it has checked the grant.
    ADD_ACCESS_TOKEN = concat!("INSERT INTO access_tokens (bucket, hash, grant_id, client, client_generation, subject,
            resource, resource_number, scope, issued_at, expires_at)
        SELECT :bucket, :hash, :grant_id, c.number, :client_generation, nullif(:subject, coalesce(g.subject, c.id)),
            :resource, iif(g.id IS NULL, (SELECT r.number FROM resources r WHERE r.key = :resource_key), ",
        resource_number!(), "), :scope, :issued_at, :expires_at
        FROM clients c LEFT JOIN grants g ON g.id = :grant_id
        WHERE c.id = :client_id AND (g.id IS NOT NULL OR (
            :grant_id IS NULL AND NOT c.is_removed AND c.generation = :client_generation
            AND (c.expires_at IS NULL OR c.expires_at > :now)))");
    PEEK_ACCESS_TOKEN = concat!(
        "SELECT t.grant_id, c.id AS client_id, t.client_generation, coalesce(t.subject, g.subject, c.id) AS subject,
            t.resource, t.resource_number IS NOT NULL AS had_registration, t.scope, t.issued_at, t.expires_at,
            g.username
        FROM access_tokens t JOIN clients c ON c.number = t.client
            LEFT JOIN grants g ON g.id = t.grant_id LEFT JOIN subjects s ON s.subject = g.subject
        WHERE t.bucket = :bucket AND t.hash = :hash
            AND NOT c.is_removed AND c.generation = t.client_generation
            AND (t.grant_id IS NULL OR (g.id IS NOT NULL AND ", stands!(), "))
            AND (t.resource_number IS NULL
                OR EXISTS (SELECT 1 FROM resources r WHERE r.number = t.resource_number))");
    REVOKE_ACCESS_TOKEN = "DELETE FROM access_tokens WHERE bucket = :bucket AND hash = :hash";
    ADD_REFRESH_TOKEN = "INSERT INTO refresh_tokens (bucket, hash, grant_id, issued_at, expires_at)
        VALUES (:bucket, :hash, :grant_id, :issued_at, :expires_at)";
    PEEK_REFRESH_TOKEN = concat!(
        "SELECT t.issued_at, t.expires_at, t.spent_at, ", grant_columns!(), ", ", standing_columns!(),
        " FROM refresh_tokens t JOIN ", grant_with_its_own!(),
        " WHERE t.bucket = :bucket AND t.hash = :hash AND g.id = t.grant_id");
    ROTATE = concat!(
        "UPDATE refresh_tokens AS t SET spent_at = :now, successor = :successor, sealed = :sealed
        WHERE t.bucket = :bucket AND t.hash = :hash AND t.grant_id = :grant_id
            AND t.spent_at IS NULL AND t.expires_at > :now
            AND EXISTS (SELECT 1 FROM ", grant_with_its_own!(),
        " WHERE g.id = :grant_id AND g.expires_at > :now AND ", stands!(), " AND ", resource_stands!(), ")");
    /// A spent token of a grant that stands.
    SPENT = concat!(
        "SELECT t.spent_at, t.sealed, EXISTS (SELECT 1 FROM refresh_tokens n WHERE n.bucket = t.bucket
            AND n.hash = t.successor AND n.spent_at IS NOT NULL) AS successor_is_spent
        FROM refresh_tokens t JOIN ", grant_with_its_own!(),
        " WHERE t.bucket = :bucket AND t.hash = :hash AND t.grant_id = :grant_id AND t.spent_at IS NOT NULL
            AND g.id = t.grant_id AND g.expires_at > :now AND ", stands!());
}

/// Stores an access token; answers false when its client (or its grant) is not what it was.
pub(crate) fn add_access_token(
    connection: &Connection,
    token: &AccessTokenRecord,
    now: Timestamp,
) -> rusqlite::Result<bool> {
    let added = connection
        .prepare_cached(ADD_ACCESS_TOKEN)?
        .execute(named_params! {
            ":bucket": token.bucket,
            ":hash": token.hash.as_bytes(),
            ":grant_id": token.grant.as_ref().map(GrantId::as_bytes),
            ":client_id": token.client_id.as_str(),
            ":client_generation": token.client_generation,
            ":subject": token.subject,
            ":resource": token.resource.as_str(),
            ":resource_key": token.resource.equivalence_key(),
            ":scope": token.scope.to_string(),
            ":issued_at": token.issued_at.seconds(),
            ":expires_at": token.expires_at.seconds(),
            ":now": now.seconds(),
        })?;
    Ok(added == 1)
}

/// Stores the tokens of one answer beneath a grant that was found standing in the same transaction.
pub(crate) fn add(
    connection: &Connection,
    access_token: &AccessTokenRecord,
    refresh_token: Option<&RefreshTokenRecord>,
    now: Timestamp,
) -> rusqlite::Result<()> {
    if !add_access_token(connection, access_token, now)? {
        // The grant was there a moment ago. An error undoes the whole step.
        return Err(rusqlite::Error::StatementChangedRows(0));
    }
    refresh_token.map_or(Ok(()), |token| add_refresh_token(connection, token))
}

/// Stores a refresh token beneath a grant that was found standing in the same transaction.
pub(crate) fn add_refresh_token(connection: &Connection, token: &RefreshTokenRecord) -> rusqlite::Result<()> {
    connection
        .prepare_cached(ADD_REFRESH_TOKEN)?
        .execute(named_params! {
            ":bucket": token.bucket,
            ":hash": token.hash.as_bytes(),
            ":grant_id": token.grant.as_bytes(),
            ":issued_at": token.issued_at.seconds(),
            ":expires_at": token.expires_at.seconds(),
        })
        .map(drop)
}

/// Reads an access token, unless its resource had no registration and needs one.
fn live_access_token(
    row: &Row<'_>,
    hash: TokenHash,
    bucket: ExpiryBucket,
    resource_may_be_unregistered: bool,
) -> rusqlite::Result<Option<LiveAccessToken>> {
    let grant: Option<[u8; 16]> = row.get("grant_id")?;
    let (Text(client_id), Text::<Resource>(resource), Text(scope)) =
        (row.get("client_id")?, row.get("resource")?, row.get("scope")?);
    let stands: bool =
        row.get("had_registration")? || (resource_may_be_unregistered && resource.is_loopback());
    if !stands {
        return Ok(None);
    }
    Ok(Some(LiveAccessToken {
        record: AccessTokenRecord {
            hash,
            bucket,
            grant: grant.map(GrantId::from_bytes),
            client_id,
            client_generation: row.get("client_generation")?,
            subject: row.get("subject")?,
            resource,
            scope,
            issued_at: moment(row, "issued_at")?,
            expires_at: moment(row, "expires_at")?,
        },
        username: row.get("username")?,
    }))
}

fn refresh_token(
    row: &Row<'_>,
    hash: TokenHash,
    bucket: ExpiryBucket,
    resource_may_be_unregistered: bool,
) -> rusqlite::Result<RefreshTokenWithGrant> {
    let grant = grant_with_standing(row, resource_may_be_unregistered)?;
    Ok(RefreshTokenWithGrant {
        token: RefreshTokenRecord {
            hash,
            bucket,
            grant: grant.grant.id,
            issued_at: moment(row, "issued_at")?,
            expires_at: moment(row, "expires_at")?,
        },
        spent_at: moment_if_any(row, "spent_at")?,
        grant,
    })
}

fn rotate(
    connection: &Connection,
    rotation: &Rotation,
    now: Timestamp,
) -> rusqlite::Result<RotateRefreshToken> {
    let rotated = connection.prepare_cached(ROTATE)?.execute(named_params! {
        ":bucket": rotation.bucket,
        ":hash": rotation.presented.as_bytes(),
        ":grant_id": rotation.grant.as_bytes(),
        ":successor": rotation.successor.hash.as_bytes(),
        ":sealed": rotation.sealed,
        ":resource_key": rotation.access_token.resource.equivalence_key(),
        ":now": now.seconds(),
    })?;
    if rotated == 1 {
        add(connection, &rotation.access_token, Some(&rotation.successor), now)?;
        note_use(connection, rotation.grant, rotation.address, now)?;
        return Ok(RotateRefreshToken::Rotated);
    }
    let key = named_params! {
        ":bucket": rotation.bucket,
        ":hash": rotation.presented.as_bytes(),
        ":grant_id": rotation.grant.as_bytes(),
        ":now": now.seconds(),
    };
    let judge = |row: &Row<'_>| {
        let in_window = now.since(moment(row, "spent_at")?) < rotation.retry_window;
        Ok(if in_window && !row.get("successor_is_spent")? {
            RotateRefreshToken::Retried {
                sealed: row.get("sealed")?,
            }
        } else {
            RotateRefreshToken::Reused
        })
    };
    let spent = connection
        .prepare_cached(SPENT)?
        .query_row(key, judge)
        .optional()?;
    Ok(spent.unwrap_or(RotateRefreshToken::Gone))
}

#[async_trait::async_trait]
impl TokenStore for SqliteStore {
    async fn issue_access_token(
        &self,
        token: &AccessTokenRecord,
        now: Timestamp,
    ) -> StoreResult<IssueAccessToken> {
        let token = token.clone();
        self.write(move |connection| {
            Ok(if add_access_token(connection, &token, now)? {
                IssueAccessToken::Issued
            } else {
                IssueAccessToken::Gone
            })
        })
        .await
    }

    async fn peek_access_token(
        &self,
        token: &TokenHash,
        bucket: ExpiryBucket,
        client: &ClientId,
        resource_may_be_unregistered: bool,
    ) -> StoreResult<AccessTokenPeek> {
        let (token, client) = (*token, client.clone());
        self.read(move |connection| {
            let key = named_params! {
                ":bucket": bucket,
                ":hash": token.as_bytes(),
            };
            in_one_snapshot(connection, |connection| {
                Ok(AccessTokenPeek {
                    client: client::load(connection, &client)?,
                    token: connection
                        .prepare_cached(PEEK_ACCESS_TOKEN)?
                        .query_row(key, |row| {
                            live_access_token(row, token, bucket, resource_may_be_unregistered)
                        })
                        .optional()?
                        .flatten(),
                })
            })
        })
        .await
    }

    async fn revoke_access_token(&self, token: &TokenHash, bucket: ExpiryBucket) -> StoreResult<bool> {
        let token = *token;
        self.write(move |connection| {
            let key = named_params! {":bucket": bucket, ":hash": token.as_bytes()};
            Ok(connection.prepare_cached(REVOKE_ACCESS_TOKEN)?.execute(key)? == 1)
        })
        .await
    }

    async fn peek_refresh_token(
        &self,
        token: &TokenHash,
        bucket: ExpiryBucket,
        client: &ClientId,
        resource_may_be_unregistered: bool,
    ) -> StoreResult<RefreshTokenPeek> {
        let (token, client) = (*token, client.clone());
        self.read(move |connection| {
            let key = named_params! {":bucket": bucket, ":hash": token.as_bytes()};
            in_one_snapshot(connection, |connection| {
                Ok(RefreshTokenPeek {
                    client: client::load(connection, &client)?,
                    token: connection
                        .prepare_cached(PEEK_REFRESH_TOKEN)?
                        .query_row(key, |row| {
                            refresh_token(row, token, bucket, resource_may_be_unregistered)
                        })
                        .optional()?,
                })
            })
        })
        .await
    }

    async fn rotate_refresh_token(
        &self,
        rotation: &Rotation,
        now: Timestamp,
    ) -> StoreResult<RotateRefreshToken> {
        let rotation = rotation.clone();
        self.write(move |connection| rotate(connection, &rotation, now))
            .await
    }
}
