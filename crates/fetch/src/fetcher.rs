//! The order of a fetch: read the URL, look at the copy, and only then, once for all who ask, go out.

use std::{
    collections::HashMap,
    fmt, io,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rustls::{ClientConfig, RootCertStore, client::Resumption, crypto::aws_lc_rs, pki_types::CertificateDer};
use tokio::{
    sync::{OnceCell, Semaphore, watch},
    task::spawn_blocking,
    time::{Instant, timeout_at},
};

use crate::{
    Builder,
    cache::{Cache, Copy, Document, Freshness, Key, Limits, Step},
    clock::Clock,
    error::{FetchError, Unavailable},
    exchange::{Answer, ask, dial, secure},
    lifetime::Lifetime,
    policy::Policy,
    resolve::Resolver,
    target::{Host, Scheme, Target},
};

/// Fetches documents. Cheap to clone: all clones share copies and limits.
///
/// [`Fetcher::builder`] lists the settings; the defaults are made for URLs of strangers.
#[derive(Clone)]
pub struct Fetcher {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) policy: Policy,
    pub(crate) resolver: Resolver,
    pub(crate) clock: Clock,
    /// Certificates that are trusted beside the system's.
    pub(crate) extra_roots: Vec<CertificateDer<'static>>,
    /// Made at the first use of https; `None` when there is nobody to trust.
    pub(crate) tls: OnceCell<Option<Arc<ClientConfig>>>,
    pub(crate) deadline: Duration,
    pub(crate) overall: Semaphore,
    pub(crate) max_per_host: usize,
    /// The most fetches that run or wait for their turn.
    pub(crate) max_flights: usize,
    pub(crate) state: Mutex<State>,
}

pub(crate) struct State {
    cache: Cache,
    /// What is being fetched, for who asks for the same meanwhile.
    flights: HashMap<Arc<Key>, watch::Receiver<Option<Outcome>>>,
    /// The turns of each host that has a fetch on the way.
    hosts: HashMap<String, Arc<Semaphore>>,
}

impl State {
    pub(crate) fn new(cache: Cache) -> Self {
        Self {
            cache,
            flights: HashMap::new(),
            hosts: HashMap::new(),
        }
    }
}

/// How a fetch ended, the same for all who waited for it.
type Outcome = Result<Copy, FetchError>;

impl Fetcher {
    /// Begins a fetcher for URLs of strangers.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Gets the document at `url`: a copy where one may be used, else from its origin.
    ///
    /// Who asks for what is being fetched already waits for that fetch. A caller who stops waiting stops nobody else. In
    /// any case there is an answer within the deadline, 3 s unless set otherwise.
    ///
    /// # Errors
    /// [`FetchError`] says whether the URL, the moment or the document is bad. A failure is remembered for 10 s, and
    /// meanwhile answered without a fetch.
    pub async fn get(&self, url: &str, limits: Limits, freshness: Freshness) -> Result<Document, FetchError> {
        let target = Target::parse(url)?;
        self.inner.policy.admit(&target)?;
        let key = Arc::new(Key {
            url: url.into(),
            limits,
        });
        let mut flight = {
            let mut state = self.inner.lock();
            match state.cache.step(&key, freshness, self.inner.clock.now()) {
                Step::Use(document) => return Ok(document),
                Step::Fail(error) => return Err(error),
                Step::Fetch => match state.flights.get(&key) {
                    Some(flight) => flight.clone(),
                    None => self.begin(&mut state, &key, target, freshness)?,
                },
            }
        };
        let outcome = match flight.wait_for(Option::is_some).await {
            Ok(outcome) => outcome.clone(),
            Err(_) => None,
        };
        match outcome.unwrap_or(Err(Unavailable::GivenUp.into())) {
            Ok(copy) => Ok(Document {
                asked_ago: Duration::ZERO,
                ..copy.document(self.inner.clock.now())
            }),
            Err(error @ FetchError::Unavailable(_)) => {
                let now = self.inner.clock.now();
                self.inner
                    .lock()
                    .cache
                    .stand_in(&key, freshness, now)
                    .ok_or(error)
            }
            Err(error) => Err(error),
        }
    }

    /// Sends a fetch off, in a task of its own, so that it ends well whoever stops waiting for it.
    fn begin(
        &self,
        state: &mut State,
        key: &Arc<Key>,
        target: Target,
        freshness: Freshness,
    ) -> Result<watch::Receiver<Option<Outcome>>, FetchError> {
        if state.flights.len() >= self.inner.max_flights {
            return Err(Unavailable::Busy.into());
        }
        let (sender, receiver) = watch::channel(None);
        let host = target.host.to_string();
        let turns = Arc::clone(
            state
                .hosts
                .entry(host.clone())
                .or_insert_with(|| Arc::new(Semaphore::new(self.inner.max_per_host))),
        );
        state.flights.insert(Arc::clone(key), receiver.clone());
        let flight = Flight {
            inner: Arc::clone(&self.inner),
            key: Arc::clone(key),
            host,
            turns,
        };
        tokio::spawn(async move {
            let outcome = flight.run(&target, freshness).await;
            // The entry is written and the flight gone before anybody hears of it.
            drop(flight);
            sender.send_replace(Some(outcome));
        });
        Ok(receiver)
    }
}

impl fmt::Debug for Fetcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fetcher")
            .field("policy", &self.inner.policy)
            .field("deadline", &self.inner.deadline)
            .finish_non_exhaustive()
    }
}

/// A fetch on the way. However it ends, it takes itself off the lists.
struct Flight {
    inner: Arc<Inner>,
    key: Arc<Key>,
    host: String,
    turns: Arc<Semaphore>,
}

impl Flight {
    async fn run(&self, target: &Target, freshness: Freshness) -> Outcome {
        let deadline = Instant::now() + self.inner.deadline;
        // First the host's turn, then everybody's: who waits for a busy host holds nothing that others need.
        let turn = async {
            let host = self.turns.acquire().await;
            (host, self.inner.overall.acquire().await)
        };
        let Ok((Ok(_host), Ok(_overall))) = timeout_at(deadline, turn).await else {
            // Nothing was learnt about the URL, so nothing is remembered of it.
            return Err(Unavailable::Busy.into());
        };
        let asked_at = self.inner.clock.now();
        let answer = timeout_at(deadline, self.inner.fetch(target, self.key.limits)).await;
        let answer = answer.unwrap_or_else(|_| Err(Unavailable::TimedOut(self.inner.deadline).into()));
        let now = self.inner.clock.now();
        let mut state = self.inner.lock();
        match answer {
            Ok(answer) => {
                let lifetime = Lifetime::read(&answer.headers);
                let copy = Copy::new(
                    &answer.body,
                    lifetime,
                    self.key.limits,
                    asked_at,
                    state.cache.times(),
                );
                state.cache.keep(&self.key, copy.clone(), freshness, now);
                Ok(copy)
            }
            // Nobody was asked: that others were busy says nothing of this URL.
            Err(busy @ FetchError::Unavailable(Unavailable::Busy)) => Err(busy),
            Err(error) => {
                tracing::info!(host = self.host, %error, "a document was not fetched");
                state.cache.failed(&self.key, &error, now);
                Err(error)
            }
        }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        let mut state = self.inner.lock();
        state.flights.remove(&self.key);
        // Ours and the list's: nobody else has a fetch at this host. New ones come in only under this lock.
        if Arc::strong_count(&self.turns) == 2 {
            state.hosts.remove(&self.host);
        }
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Resolves, vets, dials, asks.
    async fn fetch(&self, target: &Target, limits: Limits) -> Result<Answer, FetchError> {
        let addresses = self.addresses(&target.host).await?;
        self.policy.vet(target, &addresses)?;
        // A third of the time, so that one silent address does not cost the document.
        let stream = dial(&addresses, target.port, self.deadline / 3).await?;
        match target.scheme {
            Scheme::Http => ask(stream, target, limits).await,
            Scheme::Https => {
                let tls = self.tls().await.ok_or(Unavailable::NoAuthorities)?;
                ask(secure(stream, tls, target).await?, target, limits).await
            }
        }
    }

    async fn addresses(&self, host: &Host) -> Result<Vec<IpAddr>, FetchError> {
        let name = match host {
            Host::Address(address) => return Ok(vec![*address]),
            Host::Name(name) => name,
        };
        match self.resolver.resolve(name).await {
            Ok(addresses) if addresses.is_empty() => Err(Unavailable::NoAddress("none".to_owned()).into()),
            Ok(addresses) => Ok(addresses),
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => Err(Unavailable::Busy.into()),
            Err(error) => Err(Unavailable::NoAddress(error.to_string()).into()),
        }
    }

    async fn tls(&self) -> Option<Arc<ClientConfig>> {
        let make = || async {
            let extra = self.extra_roots.clone();
            spawn_blocking(move || client_config(extra)).await.ok().flatten()
        };
        self.tls.get_or_init(make).await.clone()
    }
}

/// Trusts the system's authorities and the extra ones. Nothing is remembered between connections, and no certificate of
/// ours is shown.
fn client_config(extra: Vec<CertificateDer<'static>>) -> Option<Arc<ClientConfig>> {
    let system = rustls_native_certs::load_native_certs();
    for error in &system.errors {
        tracing::warn!(%error, "certificate authorities of the system cannot be read");
    }
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(system.certs.into_iter().chain(extra));
    if roots.is_empty() {
        return None;
    }
    let mut config = ClientConfig::builder_with_provider(aws_lc_rs::default_provider().into())
        .with_safe_default_protocol_versions()
        .ok()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Some(Arc::new(config))
}

#[cfg(test)]
impl Fetcher {
    /// How many fetches are on the way, and how many hosts have one.
    pub(crate) fn on_the_way(&self) -> (usize, usize) {
        let state = self.inner.lock();
        (state.flights.len(), state.hosts.len())
    }

    /// What a caller would get now.
    pub(crate) fn step(&self, url: &str, limits: Limits) -> Step {
        let key = Arc::new(Key {
            url: url.into(),
            limits,
        });
        let now = self.inner.clock.now();
        self.inner.lock().cache.step(&key, Freshness::Cached, now)
    }
}
