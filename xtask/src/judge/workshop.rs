//! Working copies of `judges/` below the target folder, with their packages installed.
//!
//! Packages are never installed in the source tree, so it stays as it was committed.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use tokio::process::Command;

use crate::provide;
use crate::workspace::{root, target};

/// Copies `judges/` to `target/judges` and returns that folder.
fn copy() -> Result<PathBuf> {
    let copy = target()?.join("judges");
    copy_folder(&root().join("judges"), &copy)?;
    Ok(copy)
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}

/// A command that runs a script of a JavaScript folder, its packages installed.
pub(super) fn node_script(folder: &str, script: &str) -> Result<Command> {
    let folder = copy()?.join(folder);
    let node = provide::node::provide()?;
    node.install_locked(&folder)?;
    Ok(node.script(&folder.join(script)).into())
}

/// A command that runs a script of a Python folder in an environment of its own.
pub(super) fn python_script(name: &str, script: &str) -> Result<Command> {
    let folder = copy()?.join(name);
    let python = provide::python::environment(name, &folder.join("requirements.txt"))?;
    let mut command = Command::new(python);
    command.arg(folder.join(script));
    Ok(command)
}
