//! `cargo xtask lint`: everything that is checked without running the server.

mod committed;

use std::process::{Command, ExitCode};

use anyhow::{Result, bail, ensure};

use crate::command::{capture, run};
use crate::workspace::cargo;

/// The flags of `cargo xtask lint`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Fails when cargo-deny is not installed, instead of leaving its check out
    #[arg(long)]
    require_deny: bool,
    /// Runs this check only (may be given more than once)
    #[arg(long, value_name = "CHECK")]
    only: Vec<Check>,
}

/// A check, in the order in which they run: the quick ones first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Check {
    /// The source is formatted.
    Fmt,
    /// Committed files name no path of this machine, lock files no registry.
    Files,
    /// Which crate may depend on which.
    Arrows,
    /// One crypto library in the server: `ring` is not in its tree.
    Ring,
    /// Clippy finds nothing, in tests and examples too.
    Clippy,
    /// The documentation builds without a warning.
    Doc,
    /// Licences, bans and sources of the dependencies (cargo-deny).
    Deny,
}

/// Whether a check could be made.
enum Made {
    Yes,
    LeftOut(&'static str),
}

/// Runs the checks, all of them even if one fails.
pub(crate) fn run_checks(arguments: &Arguments) -> ExitCode {
    use clap::ValueEnum;
    let mut lines = Vec::new();
    let mut has_failed = false;
    for check in Check::value_variants() {
        if !arguments.only.is_empty() && !arguments.only.contains(check) {
            continue;
        }
        eprintln!("\n=== {check:?} ===");
        let result = check.make(arguments.require_deny);
        lines.push(match result {
            Ok(Made::Yes) => format!("{check:?}: ok"),
            Ok(Made::LeftOut(reason)) => format!("{check:?}: left out, {reason}"),
            Err(error) => {
                has_failed = true;
                eprintln!("error: {error:#}");
                format!("{check:?}: FAILED")
            }
        });
    }
    println!("\n{}", lines.join("\n"));
    if has_failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

impl Check {
    fn make(self, require_deny: bool) -> Result<Made> {
        match self {
            Self::Fmt => run(cargo().args(["fmt", "--all", "--check"]))?,
            Self::Files => committed::check()?,
            Self::Arrows => {
                ensure!(crate::arrows::run()?.failed == 0, "an arrow points the wrong way");
            }
            Self::Ring => no_ring()?,
            Self::Clippy => {
                let scope = ["clippy", "--workspace", "--all-targets"];
                run(cargo().args(scope).args(["--", "-D", "warnings"]))?;
            }
            Self::Doc => {
                let mut command = cargo();
                command
                    .args(["doc", "--workspace", "--no-deps"])
                    .env("RUSTDOCFLAGS", "-D warnings");
                run(&mut command)?;
            }
            Self::Deny => return deny(require_deny),
        }
        Ok(Made::Yes)
    }
}

/// Two crypto back ends in one program make rustls panic at the first use, since
/// neither is then the default.
fn no_ring() -> Result<()> {
    let mut tree = cargo();
    tree.args(["tree", "--package", "mcp-authflow-server", "--edges", "normal"]);
    tree.args(["--prefix", "none", "--format", "{p}"]);
    let text = capture(&mut tree)?;
    if text.lines().any(|line| line.starts_with("ring v")) {
        bail!(
            "`ring` is in the server's tree; find the way in with `cargo tree -i ring -p mcp-authflow-server`"
        );
    }
    Ok(())
}

fn deny(is_required: bool) -> Result<Made> {
    if capture(cargo().args(["deny", "--version"])).is_err() {
        ensure!(
            !is_required,
            "cargo-deny is missing: cargo install --locked cargo-deny"
        );
        return Ok(Made::LeftOut(
            "cargo-deny is missing: cargo install --locked cargo-deny",
        ));
    }
    let checks = ["check", "licenses", "bans", "sources"];
    let offline: &mut Command = &mut cargo();
    offline.args(["deny", "--offline"]).args(checks);
    let online: &mut Command = &mut cargo();
    online.args(["deny"]).args(checks);
    // Offline first: what is built is here already. Crates of other systems may not be.
    if run(offline).is_err() {
        run(online)?;
    }
    Ok(Made::Yes)
}
