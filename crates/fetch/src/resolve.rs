//! Names to addresses.

use std::{
    fmt, io,
    net::{IpAddr, ToSocketAddrs as _},
    pin::Pin,
    sync::Arc,
};

use tokio::{sync::Semaphore, task::spawn_blocking};

/// The system's resolver can hold a thread for many seconds, whatever deadline its caller has. The threads are the
/// runtime's (512), and the database needs some of them.
const MAX_LOOKUPS: usize = 32;

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
        let lookups = Arc::new(Semaphore::new(MAX_LOOKUPS));
        Self::new(move |name| {
            let permit = Arc::clone(&lookups).try_acquire_owned();
            let name = name.to_owned();
            Box::pin(async move {
                let permit = permit.map_err(|_| io::Error::other("too many names are being looked up"))?;
                let lookup = spawn_blocking(move || {
                    // Held until the thread is free again, not until the caller gives up.
                    let _permit = permit;
                    let addresses = (name.as_str(), 0).to_socket_addrs()?;
                    Ok(addresses.map(|address| address.ip()).collect())
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
