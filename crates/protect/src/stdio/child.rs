//! A child process that speaks MCP over its standard input and output: a message a line.
//!
//! It runs in a process group of its own, so that what it starts (`npx` starts a shell, which starts node) ends with it,
//! and Ctrl-C at our terminal is left to us. Its end is asked for in three steps: its input is closed (the specification's
//! way), then SIGTERM, then SIGKILL.

use std::{ffi::OsString, io, process::Stdio, sync::Arc, time::Duration};

use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::Value;
use tokio::{
    io::{AsyncBufRead, AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    process::{Child as Process, ChildStdin},
    sync::{Notify, mpsc, watch},
    time::{Instant, timeout},
};

use super::talk::{Talk, Verdict};
use crate::upstream::Command;

/// The largest message of a child's, in bytes: an image or a file in base64.
const MAX_MESSAGE_BYTES: usize = 16 * 1_024 * 1_024;
/// The most of a line of its error output that is logged.
const MAX_LOGGED_BYTES: usize = 4 * 1_024;
/// Messages that may wait on the way to a child.
const MAX_WAITING: usize = 64;
/// Messages of a child's that may wait, each as large as the limit allows: what is not taken waits in the pipe, with the
/// child.
const MAX_HEARD: usize = 2;
/// How long each step towards the end of a child may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// A running child. Dropped, it is ended.
#[derive(Debug)]
pub(super) struct Child {
    pub(super) stdin: mpsc::Sender<String>,
    pub(super) stdout: mpsc::Receiver<Value>,
    pub(super) end: End,
}

/// Ends a child, and tells when it is gone.
#[derive(Clone, Debug)]
pub(super) struct End {
    asked: Arc<Notify>,
    is_gone: watch::Receiver<bool>,
}

impl End {
    /// Asks for the end; the process is gone a little later.
    pub(super) fn ask(&self) {
        self.asked.notify_one();
    }

    /// Waits until the process is gone.
    pub(super) async fn gone(&mut self) {
        // An error means that its keeper is gone, and the process with it.
        let _ = self.is_gone.wait_for(|is_gone| *is_gone).await;
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.end.ask();
    }
}

/// Starts a child.
pub(super) fn start(command: &Command) -> io::Result<Child> {
    let mut process = tokio::process::Command::new(&command.program);
    process
        .args(&command.arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    for name in names_of_secrets() {
        process.env_remove(name);
    }
    process.envs(command.environment.iter().map(|(name, value)| (name, value)));
    if let Some(folder) = &command.folder {
        process.current_dir(folder);
    }
    let mut process = process.spawn()?;
    let pid = process.id();
    let missing = || io::Error::other("the child has no pipes");
    let stdin = process.stdin.take().ok_or_else(missing)?;
    let stdout = process.stdout.take().ok_or_else(missing)?;
    let stderr = process.stderr.take().ok_or_else(missing)?;
    tracing::info!(pid, "started a child of the MCP server");

    let (to_child, lines) = mpsc::channel(MAX_WAITING);
    let (messages, from_child) = mpsc::channel(MAX_HEARD);
    let (gone, is_gone) = watch::channel(false);
    let asked = Arc::new(Notify::new());
    let end = End {
        asked: Arc::clone(&asked),
        is_gone,
    };
    let writer = tokio::spawn(write(stdin, lines));
    let reader = tokio::spawn(read(BufReader::new(stdout), messages, pid));
    tokio::spawn(log(BufReader::new(stderr), pid));
    tokio::spawn(async move {
        let group = Group::of(pid);
        keep(process, group, &asked, writer).await;
        // What it said last is still read: the reader ends by itself, or with whoever listened. A descendant that holds
        // the pipe open shall not keep it.
        let _ = timeout(PATIENCE, reader).await;
        let _ = gone.send(true);
    });
    Ok(Child {
        stdin: to_child,
        stdout: from_child,
        end,
    })
}

/// The variables of this process that are none of the child's business: settings of ours hold keys and passwords.
#[expect(
    clippy::disallowed_methods,
    reason = "only the names are read, to keep them from the child"
)]
fn names_of_secrets() -> impl Iterator<Item = OsString> {
    std::env::vars_os()
        .map(|(name, _)| name)
        .filter(|name| is_ours_alone(&name.to_string_lossy()))
}

fn is_ours_alone(name: &str) -> bool {
    name.starts_with("AUTHFLOW_") || name == "DATABASE_URL" || name == "REDIS_URL"
}

/// The child and what it started. Dropped before the child was waited for, it is killed.
struct Group(Option<Pid>);

impl Group {
    fn of(pid: Option<u32>) -> Self {
        Self(
            pid.and_then(|pid| i32::try_from(pid).ok())
                .and_then(Pid::from_raw),
        )
    }

    fn signal(&self, signal: Signal) {
        if let Some(leader) = self.0 {
            // It may be gone already.
            let _ = kill_process_group(leader, signal);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

/// Waits for the child's end, or brings it about.
async fn keep(mut process: Process, mut group: Group, asked: &Notify, writer: tokio::task::JoinHandle<()>) {
    let pid = process.id();
    let by_itself = tokio::select! {
        status = process.wait() => Some(status),
        () = asked.notified() => None,
    };
    let status = if let Some(status) = by_itself {
        // What it started and left behind goes too; its number is not given to a new group while the old one has members,
        // and not at once when it has none.
        group.signal(Signal::KILL);
        status
    } else {
        // The writer holds the child's input.
        writer.abort();
        let mut waited = timeout(PATIENCE, process.wait()).await;
        for signal in [Signal::TERM, Signal::KILL] {
            if waited.is_err() {
                group.signal(signal);
                waited = timeout(PATIENCE, process.wait()).await;
            }
        }
        // It went in an orderly way, and what it started may not have heard of it.
        group.signal(Signal::KILL);
        waited.unwrap_or_else(|_| Err(io::Error::other("it does not end")))
    };
    // Its number may be given to another process from now on.
    group.0 = None;
    match status {
        Ok(status) if status.success() => tracing::info!(pid, "a child of the MCP server ended"),
        Ok(status) => tracing::warn!(pid, %status, "a child of the MCP server ended"),
        Err(error) => tracing::error!(pid, %error, "a child of the MCP server cannot be waited for"),
    }
}

async fn write(mut stdin: ChildStdin, mut lines: mpsc::Receiver<String>) {
    while let Some(mut line) = lines.recv().await {
        line.push('\n');
        if stdin.write_all(line.as_bytes()).await.is_err() || stdin.flush().await.is_err() {
            return;
        }
    }
}

async fn read(mut stdout: impl AsyncBufRead + Unpin, messages: mpsc::Sender<Value>, pid: Option<u32>) {
    let mut line = Vec::new();
    let mut noise = Talk::starting(Instant::now());
    loop {
        match read_line(&mut stdout, &mut line, MAX_MESSAGE_BYTES).await {
            Ok(Line::Whole) => {}
            Ok(Line::End) => return,
            Ok(Line::TooLong) => {
                tracing::error!(
                    pid,
                    limit = MAX_MESSAGE_BYTES,
                    "a child's message is too large: ended"
                );
                return;
            }
            Err(error) => {
                tracing::warn!(pid, %error, "a child's output cannot be read");
                return;
            }
        }
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let Ok(message) = serde_json::from_slice(&line) else {
            let Verdict::Logged { left_out } = noise.hear(Instant::now()) else {
                continue;
            };
            let text = String::from_utf8_lossy(&line[..line.len().min(200)]).into_owned();
            tracing::warn!(
                pid,
                left_out,
                text,
                "a child writes something else than messages to its output"
            );
            continue;
        };
        if messages.send(message).await.is_err() {
            return;
        }
    }
}

/// The child's error output is ours to log, so much of it a minute. It says what it likes, so its words stand in a field.
async fn log(mut stderr: impl AsyncBufRead + Unpin, pid: Option<u32>) {
    let mut line = Vec::new();
    let mut talk = Talk::starting(Instant::now());
    while let Ok(read) = read_line(&mut stderr, &mut line, MAX_LOGGED_BYTES).await {
        if matches!(read, Line::End) {
            break;
        }
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end();
        if text.is_empty() {
            continue;
        }
        if let Verdict::Logged { left_out } = talk.hear(Instant::now()) {
            if left_out > 0 {
                tracing::warn!(target: "upstream", pid, left_out, "the MCP server said too much to log it all");
            }
            tracing::info!(target: "upstream", pid, text, "the MCP server says");
        }
    }
    let left_out = talk.left_out();
    if left_out > 0 {
        tracing::warn!(target: "upstream", pid, left_out, "the MCP server said too much to log it all");
    }
}

enum Line {
    Whole,
    /// The rest of it is read as the next one.
    TooLong,
    End,
}

async fn read_line(
    source: &mut (impl AsyncBufRead + Unpin),
    line: &mut Vec<u8>,
    max_bytes: usize,
) -> io::Result<Line> {
    line.clear();
    loop {
        let buffer = source.fill_buf().await?;
        if buffer.is_empty() {
            return Ok(if line.is_empty() { Line::End } else { Line::Whole });
        }
        let (taken, is_whole) = match buffer.iter().position(|byte| *byte == b'\n') {
            Some(at) => (at + 1, true),
            None => (buffer.len(), false),
        };
        let room = max_bytes - line.len();
        if taken > room {
            line.extend_from_slice(&buffer[..room]);
            source.consume(room);
            return Ok(Line::TooLong);
        }
        line.extend_from_slice(&buffer[..taken]);
        source.consume(taken);
        if is_whole {
            return Ok(Line::Whole);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    #[test]
    fn a_child_does_not_get_our_secrets() {
        for ours in [
            "AUTHFLOW_SERVER_KEY_FILE",
            "AUTHFLOW_STORE__URL",
            "DATABASE_URL",
            "REDIS_URL",
        ] {
            assert!(is_ours_alone(ours), "{ours}");
        }
        for theirs in ["PATH", "HOME", "API_KEY", "authflow_x"] {
            assert!(!is_ours_alone(theirs), "{theirs}");
        }
    }

    #[tokio::test]
    async fn a_line_is_read_up_to_a_limit_and_the_rest_as_another() {
        let mut source = BufReader::with_capacity(3, &b"short\nmuch too long\nlast"[..]);
        let mut line = Vec::new();
        let mut read = Vec::new();
        loop {
            let what = match read_line(&mut source, &mut line, 6).await.unwrap() {
                Line::Whole => "whole",
                Line::TooLong => "too long",
                Line::End => break,
            };
            read.push((what, String::from_utf8(line.clone()).unwrap()));
        }
        let expected = [
            ("whole", "short\n"),
            ("too long", "much t"),
            ("too long", "oo lon"),
            ("whole", "g\n"),
            ("whole", "last"),
        ];
        assert_eq!(read, expected.map(|(what, text)| (what, text.to_owned())));
    }
}
