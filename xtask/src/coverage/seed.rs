//! The rows of the Python packages' observed behaviour. `tests/vectors/rows.toml` adds classes of vectors and tests that
//! carry no number; `tests/vectors/seed_rows.toml` lists the rows.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Result, ensure};

use super::{read_toml, tag::Test};
use crate::{tally::Tally, vectors};

/// The rows and all that shows them.
pub(super) struct Map {
    /// Row → title.
    rows: BTreeMap<String, String>,
    /// Row → tests and classes of vectors.
    shown: BTreeMap<String, BTreeSet<String>>,
}

/// `tests/vectors/rows.toml`
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    classes: BTreeMap<String, Vec<String>>,
    tests: BTreeMap<String, Vec<String>>,
}

impl Map {
    pub(super) fn read(root: &Path, tests: &[Test]) -> Result<Self> {
        let folder = root.join("tests/vectors");
        let rows = read_toml(&folder.join("seed_rows.toml"))?;
        let table: Table = read_toml(&folder.join("rows.toml"))?;
        let mut shown: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let mut show = |row: &String, by: String| {
            shown.entry(row.clone()).or_default().insert(by);
        };
        for test in tests {
            for row in test.rows_of("S-") {
                show(row, test.to_string());
            }
        }
        let known: BTreeSet<String> = tests.iter().map(Test::to_string).collect();
        for (test, rows) in &table.tests {
            ensure!(known.contains(test), "rows.toml: there is no test {test}");
            for row in rows {
                show(row, test.clone());
            }
        }
        let classes = vectors::classes()?;
        for (prefix, rows) in &table.classes {
            ensure!(
                classes.iter().any(|class| class.starts_with(prefix.as_str())),
                "rows.toml: no class of an area that runs begins with {prefix}"
            );
            for row in rows {
                show(row, format!("vectors {prefix}*"));
            }
        }
        Ok(Self { rows, shown })
    }

    /// A number that no row has is a slip of the pen, which would hide the row that was meant.
    pub(super) fn check_references(&self) -> Result<()> {
        let unknown: Vec<String> = self
            .shown
            .iter()
            .filter(|(row, _)| !self.rows.contains_key(*row))
            .map(|(row, by)| format!("{row} ({})", by.iter().next().map_or("", String::as_str)))
            .collect();
        ensure!(unknown.is_empty(), "no such row: {}", unknown.join(", "));
        Ok(())
    }

    /// Prints every row with what shows it.
    pub(super) fn print(&self) {
        for (row, title) in &self.rows {
            println!("{row}  {title}");
            for shown_by in self.shown_by(row) {
                println!("         {shown_by}");
            }
        }
    }

    fn shown_by(&self, row: &str) -> impl Iterator<Item = &String> {
        self.shown.get(row).into_iter().flatten()
    }

    pub(super) fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        for (row, title) in &self.rows {
            let is_shown = self.shown_by(row).next().is_some();
            if !is_shown {
                println!("{row}  {title}: no test shows it");
            }
            tally += Tally::one(is_shown);
        }
        println!(
            "{} of {} rows are shown by a test",
            tally.passed,
            tally.passed + tally.failed
        );
        tally
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace;

    fn map(rows: &[&str], shown: &[&str]) -> Map {
        Map {
            rows: rows
                .iter()
                .map(|row| ((*row).to_owned(), "t".to_owned()))
                .collect(),
            shown: shown
                .iter()
                .map(|row| ((*row).to_owned(), BTreeSet::from(["a test".to_owned()])))
                .collect(),
        }
    }

    #[test]
    fn a_row_that_nothing_shows_fails() {
        let tally = map(&["S-001", "S-002"], &["S-002"]).tally();
        assert_eq!(tally, Tally { passed: 1, failed: 1 });
    }

    #[test]
    fn a_number_that_no_row_has_fails() {
        assert!(map(&["S-001"], &["S-001", "S-999"]).check_references().is_err());
        assert!(map(&["S-001"], &["S-001"]).check_references().is_ok());
    }

    #[test]
    fn every_row_of_both_packages_is_listed() {
        let rows: BTreeMap<String, String> =
            read_toml(&workspace::root().join("tests/vectors/seed_rows.toml")).unwrap();
        let expected: BTreeSet<String> = (1..=307).map(|number| format!("S-{number:03}")).collect();
        assert_eq!(rows.into_keys().collect::<BTreeSet<_>>(), expected);
    }
}
