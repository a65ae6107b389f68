//! What the protection of an MCP server costs: the same tool call, open and behind the layer; directly and through
//! `authflow protect`; small and as a long stream.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use mcp_authflow_testkit::server::TestServer;
use mcp_authflow_testkit::service::port::free_port;
use mcp_authflow_testkit::service::process::{OwnedProcess, StopSignal};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

use super::load::Load;
use super::mcp_server::{Guard, LARGE, LARGE_BYTES};
use super::operation::Requests;
use super::table::median;
use super::{CONCURRENCY, LOAD_CORE, SERVER_CORE, can_pin_server, cpu};
use crate::crowd::{MACHINE, RESOURCE, SCOPE, bootstrap};

/// A few tokens ask as much here as a whole crowd would.
const LIMITS: &str = "[limits]\ntoken_requests_per_address_per_minute = 10000000\n\
                      introspections_per_client_per_minute = 10000000\n";
/// What a tool needs of which nothing is known.
const WIDEST: &str = "tools:destructive";
/// How many streams are measured; the first is for warming up.
const STREAMS: u32 = 5;

/// What stands between the caller and the tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    Open,
    Layer(Layer),
    Proxy,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Layer {
    Cached,
    Jwt,
    Introspection,
}

impl Way {
    const ALL: [Self; 5] = [
        Self::Open,
        Self::Layer(Layer::Cached),
        Self::Layer(Layer::Jwt),
        Self::Layer(Layer::Introspection),
        Self::Proxy,
    ];

    fn title(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Layer(Layer::Cached) => "layer, introspection cached",
            Self::Layer(Layer::Jwt) => "layer, JWT",
            Self::Layer(Layer::Introspection) => "layer, introspection each time",
            Self::Proxy => "`authflow protect` in front",
        }
    }
}

/// One measurement.
#[derive(Clone, Copy, Debug)]
struct Cost {
    cpu_us: f64,
    p50_us: f64,
    p99_us: f64,
    rate: f64,
}

/// What stands there to be called, and whose CPU time counts.
struct Scene {
    address: SocketAddr,
    token: Option<String>,
    measured: u32,
    /// Ended in this order.
    _front: Option<OwnedProcess>,
    _mcp_server: OwnedProcess,
    _issuer: Option<Box<TestServer>>,
    _folder: Option<tempfile::TempDir>,
}

/// The tables for a document.
pub(super) fn measure(runtime: &Runtime, rounds: usize, requests: usize, binary: &Path) -> Result<String> {
    let mut costs: BTreeMap<(usize, Way), Vec<Cost>> = BTreeMap::new();
    let mut streams: BTreeMap<Way, Vec<Stream>> = BTreeMap::new();
    for round in 1..=rounds {
        for way in Way::ALL {
            eprintln!("--- round {round}: a tool call, {}", way.title());
            let scene = Scene::set(runtime, way, binary)?;
            for connections in CONCURRENCY {
                let cost = scene.call(runtime, connections, requests)?;
                eprintln!(
                    "x{connections:<2}  {:6.1} us CPU  p50 {:6.0} us  p99 {:6.0} us  {:6.0}/s",
                    cost.cpu_us, cost.p50_us, cost.p99_us, cost.rate
                );
                costs.entry((connections, way)).or_default().push(cost);
            }
            if matches!(way, Way::Open | Way::Proxy) {
                let stream = runtime.block_on(scene.stream())?;
                eprintln!(
                    "stream: {:.0} MB/s, {:.0} ms CPU each",
                    stream.rate, stream.cpu_ms
                );
                streams.entry(way).or_default().push(stream);
            }
        }
    }
    Ok(markdown(rounds, &costs, &streams))
}

/// What a stream of a hundred megabytes costs.
#[derive(Clone, Copy, Debug)]
struct Stream {
    /// MB a second.
    rate: f64,
    cpu_ms: f64,
}

impl Scene {
    fn set(runtime: &Runtime, way: Way, binary: &Path) -> Result<Self> {
        let ourselves = binary.with_file_name("xtask");
        match way {
            Way::Open => {
                let (mcp_server, address) = mcp_server(&ourselves, Guard::Open, None, SERVER_CORE)?;
                Ok(Self {
                    address,
                    token: None,
                    measured: mcp_server.pid(),
                    _front: None,
                    _mcp_server: mcp_server,
                    _issuer: None,
                    _folder: None,
                })
            }
            Way::Layer(layer) => {
                let (guard, format) = match layer {
                    Layer::Cached => (Guard::Cached, "opaque"),
                    Layer::Jwt => (Guard::Jwt, "jwt"),
                    Layer::Introspection => (Guard::Introspection, "opaque"),
                };
                let issuer = issuer(binary, format)?;
                let token = runtime.block_on(token(issuer.issuer(), None))?;
                let (mcp_server, address) =
                    mcp_server(&ourselves, guard, Some(issuer.issuer()), SERVER_CORE)?;
                Ok(Self {
                    address,
                    token: Some(token),
                    measured: mcp_server.pid(),
                    _front: None,
                    _mcp_server: mcp_server,
                    _issuer: Some(Box::new(issuer)),
                    _folder: None,
                })
            }
            Way::Proxy => {
                let (mcp_server, upstream) = mcp_server(&ourselves, Guard::Open, None, LOAD_CORE)?;
                let (front, address, folder) = front(binary, upstream)?;
                let origin = format!("http://{address}");
                let token = runtime.block_on(token(&origin, Some(&format!("{origin}/mcp"))))?;
                Ok(Self {
                    address,
                    token: Some(token),
                    measured: front.pid(),
                    _front: Some(front),
                    _mcp_server: mcp_server,
                    _issuer: None,
                    _folder: Some(folder),
                })
            }
        }
    }

    fn call(&self, runtime: &Runtime, connections: usize, requests: usize) -> Result<Cost> {
        let host = self.address.to_string();
        let makers = (0..connections)
            .map(|_| Requests::call(&host, self.token.as_deref(), "hello"))
            .collect::<Result<Vec<_>>>()?;
        let load = runtime.block_on(Load::open(self.address, makers))?;
        let before = cpu::of_process(self.measured)?;
        let outcome = runtime.block_on(load.run(requests))?;
        let spent = cpu::of_process(self.measured)?.saturating_sub(before);
        ensure!(
            outcome.refused == 0,
            "{} of {} calls were refused: {}",
            outcome.refused,
            outcome.count,
            outcome.complaint
        );
        #[expect(clippy::cast_precision_loss, reason = "a count of requests is far below 2^52")]
        let count = outcome.count.max(1) as f64;
        Ok(Cost {
            cpu_us: spent.as_secs_f64() * 1e6 / count,
            p50_us: outcome.percentile(50).as_secs_f64() * 1e6,
            p99_us: outcome.percentile(99).as_secs_f64() * 1e6,
            rate: outcome.rate(),
        })
    }

    /// A few streams, one after the other.
    async fn stream(&self) -> Result<Stream> {
        let connection = TcpStream::connect(self.address).await?;
        let (mut sender, driver) =
            http1::handshake::<_, Full<bytes::Bytes>>(TokioIo::new(connection)).await?;
        tokio::spawn(driver);
        let mut requests = Requests::call(&self.address.to_string(), self.token.as_deref(), LARGE)?;
        let mut start = Instant::now();
        let mut before = cpu::of_process(self.measured)?;
        for number in 0..=STREAMS {
            if number == 1 {
                (start, before) = (Instant::now(), cpu::of_process(self.measured)?);
            }
            sender.ready().await?;
            let mut response = sender.send_request(requests.make()?).await?;
            ensure!(
                response.status().is_success(),
                "a stream was refused: {}",
                response.status()
            );
            let mut length = 0;
            while let Some(frame) = response.body_mut().frame().await {
                length += frame?.data_ref().map_or(0, bytes::Bytes::len);
            }
            ensure!(length == LARGE_BYTES, "a stream broke off after {length} bytes");
        }
        let spent = cpu::of_process(self.measured)?.saturating_sub(before);
        #[expect(
            clippy::cast_precision_loss,
            reason = "a hundred million is exact in a double"
        )]
        let megabytes = LARGE_BYTES as f64 / 1e6 * f64::from(STREAMS);
        Ok(Stream {
            rate: megabytes / start.elapsed().as_secs_f64(),
            cpu_ms: spent.as_secs_f64() * 1e3 / f64::from(STREAMS),
        })
    }
}

/// A command on a core of its own.
fn on_core(program: &Path, core: &str) -> Command {
    if can_pin_server() {
        let mut command = Command::new("taskset");
        command.args(["--cpu-list", core]).arg(program);
        command
    } else {
        Command::new(program)
    }
}

fn mcp_server(
    ourselves: &Path,
    guard: Guard,
    issuer: Option<&str>,
    core: &str,
) -> Result<(OwnedProcess, SocketAddr)> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
    let mut command = on_core(ourselves, core);
    let guard = clap::ValueEnum::to_possible_value(&guard).context("a guard without a name")?;
    command.args([
        "mcp-server",
        "--listen",
        &address.to_string(),
        "--guard",
        guard.get_name(),
    ]);
    if let Some(issuer) = issuer {
        command.args(["--issuer", issuer]);
    }
    let mut process = OwnedProcess::spawn("MCP server", &mut command, StopSignal::Terminate, None)?;
    process.wait_until("listening on", Duration::from_secs(30))?;
    Ok((process, address))
}

/// An authorization server on the load's core, which is not what is measured.
fn issuer(binary: &Path, format: &str) -> Result<TestServer> {
    let bootstrap = bootstrap(1).replacen(
        "name = \"Under load\"",
        &format!("name = \"Under load\"\naccess_token_format = \"{format}\""),
        1,
    );
    TestServer::builder()
        .binary(binary)
        .bootstrap(bootstrap)
        .config(LIMITS)
        .start()
}

/// `authflow protect` in front of an MCP server, with one machine that may call everything.
fn front(binary: &Path, upstream: SocketAddr) -> Result<(OwnedProcess, SocketAddr, tempfile::TempDir)> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
    let folder = tempfile::tempdir()?;
    let (name, secret) = MACHINE;
    let bootstrap = folder.path().join("bootstrap.toml");
    std::fs::write(
        &bootstrap,
        format!(
            "[[client]]\nclient_id = \"{name}\"\nname = \"Machine\"\nredirect_uris = []\n\
             token_endpoint_auth_method = \"client_secret_basic\"\nclient_secret = \"{secret}\"\n\
             grant_types = [\"client_credentials\"]\nscope = \"{WIDEST}\"\n"
        ),
    )?;
    let config = folder.path().join("authflow.toml");
    std::fs::write(&config, LIMITS)?;
    let mut command = on_core(binary, SERVER_CORE);
    command
        .args([
            "protect",
            "--database-url",
            "memory:",
            "--listen",
            &address.to_string(),
        ])
        .arg("--data-dir")
        .arg(folder.path())
        .arg("--config")
        .arg(&config)
        .arg("--bootstrap")
        .arg(&bootstrap)
        .arg(format!("http://{upstream}/mcp"));
    let mut process = OwnedProcess::spawn("authflow protect", &mut command, StopSignal::Terminate, None)?;
    process.wait_until(&address.to_string(), Duration::from_secs(30))?;
    Ok((process, address, folder))
}

/// A token of the machine's, for this resource.
async fn token(issuer: &str, resource: Option<&str>) -> Result<String> {
    let form = [
        ("grant_type", "client_credentials"),
        ("scope", if resource.is_some() { WIDEST } else { SCOPE }),
        ("resource", resource.unwrap_or(RESOURCE)),
    ];
    let client = reqwest::Client::builder().no_proxy().build()?;
    let answer = client
        .post(format!("{issuer}/token"))
        .basic_auth(MACHINE.0, Some(MACHINE.1))
        .form(&form)
        .send()
        .await?;
    let status = answer.status();
    let answer: serde_json::Value = answer.json().await?;
    let token = answer["access_token"].as_str();
    Ok(token
        .with_context(|| format!("no token: {status} {answer}"))?
        .to_owned())
}

fn markdown(
    rounds: usize,
    costs: &BTreeMap<(usize, Way), Vec<Cost>>,
    streams: &BTreeMap<Way, Vec<Stream>>,
) -> String {
    let middle =
        |of: &dyn Fn(usize) -> Option<f64>| median((0..rounds).filter_map(of).collect()).unwrap_or_default();
    let mut text = format!(
        "\n**Protection of an MCP server**\n\nA tool call, open and protected; medians of {rounds} rounds, what is more than open \
         taken within each round. The CPU time is that of the process that is called; for `authflow protect` it is the \
         proxy's alone, and the MCP server behind it runs on the load's core.\n"
    );
    for connections in CONCURRENCY.iter().rev() {
        let plural = if *connections == 1 { "" } else { "s" };
        let _ = write!(
            text,
            "\n**{connections} connection{plural}**\n\n| | CPU µs a call | more than open | p50 µs | more than open | p99 µs | calls/s |\n\
             |---|---:|---:|---:|---:|---:|---:|\n"
        );
        let Some(open) = costs.get(&(*connections, Way::Open)) else {
            continue;
        };
        for way in Way::ALL {
            let Some(own) = costs.get(&(*connections, way)) else {
                continue;
            };
            let of = |value: fn(&Cost) -> f64| middle(&|round| own.get(round).map(value));
            let more = |value: fn(&Cost) -> f64| {
                middle(&|round| Some(value(own.get(round)?) - value(open.get(round)?)))
            };
            let more = |value: fn(&Cost) -> f64| match way {
                Way::Open => String::new(),
                _ => format!("{:+.1}", more(value)),
            };
            let _ = writeln!(
                text,
                "| {} | {:.1} | {} | {:.0} | {} | {:.0} | {:.0} |",
                way.title(),
                of(|cost| cost.cpu_us),
                more(|cost| cost.cpu_us),
                of(|cost| cost.p50_us),
                more(|cost| cost.p50_us),
                of(|cost| cost.p99_us),
                of(|cost| cost.rate),
            );
        }
    }
    text +=
        "\nAn answer of 100 MiB as one stream, one at a time:\n\n| | MB/s | CPU ms each |\n|---|---:|---:|\n";
    for (way, own) in streams {
        let rate = middle(&|round| own.get(round).map(|stream| stream.rate));
        let cpu = middle(&|round| own.get(round).map(|stream| stream.cpu_ms));
        let _ = writeln!(text, "| {} | {rate:.0} | {cpu:.0} |", way.title());
    }
    text
}
