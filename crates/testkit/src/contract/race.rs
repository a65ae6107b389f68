//! Races: many callers, let go at once, each on a thread of its own.

use std::sync::Barrier;

/// How many callers a race has.
pub const RUNNERS: usize = 32;

/// Runs `run` for each of `runners` callers at the same time, and answers what each of them got.
pub fn race<T: Send>(runners: usize, run: impl AsyncFn(usize) -> T + Sync) -> Vec<T> {
    let runtime = tokio::runtime::Handle::current();
    let start = Barrier::new(runners);
    tokio::task::block_in_place(|| {
        std::thread::scope(|scope| {
            let (runtime, start, run) = (&runtime, &start, &run);
            let running: Vec<_> = (0..runners)
                .map(|runner| {
                    scope.spawn(move || {
                        start.wait();
                        runtime.block_on(run(runner))
                    })
                })
                .collect();
            running.into_iter().map(|one| one.join().unwrap()).collect()
        })
    })
}

/// Asserts that exactly one caller got `won`, and every other one `lost`; answers which one won.
#[track_caller]
pub fn one_won<T: PartialEq + std::fmt::Debug>(answers: &[T], won: &T, lost: &T) -> usize {
    let winners: Vec<usize> = answers
        .iter()
        .enumerate()
        .filter(|(_, answer)| *answer == won)
        .map(|(runner, _)| runner)
        .collect();
    let losers = answers.iter().filter(|answer| *answer == lost).count();
    assert_eq!(
        (winners.len(), losers),
        (1, answers.len() - 1),
        "one wins and the others lose: {answers:?}"
    );
    winners[0]
}
