//! `cargo xtask faults`: what goes wrong in the world, and what must hold all the same.
//!
//! | file | what |
//! |---|---|
//! | `crash` | kills the server and starts it again |
//! | `race` | many callers present what may be used once, on several nodes |
//! | `keys` | rotates signing keys while everybody gets and uses tokens |
//! | `load` `house` | the tasks, the server |
//! | `history` `checker` | what was acknowledged, and what must not have happened |

mod checker;
mod crash;
mod history;
mod house;
mod keys;
mod load;
mod race;
mod random;

use anyhow::Result;

use self::house::StoreKind;
use crate::tally::Tally;

/// A fault to inject.
#[derive(Clone, Debug, clap::Subcommand)]
pub(crate) enum Fault {
    /// Kills the server with SIGKILL under load; no acknowledged token may be lost
    Crash(crash::Arguments),
    /// Presents what may be used once from many callers at the same time, on several nodes; one may win
    Race(race::Arguments),
    /// Rotates signing keys while callers get tokens and call a resource server; nobody may be refused
    Keys(keys::Arguments),
}

/// Injects one fault.
pub(crate) fn run(fault: &Fault) -> Result<Tally> {
    match fault {
        Fault::Crash(arguments) => crash::run(arguments),
        Fault::Race(arguments) => race::run(arguments),
        Fault::Keys(arguments) => keys::run(arguments),
    }
}

/// A short run of every fault; the layer of `cargo xtask test`.
pub(crate) fn run_short() -> Result<Tally> {
    let crash = |times, store| {
        crash::run(&crash::Arguments {
            times,
            store,
            seed: None,
            binary: None,
        })
    };
    // A rig that stays green proves nothing: without a store, everything is lost, and it must say so.
    eprintln!("the next round must fail");
    let mut tally = Tally::one(crash(1, StoreKind::Memory)?.failed == 1);
    for store in [StoreKind::Sqlite, StoreKind::Postgres] {
        tally += crash(3, store)?;
    }
    for (what, items, redis) in [
        (race::What::Jti, 200, race::Redis::Off),
        (race::What::Jti, 60, race::Redis::Limits),
        (race::What::Jti, 60, race::Redis::Replay),
        (race::What::DeviceCode, 40, race::Redis::Off),
        (race::What::Code, 40, race::Redis::Off),
    ] {
        tally += race::run(&race::Arguments {
            what,
            items,
            callers: 16,
            nodes: 3,
            store: StoreKind::Postgres,
            redis,
            flush: redis != race::Redis::Off,
            binary: None,
        })?;
    }
    let keys = |rotations, nodes, verifier, at_once| {
        keys::run(&keys::Arguments {
            rotations,
            callers: 6,
            nodes,
            store: if nodes == 1 {
                StoreKind::Sqlite
            } else {
                StoreKind::Postgres
            },
            verifier,
            at_once,
            algorithm: "ES256".to_owned(),
            binary: None,
        })
    };
    tally += keys(3, 2, keys::Verifier::Deaf, false)?;
    tally += keys(3, 1, keys::Verifier::Asking, true)?;
    // A key that signs before anybody can know it: whoever does not ask must refuse, or the runs above prove nothing.
    eprintln!("the next round must fail");
    tally += Tally::one(keys(3, 1, keys::Verifier::Deaf, true)?.failed == 1);
    Ok(tally)
}
