//! `authflow config check|print`.

use clap::Subcommand;

use super::Output;
use crate::config::Config;

#[derive(Debug, Subcommand)]
pub(super) enum ConfigVerb {
    /// Check the configuration without starting anything
    ///
    /// Exit code 2 and a line that names key, value and remedy when something is wrong.
    Check,
    /// Print every setting in force and where it comes from, secrets masked
    Print,
}

impl ConfigVerb {
    pub(super) fn run(self, config: &Config, output: Output) -> anyhow::Result<()> {
        match self {
            Self::Check => {
                // What is only noticed at a start: templates and the files of TLS.
                crate::cli::serve::check_files(config)?;
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
