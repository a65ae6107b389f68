//! Working copies of `judges/` below the target folder, with their packages installed.
//!
//! Packages are never installed in the source tree, so it stays as it was committed.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, Result};
use tokio::process::Command;

use crate::provide;
use crate::workspace::{root, target};

/// One at a time: a program that starts must not find half a copy.
static INSTALLING: Mutex<Option<PathBuf>> = Mutex::new(None);

/// Copies `judges/` to `target/judges`, once, and prepares `folder` of it.
fn prepare<T>(folder: &str, install: impl FnOnce(&Path) -> Result<T>) -> Result<(PathBuf, T)> {
    let mut copied = INSTALLING.lock().unwrap_or_else(PoisonError::into_inner);
    let copy = if let Some(copy) = copied.as_ref() {
        copy.clone()
    } else {
        let copy = target()?.join("judges");
        copy_folder(&root().join("judges"), &copy)?;
        copied.insert(copy).clone()
    };
    let folder = copy.join(folder);
    let installed = install(&folder)?;
    Ok((folder, installed))
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
    let (folder, node) = prepare(folder, |folder| {
        let node = provide::node::provide()?;
        node.install_locked(folder)?;
        Ok(node)
    })?;
    Ok(node.script(&folder.join(script)).into())
}

/// A command that runs a script of a Python folder in an environment of its own.
pub(super) fn python_script(name: &str, script: &str) -> Result<Command> {
    let (folder, python) = prepare(name, |folder| {
        provide::python::environment(name, &folder.join("requirements.txt"))
    })?;
    let mut command = Command::new(python);
    command.arg(folder.join(script));
    Ok(command)
}
