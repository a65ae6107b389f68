//! A guardian ends a service when the process that started it is gone.
//!
//! Rust runs no destructor when a process is killed, and none for a `static`. So
//! beside every service runs a small shell that reads from a pipe which only we hold
//! open. Whatever ends us closes the pipe; the guardian then ends the service by
//! its pid and removes its folder. A service that was stopped properly releases
//! its guardian first.

use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::Context;

/// Reads one line: a line means "released", the end of the pipe means "we are gone".
///
/// `$1` is the pid (negative for a process group), `$2` the signal, `$3` the folder to remove or nothing. Signals
/// are ignored so that a Ctrl-C meant for us does not end the guardian first.
const SCRIPT: &str = r#"
trap '' INT TERM HUP
if read -r _; then exit 0; fi
kill -s "$2" -- "$1" 2>/dev/null
i=0
while kill -s 0 -- "$1" 2>/dev/null && [ "$i" -lt 100 ]; do sleep 0.1; i=$((i + 1)); done
kill -s KILL -- "$1" 2>/dev/null
if [ -n "$3" ]; then rm -rf -- "$3"; fi
"#;

/// The shell that waits for our end; see the module.
#[derive(Debug)]
pub struct Guardian {
    shell: Child,
}

impl Guardian {
    /// Watches over the process `pid`: when we are gone it gets `signal` (a name
    /// such as `INT`), ten seconds later `KILL`, and `folder` is removed.
    pub fn watch(pid: u32, signal: &str, folder: Option<&Path>) -> anyhow::Result<Self> {
        Self::start(pid.to_string(), signal, folder)
    }

    /// Watches over a whole process group, by the pid of its leader.
    pub fn watch_group(leader: u32, signal: &str) -> anyhow::Result<Self> {
        Self::start(format!("-{leader}"), signal, None)
    }

    fn start(target: String, signal: &str, folder: Option<&Path>) -> anyhow::Result<Self> {
        let shell = Command::new("sh")
            .args(["-c", SCRIPT, "guardian"])
            .arg(target)
            .arg(signal)
            .arg(folder.unwrap_or_else(|| Path::new("")))
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start `sh` to watch over a service")?;
        Ok(Self { shell })
    }

    /// Sends the guardian home, because the service has been stopped.
    pub fn release(mut self) {
        if let Some(mut pipe) = self.shell.stdin.take() {
            // A guardian that is gone already needs no telling.
            let _ = pipe.write_all(b"released\n");
        }
        let _ = self.shell.wait();
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt;
    use std::time::{Duration, Instant};

    use super::*;
    use crate::service::output::Output;

    #[test]
    fn a_whole_group_ends_when_its_starter_is_killed() {
        let mut leader = Command::new("sh")
            .args(["-c", "sleep 60 & echo \"child $!\"; wait"])
            .process_group(0)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = Output::default();
        output.collect(leader.stdout.take().unwrap());
        let line = output.wait_for("child ", Duration::from_secs(20)).unwrap();
        let child = Path::new("/proc").join(line.trim_start_matches("child "));
        let guardian = Guardian::watch_group(leader.id(), "TERM").unwrap();
        assert!(child.exists());
        // Dropping the pipe without a word is what our death looks like from there.
        drop(guardian);
        let deadline = Instant::now() + Duration::from_secs(20);
        while leader.try_wait().unwrap().is_none() || child.exists() {
            assert!(
                Instant::now() < deadline,
                "the guardian left a process of the group"
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}
