//! The first event of the older transport (2024-11-05, HTTP with SSE): `event: endpoint`, whose data is the URL to post
//! to. It is the upstream's URL, and has to become one of ours; one that cannot is kept from the client, who would send
//! the token there. Every other event passes as it is.
//!
//! Only the first event is held back until it is whole; comments before it pass at once.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use http::uri::PathAndQuery;
use http_body::{Body as HttpBody, Frame};
use pin_project_lite::pin_project;

use super::{body::Incoming, later_endpoint::LaterEndpoint, sessions::Session};
use crate::upstream::Endpoint;

/// The most that is held back. An event larger than that names no URL.
const MAX_HELD: usize = 16 * 1_024;

/// Stands at the beginning of a stream, if anywhere, and means nothing.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Makes our URL of the upstream's, and the session that lives as long as the stream.
pub(super) type Opener = Box<dyn FnOnce(&str) -> Option<(String, Session)> + Send>;

pin_project! {
    /// An event stream that may be of the older transport.
    pub(super) struct EndpointEvent {
        #[pin]
        body: Incoming,
        held: BytesMut,
        // None: the first event has passed.
        opener: Option<Opener>,
        later: LaterEndpoint,
        session: Option<Session>,
        is_over: bool,
    }
}

impl EndpointEvent {
    pub(super) fn new(body: Incoming, opener: Opener) -> Self {
        Self {
            body,
            held: BytesMut::new(),
            opener: Some(opener),
            later: LaterEndpoint::default(),
            session: None,
            is_over: false,
        }
    }
}

impl HttpBody for EndpointEvent {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let mut this = self.project();
        loop {
            if *this.is_over {
                return Poll::Ready(None);
            }
            let frame = ready!(this.body.as_mut().poll_frame(context));
            let data = match frame {
                Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => {
                    *this.is_over = true;
                    *this.opener = None;
                    let mut rest = this.later.feed(&this.held.split().freeze()).to_vec();
                    rest.extend_from_slice(&this.later.finish());
                    let rest = Bytes::from(rest);
                    return Poll::Ready((!rest.is_empty()).then(|| Ok(Frame::data(rest))));
                }
            };
            let passed = if this.opener.is_none() {
                this.later.feed(&data)
            } else {
                this.held.extend_from_slice(&data);
                look(this.held, this.opener, this.session, this.later)
            };
            if !passed.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(passed))));
            }
        }
    }
}

/// Takes from `held` what may pass.
fn look(
    held: &mut BytesMut,
    opener: &mut Option<Opener>,
    session: &mut Option<Session>,
    later: &mut LaterEndpoint,
) -> Bytes {
    let mut passed = BytesMut::new();
    while opener.is_some() {
        let Some(end) = end_of_block(held) else {
            if held.len() > MAX_HELD {
                *opener = None;
                if held.starts_with(BYTE_ORDER_MARK) {
                    let _ = held.split_to(BYTE_ORDER_MARK.len());
                }
            }
            break;
        };
        let block = held.split_to(end);
        match endpoint_of(&block) {
            Block::NoEvent => passed.extend_from_slice(&block),
            Block::OtherEvent => {
                *opener = None;
                passed.extend_from_slice(&later.feed(&block.freeze()));
            }
            Block::Endpoint(said) => {
                let ours = opener.take().and_then(|open| open(&said));
                if let Some((url, begun)) = ours {
                    *session = Some(begun);
                    passed.extend_from_slice(format!("event: endpoint\r\ndata: {url}\r\n\r\n").as_bytes());
                } else {
                    tracing::warn!(
                        "the upstream names an endpoint to post to that is no URL: kept from the client"
                    );
                }
            }
        }
    }
    if opener.is_none() {
        passed.extend_from_slice(&later.feed(&held.split().freeze()));
    }
    passed.freeze()
}

/// Where the first block ends: behind its empty line. Lines end with LF, CR LF or CR.
fn end_of_block(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    let mut line_start = 0;
    while at < bytes.len() {
        let width = match bytes[at] {
            b'\n' => 1,
            b'\r' => match bytes.get(at + 1) {
                Some(b'\n') => 2,
                // The rest of this line's end may still be under way; a CR alone ends it only when something follows.
                None if at > line_start => return None,
                Some(_) | None => 1,
            },
            _ => {
                at += 1;
                continue;
            }
        };
        if at == line_start {
            return Some(at + width);
        }
        at += width;
        line_start = at;
    }
    None
}

#[derive(Debug, PartialEq, Eq)]
enum Block {
    /// Comments, ids, retry times: nothing that a client is told as an event.
    NoEvent,
    OtherEvent,
    Endpoint(String),
}

fn endpoint_of(block: &[u8]) -> Block {
    let text = String::from_utf8_lossy(block);
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let (mut event, mut data) = (None, None);
    for line in text.split(['\r', '\n']) {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => event = Some(value),
            "data" => data = Some(value),
            _ => {}
        }
    }
    match (event, data) {
        (Some("endpoint"), Some(data)) => Block::Endpoint(data.trim().to_owned()),
        (_, Some(_)) => Block::OtherEvent,
        (_, None) => Block::NoEvent,
    }
}

/// The place at the upstream that `said` means. Whatever host it names, posts go to the upstream that was configured.
pub(super) fn resolve(endpoint: &Endpoint, said: &str) -> Option<PathAndQuery> {
    let place = match said.split_once("://") {
        Some((_, rest)) => {
            let from = rest.find(['/', '?']).unwrap_or(rest.len());
            match &rest[from..] {
                "" => "/".to_owned(),
                query if query.starts_with('?') => format!("/{query}"),
                path => path.to_owned(),
            }
        }
        None if said.starts_with("//") => return None,
        None if said.starts_with('/') => said.to_owned(),
        None if said.starts_with('?') => format!("{}{said}", endpoint.path),
        None if said.is_empty() => return None,
        None => {
            let folder = endpoint.path.rsplit_once('/').map_or("", |(folder, _)| folder);
            format!("{folder}/{said}")
        }
    };
    let place = place.split('#').next().unwrap_or_default();
    PathAndQuery::try_from(place).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use std::sync::Arc;

    use super::{super::sessions::Sessions, *};
    use crate::owner::Owner;

    fn opener() -> Opener {
        let sessions = Arc::new(Sessions::default());
        Box::new(move |said| {
            let session = sessions.open(Owner::for_test("u1"), PathAndQuery::try_from(said).ok()?);
            Some((format!("/ours?{}", said.len()), session))
        })
    }

    /// What comes out when `pieces` come in, one after the other.
    fn through(pieces: &[&str]) -> Vec<String> {
        let (mut held, mut opener, mut session) = (BytesMut::new(), Some(opener()), None);
        let mut later = LaterEndpoint::default();
        let mut out = Vec::new();
        for piece in pieces {
            let passed = if opener.is_some() {
                held.extend_from_slice(piece.as_bytes());
                look(&mut held, &mut opener, &mut session, &mut later)
            } else {
                later.feed(&Bytes::copy_from_slice(piece.as_bytes()))
            };
            out.push(String::from_utf8(passed.to_vec()).unwrap());
        }
        out
    }

    #[test]
    fn the_url_to_post_to_becomes_ours_however_it_is_cut() {
        for end in ["\n", "\r\n"] {
            let event = format!("event: endpoint{end}data: /messages/?session_id=1{end}{end}");
            let ours = "event: endpoint\r\ndata: /ours?23\r\n\r\n";
            for cut in 0..=event.len() {
                let out = through(&[&event[..cut], &event[cut..], "data: {}\n\n"]);
                // A cut between the CR and the LF of the last line leaves an empty line behind, which says nothing.
                let whole = out.concat().replace("\r\n\r\n\n", "\r\n\r\n");
                assert_eq!(whole, format!("{ours}data: {{}}\n\n"), "cut at {cut}");
            }
        }
        let event = "event: endpoint\rdata: /messages\r\r";
        assert_eq!(
            through(&[event]).concat(),
            "event: endpoint\r\ndata: /ours?9\r\n\r\n"
        );
    }

    #[test]
    fn other_streams_pass_as_they_are_and_at_once() {
        for pieces in [
            &[": ping\n\n", ": ping\r\n\r\n", "data: {\"a\":1}\n\n"][..],
            &["id: 1\ndata: \n\n", "event: endpoints\ndata: /late\n\n"],
            &["retry: 100\n\n", "event: message\ndata: {}\n\n", "data: x"],
        ] {
            assert_eq!(through(pieces), pieces);
        }
        let long = format!("data: {}", "x".repeat(2 * MAX_HELD));
        assert_eq!(through(&[&long, "y\n\n"]), [long.as_str(), "y\n\n"]);
    }

    /// M-125
    #[test]
    fn no_other_url_to_post_to_reaches_the_client() {
        let long = format!(": {}\n", "x".repeat(2 * MAX_HELD));
        for pieces in [
            &["event: endpoint\ndata: //evil.example/x y\n\n"][..],
            &["data: {}\n\n", "event: endpoint\ndata: //evil.example/\n\n"],
            &["data: {}\n\nevent: endpoint\ndata: //evil.example/\n\n"],
            &[
                "event: endpoint\ndata: /a\n\n",
                "event: endpoint\ndata: //evil.example/\n\n",
            ],
            &[&long, "event: endpoint\ndata: //evil.example/\n\n"],
            &["\u{feff}event: endpoint\n", &long, "data: //evil.example/\n\n"],
        ] {
            let out = through(pieces).concat();
            // Ours, or an event without the name.
            let named = out.replace("event: endpoint\r\ndata: /ours", "");
            assert!(!named.contains("event: endpoint"), "{pieces:?}: {out}");
        }
    }

    #[test]
    fn wherever_it_points_posts_go_to_the_upstream() {
        let endpoint = Endpoint::parse("http://127.0.0.1:9000/a/sse", false).unwrap();
        for (said, place) in [
            ("/messages/?session_id=1", Some("/messages/?session_id=1")),
            ("http://127.0.0.1:9000/messages?s=1", Some("/messages?s=1")),
            ("https://evil.example/steal?s=1", Some("/steal?s=1")),
            ("http://127.0.0.1:9000?s=1", Some("/?s=1")),
            ("?s=1", Some("/a/sse?s=1")),
            ("messages?s=1", Some("/a/messages?s=1")),
            ("//evil.example/x", None),
            ("", None),
            ("/a b", None),
        ] {
            let got = resolve(&endpoint, said);
            assert_eq!(got.as_ref().map(PathAndQuery::as_str), place, "{said}");
        }
    }
}
