//! Installing Debian packages as root, without starting their services.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::command::{last_lines, which};

/// Another apt may hold the lock while it unpacks a browser.
const PATIENCE: Duration = Duration::from_secs(600);
const PAUSE: Duration = Duration::from_secs(5);
/// Asked by package scripts before they start a service; exit code 101 says "do not".
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// Whether the package lists were refreshed in this run, which is done once.
static UPDATED: Mutex<bool> = Mutex::new(false);

/// Installs `packages`; `purpose` completes the sentence "… is needed to".
///
/// # Errors
/// Names what to install by hand when we are not root or this is not Debian.
pub(crate) fn install(packages: &[&str], purpose: &str) -> Result<()> {
    let by_hand = format!("install {} (needed to {purpose})", packages.join(", "));
    if which("apt-get").is_none() {
        bail!("{by_hand}; on this system nothing is installed for you");
    }
    if !is_root()? {
        bail!(
            "{by_hand}: apt-get install --no-install-recommends {}",
            packages.join(" ")
        );
    }
    let mut updated = UPDATED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if !*updated {
        apt_get(&["update"])?;
        *updated = true;
    }
    let _policy = NoServices::declare()?;
    let mut arguments = vec!["install", "--yes", "--no-install-recommends"];
    arguments.extend(packages);
    apt_get(&arguments).with_context(|| by_hand)
}

/// Runs apt-get until it gets the lock.
fn apt_get(arguments: &[&str]) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    eprintln!("$ apt-get {}", arguments.join(" "));
    loop {
        let output = Command::new("apt-get")
            .args(["--quiet", "--option", "DPkg::Lock::Timeout=300"])
            .args(arguments)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .stdin(Stdio::null())
            .output()
            .context("cannot run apt-get")?;
        if output.status.success() {
            return Ok(());
        }
        let stderr = String::from_utf8_lossy(&output.stderr);
        // apt waits for dpkg's lock by itself, but not for the lock of its lists.
        if is_locked(&stderr) && Instant::now() < deadline {
            eprintln!("another apt is running; trying again");
            std::thread::sleep(PAUSE);
            continue;
        }
        bail!("apt-get {} failed:\n{}", arguments[0], last_lines(&stderr, 15));
    }
}

fn is_locked(stderr: &str) -> bool {
    [
        "Could not get lock",
        "Unable to lock",
        "is another process using it",
        "Unable to acquire",
    ]
    .iter()
    .any(|sign| stderr.contains(sign))
}

fn is_root() -> Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let own = std::fs::metadata("/proc/self").context("cannot read /proc/self")?;
    Ok(own.uid() == 0)
}

/// While this lives, package scripts start no service.
struct NoServices {
    is_ours: bool,
}

impl NoServices {
    fn declare() -> Result<Self> {
        use std::os::unix::fs::PermissionsExt;
        // A policy that the system has already is the administrator's, and stays.
        let is_ours = !Path::new(POLICY).exists();
        if is_ours {
            std::fs::write(POLICY, "#!/bin/sh\nexit 101\n")?;
            std::fs::set_permissions(POLICY, PermissionsExt::from_mode(0o755))?;
        }
        Ok(Self { is_ours })
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if self.is_ours {
            // Left behind, it only keeps later packages from starting services.
            let _ = std::fs::remove_file(POLICY);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_held_lock_is_told_from_a_missing_package() {
        assert!(is_locked(
            "E: Could not get lock /var/lib/apt/lists/lock. It is held by process 7"
        ));
        assert!(is_locked("E: Unable to lock directory /var/lib/apt/lists/"));
        assert!(!is_locked("E: Unable to locate package chromium"));
    }
}
