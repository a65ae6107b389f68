//! `cargo xtask faults keys`: signing keys are rotated while callers get tokens and call a resource server all the time.
//!
//! The resource server verifies JWTs by the published keys, over HTTP, as anybody's would. Nobody may be refused: not with a
//! token of the key before, not with the first one of the next. By default it is *deaf*: it keeps the set for as long as it
//! may and does not ask again when it meets a key that it does not know, so that publishing ahead alone has to do.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use axum::Router;
use axum::routing::post;
use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use mcp_authflow_resource::ProtectedResource;
use mcp_authflow_resource::verify::{JwtVerifier, KeyTimes};
use mcp_authflow_testkit::server::TestServer;
use mcp_authflow_testkit::service::postgres::PrivatePostgres;
use serde_json::Value;
use tokio::task::JoinSet;

use super::house::{StoreKind, panics};
use super::random::Random;
use crate::crowd::caller::{Answer, Caller};
use crate::crowd::{RESOURCE, SCOPE, bootstrap, username};
use crate::tally::Tally;
use crate::workspace::{Profile, build_server};

/// How long a key is published before it signs, and how long the set may be kept.
const PUBLISH_AHEAD: Duration = Duration::from_secs(3);
/// How long it may take until a key that was made signs.
const PATIENCE: Duration = Duration::from_secs(60);
/// How many tokens a caller keeps, of all keys so far.
const MOST_KEPT: usize = 40;
/// Far more than a caller manages.
const MOST_ROUNDS: usize = 1_000_000;
const TIMEOUT: Duration = Duration::from_secs(20);

/// How the resource server gets to know keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Verifier {
    /// It fetches the set when its own is old, and at no other time.
    Deaf,
    /// It fetches it also when a token names a key that it does not know.
    Asking,
}

/// The flags of `cargo xtask faults keys`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Arguments {
    /// How often keys are rotated
    #[arg(long, default_value_t = 10)]
    pub(crate) rotations: usize,
    /// How many callers there are
    #[arg(long, default_value_t = 8)]
    pub(crate) callers: usize,
    /// How many nodes there are; one, unless the store is PostgreSQL
    #[arg(long, default_value_t = 1)]
    pub(crate) nodes: usize,
    /// Where they keep their state
    #[arg(long, value_enum, default_value_t = StoreKind::Sqlite)]
    pub(crate) store: StoreKind,
    /// How the resource server gets to know keys
    #[arg(long, value_enum, default_value_t = Verifier::Deaf)]
    pub(crate) verifier: Verifier,
    /// Lets each key sign at once, as after a theft: a deaf resource server must then refuse
    #[arg(long)]
    pub(crate) at_once: bool,
    /// What signs: ES256 or EdDSA
    #[arg(long, default_value = "ES256")]
    pub(crate) algorithm: String,
    /// The program; built by default
    #[arg(long, value_name = "PATH")]
    pub(crate) binary: Option<PathBuf>,
}

/// Rotates under load; it counts as one test.
pub(crate) fn run(arguments: &Arguments) -> Result<Tally> {
    arguments.store.check_nodes(arguments.nodes)?;
    ensure!(
        arguments.store != StoreKind::Memory,
        "keys are rotated from the command line, which reaches no memory"
    );
    let binary = match &arguments.binary {
        Some(path) => path.clone(),
        None => build_server(Profile::Dev)?,
    };
    let house = House::start(arguments, &binary)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let began = Instant::now();
    let seen = runtime.block_on(house.rotate_under_load(arguments))?;
    let panics = panics(&house.nodes);
    println!(
        "{} rotations{} of {} on {:?}, {} nodes, resource server {:?}, {} callers, {:.0} s: {} tokens by {} keys, {} calls: \
         {} REFUSED {:?}; {} token requests failed {:?}; {panics} panics",
        arguments.rotations,
        if arguments.at_once { " at once" } else { "" },
        arguments.algorithm,
        arguments.store,
        arguments.nodes,
        arguments.verifier,
        arguments.callers,
        began.elapsed().as_secs_f64(),
        seen.tokens,
        seen.keys.len(),
        seen.calls,
        seen.refused.values().sum::<usize>(),
        seen.refused,
        seen.failed.values().sum::<usize>(),
        seen.failed,
    );
    Ok(Tally::one(
        seen.refused.is_empty()
            && seen.failed.is_empty()
            && seen.calls > 0
            && seen.keys.len() > arguments.rotations
            && panics == 0,
    ))
}

/// What the callers saw.
#[derive(Clone, Debug, Default)]
struct Seen {
    tokens: usize,
    calls: usize,
    /// Names of keys by which tokens were signed.
    keys: BTreeSet<String>,
    /// Calls that were not answered with 200, by what they were answered.
    refused: BTreeMap<String, usize>,
    /// Token requests that got no tokens.
    failed: BTreeMap<String, usize>,
}

/// The nodes and what stands beneath them.
struct House {
    // Dropped in this order: first the nodes end, then their database.
    nodes: Vec<TestServer>,
    _postgres: Option<PrivatePostgres>,
}

impl House {
    fn start(arguments: &Arguments, binary: &Path) -> Result<Self> {
        let (store, postgres) = arguments.store.start()?;
        let line = "name = \"Under load\"";
        let format = format!(
            "{line}\naccess_token_format = \"jwt\"\nsigning_algorithm = \"{}\"",
            arguments.algorithm
        );
        let builder = || {
            TestServer::builder()
                .binary(binary)
                .store(store.clone())
                .config(format!(
                    "[keys]\npublish_ahead = \"{}s\"\n",
                    PUBLISH_AHEAD.as_secs()
                ))
        };
        let people = bootstrap(arguments.callers).replacen(line, &format, 1);
        let mut nodes = vec![builder().bootstrap(people).start()?];
        for _ in 1..arguments.nodes {
            let next = builder().beside(&nodes[0]).start()?;
            nodes.push(next);
        }
        Ok(Self {
            nodes,
            _postgres: postgres,
        })
    }

    async fn rotate_under_load(&self, arguments: &Arguments) -> Result<Seen> {
        let at = self.serve_resource(arguments.verifier)?;
        let seen = Arc::new(Mutex::new(Seen::default()));
        let is_over = Arc::new(AtomicBool::new(false));
        let mut callers = JoinSet::new();
        for number in 0..arguments.callers {
            let address = Ipv4Addr::new(127, 0, 9, u8::try_from(number + 1)?);
            let node = &self.nodes[number % self.nodes.len()];
            let caller = Caller::new(node.origin(), username(number), address)?;
            let work = Work {
                caller,
                http: reqwest::Client::builder()
                    .no_proxy()
                    .local_address(Some(address.into()))
                    .timeout(TIMEOUT)
                    .build()?,
                resource: format!("http://{at}/mcp"),
                random: Random::new(u64::try_from(number)?),
                seen: seen.clone(),
                is_over: is_over.clone(),
            };
            callers.spawn(work.go_on());
        }
        let rotating = self.rotate(arguments, &seen).await;
        // The last key's tokens are used for as long as a set may be kept.
        tokio::time::sleep(PUBLISH_AHEAD + Duration::from_secs(1)).await;
        is_over.store(true, Ordering::Relaxed);
        while let Some(caller) = callers.join_next().await {
            caller??;
        }
        rotating?;
        let seen = seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Ok(seen)
    }

    /// Rotates, each time after the key before has begun to sign.
    async fn rotate(&self, arguments: &Arguments, seen: &Mutex<Seen>) -> Result<()> {
        let is_seen = |key: &str| {
            let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.keys.contains(key)
        };
        // Somebody has a token of the first key.
        until(|| {
            !seen
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .keys
                .is_empty()
        })
        .await?;
        for number in 0..arguments.rotations {
            let node = &self.nodes[number % self.nodes.len()];
            let mut verb = vec![
                "keys",
                "rotate",
                "--json",
                "--algorithm",
                arguments.algorithm.as_str(),
            ];
            verb.extend(arguments.at_once.then_some("--now"));
            let printed = tokio::task::block_in_place(|| node.run_all(verb))?;
            let printed: Value = serde_json::from_str(&printed)?;
            let key = printed["kid"].as_str().context("no kid")?.to_owned();
            until(|| is_seen(&key)).await?;
        }
        Ok(())
    }

    /// Serves a resource that is protected by the published keys alone.
    fn serve_resource(&self, verifier: Verifier) -> Result<SocketAddr> {
        let issuer = self.nodes[0].issuer();
        let mut times = KeyTimes {
            max_age: PUBLISH_AHEAD,
            ..KeyTimes::default()
        };
        if verifier == Verifier::Deaf {
            // A token of an unknown key waits in vain for the next question.
            times.min_interval = Duration::from_secs(2);
            times.time_limit = Duration::from_secs(1);
        }
        let tokens = JwtVerifier::builder(issuer).key_times(times).build()?;
        let protect = ProtectedResource::builder(RESOURCE, issuer)
            .require_scope(SCOPE)
            .verify_with(tokens)
            .build()?;
        let router = Router::new().route("/mcp", post(async || "hello")).layer(protect);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let at = listener.local_addr()?;
        let server = axum_server::from_tcp(listener)?;
        tokio::spawn(server.serve(router.into_make_service()));
        Ok(at)
    }
}

/// Waits for something, not for ever.
async fn until(is_so: impl Fn() -> bool) -> Result<()> {
    let waiting = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, waiting).await;
    waited.context("the new key signs nothing")
}

/// What one caller does until it is over.
struct Work {
    caller: Caller,
    http: reqwest::Client,
    resource: String,
    random: Random,
    seen: Arc<Mutex<Seen>>,
    is_over: Arc<AtomicBool>,
}

impl Work {
    /// Signs in once, and then gets tokens and calls with them: with the newest, and with one of any key before.
    async fn go_on(mut self) -> Result<()> {
        let verifier = format!("{:064x}", u128::from(self.random.next()));
        let code = self.caller.authorize(&verifier).await?.context("no code")?;
        let Answer::Granted {
            refresh: Some(mut refresh),
            access,
        } = self.caller.redeem(&code).await?
        else {
            bail!("no tokens for a code");
        };
        let mut kept = vec![access];
        for round in 0..MOST_ROUNDS {
            if self.is_over.load(Ordering::Relaxed) {
                break;
            }
            let answer = if round % 2 == 0 {
                self.caller.issue().await?
            } else {
                self.caller.rotate(&refresh).await?
            };
            match answer {
                Answer::Granted {
                    access,
                    refresh: next,
                } => {
                    refresh = next.unwrap_or(refresh);
                    self.note(|seen| {
                        seen.tokens += 1;
                        seen.keys.extend(key_of(&access));
                    });
                    if kept.len() == MOST_KEPT {
                        // Of every key so far some stay.
                        let place = self.random.below(MOST_KEPT);
                        kept.swap_remove(place);
                    }
                    kept.push(access);
                }
                other => self.note(|seen| *seen.failed.entry(format!("{other:?}")).or_default() += 1),
            }
            let any = self.random.below(kept.len());
            for place in [kept.len() - 1, any] {
                self.call(&kept[place]).await;
            }
        }
        Ok(())
    }

    async fn call(&self, token: &str) {
        let request = self.http.post(&self.resource).bearer_auth(token).body("{}");
        let answer = match request.send().await {
            Ok(response) if response.status().is_success() => None,
            Ok(response) => Some(response.status().to_string()),
            Err(error) => Some(format!("no answer: {error}")),
        };
        self.note(|seen| {
            seen.calls += 1;
            if let Some(answer) = answer {
                *seen.refused.entry(answer).or_default() += 1;
            }
        });
    }

    fn note(&self, what: impl FnOnce(&mut Seen)) {
        what(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// The name of the key in a token's header.
fn key_of(token: &str) -> Option<String> {
    let header = BASE64_URL_SAFE_NO_PAD.decode(token.split('.').next()?).ok()?;
    let header: Value = serde_json::from_slice(&header).ok()?;
    header["kid"].as_str().map(str::to_owned)
}
