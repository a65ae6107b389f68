//! `fetch_ssrf`, bounds: how much a peer can make the server take, for how long, and what its answers tell of the time.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures_util::future::join_all;
use serde_json::json;
use tokio::net::TcpSocket;

use crate::namespace::dns::Answer;
use crate::namespace::door::{self, Door};
use crate::namespace::judgement::Judgement;
use crate::namespace::peers::Serve;
use crate::namespace::world::{Expect, World};

const MIB: u64 = 1_024 * 1_024;

fn flood(head: &str, piece: &[u8], times: usize) -> Serve {
    Serve::Flood {
        head: format!("HTTP/1.1 200 OK\r\n{head}").into_bytes(),
        piece: piece.to_vec(),
        times,
    }
}

/// Answers that are far too much, each in its own way.
fn bombs(door: Door) -> Vec<(&'static str, Serve)> {
    const JSON: &str = "content-type: application/json\r\n";
    let block = vec![b' '; 16 * 1_024];
    let mut chunk = b"4000\r\n".to_vec();
    chunk.extend(&block);
    chunk.extend(b"\r\n");
    let long_header = format!("x-long: {}\r\n", "x".repeat(1_024 * 1_024));
    let interim = "HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n".repeat(10_000);
    let over = vec![b' '; door.too_many_bytes()];
    vec![
        (
            "a length of 5 GiB",
            flood(
                &format!("{JSON}content-length: 5368709120\r\n\r\n"),
                &block,
                4_096,
            ),
        ),
        (
            "chunks without end",
            flood(
                &format!("{JSON}transfer-encoding: chunked\r\n\r\n"),
                &chunk,
                4_096,
            ),
        ),
        (
            "one chunk of 1 GiB",
            flood(
                &format!("{JSON}transfer-encoding: chunked\r\n\r\n40000000\r\n"),
                &block,
                4_096,
            ),
        ),
        (
            "no length, without end",
            flood(&format!("{JSON}\r\n"), &block, 4_096),
        ),
        (
            "a byte too much",
            Serve::Answer(200, JSON.to_owned(), over.clone()),
        ),
        ("a byte too much, no length", {
            let mut bytes = format!("HTTP/1.1 200 OK\r\n{JSON}connection: close\r\n\r\n").into_bytes();
            bytes.extend(&over);
            Serve::Raw(bytes)
        }),
        ("a header of 1 MiB", flood(&long_header, b"\r\n", 1)),
        ("10,000 headers", flood("", b"x-many: y\r\n", 10_000)),
        ("headers without end", flood("", b"x-many: y\r\n", 1_000_000)),
        ("10,000 interim answers", Serve::Raw(interim.into_bytes())),
        (
            "a status line of 1 MiB",
            Serve::Raw(format!("HTTP/1.1 200 {}\r\n\r\n", "x".repeat(1_024 * 1_024)).into_bytes()),
        ),
        (
            "packed",
            Serve::text(200, &format!("{JSON}content-encoding: gzip\r\n"), "\u{1f}"),
        ),
        (
            "trailers without end",
            flood(
                &format!("{JSON}transfer-encoding: chunked\r\n\r\n2\r\n{{}}\r\n0\r\n"),
                b"x-many: y\r\n",
                1_000_000,
            ),
        ),
    ]
}

/// How often every bomb is thrown. Memory is counted in pages of 2 MiB here and there, so one more page is no sign; but
/// what a bomb costs, it costs every time.
const THROWS: usize = 3;
/// What a first time may cost all the same: buffers of the log, a thread.
const FIRST: u64 = 8 * MIB;

/// SF-11: whatever is sent, the server stops at its cap: it says no, soon, and takes less than 1 MiB for it.
pub(super) async fn sf_11(world: &World) -> Result<Judgement> {
    let mut judgement = Judgement::default();
    world.controls(&mut judgement).await?;
    let before_all = world.server.memory()?;
    let mut refused = Vec::new();
    for door in Door::ALL {
        for (what, bomb) in bombs(door) {
            let mut found = Judgement::default();
            let mut growths = Vec::new();
            for _ in 0..THROWS {
                let host = world.host("huge");
                world.peers.serve(&host, door.path(), bomb.clone());
                let url = format!("https://{host}{}", door.path());
                world.server.forget_peak()?;
                let before = world.server.memory()?;
                let tried = world.refused(&mut found, door, &url, Expect::Asked).await?;
                growths.push(world.server.peak_memory()?.saturating_sub(before));
                found.demand(tried.took() < Duration::from_secs(6), || {
                    format!("too late: {}", tried.describe())
                });
                refused.push(tried);
            }
            let (first, least) = (growths[0], growths.iter().copied().min().unwrap_or(u64::MAX));
            found.demand(first < FIRST && least < MIB, || {
                format!("bytes of memory that it costs: {growths:?}")
            });
            for fault in &mut found.faults {
                fault.insert_str(0, &format!("{what}: "));
            }
            judgement.absorb(found);
        }
    }
    let growth = world.server.memory()?.saturating_sub(before_all);
    judgement.demand(growth < 2 * FIRST, || {
        format!("{growth} bytes more memory after all of them")
    });
    world.judge_after(&mut judgement, &refused).await?;
    Ok(judgement)
}

/// P12: peers that are slow in every phase cost their own clients time and nobody else anything.
pub(super) async fn p12_slow(world: &World) -> Result<Judgement> {
    let mut judgement = Judgement::default();
    world.controls(&mut judgement).await?;
    let (memory, files) = (world.server.memory()?, world.server.open_files()?);
    let drip = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 9999\r\n\r\n{";
    let mut slow = Vec::new();
    for round in 0..8 {
        for door in Door::ALL {
            for what in [
                Serve::Silence,
                Serve::Drip(drip.to_vec(), Duration::from_millis(200)),
                Serve::Late(Duration::from_secs(20), b"{}".to_vec()),
            ] {
                let host = world.host("slow");
                world.peers.serve(&host, door.path(), what);
                slow.push((door, format!("https://{host}{}", door.path())));
            }
            // Somebody who never says hello: the port speaks no TLS and waits.
            slow.push((
                door,
                format!("https://{}:9090{}", world.host("mute"), door.path()),
            ));
            // Many for one host.
            let one = format!("crowded-{}.good.test", door.word());
            let path = format!("/{round}{}", door.path());
            world.peers.serve(&one, &path, Serve::Silence);
            slow.push((door, format!("https://{one}{path}")));
        }
    }
    let asking = join_all(
        slow.iter()
            .map(|(door, url)| async move { (url, world.ask(*door, url).await) }),
    );
    let others = async {
        let mut judgement = Judgement::default();
        for _ in 0..4 {
            tokio::time::sleep(Duration::from_millis(250)).await;
            for door in Door::ALL {
                judgement.input();
                let url = format!("https://{}{}", world.host("quick"), door.path());
                let began = Instant::now();
                let reply = world.ask(door, &url).await?.0;
                let is_through = [303, 400].contains(&reply.status) && reply.error() != "invalid_client";
                let took = began.elapsed();
                judgement.demand(is_through && took < Duration::from_secs(3), || {
                    format!(
                        "an honest client waits for the slow ones: {url} {} {took:?}",
                        reply.status
                    )
                });
            }
        }
        Ok::<_, anyhow::Error>((judgement, world.server.memory()?))
    };
    let (answers, others) = tokio::join!(asking, others);
    let (found, most) = others?;
    judgement.absorb(found);
    judgement.demand(most < memory + 24 * MIB, || {
        format!("memory grew from {memory} to {most} bytes")
    });
    for (url, answer) in answers {
        judgement.input();
        let reply = answer.with_context(|| format!("no answer for {url}"))?.0;
        judgement.demand([400, 401, 503, 504].contains(&reply.status), || {
            format!("{url}: {}", reply.status)
        });
        judgement.demand(reply.took < Duration::from_secs(8), || {
            format!("{url}: after {:?}", reply.took)
        });
    }
    let is_back = || world.server.open_files().is_ok_and(|now| now <= files + 4);
    let waited = world.until(Duration::from_secs(10), is_back).await;
    judgement.demand(waited.is_ok(), || {
        format!("{files} open files before, {:?} after", world.server.open_files())
    });
    world.judge_after(&mut judgement, &[]).await?;
    Ok(judgement)
}

/// How often each kind of address is asked in a round.
const TIMES: usize = 25;
/// How much the medians may differ.
const APART: Duration = Duration::from_millis(10);
/// Other programs run beside us: a difference that is the server's shows in every round.
const ROUNDS: usize = 3;

/// SF-17: a closed port, an open one, a filtered one and a web server at addresses of special use are answered with one
/// text, in one time. Nobody can look for ports through this server.
pub(super) async fn sf_17(world: &World) -> Result<Judgement> {
    let mut judgement = Judgement::default();
    world.controls(&mut judgement).await?;
    let filtered = Filtered::at("10.66.0.3:9777").await?;
    let kinds = [
        ("closed", "10.66.0.1", ":9999"),
        ("open", "10.66.0.2", ":8443"),
        ("filtered", "10.66.0.3", ":9777"),
        ("web server", "10.66.0.4", ""),
    ];
    for door in Door::ALL {
        let mut refused = Vec::new();
        let mut spread = Duration::MAX;
        for _ in 0..ROUNDS {
            let mut times = vec![Vec::new(); kinds.len()];
            for _ in 0..TIMES {
                for ((_, address, port), times) in kinds.iter().zip(&mut times) {
                    let host = world.host_with("probe", vec![Answer::of(&[address])]);
                    let url = format!("https://{host}{port}{}", door.path());
                    let tried = world.refused(&mut judgement, door, &url, Expect::Unasked).await?;
                    times.push(tried.took());
                    refused.push(tried);
                }
            }
            let medians: Vec<Duration> = times.iter_mut().map(|times| median(times)).collect();
            let (Some(least), Some(most)) = (medians.iter().min(), medians.iter().max()) else {
                continue;
            };
            spread = spread.min(most.saturating_sub(*least));
            if spread < APART {
                break;
            }
        }
        judgement.demand(spread < APART, || {
            format!("{door:?}: the medians are {spread:?} apart")
        });
        super::fetch_ssrf::one_text(&mut judgement, &refused);
        world.judge_after(&mut judgement, &refused[..1]).await?;
    }
    drop(filtered);
    Ok(judgement)
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// A port whose queue is full: whoever dials it hears nothing, as behind a packet filter.
struct Filtered {
    _listener: tokio::net::TcpListener,
    _inside: Vec<tokio::net::TcpStream>,
}

impl Filtered {
    async fn at(address: &str) -> Result<Self> {
        let address = address.parse()?;
        let socket = TcpSocket::new_v4()?;
        socket.bind(address)?;
        let listener = socket.listen(0)?;
        let mut inside = Vec::new();
        let is_full = loop {
            let dialling = tokio::net::TcpStream::connect(address);
            match tokio::time::timeout(Duration::from_millis(300), dialling).await {
                Ok(stream) if inside.len() < 8 => inside.push(stream?),
                Ok(_) => break false,
                Err(_) => break true,
            }
        };
        anyhow::ensure!(is_full, "the queue of a filtered port cannot be filled");
        Ok(Self {
            _listener: listener,
            _inside: inside,
        })
    }
}

/// SF-21: of a host that fails, little is asked for a while, by however many; then it is asked again.
pub(super) async fn sf_21(world: &World) -> Result<Judgement> {
    let mut judgement = Judgement::default();
    for door in Door::ALL {
        let host = world.host("failing");
        world.peers.serve(&host, door.path(), Serve::text(503, "", ""));
        let url = format!("https://{host}{}", door.path());
        let began = Instant::now();
        // One client by itself, and many that name the same address.
        for _ in 0..20 {
            let asking = join_all((0..10).map(|_| world.ask(door, &url)));
            for answer in asking.await {
                judgement.input();
                let status = answer?.0.status;
                judgement.demand([400, 503].contains(&status), || format!("{door:?}: {status}"));
            }
        }
        let hits = world.peers.hits(&host, door.path());
        let most = 1 + usize::try_from(began.elapsed().as_secs() / 5)?;
        judgement.demand((1..=most).contains(&hits), || {
            format!("{door:?}: asked {hits} times, at most {most}")
        });
        world.peers.serve_usual(&host, door.path());
        let recovering = Instant::now();
        let is_back = loop {
            let reply = world.ask(door, &url).await?.0;
            if reply.status == 303 || reply.error() == "invalid_grant" {
                break true;
            }
            if recovering.elapsed() > Duration::from_secs(60) {
                break false;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        };
        judgement.demand(is_back, || {
            format!("{door:?}: the host is well again, and not asked")
        });
    }
    // A set of keys whose host fails costs no other client anything.
    let visitor = world.visitor()?;
    let members = json!({ "jwks": {"keys": [world.key.public_jwk()]} });
    let id = door::register(&visitor, &members)
        .await?
        .map_err(|refusal| anyhow::anyhow!("{}", refusal.brief()))?;
    let good = door::assertion(&id, &world.key, &json!({}))?;
    let reply = door::show(&visitor, &id, &good).await?;
    judgement.demand(reply.error() == "invalid_grant", || reply.brief());
    Ok(judgement)
}
