//! Where a name leads: every address is looked at, and only those are dialled.

use std::{
    fmt, io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use mcp_authflow_types::special_use::{SpecialUse, special_use};
use tower_service::Service;

use super::{Host, SafeUrl};

/// Which addresses a name may lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reach {
    this_computer: bool,
    private_networks: bool,
    internet: bool,
}

impl Reach {
    pub(super) const NOWHERE: Self = Self {
        this_computer: false,
        private_networks: false,
        internet: false,
    };
    pub(super) const THIS_COMPUTER: Self = Self::NOWHERE.and_this_computer();
    pub(super) const INTERNET: Self = Self {
        internet: true,
        ..Self::NOWHERE
    };

    pub(super) const fn and_this_computer(mut self) -> Self {
        self.this_computer = true;
        self
    }

    pub(super) const fn and_private_networks(mut self) -> Self {
        self.private_networks = true;
        self
    }

    /// One bad address spoils the name: which one a connection gets is a matter of chance.
    fn vet(self, addresses: &[IpAddr]) -> Result<(), UnsafeAddress> {
        for address in addresses {
            let what = special_use(*address);
            let is_allowed = match what {
                None => self.internet,
                Some(SpecialUse::Loopback) => self.this_computer,
                Some(SpecialUse::Private | SpecialUse::Shared) => self.private_networks,
                Some(_) => false,
            };
            if !is_allowed {
                return Err(UnsafeAddress::Address(*address, what));
            }
        }
        Ok(())
    }
}

/// Why a name does not lead to where a call may go.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UnsafeAddress {
    /// The name has no address, or nobody could say.
    #[error("the host has no address: {0}")]
    Unknown(String),
    /// One of its addresses is not allowed: of another network than the name may lead to, or never called at all.
    #[error("the host leads to {0}, which is not allowed for it ({1:?})")]
    Address(IpAddr, Option<SpecialUse>),
    /// Another host than that of the URL.
    #[error("`{0}` is another host than the one that was checked")]
    OtherHost(String),
}

type Looking = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>>;

/// Looks a name up; the system's way, or a test's.
#[derive(Clone)]
pub(super) struct Lookup(Arc<dyn Fn(Name) -> Looking + Send + Sync>);

impl Lookup {
    fn system() -> Self {
        Self(Arc::new(|name| {
            Box::pin(async move {
                let found = GaiResolver::new().call(name).await?;
                Ok(found.map(|address| address.ip()).collect())
            })
        }))
    }
}

impl SafeUrl {
    /// Looks the host up, checks every address, and answers them with the port: connect to these, and to nothing that is
    /// looked up later. A literal address is answered as it is.
    ///
    /// # Errors
    /// [`UnsafeAddress`]
    pub async fn addresses(&self) -> Result<Vec<SocketAddr>, UnsafeAddress> {
        self.addresses_by(&Lookup::system()).await
    }

    async fn addresses_by(&self, lookup: &Lookup) -> Result<Vec<SocketAddr>, UnsafeAddress> {
        let name = match &self.host {
            // Judged when it was read.
            Host::Address(address) => return Ok(vec![SocketAddr::new(*address, self.port)]),
            Host::Name(name) => name,
        };
        let unknown = |error: &dyn fmt::Display| UnsafeAddress::Unknown(error.to_string());
        let name: Name = name.parse().map_err(|error| unknown(&error))?;
        let found = lookup.0(name).await.map_err(|error| unknown(&error))?;
        if found.is_empty() {
            return Err(unknown(&"none"));
        }
        self.reach.vet(&found)?;
        Ok(found
            .into_iter()
            .map(|address| SocketAddr::new(address, self.port))
            .collect())
    }

    /// A resolver for `HttpConnector::new_with_resolver` that knows this URL's host only, and hands out its addresses only
    /// when all of them are allowed.
    pub fn resolver(&self) -> CheckedResolver {
        CheckedResolver {
            url: Arc::new(self.clone()),
            lookup: Lookup::system(),
        }
    }
}

/// Resolves the host of one checked URL, on every connection anew, and nothing else; made by [`SafeUrl::resolver`].
#[derive(Clone)]
pub struct CheckedResolver {
    url: Arc<SafeUrl>,
    lookup: Lookup,
}

impl Service<Name> for CheckedResolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, io::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let Self { url, lookup } = self.clone();
        Box::pin(async move {
            let answer = if name.as_str().eq_ignore_ascii_case(&url.host()) {
                url.addresses_by(&lookup).await
            } else {
                Err(UnsafeAddress::OtherHost(name.to_string()))
            };
            let addresses = answer.map_err(|error| io::Error::new(io::ErrorKind::PermissionDenied, error))?;
            Ok(addresses.into_iter())
        })
    }
}

impl fmt::Debug for CheckedResolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CheckedResolver")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use std::sync::atomic::{AtomicUsize, Ordering};

    use hyper_util::client::legacy::connect::HttpConnector;

    use super::{super::UrlRules, *};

    /// Answers these addresses, one list after the other and then the last again.
    fn says(answers: &[&[&str]]) -> Lookup {
        let answers: Vec<Vec<IpAddr>> = answers
            .iter()
            .map(|answer| answer.iter().map(|address| address.parse().unwrap()).collect())
            .collect();
        let asked = AtomicUsize::new(0);
        Lookup(Arc::new(move |_| {
            let at = asked.fetch_add(1, Ordering::SeqCst).min(answers.len() - 1);
            let answer = answers[at].clone();
            Box::pin(async move { Ok(answer) })
        }))
    }

    async fn addresses(rules: UrlRules, url: &str, answer: &[&str]) -> Result<usize, UnsafeAddress> {
        let url = rules.check(url).unwrap();
        url.addresses_by(&says(&[answer]))
            .await
            .map(|addresses| addresses.len())
    }

    /// S-217, SF-03, SF-04
    #[tokio::test]
    async fn a_name_leads_only_to_the_network_that_it_is_for() {
        let rules = UrlRules::new();
        let inside = rules.with_private_addresses();
        let name = "https://as.example/";
        let service = "http://auth/";
        for (rules, url, good) in [
            (rules, name, &["8.8.8.8", "2606:4700::1"][..]),
            (inside, name, &["10.0.0.5", "8.8.8.8"]),
            (rules, service, &["10.0.0.5", "fd00::5"]),
            (rules, service, &["127.0.0.1"]),
            (rules, "http://localhost/", &["127.0.0.1", "::1"]),
            (rules, "http://10.0.0.5.svc.cluster.local/", &["100.64.0.7"]),
        ] {
            assert_eq!(
                addresses(rules, url, good).await,
                Ok(good.len()),
                "{url} {good:?}"
            );
        }
        for (rules, url, bad) in [
            (rules, name, "10.0.0.5"),
            (rules, name, "127.0.0.1"),
            (inside, name, "127.0.0.1"),
            (inside, name, "169.254.169.254"),
            (inside, name, "::ffff:10.0.0.5"),
            (inside, name, "0.0.0.0"),
            (rules, service, "8.8.8.8"),
            (rules, "http://metadata/", "169.254.169.254"),
            (rules.without_localhost(), service, "127.0.0.1"),
            (rules, "http://localhost/", "10.0.0.5"),
            (rules, "https://localhost./", "8.8.8.8"),
        ] {
            let refused = addresses(rules, url, &[bad]).await.unwrap_err();
            assert!(
                matches!(refused, UnsafeAddress::Address(..)),
                "{url} {bad}: {refused}"
            );
        }
        assert!(matches!(
            addresses(rules, name, &[]).await,
            Err(UnsafeAddress::Unknown(_))
        ));
    }

    /// SF-07
    #[tokio::test]
    async fn one_bad_address_spoils_the_name() {
        for bad in [
            "127.0.0.1",
            "::1",
            "::ffff:127.0.0.1",
            "0.0.0.0",
            "169.254.169.254",
        ] {
            for answer in [["8.8.8.8", bad], [bad, "8.8.8.8"]] {
                let refused = addresses(UrlRules::new(), "https://mixed.example/", &answer).await;
                let address: IpAddr = bad.parse().unwrap();
                assert_eq!(
                    refused,
                    Err(UnsafeAddress::Address(address, special_use(address)))
                );
            }
        }
    }

    /// S-217: a name that has another address a moment later is refused then.
    #[tokio::test]
    async fn the_addresses_that_are_checked_are_those_that_are_dialled() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let dial = |url: &str, lookup: Lookup| {
            let resolver = CheckedResolver {
                url: Arc::new(UrlRules::new().check(url).unwrap()),
                lookup,
            };
            let mut connector = HttpConnector::new_with_resolver(resolver);
            move |target: String| {
                let connecting = connector.call(target.parse().unwrap());
                async move { connecting.await.map(drop).map_err(|error| format!("{error:?}")) }
            }
        };
        let url = format!("http://auth:{port}/");
        let mut connect = dial(&url, says(&[&["127.0.0.1"], &["169.254.169.254"]]));
        assert_eq!(connect(url.clone()).await, Ok(()));
        let (_, from) = listener.accept().await.unwrap();
        assert!(from.ip().is_loopback());
        assert!(
            connect(url.clone())
                .await
                .unwrap_err()
                .contains("169.254.169.254")
        );
        let elsewhere = connect(format!("http://other:{port}/")).await.unwrap_err();
        assert!(elsewhere.contains("OtherHost"), "{elsewhere}");
    }

    #[tokio::test]
    async fn the_system_is_asked() {
        let url = UrlRules::new().check("http://localhost:8000/x").unwrap();
        let found = url.addresses().await.unwrap();
        assert!(
            found
                .iter()
                .all(|address| address.ip().is_loopback() && address.port() == 8000)
        );
        let literal = UrlRules::new().check("http://[::ffff:127.0.0.1]/").unwrap();
        assert_eq!(
            literal.addresses().await,
            Ok(vec!["127.0.0.1:80".parse().unwrap()])
        );
    }
}
