//! The client libraries, and how each of them is set up here.

use anyhow::Result;
use serde_json::json;
use tokio::process::Command;

use super::dialogue::Driver;
use super::registration::Identity;
use super::site::Site;
use super::{Name, client_rmcp, workshop};

/// A client library, or a program built on one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Client {
    /// `@modelcontextprotocol/sdk`
    TsV1,
    /// `@modelcontextprotocol/client`
    TsV2,
    /// `mcp`, the Python SDK
    Python,
    /// The client of `fastmcp`
    Fastmcp,
    /// `rmcp`, the Rust SDK
    Rmcp,
    /// `mcp-remote`, the program between standard streams and HTTP
    McpRemote,
    /// The command line of the Inspector
    Inspector,
}

impl Client {
    /// All of them; the matrix sees each.
    pub(super) const ALL: &'static [Self] = &[
        Self::TsV1,
        Self::TsV2,
        Self::Python,
        Self::Fastmcp,
        Self::Rmcp,
        Self::McpRemote,
        Self::Inspector,
    ];
    /// Those that live through the longest story, on every store.
    pub(super) const SDKS: &'static [Self] = &[Self::TsV2, Self::TsV1, Self::Python, Self::Rmcp];

    /// The judge that it is on every store; the others are seen by the matrix alone.
    pub(super) fn name(self) -> Name {
        match self {
            Self::TsV2 => Name::TsV2,
            Self::TsV1 => Name::TsV1,
            Self::Python => Name::Python,
            Self::Rmcp => Name::Rmcp,
            Self::Fastmcp | Self::McpRemote | Self::Inspector => Name::Matrix,
        }
    }

    /// The package and its version, as the manifests pin them.
    pub(super) fn package(self) -> &'static str {
        match self {
            Self::TsV2 => "@modelcontextprotocol/client 2.4.0",
            Self::TsV1 => "@modelcontextprotocol/sdk 1.32.2",
            Self::Python => "mcp 2.3.0 (Python)",
            Self::Fastmcp => "fastmcp 4.2.3 (Python)",
            Self::Rmcp => "rmcp 3.11 (Rust)",
            Self::McpRemote => "mcp-remote 0.15.1",
            Self::Inspector => "@modelcontextprotocol/inspector 2.12.0 --cli",
        }
    }

    /// Each registers with another method and host, so that together they cover what clients do.
    fn token_endpoint_auth_method(self) -> &'static str {
        match self {
            Self::TsV1 => "client_secret_post",
            Self::Python => "client_secret_basic",
            Self::TsV2 | Self::Rmcp | Self::Fastmcp | Self::McpRemote | Self::Inspector => "none",
        }
    }

    /// How it presents a secret that an operator gave it.
    pub(super) fn static_auth_method(self) -> &'static str {
        match self {
            Self::TsV1 | Self::Fastmcp => "client_secret_post",
            Self::TsV2 | Self::Python | Self::Rmcp | Self::McpRemote | Self::Inspector => {
                "client_secret_basic"
            }
        }
    }

    pub(super) fn redirect_uri(self, port: u16) -> String {
        let (host, path) = self.callback();
        format!("http://{host}:{port}{path}")
    }

    /// The same for any port, as documents and operators write it (RFC 8252 §7.3).
    pub(super) fn redirect_uri_of_any_port(self) -> String {
        let (host, path) = self.callback();
        format!("http://{host}{path}")
    }

    fn callback(self) -> (&'static str, &'static str) {
        match self {
            Self::TsV1 | Self::Python | Self::Fastmcp => ("localhost", "/callback"),
            Self::TsV2 | Self::Rmcp => ("127.0.0.1", "/callback"),
            Self::McpRemote => ("localhost", "/oauth/callback"),
            Self::Inspector => ("127.0.0.1", "/oauth/callback"),
        }
    }

    /// Whether it opens the page itself that the person comes back to.
    pub(super) fn has_own_callback_page(self) -> bool {
        matches!(self, Self::Fastmcp | Self::McpRemote | Self::Inspector)
    }

    /// Whether the library asks its person for a scope that a tool turns out to need. The first
    /// TypeScript line refreshes instead, and `rmcp` leaves it to the application.
    pub(super) fn steps_up(self) -> bool {
        matches!(self, Self::TsV2 | Self::Python)
    }

    /// The driver, its packages installed; none where it is a part of this program.
    pub(super) fn program(self) -> Result<Option<Command>> {
        Ok(Some(match self {
            Self::TsV1 => workshop::node_script("ts-v1", "driver.mjs")?,
            Self::TsV2 => workshop::node_script("ts-v2", "driver.mjs")?,
            Self::Python => workshop::python_script("python", "driver.py")?,
            Self::Fastmcp => workshop::python_script("fastmcp", "driver.py")?,
            Self::Rmcp => return Ok(None),
            Self::McpRemote => workshop::node_script("mcp-remote", "driver.mjs")?,
            Self::Inspector => workshop::node_script("inspector", "driver.mjs")?,
        }))
    }

    /// Starts the library's driver.
    pub(super) fn drive(
        self,
        site: &Site,
        redirect_uri: &str,
        identity: &Identity,
        expects_denial: bool,
    ) -> Result<Driver> {
        let mcp_url = &site.mcp_url;
        let mut options = json!({
            "client_name": self.package(),
            "redirect_uri": redirect_uri,
            "token_endpoint_auth_method": self.token_endpoint_auth_method(),
            "tool": site.play.call.tool,
            "arguments": site.play.call.arguments,
            "expect_denied": expects_denial,
        });
        identity.tell(&mut options);
        if site.is_sse {
            options["transport"] = "sse".into();
        }
        if let Some(step_up) = site.play.step_up.as_ref().filter(|_| self.steps_up()) {
            options["step_up"] = step_up.call.to_json();
        }
        if let Some(stream) = &site.play.stream {
            options["stream"] = stream.call.to_json();
            options["stream"]["answer"] = stream.answer.to_json();
        }
        let Some(mut command) = self.program()? else {
            let mcp_url = mcp_url.to_owned();
            return Ok(Driver::task(|dialogue| {
                client_rmcp::play(mcp_url, options, dialogue)
            }));
        };
        command.arg(mcp_url).arg(options.to_string());
        Driver::program(command)
    }
}
