//! nginx and Caddy: only the programs; the testkit runs them privately.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::debian;
use crate::command::which;

/// Finds both programs, or installs them.
pub(crate) fn provide() -> Result<[PathBuf; 2]> {
    for (program, package) in [("nginx", "nginx-light"), ("caddy", "caddy")] {
        if find(program).is_none() {
            debian::install(&[package], "test the server behind a reverse proxy")?;
        }
    }
    let found = |program| {
        find(program).with_context(|| format!("{program} was not found although its package was installed"))
    };
    Ok([found("nginx")?, found("caddy")?])
}

fn find(program: &str) -> Option<PathBuf> {
    // Not in everybody's PATH.
    let system = || Some(Path::new("/usr/sbin").join(program)).filter(|path| path.is_file());
    which(program).or_else(system)
}
