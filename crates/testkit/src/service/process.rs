//! A child process with a name: its output is kept, and it never outlives us.

use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use rustix::process::{Pid, Signal, kill_process};

use super::guardian::Guardian;
use super::output::Output;

/// How long [`Drop`] waits for a service to end before it is killed.
const GRACE: Duration = Duration::from_secs(10);

/// How a service is asked to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopSignal {
    /// SIGINT: PostgreSQL's fast shutdown, which does not wait for its clients.
    Interrupt,
    /// SIGTERM: what a service manager sends.
    Terminate,
}

impl StopSignal {
    fn signal(self) -> Signal {
        match self {
            Self::Interrupt => Signal::INT,
            Self::Terminate => Signal::TERM,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Interrupt => "INT",
            Self::Terminate => "TERM",
        }
    }
}

/// A running child that is stopped when this value is dropped.
#[derive(Debug)]
pub struct OwnedProcess {
    name: String,
    child: Child,
    stop_signal: StopSignal,
    guardian: Option<Guardian>,
    output: Output,
}

impl OwnedProcess {
    /// Starts `command` without input and with its output kept.
    ///
    /// `folder` is what the [`Guardian`] removes if we are killed; on the ordinary way
    /// out whoever made the folder removes it.
    pub fn spawn(
        name: &str,
        command: &mut Command,
        stop_signal: StopSignal,
        folder: Option<&Path>,
    ) -> anyhow::Result<Self> {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {name} ({})", command.get_program().display()))?;
        let output = Output::default();
        if let Some(pipe) = child.stdout.take() {
            output.collect(pipe);
        }
        if let Some(pipe) = child.stderr.take() {
            output.collect(pipe);
        }
        let mut process = Self {
            name: name.to_owned(),
            child,
            stop_signal,
            guardian: None,
            output,
        };
        // From here on an error drops `process`, which ends the child.
        process.guardian = Some(Guardian::watch(process.pid(), stop_signal.name(), folder)?);
        Ok(process)
    }

    /// The process id, written down at the start.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What the process has written to stdout and stderr.
    pub fn output(&self) -> &Output {
        &self.output
    }

    /// Waits until the process has written a line that contains `ready`, and returns
    /// that line; an error shows the last lines instead.
    pub fn wait_until(&mut self, ready: &str, patience: Duration) -> anyhow::Result<String> {
        if let Some(line) = self.output.wait_for(ready, patience) {
            return Ok(line);
        }
        // Its pipes end a moment before its status can be read.
        let state = match self.child.try_wait()? {
            Some(status) => format!("has ended ({status})"),
            None if self.output.is_at_end() => "has ended".to_owned(),
            None => format!("is not ready after {} s", patience.as_secs()),
        };
        bail!("{} {state}; its last lines:\n{}", self.name, self.output.tail(20))
    }

    /// Says how the process ended, if it has.
    pub fn has_ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Asks the process to end and waits; kills it when `grace` has passed.
    pub fn stop(&mut self, grace: Duration) -> anyhow::Result<ExitStatus> {
        if let Some(status) = self.child.try_wait()? {
            self.release_guardian();
            return Ok(status);
        }
        self.signal(self.stop_signal)?;
        let deadline = Instant::now() + grace;
        loop {
            if let Some(status) = self.child.try_wait()? {
                self.release_guardian();
                return Ok(status);
            }
            if Instant::now() >= deadline {
                return self.kill();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Ends the process with SIGKILL, as a crash would, and waits until it is gone.
    pub fn kill(&mut self) -> anyhow::Result<ExitStatus> {
        self.child
            .kill()
            .with_context(|| format!("cannot kill {}", self.name))?;
        let status = self.child.wait()?;
        self.release_guardian();
        Ok(status)
    }

    /// Sends `signal` and does not wait.
    pub fn signal(&self, signal: StopSignal) -> anyhow::Result<()> {
        let pid = i32::try_from(self.pid())
            .ok()
            .and_then(Pid::from_raw)
            .ok_or_else(|| anyhow!("{} has no pid", self.name))?;
        kill_process(pid, signal.signal())
            .with_context(|| format!("cannot signal {} ({})", self.name, self.pid()))
    }

    fn release_guardian(&mut self) {
        if let Some(guardian) = self.guardian.take() {
            guardian.release();
        }
    }
}

impl Drop for OwnedProcess {
    fn drop(&mut self) {
        if let Err(error) = self.stop(GRACE) {
            eprintln!("{} could not be stopped: {error:#}", self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sleeper(script: &str) -> OwnedProcess {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        OwnedProcess::spawn("sleeper", &mut command, StopSignal::Terminate, None).unwrap()
    }

    fn is_alive(pid: u32) -> bool {
        Path::new(&format!("/proc/{pid}")).exists()
    }

    #[test]
    fn a_process_that_ignores_the_request_to_end_is_killed_after_its_grace() {
        let mut process = sleeper("trap '' TERM; echo ready; while :; do sleep 0.05; done");
        process.wait_until("ready", Duration::from_secs(20)).unwrap();
        let status = process.stop(Duration::from_millis(200)).unwrap();
        assert!(!status.success());
        assert!(!is_alive(process.pid()));
    }

    #[test]
    fn a_dropped_process_is_gone() {
        let process = sleeper("exec sleep 60");
        let pid = process.pid();
        assert!(is_alive(pid));
        drop(process);
        assert!(!is_alive(pid));
    }

    #[test]
    fn a_process_that_ends_before_it_is_ready_shows_its_last_words() {
        let mut process = sleeper("echo 'port is taken' >&2; exit 3");
        let error = process.wait_until("ready", Duration::from_secs(20)).unwrap_err();
        assert!(error.to_string().contains("port is taken"), "{error}");
    }

    #[test]
    fn the_guardian_ends_the_process_when_its_starter_is_killed() {
        // The starter is a shell that holds the guardian's pipe, as we would.
        let folder = tempfile::tempdir().unwrap();
        let kept = folder.path().join("data");
        std::fs::create_dir(&kept).unwrap();
        let mut command = Command::new("sleep");
        let mut ward = command.arg("60").spawn().unwrap();
        let guardian = Guardian::watch(ward.id(), "TERM", Some(&kept)).unwrap();
        // Dropping the pipe without a word is what our death looks like from there.
        drop(guardian);
        let deadline = Instant::now() + Duration::from_secs(20);
        // Reap the ward, or it would stay a zombie that `kill -0` still sees.
        while ward.try_wait().unwrap().is_none() || kept.exists() {
            assert!(Instant::now() < deadline, "the guardian did nothing");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}
