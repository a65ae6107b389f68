//! Redis or Valkey: only the program; the testkit runs it privately.

use std::path::PathBuf;

use anyhow::{Context, Result};

use super::debian;
use crate::command::which;

/// Finds the server's program, or installs it.
pub(crate) fn provide() -> Result<PathBuf> {
    if let Some(found) = find() {
        return Ok(found);
    }
    debian::install(&["redis-server"], "test the Redis adapter")?;
    find().context("redis-server is not in PATH although its package was installed")
}

fn find() -> Option<PathBuf> {
    which("valkey-server").or_else(|| which("redis-server"))
}
