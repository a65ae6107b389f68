//! The system that is judged: the real server, and an MCP server that it protects.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use mcp_authflow_testkit::server::{Store, TestServer};
use mcp_authflow_testkit::service::port::free_port;
use mcp_authflow_testkit::service::postgres::{FreshDatabase, PrivatePostgres};
use mcp_authflow_testkit::service::process::{OwnedProcess, StopSignal};
use serde_json::Value;

use super::site::{Play, Site};

/// The person that signs in everywhere here.
pub(super) const USERNAME: &str = "alice";
/// Her password.
pub(super) const PASSWORD: &str = "correct horse battery staple";
/// With what `hello_mcp` asks the server about tokens.
pub(super) const INTROSPECTION_CLIENT: (&str, &str) =
    ("hello-mcp", "mcpcs_the-judges-and-hello-mcp-share-this-one");
const PATIENCE: Duration = Duration::from_secs(60);

/// A store that the judges sit on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum StoreKind {
    /// In the process; quick to try something with, and sat on only when named.
    Memory,
    /// One file.
    Sqlite,
    /// A private PostgreSQL.
    Postgres,
}

impl StoreKind {
    pub(super) const ALL: &'static [Self] = &[Self::Memory, Self::Sqlite, Self::Postgres];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
        }
    }
}

/// What houses are made from.
#[derive(Clone, Debug)]
pub(super) struct Keeper<'a> {
    /// The built `authflow`; `hello_mcp` lies beside it.
    pub(super) binary: PathBuf,
    /// Where databases come from.
    pub(super) postgres: Option<&'a PrivatePostgres>,
}

/// A running server and what it protects.
#[derive(Debug)]
pub(super) struct House {
    pub(super) server: TestServer,
    /// The URL of the MCP server, which is its resource identifier.
    pub(super) mcp_url: String,
    /// Held for as long as the house stands.
    hello: Option<OwnedProcess>,
    _database: Option<FreshDatabase>,
}

impl Keeper<'_> {
    /// Starts the server alone; `more_bootstrap` is TOML for clients and further resources.
    pub(super) fn serve(&self, store: StoreKind, issuer_path: &str, more_bootstrap: &str) -> Result<House> {
        self.serve_with(store, issuer_path, more_bootstrap, &[])
    }

    /// The same with these variables in the server's environment.
    pub(super) fn serve_with(
        &self,
        store: StoreKind,
        issuer_path: &str,
        more_bootstrap: &str,
        environment: &[(String, String)],
    ) -> Result<House> {
        let mcp_url = format!("http://127.0.0.1:{}/mcp", free_port()?);
        let (place, database) = match store {
            StoreKind::Memory => (Store::Memory, None),
            StoreKind::Sqlite => (Store::Sqlite, None),
            StoreKind::Postgres => {
                let database = self
                    .postgres
                    .context("no PostgreSQL was started")?
                    .fresh_database()?;
                (Store::Postgres(database.url().to_owned()), Some(database))
            }
        };
        let builder = TestServer::builder()
            .binary(&self.binary)
            .store(place)
            .issuer_path(issuer_path)
            .bootstrap(format!("{}\n{more_bootstrap}", bootstrap(&mcp_url)));
        let server = environment
            .iter()
            .fold(builder, |builder, (name, value)| builder.env(name, value))
            .start()?;
        Ok(House {
            server,
            mcp_url,
            hello: None,
            _database: database,
        })
    }

    /// Starts the server and `hello_mcp`.
    pub(super) fn serve_with_mcp(&self, store: StoreKind) -> Result<House> {
        let mut house = self.serve(store, "", "")?;
        self.open_mcp(&mut house, false)?;
        Ok(house)
    }

    /// Starts `hello_mcp` in a house that has a server already, if need be for clients of MCP 2025-03-26 too.
    pub(super) fn open_mcp(&self, house: &mut House, has_old_clients: bool) -> Result<()> {
        let program = self.binary.with_file_name("hello_mcp");
        let (client_id, client_secret) = INTROSPECTION_CLIENT;
        let listen = house
            .mcp_url
            .trim_start_matches("http://")
            .trim_end_matches("/mcp");
        let mut command = Command::new(program);
        command
            .args(["--issuer", house.server.issuer(), "--listen", listen])
            .env("HELLO_MCP_CLIENT_ID", client_id)
            .env("HELLO_MCP_CLIENT_SECRET", client_secret)
            .env("HELLO_MCP_OLD_CLIENTS", has_old_clients.to_string());
        let mut process = OwnedProcess::spawn("hello_mcp", &mut command, StopSignal::Terminate, None)?;
        process.wait_until("listening on", PATIENCE)?;
        house.hello = Some(process);
        Ok(())
    }
}

impl House {
    /// The house as a client finds it.
    pub(super) fn site(&self) -> Site {
        Site {
            issuer: self.server.issuer().to_owned(),
            mcp_url: self.mcp_url.clone(),
            introspection_client: Some(INTROSPECTION_CLIENT),
            play: Play::hello(),
            is_sse: false,
        }
    }

    /// Asks the server about a token as the MCP server would.
    pub(super) async fn introspect(&self, http: &reqwest::Client, token: &str) -> Result<Value> {
        let answer = self.site().introspect(http, token).await?;
        answer.context("nobody may ask about tokens")
    }
}

/// The person, for a bootstrap file.
pub(super) fn person() -> String {
    format!(
        r#"
[[user]]
username = "{USERNAME}"
password = "{PASSWORD}"
admin = true
display_name = "Alice"
"#
    )
}

fn bootstrap(mcp_url: &str) -> String {
    let (client_id, client_secret) = INTROSPECTION_CLIENT;
    let person = person();
    format!(
        r#"{person}
[[resource]]
uri = "{mcp_url}"
name = "Hello MCP"
introspection_client_id = "{client_id}"
introspection_client_secret = "{client_secret}"

[[resource.scope]]
name = "hello:read"
description = "Say hello to you"

[[resource.scope]]
name = "hello:write"
description = "Remember a note for you"
"#
    )
}

/// An HTTP client that speaks to loopback only and follows nothing.
pub(super) fn http() -> Result<reqwest::Client> {
    Ok(reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(Duration::from_secs(30))
        .build()?)
}
