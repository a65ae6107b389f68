//! `cargo xtask vectors`: what the Python packages were seen to do, case by case, asked of our parts.
//!
//! tests/vectors/README.md explains the files. A case names a call with its arguments; the area's file here makes that
//! call on our part and says what came out in the files' words. The runner compares: *same* as the seed, *better* in the
//! way the case asks for, *deliberate* (a class named in `deliberate.toml`), or *neither*, which fails.
//!
//! To add an area: a variant of [`Area`], its file with `call`. A file implements the rule and never looks at the case's
//! id or class: it runs on other cases of the same classes as well.

#![allow(
    clippy::unused_async,
    reason = "every area has the same form, whether it waits or not"
)]

mod case;
mod client_auth_jwt;
mod compare;
mod cors;
mod device;
mod discovery;
mod friction;
mod http_answer;
mod introspection;
mod json;
mod judged;
mod middleware;
mod pkce;
mod rate_limiting;
mod registration;
mod response_validation;
mod responses;
mod rig;
mod scopes;
mod ssrf;
mod storage;
mod storage_postgres;
mod validation;

use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use futures_util::FutureExt;
use serde_json::Value;

use self::case::{Case, File};
use self::compare::{Members, has_steps, is_same};
use self::judged::Judged;
use self::rig::Rig;
use crate::tally::Tally;
use crate::workspace;

/// How much of an expected or a given result is shown.
const MAX_SHOWN: usize = 1_500;

/// An area of the seed, with a file of cases and a file of calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum Area {
    Pkce,
    Validation,
    Scopes,
    Responses,
    Cors,
    RateLimiting,
    Device,
    Storage,
    StoragePostgres,
    ClientAuthJwt,
    Registration,
    Ssrf,
    Discovery,
    Middleware,
    ResponseValidation,
    Introspection,
    Friction,
}

impl Area {
    fn name(self) -> String {
        self.to_possible_value()
            .map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// Makes the call, if it is one of the area's.
    async fn call(self, case: &Case, rig: &Rig) -> Option<Value> {
        match self {
            Self::Pkce => pkce::call(case, rig).await,
            Self::Validation => validation::call(case, rig).await,
            Self::Scopes => scopes::call(case, rig).await,
            Self::Responses => responses::call(case, rig).await,
            Self::Cors => cors::call(case, rig).await,
            Self::RateLimiting => rate_limiting::call(case, rig).await,
            Self::Device => device::call(case, rig).await,
            Self::Storage => storage::call(case, rig).await,
            Self::StoragePostgres => storage_postgres::call(case, rig).await,
            Self::ClientAuthJwt => client_auth_jwt::call(case, rig).await,
            Self::Registration => registration::call(case, rig).await,
            Self::Ssrf => ssrf::call(case, rig).await,
            Self::Discovery => discovery::call(case, rig).await,
            Self::Middleware => middleware::call(case, rig).await,
            Self::ResponseValidation => response_validation::call(case, rig).await,
            Self::Introspection => introspection::call(case, rig).await,
            Self::Friction => friction::call(case, rig).await,
        }
    }
}

/// The flags of `cargo xtask vectors`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Where the files are; tests/vectors when left out
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
    /// Only these areas (comma-separated); every file of the folder when left out
    #[arg(long, value_name = "AREA", value_delimiter = ',')]
    area: Vec<String>,
}

/// Runs the areas named, or every file of the folder.
pub(crate) fn run(arguments: &Arguments) -> Result<Tally> {
    let folder = arguments.folder.clone().unwrap_or_else(own_folder);
    let areas = if arguments.area.is_empty() {
        areas_of(&folder)?
    } else {
        arguments.area.clone()
    };
    run_areas(&folder, &areas)
}

/// Runs every area that has its calls here: the layer of `cargo xtask test`.
pub(crate) fn run_all() -> Result<Tally> {
    run_areas(&own_folder(), &own_areas())
}

/// Every `area/class` of the areas that have their calls here.
pub(crate) fn classes() -> Result<BTreeSet<String>> {
    let mut classes = BTreeSet::new();
    for area in own_areas() {
        let file = File::read(&own_folder(), &area)?;
        classes.extend(file.cases.into_iter().map(|case| case.class));
    }
    Ok(classes)
}

/// The names of the areas that have their calls here.
fn own_areas() -> Vec<String> {
    Area::value_variants().iter().map(|area| area.name()).collect()
}

/// Where the project keeps the vectors.
fn own_folder() -> PathBuf {
    workspace::root().join("tests/vectors")
}

fn areas_of(folder: &Path) -> Result<Vec<String>> {
    let entries =
        std::fs::read_dir(folder).with_context(|| format!("cannot read the folder {}", folder.display()))?;
    let mut areas = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            let name = path.file_stem().and_then(|name| name.to_str());
            areas.push(name.context("a file whose name is no text")?.to_owned());
        }
    }
    ensure!(!areas.is_empty(), "there is no file in {}", folder.display());
    areas.sort();
    Ok(areas)
}

fn run_areas(folder: &Path, areas: &[String]) -> Result<Tally> {
    // Every file is read before the first case runs: a name mistyped is found at once.
    let files = areas
        .iter()
        .map(|area| File::read(folder, area))
        .collect::<Result<Vec<_>>>()?;
    let judges = Judges {
        better: Judged::read(&own_folder().join("better.toml"))?,
        deliberate: Judged::read(&own_folder().join("deliberate.toml"))?,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let rig = Rig::default();
    let mut sum = Count::default();
    for file in &files {
        let count = runtime.block_on(run_file(file, &rig, &judges));
        println!("{:<17} {count}", file.area);
        sum += count;
    }
    println!("{:<17} {sum}", "all");
    Ok(Tally {
        passed: sum.same + sum.better + sum.deliberate,
        failed: sum.neither,
    })
}

async fn run_file(file: &File, rig: &Rig, judges: &Judges) -> Count {
    let mut count = Count::default();
    for case in &file.cases {
        let answer = AssertUnwindSafe(answer(case, rig)).catch_unwind().await;
        let (verdict, got) = match &answer {
            Ok(Some(got)) => (judges.judge(case, got), shown(got)),
            Ok(None) => (Verdict::Neither, format!("unknown call `{}`", case.call)),
            Err(_) => (Verdict::Neither, "a panic".to_owned()),
        };
        match verdict {
            Verdict::Same => count.same += 1,
            Verdict::Better => count.better += 1,
            Verdict::Deliberate => count.deliberate += 1,
            Verdict::Neither => {
                count.neither += 1;
                println!("{}: neither", case.id);
                println!("  expected {}", shown(&case.expect));
                println!("  got      {got}");
                if case
                    .better
                    .as_ref()
                    .is_some_and(|better| better.expect.is_none() && better.expect_steps.is_none())
                {
                    println!("  what would be better is left open: better.toml names it by class");
                }
            }
        }
    }
    count
}

/// What our part answers: a call is known by its name, wherever it stands.
async fn answer(case: &Case, rig: &Rig) -> Option<Value> {
    let own = |area: &&Area| case.class.split('/').next() == Some(area.name().as_str());
    let (first, others): (Vec<&Area>, Vec<&Area>) = Area::value_variants().iter().partition(own);
    for area in first.into_iter().chain(others) {
        if let Some(answer) = area.call(case, rig).await {
            return Some(answer);
        }
    }
    None
}

fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// The reviewed lists.
struct Judges {
    better: Judged,
    deliberate: Judged,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Same,
    Better,
    Deliberate,
    Neither,
}

impl Judges {
    fn judge(&self, case: &Case, got: &Value) -> Verdict {
        if is_same(&case.expect, got, Members::All) {
            return Verdict::Same;
        }
        let is_better =
            case.better
                .as_ref()
                .is_some_and(|better| match (&better.expect, &better.expect_steps) {
                    (None, None) => self.better.names(&case.class, &case.expect, got),
                    (expect, steps) => {
                        expect
                            .as_ref()
                            .is_some_and(|expect| is_same(expect, got, Members::Named))
                            || steps.as_ref().is_some_and(|steps| has_steps(steps, got))
                    }
                });
        if is_better {
            Verdict::Better
        } else if self.deliberate.names(&case.class, &case.expect, got) {
            Verdict::Deliberate
        } else {
            Verdict::Neither
        }
    }
}

/// The verdicts of a file.
#[derive(Clone, Copy, Default)]
struct Count {
    same: usize,
    better: usize,
    deliberate: usize,
    neither: usize,
}

impl std::ops::AddAssign for Count {
    fn add_assign(&mut self, other: Self) {
        self.same += other.same;
        self.better += other.better;
        self.deliberate += other.deliberate;
        self.neither += other.neither;
    }
}

impl std::fmt::Display for Count {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            out,
            "{:>4} same as seed, {:>4} better, {:>4} deliberate, {:>4} neither",
            self.same, self.better, self.deliberate, self.neither
        )
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn case(call: &str, better: Option<case::Better>) -> Case {
        Case {
            id: "pkce/c/001".to_owned(),
            class: "pkce/c".to_owned(),
            call: call.to_owned(),
            args: json!({}),
            args_as_written: json::Json::Null,
            now: None,
            expect: json!({"value": true}),
            better,
        }
    }

    fn judges(better: &str, deliberate: &str) -> Judges {
        let folder = tempfile::tempdir().unwrap();
        let read = |text: &str| {
            let path = folder.path().join("list.toml");
            std::fs::write(&path, text).unwrap();
            Judged::read(&path).unwrap()
        };
        Judges {
            better: read(better),
            deliberate: read(deliberate),
        }
    }

    const LIST: &str = "[\"pkce/c\"]\nreason = \"r\"\nanswers = [\"value false\"]\n";

    #[test]
    fn a_difference_counts_as_better_only_when_the_case_says_so() {
        let refused = json!({"value": false});
        let better = |expect: Option<Value>| {
            Some(case::Better {
                expect,
                expect_steps: None,
            })
        };
        let none = judges("", "");
        assert_eq!(
            none.judge(&case("f", None), &json!({"value": true})),
            Verdict::Same
        );
        assert_eq!(none.judge(&case("f", None), &refused), Verdict::Neither);
        let named = case("f", better(Some(refused.clone())));
        assert_eq!(none.judge(&named, &refused), Verdict::Better);
        let open = case("f", better(None));
        assert_eq!(none.judge(&open, &refused), Verdict::Neither);
        assert_eq!(judges(LIST, "").judge(&open, &refused), Verdict::Better);
        assert_eq!(
            judges(LIST, "").judge(&case("f", None), &refused),
            Verdict::Neither
        );
        assert_eq!(
            judges("", LIST).judge(&case("f", None), &refused),
            Verdict::Deliberate
        );
    }

    #[tokio::test]
    async fn an_unknown_call_is_neither() {
        let file = File {
            area: "pkce".to_owned(),
            cases: vec![case("no_such_call", None)],
        };
        let count = run_file(&file, &Rig::default(), &judges("", "")).await;
        assert_eq!((count.neither, count.same), (1, 0));
    }

    #[test]
    fn a_folder_or_an_area_that_is_not_there_fails() {
        let folder = tempfile::tempdir().unwrap();
        assert!(areas_of(folder.path()).is_err());
        assert!(areas_of(&folder.path().join("gone")).is_err());
        assert!(run_areas(folder.path(), &["pkce".to_owned()]).is_err());
    }
}
