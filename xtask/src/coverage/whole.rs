//! Rows that speak of the packages as a whole: what can be shown of them is shown of the workspace.

#![cfg(test)]

use mcp_authflow_types::cors::{AllowedOrigins, CorsPolicy, CorsRequest};
use mcp_authflow_types::pkce::{MethodPolicy, verify_pkce};
use mcp_authflow_types::{ErrorReply, Reply, Scope, client_id::ClientIdForm};

use crate::workspace;

/// S-001
/// S-004
#[test]
fn the_pure_parts_work_without_a_server_and_without_a_runtime() {
    let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    let challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
    assert!(verify_pkce(
        verifier,
        challenge,
        Some("S256"),
        MethodPolicy::default()
    ));
    assert_eq!(ClientIdForm::of("mcp-1"), Some(ClientIdForm::Plain));
    let scope = Scope::parse_field(&serde_json::json!(["a"]), &Scope::empty()).unwrap();
    assert!(scope.contains("a"));
    assert_eq!(Reply::from(ErrorReply::invalid_grant("spent")).status(), 400);
    let policy = CorsPolicy::endpoint(AllowedOrigins::any(), "POST, OPTIONS");
    let request = CorsRequest {
        origins: &[],
        is_preflight: false,
    };
    assert!(!policy.headers(request).is_empty());
    assert!(tokio::runtime::Handle::try_current().is_err());
}

/// S-002
#[test]
fn every_package_names_its_edition_its_licence_and_its_oldest_compiler() {
    for package in workspace::metadata().unwrap()["packages"].as_array().unwrap() {
        assert_eq!(package["edition"], "2024", "{}", package["name"]);
        assert_eq!(package["license"], "MIT OR Apache-2.0", "{}", package["name"]);
        assert!(package["rust_version"].is_string(), "{}", package["name"]);
    }
}

/// S-003
#[test]
fn the_version_is_that_of_the_package() {
    assert_eq!(mcp_authflow_types::VERSION, env!("CARGO_PKG_VERSION"));
}

/// S-005
#[test]
fn variables_are_read_in_one_room_and_each_is_documented() {
    let root = workspace::root();
    let readers = |room: &str| {
        let mut found = Vec::new();
        let mut folders = vec![root.join("crates").join(room).join("src")];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if std::fs::read_to_string(&path).is_ok_and(|text| text.lines().any(reads_variables)) {
                    found.push(path.strip_prefix(&root).unwrap().display().to_string());
                }
            }
        }
        found
    };
    for room in [
        "types", "jose", "authflow", "axum", "sqlite", "postgres", "redis", "fetch", "resource",
    ] {
        assert!(readers(room).is_empty(), "{:?}", readers(room));
    }
    assert_eq!(readers("server"), ["crates/server/src/environment.rs"]);
    for page in ["docs/configuration.md", "docs/coming-from-python.md"] {
        let text = std::fs::read_to_string(root.join(page)).unwrap();
        for variable in ["DATABASE_URL", "ALLOWED_MCP_ORIGINS"] {
            assert!(text.contains(variable), "{page} says nothing of {variable}");
        }
    }
}

/// Whether a line of code, not of documentation, reads the environment.
fn reads_variables(line: &str) -> bool {
    !line.trim_start().starts_with("//") && (line.contains("env::var(") || line.contains("env::vars"))
}

/// S-006
#[test]
fn no_dependency_is_open_to_a_version_that_breaks_it() {
    for package in workspace::metadata().unwrap()["packages"].as_array().unwrap() {
        for dependency in package["dependencies"].as_array().unwrap() {
            let is_ours = dependency["path"].is_string();
            let bound = dependency["req"].as_str().unwrap();
            assert!(
                is_ours || bound.starts_with('^') || bound.starts_with('='),
                "{}: {} {bound}",
                package["name"],
                dependency["name"]
            );
        }
    }
    assert!(workspace::root().join("Cargo.lock").is_file());
}

/// S-007
#[test]
fn time_comes_from_a_port_and_nowhere_else() {
    let lints = std::fs::read_to_string(workspace::root().join("clippy.toml")).unwrap();
    for ambient in ["std::time::SystemTime::now", "std::time::Instant::now"] {
        assert!(lints.contains(&format!("path = \"{ambient}\"")), "{ambient}");
    }
}
