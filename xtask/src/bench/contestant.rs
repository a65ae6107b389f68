//! A server that is measured: started, pinned, given what its requests need.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use mcp_authflow_jose::{Algorithm, SigningKey};
use mcp_authflow_testkit::server::{Store, TestServer};
use mcp_authflow_testkit::service::port::free_port;
use mcp_authflow_testkit::service::postgres::PrivatePostgres;
use mcp_authflow_testkit::service::process::{OwnedProcess, StopSignal};
use tokio::runtime::Runtime;

use super::operation::{Operation, Requests, SIGNERS, Signer};
use super::{SERVER_CORE, can_pin_server, cpu};
use crate::crowd::caller::{Answer, Caller};
use crate::crowd::{APP, ASKER, MACHINE, RESOURCE, SCOPE, bootstrap, username};
use crate::provide;

/// How many assertions are signed before a measurement: signing costs the load more than checking costs the server.
const SIGNED_AHEAD: usize = 24_000;

/// A few addresses ask as much here as a whole crowd would: every request is counted as always, and none refused.
const LIMITS: &str = "[limits]\ntoken_requests_per_address_per_minute = 10000000\n\
                      introspections_per_client_per_minute = 10000000\n";

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
    signers: Signers,
}

enum Running {
    Bare {
        process: OwnedProcess,
        address: SocketAddr,
    },
    Authflow(Box<TestServer>),
}

impl Contestant {
    pub(super) fn start(kind: Kind, binary: &Path, signers: &Signers) -> Result<Self> {
        let (store, postgres) = match kind {
            Kind::BareAxum => {
                return Ok(Self {
                    server: start_bare(&binary.with_file_name("xtask"))?,
                    postgres: None,
                    signers: signers.clone(),
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
            .bootstrap(format!("{}{}", bootstrap(1), signers.bootstrap()))
            .config(LIMITS);
        if can_pin_server() {
            builder = builder.through(["taskset", "--cpu-list", SERVER_CORE]);
        }
        Ok(Self {
            server: Running::Authflow(Box::new(builder.start()?)),
            postgres,
            signers: signers.clone(),
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

    /// A signer for each connection, with what it needs for a measurement signed ahead.
    fn signed(&self, operation: Operation, connections: usize) -> Result<Vec<Requests>> {
        let (name, key) = self.signers.of(operation);
        let audience = match &self.server {
            Running::Bare { address, .. } => format!("http://{address}"),
            Running::Authflow(server) => server.issuer().to_owned(),
        };
        let run = std::time::SystemTime::now()
            .duration_since(std::time::SystemTime::UNIX_EPOCH)?
            .as_nanos();
        (0..connections)
            .map(|number| {
                let signer = Signer {
                    key: key.clone(),
                    name,
                    audience: audience.clone(),
                    tag: format!("{run}-{number}"),
                    made: 0,
                };
                Requests::signed(&self.address().to_string(), signer, SIGNED_AHEAD / connections)
            })
            .collect()
    }

    /// Where the database is, if it is a server of its own.
    pub(super) fn database_url(&self) -> Option<&str> {
        self.postgres.as_ref().map(PrivatePostgres::url)
    }

    /// Ends the server, not its database.
    pub(super) fn end(&mut self) -> Result<()> {
        match &mut self.server {
            Running::Bare { .. } => bail!("the bare server is not ended"),
            Running::Authflow(server) => server.stop(Duration::from_secs(30)).map(drop),
        }
    }

    /// Starts it again on the same state.
    pub(super) fn start_again(&mut self) -> Result<()> {
        match &mut self.server {
            Running::Bare { .. } => bail!("the bare server is not started again"),
            Running::Authflow(server) => server.start_again(),
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
            (_, Operation::AssertionEs256 | Operation::AssertionRs256) => self.signed(operation, connections),
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

/// The clients that sign, by the operation that they are for.
#[derive(Clone)]
pub(super) struct Signers {
    es256: Arc<SigningKey>,
    rs256: Arc<SigningKey>,
}

impl Signers {
    pub(super) fn generate() -> Result<Self> {
        Ok(Self {
            es256: Arc::new(SigningKey::generate(Algorithm::Es256)?),
            rs256: Arc::new(SigningKey::generate(Algorithm::Rs256)?),
        })
    }

    fn of(&self, operation: Operation) -> (&'static str, &Arc<SigningKey>) {
        match operation {
            Operation::AssertionRs256 => ("signer-rs256", &self.rs256),
            _ => ("signer-es256", &self.es256),
        }
    }

    /// Their part of the bootstrap file.
    fn bootstrap(&self) -> String {
        [Operation::AssertionEs256, Operation::AssertionRs256]
            .map(|operation| {
                let (name, key) = self.of(operation);
                let jwks = serde_json::json!({ "keys": [key.public_jwk()] });
                let client = |number| format!(
                    "\n[[client]]\nclient_id = \"{name}-{number}\"\nname = \"Signer\"\n\
                     token_endpoint_auth_method = \"private_key_jwt\"\njwks = '{jwks}'\n\
                     grant_types = [\"client_credentials\"]\nscope = \"{SCOPE}\"\nresources = [\"{RESOURCE}\"]\n"
                );
                (0..SIGNERS).map(client).collect::<String>()
            })
            .concat()
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
