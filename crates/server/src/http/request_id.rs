//! A name for each request, in its answer and in every log line that belongs to it.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
};

use axum::{extract::Request, middleware::Next, response::Response};
use http::HeaderValue;
use tracing::Instrument as _;

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

/// Names requests.
#[derive(Debug)]
pub(crate) struct RequestIds {
    process: u32,
    next: AtomicU64,
}

impl RequestIds {
    /// Begins with a random process name, so that nodes and restarts do not share names.
    pub(crate) fn new(process: u32) -> Self {
        Self {
            process,
            next: AtomicU64::new(1),
        }
    }

    fn next(&self) -> RequestId {
        RequestId {
            process: self.process,
            number: self.next.fetch_add(1, Ordering::Relaxed),
        }
    }
}

/// Names a request, for the handlers, the log and the caller. What a caller sends as a name is not taken: it would be
/// its words in our log.
pub(crate) async fn name_request(
    axum::extract::State(ids): axum::extract::State<std::sync::Arc<RequestIds>>,
    mut request: Request,
    next: Next,
) -> Response {
    let id = ids.next();
    request.extensions_mut().insert(id);
    let span = tracing::info_span!("request", %id);
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let mut response = next.run(request).instrument(span.clone()).await;
    span.in_scope(|| {
        tracing::debug!(target: "http", %method, path, status = response.status().as_u16(), "answered");
    });
    if let Ok(value) = HeaderValue::from_str(&id.to_string()) {
        response.headers_mut().insert("x-request-id", value);
    }
    response
}
