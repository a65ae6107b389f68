//! Python 3 with `venv`, and environments of our own below `target/tools`.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::debian;
use crate::command::{capture, run, which};
use crate::workspace;

/// What the newest MCP package for Python asks for, and that `venv` can make environments.
const PROBE: &str = "import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 10))";

/// Finds a Python that can make environments, or installs one.
pub(crate) fn provide() -> Result<PathBuf> {
    if let Some(found) = find() {
        return Ok(found);
    }
    debian::install(&["python3", "python3-venv"], "run the Python client")?;
    find().context("python3 >= 3.10 with venv is missing although its packages were installed")
}

fn find() -> Option<PathBuf> {
    let candidates = which("python3")
        .into_iter()
        .chain([PathBuf::from("/usr/bin/python3")]);
    candidates
        .into_iter()
        .find(|python| capture(Command::new(python).args(["-c", PROBE])).is_ok())
}

/// Makes (or finds again) the environment `name` with exactly the packages of a
/// requirements file, and returns its Python.
pub(crate) fn environment(name: &str, requirements: &Path) -> Result<PathBuf> {
    let folder = workspace::tools()?.join(format!("python-{name}"));
    let python = folder.join("bin/python");
    let installed = folder.join("installed-requirements.txt");
    let wanted =
        std::fs::read(requirements).with_context(|| format!("cannot read {}", requirements.display()))?;
    if python.exists() && std::fs::read(&installed).is_ok_and(|text| text == wanted) {
        return Ok(python);
    }
    let system = provide()?;
    run(Command::new(system).args(["-m", "venv", "--clear"]).arg(&folder))?;
    run(Command::new(&python)
        .args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "-r",
        ])
        .arg(requirements))?;
    std::fs::write(installed, wanted)?;
    Ok(python)
}
