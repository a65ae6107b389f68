//! `cargo xtask namespace`: the server in a network of its own, in which every address leads to us.
//!
//! Whoever makes a server fetch documents can try to make it fetch others: from the metadata service of a cloud, from a
//! neighbour, from itself. Here it runs as an operator would run it, with the system's resolver, real sockets and real
//! TLS, and everything it could dial is a canary that would gladly answer.
//!
//! | file | what |
//! |---|---|
//! | `room` | the namespace: made, furnished, gone when we are gone; the kernel's count of what was dialled |
//! | `dns` | a name server that answers by a table, and as badly as it is told to |
//! | `authority` `peers` | every host there is: its certificate, its documents, its bad manners; who was dialled |
//! | `house` `visitor` | the server under test, and somebody who uses it |
//! | `door` | the ways in which a stranger makes the server ask something |
//! | `world` `judgement` | all of it together: one try, and what must hold of it |
//! | `cases` | the catalogue of attacks, by number |
//!
//! To add a case: a function in `cases` named after its number, its line in the list there.

mod authority;
mod cases;
mod dns;
mod door;
mod house;
mod judgement;
mod peers;
mod room;
mod visitor;
mod world;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use self::judgement::{Judgement, Line};
use self::world::World;
use crate::tally::Tally;
use crate::workspace::{Profile, build_server};

/// All of it takes less than three minutes; a run that hangs is ended.
const PATIENCE: Duration = Duration::from_secs(600);

/// The flags of `cargo xtask namespace`.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Arguments {
    /// Runs these cases only, such as SF-03 or CM
    cases: Vec<String>,
    /// The program; built by default
    #[arg(long, value_name = "PATH")]
    binary: Option<PathBuf>,
    /// Writes the results there, as JSON
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

/// What the program is told when it starts itself again inside.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Inside {
    /// The server
    #[arg(long)]
    binary: PathBuf,
    /// Where the results go
    #[arg(long)]
    report: PathBuf,
    /// Lets the server dial whatever it is told to
    #[arg(long)]
    unguarded: bool,
    /// Which cases
    cases: Vec<String>,
}

/// Every case; the layer of `cargo xtask test`.
pub(crate) fn run_all() -> Result<Tally> {
    // A rig that stays green proves nothing: a server that may dial every network must be found out.
    eprintln!("the next round must fail");
    let unguarded = Arguments {
        cases: ["SF-03", "SF-04", "SF-05", "SF-07"].map(str::to_owned).to_vec(),
        ..Arguments::default()
    };
    let found_out = run_in_namespace(&unguarded, true)?.failed == unguarded.cases.len();
    let mut tally = Tally::one(found_out);
    tally += run(&Arguments::default())?;
    Ok(tally)
}

/// Runs cases in a namespace made for them; each counts as one test.
pub(crate) fn run(arguments: &Arguments) -> Result<Tally> {
    run_in_namespace(arguments, false)
}

fn run_in_namespace(arguments: &Arguments, unguarded: bool) -> Result<Tally> {
    let binary = match &arguments.binary {
        Some(path) => std::path::absolute(path)?,
        None => build_server(Profile::Dev)?,
    };
    ensure!(
        cases::CASES.iter().any(|case| case.is_meant(&arguments.cases)),
        "there is no such case"
    );
    // Inside, nothing can be installed.
    crate::provide::postgres::provide()?;
    let folder = tempfile::Builder::new().prefix("authflow-namespace-").tempdir()?;
    let report = folder.path().join("report.json");
    // Whoever builds meanwhile puts another program in our place.
    let program = folder.path().join("xtask");
    std::fs::copy("/proc/self/exe", &program).context("the program cannot be copied")?;
    let mut command = room::command(&program)?;
    let mut child = command
        .arg("inside-namespace")
        .arg("--binary")
        .arg(binary)
        .arg("--report")
        .arg(&report)
        .args(unguarded.then_some("--unguarded"))
        .args(&arguments.cases)
        // It ends when this pipe does, which is when we are gone.
        .stdin(Stdio::piped())
        .spawn()
        .context("cannot run `unshare`")?;
    let deadline = Instant::now() + PATIENCE;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if Instant::now() > deadline {
            drop(child.stdin.take());
            child.wait()?;
            bail!("the cases were not done after {} s", PATIENCE.as_secs());
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    ensure!(status.success(), "the run inside the namespace failed ({status})");
    let text = std::fs::read_to_string(&report).context("the run left no results")?;
    if let Some(place) = &arguments.report {
        std::fs::write(place, &text)?;
    }
    let lines: Vec<Line> = serde_json::from_str(&text)?;
    let mut tally = Tally::default();
    for line in &lines {
        tally += Tally::one(line.faults.is_empty());
    }
    Ok(tally)
}

/// The run inside. It is the first process there, and with it all others end.
pub(crate) fn run_inside(arguments: &Inside) -> Result<()> {
    ensure!(
        std::process::id() == 1,
        "this is started by `cargo xtask namespace`, inside a namespace"
    );
    let folder = tempfile::Builder::new().prefix("authflow-inside-").tempdir()?;
    room::furnish(folder.path())?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let (gone, is_alone) = tokio::sync::oneshot::channel::<()>();
    std::thread::spawn(move || {
        // Nobody ever writes: there is an end, or the run is over before. The sender is dropped then.
        let _gone = gone;
        let _ = std::io::stdin().read(&mut [0]);
    });
    let outcome = runtime.block_on(async {
        tokio::select! {
            lines = run_cases(arguments, folder.path()) => lines,
            _ = is_alone => {
                if let Some(folder) = arguments.report.parent() {
                    // Its owner cannot any more.
                    let _ = std::fs::remove_dir_all(folder);
                }
                bail!("whoever started this run is gone")
            }
        }
    });
    std::fs::write(&arguments.report, serde_json::to_string_pretty(&outcome?)?)?;
    Ok(())
}

async fn run_cases(arguments: &Inside, folder: &Path) -> Result<Vec<Line>> {
    let world = World::open(&arguments.binary, folder, arguments.unguarded).await?;
    let mut lines = Vec::new();
    let meant = || cases::CASES.iter().filter(|case| case.is_meant(&arguments.cases));
    for case in meant().filter(|case| !case.is_patient) {
        lines.push(run_case(&world, case).await);
    }
    // These wait for time to pass, and count what happens at hosts of their own.
    let patient = meant().filter(|case| case.is_patient);
    lines.extend(futures_util::future::join_all(patient.map(|case| run_case(&world, case))).await);
    world.server.stop()?;
    Ok(lines)
}

async fn run_case(world: &World, case: &cases::Case) -> Line {
    let began = Instant::now();
    let judgement = (case.run)(world).await.unwrap_or_else(|error| Judgement {
        inputs: 0,
        faults: vec![format!("could not be judged: {error:#}")],
    });
    let line = Line::new(case.id, judgement, began.elapsed());
    println!("{line}");
    line
}
