//! Grants and their authorization codes.

use std::{collections::HashMap, net::IpAddr};

use mcp_authflow::{
    port::store::{
        CodePeek, GrantQuery, GrantStore, GrantSummary, GrantWithStanding, LastUse, NewTokens, RedeemCode,
        Standing, StoreResult,
    },
    record::{CodeBinding, Grant, GrantId, GrantedResource},
};
use mcp_authflow_types::{ClientId, CodeChallenge, Resource, Timestamp, TokenHash};
use rusqlite::{Connection, OptionalExtension as _, Row, named_params, types::FromSql as _};

use crate::{
    SqliteStore, client,
    signing_key::Named,
    sql::{Json, Text, in_one_snapshot, moment, moment_if_any, statements},
    token,
};

/// A grant `g` with its client `c` and its subject `s`.
macro_rules! grant_with_its_own {
    () => {
        "grants g JOIN clients c ON c.number = g.client LEFT JOIN subjects s ON s.subject = g.subject"
    };
}
pub(crate) use grant_with_its_own;

/// Whether that grant still stands, expiry aside.
macro_rules! stands {
    () => {
        "(g.revoked_at IS NULL AND NOT c.is_removed AND c.generation = g.client_generation
            AND coalesce(s.generation, 0) = g.subject_generation AND s.disabled_at IS NULL)"
    };
}
pub(crate) use stands;

/// Under which number a resource of that grant was registered on approval; NULL where it was not.
macro_rules! resource_number {
    () => {
        "(SELECT j.value FROM json_each(g.registrations) j WHERE j.key = :resource_key)"
    };
}
pub(crate) use resource_number;

/// Whether the registration has not ended under which that resource was approved.
macro_rules! resource_stands {
    () => {
        "NOT EXISTS (SELECT 1 FROM json_each(g.registrations) j
            WHERE j.key = :resource_key AND NOT EXISTS (SELECT 1 FROM resources r WHERE r.number = j.value))"
    };
}
pub(crate) use resource_stands;

/// The columns by which [`grant_with_standing`] tells what of that grant stands.
macro_rules! standing_columns {
    () => {
        concat!(
            $crate::grant::stands!(),
            " AS stands, g.registrations, (SELECT json_group_object(r.key, r.jwt_algorithm) FROM json_each(g.registrations) j
                JOIN resources r ON r.number = j.value) AS registered"
        )
    };
}
pub(crate) use standing_columns;

/// The columns of a grant, as [`grant`] reads them.
macro_rules! grant_columns {
    () => {
        "g.id AS grant_id, c.id AS client_id, g.client_generation, g.subject, g.subject_generation, g.username,
            g.resources, g.offline_access, g.created_at, g.expires_at AS grant_expires_at, g.code_hash,
            g.code_expires_at, g.redirect_uri, g.code_challenge, g.redeemed_at, g.revoked_at"
    };
}
pub(crate) use grant_columns;

/// The columns of a listed grant, as [`summary`] reads them.
macro_rules! listed_columns {
    () => {
        concat!(
            grant_columns!(),
            ", ",
            standing_columns!(),
            ", g.last_used_at, g.last_used_from"
        )
    };
}

/// Whether that grant is one of those asked for.
macro_rules! is_listed {
    () => {
        concat!(
            "g.expires_at > :now AND (:client_id IS NULL OR c.id = :client_id)
            AND (NOT :only_connected OR (g.redeemed_at IS NOT NULL AND ",
            stands!(),
            "))"
        )
    };
}

statements! {
    /// Nothing is stored when client or subject are no longer what they were.
    ADD = "INSERT INTO grants (id, client, client_generation, subject, subject_generation, username, resources,
            registrations, offline_access, created_at, expires_at, code_hash, code_expires_at, redirect_uri,
            code_challenge, redeemed_at, revoked_at, purge_at)
        SELECT :id, c.number, c.generation, :subject, coalesce(s.generation, 0), :username, :resources,
            (SELECT json_group_object(r.key, r.number) FROM json_each(:resource_keys) j
                JOIN resources r ON r.key = j.value),
            :offline_access, :created_at, :expires_at, :code_hash, :code_expires_at, :redirect_uri, :code_challenge,
            :redeemed_at, :revoked_at,
            iif(:redeemed_at IS NULL, min(:code_expires_at, :expires_at), :expires_at)
        FROM clients c LEFT JOIN subjects s ON s.subject = :subject
        WHERE c.id = :client_id AND NOT c.is_removed AND c.generation = :client_generation
            AND (c.expires_at IS NULL OR c.expires_at > :now)
            AND s.disabled_at IS NULL
            AND (:known_generation IS NULL OR coalesce(s.generation, 0) = :known_generation)";
    PEEK_CODE = concat!(
        "SELECT ", grant_columns!(), ", ", standing_columns!(), " FROM ", grant_with_its_own!(),
        " WHERE g.code_hash = :code");
    REDEEM = concat!(
        "UPDATE grants SET redeemed_at = :now, purge_at = expires_at, last_used_at = :now, last_used_from = :address
        WHERE redeemed_at IS NULL AND id = (SELECT g.id FROM ", grant_with_its_own!(),
        " WHERE g.code_hash = :code AND g.code_expires_at > :now AND g.expires_at > :now AND ", stands!(),
        " AND ", resource_stands!(), ")");
    IS_REDEEMED = concat!(
        "SELECT EXISTS (SELECT 1 FROM ", grant_with_its_own!(),
        " WHERE g.code_hash = :code AND g.redeemed_at IS NOT NULL AND g.expires_at > :now AND ", stands!(), ")");
    REVOKE = "UPDATE grants SET revoked_at = :now WHERE id = :id AND revoked_at IS NULL";
    REVOKE_OF_CLIENT = "UPDATE grants SET revoked_at = :now
        WHERE subject = :subject AND client = (SELECT number FROM clients WHERE id = :client_id) AND revoked_at IS NULL";
    REVOKE_SUBJECT = "INSERT INTO subjects (subject, generation) VALUES (:subject, 1)
        ON CONFLICT (subject) DO UPDATE SET generation = generation + 1
        RETURNING generation";
    CANDIDATES = concat!(
        "SELECT ", grant_columns!(), ", ", standing_columns!(), " FROM ", grant_with_its_own!(),
        " WHERE g.subject = :subject AND g.created_at >= :since AND c.id = :client_id
            AND g.redeemed_at IS NOT NULL AND g.expires_at > :now AND ", stands!(),
        " ORDER BY g.created_at DESC");
    /// In the transaction of a rotation. Nothing is written where what is kept is as good: see `LastUse::PRECISION`.
    USE = "UPDATE grants SET last_used_at = :now, last_used_from = :address WHERE id = :id
        AND (last_used_at IS NULL OR last_used_at <= :now - :precision OR last_used_from IS NOT :address)";
    LIST_OF_SUBJECT = concat!(
        "SELECT ", listed_columns!(), " FROM ", grant_with_its_own!(),
        " WHERE g.subject = :subject AND ", is_listed!(),
        " AND (:after_id IS NULL OR (g.created_at, g.id) < (:after_created_at, :after_id))
        ORDER BY g.created_at DESC, g.id DESC LIMIT :limit");
    LIST_ALL = concat!(
        "SELECT ", listed_columns!(), " FROM ", grant_with_its_own!(),
        " WHERE g.id > coalesce(:after_id, x'') AND ", is_listed!(), " ORDER BY g.id LIMIT :limit");
}

fn grant(row: &Row<'_>) -> rusqlite::Result<Grant> {
    let Text(client_id) = row.get("client_id")?;
    let Json(resources) = row.get("resources")?;
    Ok(Grant {
        id: GrantId::from_bytes(row.get("grant_id")?),
        client_id,
        client_generation: row.get("client_generation")?,
        subject: row.get("subject")?,
        subject_generation: row.get("subject_generation")?,
        username: row.get("username")?,
        resources,
        offline_access: row.get("offline_access")?,
        created_at: moment(row, "created_at")?,
        expires_at: moment(row, "grant_expires_at")?,
        code: CodeBinding {
            hash: TokenHash::from_bytes(row.get("code_hash")?),
            expires_at: moment(row, "code_expires_at")?,
            redirect_uri: row.get("redirect_uri")?,
            code_challenge: challenge(&row.get::<_, Vec<u8>>("code_challenge")?),
            redeemed_at: moment_if_any(row, "redeemed_at")?,
        },
        revoked_at: moment_if_any(row, "revoked_at")?,
    })
}

/// A challenge as it is kept: empty for a device code, which has none.
fn challenge(kept: &[u8]) -> Option<CodeChallenge> {
    kept.try_into().ok().map(CodeChallenge::from_bytes)
}

/// Reads a grant with what of it stands.
pub(crate) fn grant_with_standing(
    row: &Row<'_>,
    resource_may_be_unregistered: bool,
) -> rusqlite::Result<GrantWithStanding> {
    let grant = grant(row)?;
    let Json::<HashMap<String, i64>>(registrations) = row.get("registrations")?;
    let Json::<HashMap<String, Option<String>>>(registered) = row.get("registered")?;
    let is_gone = |resource: &Resource| {
        let key = resource.equivalence_key();
        if registrations.contains_key(key) {
            !registered.contains_key(key)
        } else {
            !(resource_may_be_unregistered && resource.is_loopback())
        }
    };
    let resources = grant.resources.iter().map(|one| &one.resource);
    let gone = resources.clone().filter(|one| is_gone(one)).cloned().collect();
    let mut signed = Vec::new();
    for one in resources {
        if let Some(Some(name)) = registered.get(one.equivalence_key()) {
            let Named(algorithm) = Named::column_result(name.as_str().into())?;
            signed.push((one.clone(), algorithm));
        }
    }
    Ok(GrantWithStanding {
        grant,
        standing: if row.get("stands")? {
            Standing::Live
        } else {
            Standing::Ended
        },
        gone,
        signed,
    })
}

/// Stores an approved grant; answers false when client or subject are no longer what they were.
pub(crate) fn add(
    connection: &Connection,
    grant: &Grant,
    known_generation: Option<u32>,
    now: Timestamp,
) -> rusqlite::Result<bool> {
    let resources = grant.resources.iter();
    let keys: Vec<&str> = resources.map(|one| one.resource.equivalence_key()).collect();
    let added = connection.prepare_cached(ADD)?.execute(named_params! {
        ":id": grant.id.as_bytes(),
        ":client_id": grant.client_id.as_str(),
        ":client_generation": grant.client_generation,
        ":subject": grant.subject,
        ":known_generation": known_generation,
        ":username": grant.username,
        ":resources": Json(&grant.resources),
        ":resource_keys": Json(&keys),
        ":offline_access": grant.offline_access,
        ":created_at": grant.created_at.seconds(),
        ":expires_at": grant.expires_at.seconds(),
        ":code_hash": grant.code.hash.as_bytes(),
        ":code_expires_at": grant.code.expires_at.seconds(),
        ":redirect_uri": grant.code.redirect_uri,
        ":code_challenge": grant.code.code_challenge.as_ref().map_or(&[][..], |challenge| challenge.as_bytes()),
        ":redeemed_at": grant.code.redeemed_at.map(Timestamp::seconds),
        ":revoked_at": grant.revoked_at.map(Timestamp::seconds),
        ":now": now.seconds(),
    })?;
    Ok(added == 1)
}

fn redeem(
    connection: &Connection,
    code: &TokenHash,
    tokens: &NewTokens,
    now: Timestamp,
) -> rusqlite::Result<RedeemCode> {
    let redeemed = connection.prepare_cached(REDEEM)?.execute(named_params! {
        ":code": code.as_bytes(),
        ":resource_key": tokens.access_token.resource.equivalence_key(),
        ":address": as_text(tokens.address),
        ":now": now.seconds(),
    })?;
    if redeemed == 0 {
        let key = named_params! {":code": code.as_bytes(), ":now": now.seconds()};
        let is_redeemed = connection
            .prepare_cached(IS_REDEEMED)?
            .query_row(key, |row| row.get(0))?;
        return Ok(if is_redeemed {
            RedeemCode::Replayed
        } else {
            RedeemCode::Gone
        });
    }
    token::add(
        connection,
        &tokens.access_token,
        tokens.refresh_token.as_ref(),
        now,
    )?;
    Ok(RedeemCode::Redeemed)
}

/// Notes that tokens of a grant went to an address.
pub(crate) fn note_use(
    connection: &Connection,
    grant: GrantId,
    address: Option<IpAddr>,
    now: Timestamp,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(USE)?
        .execute(named_params! {
            ":id": grant.as_bytes(),
            ":address": as_text(address),
            ":precision": i64::try_from(LastUse::PRECISION.as_secs()).unwrap_or(i64::MAX),
            ":now": now.seconds(),
        })
        .map(drop)
}

fn as_text(address: Option<IpAddr>) -> Option<String> {
    address.map(|address| address.to_string())
}

/// Reads a listed grant. One that was redeemed before uses were kept was used then at the latest.
fn summary(row: &Row<'_>) -> rusqlite::Result<GrantSummary> {
    let GrantWithStanding { grant, standing, .. } = grant_with_standing(row, false)?;
    let at = moment_if_any(row, "last_used_at")?.or(grant.code.redeemed_at);
    let from: Option<Text<IpAddr>> = row.get("last_used_from")?;
    Ok(GrantSummary {
        grant,
        standing,
        last_used: at.map(|at| LastUse {
            at,
            address: from.map(|Text(address)| address),
        }),
    })
}

#[async_trait::async_trait]
impl GrantStore for SqliteStore {
    async fn peek_code(
        &self,
        code: &TokenHash,
        client: &ClientId,
        resource_may_be_unregistered: bool,
    ) -> StoreResult<CodePeek> {
        let (code, client) = (*code, client.clone());
        self.read(move |connection| {
            in_one_snapshot(connection, |connection| {
                let grant = connection
                    .prepare_cached(PEEK_CODE)?
                    .query_row(named_params! {":code": code.as_bytes()}, |row| {
                        grant_with_standing(row, resource_may_be_unregistered)
                    })
                    .optional()?;
                Ok(CodePeek {
                    client: client::load(connection, &client)?,
                    grant,
                })
            })
        })
        .await
    }

    async fn redeem_code(
        &self,
        code: &TokenHash,
        tokens: &NewTokens,
        now: Timestamp,
    ) -> StoreResult<RedeemCode> {
        let (code, tokens) = (*code, tokens.clone());
        self.write(move |connection| redeem(connection, &code, &tokens, now))
            .await
    }

    async fn revoke_grant(&self, grant: GrantId, now: Timestamp) -> StoreResult<bool> {
        self.write(move |connection| {
            let revoked = connection.prepare_cached(REVOKE)?.execute(named_params! {
                ":id": grant.as_bytes(),
                ":now": now.seconds(),
            })?;
            Ok(revoked == 1)
        })
        .await
    }

    async fn revoke_client_grants(
        &self,
        subject: &str,
        client: &ClientId,
        now: Timestamp,
    ) -> StoreResult<u64> {
        let (subject, client) = (subject.to_owned(), client.clone());
        self.write(move |connection| {
            let ended = connection
                .prepare_cached(REVOKE_OF_CLIENT)?
                .execute(named_params! {
                    ":subject": subject,
                    ":client_id": client.as_str(),
                    ":now": now.seconds(),
                })?;
            Ok(ended as u64)
        })
        .await
    }

    async fn revoke_subject(&self, subject: &str) -> StoreResult<u32> {
        let subject = subject.to_owned();
        self.write(move |connection| {
            connection
                .prepare_cached(REVOKE_SUBJECT)?
                .query_row(named_params! {":subject": subject}, |row| row.get(0))
        })
        .await
    }

    async fn is_covered(
        &self,
        subject: &str,
        client: &ClientId,
        resources: &[GrantedResource],
        offline_access: bool,
        since: Timestamp,
        now: Timestamp,
    ) -> StoreResult<bool> {
        let (subject, client, resources) = (subject.to_owned(), client.clone(), resources.to_vec());
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(CANDIDATES)?;
            let mut rows = statement.query(named_params! {
                ":subject": subject,
                ":client_id": client.as_str(),
                ":since": since.seconds(),
                ":now": now.seconds(),
            })?;
            while let Some(row) = rows.next()? {
                let GrantWithStanding { mut grant, gone, .. } = grant_with_standing(row, false)?;
                grant.resources.retain(|one| !gone.contains(&one.resource));
                if grant.covers(&resources, offline_access) {
                    return Ok(true);
                }
            }
            Ok(false)
        })
        .await
    }

    async fn list_grants(
        &self,
        query: &GrantQuery,
        limit: u32,
        now: Timestamp,
    ) -> StoreResult<Vec<GrantSummary>> {
        let query = query.clone();
        self.read(move |connection| {
            let client = query.client.as_ref().map(ClientId::as_str);
            let after_id = query.after.as_ref().map(|(_, id)| id.as_bytes());
            let Some(subject) = &query.subject else {
                return connection
                    .prepare_cached(LIST_ALL)?
                    .query_map(
                        named_params! {
                            ":client_id": client,
                            ":only_connected": query.only_connected,
                            ":after_id": after_id,
                            ":now": now.seconds(),
                            ":limit": limit,
                        },
                        summary,
                    )?
                    .collect();
            };
            connection
                .prepare_cached(LIST_OF_SUBJECT)?
                .query_map(
                    named_params! {
                        ":subject": subject,
                        ":client_id": client,
                        ":only_connected": query.only_connected,
                        ":after_created_at": query.after.map(|(created_at, _)| created_at.seconds()),
                        ":after_id": after_id,
                        ":now": now.seconds(),
                        ":limit": limit,
                    },
                    summary,
                )?
                .collect()
        })
        .await
    }
}
