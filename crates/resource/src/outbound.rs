//! Questions to addresses that an operator wrote down: introspection endpoints, key sets, metadata of issuers.
//!
//! One pooled client for as long as whoever asks lives. A limit on the whole of a question, one on the length of its
//! answer and one on how many are open at a time; no redirect is followed, and no proxy is read from the environment
//! unless that was asked for. Addresses that come from strangers are not for here but for `mcp-authflow-fetch`.

use std::{
    error::Error,
    fmt,
    pin::Pin,
    sync::OnceLock,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper_rustls::{ConfigBuilderExt as _, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::{
        legacy::{
            Client,
            connect::{
                CaptureConnection, HttpConnector, capture_connection,
                dns::{GaiResolver, Name},
                proxy::Tunnel,
            },
        },
        proxy::matcher::Matcher,
    },
    rt::{TokioExecutor, TokioTimer},
};
use mcp_authflow_types::uri;
use rustls::{ClientConfig, crypto::aws_lc_rs};
use tokio::{sync::Semaphore, time::timeout};
use tower_service::Service;

use crate::{
    safe_url::{CheckedResolver, UrlRules},
    verify::CannotCheck,
};

/// Shorter than the idle times of servers and proxies (60 s and up), so that we are the one who closes.
const IDLE_CONNECTION: Duration = Duration::from_secs(30);

/// How far questions may go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboundSettings {
    /// How long one question may take in all: waiting for its turn, connecting, the answer's last byte. Default: 2 s, so
    /// that whoever waits for it gets an answer, even a bad one, within two seconds (P9).
    pub time_limit: Duration,
    /// The longest answer read, in bytes. Default: 64 KiB, what the server itself takes in a request; answers about a
    /// token have some 400 bytes.
    pub max_answer_bytes: usize,
    /// The most questions open at a time; more wait, within their time limit. Default: 128. Each holds a connection, and
    /// most of the 1,024 file descriptors that a process customarily has are for its callers.
    pub max_in_flight: usize,
    /// Whether https goes through the proxy that `HTTPS_PROXY` or `ALL_PROXY` name, apart from the hosts in `NO_PROXY`.
    /// Default: no. The proxy sees where to, and nothing of what is said.
    pub use_proxy_from_environment: bool,
    /// Whether plain http may go to names that only a cluster knows: one lower-case label such as `mcp-auth`, or anything
    /// below `.cluster.local`. Default: no.
    ///
    /// # Security
    /// Tokens and credentials travel in the clear then, and whoever answers for the name is believed.
    pub dangerous_allow_cluster_http: bool,
}

impl Default for OutboundSettings {
    fn default() -> Self {
        Self {
            time_limit: Duration::from_secs(2),
            max_answer_bytes: 64 * 1_024,
            max_in_flight: 128,
            use_proxy_from_environment: false,
            dangerous_allow_cluster_http: false,
        }
    }
}

/// An address that may be asked; [`Outbound::endpoint`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint(Uri);

impl Endpoint {
    /// The address, for a request to it.
    pub const fn uri(&self) -> &Uri {
        &self.0
    }
}

/// Why an address may not be asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidEndpoint {
    /// It is no URL, or one that is not to be dialled.
    #[error(
        "{0:?} is not to be asked: write an https URL with a host name and without a fragment; plain http is only for \
         127.0.0.1, [::1] and localhost, and for names inside a cluster only when dangerous_allow_cluster_http is set"
    )]
    Address(String),
    /// The system has no usable certificates of authorities.
    #[error(
        "no certificate authorities to verify the server with ({0}): install the system's (ca-certificates) or set \
         SSL_CERT_FILE"
    )]
    Certificates(String),
    /// The environment names a proxy that cannot be used.
    #[error(
        "the proxy {0} cannot be used: name one that speaks http, as in HTTPS_PROXY=http://proxy.example:3128"
    )]
    Proxy(String),
}

/// A client for addresses that an operator wrote down.
///
/// # Security
/// https is verified against the system's certificates (`SSL_CERT_FILE` and `SSL_CERT_DIR` name others), and nothing
/// switches that off. Plain http is for loopback only; see
/// [`dangerous_allow_cluster_http`](OutboundSettings::dangerous_allow_cluster_http).
pub struct Outbound {
    settings: OutboundSettings,
    http: Client<HttpConnector<InsideResolver>, Full<Bytes>>,
    /// Made for the first https address: a small container that only asks over loopback may have no certificates.
    https: OnceLock<Result<Https, InvalidEndpoint>>,
    in_flight: Semaphore,
}

#[derive(Clone)]
struct Https {
    direct: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    proxied: Option<Proxied>,
}

#[derive(Clone)]
struct Proxied {
    matcher: std::sync::Arc<Matcher>,
    client: Client<HttpsConnector<Tunnel<HttpConnector>>, Full<Bytes>>,
}

impl Outbound {
    /// Prepares to ask. Nothing is read and nothing dialled yet.
    pub fn new(settings: OutboundSettings) -> Self {
        Self {
            http: pooled().build(dial(InsideResolver)),
            https: OnceLock::new(),
            in_flight: Semaphore::new(settings.max_in_flight.clamp(1, Semaphore::MAX_PERMITS)),
            settings,
        }
    }

    /// The settings it was made with.
    pub const fn settings(&self) -> &OutboundSettings {
        &self.settings
    }

    /// Changes how long one question may take in all.
    #[must_use]
    pub const fn with_time_limit(mut self, limit: Duration) -> Self {
        self.settings.time_limit = limit;
        self
    }

    /// Judges an address, and makes sure that what is needed to ask there is at hand: to be called while a program
    /// starts, so that a mistake is found then and not by a caller.
    ///
    /// # Errors
    /// [`InvalidEndpoint`]
    pub fn endpoint(&self, url: &str) -> Result<Endpoint, InvalidEndpoint> {
        let no = || InvalidEndpoint::Address(url.to_owned());
        let scheme = scheme_to_dial(url, &self.settings).ok_or_else(no)?;
        let uri: Uri = url.parse().map_err(|_| no())?;
        if scheme == Scheme::Https {
            self.https().as_ref().map_err(Clone::clone)?;
        }
        Ok(Endpoint(uri))
    }

    /// Asks, and reads the whole answer, whatever its status is. Asks once more when a kept connection turns out to have
    /// been closed in the meantime, so the question has to be one that may be asked twice.
    ///
    /// # Errors
    /// [`CannotCheck`], logged.
    pub async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response<Bytes>, CannotCheck> {
        self.send_made(|| Ok(request.clone())).await
    }

    /// The same for a question that has to be made anew when it is asked again, such as one with a `jti`.
    ///
    /// # Errors
    /// [`CannotCheck`], logged, or what `make` said.
    pub async fn send_made(
        &self,
        make: impl Fn() -> Result<Request<Full<Bytes>>, CannotCheck> + Send + Sync,
    ) -> Result<Response<Bytes>, CannotCheck> {
        let limit = self.settings.time_limit;
        let mut connection = None;
        let outcome = timeout(limit, self.exchange(&make, &mut connection)).await;
        outcome.unwrap_or_else(|_| {
            // Whoever has no connection was not late with an answer (P9): a firewall that drops what is sent, a name
            // that nobody answers for, a turn that did not come.
            let is_asked =
                connection.is_some_and(|one: CaptureConnection| one.connection_metadata().is_some());
            if is_asked {
                tracing::warn!(?limit, "a question to another server was not answered in time");
                Err(CannotCheck::TimedOut)
            } else {
                tracing::warn!(
                    ?limit,
                    "a server that is to be asked could not be connected to in time"
                );
                Err(CannotCheck::Refused)
            }
        })
    }

    async fn exchange(
        &self,
        make: &(impl Fn() -> Result<Request<Full<Bytes>>, CannotCheck> + Send + Sync),
        connection: &mut Option<CaptureConnection>,
    ) -> Result<Response<Bytes>, CannotCheck> {
        // The semaphore is never closed; were it, we could not ask.
        let _turn = self.in_flight.acquire().await.map_err(|_| CannotCheck::Refused)?;
        let mut request = make()?;
        let endpoint = request.uri().clone();
        *connection = Some(capture_connection(&mut request));
        let mut outcome = self.ask(request).await;
        if outcome.as_ref().is_err_and(Trouble::may_be_a_stale_connection) {
            let mut request = make()?;
            *connection = Some(capture_connection(&mut request));
            outcome = self.ask(request).await;
        }
        let response = outcome.map_err(|trouble| {
            tracing::warn!(%endpoint, %trouble, "a server that is to be asked cannot be reached");
            CannotCheck::Refused
        })?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, self.settings.max_answer_bytes)
            .collect()
            .await
            .map_err(|error| {
                tracing::warn!(%endpoint, %error, "an answer is too long or broken off");
                CannotCheck::BadAnswer
            })?;
        Ok(Response::from_parts(head, body.to_bytes()))
    }

    async fn ask(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Trouble> {
        let uri = request.uri();
        // The address was judged when it became an `Endpoint`; a request to another one is not let out either.
        match scheme_to_dial(&uri.to_string(), &self.settings) {
            None => Err(Trouble::NotAllowed),
            Some(Scheme::Http) => self.http.request(request).await.map_err(Trouble::Client),
            Some(Scheme::Https) => {
                let https = self
                    .https()
                    .as_ref()
                    .map_err(|error| Trouble::Setup(error.clone()))?;
                match &https.proxied {
                    Some(proxied) if proxied.matcher.intercept(uri).is_some() => {
                        proxied.client.request(request).await.map_err(Trouble::Client)
                    }
                    _ => https.direct.request(request).await.map_err(Trouble::Client),
                }
            }
        }
    }

    fn https(&self) -> &Result<Https, InvalidEndpoint> {
        self.https.get_or_init(|| {
            let tls = tls()?;
            Ok(Https {
                proxied: if self.settings.use_proxy_from_environment {
                    proxied(&tls)?
                } else {
                    None
                },
                direct: pooled().build(https_over(tls, dial(GaiResolver::new()))),
            })
        })
    }
}

impl fmt::Debug for Outbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbound")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

/// What went wrong before there was an answer.
enum Trouble {
    NotAllowed,
    Setup(InvalidEndpoint),
    Client(hyper_util::client::legacy::Error),
}

impl Trouble {
    /// Where no connection could be made, none was stale.
    fn may_be_a_stale_connection(&self) -> bool {
        matches!(self, Self::Client(error) if !error.is_connect())
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAllowed => f.write_str("this address is not to be asked"),
            Self::Setup(error) => error.fmt(f),
            Self::Client(error) => {
                error.fmt(f)?;
                let mut cause = error.source();
                while let Some(error) = cause {
                    write!(f, ": {error}")?;
                    cause = error.source();
                }
                Ok(())
            }
        }
    }
}

fn pooled() -> hyper_util::client::legacy::Builder {
    let mut builder = Client::builder(TokioExecutor::new());
    builder
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE_CONNECTION);
    builder
}

fn dial<R>(resolver: R) -> HttpConnector<R> {
    let mut http = HttpConnector::new_with_resolver(resolver);
    http.enforce_http(false);
    http.set_nodelay(true);
    http
}

fn https_over<C>(tls: ClientConfig, connector: C) -> HttpsConnector<C> {
    HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_only()
        .enable_http1()
        .wrap_connector(connector)
}

fn tls() -> Result<ClientConfig, InvalidEndpoint> {
    let no_certificates = |error: &dyn fmt::Display| InvalidEndpoint::Certificates(error.to_string());
    Ok(
        ClientConfig::builder_with_provider(aws_lc_rs::default_provider().into())
            .with_safe_default_protocol_versions()
            .map_err(|error| no_certificates(&error))?
            .with_native_roots()
            .map_err(|error| no_certificates(&error))?
            .with_no_client_auth(),
    )
}

/// The client for what goes through the proxy that the environment names, if it names one. There is one for all https
/// addresses; a host that `NO_PROXY` leaves out is recognised question by question.
fn proxied(tls: &ClientConfig) -> Result<Option<Proxied>, InvalidEndpoint> {
    let matcher = Matcher::from_env();
    // A name that nobody lists in NO_PROXY.
    let anywhere = Uri::from_static("https://proxied.invalid/");
    let Some(proxy) = matcher.intercept(&anywhere) else {
        return Ok(None);
    };
    if proxy.uri().scheme_str() != Some("http") {
        return Err(InvalidEndpoint::Proxy(proxy.uri().to_string()));
    }
    let mut tunnel = Tunnel::new(proxy.uri().clone(), dial(GaiResolver::new()));
    if let Some(credentials) = proxy.basic_auth() {
        tunnel = tunnel.with_auth(credentials.clone());
    }
    Ok(Some(Proxied {
        matcher: matcher.into(),
        client: pooled().build(https_over(tls.clone(), tunnel)),
    }))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scheme {
    Http,
    Https,
}

/// Over what an address may be asked; `None` when it may not. On top of the rules of [`UrlRules`]: an address is spelled
/// strictly, a fragment is a mistake, and plain http beyond loopback has to be chosen.
fn scheme_to_dial(url: &str, settings: &OutboundSettings) -> Option<Scheme> {
    let uri = uri::Uri::parse(url).filter(|uri| uri.fragment.is_none())?;
    let authority = uri.authority?;
    UrlRules::new().check(url).ok()?;
    if uri.scheme.eq_ignore_ascii_case("https") {
        Some(Scheme::Https)
    } else {
        let may_be_plain = authority.is_loopback() || settings.dangerous_allow_cluster_http;
        may_be_plain.then_some(Scheme::Http)
    }
}

/// Looks up names for plain http: they lead to this computer or to a private network, or nowhere. What is meant for a
/// service next door does not go to the internet when the name means something else there.
#[derive(Clone)]
struct InsideResolver;

impl Service<Name> for InsideResolver {
    type Response = <CheckedResolver as Service<Name>>::Response;
    type Error = Box<dyn Error + Send + Sync>;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        Box::pin(async move {
            let url = UrlRules::new().check(&format!("http://{name}/"))?;
            Ok(url.resolver().call(name).await?)
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    fn scheme(url: &str, dangerous_allow_cluster_http: bool) -> Option<Scheme> {
        let settings = OutboundSettings {
            dangerous_allow_cluster_http,
            ..OutboundSettings::default()
        };
        scheme_to_dial(url, &settings)
    }

    /// S-222, S-229: the scheme is what it says in whichever case, and decides about TLS.
    #[test]
    fn plain_http_is_for_loopback_only() {
        for good in [
            "http://127.0.0.1:8000/introspect",
            "http://[::1]/i",
            "HTTP://localhost/i",
        ] {
            assert_eq!(scheme(good, false), Some(Scheme::Http), "{good}");
        }
        for good in [
            "https://auth.test/introspect?x=1",
            "hTTps://auth.test/i",
            "https://127.0.0.1/i",
            "https://auth/i",
        ] {
            assert_eq!(scheme(good, false), Some(Scheme::Https), "{good}");
        }
        for bad in [
            "http://auth.test/i",
            "http://mcp-auth:9000/i",
            "http://auth.ns.svc.cluster.local/i",
            "http://127.0.0.2/i",
            "http://10.0.0.1/i",
            "http://localhost.evil.test/i",
            "http://127.0.0.1@evil.test/i",
            "ftp://auth.test/i",
            "file:///etc/passwd",
            "https://auth.test/i#f",
            "https:///i",
            "/i",
            "",
        ] {
            assert_eq!(scheme(bad, false), None, "{bad}");
        }
    }

    /// S-224: an address in figures is not what an operator means by a server that certificates vouch for.
    #[test]
    fn an_address_in_figures_is_dialled_on_loopback_only() {
        for bad in [
            "https://169.254.169.254/i",
            "https://10.0.0.1/i",
            "https://8.8.8.8/i",
            "https://[2001:db8::1]/i",
            "https://[::ffff:10.0.0.1]/i",
            "https://2130706433/i",
            "https://0x7f000001/i",
            "https://127.1/i",
            "https://0177.0.0.1/i",
            "https://10.0.0.1./i",
            "https://a.0XA/i",
        ] {
            assert_eq!(scheme(bad, true), None, "{bad}");
        }
    }

    /// S-213, S-214
    #[test]
    fn names_inside_a_cluster_are_asked_in_plain_http_when_that_was_chosen() {
        for good in [
            "http://mcp-auth:9000/i",
            "http://auth2/i",
            "http://auth.ns.svc.cluster.local/i",
        ] {
            assert_eq!(scheme(good, true), Some(Scheme::Http), "{good}");
        }
        for bad in [
            "http://auth.test/i",
            "http://-auth/i",
            "http://auth-/i",
            "http://2130706433/i",
            "http://.cluster.local/i",
            "http://cluster.local/i",
            "http://x.cluster.local.evil.test/i",
        ] {
            assert_eq!(scheme(bad, true), None, "{bad}");
        }
    }

    #[tokio::test]
    async fn a_request_to_another_address_is_not_let_out() {
        let request = Request::get("http://auth.test/keys")
            .body(Full::default())
            .unwrap();
        let outbound = Outbound::new(OutboundSettings::default());
        assert_eq!(outbound.send(request).await.unwrap_err(), CannotCheck::Refused);
    }
}
