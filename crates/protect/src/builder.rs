//! What is passed on, and to whom: the settings of a [`Proxy`].

use std::{fmt, net::IpAddr, net::SocketAddr, sync::Arc, time::Duration};

use axum::extract::ConnectInfo;
use http::{Extensions, HeaderMap, HeaderName, HeaderValue, Uri};

use crate::{
    IdentitySigner, Proxy, Upstream,
    http::{self as over_http, HttpUpstream},
    proxy::{Settings, Way},
    stdio::StdioUpstream,
    upstream::{Endpoint, Kind},
};

/// How a connection to the upstream may take: its server runs, or it does not.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// How long a tool may think. Models and builds take minutes; clients give up by themselves, mostly after one to five.
const HEAD_WITHIN: Duration = Duration::from_secs(10 * 60);

/// Collects settings; made by [`Proxy::builder`].
#[must_use]
pub struct Builder {
    upstream: Upstream,
    path: String,
    public_origin: Option<String>,
    identity: Option<Arc<dyn IdentitySigner>>,
    audience: Option<String>,
    connect_within: Duration,
    head_within: Option<Duration>,
    headers: Vec<(String, String)>,
    root_certificates: Vec<Vec<u8>>,
    client_address: ClientAddress,
    may_be_plain: bool,
}

pub(crate) type ClientAddress = Arc<dyn Fn(&Extensions) -> Option<IpAddr> + Send + Sync>;

impl Builder {
    pub(crate) fn new(upstream: Upstream) -> Self {
        Self {
            upstream,
            path: "/mcp".to_owned(),
            public_origin: None,
            identity: None,
            audience: None,
            connect_within: CONNECT_WITHIN,
            head_within: Some(HEAD_WITHIN),
            headers: Vec::new(),
            root_certificates: Vec::new(),
            client_address: Arc::new(|extensions| {
                let peer = extensions.get::<ConnectInfo<SocketAddr>>();
                peer.map(|ConnectInfo(peer)| peer.ip())
            }),
            may_be_plain: false,
        }
    }

    /// The path of the endpoint on *our* side; default `/mcp`. A request for it goes to the upstream's URL, one for a
    /// path below it to the same path below the upstream's. Requests must reach the proxy under their full path.
    pub fn path(mut self, path: impl Into<String>) -> Self {
        self.path = path.into();
        self
    }

    /// Under which origin clients see us (`https://mcp.example`), for `X-Forwarded-Proto` and `X-Forwarded-Host`.
    /// Without it neither is sent.
    pub fn public_origin(mut self, origin: impl Into<String>) -> Self {
        self.public_origin = Some(origin.into());
        self
    }

    /// Tells the upstream who is calling; by default it is told nothing. See [`identity`](crate::identity).
    pub fn identity(mut self, signer: Arc<dyn IdentitySigner>) -> Self {
        self.identity = Some(signer);
        self
    }

    /// For whom identities are meant (`aud`). Default: the upstream's URL without its query, or `stdio:` and the name of
    /// the program.
    pub fn identity_audience(mut self, audience: impl Into<String>) -> Self {
        self.audience = Some(audience.into());
        self
    }

    /// How long a connection, TLS included, may take; default 5 s.
    pub fn connect_within(mut self, limit: Duration) -> Self {
        self.connect_within = limit;
        self
    }

    /// How long a request may wait for the head of its answer; default 10 minutes, `None` for ever. A GET, which opens a
    /// stream that may begin with silence, always waits as long as the client does. Over stdio it is the time in which
    /// the child must answer.
    pub fn answer_within(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.head_within = limit.into();
        self
    }

    /// A header that every request to the upstream gets, in place of the client's: an API key of *ours*, say.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Trusts the certificates in this PEM text for the upstream, besides those that the system trusts.
    pub fn root_certificates(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.root_certificates.push(pem.into());
        self
    }

    /// How to find out the client's address, for `X-Forwarded-For`. Default: axum's `ConnectInfo<SocketAddr>`. What the
    /// client says of it in headers is never believed.
    pub fn client_address(
        mut self,
        find: impl Fn(&Extensions) -> Option<IpAddr> + Send + Sync + 'static,
    ) -> Self {
        self.client_address = Arc::new(find);
        self
    }

    /// Lets an upstream in plain http be anywhere.
    ///
    /// # Security
    /// Whoever is on the way reads and changes every call and answer.
    pub fn dangerous_allow_plain_http(mut self) -> Self {
        self.may_be_plain = true;
        self
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// [`InvalidProxy`]. The upstream need not be up.
    pub fn build(self) -> Result<Proxy, InvalidProxy> {
        let path = public_path(&self.path)?;
        let (proto, host) = match self.public_origin.as_deref().map(origin).transpose()? {
            Some((proto, host)) => (Some(proto), Some(host)),
            None => (None, None),
        };
        let headers = fixed_headers(&self.headers)?;
        let (way, audience) = match self.upstream.kind {
            Kind::Http(url) => {
                let endpoint = Endpoint::parse(&url, self.may_be_plain)?;
                let audience = endpoint.shown();
                let settings = over_http::Settings {
                    endpoint,
                    connect_within: self.connect_within,
                    head_within: self.head_within,
                    headers,
                    root_certificates: self.root_certificates,
                    forwarded_proto: proto,
                    forwarded_host: host,
                    client_address: self.client_address,
                };
                (Way::Http(Box::new(HttpUpstream::new(settings)?)), audience)
            }
            Kind::Command(command) => {
                let upstream = StdioUpstream::new(command, self.head_within)?;
                let audience = upstream.audience();
                (Way::Stdio(upstream), audience)
            }
        };
        Ok(Proxy::new(Settings {
            path,
            way,
            identity: self.identity,
            audience: self.audience.unwrap_or(audience),
        }))
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("path", &self.path)
            .field("public_origin", &self.public_origin)
            .finish_non_exhaustive()
    }
}

/// Why a proxy cannot be made of its settings.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidProxy {
    /// The upstream's URL cannot be used.
    #[error("the upstream {url} cannot be used: {why}")]
    Url {
        /// Without its query.
        url: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The upstream would be reached over the open internet in plain http.
    #[error("the upstream {0} is not on this machine or in a private network: use https")]
    PlainHttp(String),
    /// The path on our side cannot be used.
    #[error(
        "the path {0:?} cannot be used: it begins with a slash and has no query, escape or empty segment"
    )]
    Path(String),
    /// The public origin is none.
    #[error("{0:?} is no origin, as https://mcp.example is one")]
    Origin(String),
    /// A header for the upstream cannot be sent; the value is not shown.
    #[error(
        "the header {0:?} cannot be sent to the upstream: it has a bad name or value, or is managed here"
    )]
    Header(String),
    /// The root certificates are none.
    #[error("the root certificates cannot be used: {0}")]
    RootCertificates(String),
    /// The program of a stdio server is not named.
    #[error("the command of the upstream is empty")]
    NoCommand,
}

/// A path that is compared as it stands; `/` means the root.
fn public_path(path: &str) -> Result<String, InvalidProxy> {
    let trimmed = path.trim_end_matches('/');
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte);
    let is_good = (trimmed.is_empty() || trimmed.starts_with('/'))
        && !path.is_empty()
        && trimmed.bytes().all(is_plain)
        && !trimmed
            .split('/')
            .skip(1)
            .any(|segment| ["", ".", ".."].contains(&segment));
    if is_good {
        Ok(trimmed.to_owned())
    } else {
        Err(InvalidProxy::Path(path.to_owned()))
    }
}

fn origin(origin: &str) -> Result<(HeaderValue, HeaderValue), InvalidProxy> {
    let invalid = || InvalidProxy::Origin(origin.to_owned());
    let uri: Uri = origin.parse().map_err(|_| invalid())?;
    let has_path = uri.path() != "/" || uri.query().is_some();
    match (uri.scheme_str(), uri.authority()) {
        (Some(scheme @ ("https" | "http")), Some(authority)) if !has_path => Ok((
            HeaderValue::try_from(scheme).map_err(|_| invalid())?,
            HeaderValue::try_from(authority.as_str()).map_err(|_| invalid())?,
        )),
        _ => Err(invalid()),
    }
}

fn fixed_headers(pairs: &[(String, String)]) -> Result<HeaderMap, InvalidProxy> {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        let invalid = || InvalidProxy::Header(name.clone());
        let parsed = HeaderName::try_from(name.as_str()).map_err(|_| invalid())?;
        let mut value = HeaderValue::try_from(value.as_str()).map_err(|_| invalid())?;
        if over_http::is_managed(&parsed) {
            return Err(invalid());
        }
        value.set_sensitive(true);
        headers.append(parsed, value);
    }
    Ok(headers)
}
