//! Starting Chromium and its driver, and joining the two.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;
use thirtyfour::{Capabilities, ChromiumLikeCapabilities as _, DesiredCapabilities, WebDriver};
use tokio::time::{Instant, sleep, timeout};

use crate::service::process::{OwnedProcess, StopSignal};

/// How long each of the two may take to start on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// On a machine that has never run Chromium the first session was once never answered.
const TRIES: usize = 3;

/// What keeps Chromium to this machine and to itself.
const FLAGS: &[&str] = &[
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--no-default-browser-check",
    "--no-proxy-server",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-default-apps",
    "--disable-extensions",
    "--hide-scrollbars",
    "--force-color-profile=srgb",
    "--remote-debugging-port=0",
];

/// The processes of a browser; they end when this is dropped, and the profile goes last.
#[derive(Debug)]
pub(super) struct Processes {
    _chromedriver: OwnedProcess,
    _chromium: OwnedProcess,
    _profile: TempDir,
}

/// A browser that has just been started.
#[derive(Debug)]
pub(super) struct Launched {
    pub(super) driver: WebDriver,
    pub(super) processes: Processes,
}

impl Launched {
    /// Starts both and opens a session; starts over when they do not come together.
    pub(super) async fn try_hard(chromium: &Path, chromedriver: &Path) -> Result<Self> {
        let mut last_error = None;
        for _ in 0..TRIES {
            match Self::try_once(chromium, chromedriver).await {
                Ok(launched) => return Ok(launched),
                Err(error) => last_error = Some(error),
            }
        }
        Err(last_error.unwrap_or_else(|| anyhow::anyhow!("chromium was never tried")))
    }

    async fn try_once(chromium: &Path, chromedriver: &Path) -> Result<Self> {
        let profile = tempfile::Builder::new().prefix("authflow-chromium-").tempdir()?;
        let mut command = Command::new(chromium);
        command
            .args(FLAGS)
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank");
        let mut chromium = OwnedProcess::spawn(
            "chromium",
            &mut command,
            StopSignal::Terminate,
            Some(profile.path()),
        )?;
        let debugger = debugger_address(&mut chromium, profile.path()).await?;

        let mut command = Command::new(chromedriver);
        command.args(["--port=0", "--log-level=WARNING"]);
        let mut chromedriver =
            OwnedProcess::spawn("chromedriver", &mut command, StopSignal::Terminate, None)?;
        let (chromedriver, line) = tokio::task::spawn_blocking(move || {
            let line = chromedriver.wait_until("started successfully on port", PATIENCE)?;
            anyhow::Ok((chromedriver, line))
        })
        .await??;
        let port: u16 = line
            .rsplit(' ')
            .next()
            .and_then(|port| port.trim_end_matches('.').parse().ok())
            .with_context(|| format!("no port in `{line}`"))?;

        let session = WebDriver::new(format!("http://127.0.0.1:{port}"), capabilities(&debugger)?);
        let driver = timeout(PATIENCE, session)
            .await
            .context("chromedriver does not answer")?
            .context("chromedriver refused a session")?;
        let processes = Processes {
            _chromedriver: chromedriver,
            _chromium: chromium,
            _profile: profile,
        };
        Ok(Self { driver, processes })
    }
}

/// Waits until Chromium listens and has a page to drive; returns where it listens.
async fn debugger_address(chromium: &mut OwnedProcess, profile: &Path) -> Result<String> {
    let http = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build()?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Ok(file) = std::fs::read_to_string(profile.join("DevToolsActivePort"))
            && let Some(port) = file.lines().next().filter(|port| !port.is_empty())
        {
            let address = format!("127.0.0.1:{port}");
            if has_page(&http, &address).await.unwrap_or(false) {
                return Ok(address);
            }
        }
        if let Some(status) = chromium.has_ended()? {
            bail!(
                "chromium ended ({status}); its last lines:\n{}",
                chromium.output().tail(20)
            );
        }
        ensure!(
            Instant::now() < deadline,
            "chromium is not ready:\n{}",
            chromium.output().tail(20)
        );
        sleep(Duration::from_millis(20)).await;
    }
}

async fn has_page(http: &reqwest::Client, address: &str) -> Result<bool> {
    let targets: Value = http
        .get(format!("http://{address}/json/list"))
        .send()
        .await?
        .json()
        .await?;
    Ok(targets
        .as_array()
        .is_some_and(|targets| targets.iter().any(|target| target["type"] == "page")))
}

/// Joins the running browser instead of starting another, and keeps what its console says.
fn capabilities(debugger_address: &str) -> Result<Capabilities> {
    let mut capabilities = DesiredCapabilities::chrome();
    capabilities.set_debugger_address(debugger_address)?;
    let mut value = serde_json::to_value(Capabilities::from(capabilities))?;
    value["goog:loggingPrefs"] = json!({ "browser": "ALL" });
    Ok(serde_json::from_value(value)?)
}
