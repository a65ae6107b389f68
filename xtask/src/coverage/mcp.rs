//! The rows of MCP's authorization chapter and of the documents beneath it: `tests/mcp/rows.toml`.
//!
//! Every row that binds the authorization server or a protected MCP server has a test, or a reason why it has none, never
//! both. A row that binds clients alone may have a test and needs none: this project is no client.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::Result;

use super::{read_toml, tag::Test};
use crate::tally::Tally;

/// What is asked for.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    /// As RFC 2119 has it; empty where it follows from practice.
    level: String,
    /// Who is bound.
    on: Vec<Party>,
    /// The versions of MCP that ask for it, as letters.
    versions: String,
    title: String,
    source: String,
    /// Why no test shows it.
    reason: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
enum Party {
    #[serde(rename = "AS")]
    AuthorizationServer,
    #[serde(rename = "RS")]
    ResourceServer,
    #[serde(rename = "CL")]
    Client,
    #[serde(rename = "IdP")]
    IdentityProvider,
}

impl Party {
    const fn as_str(self) -> &'static str {
        match self {
            Self::AuthorizationServer => "AS",
            Self::ResourceServer => "RS",
            Self::Client => "CL",
            Self::IdentityProvider => "IdP",
        }
    }
}

impl Row {
    /// Whether it binds one of the two roles that this project plays.
    fn is_ours(&self) -> bool {
        self.on
            .iter()
            .any(|party| matches!(party, Party::AuthorizationServer | Party::ResourceServer))
    }
}

/// The rows and the tests that show them.
pub(super) struct Map {
    rows: BTreeMap<String, Row>,
    shown: BTreeMap<String, BTreeSet<String>>,
}

impl Map {
    pub(super) fn read(root: &Path, tests: &[Test]) -> Result<Self> {
        let rows = read_toml(&root.join("tests/mcp/rows.toml"))?;
        let mut shown: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for test in tests {
            for row in test.rows_of("M-") {
                shown.entry(row.clone()).or_default().insert(test.to_string());
            }
        }
        Ok(Self { rows, shown })
    }

    fn shown_by(&self, row: &str) -> impl Iterator<Item = &String> {
        self.shown.get(row).into_iter().flatten()
    }

    /// What is wrong with a row; nothing when it is in order.
    fn trouble(&self, number: &str, row: &Row) -> Option<&'static str> {
        let is_shown = self.shown.contains_key(number);
        match &row.reason {
            Some(reason) if reason.trim().is_empty() => Some("its reason is empty"),
            Some(_) if is_shown => Some("a test shows it, so its reason is out of date"),
            None if !is_shown && row.is_ours() => Some("no test shows it, and no reason is given"),
            _ => None,
        }
    }

    /// Numbers that tests claim and no row has: slips of the pen, which hide the row that was meant.
    fn unknown(&self) -> impl Iterator<Item = (&String, &BTreeSet<String>)> {
        self.shown.iter().filter(|(row, _)| !self.rows.contains_key(*row))
    }

    /// Prints every row with the tests that show it, or why there is none.
    pub(super) fn print(&self) {
        for (number, row) in &self.rows {
            let on: Vec<&str> = row.on.iter().map(|party| party.as_str()).collect();
            println!(
                "{number}  {} {} {}  {} ({})",
                on.join("+"),
                or_dash(&row.level),
                or_dash(&row.versions),
                row.title,
                row.source
            );
            for test in self.shown_by(number) {
                println!("         {test}");
            }
            match &row.reason {
                Some(reason) => println!("         none: {reason}"),
                None if !row.is_ours() && !self.shown.contains_key(number) => {
                    println!("         none: client side, not part of this server");
                }
                None => {}
            }
        }
    }

    /// Counts the rows; one that is not in order fails, and so does a number that no row has.
    pub(super) fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        for (number, row) in &self.rows {
            let trouble = self.trouble(number, row);
            if let Some(trouble) = trouble {
                println!("{number}  {}: {trouble}", row.title);
            }
            tally += Tally::one(trouble.is_none());
        }
        for (number, tests) in self.unknown() {
            let tests: Vec<&str> = tests.iter().map(String::as_str).collect();
            println!("{number}  there is no such row: {}", tests.join(", "));
            tally += Tally::one(false);
        }
        let ours = || self.rows.iter().filter(|(_, row)| row.is_ours());
        println!(
            "{} rows bind an authorization server or an MCP server: {} are shown by a test, {} have a reason",
            ours().count(),
            ours()
                .filter(|(number, _)| self.shown.contains_key(*number))
                .count(),
            ours().filter(|(_, row)| row.reason.is_some()).count(),
        );
        tally
    }
}

fn or_dash(text: &str) -> &str {
    if text.is_empty() { "-" } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace;

    fn map(rows: &str, shown: &[&str]) -> Map {
        Map {
            rows: toml::from_str(rows).unwrap(),
            shown: shown
                .iter()
                .map(|row| ((*row).to_owned(), BTreeSet::from(["a test".to_owned()])))
                .collect(),
        }
    }

    fn row(number: &str, on: &str, reason: Option<&str>) -> String {
        let reason = reason.map_or_else(String::new, |reason| format!(", reason = \"{reason}\""));
        format!(
            "{number} = {{ level = \"MUST\", on = [\"{on}\"], versions = \"D\", title = \"t\", source = \"s\"{reason} }}\n"
        )
    }

    fn failed(rows: &str, shown: &[&str]) -> usize {
        map(rows, shown).tally().failed
    }

    #[test]
    fn a_row_of_ours_has_a_test_or_a_reason_and_never_both() {
        for on in ["AS", "RS"] {
            assert_eq!(failed(&row("M-001", on, None), &[]), 1);
            assert_eq!(failed(&row("M-001", on, None), &["M-001"]), 0);
            assert_eq!(failed(&row("M-001", on, Some("comes next")), &[]), 0);
            assert_eq!(failed(&row("M-001", on, Some("comes next")), &["M-001"]), 1);
            assert_eq!(failed(&row("M-001", on, Some(" ")), &[]), 1);
        }
    }

    #[test]
    fn a_row_of_clients_needs_no_test() {
        for on in ["CL", "IdP"] {
            assert_eq!(failed(&row("M-001", on, None), &[]), 0);
            assert_eq!(failed(&row("M-001", on, None), &["M-001"]), 0);
        }
    }

    #[test]
    fn a_number_that_no_row_has_fails() {
        assert_eq!(failed(&row("M-001", "AS", None), &["M-001", "M-999"]), 1);
    }

    #[test]
    fn the_table_is_whole_and_says_who_is_bound_by_what() {
        let map = Map::read(&workspace::root(), &[]).unwrap();
        assert_eq!(map.rows.len(), 172);
        for (number, row) in &map.rows {
            assert!(!row.on.is_empty(), "{number}");
            assert!(
                row.versions.chars().all(|version| "ABCD".contains(version)),
                "{number}"
            );
            assert!(
                ["", "MAY", "SHOULD", "SHOULD NOT", "MUST", "MUST NOT"].contains(&row.level.as_str()),
                "{number}"
            );
            assert!(!row.title.is_empty() && !row.source.is_empty(), "{number}");
        }
        for (first, last) in [("M-001", "M-153"), ("M-160", "M-188"), ("M-200", "M-269")] {
            assert!(map.rows.contains_key(first) && map.rows.contains_key(last));
        }
    }
}
