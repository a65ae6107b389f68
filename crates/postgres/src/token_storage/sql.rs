//! The statements, the same for both tables.

use mcp_authflow::port::token_storage::TokenKind;

/// The statements on one table.
pub(super) struct Sql {
    pub(super) store: &'static str,
    pub(super) load: &'static str,
    pub(super) find: &'static str,
    pub(super) list: &'static str,
    pub(super) take: &'static str,
    pub(super) take_live: &'static str,
    pub(super) delete: &'static str,
    pub(super) delete_if_over: &'static str,
    pub(super) clean_up: &'static str,
    pub(super) count: &'static str,
    pub(super) revoke_client: &'static str,
}

/// A moment that does not fit the calendar, such as `infinity`, counts as its end.
macro_rules! seconds {
    ($column:literal) => {
        concat!(
            "CASE WHEN isfinite(",
            $column,
            ") THEN floor(extract(epoch FROM ",
            $column,
            "))::bigint WHEN ",
            $column,
            " > '-infinity' THEN 253402300799 ELSE -62135596800 END AS ",
            $column
        )
    };
}

macro_rules! columns {
    () => {
        concat!(
            "token, client_id, scopes, resource, ",
            seconds!("expires_at"),
            ", ",
            seconds!("created_at"),
            ", user_id"
        )
    };
}

/// Whether a row is over: `$2` is the clock, null for the database's; `$3` is whether the Python package's rule holds.
macro_rules! is_over {
    ($clock:literal, $python:literal) => {
        concat!(
            "(expires_at < coalesce(",
            $clock,
            "::timestamptz, now()) OR (NOT ",
            $python,
            "::bool AND expires_at = coalesce(",
            $clock,
            "::timestamptz, now())))"
        )
    };
}

macro_rules! statements_on {
    ($table:literal) => {
        Sql {
            // `created_at` keeps its first value, as it does in Python.
            store: concat!(
                "INSERT INTO ", $table, " AS known (token, client_id, scopes, resource, expires_at, user_id) \
                 VALUES ($1, $2, $3, $4, to_timestamp($5::bigint), $6) \
                 ON CONFLICT (token) DO UPDATE SET client_id = excluded.client_id, scopes = excluded.scopes, \
                 resource = excluded.resource, expires_at = excluded.expires_at, user_id = excluded.user_id \
                 WHERE $7::bool OR known.client_id = excluded.client_id RETURNING 1"
            ),
            load: concat!(
                "SELECT ", columns!(), ", ", is_over!("$2", "$3"), " AS is_over FROM ", $table, " WHERE token = $1"
            ),
            find: concat!("SELECT ", columns!(), " FROM ", $table, " WHERE token = $1"),
            list: concat!(
                "SELECT ", columns!(), " FROM ", $table,
                " WHERE $1::text IS NULL OR token > $1 ORDER BY token LIMIT $2"
            ),
            take: concat!("DELETE FROM ", $table, " WHERE token = $1 RETURNING ", columns!()),
            take_live: concat!(
                "DELETE FROM ", $table, " WHERE token = $1 AND NOT ", is_over!("$2", "$3"), " RETURNING ", columns!()
            ),
            delete: concat!("DELETE FROM ", $table, " WHERE token = $1"),
            delete_if_over: concat!(
                "DELETE FROM ", $table, " WHERE token = $1 AND ", is_over!("$2", "$3")
            ),
            clean_up: concat!(
                "WITH gone AS (DELETE FROM ", $table, " WHERE token = ANY (ARRAY(SELECT token FROM ", $table,
                " WHERE expires_at < coalesce($1::timestamptz, now()) LIMIT $2 FOR UPDATE SKIP LOCKED)) \
                 RETURNING 1) SELECT count(*) AS done FROM gone"
            ),
            count: concat!(
                "SELECT count(*) AS stored, count(*) FILTER (WHERE ", is_over!("$1", "$2"), ") AS expired FROM ",
                $table
            ),
            revoke_client: concat!(
                "WITH gone AS (DELETE FROM ", $table, " WHERE client_id = $1 RETURNING 1) \
                 SELECT count(*) AS done FROM gone"
            ),
        }
    };
}

pub(super) const REVOKE_CLIENT: &str = "WITH access AS (DELETE FROM mcp_access_tokens WHERE client_id = $1 RETURNING 1), \
                             refresh AS (DELETE FROM mcp_refresh_tokens WHERE client_id = $1 RETURNING 1) \
                             SELECT (SELECT count(*) FROM access) + (SELECT count(*) FROM refresh) AS done";

pub(super) const fn table(kind: TokenKind) -> &'static str {
    match kind {
        TokenKind::Access => "mcp_access_tokens",
        TokenKind::Refresh => "mcp_refresh_tokens",
    }
}

pub(super) fn sql(kind: TokenKind) -> &'static Sql {
    static ACCESS: Sql = statements_on!("mcp_access_tokens");
    static REFRESH: Sql = statements_on!("mcp_refresh_tokens");
    match kind {
        TokenKind::Access => &ACCESS,
        TokenKind::Refresh => &REFRESH,
    }
}
