//! `cargo xtask side-by-side`: the Python package `mcp-authflow` and our `PostgresTokenStorage` on one database.
//!
//! The real package, from its registry in the version that `judges/python_package/requirements.txt` pins, and ours work on
//! the documented tables in turn, for every type that `user_id` may have: each reads, deletes, revokes, counts and cleans
//! up what the other stored, and both tell the same second of expiry.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use mcp_authflow::port::token_storage::{NewToken, TokenRules, TokenStorage, UserId};
use mcp_authflow_postgres::{PostgresTokenStorage, PostgresTokenStorageConfig};
use mcp_authflow_testkit::service::postgres::PrivatePostgres;
use mcp_authflow_types::Timestamp;
use serde_json::{Value, json};
use tokio_postgres::{Client, NoTls};

use crate::provide;
use crate::tally::Tally;
use crate::workspace::root;

/// A package that does not answer is a failure, too.
const PATIENCE: Duration = Duration::from_secs(60);

/// What `user_id` may be, with two users of that kind.
fn columns() -> [(&'static str, UserId, UserId); 4] {
    [
        ("INTEGER", UserId::from(7), UserId::from(-1)),
        ("BIGINT", UserId::from(1 << 40), UserId::from(0)),
        (
            "UUID",
            UserId::from("3f0c0a6e-0000-4000-8000-000000000001"),
            UserId::from("ffffffff-ffff-4fff-bfff-ffffffffffff"),
        ),
        ("TEXT", UserId::from("alice@example.org"), UserId::from("")),
    ]
}

/// Runs every scene on every type of column; each counts as one test.
pub(crate) fn run() -> Result<Tally> {
    provide::postgres::provide()?;
    let folder = root().join("judges/python_package");
    let python = provide::python::environment("package", &folder.join("requirements.txt"))?;
    let postgres = PrivatePostgres::start(false)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let mut tally = Tally::default();
    for (column, one, other) in columns() {
        for rules in [TokenRules::Strict, TokenRules::Python] {
            let database = postgres.fresh_database()?;
            let mut command = Command::new(&python);
            command
                .arg(folder.join("driver.py"))
                .env("DATABASE_URL", database.url());
            let played = runtime.block_on(async {
                let mut stage = Stage::open(command, database.url(), column, rules).await?;
                stage.play(&one, &other).await
            });
            match &played {
                Ok(version) => eprintln!("user_id {column}, {rules:?} rules: side by side with {version}"),
                Err(error) => eprintln!("user_id {column}, {rules:?} rules: {error:#}"),
            }
            tally += Tally::one(played.is_ok());
        }
    }
    postgres.stop()?;
    Ok(tally)
}

/// Both programs on one database.
struct Stage {
    python: Python,
    ours: PostgresTokenStorage,
    database: Client,
}

/// Who does something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    Python,
    Ours,
}

/// Access tokens or refresh tokens, by the names of their operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Access,
    Refresh,
}

impl Kind {
    const fn argument(self) -> &'static str {
        match self {
            Self::Access => "token",
            Self::Refresh => "refresh_token",
        }
    }

    const fn table(self) -> &'static str {
        match self {
            Self::Access => "mcp_access_tokens",
            Self::Refresh => "mcp_refresh_tokens",
        }
    }

    fn operation(self, verb: &str) -> String {
        format!("{verb}_{}", self.argument())
    }
}

impl Stage {
    async fn open(command: Command, url: &str, column: &str, rules: TokenRules) -> Result<Self> {
        let (database, connection) = tokio_postgres::connect(url, NoTls).await?;
        tokio::spawn(connection);
        for kind in [Kind::Access, Kind::Refresh] {
            let table = kind.table();
            database
                .batch_execute(&format!(
                    "CREATE TABLE {table} (token TEXT PRIMARY KEY, client_id TEXT NOT NULL, \
                     scopes TEXT NOT NULL DEFAULT '', resource TEXT, expires_at TIMESTAMPTZ NOT NULL, \
                     created_at TIMESTAMPTZ NOT NULL DEFAULT now(), user_id {column})"
                ))
                .await?;
        }
        let mut config = PostgresTokenStorageConfig::new(Some(url.to_owned()));
        config.rules = rules;
        let ours = PostgresTokenStorage::new(config);
        ours.initialize().await?;
        let mut python = Python::start(command)?;
        python.ask("initialize", &json!({}))?;
        Ok(Self {
            python,
            ours,
            database,
        })
    }

    /// The whole play; answers which version took part.
    async fn play(&mut self, one: &UserId, other: &UserId) -> Result<String> {
        for kind in [Kind::Access, Kind::Refresh] {
            for (from, to) in [(Who::Python, Who::Ours), (Who::Ours, Who::Python)] {
                self.reads(kind, from, to, one)
                    .await
                    .with_context(|| format!("{to:?} reads the {kind:?} tokens that {from:?} stored"))?;
                self.replaces_and_deletes(kind, from, to, other)
                    .await
                    .with_context(|| format!("{to:?} replaces and deletes {kind:?} tokens of {from:?}"))?;
                self.cleans_up(kind, from, to)
                    .await
                    .with_context(|| format!("{to:?} cleans up the {kind:?} tokens of {from:?}"))?;
            }
            self.same_second(kind)
                .await
                .with_context(|| format!("both see the {kind:?} tokens end"))?;
        }
        for (from, to) in [(Who::Python, Who::Ours), (Who::Ours, Who::Python)] {
            self.revokes(from, to)
                .await
                .with_context(|| format!("{to:?} revokes a client of {from:?}"))?;
        }
        self.takes_once()
            .await
            .context("a token that ours took is gone")?;
        let version = self.python.ask("version", &json!({}))?;
        Ok(format!(
            "mcp-authflow {} (Python)",
            version.as_str().unwrap_or_default()
        ))
    }

    async fn reads(&mut self, kind: Kind, from: Who, to: Who, user: &UserId) -> Result<()> {
        let expires_at = self.now().await? + 3_600;
        let token = format!("{kind:?} of {from:?} é🔑");
        for (name, resource, user, scopes) in [
            (
                "whole",
                Some("https://mcp.example/mcp"),
                Some(user),
                &["read", "write"][..],
            ),
            ("bare", None, None, &[]),
        ] {
            let token = format!("{token} {name}");
            let said = record(expires_at, resource, user, scopes);
            self.store(from, kind, &token, &said).await?;
            for who in [from, to] {
                let found = self.load(who, kind, &token).await?;
                ensure!(
                    found == Some(said.clone()),
                    "{who:?} found {found:?}, not {said:?}"
                );
            }
        }
        ensure!(
            self.load(to, kind, "unknown").await?.is_none(),
            "a token of nobody's"
        );
        let (theirs, ours) = (self.count(from, kind).await?, self.count(to, kind).await?);
        ensure!(theirs == 2 && ours == 2, "counted {theirs} and {ours}");
        for name in ["whole", "bare"] {
            self.delete(to, kind, &format!("{token} {name}")).await?;
        }
        ensure!(
            self.count(from, kind).await? == 0,
            "deleted, and there all the same"
        );
        Ok(())
    }

    async fn replaces_and_deletes(&mut self, kind: Kind, from: Who, to: Who, user: &UserId) -> Result<()> {
        let expires_at = self.now().await? + 3_600;
        self.store(from, kind, "t", &record(expires_at, None, None, &["read"]))
            .await?;
        let again = record(expires_at + 60, Some("r"), Some(user), &["admin"]);
        self.store(to, kind, "t", &again).await?;
        let found = self.load(from, kind, "t").await?;
        ensure!(found == Some(again), "found {found:?}");
        self.delete(to, kind, "t").await?;
        self.delete(from, kind, "t").await?;
        ensure!(
            self.load(from, kind, "t").await?.is_none(),
            "deleted, and read all the same"
        );
        Ok(())
    }

    async fn cleans_up(&mut self, kind: Kind, from: Who, to: Who) -> Result<()> {
        let now = self.now().await?;
        for (name, seconds) in [("over 1", -100), ("over 2", -2), ("good", 3_600)] {
            self.store(from, kind, name, &record(now + seconds, None, None, &[]))
                .await?;
        }
        ensure!(self.count(to, kind).await? == 3, "expired rows count");
        let removed = match (to, kind) {
            (Who::Ours, Kind::Access) => self.ours.cleanup_expired_tokens().await?,
            (Who::Ours, Kind::Refresh) => self.ours.cleanup_expired_refresh_tokens().await?,
            (Who::Python, _) => {
                let operation = format!("cleanup_expired_{}s", kind.argument());
                self.python.number(&operation, &json!({}))?
            }
        };
        ensure!(removed == 2, "removed {removed}");
        ensure!(self.load(from, kind, "good").await?.is_some(), "a good one went");
        self.delete(to, kind, "good").await
    }

    /// A token that ends in a moment is good for both before its second and over for both after it.
    async fn same_second(&mut self, kind: Kind) -> Result<()> {
        let end = self.now().await? + 2;
        for (who, name) in [(Who::Python, "python's"), (Who::Ours, "ours")] {
            self.store(who, kind, name, &record(end, None, None, &[])).await?;
        }
        for who in [Who::Python, Who::Ours] {
            for name in ["python's", "ours"] {
                let found = self.load(who, kind, name).await?;
                // The machine may have been slow.
                ensure!(
                    found.is_some() || self.now().await? >= end,
                    "{who:?} ended {name} too soon"
                );
            }
        }
        let wait = format!(
            "SELECT pg_sleep(greatest(0, extract(epoch FROM to_timestamp({end}) - clock_timestamp()) + 0.02))"
        );
        self.database.batch_execute(&wait).await?;
        // Ours first for one and last for the other: whoever looks removes it.
        for (who, name) in [
            (Who::Ours, "python's"),
            (Who::Python, "ours"),
            (Who::Python, "python's"),
            (Who::Ours, "ours"),
        ] {
            ensure!(
                self.load(who, kind, name).await?.is_none(),
                "{who:?} still has {name} after its end"
            );
        }
        ensure!(self.count(Who::Python, kind).await? == 0, "an expired row stayed");
        Ok(())
    }

    async fn revokes(&mut self, from: Who, to: Who) -> Result<()> {
        let expires_at = self.now().await? + 3_600;
        for kind in [Kind::Access, Kind::Refresh] {
            for (name, client) in [("a", "c1"), ("b", "c1"), ("c", "C1")] {
                let mut said = record(expires_at, None, None, &[]);
                said["client_id"] = client.into();
                self.store(from, kind, name, &said).await?;
            }
        }
        let revoked = match to {
            Who::Ours => self.ours.revoke_client_tokens("c1").await?,
            Who::Python => self
                .python
                .number("revoke_client_tokens", &json!({ "client_id": "c1" }))?,
        };
        ensure!(revoked == 4, "revoked {revoked}");
        for kind in [Kind::Access, Kind::Refresh] {
            for name in ["a", "b"] {
                ensure!(self.load(from, kind, name).await?.is_none(), "{name} is there");
            }
            ensure!(
                self.load(from, kind, "c").await?.is_some(),
                "another client's went"
            );
            self.delete(to, kind, "c").await?;
        }
        Ok(())
    }

    async fn takes_once(&mut self) -> Result<()> {
        let said = record(self.now().await? + 3_600, None, None, &["read"]);
        self.store(Who::Python, Kind::Refresh, "taken", &said).await?;
        ensure!(
            self.ours.take_refresh_token("taken").await?.is_some(),
            "not taken"
        );
        ensure!(
            self.load(Who::Python, Kind::Refresh, "taken").await?.is_none(),
            "Python can use it still"
        );
        Ok(())
    }

    async fn now(&self) -> Result<i64> {
        let sql = "SELECT floor(extract(epoch FROM clock_timestamp()))::bigint";
        Ok(self.database.query_one(sql, &[]).await?.try_get(0)?)
    }

    async fn store(&mut self, who: Who, kind: Kind, token: &str, said: &Value) -> Result<()> {
        match who {
            Who::Python => {
                let mut args = said.clone();
                args[kind.argument()] = token.into();
                let answer = self.python.ask(&kind.operation("store"), &args)?;
                ensure!(answer.is_null(), "storing answered {answer}");
            }
            Who::Ours => {
                let new = new_token(said)?;
                match kind {
                    Kind::Access => self.ours.store_token(token, &new).await?,
                    Kind::Refresh => self.ours.store_refresh_token(token, &new).await?,
                }
            }
        }
        Ok(())
    }

    /// What is said of a token, without the members that only one of both has.
    async fn load(&mut self, who: Who, kind: Kind, token: &str) -> Result<Option<Value>> {
        match who {
            Who::Python => {
                let mut args = json!({});
                args[kind.argument()] = token.into();
                let mut found = self.python.ask(&kind.operation("load"), &args)?;
                let Some(members) = found.as_object_mut() else {
                    return Ok(None);
                };
                let kept = members.remove("token");
                ensure!(kept == Some(token.into()), "Python read another token");
                members.remove("created_at");
                Ok(Some(found))
            }
            Who::Ours => {
                let found = match kind {
                    Kind::Access => self.ours.load_token(token).await?,
                    Kind::Refresh => self.ours.load_refresh_token(token).await?,
                };
                Ok(found.map(|found| {
                    json!({
                        "client_id": found.client_id,
                        "scopes": found.scopes,
                        "resource": found.resource,
                        "expires_at": found.expires_at,
                        "user_id": as_json(found.user_id.as_ref()),
                    })
                }))
            }
        }
    }

    async fn delete(&mut self, who: Who, kind: Kind, token: &str) -> Result<()> {
        match (who, kind) {
            (Who::Python, _) => {
                let mut args = json!({});
                args[kind.argument()] = token.into();
                self.python.ask(&kind.operation("delete"), &args)?;
            }
            (Who::Ours, Kind::Access) => self.ours.delete_token(token).await?,
            (Who::Ours, Kind::Refresh) => self.ours.delete_refresh_token(token).await?,
        }
        Ok(())
    }

    async fn count(&mut self, who: Who, kind: Kind) -> Result<u64> {
        Ok(match (who, kind) {
            (Who::Python, _) => self
                .python
                .number(&format!("get_{}_count", kind.argument()), &json!({}))?,
            (Who::Ours, Kind::Access) => self.ours.get_token_count().await?.stored(),
            (Who::Ours, Kind::Refresh) => self.ours.get_refresh_token_count().await?.stored(),
        })
    }
}

/// What is said of a token, in the words of the Python package.
fn record(expires_at: i64, resource: Option<&str>, user: Option<&UserId>, scopes: &[&str]) -> Value {
    json!({
        "client_id": "c1",
        "scopes": scopes,
        "resource": resource,
        "expires_at": expires_at,
        "user_id": as_json(user),
    })
}

fn as_json(user: Option<&UserId>) -> Value {
    match user {
        None => Value::Null,
        Some(UserId::Integer(id)) => (*id).into(),
        Some(UserId::Text(id)) => id.as_str().into(),
    }
}

fn new_token(said: &Value) -> Result<NewToken> {
    let expires_at = said["expires_at"].as_i64().context("no end")?;
    let client = said["client_id"].as_str().context("no client")?;
    let mut new = NewToken::new(client, Timestamp::from_seconds(expires_at));
    new.scopes = serde_json::from_value(said["scopes"].clone())?;
    new.resource = said["resource"].as_str().map(str::to_owned);
    new.user_id = match &said["user_id"] {
        Value::String(id) => Some(UserId::Text(id.clone())),
        id => id.as_i64().map(UserId::Integer),
    };
    Ok(new)
}

/// The driver of the Python package.
struct Python {
    child: Child,
    input: ChildStdin,
    answers: Receiver<String>,
}

impl Python {
    fn start(mut command: Command) -> Result<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start Python")?;
        let input = child.stdin.take().context("no way in")?;
        let output = child.stdout.take().context("no way out")?;
        Ok(Self {
            child,
            input,
            answers: lines(output),
        })
    }

    fn ask(&mut self, operation: &str, args: &Value) -> Result<Value> {
        writeln!(self.input, "{}", json!({ "op": operation, "args": args }))?;
        self.input.flush()?;
        let line = self
            .answers
            .recv_timeout(PATIENCE)
            .with_context(|| format!("Python does not answer {operation}"))?;
        let mut answer: Value = serde_json::from_str(&line)?;
        if let Some(error) = answer["error"].as_str() {
            bail!("Python's {operation}: {error}");
        }
        Ok(answer["value"].take())
    }

    fn number(&mut self, operation: &str, args: &Value) -> Result<u64> {
        self.ask(operation, args)?
            .as_u64()
            .with_context(|| format!("{operation} answered no number"))
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        // One that has ended needs no killing.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lines(output: ChildStdout) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}
