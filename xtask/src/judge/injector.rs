//! A reverse proxy on loopback that adds a bearer token, for a client that cannot.
//!
//! It changes nothing else: bodies flow through in both directions, and what names this proxy (`Host`, `Origin`) names the
//! server behind when it arrives there.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result};
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use http::header::{AUTHORIZATION, CONNECTION, HOST, HeaderName, ORIGIN};
use http::uri::{Authority, Scheme};
use http::{HeaderValue, StatusCode, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// The open proxy; it closes when this value is dropped.
#[derive(Debug)]
pub(super) struct Injector {
    /// The URL that stands for the server's.
    pub(super) url: String,
    answers: Answers,
    task: JoinHandle<()>,
}

/// How often each status was answered, to whom: a request that names this machine, or one that names another.
#[derive(Clone, Debug, Default)]
struct Answers(Arc<Mutex<BTreeMap<(Named, u16), usize>>>);

/// What `Host` and `Origin` of a request name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Named {
    /// This machine.
    Loopback,
    /// Some other machine, as after a DNS rebinding.
    Elsewhere,
}

#[derive(Clone)]
struct Route {
    own: String,
    front: Authority,
    token: Option<HeaderValue>,
    client: Client<HttpConnector, Body>,
    answers: Answers,
}

impl Injector {
    /// Opens a proxy to the server at `url`; without a token it only passes on.
    pub(super) async fn open(url: &str, token: Option<&str>) -> Result<Self> {
        let target: Uri = url.parse()?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .context("no port for the proxy")?;
        let own = listener.local_addr()?.to_string();
        let answers = Answers::default();
        let token = token.map(|token| HeaderValue::try_from(format!("Bearer {token}")));
        let route = Route {
            own: own.clone(),
            front: target.authority().context("no authority")?.clone(),
            token: token.transpose()?,
            // No pool: a connection that the server closed meanwhile must not be mistaken for an answer.
            client: Client::builder(TokioExecutor::new())
                .pool_max_idle_per_host(0)
                .build_http(),
            answers: answers.clone(),
        };
        let app = Router::new().fallback(pass_on).with_state(route);
        let task = tokio::spawn(async move {
            // It ends with the listener only, and then nobody asks any more.
            let _ = axum::serve(listener, app).await;
        });
        Ok(Self {
            url: format!("http://{own}{}", target.path()),
            answers,
            task,
        })
    }

    /// How often each status was answered.
    pub(super) fn answers(&self) -> BTreeMap<(Named, u16), usize> {
        self.answers
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Drop for Injector {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pass_on(State(route): State<Route>, mut request: Request) -> Response {
    let named = names(&request, HOST).max(names(&request, ORIGIN));
    let response = match rewrite(&route, &mut request) {
        Ok(()) => match route.client.request(request).await {
            Ok(response) => response.map(Body::new),
            Err(error) => (StatusCode::BAD_GATEWAY, error.to_string()).into_response(),
        },
        Err(error) => (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
    };
    let mut answers = route.answers.0.lock().unwrap_or_else(PoisonError::into_inner);
    *answers.entry((named, response.status().as_u16())).or_default() += 1;
    response
}

/// What this header names; one that is absent names nobody else.
fn names(request: &Request, header: HeaderName) -> Named {
    let Some(value) = request.headers().get(header) else {
        return Named::Loopback;
    };
    let text = value.to_str().unwrap_or_default();
    let host = text.rsplit_once("//").map_or(text, |(_, host)| host);
    let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
    match host {
        "127.0.0.1" | "localhost" | "[::1]" => Named::Loopback,
        _ => Named::Elsewhere,
    }
}

fn rewrite(route: &Route, request: &mut Request) -> Result<()> {
    let mut parts = request.uri().clone().into_parts();
    parts.scheme = Some(Scheme::HTTP);
    parts.authority = Some(route.front.clone());
    *request.uri_mut() = Uri::from_parts(parts)?;
    let headers = request.headers_mut();
    headers.remove(CONNECTION);
    for name in [HOST, ORIGIN] {
        let Some(text) = headers.get(&name).and_then(|value| value.to_str().ok()) else {
            continue;
        };
        let text = text.replace(&route.own, route.front.as_str());
        headers.insert(name, HeaderValue::try_from(text)?);
    }
    if let Some(token) = &route.token {
        headers.insert(AUTHORIZATION, token.clone());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_foreign_host_and_a_foreign_origin_are_told_from_our_own() {
        let request = |name, value: &str| {
            let request = Request::builder().header::<HeaderName, _>(name, value);
            request.body(Body::empty()).unwrap()
        };
        for (name, value, named) in [
            (HOST, "127.0.0.1:8000", Named::Loopback),
            (HOST, "localhost", Named::Loopback),
            (ORIGIN, "http://localhost:3000", Named::Loopback),
            (HOST, "evil.example.com", Named::Elsewhere),
            (ORIGIN, "http://evil.example.com:80", Named::Elsewhere),
            (ORIGIN, "null", Named::Elsewhere),
        ] {
            assert_eq!(names(&request(name.clone(), value), name), named, "{value}");
        }
    }
}
