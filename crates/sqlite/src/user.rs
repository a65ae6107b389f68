//! Local accounts.

use mcp_authflow::{
    port::store::{AddUser, StoreResult, UserStore},
    record::{User, UserId},
};
use mcp_authflow_types::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Row, named_params};

use crate::{
    SqliteStore,
    sql::{moment, moment_if_any, statements},
};

statements! {
    ADD = "INSERT INTO users (id, username, display_name, password_hash, is_admin, created_at)
        SELECT :id, :username, :display_name, :password_hash, :is_admin, :created_at
        WHERE NOT :only_as_first OR NOT EXISTS (SELECT 1 FROM users)
        ON CONFLICT (username) DO NOTHING";
    /// Whether an account is disabled is known of its subject, where every other question about it is asked.
    ADD_SUBJECT = "INSERT INTO subjects (subject, generation, disabled_at) VALUES (:id, 0, :disabled_at)
        ON CONFLICT (subject) DO UPDATE SET disabled_at = excluded.disabled_at";
    ANY = "SELECT EXISTS (SELECT 1 FROM users)";
    LOAD = "SELECT u.*, s.disabled_at FROM users u JOIN subjects s ON s.subject = u.id
        WHERE u.username = :username";
    LIST = "SELECT u.*, s.disabled_at FROM users u JOIN subjects s ON s.subject = u.id
        WHERE :after IS NULL OR u.username > :after ORDER BY u.username LIMIT :limit";
    SET_DISABLED = "UPDATE subjects SET generation = generation + :disabled, disabled_at = iif(:disabled, :now, NULL)
        WHERE subject = (SELECT id FROM users WHERE username = :username)";
    SET_PASSWORD = "UPDATE users SET password_hash = :password_hash WHERE id = :id";
    END_SESSIONS = "DELETE FROM sessions WHERE user_id = :id";
}

/// Reads an account whose row has `disabled_at` of its subject.
pub(crate) fn user(row: &Row<'_>) -> rusqlite::Result<User> {
    let id: String = row.get("id")?;
    Ok(User {
        id: UserId::from_stored(&id),
        username: row.get("username")?,
        display_name: row.get("display_name")?,
        password_hash: row.get("password_hash")?,
        is_admin: row.get("is_admin")?,
        created_at: moment(row, "created_at")?,
        disabled_at: moment_if_any(row, "disabled_at")?,
    })
}

fn any(connection: &Connection) -> rusqlite::Result<bool> {
    connection.prepare_cached(ANY)?.query_row([], |row| row.get(0))
}

fn add(connection: &Connection, user: &User, only_as_first: bool) -> rusqlite::Result<AddUser> {
    let added = connection.prepare_cached(ADD)?.execute(named_params! {
        ":id": user.id.as_str(),
        ":username": user.username,
        ":display_name": user.display_name,
        ":password_hash": user.password_hash,
        ":is_admin": user.is_admin,
        ":created_at": user.created_at.seconds(),
        ":only_as_first": only_as_first,
    })?;
    if added == 0 {
        return Ok(if only_as_first {
            AddUser::NotTheFirst
        } else {
            AddUser::Taken
        });
    }
    connection.prepare_cached(ADD_SUBJECT)?.execute(named_params! {
        ":id": user.id.as_str(),
        ":disabled_at": user.disabled_at.map(Timestamp::seconds),
    })?;
    Ok(AddUser::Added)
}

#[async_trait::async_trait]
impl UserStore for SqliteStore {
    async fn add_user(&self, user: &User, only_as_first: bool) -> StoreResult<AddUser> {
        let user = user.clone();
        self.write(move |connection| add(connection, &user, only_as_first))
            .await
    }

    async fn has_users(&self) -> StoreResult<bool> {
        self.read(any).await
    }

    async fn load_user(&self, username: &str) -> StoreResult<Option<User>> {
        let username = username.to_owned();
        self.read(move |connection| {
            connection
                .prepare_cached(LOAD)?
                .query_row(named_params! {":username": username}, user)
                .optional()
        })
        .await
    }

    async fn list_users(&self, after: Option<&str>, limit: u32) -> StoreResult<Vec<User>> {
        let after = after.map(str::to_owned);
        self.read(move |connection| {
            connection
                .prepare_cached(LIST)?
                .query_map(named_params! {":after": after, ":limit": limit}, user)?
                .collect()
        })
        .await
    }

    async fn set_user_disabled(&self, username: &str, disabled: bool, now: Timestamp) -> StoreResult<bool> {
        let username = username.to_owned();
        self.write(move |connection| {
            let set = connection.prepare_cached(SET_DISABLED)?.execute(named_params! {
                ":username": username,
                ":disabled": disabled,
                ":now": now.seconds(),
            })?;
            Ok(set == 1)
        })
        .await
    }

    async fn set_user_password(&self, id: &UserId, password_hash: &str) -> StoreResult<bool> {
        let (id, password_hash) = (id.clone(), password_hash.to_owned());
        self.write(move |connection| {
            let set = connection.prepare_cached(SET_PASSWORD)?.execute(named_params! {
                ":id": id.as_str(),
                ":password_hash": password_hash,
            })?;
            connection
                .prepare_cached(END_SESSIONS)?
                .execute(named_params! {":id": id.as_str()})?;
            Ok(set == 1)
        })
        .await
    }
}
