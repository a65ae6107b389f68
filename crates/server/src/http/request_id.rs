//! A name for each request, in its answer and in every log line that belongs to it.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use http::HeaderValue;
use tracing::Instrument as _;

use super::proxies::TrustedProxies;

/// A request's name: this process's start, and a number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RequestId {
    process: u32,
    number: u64,
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}-{:x}", self.process, self.number)
    }
}

/// What is noted of each request: a name, and whom it comes from.
#[derive(Debug)]
pub(crate) struct Notes {
    process: u32,
    next: AtomicU64,
    proxies: TrustedProxies,
}

impl Notes {
    /// Begins with a random process name, so that nodes and restarts do not share names.
    pub(crate) fn new(process: u32, proxies: TrustedProxies) -> Self {
        Self {
            process,
            next: AtomicU64::new(1),
            proxies,
        }
    }

    fn next(&self) -> RequestId {
        RequestId {
            process: self.process,
            number: self.next.fetch_add(1, Ordering::Relaxed),
        }
    }
}

/// Notes what each request is called and whom it comes from, for the handlers, the log and the caller. What a caller sends
/// as a name is not taken: it would be its words in our log.
pub(crate) async fn take_note(State(notes): State<Arc<Notes>>, mut request: Request, next: Next) -> Response {
    notes.proxies.note_client_address(&mut request);
    let id = notes.next();
    request.extensions_mut().insert(id);
    let span = tracing::info_span!("request", %id);
    // The line for each request is written only where somebody asks for it.
    let told = tracing::enabled!(target: "http", tracing::Level::DEBUG)
        .then(|| (request.method().clone(), request.uri().path().to_owned()));
    let mut response = next.run(request).instrument(span.clone()).await;
    if let Some((method, path)) = told {
        span.in_scope(|| {
            tracing::debug!(target: "http", %method, path, status = response.status().as_u16(), "answered");
        });
    }
    if let Ok(value) = HeaderValue::from_str(&id.to_string()) {
        response.headers_mut().insert("x-request-id", value);
    }
    response
}
