//! Names to addresses.

use std::{
    collections::HashMap,
    fmt, io,
    net::{IpAddr, ToSocketAddrs as _},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::task::spawn_blocking;

/// The system's resolver can hold a thread for many seconds, whatever deadline its caller has. The threads are the
/// runtime's (512), and the database needs some of them.
const MAX_LOOKUPS: usize = 32;
/// How many of them names of one domain may hold: whoever answers for it answers as slowly as he likes.
const MAX_LOOKUPS_PER_DOMAIN: usize = 4;

pub(crate) type Resolving = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>>;

/// Looks names up; the system's way, or a test's.
#[derive(Clone)]
pub(crate) struct Resolver(Arc<dyn Fn(&str) -> Resolving + Send + Sync>);

impl Resolver {
    pub(crate) fn new(resolve: impl Fn(&str) -> Resolving + Send + Sync + 'static) -> Self {
        Self(Arc::new(resolve))
    }

    /// Asks the system (`getaddrinfo`).
    pub(crate) fn system() -> Self {
        Self::blocking(|name| {
            let addresses = (name, 0).to_socket_addrs()?;
            Ok(addresses.map(|address| address.ip()).collect())
        })
    }

    /// Looks names up on threads, which a look-up holds for as long as it likes. When there is none for a name, the error is
    /// of the kind [`io::ErrorKind::ResourceBusy`].
    fn blocking(lookup: impl Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync + 'static) -> Self {
        let lookup = Arc::new(lookup);
        let turns = Arc::new(Turns::default());
        Self::new(move |name| {
            let turn = Turns::take(&turns, name);
            let lookup = Arc::clone(&lookup);
            let name = name.to_owned();
            Box::pin(async move {
                let turn = turn.ok_or(io::ErrorKind::ResourceBusy)?;
                let lookup = spawn_blocking(move || {
                    // Held until the thread is free again, not until the caller gives up.
                    let _turn = turn;
                    lookup(&name)
                });
                lookup.await.map_err(io::Error::other)?
            })
        })
    }

    pub(crate) async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        (self.0)(name).await
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Resolver")
    }
}

/// The look-ups on the way, by domain.
#[derive(Default)]
struct Turns(Mutex<HashMap<String, usize>>);

/// A look-up that may be made.
struct Turn {
    turns: Arc<Turns>,
    domain: String,
}

impl Turns {
    fn take(turns: &Arc<Self>, name: &str) -> Option<Turn> {
        let domain = domain_of(name).to_owned();
        let mut by_domain = turns.by_domain();
        if by_domain.values().sum::<usize>() >= MAX_LOOKUPS {
            return None;
        }
        let running = by_domain.entry(domain.clone()).or_default();
        if *running >= MAX_LOOKUPS_PER_DOMAIN {
            return None;
        }
        *running += 1;
        drop(by_domain);
        let turns = Arc::clone(turns);
        Some(Turn { turns, domain })
    }

    fn by_domain(&self) -> MutexGuard<'_, HashMap<String, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut by_domain = self.turns.by_domain();
        if let Some(running) = by_domain.get_mut(&self.domain) {
            *running -= 1;
            if *running == 0 {
                by_domain.remove(&self.domain);
            }
        }
    }
}

/// The last two labels: one owner's domain, or many owners' under a suffix of two, who then share what there is.
fn domain_of(name: &str) -> &str {
    let mut dots = name.rmatch_indices('.').map(|(at, _)| at);
    match dots.nth(1) {
        Some(at) => &name[at + 1..],
        None => name,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use std::{
        sync::{Condvar, Mutex, PoisonError},
        time::Duration,
    };

    use super::*;

    /// Names under `slow.test` take until the gate is opened.
    #[derive(Default)]
    struct Gate {
        is_open: Mutex<bool>,
        opened: Condvar,
    }

    impl Gate {
        fn pass(&self) {
            let is_open = self.is_open.lock().unwrap_or_else(PoisonError::into_inner);
            let wait = self
                .opened
                .wait_timeout_while(is_open, Duration::from_secs(60), |open| !*open);
            drop(wait.unwrap_or_else(PoisonError::into_inner));
        }

        fn open(&self) {
            *self.is_open.lock().unwrap_or_else(PoisonError::into_inner) = true;
            self.opened.notify_all();
        }
    }

    /// P12: whoever answers for a domain of his own answers as slowly as he likes, for as many names as he likes.
    #[tokio::test]
    async fn names_of_a_slow_domain_hold_up_no_other() {
        let gate = Arc::new(Gate::default());
        let resolver = {
            let gate = Arc::clone(&gate);
            Resolver::blocking(move |name| {
                if name.ends_with(".slow.test") {
                    gate.pass();
                }
                Ok(vec![IpAddr::from([192, 0, 2, 1])])
            })
        };
        let mut slow = Vec::new();
        for number in 0..2 * MAX_LOOKUPS {
            let resolver = resolver.clone();
            let name = format!("n{number}.slow.test");
            slow.push(tokio::spawn(async move { resolver.resolve(&name).await }));
            tokio::task::yield_now().await;
        }
        let good = resolver.resolve("keys.good.test").await;
        gate.open();
        assert_eq!(good.unwrap(), [IpAddr::from([192, 0, 2, 1])]);
        let mut looked_up = 0;
        for lookup in slow {
            match lookup.await.unwrap() {
                Ok(_) => looked_up += 1,
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::ResourceBusy),
            }
        }
        assert_eq!(looked_up, MAX_LOOKUPS_PER_DOMAIN);
        resolver.resolve("n1.slow.test").await.unwrap();
    }

    /// However many domains there are, the database has its threads.
    #[test]
    fn what_is_looked_up_at_once_is_bounded_and_comes_back() {
        let turns = Arc::new(Turns::default());
        let take = |number: usize| Turns::take(&turns, &format!("a.b.c{number}.test"));
        let held: Vec<_> = (0..100).filter_map(take).collect();
        assert_eq!(held.len(), MAX_LOOKUPS);
        drop(held);
        assert!(take(100).is_some() && turns.by_domain().is_empty());
    }

    #[test]
    fn a_domain_is_the_last_two_labels() {
        for (name, domain) in [
            ("c.test", "c.test"),
            ("a.b.c.test", "c.test"),
            ("localhost", "localhost"),
        ] {
            assert_eq!(domain_of(name), domain);
        }
    }
}
