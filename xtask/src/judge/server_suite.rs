//! The `server` scenarios of the official conformance package against an MCP server, directly and through `authflow
//! protect`: the door must disturb nothing.
//!
//! The package cannot send a token, so a proxy of ours adds one. What is compared is not how many scenarios pass but every
//! single check: its name, its verdict and the reason it gives.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use tokio::time::timeout;

use super::injector::{Injector, Named};
use super::workshop;
use crate::command::last_lines;

const PATIENCE: Duration = Duration::from_secs(240);

/// A frozen set of scenarios, and what is known of it in the pinned version.
#[derive(Clone, Copy, Debug)]
pub(super) struct Requirements {
    pub(super) revision: &'static str,
    /// How many scenarios run, scored or not.
    pub(super) scenarios: usize,
    /// The scenarios that fail directly too: what the SDK of our server does not have.
    pub(super) failing: fn(&str) -> bool,
}

/// MCP 2026-07-28: all 37 scored scenarios pass. Of the 13 that are not scored, those of the extension “tasks” fail, which
/// the SDK does not implement.
pub(super) const STATELESS: Requirements = Requirements {
    revision: "2026-07-28",
    scenarios: 50,
    failing: |scenario| scenario.starts_with("tasks-"),
};

/// MCP 2025-11-25, with sessions: all 30 scored scenarios pass, and the 3 that are not scored.
pub(super) const WITH_SESSIONS: Requirements = Requirements {
    revision: "2025-11-25",
    scenarios: 33,
    failing: |_| false,
};

/// Every check of every scenario, in the order in which they came.
type Verdicts = BTreeMap<String, Vec<Check>>;

#[derive(Clone, Debug, PartialEq, Eq)]
struct Check {
    id: String,
    status: String,
    /// Why, with the address of the server left out.
    message: String,
}

/// Compares what the suite says of the server at `direct` and of the same server at `injected`, which adds a token.
pub(super) async fn judge(requirements: Requirements, direct: &str, injected: &str) -> Result<()> {
    let plain = run(requirements, direct).await?;
    let behind = run(requirements, injected).await?;
    println!("\n{}", table(&plain, &behind));
    let mut wrong = differences(&plain, &behind);
    wrong.extend(failures(requirements, &plain));
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

/// Runs the suite against a server that cannot be asked directly, since the package speaks HTTP only.
pub(super) async fn judge_alone(requirements: Requirements, injected: &str) -> Result<()> {
    let wrong = failures(requirements, &run(requirements, injected).await?);
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

/// What fails, or did not run, although our server has everything that is asked for.
fn failures(requirements: Requirements, verdicts: &Verdicts) -> Vec<String> {
    let mut wrong = Vec::new();
    let count = verdicts.len();
    if count != requirements.scenarios {
        wrong.push(format!("{count} scenarios ran, not {}", requirements.scenarios));
    }
    for (scenario, checks) in verdicts {
        let failed = checks.iter().filter(|check| check.status == "FAILURE");
        for check in failed.filter(|_| !(requirements.failing)(scenario)) {
            wrong.push(format!("{scenario}: {} fails: {}", check.id, check.message));
        }
        if checks.is_empty() {
            wrong.push(format!("{scenario} did not begin"));
        }
    }
    wrong
}

/// Runs the suite without a token: nothing but 401 may come back, or 4xx for a request that names another machine.
pub(super) async fn refuse(requirements: Requirements, protected: &str) -> Result<()> {
    let witness = Injector::open(protected, None).await?;
    run(requirements, &witness.url).await?;
    let answers = witness.answers();
    let mut requests = 0;
    for ((named, status), count) in answers {
        requests += count;
        let is_right = status == 401 || (named == Named::Elsewhere && (400..500).contains(&status));
        ensure!(
            is_right,
            "without a token {count} requests were answered {status} ({named:?})"
        );
    }
    ensure!(
        requests >= requirements.scenarios,
        "the suite sent only {requests} requests"
    );
    eprintln!("    {requests} requests without a token, all refused");
    Ok(())
}

async fn run(requirements: Requirements, url: &str) -> Result<Verdicts> {
    let results = tempfile::tempdir()?;
    let script = "node_modules/@modelcontextprotocol/conformance/dist/index.js";
    let mut command = workshop::node_script("conformance", script)?;
    let output = command
        .args([
            "server",
            "--url",
            url,
            "--requirements",
            requirements.revision,
            "-o",
        ])
        .arg(results.path())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    // Its exit code says that something failed, which is ours to judge.
    let output = timeout(PATIENCE, output)
        .await
        .context("the conformance package does not end")??;
    let verdicts = read(results.path(), url)?;
    if verdicts.is_empty() {
        let said = [output.stdout, output.stderr].concat();
        bail!(
            "no scenario ran:\n{}",
            last_lines(&String::from_utf8_lossy(&said), 20)
        );
    }
    Ok(verdicts)
}

/// Reads the results that were saved, one folder `server-SCENARIO-TIME` each.
fn read(results: &Path, url: &str) -> Result<Verdicts> {
    let authority = url.trim_start_matches("http://").trim_end_matches("/mcp");
    let mut verdicts = Verdicts::new();
    for entry in std::fs::read_dir(results)? {
        let entry = entry?;
        let folder = entry.file_name().to_string_lossy().into_owned();
        let scenario = scenario_of(&folder).with_context(|| format!("a folder called {folder}"))?;
        let file = entry.path().join("checks.json");
        // A scenario that could not even begin leaves an empty folder.
        let checks = if file.exists() {
            std::fs::read_to_string(file)?
        } else {
            "[]".to_owned()
        };
        let checks: Vec<Value> = serde_json::from_str(&checks)?;
        let checks = checks.iter().map(|check| {
            let text = |name: &str| check[name].as_str().unwrap_or_default();
            Check {
                id: text("id").to_owned(),
                status: text("status").to_owned(),
                message: text("errorMessage").replace(authority, "SERVER"),
            }
        });
        verdicts.insert(scenario.to_owned(), checks.collect());
    }
    Ok(verdicts)
}

/// `tools-list` of `server-tools-list-2026-11-24T13-26-21-302Z`.
fn scenario_of(folder: &str) -> Option<&str> {
    const TIME: usize = "-2026-11-24T13-26-21-302Z".len();
    let scenario = folder.strip_prefix("server-")?;
    scenario.get(..scenario.len().checked_sub(TIME)?)
}

fn differences(plain: &Verdicts, behind: &Verdicts) -> Vec<String> {
    let mut all = Vec::new();
    for scenario in plain
        .keys()
        .chain(behind.keys().filter(|name| !plain.contains_key(*name)))
    {
        let (Some(plain), Some(behind)) = (plain.get(scenario), behind.get(scenario)) else {
            all.push(format!("{scenario} ran on one side only"));
            continue;
        };
        for place in 0..plain.len().max(behind.len()) {
            let (plain, behind) = (plain.get(place), behind.get(place));
            if plain != behind {
                all.push(format!(
                    "{scenario}: directly {plain:?}, behind the door {behind:?}"
                ));
            }
        }
    }
    all
}

fn table(plain: &Verdicts, behind: &Verdicts) -> String {
    let width = plain.keys().map(String::len).max().unwrap_or_default();
    let mut text = format!("{:width$}  directly         behind the door\n", "scenario");
    let none = Vec::new();
    for (scenario, checks) in plain {
        let count = |checks: &[Check]| {
            let of = |status: &str| checks.iter().filter(|check| check.status == status).count();
            let (good, bad) = (of("SUCCESS"), of("FAILURE"));
            let other = checks.len() - good - bad;
            format!("{good:3} ok {bad:2} not {other:2} –")
        };
        let behind = count(behind.get(scenario).unwrap_or(&none));
        let _ = writeln!(text, "{scenario:width$}  {}  {behind}", count(checks));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdicts(status: &str, message: &str) -> Verdicts {
        let check = Check {
            id: "tools-list".to_owned(),
            status: status.to_owned(),
            message: message.to_owned(),
        };
        Verdicts::from([("tools-list".to_owned(), vec![check])])
    }

    #[test]
    fn a_scenario_is_read_from_its_folder() {
        assert_eq!(
            scenario_of("server-tools-call-error-2026-11-24T13-26-21-302Z"),
            Some("tools-call-error")
        );
        assert_eq!(scenario_of("server-x"), None);
    }

    #[test]
    fn a_failure_that_is_not_known_and_a_scenario_that_did_not_begin_are_wrong() {
        let one = Requirements {
            scenarios: 1,
            ..WITH_SESSIONS
        };
        assert!(failures(one, &verdicts("SUCCESS", "")).is_empty());
        assert_eq!(failures(one, &verdicts("FAILURE", "")).len(), 1);
        assert_eq!(failures(WITH_SESSIONS, &verdicts("SUCCESS", "")).len(), 1);
        let empty = Verdicts::from([("tools-list".to_owned(), vec![])]);
        assert_eq!(failures(one, &empty).len(), 1);
    }

    #[test]
    fn another_verdict_and_another_reason_are_both_a_difference() {
        let good = verdicts("SUCCESS", "");
        assert!(differences(&good, &good).is_empty());
        for other in [
            verdicts("FAILURE", ""),
            verdicts("SUCCESS", "late"),
            Verdicts::from([("tools-list".to_owned(), vec![])]),
            Verdicts::new(),
        ] {
            assert_eq!(differences(&good, &other).len(), 1, "{other:?}");
            assert_eq!(differences(&other, &good).len(), 1, "{other:?}");
        }
    }
}
