//! The layers that cargo runs: unit, flow and black-box tests, and doc examples.

use std::process::Command;

use anyhow::{Result, bail};
use mcp_authflow_testkit::service::postgres::PrivatePostgres;

use crate::command::{capture, run_and_keep};
use crate::provide;
use crate::tally::Tally;
use crate::workspace::{Profile, build_server, cargo};

/// Every test of the workspace, with a private PostgreSQL for the store contract.
pub(super) fn unit(filter: Option<&str>) -> Result<Tally> {
    provide::postgres::provide()?;
    provide::chromium::provide()?;
    provide::reverse_proxy::provide()?;
    // The black-box tests find the newest built server by themselves.
    build_server(Profile::Dev)?;
    let postgres = PrivatePostgres::start(false)?;
    let has_nextest = capture(cargo().args(["nextest", "--version"])).is_ok();
    let mut command = cargo();
    if has_nextest {
        command.args([
            "nextest",
            "run",
            "--workspace",
            "--no-fail-fast",
            "--no-tests=pass",
        ]);
    } else {
        command.args(["test", "--workspace", "--all-targets", "--no-fail-fast"]);
    }
    command.args(filter).env("TEST_DATABASE_URL", postgres.url());
    let count = if has_nextest {
        Tally::of_nextest
    } else {
        Tally::of_cargo_test
    };
    let tally = counted(&mut command, count)?;
    postgres.stop()?;
    Ok(tally)
}

/// The examples in the documentation, which nextest does not run.
pub(super) fn doc(filter: Option<&str>) -> Result<Tally> {
    let mut command = cargo();
    command.args(["test", "--workspace", "--doc", "--no-fail-fast"]);
    if let Some(filter) = filter {
        command.args(["--", filter]);
    }
    counted(&mut command, Tally::of_cargo_test)
}

/// Runs and counts; a runner that failed without a failed test failed otherwise (it
/// did not compile, or a test process was killed).
fn counted(command: &mut Command, count: fn(&str) -> Tally) -> Result<Tally> {
    let (status, output) = run_and_keep(command)?;
    let tally = count(&output);
    if !status.success() && tally.failed == 0 {
        bail!("the test runner failed ({status}) although no test did");
    }
    Ok(tally)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runner_that_dies_without_a_failed_test_is_an_error() {
        let run = |exit_code: &str, count: fn(&str) -> Tally| {
            let mut command = Command::new("sh");
            command.args(["-c", &format!("exit {exit_code}")]);
            counted(&mut command, count)
        };
        assert!(run("101", |_| Tally { passed: 1, failed: 0 }).is_err());
        let failed = Tally { passed: 1, failed: 2 };
        assert_eq!(run("101", |_| Tally { passed: 1, failed: 2 }).unwrap(), failed);
        assert_eq!(run("0", |_| Tally::one(true)).unwrap(), Tally::one(true));
    }
}
