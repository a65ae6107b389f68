//! An MCP server behind `authflow protect`.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use mcp_authflow_testkit::service::port::free_port;
use mcp_authflow_testkit::service::process::{OwnedProcess, StopSignal};
use tempfile::TempDir;

use super::house::{House, INTROSPECTION_CLIENT, Keeper, person};
use super::mcpjam;
use super::site::{Play, Site};

const PATIENCE: Duration = Duration::from_secs(60);
const SECRET_FILE: &str = "introspection.secret";

/// The scopes of the note book, for a separate authorization server; the door makes them by itself where it is its own.
pub(super) const SCOPES: &str = r#"
[[resource.scope]]
name = "tools:read"
description = "Use tools that only read"

[[resource.scope]]
name = "tools:write"
description = "Use tools that add or change things"

[[resource.scope]]
name = "tools:destructive"
description = "Use tools that may delete or overwrite things"
"#;

/// What is protected.
#[derive(Debug)]
pub(super) enum Behind {
    /// A server that is reached at this URL.
    Url(String),
    /// A server on the standard streams of this command.
    Command(Command),
}

/// A running `authflow protect`.
#[derive(Debug)]
pub(super) struct Door {
    issuer: String,
    pub(super) mcp_url: String,
    is_sse: bool,
    /// Held for as long as the door stands; the process ends before its folder goes.
    _process: OwnedProcess,
    _folder: TempDir,
}

impl Keeper<'_> {
    /// One command: authorization server and door in one process.
    pub(super) fn protect(&self, behind: Behind) -> Result<Door> {
        self.protect_with(behind, mcpjam::BOOTSTRAP, &[])
    }

    /// The same with these clients, and these variables in its environment.
    pub(super) fn protect_with(
        &self,
        behind: Behind,
        more_bootstrap: &str,
        environment: &[(String, String)],
    ) -> Result<Door> {
        let address = format!("127.0.0.1:{}", free_port()?);
        let (folder, mut command) = self.door()?;
        let bootstrap = folder.path().join("bootstrap.toml");
        write_private(&bootstrap, &format!("{}{more_bootstrap}", person()))?;
        command
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .args(["--listen", &address])
            .arg("--bootstrap")
            .arg(bootstrap);
        let origin = format!("http://{address}");
        open(folder, command, behind, origin.clone(), &origin)
    }

    /// The same in front of `house`, whose server people sign in at.
    pub(super) fn protect_for(&self, house: &House, behind: Behind) -> Result<Door> {
        let origin = house.mcp_url.trim_end_matches("/mcp");
        let (folder, mut command) = self.door()?;
        let (client_id, client_secret) = INTROSPECTION_CLIENT;
        write_private(&folder.path().join(SECRET_FILE), client_secret)?;
        command
            .args(["--listen", origin.trim_start_matches("http://")])
            .args(["--public-url", origin, "--issuer", house.server.issuer()])
            .args(["--introspection-client-id", client_id])
            .args(["--introspection-client-secret-file", SECRET_FILE]);
        open(folder, command, behind, house.server.issuer().to_owned(), origin)
    }

    /// The same with tokens that the door checks by their signature, and for clients of MCP 2025-03-26 too.
    pub(super) fn protect_with_jwts(&self, house: &House, behind: Behind) -> Result<Door> {
        house
            .server
            .run(["resource", "set", &house.mcp_url, "--access-token-format", "jwt"])?;
        let origin = house.mcp_url.trim_end_matches("/mcp");
        let (folder, mut command) = self.door()?;
        command
            .args(["--listen", origin.trim_start_matches("http://")])
            .args(["--public-url", origin, "--issuer", house.server.issuer()])
            .env("AUTHFLOW_PROTECT__AUTHORIZATION_SERVER_ALIASES", "copy");
        open(folder, command, behind, house.server.issuer().to_owned(), origin)
    }

    fn door(&self) -> Result<(TempDir, Command)> {
        let folder = tempfile::Builder::new().prefix("authflow-door-").tempdir()?;
        let mut command = Command::new(std::path::absolute(&self.binary)?);
        command.arg("protect").current_dir(folder.path()).args([
            "--database-url",
            "sqlite:state.sqlite",
            "--data-dir",
            ".",
        ]);
        Ok((folder, command))
    }
}

fn open(folder: TempDir, mut command: Command, behind: Behind, issuer: String, origin: &str) -> Result<Door> {
    let is_sse = matches!(&behind, Behind::Url(url) if url.ends_with("/sse"));
    match behind {
        Behind::Url(url) => {
            command.arg(url);
        }
        Behind::Command(behind) => {
            command
                .arg("--")
                .arg(behind.get_program())
                .args(behind.get_args());
        }
    }
    let mut process = OwnedProcess::spawn(
        "authflow protect",
        &mut command,
        StopSignal::Terminate,
        Some(folder.path()),
    )?;
    process.wait_until("listening on", PATIENCE)?;
    Ok(Door {
        issuer,
        mcp_url: format!("{origin}/mcp"),
        is_sse,
        _process: process,
        _folder: folder,
    })
}

impl Door {
    /// The door as a client finds it.
    pub(super) fn site(&self) -> Site {
        Site {
            issuer: self.issuer.clone(),
            mcp_url: self.mcp_url.clone(),
            introspection_client: None,
            play: Play::notes(),
            is_sse: self.is_sse,
        }
    }
}

/// Writes a file that only we can read, since it may hold secrets.
fn write_private(path: &Path, text: &str) -> Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("cannot write {}", path.display()))?;
    file.write_all(text.as_bytes())?;
    Ok(())
}
