//! `authflow known-clients list|show`: how real clients behave, and how far each is met.

use std::fmt::Write as _;

use anyhow::Context as _;
use clap::Subcommand;
use serde_json::{Value, json};

use super::{
    Output, Refused,
    output::{table, wrap},
};
use crate::{
    config::{Config, KnownClientsConfig},
    known_clients::Entry,
};

#[derive(Debug, Subcommand)]
pub(super) enum KnownClientsVerb {
    /// List the known clients, and the leniencies that are on for each
    #[command(after_help = LIST_EXAMPLES)]
    List {
        /// Print a page of documentation
        #[arg(long, conflicts_with = "json")]
        markdown: bool,
    },
    /// Show what is known of one: what it sends, what it needs, and the evidence
    #[command(after_help = "Example:\n  authflow known-clients show opencode")]
    Show {
        /// Its name in the list
        name: String,
    },
}

const LIST_EXAMPLES: &str = "Examples:
  authflow known-clients list
  authflow known-clients show opencode

A leniency that is off is switched on in the configuration:
  [known_clients]
  on = [\"opencode/loopback-path\"]";

impl KnownClientsVerb {
    pub(super) fn run(self, config: &Config, output: Output) -> anyhow::Result<()> {
        let known = &config.known_clients;
        match self {
            Self::List { markdown: true } => {
                super::output::say(format_args!("{}", markdown(known)?.trim_end()))
            }
            Self::List { markdown: false } => {
                let value: Vec<Value> = known
                    .table
                    .entries()
                    .iter()
                    .map(|entry| entry.to_json(known))
                    .collect();
                let rows: Vec<Vec<String>> = known
                    .table
                    .entries()
                    .iter()
                    .map(|entry| entry.row(known))
                    .collect();
                let headings = ["NAME", "CLIENT", "LENIENCIES", "FROM", "SEEN"];
                output.print(&json!(value), &table(&headings, &rows))
            }
            Self::Show { name } => {
                let entry = known.table.entry(&name).ok_or_else(|| {
                    Refused(format!(
                        "no known client \"{name}\"; authflow known-clients list shows them"
                    ))
                })?;
                output.print(&entry.to_json(known), &entry.in_full(known)?)
            }
        }
    }
}

impl Entry {
    fn row(&self, known: &KnownClientsConfig) -> Vec<String> {
        let leniencies: Vec<String> = self
            .leniencies()
            .map(|one| {
                let state = if known.switches.are_on(&self.name, one) {
                    "on"
                } else {
                    "off"
                };
                format!("{one} ({state})")
            })
            .collect();
        vec![
            self.name.clone(),
            self.title.clone(),
            if leniencies.is_empty() {
                "-".to_owned()
            } else {
                leniencies.join(", ")
            },
            self.from.as_str().to_owned(),
            self.seen.clone(),
        ]
    }

    fn to_json(&self, known: &KnownClientsConfig) -> Value {
        let leniencies: Vec<Value> = self
            .leniencies()
            .map(|one| {
                json!({
                    "name": one.as_str(), "on": known.switches.are_on(&self.name, one), "gives_up": one.gives_up(),
                })
            })
            .collect();
        json!({
            "name": self.name, "title": self.title, "from": self.from.as_str(), "seen": self.seen,
            "works": self.works, "callbacks": self.callbacks, "registers": self.registers, "authenticates": self.authenticates,
            "sends": self.sends, "rules": self.rules, "leniencies": leniencies,
            "also_redirects_to": self.also_redirects_to, "needs": self.needs, "evidence": self.evidence,
            "proof": { "client_ids": self.proof.client_ids, "redirect_uris": self.proof.redirect_uris },
            "claim": { "client_names": self.claim.client_names, "redirect_uris": self.claim.redirect_uris },
        })
    }

    fn in_full(&self, known: &KnownClientsConfig) -> anyhow::Result<String> {
        let mut text = String::new();
        let mut put = |label: &str, lines: &[String]| -> std::fmt::Result {
            let mut label = label;
            for line in lines {
                // Where there are several, each has a mark.
                let mut mark = if lines.len() > 1 { "- " } else { "" };
                for part in wrap(line, 62) {
                    writeln!(text, "{label:<15} {mark}{part}")?;
                    (label, mark) = ("", if mark.is_empty() { "" } else { "  " });
                }
            }
            Ok(())
        };
        let one = |text: &String| vec![text.clone()];
        let proof: Vec<String> = self
            .proof
            .client_ids
            .iter()
            .chain(&self.proof.redirect_uris)
            .cloned()
            .collect();
        let rules: Vec<String> = self
            .rules
            .iter()
            .map(|rule| format!("{rule}: {}", known.table.rule(rule)))
            .collect();
        let leniencies: Vec<String> = self
            .leniencies()
            .map(|one| {
                let state = if known.switches.are_on(&self.name, one) {
                    "on"
                } else {
                    "off"
                };
                format!("{one} ({state}); gives up: {}", one.gives_up())
            })
            .collect();
        put("name", &one(&self.name))?;
        put("client", &one(&self.title))?;
        put("known from", &[format!("{}, {}", self.from.as_str(), self.seen)])?;
        put("callbacks", &self.callbacks)?;
        put("registers", &one(&self.registers))?;
        put("authenticates", &one(&self.authenticates))?;
        put("sends", &one(&self.sends))?;
        put("works", &one(&self.works))?;
        put("needs", &one(&self.needs))?;
        put("works by", &rules)?;
        put("leniencies", &leniencies)?;
        put("proven by", &proof)?;
        put("claims to be", &self.claim.client_names)?;
        put("evidence", &self.evidence)?;
        Ok(text)
    }
}

/// The page `docs/clients.md`.
fn markdown(known: &KnownClientsConfig) -> anyhow::Result<String> {
    let mut page = String::from(
        "# Known clients\n\n\
         Made by `authflow known-clients list --markdown`; a test compares. What real MCP clients do, what makes them work \
         here, and what a few need beyond that. Each is played by a test (`tests/clients/`).\n\n\
         *Known from*: `code` – its published code was read; `description` – its maker's documentation and reports of \
         others; `recording` – its traffic was recorded.\n\n\
         ## At a glance\n\n\
         | Client | Works out of the box | What it needs | Known from |\n|---|---|---|---|\n",
    );
    for entry in known.table.entries() {
        let works = &entry.works;
        let needs = &entry.needs;
        let (title, name) = (&entry.title, &entry.name);
        writeln!(
            page,
            "| [{title}](#{name}) | {works} | {needs} | {}, {} |",
            entry.from.as_str(),
            entry.seen
        )?;
    }
    page.push_str(
        "\n## Rules that hold for everyone\n\n\
         Nearly everything that clients do differently works for all of them:\n\n| Rule | What it is |\n|---|---|\n",
    );
    for (name, text) in known.table.rules() {
        writeln!(page, "| `{name}` | {text} |")?;
    }
    page.push_str(
        "\n## Leniencies\n\n\
         What is left hangs on a client that is *proven*: by the address of its metadata document, or by redirect URIs that \
         lead to its maker's host and nowhere else. What a client says of itself, such as its name, opens nothing. Each use \
         is logged and stands in the audit trail (`action=leniency`), and each can be switched:\n\n\
         ```toml\n[known_clients]\non = [\"opencode/loopback-path\"]   # for one client, or for all: \"loopback-path\"\n\
         off = [\"secret-in-body\"]\nfile = \"my-clients.toml\"          # more entries, or others of the same name\n```\n\n\
         | Leniency | By default | What it gives up |\n|---|---|---|\n",
    );
    for one in mcp_authflow::client::known::Leniency::ALL {
        let state = if one.is_on_by_default() { "on" } else { "off" };
        writeln!(page, "| `{one}` | {state} | {} |", one.gives_up())?;
    }
    for entry in known.table.entries() {
        entry.write_section(&mut page).context("writing to a text")?;
    }
    Ok(page)
}

impl Entry {
    fn write_section(&self, page: &mut String) -> std::fmt::Result {
        let code = |texts: &[String]| {
            texts
                .iter()
                .map(|text| format!("`{text}`"))
                .collect::<Vec<_>>()
                .join(", ")
        };
        writeln!(page, "\n## {}\n", self.name)?;
        writeln!(
            page,
            "**{}**, known from {}, {}.\n",
            self.title,
            self.from.as_str(),
            self.seen
        )?;
        writeln!(page, "- Callbacks: {}", code(&self.callbacks))?;
        writeln!(page, "- Registers: {}", self.registers)?;
        writeln!(page, "- Authenticates: {}", self.authenticates)?;
        writeln!(page, "- Sends: {}", self.sends)?;
        writeln!(page, "- Works by: {}", code(&self.rules))?;
        let leniencies: Vec<String> = self.leniencies().map(|one| one.to_string()).collect();
        if !leniencies.is_empty() {
            writeln!(page, "- Leniencies: {}", code(&leniencies))?;
        }
        let proof: Vec<String> = self
            .proof
            .client_ids
            .iter()
            .chain(&self.proof.redirect_uris)
            .cloned()
            .collect();
        if !proof.is_empty() {
            writeln!(page, "- Proven by: {}", code(&proof))?;
        }
        writeln!(page, "- Works out of the box: {}", self.works)?;
        writeln!(page, "- Needs: {}", self.needs)?;
        let links: Vec<String> = self.evidence.iter().map(|link| format!("<{link}>")).collect();
        writeln!(page, "- Evidence: {}", links.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::wrap;

    #[test]
    fn a_long_text_is_broken_at_blanks() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(
            wrap("https://a.example/long x", 5),
            ["https://a.example/long", "x"]
        );
        assert!(wrap("", 5).is_empty());
    }
}
