//! Sessions of local accounts.

use mcp_authflow::{
    port::store::{SessionStore, StoreResult},
    record::{Session, User, UserId},
};
use mcp_authflow_types::{Timestamp, TokenHash};
use rusqlite::{Connection, OptionalExtension as _, Row, named_params};

use crate::{
    SqliteStore,
    sql::{moment, statements},
    user,
};

statements! {
    BEGIN = "INSERT INTO sessions (hash, user_id, subject_generation, authenticated_at, last_seen_at, expires_at)
        SELECT :hash, u.id, s.generation, :authenticated_at, :last_seen_at, :expires_at
        FROM users u JOIN subjects s ON s.subject = u.id
        WHERE u.id = :user_id AND s.disabled_at IS NULL AND (:verified IS NULL OR u.password_hash = :verified)";
    MOVE_INTERACTIONS = "UPDATE interactions SET browser = :hash WHERE browser = :replaced AND closed_at IS NULL";
    LOAD = "SELECT h.subject_generation, h.authenticated_at, h.last_seen_at, h.expires_at, u.*, s.disabled_at
        FROM sessions h JOIN users u ON u.id = h.user_id JOIN subjects s ON s.subject = h.user_id
        WHERE h.hash = :hash AND s.generation = h.subject_generation AND s.disabled_at IS NULL";
    TOUCH = "UPDATE sessions SET last_seen_at = :now WHERE hash = :hash";
    END = "DELETE FROM sessions WHERE hash = :hash";
    END_OF_USER = "DELETE FROM sessions WHERE user_id = :user_id";
}

fn begin(
    connection: &Connection,
    session: &Session,
    verified: Option<&str>,
    replacing: Option<&TokenHash>,
) -> rusqlite::Result<bool> {
    let begun = connection.prepare_cached(BEGIN)?.execute(named_params! {
        ":hash": session.hash.as_bytes(),
        ":user_id": UserId::as_str(&session.user),
        ":verified": verified,
        ":authenticated_at": session.authenticated_at.seconds(),
        ":last_seen_at": session.last_seen_at.seconds(),
        ":expires_at": session.expires_at.seconds(),
    })?;
    if begun == 0 {
        return Ok(false);
    }
    if let Some(replaced) = replacing {
        end(connection, replaced)?;
        connection
            .prepare_cached(MOVE_INTERACTIONS)?
            .execute(named_params! {
                ":hash": session.hash.as_bytes(),
                ":replaced": replaced.as_bytes(),
            })?;
    }
    Ok(true)
}

fn end(connection: &Connection, hash: &TokenHash) -> rusqlite::Result<()> {
    connection
        .prepare_cached(END)?
        .execute(named_params! {":hash": hash.as_bytes()})
        .map(drop)
}

fn session_with_user(row: &Row<'_>, hash: TokenHash) -> rusqlite::Result<(Session, User)> {
    let user = user::user(row)?;
    let session = Session {
        hash,
        user: user.id.clone(),
        subject_generation: row.get("subject_generation")?,
        authenticated_at: moment(row, "authenticated_at")?,
        last_seen_at: moment(row, "last_seen_at")?,
        expires_at: moment(row, "expires_at")?,
    };
    Ok((session, user))
}

#[async_trait::async_trait]
impl SessionStore for SqliteStore {
    async fn begin_session(
        &self,
        session: &Session,
        verified: Option<&str>,
        replacing: Option<&TokenHash>,
    ) -> StoreResult<bool> {
        let (session, replacing) = (session.clone(), replacing.copied());
        let verified = verified.map(str::to_owned);
        self.write(move |connection| begin(connection, &session, verified.as_deref(), replacing.as_ref()))
            .await
    }

    async fn load_session(&self, hash: &TokenHash) -> StoreResult<Option<(Session, User)>> {
        let hash = *hash;
        self.read(move |connection| {
            connection
                .prepare_cached(LOAD)?
                .query_row(named_params! {":hash": hash.as_bytes()}, |row| {
                    session_with_user(row, hash)
                })
                .optional()
        })
        .await
    }

    async fn touch_session(&self, hash: &TokenHash, now: Timestamp) -> StoreResult<()> {
        let hash = *hash;
        self.write(move |connection| {
            connection
                .prepare_cached(TOUCH)?
                .execute(named_params! {":hash": hash.as_bytes(), ":now": now.seconds()})
                .map(drop)
        })
        .await
    }

    async fn end_session(&self, hash: &TokenHash) -> StoreResult<()> {
        let hash = *hash;
        self.write(move |connection| end(connection, &hash)).await
    }

    async fn end_sessions_of(&self, user: &UserId) -> StoreResult<u64> {
        let user = user.clone();
        self.write(move |connection| {
            let ended = connection
                .prepare_cached(END_OF_USER)?
                .execute(named_params! {":user_id": UserId::as_str(&user)})?;
            Ok(ended as u64)
        })
        .await
    }
}
