//! The settings of a fetcher, with defaults for URLs of strangers.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use tokio::sync::{OnceCell, Semaphore};

use crate::{
    cache::{Cache, Times},
    clock::Clock,
    fetcher::{Fetcher, Inner, State},
    network::Network,
    policy::Policy,
    resolve::Resolver,
    target::Target,
};

/// How many fetches may wait for their turn for each one that runs.
const WAITING_PER_RUNNING: usize = 4;

/// The settings of a fetcher; [`Fetcher::builder`] begins one.
///
/// ```
/// use std::time::Duration;
/// use mcp_authflow_fetch::Fetcher;
///
/// let fetcher = Fetcher::builder()
///     .deadline(Duration::from_secs(2))
///     .never_ask("https://auth.example")
///     .dangerous_allow_network("10.20.0.0/16".parse()?)
///     .build();
/// # Ok::<(), mcp_authflow_fetch::InvalidNetwork>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "nothing is fetched before `build`"]
pub struct Builder {
    policy: Policy,
    resolver: Option<Resolver>,
    clock: Option<Clock>,
    extra_roots: Vec<CertificateDer<'static>>,
    deadline: Duration,
    max_concurrent: usize,
    max_per_host: usize,
    max_entries: usize,
    max_cached_bytes: usize,
    times: Times,
}

/// The text holds no certificate, or a broken one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no certificate authority in PEM form")]
pub struct InvalidCertificates;

impl Default for Builder {
    fn default() -> Self {
        Self {
            policy: Policy::default(),
            resolver: None,
            clock: None,
            extra_roots: Vec::new(),
            deadline: Duration::from_secs(3),
            max_concurrent: 64,
            max_per_host: 4,
            max_entries: 1_024,
            max_cached_bytes: 16 * 1_024 * 1_024,
            times: Times {
                default_age: Duration::from_secs(300),
                min_age: Duration::from_secs(30),
                pause: Duration::from_secs(10),
                refresh_interval: Duration::from_secs(30),
                last_good: Duration::ZERO,
            },
        }
    }
}

impl Builder {
    /// How long a fetch may take in all: its turn, the look-up, connecting, TLS, head and body. Default: 3 s.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// How many fetches run at a time, in all and to one host. Default: 64 and 4. More wait for their turn within their
    /// deadline, at most four for each one that runs.
    pub fn max_concurrent(mut self, in_all: usize, per_host: usize) -> Self {
        self.max_concurrent = in_all.clamp(1, Semaphore::MAX_PERMITS);
        self.max_per_host = per_host.clamp(1, Semaphore::MAX_PERMITS);
        self
    }

    /// How much is remembered: URLs, and bytes in all. Default: 1,024 and 16 MiB. What was used longest ago goes first.
    pub fn cache(mut self, max_urls: usize, max_bytes: usize) -> Self {
        self.max_entries = max_urls;
        self.max_cached_bytes = max_bytes;
        self
    }

    /// How long nothing is asked of a URL after a failure. Default: 10 s.
    pub fn pause_after_failure(mut self, pause: Duration) -> Self {
        self.times.pause = pause;
        self
    }

    /// How long after a forced refresh no other one is made. Default: 30 s.
    pub fn refresh_interval(mut self, interval: Duration) -> Self {
        self.times.refresh_interval = interval;
        self
    }

    /// How long a copy whose time is over stands in when its origin cannot be asked. Default: not at all. It never does
    /// where its origin forbids it (`must-revalidate` and its kin, RFC 9111 §4.2.4), or where the origin answered with
    /// something else.
    ///
    /// # Security
    /// By as much longer a withdrawn key is good for whoever can keep the server from asking.
    pub fn keep_last_good(mut self, time: Duration) -> Self {
        self.times.last_good = time;
        self
    }

    /// Asks these hosts only, each a whole name or address. Default: any. Adds up.
    pub fn only_hosts<T: AsRef<str>>(mut self, hosts: impl IntoIterator<Item = T>) -> Self {
        let hosts = hosts.into_iter().map(|host| {
            let host = host.as_ref();
            let inside = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
            inside.unwrap_or(host).to_ascii_lowercase()
        });
        self.policy.only_hosts.get_or_insert_default().extend(hosts);
        self
    }

    /// Never asks this origin, such as `https://auth.example`: the server's own, so that nobody makes it ask itself. Adds
    /// up. What is no http or https URL has no effect.
    pub fn never_ask(mut self, origin: &str) -> Self {
        if let Ok(target) = Target::parse(origin) {
            self.policy.own_origins.push((target.host, target.port));
        }
        self
    }

    /// Trusts these certificate authorities (PEM, one or several) beside the system's, for hosts of a private network.
    ///
    /// The system's are read at the first use of https; `SSL_CERT_FILE` and `SSL_CERT_DIR` name others.
    ///
    /// # Errors
    /// [`InvalidCertificates`] when there is none in it, or a broken one.
    pub fn trust_also(mut self, pem: &str) -> Result<Self, InvalidCertificates> {
        let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem.as_bytes())
            .collect::<Result<_, _>>()
            .map_err(|_| InvalidCertificates)?;
        let mut roots = rustls::RootCertStore::empty();
        for certificate in &certificates {
            roots.add(certificate.clone()).map_err(|_| InvalidCertificates)?;
        }
        if roots.is_empty() {
            return Err(InvalidCertificates);
        }
        self.extra_roots.extend(certificates);
        Ok(self)
    }

    /// Lets URLs whose host is spelled `127.0.0.1`, `[::1]` or `localhost` be asked, by plain http too.
    ///
    /// # Security
    /// Whoever chooses URLs can then reach every port of this computer above 1023, and 80 and 443. It is for servers that
    /// are themselves only on this computer, and for tests. Other names that lead here stay refused.
    pub fn dangerous_allow_loopback(mut self) -> Self {
        self.policy.allows_loopback = true;
        self
    }

    /// Lets addresses of this network be dialled although they are not of the public internet, by https. Adds up.
    ///
    /// Where clouds keep the credentials of a machine stays closed, unless that very address is named alone.
    ///
    /// # Security
    /// Whoever chooses URLs can then reach every https server of that network.
    pub fn dangerous_allow_network(mut self, network: Network) -> Self {
        self.policy.networks.push(network);
        self
    }

    #[cfg(test)]
    pub(crate) fn resolver(mut self, resolver: Resolver) -> Self {
        self.resolver = Some(resolver);
        self
    }

    #[cfg(test)]
    pub(crate) fn clock(mut self, clock: Clock) -> Self {
        self.clock = Some(clock);
        self
    }

    /// The fetcher. Nothing is dialled or read yet.
    pub fn build(self) -> Fetcher {
        let cache = Cache::new(self.max_entries, self.max_cached_bytes, self.times);
        Fetcher {
            inner: Arc::new(Inner {
                policy: self.policy,
                resolver: self.resolver.unwrap_or_else(Resolver::system),
                clock: self.clock.unwrap_or_else(Clock::system),
                extra_roots: self.extra_roots,
                tls: OnceCell::new(),
                deadline: self.deadline,
                overall: Semaphore::new(self.max_concurrent),
                max_per_host: self.max_per_host,
                max_flights: self.max_concurrent.saturating_mul(1 + WAITING_PER_RUNNING),
                state: Mutex::new(State::new(cache)),
            }),
        }
    }
}
