//! Local accounts.

use mcp_authflow::{
    port::store::{AddUser, StoreResult, UserStore},
    record::{User, UserId},
};
use mcp_authflow_types::Timestamp;
use tokio_postgres::{
    Row,
    types::{ToSql, Type},
};

use crate::{
    PostgresStore,
    row::{did_something, field, moment, optional_moment},
    schema::ADVISORY_LOCK,
    statement::Statement,
};

/// The columns of `authflow.users u`.
macro_rules! user_columns {
    () => {
        "u.user_id AS u_id, u.username AS u_username, u.display_name AS u_display_name, \
         u.password_hash AS u_password_hash, u.is_admin AS u_is_admin, u.created_at AS u_created_at, \
         u.disabled_at AS u_disabled_at"
    };
}
pub(crate) use user_columns;

pub(crate) const STATEMENTS: &[&Statement] = &[
    &ADD,
    &LOCK,
    &ADD_FIRST,
    &HAS_ANY,
    &LOAD,
    &LIST,
    &SET_DISABLED,
    &SET_PASSWORD,
    &END_SESSIONS,
];

static ADD: Statement = Statement {
    sql: "INSERT INTO authflow.users (user_id, username, display_name, password_hash, is_admin, created_at, disabled_at) \
          VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING RETURNING 1",
    types: COLUMN_TYPES,
};

/// Of two callers that both see no account, only one may add the first, and no account may slip in between its look and
/// its end: so all that add accounts come one after the other. It is a statement of its own, because the next one must see
/// what was committed while this one waited.
static LOCK: Statement = Statement {
    sql: "SELECT pg_advisory_xact_lock($1)::text",
    types: &[Type::INT8],
};

static ADD_FIRST: Statement = Statement {
    sql: "INSERT INTO authflow.users (user_id, username, display_name, password_hash, is_admin, created_at, disabled_at) \
          SELECT $1, $2, $3, $4, $5, $6, $7 WHERE NOT EXISTS (SELECT FROM authflow.users) RETURNING 1",
    types: COLUMN_TYPES,
};

const COLUMN_TYPES: &[Type] = &[
    Type::TEXT,
    Type::TEXT,
    Type::TEXT,
    Type::TEXT,
    Type::BOOL,
    Type::INT8,
    Type::INT8,
];

static HAS_ANY: Statement = Statement {
    sql: "SELECT EXISTS (SELECT FROM authflow.users) AS has_any",
    types: &[],
};

static LOAD: Statement = Statement {
    sql: concat!(
        "SELECT ",
        user_columns!(),
        " FROM authflow.users u WHERE u.username = $1"
    ),
    types: &[Type::TEXT],
};

static LIST: Statement = Statement {
    sql: concat!(
        "SELECT ",
        user_columns!(),
        " FROM authflow.users u WHERE u.username > $1 ORDER BY u.username LIMIT $2"
    ),
    types: &[Type::TEXT, Type::INT8],
};

/// Disabling raises the generation, so that nothing comes back with the account.
static SET_DISABLED: Statement = Statement {
    sql: "WITH account AS (UPDATE authflow.users SET disabled_at = CASE WHEN $2 THEN coalesce(disabled_at, $3) END \
          WHERE username = $1 RETURNING user_id), \
          ended AS (INSERT INTO authflow.subjects AS old (subject, generation, disabled) \
          SELECT user_id, $2::int, $2 FROM account ON CONFLICT (subject) DO UPDATE \
          SET disabled = $2, generation = old.generation + $2::int), \
          gone AS (DELETE FROM authflow.sessions n USING account WHERE n.user_id = account.user_id AND $2) \
          SELECT count(*) AS done FROM account",
    types: &[Type::TEXT, Type::BOOL, Type::INT8],
};

static SET_PASSWORD: Statement = Statement {
    sql: "UPDATE authflow.users SET password_hash = $2 WHERE user_id = $1 RETURNING 1",
    types: &[Type::TEXT, Type::TEXT],
};

/// A statement of its own: the one before may have waited for a sign-in that holds the account, and would not see the
/// session that it began.
static END_SESSIONS: Statement = Statement {
    sql: "DELETE FROM authflow.sessions WHERE user_id = $1",
    types: &[Type::TEXT],
};

#[async_trait::async_trait]
impl UserStore for PostgresStore {
    async fn add_user(&self, user: &User, only_as_first: bool) -> StoreResult<AddUser> {
        let (add, refusal) = if only_as_first {
            (&ADD_FIRST, AddUser::NotTheFirst)
        } else {
            (&ADD, AddUser::Taken)
        };
        let ask = self.ask();
        let transaction = ask.begin().await?;
        transaction.rows(&LOCK, &[&(ADVISORY_LOCK + 1)]).await?;
        let rows = transaction.rows(add, &Columns::of(user).params()).await?;
        transaction.commit().await?;
        Ok(if rows.is_empty() { refusal } else { AddUser::Added })
    }

    async fn has_users(&self) -> StoreResult<bool> {
        let rows = self.ask().read(&HAS_ANY, &[]).await?;
        rows.first().map_or(Ok(false), |row| field(row, "has_any"))
    }

    async fn load_user(&self, username: &str) -> StoreResult<Option<User>> {
        // PostgreSQL cannot hold a NUL, so nobody is called so, and asking would be an error.
        if username.contains('\0') {
            return Ok(None);
        }
        let rows = self.ask().read(&LOAD, &[&username]).await?;
        rows.first().map(read).transpose()
    }

    async fn list_users(&self, after: Option<&str>, limit: u32) -> StoreResult<Vec<User>> {
        let rows = self
            .ask()
            .read(&LIST, &[&after.unwrap_or(""), &i64::from(limit)])
            .await?;
        rows.iter().map(read).collect()
    }

    async fn set_user_disabled(&self, username: &str, disabled: bool, now: Timestamp) -> StoreResult<bool> {
        let (rows, _) = self
            .ask()
            .write_again(&SET_DISABLED, &[&username, &disabled, &now.seconds()])
            .await?;
        did_something(&rows)
    }

    async fn set_user_password(&self, id: &UserId, password_hash: &str) -> StoreResult<bool> {
        let ask = self.ask();
        let transaction = ask.begin().await?;
        let rows = transaction
            .rows(&SET_PASSWORD, &[&id.as_str(), &password_hash])
            .await?;
        transaction.rows(&END_SESSIONS, &[&id.as_str()]).await?;
        transaction.commit().await?;
        Ok(!rows.is_empty())
    }
}

/// An account in the form of its columns.
struct Columns<'a> {
    user: &'a User,
    id: &'a str,
    created_at: i64,
    disabled_at: Option<i64>,
}

impl<'a> Columns<'a> {
    fn of(user: &'a User) -> Self {
        Self {
            user,
            id: user.id.as_str(),
            created_at: user.created_at.seconds(),
            disabled_at: user.disabled_at.map(Timestamp::seconds),
        }
    }

    fn params(&self) -> [&(dyn ToSql + Sync); 7] {
        [
            &self.id,
            &self.user.username,
            &self.user.display_name,
            &self.user.password_hash,
            &self.user.is_admin,
            &self.created_at,
            &self.disabled_at,
        ]
    }
}

/// Reads the account of a row.
pub(crate) fn read(row: &Row) -> StoreResult<User> {
    Ok(User {
        id: UserId::from_stored(field(row, "u_id")?),
        username: field(row, "u_username")?,
        display_name: field(row, "u_display_name")?,
        password_hash: field(row, "u_password_hash")?,
        is_admin: field(row, "u_is_admin")?,
        created_at: moment(row, "u_created_at")?,
        disabled_at: optional_moment(row, "u_disabled_at")?,
    })
}
