//! Answers over HTTP: one JSON document when all is said at once, else a stream of events.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use http_body::{Body as HttpBody, Frame, SizeHint};
use serde_json::Value;
use tokio::{sync::mpsc, time::timeout};

use super::{
    session::Session,
    stateless::INCOMPLETE_META,
    streams::{self, Event, Reader},
};
use crate::trouble::Trouble;

/// How long an answer is waited for before a stream begins. Most tools answer within it, and JSON is cheaper for all.
const AT_ONCE: Duration = Duration::from_millis(300);
/// How often a silent stream shows that it lives; proxies close silent connections after 30 to 60 s.
const PING_EVERY: Duration = Duration::from_secs(15);
const PING: Bytes = Bytes::from_static(b": ping\n\n");

/// What the client understands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Accepts {
    pub(super) json: bool,
    pub(super) events: bool,
}

impl Accepts {
    /// Reads `Accept`; without it everything is understood (RFC 9110 §12.5.1).
    pub(super) fn read(headers: &HeaderMap) -> Result<Self, Trouble> {
        let mut said = headers
            .get_all(header::ACCEPT)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .peekable();
        if said.peek().is_none() {
            return Ok(Self {
                json: true,
                events: true,
            });
        }
        let mut accepts = Self {
            json: false,
            events: false,
        };
        for range in said.flat_map(|value| value.split(',')) {
            match range
                .split(';')
                .next()
                .unwrap_or_default()
                .trim()
                .to_ascii_lowercase()
                .as_str()
            {
                "*/*" => {
                    accepts.json = true;
                    accepts.events = true;
                }
                "application/json" | "application/*" => accepts.json = true,
                "text/event-stream" | "text/*" => accepts.events = true,
                _ => {}
            }
        }
        if accepts.json || accepts.events {
            Ok(accepts)
        } else {
            Err(Trouble::NotAcceptable)
        }
    }
}

/// How a POST is to be answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    pub(super) accepts: Accepts,
    pub(super) is_batch: bool,
    pub(super) is_stateless: bool,
    /// Whether the stream begins with an event that says nothing but its id.
    pub(super) has_events_to_resume: bool,
}

/// Answers a POST with what its stream brings.
pub(super) async fn answer(
    session: Arc<Session>,
    reader: Reader,
    terms: Terms,
) -> Result<Response<Body>, Trouble> {
    let mut reading = Reading {
        leaves: terms.is_stateless.then(|| Arc::clone(&session)),
        reader,
    };
    if !terms.accepts.events {
        let mut answers = Vec::new();
        while let Some(event) = reading.reader.next().await {
            // Only answers fit into the document; whatever else is said is for those who listen.
            let message: Value = serde_json::from_slice(&event.data).unwrap_or_default();
            if message.get("method").is_none() {
                answers.push(event.data);
            }
        }
        return match (answers.as_slice(), terms.is_batch) {
            ([], false) => Err(Trouble::Child("it ended before it answered".to_owned())),
            ([one], false) => Ok(json(one.clone(), terms.is_stateless)),
            (all, _) => Ok(json(Bytes::from(format!("[{}]", joined(all))), false)),
        };
    }
    let first = if terms.accepts.json && !terms.is_batch {
        match timeout(AT_ONCE, reading.reader.next()).await {
            Ok(Some(event)) if event.is_last => return Ok(json(event.data, terms.is_stateless)),
            Ok(first) => first,
            Err(_) => None,
        }
    } else {
        None
    };
    let first = match first {
        Some(event) => Some(session.under_way.hold(framed(&event))),
        None if terms.has_events_to_resume => {
            let id = streams::id_of_opening(reading.reader.stream());
            Some(Bytes::from(format!("id: {id}\ndata: \n\n")))
        }
        None => None,
    };
    Ok(stream_of(session, reading, first))
}

/// The events of a stream.
pub(super) fn stream(
    session: Arc<Session>,
    reader: Reader,
    first: Option<Bytes>,
    is_stateless: bool,
) -> Response<Body> {
    let reading = Reading {
        leaves: is_stateless.then(|| Arc::clone(&session)),
        reader,
    };
    stream_of(session, reading, first)
}

/// A reader; when it is dropped before the end and does not come back, its requests are cancelled.
struct Reading {
    leaves: Option<Arc<Session>>,
    reader: Reader,
}

impl Drop for Reading {
    fn drop(&mut self) {
        if let Some(session) = &self.leaves
            && !self.reader.is_done()
        {
            session.abandon(self.reader.stream());
        }
    }
}

fn stream_of(session: Arc<Session>, mut reading: Reading, first: Option<Bytes>) -> Response<Body> {
    // One place: what was taken out of the stream is with the client, or nearly.
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        if let Some(first) = first
            && sender.send(first).await.is_err()
        {
            return;
        }
        loop {
            let next = tokio::select! {
                next = timeout(PING_EVERY, reading.reader.next()) => next,
                () = sender.closed() => return,
            };
            let bytes = match next {
                Ok(Some(event)) => session.under_way.hold(framed(&event)),
                Ok(None) => return,
                Err(_) => PING,
            };
            if sender.send(bytes).await.is_err() {
                return;
            }
            session.touch();
        }
    });
    let mut response = Response::new(Body::new(Events {
        receiver,
        rest: Bytes::new(),
    }));
    let headers = response.headers_mut();
    let text = HeaderValue::from_static("text/event-stream");
    headers.insert(header::CONTENT_TYPE, text);
    let no_store = HeaderValue::from_static("no-cache, no-store, no-transform");
    headers.insert(header::CACHE_CONTROL, no_store);
    let name = HeaderName::from_static("x-accel-buffering");
    headers.insert(name, HeaderValue::from_static("no"));
    response
}

/// The most that is handed to a connection at a time. It copies what it is handed, and takes more when that is sent.
const MAX_PIECE_BYTES: usize = 64 * 1_024;

/// The next piece of what is left.
fn piece(rest: &mut Bytes) -> Frame<Bytes> {
    Frame::data(rest.split_to(rest.len().min(MAX_PIECE_BYTES)))
}

/// A document, piece by piece.
struct Document {
    rest: Bytes,
}

impl HttpBody for Document {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Poll::Ready((!self.rest.is_empty()).then(|| Ok(piece(&mut self.rest))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}

struct Events {
    receiver: mpsc::Receiver<Bytes>,
    /// What is left of the event that is being written.
    rest: Bytes,
}

impl HttpBody for Events {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        while self.rest.is_empty() {
            match ready!(self.receiver.poll_recv(context)) {
                Some(event) => self.rest = event,
                None => return Poll::Ready(None),
            }
        }
        Poll::Ready(Some(Ok(piece(&mut self.rest))))
    }
}

/// A message has no line breaks in it: it is JSON that we wrote.
fn framed(event: &Event) -> Bytes {
    let mut text = format!("id: {}\nevent: message\ndata: ", event.id).into_bytes();
    text.extend_from_slice(&event.data);
    text.extend_from_slice(b"\n\n");
    Bytes::from(text)
}

fn joined(answers: &[Bytes]) -> String {
    let texts: Vec<_> = answers
        .iter()
        .map(|answer| String::from_utf8_lossy(answer))
        .collect();
    texts.join(",")
}

/// One answer in the form that the client understands.
pub(super) fn single(accepts: Accepts, data: Bytes, is_stateless: bool) -> Response<Body> {
    if accepts.json {
        return json(data, is_stateless);
    }
    let mut text = b"event: message\ndata: ".to_vec();
    text.extend_from_slice(&data);
    text.extend_from_slice(b"\n\n");
    let mut response = Response::new(Body::from(text));
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/event-stream"),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn json(data: Bytes, is_stateless: bool) -> Response<Body> {
    let status = status_of(&data, is_stateless);
    let mut response = Response::new(Body::new(Document { rest: data }));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// What a session answers in its child's stead is a gateway's error. From 2026-07-28 on some errors of the child's have a
/// status of their own too.
fn status_of(data: &[u8], is_stateless: bool) -> StatusCode {
    if data.len() > MAX_PIECE_BYTES {
        // No error is that long, and what is gets parsed for nothing.
        return StatusCode::OK;
    }
    let message: Value = serde_json::from_slice(data).unwrap_or_default();
    let error = &message["error"];
    match (error["code"].as_i64(), error["data"]["error"].as_str()) {
        (Some(-32_603), Some("bad_gateway")) => StatusCode::BAD_GATEWAY,
        (Some(-32_603), Some("gateway_timeout")) => StatusCode::GATEWAY_TIMEOUT,
        (Some(-32_603), Some("temporarily_unavailable")) => StatusCode::SERVICE_UNAVAILABLE,
        (Some(-32_602), Some(INCOMPLETE_META)) if is_stateless => StatusCode::BAD_REQUEST,
        (Some(-32_601), _) if is_stateless => StatusCode::NOT_FOUND,
        (Some(-32_022..=-32_020), _) if is_stateless => StatusCode::BAD_REQUEST,
        _ => StatusCode::OK,
    }
}

pub(super) fn nothing(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}
