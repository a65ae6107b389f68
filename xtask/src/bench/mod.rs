//! `cargo xtask bench`: what a request costs, beside the least that it could cost.
//!
//! Each round starts a bare axum server and our server on every store, one after the other,
//! and sends each the same kind of requests over kept-alive HTTP/1.1 connections, each
//! connection waiting for its answer before it asks again. What is compared with what stands
//! in the same round, so that ratios survive a noisy machine. The table shows medians.
//!
//! Server and load are pinned to one core each when the machine has two and `taskset`.
//!
//! | file | what |
//! |---|---|
//! | `bare_axum` | the server that does nothing but parse the form |
//! | `contestant` | starting a server and pinning it |
//! | `operation` | what is asked: introspection, `client_credentials`, rotation, assertions |
//! | `load` | connections in a closed loop, their latencies |
//! | `cpu` | the CPU time of a process |
//! | `parts` | what single parts cost, in this process: memory of a token, a limiter's check |
//! | `friction` | what a call put to the friction registry costs |
//! | `mcp_server` | the MCP server that is protected |
//! | `protected` | what its protection costs: the layer, and the proxy of `authflow protect` |
//! | `friction` | a call put to the friction registry |
//! | `jwt` | the check of a JWT access token |
//! | `clean_up` | what a clean-up of a million rows does to the requests beside it |
//! | `raw_commits` | what SQLite itself can do with 32 rows a commit |
//! | `table` | medians, ratios, Markdown |

pub(crate) mod bare_axum;
mod clean_up;
mod contestant;
mod cpu;
mod friction;
mod jwt;
mod load;
pub(crate) mod mcp_server;
mod operation;
mod parts;
mod protected;
mod raw_commits;
mod table;

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail, ensure};

use self::contestant::{Contestant, Kind};
use self::load::Load;
use self::operation::Operation;
use self::table::{Measurement, Table};
use crate::command::which;
use crate::workspace::{self, Profile, build_server};

/// The flags of `cargo xtask bench`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Arguments {
    /// How many rounds the medians are taken over
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// The least number of requests of a measurement, if they fit into ten seconds
    #[arg(long, default_value_t = 20_000)]
    requests: usize,
    /// Only these servers (may be given more than once); the bare one always runs
    #[arg(long, value_name = "SERVER")]
    only: Vec<Kind>,
    /// Only this part of it
    #[arg(long, value_enum)]
    section: Option<Section>,
    /// Rewrites the table between the markers in this file
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
    /// Set by ourselves: measure with this program as the server, in this process
    #[arg(long, hide = true)]
    measure: Option<PathBuf>,
}

/// A part of the bench.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Section {
    /// What a request costs, beside a bare server.
    Requests,
    /// What single parts cost.
    Parts,
    /// What the protection of an MCP server costs.
    Protected,
    /// Requests beside a clean-up.
    CleanUp,
}

const MOST_CONNECTIONS: usize = 32;
const CONCURRENCY: [usize; 2] = [1, MOST_CONNECTIONS];

/// Builds everything for release, then measures in a process that is pinned and optimised.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    if let Some(server) = &arguments.measure {
        return measure(arguments, server).map(|()| ExitCode::SUCCESS);
    }
    let server = build_server(Profile::Release)?;
    let ourselves = server.with_file_name("xtask");
    let mut command = if can_pin() {
        let mut command = Command::new("taskset");
        command
            .args(["--cpu-list", LOAD_CORE])
            .arg(&ourselves)
            .env(PINNED, "1");
        command
    } else {
        Command::new(&ourselves)
    };
    command
        .args(std::env::args_os().skip(1))
        .arg("--measure")
        .arg(server);
    // Paths on the command line are the caller's, so the folder stays; the workspace is told apart.
    command.env("CARGO_MANIFEST_DIR", workspace::root().join("xtask"));
    let status = command.status().context("cannot start the measuring process")?;
    ensure!(status.success(), "measuring failed ({status})");
    Ok(ExitCode::SUCCESS)
}

const SERVER_CORE: &str = "0";
const LOAD_CORE: &str = "1";

/// Whether there is a core for the server and one for the load.
fn can_pin() -> bool {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    cores >= 2 && which("taskset").is_some()
}

/// Whether the measuring process, which sees only its own core, was pinned.
fn can_pin_server() -> bool {
    std::env::var_os(PINNED).is_some()
}

/// Tells the measuring process that it was pinned.
const PINNED: &str = "XTASK_BENCH_PINNED";

/// What a reader must know to judge the numbers.
fn circumstances() -> String {
    let place = if can_pin_server() {
        "server on one core, load (and PostgreSQL) on another"
    } else {
        "server and load share the cores"
    };
    format!(
        "{place}; HTTP/1.1, kept alive; release build, {}",
        rustc_version()
    )
}

fn measure(arguments: &Arguments, server: &std::path::Path) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let is_wanted = |section| arguments.section.is_none_or(|only| only == section);
    let mut text = String::new();
    if is_wanted(Section::Requests) {
        text += &measure_requests(&runtime, arguments, server)?;
    }
    if is_wanted(Section::Parts) {
        text += &parts::measure(&runtime)?;
    }
    if is_wanted(Section::Protected) {
        text += &protected::measure(&runtime, arguments.rounds, arguments.requests, server)?;
    }
    if is_wanted(Section::CleanUp) {
        for kind in [Kind::Sqlite, Kind::Postgres] {
            if arguments.only.is_empty() || arguments.only.contains(&kind) {
                eprintln!("--- clean-up: {}", kind.title());
                text += &clean_up::measure(&runtime, kind, server)?.markdown();
            }
        }
    }
    println!("\n{text}");
    if let Some(file) = &arguments.write {
        ensure!(
            arguments.section.is_none(),
            "--write wants the whole bench, not one section"
        );
        table::write_between_markers(file, &text)?;
    }
    Ok(())
}

fn measure_requests(
    runtime: &tokio::runtime::Runtime,
    arguments: &Arguments,
    server: &std::path::Path,
) -> Result<String> {
    let signers = contestant::Signers::generate()?;
    let mut table = Table::default();
    for round in 1..=arguments.rounds {
        for kind in Kind::ALL {
            let is_wanted = arguments.only.is_empty() || arguments.only.contains(kind);
            if *kind != Kind::BareAxum && !is_wanted {
                continue;
            }
            eprintln!("--- round {round}: {}", kind.title());
            let contestant = Contestant::start(*kind, server, &signers)?;
            measure_one(runtime, arguments, round, *kind, &contestant, &mut table)?;
        }
    }
    Ok(table.markdown())
}

fn measure_one(
    runtime: &tokio::runtime::Runtime,
    arguments: &Arguments,
    round: usize,
    kind: Kind,
    contestant: &Contestant,
    table: &mut Table,
) -> Result<()> {
    for &operation in Operation::ALL {
        for concurrency in CONCURRENCY {
            let requests = contestant.requests(operation, concurrency, runtime)?;
            let load = runtime.block_on(Load::open(contestant.address(), requests))?;
            // The disk's mood changes within seconds, so SQLite by itself is measured before and after.
            let is_compared =
                kind == Kind::Sqlite && operation == Operation::Rotate && concurrency == MOST_CONNECTIONS;
            let folder = contestant.folder().filter(|_| is_compared);
            let raw_before = folder.map(raw_commits::rate).transpose()?;
            let before = contestant.cpu()?;
            let result = runtime.block_on(load.run(arguments.requests))?;
            let after = contestant.cpu()?;
            let raw_after = folder.map(raw_commits::rate).transpose()?;
            if result.refused > 0 {
                bail!(
                    "{} of {} answers were not 200: {}",
                    result.refused,
                    result.count,
                    result.complaint
                );
            }
            let measurement = Measurement {
                round,
                kind,
                operation,
                concurrency,
                server_cpu: after.server.saturating_sub(before.server),
                database_cpu: after.database.saturating_sub(before.database),
                raw_rate: raw_before
                    .zip(raw_after)
                    .map(|(before, after)| f64::midpoint(before, after)),
                result,
            };
            eprintln!("{}", measurement.line());
            table.push(measurement);
        }
    }
    Ok(())
}

/// The version of the compiler, for the table's heading.
fn rustc_version() -> String {
    crate::command::capture(Command::new("rustc").arg("--version"))
        .map_or_else(|_| "unknown compiler".to_owned(), |text| text.trim().to_owned())
}
