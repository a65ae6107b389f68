//! An upstream that speaks HTTP: streamable HTTP, or the older HTTP with SSE (2024-11-05).
//!
//! | file | what |
//! |---|---|
//! | `client` | connections to the upstream, as many as its protocol needs |
//! | `request_head` | what of a request's head is passed on, and what is said instead |
//! | `response_head` | what of an answer's head is passed back |
//! | `body` | bodies, frame by frame, both ways |
//! | `endpoint_event` | the first event of the older transport, which names the URL to post to |
//! | `later_endpoint` | the events after it, which name none |
//! | `sessions` | whose that URL is |
//!
//! A request's way:
//! 1. What is no MCP request is refused.
//! 2. The URL is made from the operator's and what stands below our endpoint, or from a session of the older transport.
//! 3. The head is cleaned, and the body goes along as it arrives.
//! 4. The answer's head is cleaned, and its body goes back as it arrives. A client that leaves ends the exchange with the
//!    upstream at once: its connection is closed, or its HTTP/2 stream reset.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use axum::body::Body;
use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, header, request::Parts,
    uri::PathAndQuery,
};

use crate::{
    builder::{ClientAddress, InvalidProxy},
    owner::Owner,
    proxy::Admitted,
    trouble::Trouble,
    upstream::Endpoint,
};

mod body;
mod client;
mod endpoint_event;
mod later_endpoint;
mod request_head;
mod response_head;
mod sessions;

pub(crate) use request_head::is_managed;

use body::{Incoming, Outgoing};
use client::Client;
use endpoint_event::EndpointEvent;
use sessions::Sessions;

/// What an upstream over HTTP is made of.
pub(crate) struct Settings {
    pub(crate) endpoint: Endpoint,
    pub(crate) connect_within: Duration,
    pub(crate) head_within: Option<Duration>,
    pub(crate) headers: HeaderMap,
    pub(crate) root_certificates: Vec<Vec<u8>>,
    pub(crate) forwarded_proto: Option<HeaderValue>,
    pub(crate) forwarded_host: Option<HeaderValue>,
    pub(crate) client_address: ClientAddress,
}

/// A server that is reached over HTTP.
pub(crate) struct HttpUpstream {
    settings: Settings,
    client: Client,
    sessions: Arc<Sessions>,
    /// The endpoint's path with or without a slash at the end, the other way than configured, once the upstream said so.
    other_spelling: OnceLock<String>,
}

impl HttpUpstream {
    pub(crate) fn new(settings: Settings) -> Result<Self, InvalidProxy> {
        let client = Client::new(
            &settings.endpoint,
            settings.connect_within,
            &settings.root_certificates,
        )?;
        Ok(Self {
            settings,
            client,
            sessions: Arc::default(),
            other_spelling: OnceLock::new(),
        })
    }

    /// Passes one request on, and its answer back.
    pub(crate) async fn pass(
        &self,
        admitted: Admitted,
        request: Parts,
        body: Body,
    ) -> Result<Response<Body>, Trouble> {
        // 1. HTTP that MCP has no use for.
        if ![Method::GET, Method::HEAD, Method::POST, Method::DELETE].contains(&request.method) {
            return Err(Trouble::Method);
        }
        if asks_for_websocket(&request.headers) {
            return Err(Trouble::WebSocket);
        }
        // 2. Where it goes.
        let target = self.target(&admitted, &request.uri)?;
        let is_get = request.method == Method::GET;
        // 3. What goes there.
        let mut outgoing = Request::new(Outgoing::new(body));
        *outgoing.method_mut() = request.method.clone();
        *outgoing.uri_mut() = target;
        *outgoing.headers_mut() = request_head::clean(&request, &self.settings, admitted.identity.as_ref());
        let exchange = self.client.send(outgoing);
        let limit = self.settings.head_within.filter(|_| !is_get);
        let (answer, stream) = match limit {
            Some(limit) => tokio::time::timeout(limit, exchange)
                .await
                .map_err(|_| Trouble::TimedOut)??,
            None => exchange.await?,
        };
        // 4. What comes back.
        let (mut head, incoming) = answer.into_parts();
        if admitted.rest.is_empty() && matches!(head.status.as_u16(), 307 | 308) {
            self.learn_spelling(&head.headers);
        }
        response_head::judge(&mut head, &self.settings.endpoint, &admitted.public_path)?;
        let incoming = Incoming::new(incoming, stream);
        if is_get && head.status == StatusCode::OK && response_head::is_event_stream(&head.headers) {
            head.headers.remove(header::CONTENT_LENGTH);
            let rewriting = EndpointEvent::new(incoming, self.opener(&admitted));
            return Ok(Response::from_parts(head, Body::new(rewriting)));
        }
        Ok(Response::from_parts(head, Body::new(incoming)))
    }

    /// The URL that a request goes to.
    fn target(&self, admitted: &Admitted, asked: &Uri) -> Result<Uri, Trouble> {
        let endpoint = &self.settings.endpoint;
        let path_and_query = if let Some(handle) = admitted.rest.strip_prefix(sessions::PREFIX) {
            let owner = Owner::of(&admitted.caller);
            self.sessions.find(handle, &owner).ok_or(Trouble::NoSuchSession)?
        } else {
            let path = match admitted.rest.as_str() {
                "" => self.other_spelling.get().unwrap_or(&endpoint.path).clone(),
                rest => format!("{}{rest}", endpoint.base),
            };
            let own = endpoint.query.as_deref().unwrap_or_default();
            let theirs = asked
                .query()
                .map(|query| request_head::query_for_upstream(query, own))
                .unwrap_or_default();
            let query = match (own.is_empty(), theirs.is_empty()) {
                (true, true) => String::new(),
                (false, true) => format!("?{own}"),
                (true, false) => format!("?{theirs}"),
                (false, false) => format!("?{own}&{theirs}"),
            };
            PathAndQuery::try_from(format!("{path}{query}")).map_err(|_| Trouble::OtherPath)?
        };
        let uri = Uri::builder()
            .scheme(endpoint.scheme.clone())
            .authority(endpoint.authority.clone())
            .path_and_query(path_and_query);
        uri.build().map_err(|_| Trouble::OtherPath)
    }

    /// Many frameworks redirect `/mcp` to `/mcp/`, or back. Not every client follows with the body of a POST, so only the
    /// first one has to.
    fn learn_spelling(&self, answer: &HeaderMap) {
        let endpoint = &self.settings.endpoint;
        let said = answer.get(header::LOCATION).and_then(|value| value.to_str().ok());
        if let Some(path) = said.and_then(|said| response_head::other_spelling(said, endpoint)) {
            tracing::info!(path, "the upstream spells its endpoint so: followed from now on");
            let _ = self.other_spelling.set(path);
        }
    }

    /// What is done when the first event of a stream names the URL to post to: the URL becomes one of ours, which is the
    /// caller's alone.
    fn opener(&self, admitted: &Admitted) -> endpoint_event::Opener {
        let sessions = Arc::clone(&self.sessions);
        let owner = Owner::of(&admitted.caller);
        let endpoint = self.settings.endpoint.clone();
        let public_path = admitted.public_path.clone();
        let is_session = admitted.is_session.clone();
        Box::new(move |said| {
            let target = endpoint_event::resolve(&endpoint, said)?;
            is_session.say();
            let session = sessions.open(owner, target);
            let url = format!("{public_path}{}{}", sessions::PREFIX, session.handle());
            Some((url, session))
        })
    }
}

/// Other upgrades, as Java's of plain HTTP to HTTP/2, are offers that a server may ignore (RFC 9110 §7.8).
fn asks_for_websocket(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::UPGRADE).iter();
    values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|protocol| protocol.trim().to_ascii_lowercase().starts_with("websocket"))
}
