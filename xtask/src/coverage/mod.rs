//! `cargo xtask coverage --seed`: which test shows which row of the observed behaviour; a row without one fails.
//!
//! A test shows the rows that its doc comment begins a line with (`/// S-041`). `tests/vectors/rows.toml` adds classes of
//! vectors and tests that carry no number. `tests/vectors/seed_rows.toml` lists the rows.

mod moving;
mod tag;
mod whole;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result, ensure};

use self::tag::Test;
use crate::tally::Tally;
use crate::{vectors, workspace};

/// Where tests are.
const FOLDERS: &[&str] = &["crates", "examples", "xtask"];

/// The flags of `cargo xtask coverage`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The rows of the Python packages' observed behaviour
    #[arg(long, required = true)]
    seed: bool,
    /// Prints every row with what shows it, not only those without
    #[arg(long)]
    all: bool,
}

/// Prints what shows each row; a row counts as one test.
pub(crate) fn run(arguments: &Arguments) -> Result<Tally> {
    debug_assert!(arguments.seed, "clap demands it");
    let map = Map::read(&workspace::root())?;
    map.check_references()?;
    if arguments.all {
        for (row, title) in &map.rows {
            println!("{row}  {title}");
            for shown_by in map.shown_by(row) {
                println!("         {shown_by}");
            }
        }
    }
    Ok(map.tally())
}

/// The layer of `cargo xtask test`.
pub(crate) fn run_all() -> Result<Tally> {
    run(&Arguments {
        seed: true,
        all: false,
    })
}

/// The rows and all that shows them.
struct Map {
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
    fn read(root: &Path) -> Result<Self> {
        let folder = root.join("tests/vectors");
        let rows = read_toml(&folder.join("seed_rows.toml"))?;
        let table: Table = read_toml(&folder.join("rows.toml"))?;
        let mut tests = Vec::new();
        for name in FOLDERS {
            tag::collect(root, &root.join(name), &mut tests)?;
        }
        let mut shown: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let mut show = |row: &String, by: String| {
            shown.entry(row.clone()).or_default().insert(by);
        };
        for test in &tests {
            for row in &test.rows {
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
    fn check_references(&self) -> Result<()> {
        let unknown: Vec<String> = self
            .shown
            .iter()
            .filter(|(row, _)| !self.rows.contains_key(*row))
            .map(|(row, by)| format!("{row} ({})", by.iter().next().map_or("", String::as_str)))
            .collect();
        ensure!(unknown.is_empty(), "no such row: {}", unknown.join(", "));
        Ok(())
    }

    fn shown_by(&self, row: &str) -> impl Iterator<Item = &String> {
        self.shown.get(row).into_iter().flatten()
    }

    fn tally(&self) -> Tally {
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

fn read_toml<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    toml::from_str(&text).with_context(|| path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

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
