//! `authflow config check|print`.

use clap::Subcommand;

use super::{Output, Refused};
use crate::{
    config::Config,
    public_url::{Check, Severity},
    wire::{Opened, Shared},
};

#[derive(Debug, Subcommand)]
pub(super) enum ConfigVerb {
    /// Check the configuration without starting anything
    ///
    /// Exit code 2 and a line that names key, value and remedy when something is wrong. With --live the public address of a
    /// running server is asked as clients ask it, through whatever stands in front: exit code 1 when no client could sign in.
    Check {
        /// Ask the running server too, at its public address
        #[arg(long)]
        live: bool,
    },
    /// Print every setting in force and where it comes from, secrets masked
    Print,
}

impl ConfigVerb {
    pub(super) async fn run(self, config: &Config, output: Output) -> anyhow::Result<()> {
        match self {
            Self::Check { live } => {
                // What is only noticed at a start: templates and the files of TLS.
                crate::cli::serve::check_files(config)?;
                if live {
                    return super::with_store(config, async |opened| {
                        check_live(opened, config, output).await
                    })
                    .await;
                }
                output.print(&serde_json::json!({ "ok": true }), "the configuration is fine")
            }
            Self::Print => {
                let value: serde_json::Map<String, serde_json::Value> = config
                    .effective
                    .iter()
                    .map(|one| {
                        let entry =
                            serde_json::json!({ "value": one.value, "origin": one.origin.to_string() });
                        (one.key.to_string(), entry)
                    })
                    .collect();
                let rows: Vec<Vec<String>> = config
                    .effective
                    .iter()
                    .map(|one| vec![one.to_string(), format!("# {}", one.origin)])
                    .collect();
                let width = rows
                    .iter()
                    .map(|row| row[0].chars().count())
                    .max()
                    .unwrap_or(0)
                    .min(64);
                let text: Vec<String> = rows
                    .iter()
                    .map(|row| format!("{:<width$}  {}", row[0], row[1]))
                    .collect();
                output.print(&value.into(), &text.join("\n"))
            }
        }
    }
}

/// Asks the public address of a server that runs.
async fn check_live(opened: &Opened, config: &Config, output: Output) -> anyhow::Result<()> {
    let server = opened.server(config, &Shared::connect(config).await?);
    let resources = opened.store.list_resources().await?;
    let resources: Vec<_> = resources.iter().map(|one| one.resource.clone()).collect();
    let findings = Check::new(&config.issuer, server)?.run(&resources).await;
    let text: Vec<String> = findings.iter().map(ToString::to_string).collect();
    output.print(&serde_json::to_value(&findings)?, &text.join("\n"))?;
    let errors = findings
        .iter()
        .filter(|one| one.severity == Severity::Error)
        .count();
    if errors > 0 {
        return Err(Refused(format!(
            "clients cannot sign in at {}: {errors} of {} checks failed",
            config.issuer,
            findings.len()
        ))
        .into());
    }
    Ok(())
}
