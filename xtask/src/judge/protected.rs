//! MCP servers of others, unchanged, each behind one `authflow protect`.
//!
//! The door keeps its state in `SQLite` here. What the stores do is judged at the server itself; nothing of it is different
//! behind a door.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::time::timeout;

use super::client::Client;
use super::door::{Behind, Door, SCOPES};
use super::house::{Keeper, StoreKind, USERNAME, http};
use super::injector::Injector;
use super::mcp_server::McpServer;
use super::person::Person;
use super::server_suite::{self, Requirements};
use super::table::Table;
use super::{Arguments, Name, mcpjam, note, story, visitor, workshop};
use crate::command::last_lines;

const STORE: StoreKind = StoreKind::Sqlite;
const PATIENCE: Duration = Duration::from_secs(60);
const BOTH: [McpServer; 2] = [McpServer::Python, McpServer::TypeScript];

/// Everything that is judged behind a door.
pub(super) async fn judge(arguments: &Arguments, keeper: &Keeper<'_>, table: &mut Table) {
    if !arguments.wants_store(STORE) {
        return;
    }
    if arguments.wants(Name::Mcpjam) {
        for server in BOTH {
            let name = format!("mcpjam, {} behind protect", server.package());
            note(table, &name, STORE, "forms", async {
                let behind = server.start()?;
                let door = keeper.protect(Behind::Url(behind.url.clone()))?;
                mcpjam::judge(&door.site(), &mcpjam::Version::ALL).await
            })
            .await;
        }
        let name = format!("mcpjam, {}, separate issuer, JWTs", McpServer::Python.package());
        note(table, &name, STORE, "forms", async {
            let house = keeper.serve(STORE, "", &format!("{SCOPES}{}", mcpjam::BOOTSTRAP))?;
            let behind = McpServer::Python.start()?;
            let door = keeper.protect_with_jwts(&house, Behind::Url(behind.url.clone()))?;
            mcpjam::judge(&door.site(), &mcpjam::Version::ALL).await
        })
        .await;
    }
    if arguments.wants(Name::Protect) {
        judge_clients(keeper, table).await;
    }
    if arguments.wants(Name::ConformanceServer) {
        for requirements in [server_suite::STATELESS, server_suite::WITH_SESSIONS] {
            let name = format!("conformance server {}, protect", requirements.revision);
            note(table, &name, STORE, "forms", judge_suite(keeper, requirements)).await;
        }
        for requirements in [server_suite::STATELESS, server_suite::WITH_SESSIONS] {
            let name = format!("conformance server {}, protect on stdio", requirements.revision);
            note(table, &name, STORE, "forms", async {
                let door = keeper.protect(Behind::Command(McpServer::Everything.on_stdio()?))?;
                let token = visitor::token(&door.site()).await?;
                let injector = Injector::open(&door.mcp_url, Some(&token)).await?;
                server_suite::judge_alone(requirements, &injector.url).await
            })
            .await;
        }
    }
}

async fn judge_clients(keeper: &Keeper<'_>, table: &mut Table) {
    for server in BOTH {
        for &client in Client::SDKS {
            // One is enough for a real browser; the others submit the same forms without one.
            let is_in_chromium = (server, client) == (McpServer::Python, Client::TsV2);
            let way = if is_in_chromium { "chromium" } else { "forms" };
            let name = format!("{}, {} behind protect", client.package(), server.package());
            note(table, &name, STORE, way, async {
                let behind = server.start()?;
                let door = keeper.protect(Behind::Url(behind.url.clone()))?;
                let person = Person::arrive(is_in_chromium).await?;
                story::allowed(&door.site(), client, &person).await
            })
            .await;
        }
    }
    // Standard streams are the same for every client; one of each family sees them.
    for (server, client) in [
        (McpServer::Python, Client::TsV1),
        (McpServer::Python, Client::Rmcp),
        (McpServer::TypeScript, Client::TsV2),
        (McpServer::TypeScript, Client::Python),
    ] {
        let name = format!(
            "{}, {} on stdio behind protect",
            client.package(),
            server.package()
        );
        note(table, &name, STORE, "forms", async {
            let door = keeper.protect(Behind::Command(server.on_stdio()?))?;
            story::allowed(&door.site(), client, &Person::arrive(false).await?).await
        })
        .await;
    }
    // The older transport, which only these two libraries still speak.
    for client in [Client::TsV1, Client::Python] {
        let name = format!(
            "{}, {} with SSE behind protect",
            client.package(),
            McpServer::Python.package()
        );
        note(table, &name, STORE, "forms", async {
            let behind = McpServer::start_python_with_sse()?;
            let door = keeper.protect(Behind::Url(behind.url.clone()))?;
            story::allowed(&door.site(), client, &Person::arrive(false).await?).await
        })
        .await;
    }
    for (server, client) in [
        (McpServer::Python, Client::TsV2),
        (McpServer::TypeScript, Client::Rmcp),
    ] {
        let name = format!("{}, {}, separate issuer", client.package(), server.package());
        note(table, &name, STORE, "forms", async {
            let house = keeper.serve(STORE, "", SCOPES)?;
            let behind = server.start()?;
            let door = keeper.protect_for(&house, Behind::Url(behind.url.clone()))?;
            story::allowed(&door.site(), client, &Person::arrive(false).await?).await
        })
        .await;
    }
    note(
        table,
        "headers behind protect",
        STORE,
        "forms",
        judge_headers(keeper),
    )
    .await;
}

/// The package's verdicts are the same with the door and without, and without a token there is nothing but 401.
async fn judge_suite(keeper: &Keeper<'_>, requirements: Requirements) -> Result<()> {
    let behind = McpServer::Everything.start()?;
    let door = keeper.protect(Behind::Url(behind.url.clone()))?;
    server_suite::refuse(requirements, &door.mcp_url).await?;
    let token = visitor::token(&door.site()).await?;
    let injector = Injector::open(&door.mcp_url, Some(&token)).await?;
    server_suite::judge(requirements, &behind.url, &injector.url).await
}

/// The MCP server sees who calls, and neither a token nor what a client says about callers.
async fn judge_headers(keeper: &Keeper<'_>) -> Result<()> {
    let behind = McpServer::TypeScript.start()?;
    let door = keeper.protect(Behind::Url(behind.url.clone()))?;
    let token = visitor::token(&door.site()).await?;
    let call = json!({
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": { "name": "show_headers", "arguments": {} },
    });
    let response = http()?
        .post(&door.mcp_url)
        .bearer_auth(&token)
        .header("accept", "application/json, text/event-stream")
        .header("mcp-protocol-version", "2025-11-25")
        .header("authflow-identity", "mallory")
        .header("cookie", "mallory=1")
        .json(&call)
        .send()
        .await?;
    let status = response.status();
    let text = response.text().await?;
    ensure!(status == 200, "the call was answered {status}: {text}");
    let Some(data) = text.lines().find_map(|line| {
        line.strip_prefix("data: ")
            .or_else(|| line.starts_with('{').then_some(line))
    }) else {
        bail!("no answer in {text}")
    };
    let answer: Value = serde_json::from_str(data)?;
    let headers = answer["result"]["content"][0]["text"]
        .as_str()
        .with_context(|| format!("no text in {answer}"))?;
    for secret in [token.as_str(), "mallory", "authorization", "\"cookie\""] {
        ensure!(
            !headers.contains(secret),
            "`{secret}` reached the MCP server: {headers}"
        );
    }
    let headers: Value = serde_json::from_str(headers)?;
    let identity = headers["authflow-identity"]
        .as_str()
        .context("nobody told who calls")?;
    let claims = check_identity(identity, &door, &behind.url).await?;
    let is_right = claims["username"] == USERNAME
        && claims["client_id"].is_string()
        && claims["scope"]
            .as_str()
            .is_some_and(|scope| scope.contains("tools:read"));
    ensure!(is_right, "the MCP server is told {claims}");
    Ok(())
}

/// The claims, once `PyJWT` has found the statement genuine and meant for this MCP server.
async fn check_identity(identity: &str, door: &Door, mcp_server: &str) -> Result<Value> {
    let site = door.site();
    let mut command = workshop::python_script("mcp-server-python", "identity.py")?;
    let mut child = command
        .args([&site.url("/jwks"), &site.issuer, mcp_server])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut stdin = child.stdin.take().context("no stdin")?;
    stdin.write_all(identity.as_bytes()).await?;
    drop(stdin);
    let output = timeout(PATIENCE, child.wait_with_output()).await??;
    ensure!(
        output.status.success(),
        "PyJWT refuses the identity: {}",
        last_lines(&String::from_utf8_lossy(&output.stderr), 3)
    );
    Ok(serde_json::from_slice(&output.stdout)?)
}
