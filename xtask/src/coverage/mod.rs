//! `cargo xtask coverage`: which test shows which row of what is asked of this server; a row without one fails.
//!
//! A test shows the rows that its doc comment begins a line with (`/// M-093`, `/// S-041`). There are two tables: what MCP's
//! authorization chapter asks for ([`mcp`]), and with `--seed` what the Python packages were observed to do ([`seed`]).

mod mcp;
mod moving;
mod seed;
mod tag;
mod whole;

use std::path::Path;

use anyhow::{Context, Result};

use self::tag::Test;
use crate::{tally::Tally, workspace};

/// Where tests are.
const FOLDERS: &[&str] = &["crates", "examples", "xtask"];

/// The flags of `cargo xtask coverage`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The rows of the Python packages' observed behaviour, instead of MCP's
    #[arg(long)]
    seed: bool,
    /// With --seed: prints every row with what shows it, not only those without
    #[arg(long, requires = "seed")]
    all: bool,
}

/// Prints what shows each row; a row counts as one test.
pub(crate) fn run(arguments: &Arguments) -> Result<Tally> {
    let root = workspace::root();
    let tests = tests(&root)?;
    if arguments.seed {
        run_seed(&root, &tests, arguments.all)
    } else {
        run_mcp(&root, &tests, true)
    }
}

/// The layer of `cargo xtask test`: both tables.
pub(crate) fn run_all() -> Result<Tally> {
    let root = workspace::root();
    let tests = tests(&root)?;
    let mut tally = run_seed(&root, &tests, false)?;
    tally += run_mcp(&root, &tests, false)?;
    Ok(tally)
}

fn run_seed(root: &Path, tests: &[Test], print: bool) -> Result<Tally> {
    let map = seed::Map::read(root, tests)?;
    map.check_references()?;
    if print {
        map.print();
    }
    Ok(map.tally())
}

fn run_mcp(root: &Path, tests: &[Test], print: bool) -> Result<Tally> {
    let map = mcp::Map::read(root, tests)?;
    if print {
        map.print();
    }
    Ok(map.tally())
}

fn tests(root: &Path) -> Result<Vec<Test>> {
    let mut tests = Vec::new();
    for name in FOLDERS {
        tag::collect(root, &root.join(name), &mut tests)?;
    }
    Ok(tests)
}

fn read_toml<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    toml::from_str(&text).with_context(|| path.display().to_string())
}
