//! Talking to a driver: one JSON value after the other, there and back.
//!
//! The lines are described in `judges/dialogue.mjs`. A driver is a program that speaks
//! them on its standard streams, or a task of ours that speaks them over channels.

use std::future::Future;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// No step takes this long, not even on a machine that compiles meanwhile.
const PATIENCE: Duration = Duration::from_secs(120);

/// A driver and its two ends of the conversation.
#[derive(Debug)]
pub(super) struct Driver {
    says: mpsc::Receiver<Value>,
    hears: mpsc::Sender<Value>,
    end: JoinHandle<Result<()>>,
}

/// The conversation from the driver's side.
#[derive(Debug)]
pub(super) struct Dialogue {
    say: mpsc::Sender<Value>,
    hear: mpsc::Receiver<Value>,
}

impl Dialogue {
    pub(super) async fn say(&self, message: Value) -> Result<()> {
        self.say
            .send(message)
            .await
            .map_err(|_| anyhow!("the judge left"))
    }

    /// The judge's next line, and of it this member.
    pub(super) async fn hear(&mut self, name: &str) -> Result<Value> {
        let message = self.hear.recv().await.context("the judge left")?;
        message
            .get(name)
            .cloned()
            .with_context(|| format!("the judge said {message} instead of `{name}`"))
    }
}

impl Driver {
    /// A driver that is a task of ours.
    pub(super) fn task<F>(play: impl FnOnce(Dialogue) -> F) -> Self
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        let (say, says) = mpsc::channel(16);
        let (hears, hear) = mpsc::channel(16);
        let end = tokio::spawn(play(Dialogue { say, hear }));
        Self { says, hears, end }
    }

    /// A driver that is a program; it is killed by its pid when this value is dropped.
    pub(super) fn program(mut command: Command) -> Result<Self> {
        let child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("cannot start the driver")?;
        Ok(Self::task(|dialogue| converse(child, dialogue)))
    }

    /// The driver's next line; an error when it says that something went wrong, or leaves.
    pub(super) async fn hear(&mut self) -> Result<Value> {
        let line = timeout(PATIENCE, self.says.recv())
            .await
            .with_context(|| format!("the driver said nothing for {} s", PATIENCE.as_secs()))?;
        if let Some(line) = line {
            return Ok(line);
        }
        (&mut self.end).await??;
        bail!("the driver left in the middle of its story")
    }

    /// The driver's next line, which must be this step, done.
    pub(super) async fn step(&mut self, name: &str) -> Result<Value> {
        let line = self.hear().await?;
        if line["step"] == "failed" {
            let told = line["error"].as_str().unwrap_or_default().to_owned();
            // What it wrote to stderr says more.
            let end = timeout(PATIENCE, &mut self.end).await;
            let more = end
                .ok()
                .and_then(Result::ok)
                .and_then(Result::err)
                .map(|error| format!("\n{error:#}"));
            bail!("instead of `{name}`: {told}{}", more.unwrap_or_default());
        }
        ensure!(
            line["step"] == name && line["ok"] == true,
            "instead of `{name}` the driver said {line}"
        );
        Ok(line)
    }

    pub(super) async fn say(&self, message: Value) -> Result<()> {
        self.hears
            .send(message)
            .await
            .map_err(|_| anyhow!("the driver left"))
    }

    /// Waits for the driver's end, which must come by itself and be a good one.
    pub(super) async fn end(&mut self) -> Result<()> {
        timeout(PATIENCE, &mut self.end)
            .await
            .context("the driver does not end")??
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.end.abort();
    }
}

/// Carries lines between a program's streams and the judge until the program ends.
async fn converse(mut child: Child, mut dialogue: Dialogue) -> Result<()> {
    let mut stdin = child.stdin.take().context("no stdin")?;
    let mut stdout = BufReader::new(child.stdout.take().context("no stdout")?).lines();
    let mut stderr = child.stderr.take().context("no stderr")?;
    let complaints = tokio::spawn(async move {
        let mut text = Vec::new();
        let _ = stderr.read_to_end(&mut text).await;
        String::from_utf8_lossy(&text).into_owned()
    });
    loop {
        tokio::select! {
            line = stdout.next_line() => match line? {
                None => break,
                Some(line) => {
                    let message = serde_json::from_str(&line).with_context(|| format!("the driver said `{line}`"))?;
                    dialogue.say(message).await?;
                }
            },
            message = dialogue.hear.recv() => match message {
                None => break,
                Some(message) => stdin.write_all(format!("{message}\n").as_bytes()).await?,
            },
        }
    }
    drop(stdin);
    let status = child.wait().await?;
    if !status.success() {
        let complaints = complaints.await.unwrap_or_default();
        bail!(
            "the driver ended with {status}:\n{}",
            crate::command::last_lines(&complaints, 40)
        );
    }
    Ok(())
}
