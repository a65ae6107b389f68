//! What happens around every request: it gets a name, its caller's address is noted, a defect of ours ends it and nothing
//! else, and its answer says what every answer says.

use std::{any::Any, panic::AssertUnwindSafe, sync::Arc};

use axum::{
    body::Body,
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use futures_util::FutureExt as _;
use http::{HeaderValue, StatusCode, Version, header, uri::Authority};
use mcp_authflow::{ForwardingHeader, TrustedProxies, port::Clock as _};
use mcp_authflow_jose::ServerKey;
use mcp_authflow_types::{ErrorCode, ErrorResponse, Issuer};
use tracing::Instrument as _;

use super::{proxies::note_client_address, request_id::RequestIds};
use crate::{
    public_url::mark::{SEEN, Seen},
    system::SystemClock,
};

/// What is known around every request.
#[derive(Debug)]
pub(crate) struct Around {
    ids: RequestIds,
    proxies: TrustedProxies,
    forwarding: ForwardingHeader,
    is_https: bool,
    /// By which the server's own questions to its public address are recognised, where it asks any.
    key: Option<ServerKey>,
}

impl Around {
    /// `process` is random, so that nodes and restarts do not share names of requests.
    pub(crate) fn new(
        process: u32,
        proxies: TrustedProxies,
        forwarding: ForwardingHeader,
        issuer: &Issuer,
    ) -> Self {
        Self {
            ids: RequestIds::new(process),
            proxies,
            forwarding,
            is_https: issuer.is_https(),
            key: None,
        }
    }

    /// Answers what is seen of questions that the holder of this key asks the public address.
    pub(crate) fn answering_checks(mut self, key: ServerKey) -> Self {
        self.key = Some(key);
        self
    }

    fn seen(&self, request: &Request) -> Option<Seen> {
        let key = self.key.as_ref()?;
        Seen::of(
            request,
            key,
            &self.proxies,
            self.forwarding.name(),
            SystemClock.now(),
        )
    }
}

/// Handles a request from its first moment to its last. What a caller sends as a name for it is not taken: it would be its
/// words in our log.
pub(crate) async fn around(State(around): State<Arc<Around>>, mut request: Request, next: Next) -> Response {
    note_client_address(&around.proxies, around.forwarding, &mut request);
    let seen = around.seen(&request);
    let id = around.ids.next();
    request.extensions_mut().insert(id);
    let name = id.to_string();
    let span = tracing::info_span!("request", id = name);
    // The line for each request is written only where somebody asks for it.
    let told = tracing::enabled!(target: "http", tracing::Level::DEBUG)
        .then(|| (request.method().clone(), request.uri().path().to_owned()));

    let mut response = if is_for_one_host(&request) {
        let answered = AssertUnwindSafe(next.run(request))
            .catch_unwind()
            .instrument(span.clone())
            .await;
        answered.unwrap_or_else(|defect| span.in_scope(|| panicked(&*defect)))
    } else {
        refused(
            StatusCode::BAD_REQUEST,
            &ErrorResponse::invalid_request("the request names no host, or several"),
        )
    };

    if let Some((method, path)) = told {
        span.in_scope(|| {
            tracing::debug!(target: "http", %method, path, status = response.status().as_u16(), "answered");
        });
    }
    let headers = response.headers_mut();
    if let Ok(name) = HeaderValue::try_from(name) {
        headers.insert("x-request-id", name);
    }
    if let Some(seen) = seen.and_then(|seen| HeaderValue::try_from(seen.to_string()).ok()) {
        headers.insert(SEEN, seen);
    }
    if around.is_https {
        headers.insert(
            header::STRICT_TRANSPORT_SECURITY,
            HeaderValue::from_static("max-age=31536000"),
        );
    }
    response
}

/// RFC 9112 §3.2: "A server MUST respond with a 400 (Bad Request) status code to any HTTP/1.1 request message that lacks a
/// Host header field and to any request message that contains more than one Host header field line or a Host header field
/// with an invalid field value." Here no host is believed; but a proxy in front and a server behind may each believe another.
fn is_for_one_host(request: &Request) -> bool {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) => host
            .to_str()
            .ok()
            .and_then(|host| host.parse::<Authority>().ok())
            .is_some_and(|host| {
                let other = request
                    .uri()
                    .authority()
                    .filter(|_| request.version() == Version::HTTP_2);
                !host.host().is_empty()
                    && !host.as_str().contains('@')
                    // RFC 9113 §8.3.1: "A server SHOULD treat a request as malformed if it contains a Host header field
                    // that identifies an entity that differs from the entity in the ":authority" pseudo-header field."
                    && other.is_none_or(|other| *other == host)
            }),
        // Old probes of load balancers; and since HTTP/2 the host is a part of the address.
        (None, _) => request.version() != Version::HTTP_11,
        (Some(_), Some(_)) => false,
    }
}

/// A defect of ours ends one request, with the bland answer; what it was stands in the log.
fn panicked(defect: &(dyn Any + Send)) -> Response {
    let what = defect
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| defect.downcast_ref::<String>().map(String::as_str));
    tracing::error!(what, "a handler panicked");
    refused(
        StatusCode::INTERNAL_SERVER_ERROR,
        &ErrorResponse::new(ErrorCode::ServerError),
    )
}

fn refused(status: StatusCode, error: &ErrorResponse) -> Response {
    let mut response = Response::new(Body::from(error.body()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use axum::{Router, middleware, routing::get};
    use tower::ServiceExt as _;

    use super::*;

    /// F-10
    #[tokio::test]
    async fn a_handler_that_panics_ends_its_request_and_nothing_else() {
        let issuer = Issuer::parse("https://auth.example").unwrap();
        let state = Arc::new(Around::new(
            7,
            TrustedProxies::default(),
            ForwardingHeader::default(),
            &issuer,
        ));
        let app = Router::new()
            .route("/good", get(async || "good"))
            .route(
                "/bad",
                get(async || -> &'static str { panic!("a secret thought") }),
            )
            .layer(middleware::from_fn_with_state(state, around));
        let ask = async |path: &str| {
            app.clone()
                .oneshot(
                    Request::get(path)
                        .header("host", "auth.example")
                        .body(Body::empty())
                        .unwrap(),
                )
                .await
                .unwrap()
        };
        let bad = ask("/bad").await;
        assert_eq!(bad.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(bad.headers()["x-request-id"], "00000007-1");
        let body = axum::body::to_bytes(bad.into_body(), 1_000).await.unwrap();
        assert!(
            body.starts_with(b"{\"error\":\"server_error\"") && !body.windows(6).any(|six| six == b"secret")
        );
        let good = ask("/good").await;
        assert_eq!(good.status(), StatusCode::OK);
        assert_eq!(good.headers()["x-request-id"], "00000007-2");
        assert_eq!(good.headers()["strict-transport-security"], "max-age=31536000");
    }

    /// HH-01, RFC 9112 §3.2
    #[test]
    fn a_request_is_for_one_host() {
        let is = |version, hosts: &[&str]| {
            let request = hosts
                .iter()
                .fold(Request::get("/").version(version), |request, host| {
                    request.header("host", *host)
                });
            is_for_one_host(&request.body(Body::empty()).unwrap())
        };
        for good in [
            "auth.example",
            "auth.example:8443",
            "127.0.0.1:80",
            "[::1]:80",
            "a_b",
        ] {
            assert!(is(Version::HTTP_11, &[good]), "{good}");
        }
        for bad in [
            "", " ", "a@b", "a/b", "a b", "http://a", "a:b:c", "a?b", "a#b", ":80", "a\\b",
        ] {
            assert!(!is(Version::HTTP_11, &[bad]), "{bad}");
        }
        assert!(!is(Version::HTTP_11, &["a", "a"]) && !is(Version::HTTP_2, &["a", "a"]));
        assert!(!is(Version::HTTP_11, &[]));
        assert!(is(Version::HTTP_10, &[]) && is(Version::HTTP_2, &[]));
        for (host, expected) in [("a.example", true), ("A.EXAMPLE", true), ("b.example", false)] {
            let request = Request::get("https://a.example/")
                .version(Version::HTTP_2)
                .header("host", host);
            assert_eq!(
                is_for_one_host(&request.body(Body::empty()).unwrap()),
                expected,
                "{host}"
            );
        }
    }
}
