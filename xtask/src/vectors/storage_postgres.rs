//! Calls of the area `storage_postgres`: the token storage on the documented tables of PostgreSQL, under the rules of the
//! Python package, since two programs that share the tables must answer alike.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use anyhow::{Context, Result};
use mcp_authflow::port::token_storage::TokenRules;
use mcp_authflow_postgres::{PostgresTokenStorage, PostgresTokenStorageConfig, TokenClock};
use mcp_authflow_testkit::service::port::free_port;
use serde_json::{Value, json};
use tokio_postgres::{Client, NoTls};

use super::case::Case;
use super::rig::Rig;
use super::storage::{Trace, moment};

/// The documented columns, apart from `user_id`.
const COLUMNS: &[(&str, &str)] = &[
    ("token", "TEXT PRIMARY KEY"),
    ("client_id", "TEXT NOT NULL"),
    ("scopes", "TEXT NOT NULL DEFAULT ''"),
    ("resource", "TEXT"),
    ("expires_at", "TIMESTAMPTZ NOT NULL"),
    ("created_at", "TIMESTAMPTZ NOT NULL DEFAULT now()"),
];

/// Makes the call, if it is one of these.
pub(super) async fn call(case: &Case, rig: &Rig) -> Option<Value> {
    if case.call != "pg_storage_trace" {
        return None;
    }
    let answer = trace(case, rig).await;
    // A rig that does not start is no answer of the part: the error is one that no case expects.
    answer.unwrap_or_else(|error| {
        Some(json!({ "error": { "kind": "rig", "seed_message": format!("{error:#}") } }))
    })
}

async fn trace(case: &Case, rig: &Rig) -> Result<Option<Value>> {
    let database = rig.fresh_database().await?;
    let (client, connection) = tokio_postgres::connect(database.url(), NoTls).await?;
    let connection = tokio::spawn(connection);
    make_tables(&client, case.arg("schema")).await?;

    let now = Arc::new(Mutex::new(SystemTime::UNIX_EPOCH));
    let Some(variable) = variable(case, database.url())? else {
        return Ok(None);
    };
    let mut config = match variable {
        Variable::NotUsed(url) => PostgresTokenStorageConfig::new(Some(url)),
        Variable::Holds(text) => {
            PostgresTokenStorageConfig::from_variables(|name| text.filter(|_| name == "DATABASE_URL"))
        }
    };
    let read = now.clone();
    config.clock = TokenClock::Given(Arc::new(move || {
        *read.lock().unwrap_or_else(PoisonError::into_inner)
    }));
    config.rules = TokenRules::Python;
    let storage = PostgresTokenStorage::new(config);

    let mut trace = Trace::new(&storage);
    let mut steps = Vec::new();
    for step in case.arg("steps").as_array().context("no steps")? {
        let at = step["at"].as_f64().context("no time")?;
        *now.lock().unwrap_or_else(PoisonError::into_inner) = moment(at);
        steps.push(match step["op"].as_str() {
            Some("pool_open") => json!({ "value": storage.is_open() }),
            Some("raw_rows") => {
                let table = step["args"]["table"].as_str().context("no table")?;
                json!({ "value": raw_rows(&client, table).await? })
            }
            _ => match trace.step(step).await {
                Some(answer) => answer,
                None => return Ok(None),
            },
        });
    }
    drop(storage);
    connection.abort();
    Ok(Some(json!({ "steps": steps })))
}

/// Where the address comes from.
enum Variable {
    /// It is given outright.
    NotUsed(String),
    /// The variable holds this when the storage is made.
    Holds(Option<String>),
}

/// What `env_url` says of the variable.
fn variable(case: &Case, url: &str) -> Result<Option<Variable>> {
    Ok(Some(match case.arg("env_url").as_str() {
        None => Variable::NotUsed(url.to_owned()),
        Some("none" | "set_after") => Variable::Holds(None),
        Some("empty") => Variable::Holds(Some(String::new())),
        Some("set" | "set_before") => Variable::Holds(Some(url.to_owned())),
        Some("bad_url") => Variable::Holds(Some("mysql://nobody@127.0.0.1/nothing".to_owned())),
        Some("unreachable") => Variable::Holds(Some(format!(
            "postgres://nobody@127.0.0.1:{}/nothing",
            free_port()?
        ))),
        Some(_) => return Ok(None),
    }))
}

/// Makes the tables as the package's documentation says, but for what the case leaves out or adds.
async fn make_tables(client: &Client, schema: &Value) -> Result<()> {
    let names = |list: &Value| -> Vec<String> {
        let texts = list.as_array().into_iter().flatten().filter_map(Value::as_str);
        texts.map(str::to_owned).collect()
    };
    let user_id = schema["user_id_type"].as_str().unwrap_or("INTEGER");
    for table in ["mcp_access_tokens", "mcp_refresh_tokens"] {
        if names(&schema["without_tables"]).iter().any(|name| name == table) {
            continue;
        }
        let left_out = names(&schema["without_columns"][table]);
        let mut columns: Vec<String> = COLUMNS
            .iter()
            .copied()
            .chain([("user_id", user_id)])
            .filter(|(name, _)| !left_out.iter().any(|other| other == name))
            .map(|(name, kind)| format!("{name} {kind}"))
            .collect();
        columns.extend(extra_columns(&schema["extra_columns"], table));
        client
            .batch_execute(&format!("CREATE TABLE {table} ({})", columns.join(", ")))
            .await
            .with_context(|| format!("cannot make {table}"))?;
    }
    Ok(())
}

/// Columns beyond the documented ones: a list of names or of definitions, for all tables or by table.
fn extra_columns(extra: &Value, table: &str) -> Vec<String> {
    let own = extra.get(table).unwrap_or(extra);
    match own {
        Value::Array(list) => list
            .iter()
            .filter_map(Value::as_str)
            .map(|column| {
                if column.contains(' ') {
                    column.to_owned()
                } else {
                    format!("{column} TEXT")
                }
            })
            .collect(),
        Value::Object(columns) => columns
            .iter()
            .filter_map(|(name, kind)| Some(format!("{name} {}", kind.as_str()?)))
            .collect(),
        _ => Vec::new(),
    }
}

/// The rows of a table as they lie there.
async fn raw_rows(client: &Client, table: &str) -> Result<Vec<Value>> {
    let sql = format!(
        "SELECT json_build_object('token', token, 'client_id', client_id, 'scopes', scopes, 'resource', resource, \
         'expires_at', extract(epoch FROM expires_at), 'created_at', floor(extract(epoch FROM created_at))::bigint, \
         'user_id', user_id)::text FROM {table} ORDER BY token"
    );
    let rows = client.query(&sql, &[]).await?;
    rows.iter()
        .map(|row| Ok(serde_json::from_str(row.try_get(0)?)?))
        .collect()
}
