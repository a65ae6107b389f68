//! A terminal: a bash that reads one block after the other and stops at the first error.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use mcp_authflow_testkit::service::guardian::Guardian;
use mcp_authflow_testkit::service::output::Output;
use rustix::process::{Pid, Signal, kill_process_group};

const GRACE: Duration = Duration::from_secs(15);

/// A running bash and everything it has started, all of which ends with this value.
pub(super) struct Terminal {
    bash: Child,
    guardian: Option<Guardian>,
    output: Output,
    scripts: PathBuf,
}

impl Terminal {
    /// Opens a terminal in the folder `start`; block files are kept in `scripts`.
    pub(super) fn open(scripts: &Path, start: &Path, dress: impl FnOnce(&mut Command)) -> Result<Self> {
        let mut command = Command::new("bash");
        command.args(["--noprofile", "--norc"]).current_dir(start);
        dress(&mut command);
        // A group of its own, so that a server that a block started ends with its terminal.
        let mut bash = command
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot start bash")?;
        let output = Output::default();
        if let Some(pipe) = bash.stdout.take() {
            output.collect(pipe);
        }
        if let Some(pipe) = bash.stderr.take() {
            output.collect(pipe);
        }
        let mut terminal = Self {
            bash,
            guardian: None,
            output,
            scripts: scripts.to_owned(),
        };
        terminal.guardian = Some(Guardian::watch_group(terminal.bash.id(), "TERM")?);
        terminal.type_line("set -e -o pipefail")?;
        Ok(terminal)
    }

    pub(super) fn output(&self) -> &Output {
        &self.output
    }

    /// Begins a block. It is read from a file, so that a command that reads its input
    /// does not swallow the rest of the block.
    pub(super) fn begin(&mut self, number: usize, text: &str) -> Result<()> {
        let script = self.scripts.join(format!("block-{number}.sh"));
        std::fs::write(&script, text)?;
        self.output.clear();
        self.type_line(&format!(". '{}' </dev/null", script.display()))?;
        self.type_line(&format!("echo; echo '{}'", end_mark(number)))
    }

    /// Waits for the end of the block and returns what it has written.
    pub(super) fn finish(&mut self, number: usize, patience: Duration) -> Result<String> {
        if self.output.wait_for(&end_mark(number), patience).is_some() {
            return Ok(self.output.text());
        }
        let how = if self.output.is_at_end() {
            "a command failed".to_owned()
        } else {
            format!("it has not ended after {} s", patience.as_secs())
        };
        bail!("{how}; the last lines:\n{}", self.output.tail(40))
    }

    /// Runs a command that prints one line, and returns that line.
    pub(super) fn ask(&mut self, question: &str) -> Result<String> {
        self.output.clear();
        self.type_line(&format!("echo \"answer: $({question})\""))?;
        let line = self
            .output
            .wait_for("answer: ", GRACE)
            .context("bash does not answer")?;
        Ok(line.trim_start_matches("answer: ").to_owned())
    }

    /// The folder that it is in now, even while a command runs; unknown where there is no `/proc`.
    pub(super) fn folder(&self) -> Option<PathBuf> {
        std::fs::read_link(format!("/proc/{}/cwd", self.bash.id())).ok()
    }

    /// Goes to another folder.
    pub(super) fn change_folder(&mut self, folder: &Path) -> Result<()> {
        self.type_line(&format!("cd '{}'", folder.display()))
    }

    fn type_line(&mut self, line: &str) -> Result<()> {
        let keyboard = self.bash.stdin.as_mut().context("the terminal is closed")?;
        writeln!(keyboard, "{line}").context("bash has ended")
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = i32::try_from(self.bash.id()).ok().and_then(Pid::from_raw) {
            // A group that is gone already needs no signal.
            let _ = kill_process_group(pid, signal);
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        drop(self.bash.stdin.take());
        self.signal(Signal::TERM);
        let deadline = Instant::now() + GRACE;
        while matches!(self.bash.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        // Whoever of the group is still there had its time.
        self.signal(Signal::KILL);
        let _ = self.bash.wait();
        if let Some(guardian) = self.guardian.take() {
            guardian.release();
        }
    }
}

fn end_mark(number: usize) -> String {
    format!("readme: block {number} ended")
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    fn terminal(folder: &Path) -> Terminal {
        Terminal::open(folder, folder, |_| {}).unwrap()
    }

    #[test]
    fn what_a_block_exports_is_there_in_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let mut terminal = terminal(folder.path());
        terminal
            .begin(0, "export NAME=Alice\nmkdir sub && cd sub\n")
            .unwrap();
        terminal.finish(0, PATIENCE).unwrap();
        terminal.begin(1, "cat; echo \"Hello $NAME\"\n").unwrap();
        assert!(terminal.finish(1, PATIENCE).unwrap().contains("Hello Alice"));
        assert!(terminal.ask("pwd").unwrap().ends_with("/sub"));
    }

    #[test]
    fn a_command_that_fails_ends_the_block() {
        let folder = tempfile::tempdir().unwrap();
        let mut terminal = terminal(folder.path());
        terminal
            .begin(0, "echo before\nfalse | cat\necho after\n")
            .unwrap();
        let error = terminal.finish(0, PATIENCE).unwrap_err().to_string();
        assert!(
            error.contains("a command failed") && error.contains("before"),
            "{error}"
        );
        assert!(!error.contains("after"), "{error}");
    }

    #[test]
    fn a_server_ends_with_its_terminal() {
        let folder = tempfile::tempdir().unwrap();
        let mut terminal = terminal(folder.path());
        terminal
            .begin(0, "sh -c 'echo \"pid $$\"; exec sleep 60'\n")
            .unwrap();
        let line = terminal.output().wait_for("pid ", PATIENCE).unwrap();
        let pid = line.trim_start_matches("pid ").to_owned();
        assert!(Path::new("/proc").join(&pid).exists());
        drop(terminal);
        // The group was killed before; only its reaping by init may take a moment.
        let deadline = Instant::now() + PATIENCE;
        while Path::new("/proc").join(&pid).exists() {
            assert!(Instant::now() < deadline, "{pid} outlives its terminal");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}
