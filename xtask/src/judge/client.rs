//! The client libraries, and how each of them is set up here.

use anyhow::Result;
use serde_json::json;

use super::dialogue::Driver;
use super::site::Site;
use super::{Name, client_rmcp, workshop};

/// A client library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Client {
    TsV2,
    TsV1,
    Python,
    Rmcp,
}

impl Client {
    pub(super) const ALL: &'static [Self] = &[Self::TsV2, Self::TsV1, Self::Python, Self::Rmcp];

    pub(super) fn name(self) -> Name {
        match self {
            Self::TsV2 => Name::TsV2,
            Self::TsV1 => Name::TsV1,
            Self::Python => Name::Python,
            Self::Rmcp => Name::Rmcp,
        }
    }

    /// The package and its version, as the manifests pin them.
    pub(super) fn package(self) -> &'static str {
        match self {
            Self::TsV2 => "@modelcontextprotocol/client 2.4.0",
            Self::TsV1 => "@modelcontextprotocol/sdk 1.32.2",
            Self::Python => "mcp 2.3.0 (Python)",
            Self::Rmcp => "rmcp 3.11 (Rust)",
        }
    }

    /// Each registers with another method and host, so that together they cover what clients do.
    fn token_endpoint_auth_method(self) -> &'static str {
        match self {
            Self::TsV2 | Self::Rmcp => "none",
            Self::TsV1 => "client_secret_post",
            Self::Python => "client_secret_basic",
        }
    }

    pub(super) fn redirect_uri(self, port: u16) -> String {
        match self {
            Self::TsV1 | Self::Python => format!("http://localhost:{port}/callback"),
            Self::TsV2 | Self::Rmcp => format!("http://127.0.0.1:{port}/callback"),
        }
    }

    /// Whether the library asks its person for a scope that a tool turns out to need. The first
    /// TypeScript line refreshes instead, and `rmcp` leaves it to the application.
    pub(super) fn steps_up(self) -> bool {
        matches!(self, Self::TsV2 | Self::Python)
    }

    /// Starts the library's driver.
    pub(super) fn drive(self, site: &Site, redirect_uri: &str, expects_denial: bool) -> Result<Driver> {
        let mcp_url = &site.mcp_url;
        let mut options = json!({
            "client_name": self.package(),
            "redirect_uri": redirect_uri,
            "token_endpoint_auth_method": self.token_endpoint_auth_method(),
            "tool": site.play.call.tool,
            "arguments": site.play.call.arguments,
            "expect_denied": expects_denial,
        });
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
        let mut command = match self {
            Self::TsV2 => workshop::node_script("ts-v2", "driver.mjs")?,
            Self::TsV1 => workshop::node_script("ts-v1", "driver.mjs")?,
            Self::Python => workshop::python_script("python", "driver.py")?,
            Self::Rmcp => {
                let mcp_url = mcp_url.to_owned();
                return Ok(Driver::task(|dialogue| {
                    client_rmcp::play(mcp_url, options, dialogue)
                }));
            }
        };
        command.arg(mcp_url).arg(options.to_string());
        Driver::program(command)
    }
}
