//! The official MCP conformance package against the authorization server.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use mcp_authflow_testkit::browser::{Browser, Decision};
use mcp_authflow_testkit::document_host::DocumentHost;
use mcp_authflow_testkit::service::port::free_port;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::time::timeout;

use super::house::{House, Keeper, PASSWORD, StoreKind, USERNAME, http};
use super::workshop;

/// The scenarios that the `authorization` command has in the pinned version.
const SCENARIOS: usize = 2;
/// A check among those of the metadata; the package only warns when it fails.
const ANNOUNCES_DOCUMENTS: &str = "authorization-server-metadata-cimd";
const PATIENCE: Duration = Duration::from_secs(120);

/// Both scenarios, at an issuer with this path: as a client that the operator knows, and as one that is known by its metadata
/// document alone.
pub(super) async fn judge(keeper: &Keeper<'_>, store: StoreKind, issuer_path: &str) -> Result<()> {
    let port = free_port()?;
    let redirect_uri = format!("http://127.0.0.1:{port}/callback");
    let documents = DocumentHost::start()?;
    let by_document = documents.serve_client(
        "/conformance.json",
        &json!({
            "client_name": "MCP conformance",
            "redirect_uris": [redirect_uri],
            "token_endpoint_auth_method": "none",
            "grant_types": ["authorization_code", "refresh_token"],
        }),
    );
    let house = keeper.serve_with(
        store,
        issuer_path,
        &format!(
            r#"
[[client]]
client_id = "conf"
name = "MCP conformance"
redirect_uris = ["{redirect_uri}"]
token_endpoint_auth_method = "none"
grant_types = ["authorization_code", "refresh_token"]
"#
        ),
        &[(
            "SSL_CERT_FILE".to_owned(),
            documents.ca_file().display().to_string(),
        )],
    )?;
    for client_id in ["conf", &by_document] {
        run(&house, client_id, port)
            .await
            .with_context(|| format!("as {client_id}"))?;
    }
    ensure!(
        documents.hits("/conformance.json") > 0,
        "the document was never fetched"
    );
    Ok(())
}

/// The package as this client.
async fn run(house: &House, client_id: &str, port: u16) -> Result<()> {
    let results = tempfile::tempdir()?;
    let script = "node_modules/@modelcontextprotocol/conformance/dist/index.js";
    let mut command = workshop::node_script("conformance", script)?;
    let mut child = command
        .args([
            "authorization",
            "--client-id",
            client_id,
            "--spec-version",
            "2026-07-28",
        ])
        .args(["--url", house.server.issuer(), "--resource", &house.mcp_url])
        .args(["-p", &port.to_string()])
        .arg("-o")
        .arg(results.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .spawn()
        .context("cannot start the conformance package")?;
    let stdout = child.stdout.take().context("no stdout")?;
    let said = timeout(PATIENCE, follow(stdout))
        .await
        .context("the conformance package does not end")??;
    let status = timeout(PATIENCE, child.wait()).await??;
    ensure!(
        status.success(),
        "the conformance package ended with {status}:\n{said}"
    );
    check(results.path()).with_context(|| said)
}

/// Reads what the package says and signs in where it asks for it.
async fn follow(stdout: tokio::process::ChildStdout) -> Result<String> {
    let mut lines = BufReader::new(stdout).lines();
    let mut said = String::new();
    let mut wanted_url = None;
    while let Some(line) = lines.next_line().await? {
        said.push_str(&line);
        said.push('\n');
        if line.starts_with("http") && line.contains("response_type=code") {
            wanted_url = Some(line);
        } else if line.starts_with("Callback server started") {
            // Only now does somebody listen for the callback.
            let url = wanted_url
                .take()
                .with_context(|| format!("no authorization URL in\n{said}"))?;
            let redirect = Browser::new()?
                .sign_in_and(&url, USERNAME, PASSWORD, Decision::Allow)
                .await?;
            let answer = http()?.get(&redirect.url).send().await?;
            ensure!(
                answer.status() == 200,
                "the callback answered {}",
                answer.status()
            );
        }
    }
    Ok(said)
}

/// Reads the results that were saved: every check of every scenario must be a success, warnings included.
fn check(results: &Path) -> Result<()> {
    let mut scenarios = 0;
    let mut announces_documents = false;
    for entry in std::fs::read_dir(results)? {
        let checks = std::fs::read_to_string(entry?.path().join("checks.json"))?;
        let checks: Vec<Value> = serde_json::from_str(&checks)?;
        ensure!(!checks.is_empty(), "a scenario without checks");
        for check in checks {
            ensure!(check["status"] == "SUCCESS", "{} in {check}", check["status"]);
            announces_documents |= check["id"] == ANNOUNCES_DOCUMENTS;
        }
        scenarios += 1;
    }
    ensure!(scenarios == SCENARIOS, "{scenarios} of {SCENARIOS} scenarios ran");
    ensure!(
        announces_documents,
        "the package did not look at client_id_metadata_document_supported"
    );
    Ok(())
}
