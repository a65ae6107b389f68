//! `cargo xtask faults race`: many callers present the same thing at the same time, on several nodes of one database.
//!
//! What may be used once is used once: an assertion's `jti`, a device code, an authorization code. Of the callers of each, at
//! most one may win; where Redis remembers and is emptied half-way, nobody may win twice either. Callers come from addresses
//! of their own, as a crowd's do.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, ensure};
use mcp_authflow_jose::{Algorithm, SigningKey};
use mcp_authflow_testkit::server::TestServer;
use mcp_authflow_testkit::service::postgres::PrivatePostgres;
use mcp_authflow_testkit::service::redis::PrivateRedis;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::house::{StoreKind, panics};
use crate::crowd::caller::Caller;
use crate::crowd::{APP, RESOURCE, SCOPE, bootstrap, username};
use crate::provide;
use crate::tally::Tally;
use crate::workspace::{Profile, build_server};

/// How many of them are raced at once: enough to keep every node busy.
const AT_ONCE: usize = 8;
/// How many codes one signed-in person approves, which is fewer than the limit on typing codes.
const PREPARED_BY_ONE: usize = 4;
/// Clients that sign assertions; each has a part of them, as in a real crowd.
const SIGNERS: usize = 16;
const TIMEOUT: Duration = Duration::from_secs(30);
/// How often Redis is emptied.
const PHASES: usize = 2;
/// How long it may take until a memory that was emptied can tell again.
const LONGEST_START: Duration = Duration::from_secs(90);
/// Numbers that no raced assertion has.
const PROBES: usize = 1_000_000;

/// What is presented.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum What {
    /// A client's assertion (RFC 7523): its `jti`.
    Jti,
    /// A device code that was approved (RFC 8628).
    DeviceCode,
    /// An authorization code.
    Code,
}

/// What Redis is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Redis {
    /// There is none.
    Off,
    /// Limits are shared through it; the database remembers what was used.
    Limits,
    /// It remembers what was used, too.
    Replay,
}

/// The flags of `cargo xtask faults race`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Arguments {
    /// What is presented
    #[arg(value_enum)]
    pub(crate) what: What,
    /// How many of them
    #[arg(long, default_value_t = 500)]
    pub(crate) items: usize,
    /// How many callers present each at the same time
    #[arg(long, default_value_t = 8)]
    pub(crate) callers: usize,
    /// How many nodes there are; one, unless the store is PostgreSQL
    #[arg(long, default_value_t = 3)]
    pub(crate) nodes: usize,
    /// Where they keep their state
    #[arg(long, value_enum, default_value_t = StoreKind::Postgres)]
    pub(crate) store: StoreKind,
    /// What Redis is used for
    #[arg(long, value_enum, default_value_t = Redis::Off)]
    pub(crate) redis: Redis,
    /// Empties Redis half-way and at the end, and presents what was used once more
    #[arg(long)]
    pub(crate) flush: bool,
    /// The program; built by default
    #[arg(long, value_name = "PATH")]
    pub(crate) binary: Option<PathBuf>,
}

/// Runs one race; it counts as one test.
pub(crate) fn run(arguments: &Arguments) -> Result<Tally> {
    arguments.store.check_nodes(arguments.nodes)?;
    ensure!(
        !arguments.flush || arguments.redis != Redis::Off,
        "--flush needs --redis"
    );
    let binary = match &arguments.binary {
        Some(path) => path.clone(),
        None => build_server(Profile::Dev)?,
    };
    let crowd = Crowd::start(arguments, &binary)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let outcome = runtime.block_on(crowd.race(arguments))?;
    let panics = panics(&crowd.nodes);
    println!(
        "{:?} on {:?}, {} nodes, Redis {:?}{}: {} raced by {} callers: {} won by one, {} by none, {} BY SEVERAL; answers {:?}; {panics} panics",
        arguments.what,
        arguments.store,
        arguments.nodes,
        arguments.redis,
        if arguments.flush {
            " emptied on the way"
        } else {
            ""
        },
        arguments.items,
        arguments.callers,
        outcome.one,
        outcome.none,
        outcome.several,
        outcome.answers,
    );
    Ok(Tally::one(
        outcome.several == 0 && outcome.none == 0 && outcome.faults == 0 && panics == 0,
    ))
}

/// How a race went.
#[derive(Clone, Debug, Default)]
struct Outcome {
    one: usize,
    none: usize,
    several: usize,
    /// Answers of 500 or none at all.
    faults: usize,
    answers: BTreeMap<String, usize>,
}

impl Outcome {
    fn add(&mut self, wins: usize, answers: Vec<String>) {
        match wins {
            0 => self.none += 1,
            1 => self.one += 1,
            _ => self.several += 1,
        }
        for answer in answers {
            if answer.starts_with("no answer") || answer.starts_with("500") {
                self.faults += 1;
            }
            *self.answers.entry(answer).or_default() += 1;
        }
    }
}

/// The nodes, what stands beneath them, and the callers.
struct Crowd {
    // Dropped in this order: first the nodes end, then what they use.
    nodes: Vec<TestServer>,
    redis: Option<PrivateRedis>,
    _postgres: Option<PrivatePostgres>,
    signers: Arc<Vec<SigningKey>>,
    callers: Vec<reqwest::Client>,
}

/// A token request that may succeed once.
type Form = Vec<(&'static str, String)>;

impl Crowd {
    fn start(arguments: &Arguments, binary: &Path) -> Result<Self> {
        let (store, postgres) = arguments.store.start()?;
        let redis = if arguments.redis == Redis::Off {
            None
        } else {
            provide::redis::provide()?;
            Some(PrivateRedis::start()?)
        };
        let signers = (0..SIGNERS)
            .map(|_| SigningKey::generate(Algorithm::Es256))
            .collect::<Result<Vec<_>, _>>()?;
        let first = TestServer::builder()
            .binary(binary)
            .store(store.clone())
            .bootstrap(format!("{}{}", bootstrap(1), clients(&signers)))
            .config(config(arguments, redis.as_ref()));
        let mut nodes = vec![first.start()?];
        for _ in 1..arguments.nodes {
            let node = TestServer::builder()
                .binary(binary)
                .store(store.clone())
                .config(config(arguments, redis.as_ref()))
                .beside(&nodes[0])
                .start()?;
            nodes.push(node);
        }
        let callers = (0..arguments.callers)
            .map(|caller| {
                let address = Ipv4Addr::new(127, 0, 2, u8::try_from(caller % 250)? + 1);
                Ok(reqwest::Client::builder()
                    .no_proxy()
                    .local_address(Some(address.into()))
                    .timeout(TIMEOUT)
                    .build()?)
            })
            .collect::<Result<Vec<_>>>()?;
        Ok(Self {
            nodes,
            redis,
            _postgres: postgres,
            signers: Arc::new(signers),
            callers,
        })
    }

    async fn race(&self, arguments: &Arguments) -> Result<Outcome> {
        let mut outcome = Outcome::default();
        let phases = if arguments.flush { PHASES } else { 1 };
        let mut number = 0;
        let mut preparer = None;
        for phase in 1..=phases {
            if arguments.redis == Redis::Replay {
                self.until_remembering(phase).await?;
            }
            let mut raced = Vec::new();
            while number < arguments.items * phase / phases {
                let batch = (arguments.items * phase / phases - number).min(AT_ONCE);
                let mut forms = Vec::with_capacity(batch);
                for _ in 0..batch {
                    forms.push(self.form(arguments.what, number, &mut preparer).await?);
                    number += 1;
                }
                let results = self.present(&forms).await?;
                raced.extend(forms.into_iter().zip(results));
            }
            if arguments.flush {
                self.empty_redis()?;
                for part in raced.chunks_mut(AT_ONCE) {
                    let forms: Vec<Form> = part.iter().map(|(form, _)| form.clone()).collect();
                    for ((_, result), again) in part.iter_mut().zip(self.present(&forms).await?) {
                        result.0 += again.0;
                        result.1.extend(again.1);
                    }
                }
            }
            for (_, (wins, answers)) in raced {
                outcome.add(wins, answers);
            }
        }
        Ok(outcome)
    }

    /// A memory that begins now can tell nothing of what was issued before, for as long as clocks may be apart: waits until
    /// something issued now is accepted.
    async fn until_remembering(&self, phase: usize) -> Result<()> {
        let end = Instant::now() + LONGEST_START;
        for attempt in 0_usize.. {
            let form = self.assertion(PROBES + phase * 1_000 + attempt)?;
            let url = format!("{}/token", self.nodes[0].origin());
            let said = answer(self.callers[0].post(url).form(&form)).await;
            if said == "200" {
                return Ok(());
            }
            ensure!(Instant::now() < end, "Redis never begins to remember: {said}");
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
        Ok(())
    }

    /// All callers present all forms at once; answers how often each form won, and what was said.
    async fn present(&self, forms: &[Form]) -> Result<Vec<(usize, Vec<String>)>> {
        let start = Arc::new(tokio::sync::Barrier::new(self.callers.len() * forms.len()));
        let mut tasks = JoinSet::new();
        for (place, form) in forms.iter().enumerate() {
            for (number, caller) in self.callers.iter().enumerate() {
                let node = &self.nodes[(number + place) % self.nodes.len()];
                let url = format!("{}/token", node.origin());
                let request = caller.post(url).form(form);
                let start = start.clone();
                tasks.spawn(async move {
                    start.wait().await;
                    (place, answer(request).await)
                });
            }
        }
        let mut results = vec![(0, Vec::new()); forms.len()];
        while let Some(done) = tasks.join_next().await {
            let (place, answer) = done?;
            results[place].0 += usize::from(answer == "200");
            results[place].1.push(answer);
        }
        Ok(results)
    }

    /// Makes a request that may succeed once.
    async fn form(&self, what: What, number: usize, preparer: &mut Option<Caller>) -> Result<Form> {
        if what == What::Jti {
            return self.assertion(number);
        }
        if number.is_multiple_of(PREPARED_BY_ONE) {
            *preparer = None;
        }
        let preparer = match preparer {
            Some(preparer) => preparer,
            None => preparer.insert(self.preparer(number)?),
        };
        if what == What::DeviceCode {
            self.approved_device(preparer).await
        } else {
            self.code(number, preparer).await
        }
    }

    fn assertion(&self, number: usize) -> Result<Form> {
        let signer = number % SIGNERS;
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)?
            .as_secs();
        let claims = json!({
            "iss": signer_id(signer), "sub": signer_id(signer), "aud": self.nodes[0].issuer(),
            "jti": format!("race-{number}"), "iat": now, "exp": now + 60,
        });
        Ok(vec![
            ("grant_type", "client_credentials".to_owned()),
            ("scope", SCOPE.to_owned()),
            ("resource", RESOURCE.to_owned()),
            (
                "client_assertion_type",
                "urn:ietf:params:oauth:client-assertion-type:jwt-bearer".to_owned(),
            ),
            ("client_assertion", self.signers[signer].sign("JWT", &claims)?),
        ])
    }

    /// Somebody with an address of their own who signs in: limits then see a crowd.
    fn preparer(&self, number: usize) -> Result<Caller> {
        let [_, _, high, low] = u32::try_from(number + 1)?.to_be_bytes();
        let address = Ipv4Addr::new(127, 3, high, low);
        Caller::new(self.nodes[0].issuer(), username(0), address)
    }

    async fn approved_device(&self, preparer: &Caller) -> Result<Form> {
        let device_code = preparer
            .approved_device(DEVICE)
            .await
            .context("a device code could not be approved")?;
        Ok(vec![
            (
                "grant_type",
                "urn:ietf:params:oauth:grant-type:device_code".to_owned(),
            ),
            ("client_id", DEVICE.to_owned()),
            ("device_code", device_code),
        ])
    }

    async fn code(&self, number: usize, preparer: &Caller) -> Result<Form> {
        let verifier = format!("{number:064}");
        let code = preparer
            .authorize(&verifier)
            .await?
            .context("the server is gone")?;
        Ok(vec![
            ("grant_type", "authorization_code".to_owned()),
            ("client_id", APP.to_owned()),
            ("code", code.code),
            ("code_verifier", verifier),
        ])
    }

    fn empty_redis(&self) -> Result<()> {
        let redis = self.redis.as_ref().context("there is no Redis to empty")?;
        let url: url::Url = redis.url().parse()?;
        let place = (
            url.host_str().unwrap_or("127.0.0.1").to_owned(),
            url.port().unwrap_or(6379),
        );
        let mut stream = TcpStream::connect(place)?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(b"FLUSHALL\r\n")?;
        let mut reply = [0; 5];
        stream.read_exact(&mut reply)?;
        ensure!(&reply == b"+OK\r\n", "Redis did not empty itself");
        Ok(())
    }
}

const DEVICE: &str = "device";

fn signer_id(number: usize) -> String {
    format!("signer-{number}")
}

/// Clients that sign, and one that is a device without a browser.
fn clients(signers: &[SigningKey]) -> String {
    let device = format!(
        r#"
[[client]]
client_id = "{DEVICE}"
name = "Device"
token_endpoint_auth_method = "none"
grant_types = ["urn:ietf:params:oauth:grant-type:device_code", "refresh_token"]
"#
    );
    let signers = signers.iter().enumerate().map(|(number, key)| {
        let jwks = json!({ "keys": [key.public_jwk()] });
        format!(
            r#"
[[client]]
client_id = "{}"
name = "Signer"
token_endpoint_auth_method = "private_key_jwt"
jwks = '{jwks}'
grant_types = ["client_credentials"]
scope = "{SCOPE}"
resources = ["{RESOURCE}"]
"#,
            signer_id(number)
        )
    });
    std::iter::once(device).chain(signers).collect()
}

fn config(arguments: &Arguments, redis: Option<&PrivateRedis>) -> String {
    // What loses a race is refused, and would be counted as guessing.
    let limits = "[limits]\nclient_authentications_per_minute = 10000000\n\
                  client_authentications_per_address_per_minute = 10000000\n";
    let Some(redis) = redis else {
        return limits.to_owned();
    };
    let replay = if arguments.redis == Redis::Replay {
        "redis"
    } else {
        "store"
    };
    format!(
        "{limits}[redis]\nurl = \"{}\"\nreplay = \"{replay}\"\n",
        redis.url()
    )
}

/// The status, with the error code where there is one.
async fn answer(request: reqwest::RequestBuilder) -> String {
    let response = match request.send().await {
        Ok(response) => response,
        Err(error) => return format!("no answer: {error}"),
    };
    let status = response.status().as_u16();
    if status == 200 {
        return "200".to_owned();
    }
    let body: Value = response.json().await.unwrap_or_default();
    format!("{status} {}", body["error"].as_str().unwrap_or("?"))
}
