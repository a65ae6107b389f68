//! The server under test, as an operator would run it, inside the namespace.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use mcp_authflow_testkit::service::postgres::PrivatePostgres;
use mcp_authflow_testkit::service::process::{OwnedProcess, StopSignal};

use crate::command::capture;

/// Its name and public address.
pub(crate) const ISSUER: &str = "https://as.test";
pub(crate) const RESOURCE: &str = "https://rs1.test/mcp";
pub(crate) const SCOPE: &str = "mcp:read";
pub(crate) const USERNAME: &str = "alice";
pub(crate) const PASSWORD: &str = "correct horse battery staple";

/// A proxy that nobody has configured; whoever believes the environment asks it.
const PROXY: &str = "http://10.9.9.9:3128";
const PATIENCE: Duration = Duration::from_secs(60);

const BOOTSTRAP: &str = r#"
[[user]]
username = "alice"
password = "correct horse battery staple"

[[resource]]
uri = "https://rs1.test/mcp"
name = "Resource 1"
introspection_client_id = "rs1"
introspection_client_secret = "mcpcs_the-first-resource-shows-this-secret-here"
[[resource.scope]]
name = "mcp:read"
description = "Read"

[[client]]
client_id = "pub"
name = "Public"
redirect_uris = ["https://client.test/cb"]
token_endpoint_auth_method = "none"
grant_types = ["authorization_code", "refresh_token"]
"#;

/// How a server is to be started.
#[derive(Clone, Copy)]
pub(crate) struct Plan<'a> {
    /// The program.
    pub(crate) binary: &'a Path,
    /// The authority that it trusts.
    pub(crate) ca_file: &'a Path,
    /// Its port on 127.0.0.1.
    pub(crate) port: u16,
    /// What its configuration says beside the usual.
    pub(crate) config: &'a str,
    /// The database that several nodes share; by default it has a file of its own.
    pub(crate) shared: Option<&'a Shared>,
}

/// What the nodes of one server share.
pub(crate) struct Shared {
    postgres: PrivatePostgres,
    key_file: PathBuf,
}

impl Shared {
    /// A private PostgreSQL, and a key in this folder.
    pub(crate) fn start(folder: &Path) -> Result<Self> {
        use std::os::unix::fs::PermissionsExt;
        let key_file = folder.join("server.key");
        // A key of tests protects nothing.
        std::fs::write(&key_file, "5a".repeat(32))?;
        std::fs::set_permissions(&key_file, PermissionsExt::from_mode(0o600))?;
        let postgres = PrivatePostgres::start(false)?;
        Ok(Self { postgres, key_file })
    }
}

/// A running server; it ends with this value.
pub(crate) struct AuthServer {
    // Dropped in this order: first the process ends, then its folder goes.
    process: OwnedProcess,
    folder: tempfile::TempDir,
    binary: PathBuf,
    database: String,
    key_file: Option<PathBuf>,
    pub(crate) address: SocketAddr,
}

impl AuthServer {
    /// Starts it and waits until it answers.
    pub(crate) fn start(plan: &Plan<'_>) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("authflow-namespace-").tempdir()?;
        let bootstrap = folder.path().join("bootstrap.toml");
        std::fs::write(&bootstrap, BOOTSTRAP)?;
        let config = folder.path().join("authflow.toml");
        std::fs::write(&config, plan.config)?;
        let address: SocketAddr = format!("127.0.0.1:{}", plan.port).parse()?;
        let database = plan.shared.map_or_else(
            || format!("sqlite:{}", folder.path().join("state.sqlite").display()),
            |shared| shared.postgres.url().to_owned(),
        );
        if let Some(shared) = plan.shared {
            let mut command = Command::new(plan.binary);
            command
                .args(["migrate", "--database-url", &database])
                .env_clear()
                .env("AUTHFLOW_SERVER_KEY_FILE", &shared.key_file)
                .current_dir(folder.path());
            capture(&mut command)?;
        }
        let mut command = Command::new(plan.binary);
        command
            .arg("serve")
            .args(["--issuer", ISSUER, "--listen", &address.to_string()])
            .args(["--database-url", &database])
            .arg("--data-dir")
            .arg(folder.path())
            .arg("--config")
            .arg(&config)
            .arg("--bootstrap")
            .arg(&bootstrap)
            .current_dir(folder.path())
            .env_clear()
            .env("AUTHFLOW_TRUSTED_PROXIES", "127.0.0.1")
            // It would ask itself by its public address: the operator's choice, and nothing to be judged here.
            .env("AUTHFLOW_CHECK_PUBLIC_URL", "false")
            .env("SSL_CERT_FILE", plan.ca_file)
            .env("SSL_CERT_DIR", folder.path().join("none"));
        for name in ["http_proxy", "https_proxy", "all_proxy"] {
            command.env(name, PROXY).env(name.to_ascii_uppercase(), PROXY);
        }
        if let Some(shared) = plan.shared {
            command.env("AUTHFLOW_SERVER_KEY_FILE", &shared.key_file);
        }
        let mut process = OwnedProcess::spawn(
            "authflow",
            &mut command,
            StopSignal::Terminate,
            Some(folder.path()),
        )?;
        process.wait_until("listening on", PATIENCE)?;
        Ok(Self {
            process,
            folder,
            binary: plan.binary.to_owned(),
            database,
            key_file: plan.shared.map(|shared| shared.key_file.clone()),
            address,
        })
    }

    /// Its log so far.
    pub(crate) fn log(&self) -> String {
        self.process.output().text()
    }

    /// Runs another verb of the program on the same database, and returns what it printed.
    pub(crate) fn run(&self, verb: &[&str]) -> Result<String> {
        let mut command = Command::new(&self.binary);
        command
            .args(verb)
            .args(["--database-url", &self.database])
            .arg("--data-dir")
            .arg(self.folder.path())
            .env_clear()
            .current_dir(self.folder.path());
        if let Some(key_file) = &self.key_file {
            command.env("AUTHFLOW_SERVER_KEY_FILE", key_file);
        }
        capture(&mut command)
    }

    /// Bytes of memory that it holds now.
    pub(crate) fn memory(&self) -> Result<u64> {
        self.status("VmRSS:")
    }

    /// The most bytes of memory that it held since [`AuthServer::forget_peak`].
    pub(crate) fn peak_memory(&self) -> Result<u64> {
        self.status("VmHWM:")
    }

    /// Begins to look for the peak anew (proc(5), `clear_refs`).
    pub(crate) fn forget_peak(&self) -> Result<()> {
        std::fs::write(format!("/proc/{}/clear_refs", self.process.pid()), "5")
            .context("the peak of memory cannot be reset")
    }

    /// How many files and sockets it has open.
    pub(crate) fn open_files(&self) -> Result<usize> {
        Ok(std::fs::read_dir(format!("/proc/{}/fd", self.process.pid()))?.count())
    }

    fn status(&self, field: &str) -> Result<u64> {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.process.pid()))?;
        let line = text
            .lines()
            .find(|line| line.starts_with(field))
            .context("no such line")?;
        let kib: u64 = line.split_whitespace().nth(1).unwrap_or("").parse()?;
        Ok(kib * 1_024)
    }

    /// Ends it and waits for its graceful end.
    pub(crate) fn stop(mut self) -> Result<()> {
        let status = self.process.stop(Duration::from_secs(20))?;
        ensure!(status.success(), "the server ended with {status}");
        Ok(())
    }
}
