//! The fetch port on `mcp-authflow-fetch`.

use std::{net::SocketAddr, time::Duration};

use mcp_authflow::port::{DocumentKind, Fetch, FetchError, Fetched, Freshness};
use mcp_authflow_fetch as leash;
use mcp_authflow_types::Issuer;

/// By how much sooner a copy of client metadata ends here than in the store, which counts in whole seconds: what is past its
/// time there must not be put again from here.
const MARGIN: Duration = Duration::from_secs(2);

/// Fetches what clients point at, on a leash.
#[derive(Debug)]
pub(super) struct Outbound {
    fetcher: leash::Fetcher,
    metadata: leash::Limits,
}

impl Outbound {
    /// Fetches from the public internet, and from the networks that the operator opened. A server on loopback fetches
    /// from loopback too: its clients are there. It never asks itself.
    ///
    /// Its copies of client metadata live a little less than `metadata_age`, the shortest time that one counts: the store
    /// keeps the copy that counts.
    pub(super) fn new(
        issuer: &Issuer,
        listen: SocketAddr,
        networks: &[leash::Network],
        metadata_age: Duration,
    ) -> Self {
        Self {
            fetcher: on_a_leash(issuer, listen, networks).build(),
            metadata: leash::Limits {
                max_age: metadata_age.saturating_sub(MARGIN),
                ..leash::Limits::METADATA
            },
        }
    }
}

/// Begins a fetcher that asks the public internet and the networks that the operator opened, this computer too where the
/// server is on it alone, and never the server itself.
pub(crate) fn on_a_leash(issuer: &Issuer, listen: SocketAddr, networks: &[leash::Network]) -> leash::Builder {
    let mut builder = leash::Fetcher::builder().never_ask(issuer.origin());
    if issuer.is_loopback() {
        builder = builder.dangerous_allow_loopback();
    }
    for scheme in ["http", "https"] {
        for host in ["127.0.0.1", "[::1]", "localhost"] {
            builder = builder.never_ask(&format!("{scheme}://{host}:{}", listen.port()));
        }
    }
    for network in networks {
        builder = builder.dangerous_allow_network(*network);
    }
    builder
}

#[async_trait::async_trait]
impl Fetch for Outbound {
    async fn fetch(
        &self,
        url: &str,
        kind: DocumentKind,
        freshness: Freshness,
    ) -> Result<Fetched, FetchError> {
        let limits = match kind {
            DocumentKind::KeySet => leash::Limits::KEY_SET,
            DocumentKind::ClientMetadata => self.metadata,
            DocumentKind::Logo => leash::Limits::LOGO,
        };
        let freshness = match freshness {
            Freshness::Cached => leash::Freshness::Cached,
            Freshness::Refresh => leash::Freshness::Refresh,
        };
        let document = self
            .fetcher
            .get(url, limits, freshness)
            .await
            .map_err(as_the_port_says)?;
        Ok(Fetched {
            body: document.body,
            age: document.age,
            asked_ago: document.asked_ago,
            fresh_for: document.fresh_for,
            stale: document.stale,
        })
    }
}

fn as_the_port_says(error: leash::FetchError) -> FetchError {
    match error {
        leash::FetchError::Refused(why) => FetchError::Refused(why.to_string()),
        leash::FetchError::Unavailable(why @ leash::Unavailable::TimedOut(_)) => {
            FetchError::TimedOut(why.to_string())
        }
        leash::FetchError::Unavailable(why) => FetchError::Unavailable(why.to_string()),
        leash::FetchError::BadDocument(why) => FetchError::BadDocument(why.to_string()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use axum::{Router, routing::get};
    use http::header;

    use super::*;

    fn outbound(issuer: &str, listen: &str) -> Outbound {
        Outbound::new(
            &Issuer::parse(issuer).unwrap(),
            listen.parse().unwrap(),
            &[],
            Duration::from_secs(30),
        )
    }

    async fn fetch(outbound: &Outbound, url: &str) -> Result<Fetched, FetchError> {
        outbound.fetch(url, DocumentKind::KeySet, Freshness::Cached).await
    }

    fn is_refused(answer: &Result<Fetched, FetchError>) -> bool {
        matches!(answer, Err(FetchError::Refused(_)))
    }

    /// A server on loopback with a key set and something that is none.
    fn peer() -> u16 {
        let json = [(header::CONTENT_TYPE, "application/json")];
        let app = Router::new()
            .route("/jwks", get(async move || (json, r#"{"keys":[]}"#)))
            .route("/page", get(async || "keys"))
            .route(
                "/moved",
                get(async || axum::response::Redirect::temporary("/jwks")),
            )
            .route("/down", get(async || http::StatusCode::SERVICE_UNAVAILABLE));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = axum_server::from_tcp(listener).unwrap();
        tokio::spawn(server.serve(app.into_make_service()));
        port
    }

    /// SF-22
    #[tokio::test]
    async fn a_server_on_loopback_fetches_from_loopback_and_tells_the_kinds_of_trouble_apart() {
        let port = peer();
        let outbound = outbound("http://127.0.0.1:8000", "127.0.0.1:8000");
        let url = |path| format!("http://127.0.0.1:{port}/{path}");
        let keys = fetch(&outbound, &url("jwks")).await.unwrap();
        assert_eq!((&*keys.body, keys.stale), (&br#"{"keys":[]}"#[..], false));
        let again = fetch(&outbound, &url("jwks")).await.unwrap();
        assert!(std::sync::Arc::ptr_eq(&keys.body, &again.body));
        // SF-22: where a redirect leads to is nobody's registered address.
        for path in ["page", "moved"] {
            let answer = fetch(&outbound, &url(path)).await;
            assert!(
                matches!(answer, Err(FetchError::BadDocument(_))),
                "{path}: {answer:?}"
            );
        }
        let down = fetch(&outbound, &url("down")).await;
        assert!(matches!(down, Err(FetchError::Unavailable(_))), "{down:?}");
        assert!(is_refused(&fetch(&outbound, "https://10.0.0.5/jwks").await));
    }

    /// P9: whoever waits for a client's host is told that it was the time.
    #[test]
    fn what_did_not_come_in_time_is_said() {
        let late = leash::Unavailable::TimedOut(Duration::from_secs(5));
        assert!(matches!(as_the_port_says(late.into()), FetchError::TimedOut(_)));
        let busy = leash::Unavailable::Busy;
        assert!(matches!(
            as_the_port_says(busy.into()),
            FetchError::Unavailable(_)
        ));
    }

    /// SF-22
    #[tokio::test]
    async fn a_public_server_does_not_fetch_from_loopback() {
        let port = peer();
        let outbound = outbound("https://auth.example", "127.0.0.1:8000");
        for url in [
            "http://127.0.0.1",
            "https://127.0.0.1",
            "https://[::1]",
            "https://localhost",
        ] {
            let answer = fetch(&outbound, &format!("{url}:{port}/jwks")).await;
            assert!(is_refused(&answer), "{url}: {answer:?}");
        }
    }

    /// SF-20
    #[tokio::test]
    async fn a_server_does_not_ask_itself() {
        let port = peer();
        let local = outbound(&format!("http://localhost:{port}"), &format!("127.0.0.1:{port}"));
        for host in ["localhost", "127.0.0.1", "[::1]", "LOCALHOST"] {
            assert!(
                is_refused(&fetch(&local, &format!("http://{host}:{port}/jwks")).await),
                "{host}"
            );
        }
        let public = outbound("https://auth.example", "127.0.0.1:8000");
        assert!(is_refused(&fetch(&public, "https://auth.example/jwks").await));
    }
}
