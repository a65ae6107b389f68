//! Which crate may depend on which: the arrows of the house, checked against `cargo metadata`.
//!
//! Arrows point down; the store adapters alone point up, at the ports they implement.
//! Only normal and build dependencies count: a test may use `testkit` from anywhere.
//! To add a crate: a row in [`ALLOWED`], and the reason in `docs/decisions/`.

use anyhow::{Context, Result};
use serde_json::Value;

use crate::command::capture;
use crate::tally::Tally;
use crate::workspace::{self, cargo};

/// A crate and what it may use, by package name without the `mcp-authflow-` in front
/// (`authflow` is the bare `mcp-authflow`).
const ALLOWED: &[(&str, &[&str])] = &[
    ("types", &[]),
    ("jose", &["types"]),
    ("authflow", &["jose", "types"]),
    ("axum", &["authflow", "jose", "types"]),
    ("sqlite", &["authflow", "jose", "types"]),
    ("postgres", &["authflow", "jose", "types"]),
    ("redis", &["authflow", "jose", "types"]),
    ("fetch", &["types"]),
    ("resource", &["jose", "types"]),
    ("protect", &["resource", "types"]),
    (
        "server",
        &[
            "authflow", "axum", "fetch", "jose", "postgres", "protect", "redis", "resource", "sqlite",
            "types",
        ],
    ),
];

/// What only drives or shows the others, and may use anything.
const MAY_USE_ANYTHING: &[&str] = &["testkit", "xtask"];

/// The crates of the protocol are pure: no runtime, no web framework, no database, no
/// HTTP client, no ambient randomness, however deep below them.
const PURE: &[&str] = &["mcp-authflow-types", "mcp-authflow-jose", "mcp-authflow"];
const IMPURE: &[&str] = &[
    "tokio",
    "async-std",
    "smol",
    "axum",
    "actix-web",
    "hyper",
    "reqwest",
    "ureq",
    "rusqlite",
    "tokio-postgres",
    "sqlx",
    "redis",
    "getrandom",
    "rand",
    "chrono",
    "jiff",
];

/// Checks every arrow; each rule counts as one test.
pub(crate) fn run() -> Result<Tally> {
    let mut tally = report(
        "arrows between crates",
        &forbidden_arrows(workspace::metadata()?)?,
    );
    for package in PURE {
        let tree = capture(cargo().args([
            "tree",
            "--package",
            package,
            "--edges",
            "normal",
            "--prefix",
            "none",
            "--format",
            "{p}",
        ]))?;
        tally += report(&format!("{package} is pure"), &impure_lines(package, &tree));
    }
    Ok(tally)
}

fn report(rule: &str, breaches: &[String]) -> Tally {
    for breach in breaches {
        eprintln!("  {breach}");
    }
    eprintln!("{rule}: {}", if breaches.is_empty() { "ok" } else { "BROKEN" });
    Tally::one(breaches.is_empty())
}

/// Every edge that the table does not allow, and every crate without a row.
fn forbidden_arrows(metadata: &Value) -> Result<Vec<String>> {
    let packages = metadata["packages"]
        .as_array()
        .context("cargo metadata has no packages")?;
    let names: Vec<&str> = packages
        .iter()
        .filter_map(|package| package["name"].as_str())
        .collect();
    let mut breaches = Vec::new();
    for package in packages {
        let name = package["name"].as_str().context("a package without a name")?;
        if may_use_anything(package, name) {
            continue;
        }
        let Some((_, allowed)) = ALLOWED.iter().find(|(row, _)| *row == room(name)) else {
            breaches.push(format!(
                "`{name}` has no row in xtask/src/arrows.rs; say what it may use"
            ));
            continue;
        };
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let target = dependency["name"].as_str().unwrap_or_default();
            let is_for_tests = dependency["kind"] == "dev";
            if is_for_tests || !names.contains(&target) || allowed.contains(&room(target)) {
                continue;
            }
            breaches.push(format!("`{name}` must not depend on `{target}`"));
        }
    }
    Ok(breaches)
}

fn may_use_anything(package: &Value, name: &str) -> bool {
    let is_example = package["manifest_path"]
        .as_str()
        .is_some_and(|path| path.contains("/examples/"));
    is_example || MAY_USE_ANYTHING.contains(&room(name))
}

/// `mcp-authflow-types` lives in the room `types`; `mcp-authflow` in `authflow`.
fn room(package: &str) -> &str {
    match package {
        "mcp-authflow" => "authflow",
        _ => package.strip_prefix("mcp-authflow-").unwrap_or(package),
    }
}

fn impure_lines(package: &str, tree: &str) -> Vec<String> {
    tree.lines()
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| IMPURE.contains(name))
        .map(|name| format!("`{package}` must not depend on `{name}`, not even through others"))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn package(name: &str, dependencies: &Value) -> Value {
        json!({
            "name": name,
            "manifest_path": format!("/somewhere/crates/{name}/Cargo.toml"),
            "dependencies": dependencies,
        })
    }

    #[test]
    fn an_arrow_that_points_up_is_found_and_a_test_dependency_is_not() {
        let metadata = json!({"packages": [
            package("mcp-authflow", &json!([
                {"name": "mcp-authflow-axum", "kind": null},
                {"name": "mcp-authflow-testkit", "kind": "dev"},
                {"name": "mcp-authflow-types", "kind": null},
                {"name": "serde", "kind": null},
            ])),
            package("mcp-authflow-axum", &json!([])),
            package("mcp-authflow-testkit", &json!([{"name": "mcp-authflow", "kind": null}])),
            package("mcp-authflow-types", &json!([{"name": "mcp-authflow-jose", "kind": "build"}])),
            package("mcp-authflow-jose", &json!([])),
        ]});
        assert_eq!(
            forbidden_arrows(&metadata).unwrap(),
            [
                "`mcp-authflow` must not depend on `mcp-authflow-axum`",
                "`mcp-authflow-types` must not depend on `mcp-authflow-jose`",
            ]
        );
    }

    #[test]
    fn a_crate_without_a_row_is_found() {
        let metadata = json!({"packages": [package("mcp-authflow-new", &json!([]))]});
        assert_eq!(forbidden_arrows(&metadata).unwrap().len(), 1);
    }

    #[test]
    fn a_runtime_below_the_protocol_is_found_however_deep() {
        let tree = "mcp-authflow v0.1.0 (/somewhere)\nserde v1.0.0\ntokio v1.47.0 (*)\n";
        assert_eq!(impure_lines("mcp-authflow", tree).len(), 1);
        assert_eq!(impure_lines("mcp-authflow", "tokio-util-like v1.0.0\n").len(), 0);
    }
}
