//! A closed loop: every connection sends, waits for the answer, and sends again.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpSocket;
use tokio::task::JoinSet;

use super::operation::Requests;

/// The CPU clock counts in hundredths of a second, so a measurement takes at least this long.
const SHORTEST: Duration = Duration::from_secs(2);
/// What cannot make its requests in this time is measured over fewer.
const LONGEST: Duration = Duration::from_secs(10);
/// Requests of each connection before the clock starts: connections, caches, prepared statements.
const WARM_UP: usize = 50;

/// What a measurement found.
#[derive(Clone, Debug, Default)]
pub(super) struct Outcome {
    pub(super) count: usize,
    pub(super) took: Duration,
    /// Answers other than 200, and what the last of them said.
    pub(super) refused: usize,
    pub(super) complaint: String,
    /// In order, the shortest first.
    pub(super) latencies_ns: Vec<u32>,
}

impl Outcome {
    /// The latency that `percent` of the requests stayed below.
    pub(super) fn percentile(&self, percent: usize) -> Duration {
        let index = (self.latencies_ns.len() * percent / 100).min(self.latencies_ns.len().saturating_sub(1));
        let nanos = self.latencies_ns.get(index).copied().unwrap_or_default();
        Duration::from_nanos(u64::from(nanos))
    }

    /// Requests a second.
    pub(super) fn rate(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "a count of requests is far below 2^52")]
        let count = self.count as f64;
        count / self.took.as_secs_f64()
    }
}

/// Connections that are open and warm.
pub(super) struct Load {
    connections: Vec<Connection>,
}

impl Load {
    /// Opens a connection for each request maker and warms it up.
    pub(super) async fn open(address: SocketAddr, makers: Vec<Requests>) -> Result<Self> {
        let mut connections = Vec::with_capacity(makers.len());
        for (number, maker) in (1..).zip(makers) {
            connections.push(Connection::open(address, number, maker).await?);
        }
        let mut warm = JoinSet::new();
        for mut connection in connections {
            warm.spawn(async move {
                for _ in 0..WARM_UP {
                    connection.exchange().await?;
                }
                anyhow::Ok(connection)
            });
        }
        let connections = warm.join_all().await.into_iter().collect::<Result<_>>()?;
        Ok(Self { connections })
    }

    /// Sends until `wanted` requests are through and the shortest time is over, or the longest is.
    pub(super) async fn run(self, wanted: usize) -> Result<Outcome> {
        let each = wanted.div_ceil(self.connections.len().max(1));
        let start = Instant::now();
        let mut tasks = JoinSet::new();
        for mut connection in self.connections {
            tasks.spawn(async move {
                let mut part = Outcome::default();
                loop {
                    let asked = Instant::now();
                    let elapsed = asked - start;
                    if elapsed >= LONGEST || (part.count >= each && elapsed >= SHORTEST) {
                        return anyhow::Ok(part);
                    }
                    if let Some(complaint) = connection.exchange().await? {
                        part.refused += 1;
                        part.complaint = complaint;
                    }
                    part.count += 1;
                    let nanos = u32::try_from(asked.elapsed().as_nanos()).unwrap_or(u32::MAX);
                    part.latencies_ns.push(nanos);
                }
            });
        }
        let mut whole = Outcome::default();
        for part in tasks.join_all().await {
            let part = part?;
            whole.count += part.count;
            whole.refused += part.refused;
            whole.latencies_ns.extend(part.latencies_ns);
            if !part.complaint.is_empty() {
                whole.complaint = part.complaint;
            }
        }
        whole.took = start.elapsed();
        whole.latencies_ns.sort_unstable();
        Ok(whole)
    }
}

/// One kept-alive HTTP/1.1 connection.
struct Connection {
    sender: SendRequest<Full<Bytes>>,
    requests: Requests,
}

impl Connection {
    async fn open(address: SocketAddr, number: u8, requests: Requests) -> Result<Self> {
        // An address of its own, so that limits per address see as many callers as there are.
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::from((Ipv4Addr::new(127, 0, 2, number), 0)))?;
        let stream = socket
            .connect(address)
            .await
            .context("the server does not accept")?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Self { sender, requests })
    }

    /// One request and its answer; what the answer says if it is not 200.
    async fn exchange(&mut self) -> Result<Option<String>> {
        self.sender.ready().await?;
        let response = self.sender.send_request(self.requests.make()?).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        if status.is_success() {
            self.requests.learn(&body)?;
            return Ok(None);
        }
        Ok(Some(format!("{status} {}", String::from_utf8_lossy(&body))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_read_from_the_sorted_latencies() {
        let outcome = Outcome {
            count: 100,
            took: Duration::from_secs(2),
            latencies_ns: (1..=100).collect(),
            ..Outcome::default()
        };
        assert_eq!(outcome.percentile(50), Duration::from_nanos(51));
        assert_eq!(outcome.percentile(99), Duration::from_nanos(100));
        assert_eq!(Outcome::default().percentile(99), Duration::ZERO);
        assert!((outcome.rate() - 50.0).abs() < 1e-9);
    }
}
