//! `authflow migrate`: brings the schema up to date. An embedded file does so at every start.

use super::Output;
use crate::{
    config::{Config, Database},
    wire::{Opened, Purpose, postgres_config},
};

pub(super) async fn run(config: &Config, output: Output) -> anyhow::Result<()> {
    let (applied, version) = if let Some(postgres) = postgres_config(config) {
        let report = mcp_authflow_postgres::migrate(&postgres).await?;
        (report.applied, Some(report.version))
    } else {
        if let Database::Sqlite(_) = config.database {
            Opened::open(config, Purpose::Command).await?.close().await;
        }
        (Vec::new(), None)
    };
    let text = match (&config.database, applied.as_slice()) {
        (Database::Memory, _) => "memory: has no schema".to_owned(),
        (_, []) => "the schema is up to date".to_owned(),
        (_, applied) => format!("applied {}", applied.join(", ")),
    };
    output.print(
        &serde_json::json!({ "applied": applied, "version": version }),
        &text,
    )
}
