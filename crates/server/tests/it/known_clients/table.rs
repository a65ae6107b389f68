//! The table as it is printed.

use std::process::Command;

use mcp_authflow_testkit::server::TestServer;
use serde_json::Value;

/// What the verb prints, and its exit code.
fn run(arguments: &[&str]) -> (String, String, i32) {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_authflow"))
        .arg("known-clients")
        .args(arguments)
        .current_dir(&folder)
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (
        text(&output.stdout),
        text(&output.stderr),
        output.status.code().unwrap(),
    )
}

/// The clients that the built-in table knows, in alphabetical order.
pub(super) fn names() -> Vec<String> {
    let listed: Value = serde_json::from_str(&run(&["list", "--json"]).0).unwrap();
    let mut names: Vec<String> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["name"].as_str().unwrap().to_owned())
        .collect();
    names.sort_unstable();
    names
}

#[test]
fn the_documentation_is_the_table() {
    let page =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/clients.md")).unwrap();
    let (printed, _, _) = run(&["list", "--markdown"]);
    assert!(
        page == printed,
        "run: cargo run -- known-clients list --markdown > docs/clients.md"
    );
}

#[test]
fn one_client_is_shown_with_what_it_needs_and_how_it_is_known() {
    let (shown, _, code) = run(&["show", "opencode"]);
    assert_eq!(code, 0);
    for said in [
        "OpenCode",
        "description, 2026-11-23",
        "loopback-path (off); gives up",
        "anomalyco/opencode",
    ] {
        assert!(shown.contains(said), "{said} is not in\n{shown}");
    }
    assert!(shown.lines().all(|line| line.chars().count() <= 100), "{shown}");
    let (_, refusal, code) = run(&["show", "nobody"]);
    assert_eq!(
        (code, refusal.contains("no known client \"nobody\"")),
        (1, true),
        "{refusal}"
    );
}

#[test]
fn a_file_of_the_operators_puts_entries_beside_the_built_in_ones_or_in_their_place() {
    let folder = tempfile::tempdir().unwrap();
    let entry = |name: &str, title: &str| {
        format!(
            "[[client]]\nname = \"{name}\"\ntitle = \"{title}\"\nfrom = \"recording\"\nseen = \"2026-11-24\"\n"
        )
    };
    let file = folder.path().join("mine.toml");
    std::fs::write(
        &file,
        [entry("zed", "Our Zed"), entry("ours", "Our own")].concat(),
    )
    .unwrap();
    let configuration = folder.path().join("authflow.toml");
    std::fs::write(&configuration, format!("[known_clients]\nfile = {file:?}\n")).unwrap();
    let (printed, _, _) = run(&["list", "--config", configuration.to_str().unwrap()]);
    assert!(
        printed.contains("Our Zed") && printed.contains("Our own") && printed.contains("Cursor"),
        "{printed}"
    );

    for (wrong, said) in [
        (
            "[known_clients]\non = [\"everything\"]\n",
            "write some of loopback-path",
        ),
        (
            "[known_clients]\noff = [\"nobody/loopback-path\"]\n",
            "nobody is no known client",
        ),
        ("[known_clients]\nall = true\n", "unknown key `known_clients.all`"),
        (
            "[known_clients]\nfile = \"/nowhere.toml\"\n",
            "cannot read /nowhere.toml",
        ),
    ] {
        std::fs::write(&configuration, wrong).unwrap();
        let (_, refusal, code) = run(&["list", "--config", configuration.to_str().unwrap()]);
        assert_eq!((code, refusal.contains(said)), (2, true), "{wrong}: {refusal}");
    }
    assert!(
        TestServer::builder()
            .binary(env!("CARGO_BIN_EXE_authflow"))
            .config("[known_clients]\noff = [\"x\"]\n")
            .start()
            .is_err()
    );
}
