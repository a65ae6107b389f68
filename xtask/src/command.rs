//! Running other programs: aloud, quietly, or both heard and kept.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc;

use anyhow::{Context, Result, ensure};

/// Prints a command the way a person would type it, then runs it; an exit code other
/// than 0 is an error.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let line = announce(command);
    let status = command.status().with_context(|| format!("cannot run `{line}`"))?;
    ensure!(status.success(), "`{line}` failed ({status})");
    Ok(())
}

/// Runs a command quietly and returns its stdout; an error shows its stderr.
pub(crate) fn capture(command: &mut Command) -> Result<String> {
    let line = spell(command);
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run `{line}`"))?;
    ensure!(
        output.status.success(),
        "`{line}` failed ({}):\n{}",
        output.status,
        last_lines(&String::from_utf8_lossy(&output.stderr), 30)
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs a command aloud and keeps what it wrote (both streams, line by line in the
/// order of arrival), so that its results can be counted.
pub(crate) fn run_and_keep(command: &mut Command) -> Result<(ExitStatus, String)> {
    let line = announce(command);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run `{line}`"))?;
    let (sender, lines) = mpsc::channel();
    let forward = |pipe: Option<Box<dyn Read + Send>>| {
        let sender = sender.clone();
        std::thread::spawn(move || {
            let Some(pipe) = pipe else { return };
            let mut reader = BufReader::new(pipe);
            let mut line = Vec::new();
            while matches!(reader.read_until(b'\n', &mut line), Ok(length) if length > 0) {
                if sender.send(std::mem::take(&mut line)).is_err() {
                    return;
                }
            }
        });
    };
    forward(child.stdout.take().map(|pipe| Box::new(pipe) as _));
    forward(child.stderr.take().map(|pipe| Box::new(pipe) as _));
    drop(sender);
    let mut kept = String::new();
    for line in lines {
        // A closed terminal must not end the tests.
        let _ = std::io::stderr().write_all(&line);
        kept.push_str(&String::from_utf8_lossy(&line));
    }
    Ok((child.wait()?, kept))
}

/// Finds a program in `PATH`.
pub(crate) fn which(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|path| is_program(path))
}

/// Whether this is a file that may be executed.
pub(crate) fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata()
        .is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}

/// The last `count` lines of a text.
pub(crate) fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<_> = text.trim_end().lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

fn announce(command: &Command) -> String {
    let line = spell(command);
    eprintln!("\n$ {line}");
    line
}

fn spell(command: &Command) -> String {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy().into_owned())
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_streams_and_the_exit_code_are_kept() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo out; echo err >&2; exit 3"]);
        let (status, text) = run_and_keep(&mut command).unwrap();
        assert_eq!(status.code(), Some(3));
        assert!(text.contains("out\n") && text.contains("err\n"), "{text}");
    }

    #[test]
    fn a_failed_quiet_command_shows_what_it_said() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo no such package >&2; exit 1"]);
        assert!(
            capture(&mut command)
                .unwrap_err()
                .to_string()
                .contains("no such package")
        );
    }
}
