//! `cargo xtask`: the project's own commands, the same for a person and for CI.
//!
//! | command | does |
//! |---|---|
//! | `test` | every layer of tests, and what they need |
//! | `lint` | format, clippy, docs, licences, arrows, committed files |
//! | `readme` | runs README.md's commands word for word |
//! | `provide` | finds or installs what the tests need |

mod arrows;
mod command;
mod lint;
mod provide;
mod readme;
mod tally;
mod test;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// The project's own commands.
#[derive(Parser)]
#[command(name = "cargo xtask", version, about)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Runs every layer of tests and what they need
    Test(test::Arguments),
    /// Checks format, lints, documentation, dependencies and committed files
    Lint(lint::Arguments),
    /// Runs the commands of README.md word for word
    Readme,
    /// Finds or installs the programs that the tests need
    Provide {
        /// Which of them; all when none is named
        what: Vec<provide::What>,
    },
}

fn main() -> ExitCode {
    match run(Arguments::parse().verb) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(verb: Verb) -> Result<ExitCode> {
    match verb {
        Verb::Test(arguments) => Ok(test::run(&arguments)),
        Verb::Lint(arguments) => Ok(lint::run_checks(&arguments)),
        Verb::Readme => readme::run().map(closing_line),
        Verb::Provide { what } => provide::run(&what).map(|()| ExitCode::SUCCESS),
    }
}

/// Prints the count that CI reads, and fails when something failed.
fn closing_line(tally: tally::Tally) -> ExitCode {
    println!("{tally}");
    if tally.failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
