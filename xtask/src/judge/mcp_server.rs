//! MCP servers that know nothing of sign-in, from `judges/mcp-server-*`.

use std::process::Command;
use std::time::Duration;

use anyhow::Result;
use mcp_authflow_testkit::service::port::free_port;
use mcp_authflow_testkit::service::process::{OwnedProcess, StopSignal};

use super::workshop;

const PATIENCE: Duration = Duration::from_secs(60);

/// A server's program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum McpServer {
    /// The note book, on the TypeScript SDK.
    TypeScript,
    /// The note book, on `FastMCP`.
    Python,
    /// Everything that the scenarios of the conformance package ask for.
    Everything,
}

/// A server that runs.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) url: String,
    /// Held for as long as it runs.
    _process: OwnedProcess,
}

impl McpServer {
    /// The package that it is built on, and its version.
    pub(super) fn package(self) -> &'static str {
        match self {
            Self::TypeScript | Self::Everything => "@modelcontextprotocol/server 2.4.0",
            Self::Python => "fastmcp 4.2.3",
        }
    }

    fn command(self) -> Result<Command> {
        Ok(match self {
            Self::TypeScript => workshop::node_script("mcp-server-ts", "notes.mjs")?,
            Self::Everything => workshop::node_script("mcp-server-ts", "everything.mjs")?,
            Self::Python => workshop::python_script("mcp-server-python", "notes.py")?,
        }
        .into_std())
    }

    /// Starts it on a free port.
    pub(super) fn start(self) -> Result<Running> {
        self.start_at("/mcp", &[])
    }

    /// Starts the Python one on a free port, speaking the older HTTP with SSE.
    pub(super) fn start_python_with_sse() -> Result<Running> {
        Self::Python.start_at("/sse", &["--sse"])
    }

    fn start_at(self, path: &str, mode: &[&str]) -> Result<Running> {
        let port = free_port()?;
        let mut command = self.command()?;
        command.args(mode).arg(port.to_string());
        let mut process = OwnedProcess::spawn("the MCP server", &mut command, StopSignal::Terminate, None)?;
        let ready = match self {
            Self::TypeScript | Self::Everything => "listening on",
            Self::Python => "Uvicorn running on",
        };
        process.wait_until(ready, PATIENCE)?;
        Ok(Running {
            url: format!("http://127.0.0.1:{port}{path}"),
            _process: process,
        })
    }

    /// The command that starts it on its standard streams.
    pub(super) fn on_stdio(self) -> Result<Command> {
        let mut command = self.command()?;
        command.arg("--stdio");
        Ok(command)
    }
}
