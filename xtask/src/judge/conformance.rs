//! The official MCP conformance package against the authorization server.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use mcp_authflow_testkit::browser::{Browser, Decision};
use mcp_authflow_testkit::service::port::free_port;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::time::timeout;

use super::house::{Keeper, PASSWORD, StoreKind, USERNAME, http};
use super::workshop;

/// The scenarios that the `authorization` command has in the pinned version.
const SCENARIOS: usize = 2;
const PATIENCE: Duration = Duration::from_secs(120);

/// Both scenarios, at an issuer with this path.
pub(super) async fn judge(keeper: &Keeper<'_>, store: StoreKind, issuer_path: &str) -> Result<()> {
    let port = free_port()?;
    let redirect_uri = format!("http://127.0.0.1:{port}/callback");
    let house = keeper.serve(
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
    )?;
    let results = tempfile::tempdir()?;
    let script = "node_modules/@modelcontextprotocol/conformance/dist/index.js";
    let mut command = workshop::node_script("conformance", script)?;
    let mut child = command
        .args([
            "authorization",
            "--client-id",
            "conf",
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

/// Reads the results that were saved: every check of every scenario must be a success.
fn check(results: &Path) -> Result<()> {
    let mut scenarios = 0;
    for entry in std::fs::read_dir(results)? {
        let checks = std::fs::read_to_string(entry?.path().join("checks.json"))?;
        let checks: Vec<Value> = serde_json::from_str(&checks)?;
        ensure!(!checks.is_empty(), "a scenario without checks");
        for check in checks {
            match check["status"].as_str() {
                Some("SUCCESS") => {}
                // Advice, such as “announce Client ID Metadata Documents”, which are not built yet.
                Some("WARNING") => eprintln!("conformance warns: {}", check["errorMessage"]),
                status => bail!("{status:?} in {check}"),
            }
        }
        scenarios += 1;
    }
    ensure!(scenarios == SCENARIOS, "{scenarios} of {SCENARIOS} scenarios ran");
    Ok(())
}
