//! What committed files must not say: paths of the machine they were written on, and
//! the registry that a lock file was made with.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use crate::command::capture;
use crate::workspace;

/// Lock files whose packages come from wherever the person's own client is set up to look.
const LOCK_FILES: &[&str] = &[
    "package-lock.json",
    "npm-shrinkwrap.json",
    "yarn.lock",
    "pnpm-lock.yaml",
    "poetry.lock",
    "uv.lock",
    "requirements.txt",
];

/// Parts of a host's name that betray a registry or a mirror.
const REGISTRY_SIGNS: &[&str] = &["registry", "npm", "pypi", "pythonhosted", "mirror", "artifact"];

/// Reads every file that git knows and fails on the first kind of trouble, naming all places.
pub(super) fn check() -> Result<()> {
    let root = workspace::root();
    let files = capture(Command::new("git").args(["ls-files", "-z"]).current_dir(&root))?;
    let own_paths = own_paths(&root);
    let mut breaches = Vec::new();
    for name in files.split('\0').filter(|name| !name.is_empty()) {
        // A file that is not UTF-8 is a picture; one that is gone is about to be committed as such.
        let Ok(text) = std::fs::read_to_string(root.join(name)) else {
            continue;
        };
        for (number, line) in text.lines().enumerate() {
            if let Some(path) = own_paths.iter().find(|path| has_path(line, path)) {
                breaches.push(format!("{name}:{}: names {path}… of this machine", number + 1));
            }
            if is_lock_file(name) && names_registry(line) {
                breaches.push(format!(
                    "{name}:{}: names a registry: {}",
                    number + 1,
                    line.trim()
                ));
            }
        }
    }
    if breaches.is_empty() {
        return Ok(());
    }
    bail!("{}", breaches.join("\n"))
}

/// The folder that holds the workspace, and the home folder.
fn own_paths(root: &Path) -> Vec<String> {
    let home = std::env::var_os("HOME").map(std::path::PathBuf::from);
    [root.parent().map(Path::to_owned), home]
        .into_iter()
        .flatten()
        // `/tmp` or `/` would be found everywhere, and betray nothing.
        .filter(|path| path.components().count() > 1 && path != Path::new("/tmp"))
        .map(|path| format!("{}/", path.display()))
        .collect()
}

/// Whether `path` stands in `line` as the beginning of a path, not in the middle of one.
fn has_path(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(position, _)| {
        let before = line[..position].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | '/' | '}' | '*'))
    })
}

fn is_lock_file(name: &str) -> bool {
    Path::new(name)
        .file_name()
        .and_then(|name| name.to_str())
        .is_some_and(|name| LOCK_FILES.contains(&name))
}

fn names_registry(line: &str) -> bool {
    if line.trim_start().starts_with("\"resolved\"") {
        return true;
    }
    line.split("://").skip(1).any(|rest| {
        let host = rest.split(['/', '"', ' ', ':']).next().unwrap_or_default();
        REGISTRY_SIGNS.iter().any(|sign| host.contains(sign))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_counts_only_where_it_begins() {
        assert!(has_path("see /builds/project/x", "/builds/"));
        assert!(has_path("\"/builds/project\"", "/builds/"));
        assert!(!has_path("docs/builds/x", "/builds/"));
        assert!(!has_path("https://host/builds/x", "/builds/"));
    }

    #[test]
    fn a_lock_file_that_says_where_a_package_came_from_is_found() {
        assert!(is_lock_file("judges/x/package-lock.json"));
        assert!(!is_lock_file("Cargo.lock"));
        assert!(names_registry("      \"resolved\": \"anything\","));
        assert!(names_registry("--index-url https://registry.example/simple"));
        assert!(!names_registry(
            "      \"url\": \"https://example.org/sponsors/someone\""
        ));
    }
}
