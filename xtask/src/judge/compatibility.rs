//! `docs/compatibility.md`: what every client and every outside judge said, written from the last runs.
//!
//! Runs keep what they found in `target/judge-results.json`, so that the document can be written from several of them. The
//! text around the tables stands here; nothing else writes the document.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use super::client::Client;
use super::matrix::{Cell, Filter, Layout, Verdict};
use super::registration::Registration;
use super::table::Row;
use crate::command::capture;
use crate::workspace::{root, target};

/// A cell of the document that is green.
const GREEN: &str = "✓";
/// A cell that is not.
const NOT_GREEN: &str = "✗";

/// Outside judges that have a section of their own.
struct Section {
    title: &'static str,
    /// The words that their rows begin with.
    names: &'static [&'static str],
    /// The folder and the package whose version stands under the title.
    package: Option<(&'static str, &'static str)>,
    text: &'static str,
}

const SECTIONS: &[Section] = &[
    Section {
        title: "The official MCP conformance package",
        names: &["conformance"],
        package: Some(("conformance", "@modelcontextprotocol/conformance")),
        text: "\
As a judge of authorization servers it looks at the metadata and at the code grant. As a judge of MCP servers it must say the
same of a server directly and behind `authflow protect`, check by check, and without a token there must be nothing but 401.",
    },
    Section {
        title: "MCPJam, a tester of pairs",
        names: &["mcpjam"],
        package: Some(("mcpjam", "@mcpjam/sdk")),
        text: "\
It goes the way of a client of 2025-03-26, 2025-06-18 and 2025-11-25 at a pair of MCP server and authorization server, and
tries what must be refused.",
    },
    Section {
        title: "OAuth clients that know nothing of MCP",
        names: &["oauth4webapi", "openid-client"],
        package: None,
        text: "\
Two strict libraries read every answer by its RFC: registration, code, refresh, revocation, introspection, the device grant,
client credentials.",
    },
    Section {
        title: "The same requests to another authorization server",
        names: &["oidc-provider"],
        package: None,
        text: "\
A certified server gets the requests that ours gets. The answers are the same, or otherwise for a reason that is listed in
`xtask/src/judge/differential/listed.rs`.",
    },
];

/// What one run of something found.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Finding {
    has_passed: bool,
    /// The day, in UTC.
    date: String,
}

/// What the last run of everything found.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Results {
    /// By the name of the cell.
    cells: BTreeMap<String, Finding>,
    /// By judge, then by store.
    judges: BTreeMap<String, BTreeMap<String, Finding>>,
}

impl Results {
    /// What is kept from earlier runs.
    pub(super) fn load() -> Result<Self> {
        let file = file()?;
        match std::fs::read(&file) {
            Ok(text) => {
                serde_json::from_slice(&text).with_context(|| format!("cannot read {}", file.display()))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", file.display())),
        }
    }

    /// Puts a run over the earlier ones, and keeps them.
    pub(super) fn add(&mut self, verdicts: &[Verdict], rows: &[Row]) -> Result<()> {
        let date = capture(Command::new("date").args(["-u", "+%F"]))?
            .trim()
            .to_owned();
        let finding = |has_passed| Finding {
            has_passed,
            date: date.clone(),
        };
        for verdict in verdicts {
            self.cells
                .insert(key(verdict.cell), finding(verdict.result.is_ok()));
        }
        for row in rows
            .iter()
            .filter(|row| SECTIONS.iter().any(|section| section.has(&row.judge)))
        {
            self.judges
                .entry(row.judge.clone())
                .or_default()
                .insert(row.store.to_owned(), finding(row.has_passed));
        }
        std::fs::write(file()?, serde_json::to_vec_pretty(self)?)?;
        Ok(())
    }

    /// Writes the document; every cell must have been judged.
    pub(super) fn write(&self, document: &Path) -> Result<()> {
        for cell in Filter::default().cells() {
            if !self.cells.contains_key(&key(cell)) {
                bail!("{} was not judged yet: run `cargo xtask judge matrix`", key(cell));
            }
        }
        std::fs::write(document, self.to_markdown()?)
            .with_context(|| format!("cannot write {}", document.display()))
    }

    fn to_markdown(&self) -> Result<String> {
        let mut text = format!(
            "# Compatibility\n\n\
             <!-- Written by `cargo xtask judge --write docs/compatibility.md`; a change by hand is lost. -->\n\n\
             {INTRODUCTION}\n\n## Clients\n\nJudged {}.\n\n",
            self.judged_from_to()
        );
        self.write_matrix(&mut text);
        let _ = write!(text, "\n{MEANING}");
        for section in SECTIONS {
            let rows: Vec<_> = self
                .judges
                .iter()
                .filter(|(judge, _)| section.has(judge))
                .collect();
            if rows.is_empty() {
                continue;
            }
            let Section {
                title, text: about, ..
            } = section;
            let _ = write!(text, "\n## {title}\n\n");
            if let Some((folder, package)) = section.package {
                let _ = write!(text, "`{package}` {}. ", pinned(folder, package)?);
            }
            let _ = write!(
                text,
                "{about}\n\n| judge | SQLite | PostgreSQL | date |\n|---|:-:|:-:|---|\n"
            );
            for (judge, stores) in rows {
                let sign = |store: &str| match stores.get(store) {
                    Some(finding) if finding.has_passed => GREEN,
                    Some(_) => NOT_GREEN,
                    None => "",
                };
                let date = stores
                    .values()
                    .map(|finding| finding.date.as_str())
                    .min()
                    .unwrap_or_default();
                let _ = writeln!(
                    text,
                    "| {judge} | {} | {} | {date} |",
                    sign("sqlite"),
                    sign("postgres")
                );
            }
        }
        Ok(text)
    }

    fn judged_from_to(&self) -> String {
        let dates = || self.cells.values().map(|finding| finding.date.as_str());
        let (first, last) = (dates().min().unwrap_or("never"), dates().max().unwrap_or("never"));
        if first == last {
            format!("on {first}")
        } else {
            format!("between {first} and {last}")
        }
    }

    fn write_matrix(&self, text: &mut String) {
        text.push_str("| client |");
        for registration in Registration::ALL {
            for layout in Layout::ALL {
                let _ = write!(text, " {}, {} |", registration.as_str(), layout.as_str());
            }
        }
        let columns = Registration::ALL.len() * Layout::ALL.len();
        let _ = writeln!(text, "\n|---|{}", ":-:|".repeat(columns));
        for &client in Client::ALL {
            let _ = write!(text, "| {} |", client.package());
            for cell in Filter::default().cells() {
                if cell.client == client {
                    let is_green = self.cells.get(&key(cell)).is_some_and(|found| found.has_passed);
                    let _ = write!(text, " {} |", if is_green { GREEN } else { NOT_GREEN });
                }
            }
            text.push('\n');
        }
    }
}

/// What is wrong with the document: cells that it calls green and that were found not to be, clients that it does not know.
pub(super) fn contradictions(document: &str, verdicts: &[Verdict]) -> Vec<String> {
    let mut found = Vec::new();
    for verdict in verdicts {
        let Cell { client, .. } = verdict.cell;
        let begin = format!("| {} |", client.package());
        let Some(row) = document.lines().find(|line| line.starts_with(&begin)) else {
            found.push(format!("it has no row for {}", client.package()));
            continue;
        };
        let cells = Filter::default().cells();
        let mut own = cells.iter().filter(|cell| cell.client == client);
        let column = own.position(|cell| *cell == verdict.cell).unwrap_or_default();
        let sign = row[begin.len()..].split('|').nth(column).map(str::trim);
        match (sign, verdict.result.is_ok()) {
            (Some(GREEN), true) | (Some(NOT_GREEN), false) => {}
            (sign, is_green) => found.push(format!(
                "it says `{}` of {}, which is {}green",
                sign.unwrap_or_default(),
                key(verdict.cell),
                if is_green { "" } else { "not " }
            )),
        }
    }
    found.dedup();
    found
}

/// The committed document.
pub(super) fn committed() -> Result<String> {
    let document = root().join("docs/compatibility.md");
    std::fs::read_to_string(&document).with_context(|| format!("cannot read {}", document.display()))
}

fn file() -> Result<PathBuf> {
    Ok(target()?.join("judge-results.json"))
}

/// The name of a cell.
pub(super) fn key(cell: Cell) -> String {
    format!(
        "{}, {}, {}",
        cell.client.package(),
        cell.registration.as_str(),
        cell.layout.as_str()
    )
}

impl Section {
    fn has(&self, judge: &str) -> bool {
        self.names.iter().any(|name| judge.starts_with(name))
    }
}

/// The version of a package that a folder of `judges/` pins.
fn pinned(folder: &str, package: &str) -> Result<String> {
    let file = root().join("judges").join(folder).join("package.json");
    let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let manifest: serde_json::Value = serde_json::from_str(&text)?;
    let version = manifest["dependencies"][package].as_str();
    Ok(version
        .with_context(|| format!("{} pins no {package}", file.display()))?
        .to_owned())
}

const INTRODUCTION: &str = "\
Programs that others wrote, unchanged, against the real server on loopback. A person of the tests signs in through the real
login and consent pages. Repeat it with

```sh
cargo xtask judge matrix                                        # all cells
cargo xtask judge matrix --client rmcp --registration cimd      # some
cargo xtask judge --write docs/compatibility.md                 # everything, and this document
```";

const MEANING: &str = "\
A cell is green when the client, on its own, was refused (401) and found its way from the challenge to the metadata of the
protected resource and of the authorization server; came by its identity in the way of its column, and in no other; sent its
person to the server with PKCE and the right `resource`; took the code at its callback, which carried `iss`; called a tool
with a token that is active for the right audience and person (by introspection, where the MCP server has that); refreshed by
itself when the access token was no good any more, with another access token and another refresh token; and, once the judge
had revoked its grant, got no answer and wanted a new sign-in. Each cell has a server of its own, on SQLite. In the tables
further down, an empty cell means that the judge looks at nothing that differs between the stores.

| column | means |
|---|---|
| DCR | the client registers dynamically (RFC 7591); TypeScript v1 with `client_secret_post`, Python `mcp` with `client_secret_basic`, the others as public clients |
| CIMD | its id is the URL of a client ID metadata document, which the server fetches over https from a host on loopback, and must have fetched |
| static | the operator registered it and gave it a secret; TypeScript v1 and FastMCP send it in the body, the others as Basic |
| same origin | `authflow protect`, in front of an MCP server on standard streams |
| split origin | `authflow serve`, and an MCP server with the resource layer at another port |
| issuer with path | the same, and the issuer is `http://127.0.0.1:PORT/tenant/a` |

How each is driven: the SDKs through their own OAuth providers, with the application around them in `judges/`; FastMCP with
its own callback page, and its browser call answered; `mcp-remote` and the Inspector as programs, with `BROWSER` set to a
script that tells the judge where they go. FastMCP first asks for the authorization URL itself, without cookies, which leaves
the person's way open.
";

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    fn verdicts(is_green: impl Fn(Cell) -> bool) -> Vec<Verdict> {
        let judge = |cell| Verdict {
            cell,
            result: if is_green(cell) {
                Ok(())
            } else {
                Err(anyhow!("no"))
            },
            seconds: 1.0,
        };
        Filter::default().cells().into_iter().map(judge).collect()
    }

    fn results(verdicts: &[Verdict]) -> Results {
        let mut results = Results::default();
        for verdict in verdicts {
            let finding = Finding {
                has_passed: verdict.result.is_ok(),
                date: "2026-11-24".to_owned(),
            };
            results.cells.insert(key(verdict.cell), finding);
        }
        results
    }

    fn is_rmcp_at_a_path(cell: Cell) -> bool {
        (cell.client, cell.registration, cell.layout)
            == (Client::Rmcp, Registration::Cimd, Layout::IssuerWithPath)
    }

    #[test]
    fn a_document_agrees_with_the_run_it_was_written_from() {
        let verdicts = verdicts(|cell| !is_rmcp_at_a_path(cell));
        let document = results(&verdicts).to_markdown().unwrap();
        assert!(
            document.contains("| rmcp 3.11 (Rust) | ✓ | ✓ | ✓ | ✓ | ✓ | ✗ | ✓ | ✓ | ✓ |"),
            "{document}"
        );
        assert_eq!(contradictions(&document, &verdicts), Vec::<String>::new());
    }

    #[test]
    fn a_cell_that_is_no_longer_green_contradicts_the_document() {
        let document = results(&verdicts(|_| true)).to_markdown().unwrap();
        let found = contradictions(&document, &verdicts(|cell| !is_rmcp_at_a_path(cell)));
        assert_eq!(
            found,
            ["it says `✓` of rmcp 3.11 (Rust), CIMD, issuer with path, which is not green"]
        );
    }

    #[test]
    fn clients_are_called_by_the_versions_that_are_pinned() {
        let node = [
            (Client::TsV1, "ts-v1", "@modelcontextprotocol/sdk"),
            (Client::TsV2, "ts-v2", "@modelcontextprotocol/client"),
            (Client::McpRemote, "mcp-remote", "mcp-remote"),
            (Client::Inspector, "inspector", "@modelcontextprotocol/inspector"),
        ];
        for (client, folder, package) in node {
            let name = format!("{package} {}", pinned(folder, package).unwrap());
            assert!(client.package().starts_with(&name), "{name}");
        }
        for (client, folder, package) in [
            (Client::Python, "python", "mcp"),
            (Client::Fastmcp, "fastmcp", "fastmcp"),
        ] {
            let file = root().join("judges").join(folder).join("requirements.txt");
            let requirements = std::fs::read_to_string(file).unwrap();
            let start = format!("{package}==");
            let version = requirements.lines().find_map(|line| line.strip_prefix(&start));
            let name = format!("{package} {}", version.unwrap());
            assert!(client.package().starts_with(&name), "{name}");
        }
    }

    #[test]
    fn a_client_that_the_document_does_not_know_contradicts_it() {
        let verdicts = verdicts(|_| true);
        let document = results(&verdicts)
            .to_markdown()
            .unwrap()
            .replace("rmcp 3.11", "rmcp 3.10");
        assert_eq!(
            contradictions(&document, &verdicts),
            ["it has no row for rmcp 3.11 (Rust)"]
        );
    }
}
