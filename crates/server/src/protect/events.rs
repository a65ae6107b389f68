//! Server-sent events, read one by one (WHATWG HTML §9.2.6).

use axum::body::{Body, BodyDataStream};
use futures_util::StreamExt as _;

/// One event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Event {
    /// Its kind; `message` is the default and is empty here.
    pub(super) name: String,
    pub(super) data: String,
}

/// Reads a stream of events, none of them longer than a limit.
pub(super) struct Events {
    stream: BodyDataStream,
    unread: Vec<u8>,
    max_bytes: usize,
}

impl Events {
    pub(super) fn new(body: Body, max_bytes: usize) -> Self {
        Self {
            stream: body.into_data_stream(),
            unread: Vec::new(),
            max_bytes,
        }
    }

    /// The next event with data; nothing at the end of the stream.
    pub(super) async fn next(&mut self) -> Result<Option<Event>, &'static str> {
        let mut event = Event::default();
        let mut has_data = false;
        loop {
            while let Some(line) = self.take_line() {
                if line.is_empty() {
                    if has_data {
                        return Ok(Some(event));
                    }
                    event = Event::default();
                    continue;
                }
                let (field, value) = line.split_once(':').unwrap_or((&line, ""));
                let value = value.strip_prefix(' ').unwrap_or(value);
                match field {
                    "event" => value.clone_into(&mut event.name),
                    "data" => {
                        if has_data {
                            event.data.push('\n');
                        }
                        has_data = true;
                        event.data.push_str(value);
                    }
                    // `id`, `retry`, comments, and whatever else there may be.
                    _ => {}
                }
                if event.data.len() > self.max_bytes {
                    return Err("an event is too long");
                }
            }
            match self.stream.next().await {
                None => return Ok(None),
                Some(Err(_)) => return Err("the stream broke off"),
                Some(Ok(piece)) if self.unread.len() + piece.len() > self.max_bytes => {
                    return Err("an event is too long");
                }
                Some(Ok(piece)) => self.unread.extend_from_slice(&piece),
            }
        }
    }

    /// The next whole line, without its end: LF, CR LF, or a CR that is followed by something.
    fn take_line(&mut self) -> Option<String> {
        let end = self
            .unread
            .iter()
            .position(|byte| matches!(byte, b'\n' | b'\r'))?;
        let next = match (self.unread[end], self.unread.get(end + 1)) {
            (b'\r', None) => return None,
            (b'\r', Some(b'\n')) => end + 2,
            _ => end + 1,
        };
        let line = String::from_utf8_lossy(&self.unread[..end]).into_owned();
        self.unread.drain(..next);
        Some(line)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    async fn read(text: &str, piece: usize) -> Vec<Event> {
        let pieces: Vec<Result<Vec<u8>, std::io::Error>> = text
            .as_bytes()
            .chunks(piece)
            .map(|piece| Ok(piece.to_vec()))
            .collect();
        let mut events = Events::new(Body::from_stream(futures_util::stream::iter(pieces)), 100);
        let mut all = Vec::new();
        while let Some(event) = events.next().await.unwrap() {
            all.push(event);
        }
        all
    }

    #[tokio::test]
    async fn events_are_the_same_however_they_arrive() {
        let text =
            ": hello\n\nevent: endpoint\r\ndata: /messages?id=1\r\n\r\nid: 7\ndata:a\ndata: b\n\n\ndata: cut";
        let event = |name: &str, data: &str| Event {
            name: name.to_owned(),
            data: data.to_owned(),
        };
        for piece in [1, 2, 3, 7, 1_000] {
            assert_eq!(
                read(text, piece).await,
                [event("endpoint", "/messages?id=1"), event("", "a\nb")],
                "{piece}"
            );
        }
    }

    #[tokio::test]
    async fn an_event_without_end_is_given_up() {
        let body = Body::from(format!("data: {}", "x".repeat(200)));
        assert!(Events::new(body, 100).next().await.is_err());
    }
}
