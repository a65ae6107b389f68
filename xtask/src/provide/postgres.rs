//! PostgreSQL: only its programs; [`PrivatePostgres`] runs them in a folder of its own.
//!
//! [`PrivatePostgres`]: mcp_authflow_testkit::service::postgres::PrivatePostgres

use anyhow::Result;
use mcp_authflow_testkit::service::postgres::Binaries;

use super::debian;

/// Finds the server's programs, or installs them.
pub(crate) fn provide() -> Result<Binaries> {
    if let Ok(found) = Binaries::find() {
        return Ok(found);
    }
    debian::install(&["postgresql"], "test the PostgreSQL store")?;
    Binaries::find()
}
