//! `cargo xtask`: the project's own commands, the same for a person and for CI.
//!
//! | command | does |
//! |---|---|
//! | `test` | every layer of tests, and what they need |
//! | `judge` | outside judges: the conformance package, real client libraries |
//! | `screens` | every page in a real browser: pictures and checks |
//! | `vectors` | the observed behaviour of the Python packages, case by case |
//! | `side-by-side` | the Python package of the same name beside our part, on one database |
//! | `coverage` | which test shows which row of what MCP asks for; `--seed`: of that behaviour |
//! | `lint` | format, clippy, docs, licences, arrows, committed files |
//! | `readme` | runs README.md's commands word for word |
//! | `faults` | kills the server under load and checks what must hold |
//! | `namespace` | the server in a network of its own: whom it can be made to dial |
//! | `bench` | what a request costs, beside a bare axum server |
//! | `provide` | finds or installs what the tests need |

mod arrows;
mod bench;
mod command;
mod coverage;
mod crowd;
mod faults;
mod judge;
mod lint;
mod namespace;
mod provide;
mod readme;
mod side_by_side;
mod tally;
mod test;
mod vectors;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// The server's allocator, so that the bench compares what the servers do and not how they allocate.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

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
    /// Lets outside judges decide: the conformance package, real client libraries
    Judge(judge::Arguments),
    /// Visits every page in a real browser, checks it and takes pictures
    Screens(judge::screens::Arguments),
    /// Compares the parts with what the Python packages were seen to do, case by case
    Vectors(vectors::Arguments),
    /// Runs the Python package of the same name beside our part, on one database
    SideBySide,
    /// Says which test shows which row of what MCP asks for; a row without one fails
    Coverage(coverage::Arguments),
    /// Runs the commands of README.md word for word
    Readme,
    /// Injects a fault under load and checks what must hold
    Faults {
        /// Which fault
        #[command(subcommand)]
        fault: faults::Fault,
    },
    /// Runs the server in a network of its own and judges whom it can be made to dial
    Namespace(namespace::Arguments),
    /// The run inside that network
    #[command(hide = true)]
    InsideNamespace(namespace::Inside),
    /// Measures what a request costs, beside a bare axum server
    Bench(bench::Arguments),
    /// The server that the bench compares with: parses the form, answers a constant
    #[command(hide = true)]
    BareAxum {
        /// Where it listens, on loopback
        #[arg(long)]
        listen: std::net::SocketAddr,
    },
    /// The MCP server whose protection the bench measures
    #[command(hide = true)]
    McpServer(bench::mcp_server::Arguments),
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
        Verb::Judge(arguments) => judge::run_named(&arguments).map(closing_line),
        Verb::Screens(arguments) => judge::screens::run(&arguments).map(closing_line),
        Verb::Lint(arguments) => Ok(lint::run_checks(&arguments)),
        Verb::Vectors(arguments) => vectors::run(&arguments).map(closing_line),
        Verb::SideBySide => side_by_side::run().map(closing_line),
        Verb::Coverage(arguments) => coverage::run(&arguments).map(closing_line),
        Verb::Readme => readme::run().map(closing_line),
        Verb::Faults { fault } => faults::run(&fault).map(closing_line),
        Verb::Namespace(arguments) => namespace::run(&arguments).map(closing_line),
        Verb::InsideNamespace(arguments) => namespace::run_inside(&arguments).map(|()| ExitCode::SUCCESS),
        Verb::Bench(arguments) => bench::run(&arguments),
        Verb::BareAxum { listen } => bench::bare_axum::run(listen).map(|()| ExitCode::SUCCESS),
        Verb::McpServer(arguments) => bench::mcp_server::run(&arguments).map(|()| ExitCode::SUCCESS),
        Verb::Provide { what } => provide::run(&what).map(|()| ExitCode::SUCCESS),
    }
}

/// Prints the count that CI reads; success when something ran and nothing failed.
fn closing_line(tally: tally::Tally) -> ExitCode {
    println!("{tally}");
    if tally.passed > 0 && tally.failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
