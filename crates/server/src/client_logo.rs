//! Logos of clients: fetched by the server, never by the browser.
//!
//! A page that loaded a logo from where its client keeps it would tell that host who looks at which consent page, from
//! where, and when (M-172). So the server fetches it, on the leash of everything that strangers point at, keeps it, and
//! serves it under an address of its own. Only pictures made of pixels are taken; SVG can hold scripts.
//!
//! Nobody makes the server fetch who has no business with the client: a logo is served to somebody who is signed in, or to
//! a browser in which a request of that very client waits for an answer.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Path, Request, State},
    response::{IntoResponse as _, Response},
    routing::get,
};
use http::{HeaderName, HeaderValue, StatusCode, header, request::Parts};
use mcp_authflow::{
    AuthorizationServer,
    port::{AccountStore, store::StoreError},
    record::{Client, ClientOrigin, InteractionId},
};
use mcp_authflow_axum::BrowserCookie;
use mcp_authflow_fetch::{Fetcher, Freshness, Limits, RasterImage};
use mcp_authflow_types::{ClientId, Form};

use crate::{config::Config, wire::on_a_leash};

/// How long nothing is asked of a host that did not give its logo. It is a picture; nobody waits for it.
const PAUSE: Duration = Duration::from_secs(600);
/// How long a logo stands in whose host is down.
const LAST_GOOD: Duration = Duration::from_secs(7 * 86_400);
/// How many logos are kept, and how many bytes of them.
const KEPT: (usize, usize) = (512, 8 * 1_024 * 1_024);
/// How many are fetched at a time, in all and from one host: they never stand in the way of a sign-in.
const AT_ONCE: (usize, usize) = (8, 2);

/// What every answer says: it is a picture for this browser, whatever its bytes look like.
const HEADERS: [(HeaderName, HeaderValue); 5] = [
    (
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    ),
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; sandbox"),
    ),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        HeaderValue::from_static("same-origin"),
    ),
    (
        header::CACHE_CONTROL,
        HeaderValue::from_static("private, max-age=3600"),
    ),
];

/// The logos, and what is needed to tell who may see them. Cheap to clone.
#[derive(Clone)]
pub(crate) struct ClientLogos {
    inner: Arc<Inner>,
}

struct Inner {
    server: AuthorizationServer,
    accounts: Arc<dyn AccountStore>,
    fetcher: Fetcher,
    cookie: BrowserCookie,
    idle: Duration,
}

impl ClientLogos {
    pub(crate) fn new(config: &Config, server: AuthorizationServer, accounts: Arc<dyn AccountStore>) -> Self {
        let fetcher = on_a_leash(&config.issuer, config.listen, &config.fetch_networks)
            .max_concurrent(AT_ONCE.0, AT_ONCE.1)
            .cache(KEPT.0, KEPT.1)
            .pause_after_failure(PAUSE)
            .keep_last_good(LAST_GOOD)
            .build();
        Self {
            inner: Arc::new(Inner {
                cookie: BrowserCookie::of(&config.issuer),
                server,
                accounts,
                fetcher,
                idle: config.sessions.idle,
            }),
        }
    }

    /// The route: `/ui/client-logo/{client id, percent-encoded}`.
    pub(crate) fn router(self) -> Router {
        let base = self.inner.server.settings().issuer.path();
        let path = format!("{base}/ui/client-logo/{{client_id}}");
        Router::new().route(&path, get(logo)).with_state(self)
    }

    /// The logo of a client, for whoever may see it.
    async fn find(&self, client_id: &str, parts: &Parts) -> Result<Option<(RasterImage, Bytes)>, StoreError> {
        let Ok(client_id) = ClientId::parse(client_id) else {
            return Ok(None);
        };
        if !self.may_see(&client_id, parts).await? {
            return Ok(None);
        }
        let store = &self.inner.server.ports().store;
        let client = store.load_client(&client_id).await?;
        let Some((client, url)) = client
            .as_deref()
            .and_then(|client| Some((client, self.address(client)?)))
        else {
            return Ok(None);
        };
        if !self.inner.server.is_host_let_in(client).await? {
            return Ok(None);
        }
        match self.inner.fetcher.get(url, Limits::LOGO, Freshness::Cached).await {
            Ok(document) => {
                // The fetcher has looked already; what cannot be named is not served.
                Ok(RasterImage::of(&document.body).map(|image| (image, Bytes::from_owner(document.body))))
            }
            Err(error) => {
                tracing::debug!(%client_id, %error, "a logo is not shown");
                Ok(None)
            }
        }
    }

    /// Where the client's logo is, if it is one that pages show.
    fn address<'a>(&self, client: &'a Client) -> Option<&'a str> {
        // A picture is as easily borrowed as a name, so nobody has one who has nothing else.
        let counts = client.profile.origin != ClientOrigin::Registration;
        let is_current = client.is_current(self.inner.server.ports().clock.now());
        client
            .profile
            .logo_uri
            .as_deref()
            .filter(|_| counts && is_current)
    }

    async fn may_see(&self, client_id: &ClientId, parts: &Parts) -> Result<bool, StoreError> {
        let Some(browser) = self.inner.cookie.read(&parts.headers).map(|secret| secret.hash()) else {
            return Ok(false);
        };
        let now = self.inner.server.ports().clock.now();
        // The request that waits in this browser, where nobody may be signed in yet.
        let query = Form::parse(parts.uri.query().unwrap_or_default().as_bytes()).unwrap_or_default();
        if let Some(id) = query.value("interaction").and_then(InteractionId::parse) {
            let store = &self.inner.server.ports().store;
            let waiting = store.load_interaction(id, &browser, now).await?;
            if waiting.is_some_and(|waiting| waiting.client_id == *client_id) {
                return Ok(true);
            }
        }
        let session = self.inner.accounts.load_session(&browser).await?;
        Ok(session.is_some_and(|(session, _)| session.is_current(now, self.inner.idle)))
    }
}

async fn logo(State(logos): State<ClientLogos>, Path(client_id): Path<String>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    match logos.find(&client_id, &parts).await {
        Ok(Some((image, bytes))) => {
            let mut response = Response::new(Body::from(bytes));
            let headers = response.headers_mut();
            headers.extend(HEADERS);
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(image.media_type()));
            response
        }
        // Why there is none is nobody's business outside.
        Ok(None) => nothing(StatusCode::NOT_FOUND),
        Err(error) => {
            tracing::error!(%error, "the store cannot be asked");
            nothing(StatusCode::SERVICE_UNAVAILABLE)
        }
    }
}

fn nothing(status: StatusCode) -> Response {
    let no_store = HeaderValue::from_static("no-store");
    (status, [(header::CACHE_CONTROL, no_store)]).into_response()
}
