//! The built `authflow` binary as a test sees it: started, ready, and gone afterwards.
//!
//! ```no_run
//! use mcp_authflow_testkit::server::{Store, TestServer};
//!
//! let server = TestServer::builder()
//!     .store(Store::Sqlite)
//!     .bootstrap("[[user]]\nusername = \"alice\"\npassword = \"correct horse battery staple\"\n")
//!     .start()?;
//! println!("{}", server.url("/authorize"));
//! # anyhow::Ok(())
//! ```
//!
//! Starting blocks for the fraction of a second that the server needs, and is meant
//! to be called from asynchronous tests too.

#![expect(
    clippy::disallowed_methods,
    reason = "the test server's room: it finds the built binary through the environment"
)]

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use tempfile::TempDir;

use crate::service::output::Output;
use crate::service::port::free_port;
use crate::service::process::{OwnedProcess, StopSignal};

/// What the server prints once it answers.
const READY: &str = "listening on";
const PATIENCE: Duration = Duration::from_secs(60);
/// Another process may take the port between asking for it and listening.
const TRIES: usize = 3;

/// Where the server keeps its state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Store {
    /// In the process, gone with it.
    #[default]
    Memory,
    /// In one file in the server's own temporary folder.
    Sqlite,
    /// At this URL, for example of a [`crate::service::postgres::FreshDatabase`].
    Postgres(String),
}

/// What to start; see [`TestServer::builder`].
#[derive(Clone, Debug, Default)]
pub struct TestServerBuilder {
    store: Store,
    issuer_path: String,
    bootstrap: Option<String>,
    config: Option<String>,
    binary: Option<PathBuf>,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    prefix: Vec<String>,
    sibling: Option<Sibling>,
}

/// What the nodes of one deployment share.
#[derive(Clone, Debug)]
struct Sibling {
    issuer: String,
    server_key: Option<PathBuf>,
}

impl TestServerBuilder {
    /// Chooses the store; memory by default.
    #[must_use]
    pub fn store(mut self, store: Store) -> Self {
        self.store = store;
        self
    }

    /// Gives the issuer a path, such as `/tenant`; none by default.
    #[must_use]
    pub fn issuer_path(mut self, path: &str) -> Self {
        path.clone_into(&mut self.issuer_path);
        self
    }

    /// The TOML text for `--bootstrap`: users, resources, clients.
    #[must_use]
    pub fn bootstrap(mut self, toml: impl Into<String>) -> Self {
        self.bootstrap = Some(toml.into());
        self
    }

    /// The TOML text for `--config`.
    #[must_use]
    pub fn config(mut self, toml: impl Into<String>) -> Self {
        self.config = Some(toml.into());
        self
    }

    /// The binary to run, for example `env!("CARGO_BIN_EXE_authflow")`; by default
    /// `AUTHFLOW_BIN`, else the newest of the target folder's.
    #[must_use]
    pub fn binary(mut self, path: impl Into<PathBuf>) -> Self {
        self.binary = Some(path.into());
        self
    }

    /// Adds an argument behind `serve`.
    #[must_use]
    pub fn argument(mut self, argument: impl Into<String>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Sets a variable in the server's environment, which otherwise has none of `AUTHFLOW_*`.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Runs the server through another program that executes it, such as `taskset -c 0`.
    #[must_use]
    pub fn through<const N: usize>(mut self, program: [&str; N]) -> Self {
        self.prefix = program.map(str::to_owned).to_vec();
        self
    }

    /// Makes it another node of the same deployment: the issuer and the server key of `first`. Give it the same store.
    #[must_use]
    pub fn beside(mut self, first: &TestServer) -> Self {
        let key = first.place.file("server.key");
        self.sibling = Some(Sibling {
            issuer: first.issuer.clone(),
            server_key: key.is_file().then_some(key),
        });
        self
    }

    /// Gives it this issuer, such as the origin of a proxy in front, instead of its own address.
    #[must_use]
    pub fn issuer(mut self, issuer: &str) -> Self {
        self.sibling = Some(Sibling {
            issuer: issuer.to_owned(),
            server_key: None,
        });
        self
    }

    /// Starts the server and waits until it answers.
    ///
    /// # Errors
    /// Shows the server's last lines when it does not come up.
    pub fn start(self) -> anyhow::Result<TestServer> {
        let binary = match &self.binary {
            Some(binary) => binary.clone(),
            None => built_binary()?,
        };
        // It is run in a folder of its own.
        let binary = std::path::absolute(binary)?;
        let folder = tempfile::Builder::new().prefix("authflow-server-").tempdir()?;
        let place = Place {
            builder: self,
            binary,
            folder,
        };
        place.write_files()?;
        if matches!(place.builder.store, Store::Postgres(_)) && place.builder.sibling.is_none() {
            place.run(["migrate"])?;
        }
        let mut last_error = None;
        for _ in 0..TRIES {
            let port = free_port()?;
            match place.serve(port) {
                Ok(process) => {
                    let origin = format!("http://127.0.0.1:{port}");
                    let issuer = place.issuer(port);
                    return Ok(TestServer {
                        process,
                        port,
                        origin,
                        issuer,
                        place,
                    });
                }
                Err(error) => last_error = Some(error),
            }
        }
        Err(last_error.unwrap_or_else(|| anyhow::anyhow!("the server was never tried")))
    }
}

/// What stays the same when the server is started again.
#[derive(Debug)]
struct Place {
    builder: TestServerBuilder,
    binary: PathBuf,
    folder: TempDir,
}

impl Place {
    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write_files(&self) -> anyhow::Result<()> {
        if let Some(toml) = &self.builder.bootstrap {
            write_private(&self.file("bootstrap.toml"), toml)?;
        }
        if let Some(toml) = &self.builder.config {
            write_private(&self.file("authflow.toml"), toml)?;
        }
        let shared = self
            .builder
            .sibling
            .as_ref()
            .and_then(|first| first.server_key.as_ref());
        if let Some(shared) = shared {
            write_private(&self.file("server.key"), &std::fs::read_to_string(shared)?)?;
        } else if matches!(self.builder.store, Store::Postgres(_)) {
            let mut key = [0_u8; 32];
            getrandom::fill(&mut key).map_err(|error| anyhow::anyhow!("no randomness: {error}"))?;
            let words = key
                .chunks_exact(8)
                .map(|word| word.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)));
            let hex: Vec<String> = words.map(|word| format!("{word:016x}")).collect();
            write_private(&self.file("server.key"), &hex.concat())?;
        }
        Ok(())
    }

    /// The binary with a verb, in the server's folder and environment.
    fn command(&self, verb: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Command {
        let mut words = self
            .builder
            .prefix
            .iter()
            .map(OsStr::new)
            .chain([self.binary.as_os_str()]);
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words).args(verb).current_dir(self.folder.path());
        for (name, _) in std::env::vars_os() {
            let is_setting = name.to_str().is_some_and(|name| name.starts_with("AUTHFLOW_"));
            if is_setting
                || ["DATABASE_URL", "REDIS_URL", "ALLOWED_MCP_ORIGINS"]
                    .iter()
                    .any(|n| name == *n)
            {
                command.env_remove(name);
            }
        }
        command.args(["--database-url", &self.database_url()]);
        command.arg("--data-dir").arg(self.folder.path());
        if self.builder.config.is_some() {
            command.arg("--config").arg(self.file("authflow.toml"));
        }
        if matches!(self.builder.store, Store::Postgres(_)) {
            command.env("AUTHFLOW_SERVER_KEY_FILE", self.file("server.key"));
        }
        command.envs(self.builder.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    fn database_url(&self) -> String {
        match &self.builder.store {
            Store::Memory => "memory:".to_owned(),
            Store::Sqlite => format!("sqlite:{}", self.file("state.sqlite").display()),
            Store::Postgres(url) => url.clone(),
        }
    }

    fn issuer(&self, port: u16) -> String {
        match &self.builder.sibling {
            Some(first) => first.issuer.clone(),
            None => format!("http://127.0.0.1:{port}{}", self.builder.issuer_path),
        }
    }

    fn serve(&self, port: u16) -> anyhow::Result<OwnedProcess> {
        let mut command = self.command(["serve"]);
        command
            .args(["--listen", &format!("127.0.0.1:{port}")])
            .args(["--issuer", &self.issuer(port)]);
        if self.builder.bootstrap.is_some() {
            command.arg("--bootstrap").arg(self.file("bootstrap.toml"));
        }
        command.args(&self.builder.arguments);
        let mut process = OwnedProcess::spawn(
            "authflow",
            &mut command,
            StopSignal::Terminate,
            Some(self.folder.path()),
        )?;
        process.wait_until(READY, PATIENCE)?;
        Ok(process)
    }

    fn run(&self, verb: impl IntoIterator<Item = impl AsRef<OsStr>>) -> anyhow::Result<String> {
        let mut command = self.command(verb);
        let output = command
            .output()
            .with_context(|| format!("cannot run {command:?}"))?;
        ensure!(
            output.status.success(),
            "{command:?} failed ({}):\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

/// A running `authflow serve` on a free loopback port, killed by its pid when dropped.
#[derive(Debug)]
pub struct TestServer {
    // Dropped in this order: first the process ends, then its folder goes.
    process: OwnedProcess,
    port: u16,
    origin: String,
    issuer: String,
    place: Place,
}

impl TestServer {
    /// Begins with a server in memory, without users, clients or resources.
    pub fn builder() -> TestServerBuilder {
        TestServerBuilder::default()
    }

    /// The issuer, for example `http://127.0.0.1:41234/tenant`.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The issuer without its path.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// A URL under the issuer: `server.url("/token")`.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.issuer)
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The server's process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// The folder with the server's files.
    pub fn folder(&self) -> &Path {
        self.place.folder.path()
    }

    /// The server's log so far.
    pub fn output(&self) -> &Output {
        self.process.output()
    }

    /// Runs another verb and answers how it ended, refused or not, with everything that it wrote.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn try_run<const N: usize>(&self, verb: [&str; N]) -> anyhow::Result<std::process::Output> {
        let mut command = self.place.command(verb);
        command
            .output()
            .with_context(|| format!("cannot run {command:?}"))
    }

    /// Runs another verb of the binary on the same store, such as `["user", "list"]`,
    /// and returns what it printed.
    ///
    /// # Errors
    /// Shows what the verb wrote to stderr when it refused.
    pub fn run<const N: usize>(&self, verb: [&str; N]) -> anyhow::Result<String> {
        self.place.run(verb)
    }

    /// The same with any number of words.
    ///
    /// # Errors
    /// As there.
    pub fn run_all<'a>(&self, verb: impl IntoIterator<Item = &'a str>) -> anyhow::Result<String> {
        self.place.run(verb)
    }

    /// Ends the server with SIGKILL, as a crash would.
    pub fn kill(&mut self) -> anyhow::Result<ExitStatus> {
        self.process.kill()
    }

    /// Ends the server with SIGTERM and waits for its graceful end.
    pub fn stop(&mut self, grace: Duration) -> anyhow::Result<ExitStatus> {
        self.process.stop(grace)
    }

    /// Starts the server again on the same port, store and files, once it has ended.
    pub fn start_again(&mut self) -> anyhow::Result<()> {
        if self.process.has_ended()?.is_none() {
            bail!("the server still runs; kill or stop it first");
        }
        self.process = self.place.serve(self.port)?;
        Ok(())
    }
}

/// The binary that `AUTHFLOW_BIN` names, else the newest one in the target folder.
///
/// # Errors
/// Says how to build it when there is none.
pub fn built_binary() -> anyhow::Result<PathBuf> {
    if let Some(path) = std::env::var_os("AUTHFLOW_BIN") {
        let path = PathBuf::from(path);
        ensure!(
            path.is_file(),
            "AUTHFLOW_BIN names {}, which is no file",
            path.display()
        );
        return Ok(path);
    }
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target"),
        PathBuf::from,
    );
    ["release", "debug"]
        .iter()
        .map(|profile| target.join(profile).join("authflow"))
        .filter_map(|path| Some((path.metadata().ok()?.modified().ok()?, path)))
        .max()
        .map(|(_, path)| path)
        .context("no built `authflow`; run `cargo build` first, or set AUTHFLOW_BIN")
}

/// Writes a file that only we can read, since it may hold secrets.
fn write_private(path: &Path, text: &str) -> anyhow::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("cannot write {}", path.display()))?;
    file.write_all(text.as_bytes())?;
    Ok(())
}
