//! Where the workspace is, and its server built.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, Result, anyhow};

use crate::command::{capture, run};

/// The folder of the workspace: where `cargo xtask` was told about us.
pub(crate) fn root() -> PathBuf {
    let manifest = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    manifest.parent().map_or(manifest.clone(), Path::to_owned)
}

/// The build folder, as cargo sees it.
pub(crate) fn target() -> Result<PathBuf> {
    let metadata = metadata()?;
    let folder = metadata["target_directory"]
        .as_str()
        .context("cargo named no target folder")?;
    Ok(PathBuf::from(folder))
}

/// Where programs live that we install for ourselves; removed by `cargo clean`.
pub(crate) fn tools() -> Result<PathBuf> {
    let folder = target()?.join("tools");
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// `cargo metadata` of the workspace's own packages.
pub(crate) fn metadata() -> Result<&'static serde_json::Value> {
    static METADATA: OnceLock<Result<serde_json::Value, String>> = OnceLock::new();
    METADATA
        .get_or_init(|| {
            let text = capture(cargo().args(["metadata", "--format-version", "1", "--no-deps"]))
                .map_err(|error| format!("{error:#}"))?;
            serde_json::from_str(&text).map_err(|error| format!("cargo metadata: {error}"))
        })
        .as_ref()
        .map_err(|error| anyhow!("{error}"))
}

/// The cargo that runs us, in the workspace's folder.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    // What cargo told us about this package must not reach the packages it builds next.
    for (name, _) in std::env::vars_os() {
        let is_ours = name
            .to_str()
            .is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_"));
        if is_ours {
            command.env_remove(name);
        }
    }
    command
}

/// How the server is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Profile {
    /// Quick to build: for tests.
    Dev,
    /// What is measured and shipped.
    Release,
}

/// Builds every program of the workspace and returns the path of `authflow`.
pub(crate) fn build_server(profile: Profile) -> Result<PathBuf> {
    let mut command = cargo();
    // The whole workspace, since a part of it would be built with other features again.
    command.args(["build", "--workspace", "--bins"]);
    let folder = match profile {
        Profile::Dev => "debug",
        Profile::Release => {
            command.arg("--release");
            "release"
        }
    };
    run(&mut command)?;
    Ok(target()?.join(folder).join("authflow"))
}
