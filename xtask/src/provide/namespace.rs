//! What makes and furnishes a network namespace: `unshare` and `ip`.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use super::debian;
use crate::command::{capture, which};

/// Finds the programs, or installs them, and makes sure that a namespace can be made at all.
pub(crate) fn provide() -> Result<PathBuf> {
    if which("ip").is_none() || which("unshare").is_none() {
        debian::install(
            &["iproute2", "util-linux"],
            "run the server in a network of its own",
        )?;
    }
    let ip = which("ip").context("`ip` is not in PATH although its package was installed")?;
    let root = capture(Command::new("unshare").args(["--net", "true"]));
    let anybody = || capture(Command::new("unshare").args(["--user", "--map-root-user", "--net", "true"]));
    root.or_else(|_| anybody()).context(
        "no network namespace can be made here: run as root, or let users make namespaces \
         (sysctl kernel.unprivileged_userns_clone=1, kernel.apparmor_restrict_unprivileged_userns=0)",
    )?;
    Ok(ip)
}
