//! Connections to the upstream: opened when needed, kept for the next request, and never trusted with a request twice.
//!
//! **Retries.** A connection that was kept may have been closed by the upstream meanwhile. A request that waits for such
//! a connection and of which no byte was written is sent over another one; that is all. Once a byte may have left, a
//! failure is told to the client, who alone knows whether the call may be made again.
//!
//! **Lanes.** The streams of HTTP/2 share a connection, and servers allow about a hundred; MCP streams live for hours. So
//! the exchanges with an upstream over TLS are spread over lanes, each with connections of its own and fewer streams than
//! any server's limit; else the hundred-and-first listener would stop every call.

use std::{
    error::Error as StdError,
    fmt,
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use http::{Request, Response, Uri, uri::Scheme};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, pem::PemObject as _},
};
use tower_service::Service;

use super::body::Outgoing;
use crate::{builder::InvalidProxy, trouble::Trouble, upstream::Endpoint};

/// How long an unused connection is kept. Node's http module and uvicorn close theirs after 5 s; a request that meets the
/// closing is lost for its client.
const KEEP_UNUSED: Duration = Duration::from_secs(3);
/// When the system asks whether the other side of a silent connection still exists, and how often it asks.
const PROBE_AFTER: Duration = Duration::from_secs(60);
const PROBES: u32 = 4;
/// The most headers of an answer, and the most bytes of its head.
const MAX_HEADERS: usize = 128;
const MAX_HEAD_BYTES: usize = 64 * 1_024;
/// The streams of a lane; RFC 9113 §6.5.2 advises servers to allow no fewer than 100.
const STREAMS_PER_LANE: usize = 64;
const MAX_LANES: usize = 64;
/// What may wait unread in a stream of HTTP/2. All the streams of a lane together fit into its connection's window, so that
/// clients who do not read stop nobody else.
const STREAM_WINDOW: u32 = 128 * 1_024;
const CONNECTION_WINDOW: u32 = 16 * 1_024 * 1_024;

type Http = legacy::Client<WithinTime<HttpsConnector<HttpConnector>>, Outgoing>;

pub(crate) struct Client {
    connector: WithinTime<HttpsConnector<HttpConnector>>,
    lanes: Mutex<Vec<Lane>>,
    streams_per_lane: usize,
}

struct Lane {
    http: Http,
    open: Arc<AtomicUsize>,
}

/// A place in a lane; held for as long as the exchange lasts.
#[derive(Debug)]
pub(crate) struct Stream {
    open: Arc<AtomicUsize>,
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Client {
    pub(crate) fn new(
        endpoint: &Endpoint,
        connect_within: Duration,
        root_certificates: &[Vec<u8>],
    ) -> Result<Self, InvalidProxy> {
        let is_tls = endpoint.scheme == Scheme::HTTPS;
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(PROBE_AFTER));
        tcp.set_keepalive_interval(Some(PROBE_AFTER));
        tcp.set_keepalive_retries(Some(PROBES));
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls(is_tls, root_certificates)?)
            .https_or_http()
            .enable_http1()
            .enable_http2()
            .wrap_connector(tcp);
        Ok(Self {
            connector: WithinTime {
                inner: connector,
                limit: connect_within,
            },
            lanes: Mutex::default(),
            streams_per_lane: if is_tls { STREAMS_PER_LANE } else { usize::MAX },
        })
    }

    /// Sends the request and waits for the head of the answer. Dropped, it ends the exchange.
    pub(crate) async fn send(
        &self,
        request: Request<Outgoing>,
    ) -> Result<(Response<hyper::body::Incoming>, Stream), Trouble> {
        let (http, stream) = self.lane();
        match http.request(request).await {
            Ok(response) => Ok((response, stream)),
            Err(error) => Err(trouble(&error)),
        }
    }

    fn lane(&self) -> (Http, Stream) {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        let with_room = lanes
            .iter()
            .position(|lane| lane.open.load(Ordering::Relaxed) < self.streams_per_lane);
        let index = match with_room {
            Some(index) => index,
            None if lanes.len() < MAX_LANES => {
                lanes.push(Lane {
                    http: self.open_lane(),
                    open: Arc::default(),
                });
                lanes.len() - 1
            }
            None => {
                let fullest_last = |index: &usize| lanes[*index].open.load(Ordering::Relaxed);
                (0..lanes.len()).min_by_key(fullest_last).unwrap_or_default()
            }
        };
        let lane = &lanes[index];
        lane.open.fetch_add(1, Ordering::Relaxed);
        let stream = Stream {
            open: Arc::clone(&lane.open),
        };
        (lane.http.clone(), stream)
    }

    fn open_lane(&self) -> Http {
        legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            .pool_idle_timeout(KEEP_UNUSED)
            .pool_max_idle_per_host(32)
            // Only what was never written goes over another connection; see the head of the file.
            .retry_canceled_requests(true)
            .http1_max_headers(MAX_HEADERS)
            .http1_max_buf_size(MAX_HEAD_BYTES)
            .http2_initial_stream_window_size(STREAM_WINDOW)
            .http2_initial_connection_window_size(CONNECTION_WINDOW)
            .http2_max_header_list_size(u32::try_from(MAX_HEAD_BYTES).unwrap_or(u32::MAX))
            .http2_keep_alive_interval(Duration::from_secs(30))
            .http2_keep_alive_timeout(Duration::from_secs(20))
            .build(self.connector.clone())
    }
}

/// Certificates: the system's and the operator's.
fn tls(is_needed: bool, root_certificates: &[Vec<u8>]) -> Result<ClientConfig, InvalidProxy> {
    let invalid = |error: &dyn fmt::Display| InvalidProxy::RootCertificates(error.to_string());
    let mut roots = RootCertStore::empty();
    for pem in root_certificates {
        let before = roots.len();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|error| invalid(&error))?;
            roots.add(certificate).map_err(|error| invalid(&error))?;
        }
        if roots.len() == before {
            return Err(invalid(&"there is no certificate in the PEM text"));
        }
    }
    if is_needed {
        let system = rustls_native_certs::load_native_certs();
        for error in &system.errors {
            tracing::warn!(%error, "a certificate store of the system cannot be read");
        }
        roots.add_parsable_certificates(system.certs);
    }
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| invalid(&error))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

/// A connector that does not wait for ever, for TLS neither.
#[derive(Clone)]
struct WithinTime<C> {
    inner: C,
    limit: Duration,
}

#[derive(Debug, thiserror::Error)]
#[error("no connection within the time for it")]
struct ConnectTimedOut;

type Boxed = Box<dyn StdError + Send + Sync>;

impl<C> Service<Uri> for WithinTime<C>
where
    C: Service<Uri>,
    C::Future: Send + 'static,
    C::Error: Into<Boxed>,
{
    type Response = C::Response;
    type Error = Boxed;
    type Future = Pin<Box<dyn Future<Output = Result<C::Response, Boxed>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Boxed>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = tokio::time::timeout(self.limit, self.inner.call(uri));
        Box::pin(async move {
            match connecting.await {
                Ok(connected) => connected.map_err(Into::into),
                Err(_) => Err(ConnectTimedOut.into()),
            }
        })
    }
}

fn trouble(error: &legacy::Error) -> Trouble {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        if cause.is::<ConnectTimedOut>() {
            return Trouble::ConnectTimedOut;
        }
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    if error.is_connect() {
        Trouble::NotReached(text)
    } else {
        Trouble::Broken(text)
    }
}
