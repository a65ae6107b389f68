//! A server that is measured: started, pinned, given what its requests need.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use mcp_authflow_testkit::server::{Store, TestServer};
use mcp_authflow_testkit::service::port::free_port;
use mcp_authflow_testkit::service::postgres::PrivatePostgres;
use mcp_authflow_testkit::service::process::{OwnedProcess, StopSignal};
use tokio::runtime::Runtime;

use super::operation::{Operation, Requests};
use super::{SERVER_CORE, can_pin_server, cpu};
use crate::crowd::caller::{Answer, Caller};
use crate::crowd::{APP, ASKER, MACHINE, RESOURCE, SCOPE, bootstrap, username};
use crate::provide;

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Kind {
    /// Parses the form and answers a constant.
    BareAxum,
    /// `authflow`, its state in memory.
    Memory,
    /// `authflow`, its state in one SQLite file.
    Sqlite,
    /// `authflow`, its state in PostgreSQL, durable commits.
    Postgres,
}

impl Kind {
    pub(super) const ALL: &'static [Self] = &[Self::BareAxum, Self::Memory, Self::Sqlite, Self::Postgres];

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::BareAxum => "bare axum",
            Self::Memory => "authflow, memory",
            Self::Sqlite => "authflow, SQLite",
            Self::Postgres => "authflow, PostgreSQL",
        }
    }
}

/// CPU time so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cpu {
    pub(super) server: Duration,
    pub(super) database: Duration,
}

/// A running server; its database, if it has one, ends after it.
pub(super) struct Contestant {
    server: Running,
    postgres: Option<PrivatePostgres>,
}

enum Running {
    Bare {
        process: OwnedProcess,
        address: SocketAddr,
    },
    Authflow(Box<TestServer>),
}

impl Contestant {
    pub(super) fn start(kind: Kind, binary: &Path) -> Result<Self> {
        let (store, postgres) = match kind {
            Kind::BareAxum => {
                return Ok(Self {
                    server: start_bare(&binary.with_file_name("xtask"))?,
                    postgres: None,
                });
            }
            Kind::Memory => (Store::Memory, None),
            Kind::Sqlite => (Store::Sqlite, None),
            Kind::Postgres => {
                provide::postgres::provide()?;
                let postgres = PrivatePostgres::start(true)?;
                (Store::Postgres(postgres.url().to_owned()), Some(postgres))
            }
        };
        let mut builder = TestServer::builder()
            .binary(binary)
            .store(store)
            .bootstrap(bootstrap(1));
        if can_pin_server() {
            builder = builder.through(["taskset", "--cpu-list", SERVER_CORE]);
        }
        Ok(Self {
            server: Running::Authflow(Box::new(builder.start()?)),
            postgres,
        })
    }

    pub(super) fn address(&self) -> SocketAddr {
        match &self.server {
            Running::Bare { address, .. } => *address,
            Running::Authflow(server) => SocketAddr::from((Ipv4Addr::LOCALHOST, server.port())),
        }
    }

    /// The folder of the server's files.
    pub(super) fn folder(&self) -> Option<&Path> {
        match &self.server {
            Running::Bare { .. } => None,
            Running::Authflow(server) => Some(server.folder()),
        }
    }

    pub(super) fn cpu(&self) -> Result<Cpu> {
        let pid = match &self.server {
            Running::Bare { process, .. } => process.pid(),
            Running::Authflow(server) => server.pid(),
        };
        let database = match self.postgres.as_ref().and_then(PrivatePostgres::pid) {
            Some(pid) => cpu::of_family(pid)?,
            None => Duration::ZERO,
        };
        Ok(Cpu {
            server: cpu::of_process(pid)?,
            database,
        })
    }

    /// A request maker for each connection, with live tokens.
    pub(super) fn requests(
        &self,
        operation: Operation,
        connections: usize,
        runtime: &Runtime,
    ) -> Result<Vec<Requests>> {
        let host = self.address().to_string();
        let issue = format!("grant_type=client_credentials&scope={SCOPE}&resource={RESOURCE}");
        let same =
            |client, form: &str| Ok(vec![Requests::same(&host, operation, client, form)?; connections]);
        match (&self.server, operation) {
            (_, Operation::ClientCredentials) => same(MACHINE, &issue),
            (Running::Bare { .. }, Operation::Introspect) => {
                // As long as one of ours, since it is what is parsed.
                same(ASKER, &format!("token=mcpat_0000{}000000", "A".repeat(43)))
            }
            (Running::Bare { .. }, Operation::Rotate) => {
                let refresh = format!("mcprt_0000{}000000", "A".repeat(43));
                Ok(vec![Requests::rotating(&host, APP, &refresh)?; connections])
            }
            (Running::Authflow(server), Operation::Introspect) => {
                let answer = runtime.block_on(caller(server)?.issue())?;
                let Answer::Granted { access, .. } = answer else {
                    bail!("no token to ask about: {answer:?}")
                };
                same(ASKER, &format!("token={access}"))
            }
            (Running::Authflow(server), Operation::Rotate) => {
                let refresh_tokens = runtime.block_on(sign_in(server, connections))?;
                refresh_tokens
                    .iter()
                    .map(|refresh| Requests::rotating(&host, APP, refresh))
                    .collect()
            }
        }
    }
}

fn caller(server: &TestServer) -> Result<Caller> {
    Caller::new(server.issuer(), username(0), Ipv4Addr::LOCALHOST)
}

/// Refresh tokens of separate families, through the real pages.
async fn sign_in(server: &TestServer, count: usize) -> Result<Vec<String>> {
    let caller = caller(server)?;
    let mut tokens = Vec::with_capacity(count);
    for number in 0..count {
        let code = caller
            .authorize(&format!("{number:064}"))
            .await?
            .context("the server is gone")?;
        match caller.redeem(&code).await? {
            Answer::Granted {
                refresh: Some(refresh),
                ..
            } => tokens.push(refresh),
            other => bail!("no refresh token: {other:?}"),
        }
    }
    Ok(tokens)
}

fn start_bare(ourselves: &Path) -> Result<Running> {
    let port = free_port()?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut command = if can_pin_server() {
        let mut command = Command::new("taskset");
        command.args(["--cpu-list", SERVER_CORE]).arg(ourselves);
        command
    } else {
        Command::new(ourselves)
    };
    command.args(["bare-axum", "--listen", &address.to_string()]);
    let mut process = OwnedProcess::spawn("bare axum", &mut command, StopSignal::Terminate, None)?;
    process.wait_until("listening on", Duration::from_secs(30))?;
    Ok(Running::Bare { process, address })
}
