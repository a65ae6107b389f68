//! `cargo xtask test`: every layer of the ladder, in the order in which a failure teaches most.
//!
//! A layer is left out only by a flag, and the summary at the end says so. The last line
//! counts the tests of all layers: `N passed, M failed`.
//!
//! To add a layer: a variant of [`Layer`], its line in [`Layer::run`].

mod cargo;
mod summary;

use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;

use self::summary::{Line, Outcome, Summary};
use crate::tally::Tally;

/// A layer of tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Layer {
    /// Which crate may depend on which (DESIGN of the house, a table in `arrows.rs`).
    Arrows,
    /// Which test shows which row of what MCP asks for, and of the Python packages' observed behaviour.
    Coverage,
    /// Everything that `cargo test` runs, store contracts on real databases included.
    Unit,
    /// The examples in the documentation.
    Doc,
    /// What the Python packages were seen to do, case by case.
    Vectors,
    /// Outside judges: the MCP conformance package, real client libraries.
    Judges,
    /// The Python package of the same name beside our part, on one database.
    SideBySide,
    /// Every page in a real browser: contrast, keyboard order, no overflow.
    Screens,
    /// A short run of every fault, on SQLite and on PostgreSQL.
    Faults,
    /// The server in a network of its own: whom it can be made to dial.
    Namespace,
    /// The commands of README.md, word for word.
    Readme,
}

impl Layer {
    const ALL: &'static [Self] = &[
        Self::Arrows,
        Self::Coverage,
        Self::Unit,
        Self::Doc,
        Self::Vectors,
        Self::Judges,
        Self::SideBySide,
        Self::Screens,
        Self::Faults,
        Self::Namespace,
        Self::Readme,
    ];

    fn name(self) -> String {
        use clap::ValueEnum;
        self.to_possible_value()
            .map_or_else(String::new, |value| value.get_name().to_owned())
    }

    fn run(self, filter: Option<&str>) -> Result<Tally> {
        match self {
            Self::Arrows => crate::arrows::run(),
            Self::Coverage => crate::coverage::run_all(),
            Self::Unit => cargo::unit(filter),
            Self::Doc => cargo::doc(filter),
            Self::Vectors => crate::vectors::run_all(),
            Self::Judges => crate::judge::run_all(),
            Self::SideBySide => crate::side_by_side::run(),
            Self::Screens => crate::judge::screens::run_check(),
            Self::Faults => crate::faults::run_short(),
            Self::Namespace => crate::namespace::run_all(),
            Self::Readme => crate::readme::run(),
        }
    }
}

/// The flags of `cargo xtask test`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Leaves a layer out (may be given more than once)
    #[arg(long, value_name = "LAYER")]
    without: Vec<Layer>,
    /// Runs this layer only (may be given more than once)
    #[arg(long, value_name = "LAYER", conflicts_with = "without")]
    only: Vec<Layer>,
    /// Runs only tests whose name contains this, in the unit and doc layers
    filter: Option<String>,
}

impl Arguments {
    fn flag_against(&self, layer: Layer) -> Option<&'static str> {
        if self.without.contains(&layer) {
            return Some("left out by --without");
        }
        if !self.only.is_empty() && !self.only.contains(&layer) {
            return Some("left out by --only");
        }
        if self.filter.is_some() && self.only.is_empty() && !matches!(layer, Layer::Unit | Layer::Doc) {
            return Some("left out by the filter");
        }
        None
    }
}

/// Runs the layers and prints the summary; fails when a test or a layer failed.
pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let mut summary = Summary::default();
    for &layer in Layer::ALL {
        let name = layer.name();
        if let Some(reason) = arguments.flag_against(layer) {
            summary.push(Line {
                name,
                outcome: Outcome::LeftOut(reason),
                seconds: 0.0,
            });
            continue;
        }
        eprintln!("\n=== {name} ===");
        let start = Instant::now();
        let outcome = match layer.run(arguments.filter.as_deref()) {
            Ok(tally) => Outcome::Ran(tally),
            Err(error) => {
                eprintln!("error: {error:#}");
                Outcome::Broken
            }
        };
        summary.push(Line {
            name,
            outcome,
            seconds: start.elapsed().as_secs_f64(),
        });
    }
    println!("\n{summary}");
    if summary.has_passed() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(without: Vec<Layer>, only: Vec<Layer>) -> Arguments {
        Arguments {
            without,
            only,
            filter: None,
        }
    }

    #[test]
    fn every_layer_runs_unless_a_flag_speaks_against_it() {
        let all = arguments(vec![], vec![]);
        assert!(Layer::ALL.iter().all(|layer| all.flag_against(*layer).is_none()));
        assert!(
            arguments(vec![Layer::Doc], vec![])
                .flag_against(Layer::Doc)
                .is_some()
        );
        assert!(
            arguments(vec![], vec![Layer::Doc])
                .flag_against(Layer::Unit)
                .is_some()
        );
        assert!(
            arguments(vec![], vec![Layer::Doc])
                .flag_against(Layer::Doc)
                .is_none()
        );
    }

    #[test]
    fn no_layer_is_forgotten() {
        use clap::ValueEnum;
        assert_eq!(Layer::ALL.len(), Layer::value_variants().len());
    }
}
