//! `cargo xtask faults crash`: kills the server under load, again and again.
//!
//! A round: several tasks work; at a random instant the server gets SIGKILL; it is started
//! again on the same files; the tasks settle what had no answer, as clients do; then they ask
//! about every token that was ever acknowledged. The checker reads the whole history.
//!
//! SIGKILL keeps the system's page cache, so this does not prove that a power cut is survived.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, ensure};
use tokio::task::JoinSet;

use super::checker;
use super::history::{Answer, History};
use super::house::{House, StoreKind, panics};
use super::load::{About, Worker};
use super::random::Random;
use crate::crowd::caller::Caller;
use crate::crowd::username;
use crate::tally::Tally;
use crate::workspace::{Profile, build_server};

const TASKS: usize = 8;
/// The load has begun by then, and every kind of call has been made by the end.
const SHORTEST_LIFE: Duration = Duration::from_millis(100);
const LONGEST_LIFE: Duration = Duration::from_secs(2);

/// Where one is lost, many are.
const MAX_SHOWN: usize = 10;

/// The flags of `cargo xtask faults crash`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Arguments {
    /// How often the server is killed
    #[arg(long, default_value_t = 20)]
    pub(crate) times: u32,
    /// Where it keeps its state
    #[arg(long, value_enum, default_value_t = StoreKind::Sqlite)]
    pub(crate) store: StoreKind,
    /// Repeats the choices of an earlier run (which prints its seed)
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// The program to kill; built by default
    #[arg(long, value_name = "PATH")]
    pub(crate) binary: Option<PathBuf>,
}

/// Runs the rounds; each counts as one test.
pub(crate) fn run(arguments: &Arguments) -> Result<Tally> {
    let binary = match &arguments.binary {
        Some(path) => path.clone(),
        None => build_server(Profile::Dev)?,
    };
    let seed = arguments.seed.unwrap_or_else(seed_from_clock);
    eprintln!(
        "kill -9, {} times, on {:?}; --seed {seed}",
        arguments.times, arguments.store
    );
    let mut house = House::start(binary, arguments.store, TASKS)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(rounds(&mut house, arguments.times, Random::new(seed)))
}

async fn rounds(house: &mut House, times: u32, mut random: Random) -> Result<Tally> {
    let history = std::sync::Arc::new(History::default());
    let mut workers = Vec::new();
    for task in 0..TASKS {
        // An address for each, as a crowd would have.
        let address = Ipv4Addr::new(127, 0, 1, u8::try_from(task + 1)?);
        let caller = Caller::new(house.server.issuer(), username(task), address)?;
        workers.push(Worker::new(caller, random.split()));
    }
    let mut tally = Tally::default();
    let (mut read, mut unanswered) = (0, 0);
    for round in 1..=times {
        let life = random.between(SHORTEST_LIFE, LONGEST_LIFE);
        let tasks = spawn(std::mem::take(&mut workers), &history, Phase::Work);
        tokio::time::sleep(life).await;
        house.server.kill()?;
        workers = join(tasks).await?.0;

        let events = history.events();
        let under_load = &events[read..];
        let open = under_load
            .iter()
            .filter(|event| event.answer == Answer::Unknown)
            .count();
        let answered = under_load.len() - open;
        unanswered += open;

        let start = Instant::now();
        house
            .server
            .start_again()
            .context("the server does not start again after the kill")?;
        let downtime = start.elapsed();
        // What had no answer before the kill is asked again within the retry window.
        workers = join(spawn(workers, &history, Phase::Settle)).await?.0;
        let about = if round == times {
            About::Everything
        } else {
            About::NewAndSomeOld
        };
        let (back, checked) = join(spawn(workers, &history, Phase::Ask(about))).await?;
        workers = back;

        let events = history.events();
        let violations = checker::check(&events);
        let panics = panics(std::slice::from_ref(&house.server));
        println!(
            "round {round}: killed after {} ms; {answered} answers, {open} exchanges without one; \
             back after {} ms; {checked} tokens asked about; {} violations, {panics} panics",
            life.as_millis(),
            downtime.as_millis(),
            violations.len(),
        );
        read = events.len();
        for violation in violations.iter().take(MAX_SHOWN) {
            println!("  {violation}");
        }
        tally += Tally::one(violations.is_empty() && panics == 0);
        if !violations.is_empty() {
            break;
        }
    }
    // A rig that never kills in the middle of something proves nothing.
    ensure!(
        times < 5 || unanswered > 0,
        "no exchange was ever cut off by the kill"
    );
    Ok(tally)
}

/// What the tasks do.
#[derive(Clone, Copy)]
enum Phase {
    Work,
    Settle,
    Ask(About),
}

type Tasks = JoinSet<Result<(Worker, usize)>>;

fn spawn(workers: Vec<Worker>, history: &std::sync::Arc<History>, phase: Phase) -> Tasks {
    let mut tasks = JoinSet::new();
    for mut worker in workers {
        let history = history.clone();
        tasks.spawn(async move {
            let mut count = 0;
            match phase {
                Phase::Work => worker.work(&history).await?,
                Phase::Settle => worker.settle(&history).await?,
                Phase::Ask(about) => {
                    count = worker.ask(&history, about).await?;
                    worker.spend_again(&history).await?;
                }
            }
            Ok((worker, count))
        });
    }
    tasks
}

async fn join(mut tasks: Tasks) -> Result<(Vec<Worker>, usize)> {
    let (mut workers, mut sum) = (Vec::new(), 0);
    while let Some(done) = tasks.join_next().await {
        let (worker, count) = done??;
        workers.push(worker);
        sum += count;
    }
    Ok((workers, sum))
}

fn seed_from_clock() -> u64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(1, |since| since.as_secs() ^ u64::from(since.subsec_nanos()))
}
