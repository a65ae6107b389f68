//! What follows the first event of a stream: no later one names a URL to post to.
//!
//! Clients of the older transport (2024-11-05) send their token to whatever URL an `endpoint` event names. The first one is
//! made ours; a later one would be the upstream's word, and could name a server anywhere (M-125). So lines that give an
//! event this name are left out, and what stays of the event is a message that says nothing. All else passes as it comes:
//! of a line no more is held back than may still become such a name.

use bytes::Bytes;
use memchr::memchr2;

const SPELLINGS: [&[u8]; 2] = [b"event: endpoint", b"event:endpoint"];

/// Passes lines on, except those.
#[derive(Debug, Default)]
pub(super) struct LaterEndpoint {
    /// The beginning of a line that may become one.
    held: Vec<u8>,
    /// The rest of the line passes.
    is_passing: bool,
    /// A line was left out up to its carriage return; a line feed behind it belongs to it.
    after_cr: bool,
}

impl LaterEndpoint {
    /// What may go on now that `chunk` has come.
    pub(super) fn feed(&mut self, chunk: &Bytes) -> Bytes {
        if self.is_passing && memchr2(b'\n', b'\r', chunk).is_none() {
            return chunk.clone();
        }
        let mut out = Vec::with_capacity(self.held.len() + chunk.len());
        let mut rest = &chunk[..];
        while let Some(first) = rest.first() {
            if std::mem::take(&mut self.after_cr) && *first == b'\n' {
                rest = &rest[1..];
                continue;
            }
            let end = memchr2(b'\n', b'\r', rest);
            let (content, behind) = rest.split_at(end.unwrap_or(rest.len()));
            let (line_end, behind) = behind.split_at(usize::from(end.is_some()));
            rest = behind;
            if self.is_passing {
                out.extend_from_slice(content);
            } else {
                self.held.extend_from_slice(content);
                let is_one = end.is_some() && SPELLINGS.contains(&&self.held[..]);
                if is_one {
                    tracing::warn!("the upstream names another endpoint to post to: kept from the client");
                    self.held.clear();
                    self.after_cr = line_end == b"\r";
                    continue;
                }
                let may_be = SPELLINGS.iter().any(|one| one.starts_with(&self.held));
                if end.is_some() || !may_be {
                    out.append(&mut self.held);
                    self.is_passing = true;
                }
            }
            if end.is_some() {
                out.extend_from_slice(line_end);
                self.is_passing = false;
            }
        }
        out.into()
    }

    /// What is left when the stream ends in the middle of a line; no client takes it for an event.
    pub(super) fn finish(&mut self) -> Bytes {
        std::mem::take(&mut self.held).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn through(text: &str, piece: usize) -> String {
        let mut later = LaterEndpoint::default();
        let mut out = Vec::new();
        for chunk in text.as_bytes().chunks(piece) {
            out.extend_from_slice(&later.feed(&Bytes::copy_from_slice(chunk)));
        }
        out.extend_from_slice(&later.finish());
        String::from_utf8_lossy(&out).into_owned()
    }

    /// M-125
    #[test]
    fn a_later_event_names_no_endpoint_however_it_is_cut() {
        for (said, passed) in [
            (
                "event: endpoint\ndata: https://evil.example/\n\n",
                "data: https://evil.example/\n\n",
            ),
            ("data: x\r\nevent:endpoint\r\n\r\n", "data: x\r\n\r\n"),
            ("id: 1\revent: endpoint\rdata: x\r\r", "id: 1\rdata: x\r\r"),
            ("event: endpoint\r\r", "\r"),
        ] {
            for piece in 1..=said.len() {
                assert_eq!(through(said, piece), passed, "{said:?} by {piece}");
            }
        }
    }

    #[test]
    fn all_else_passes_as_it_is() {
        let said = "event: endpoints\ndata: event: endpoint\n event: endpoint\nevent:  endpoint\n\r\n\revent: e\n: x\nevent: endpoint";
        for piece in 1..=said.len() {
            assert_eq!(through(said, piece), said, "{piece}");
        }
        let mut later = LaterEndpoint::default();
        assert_eq!(later.feed(&Bytes::from_static(b"data: half")), "data: half");
        assert_eq!(later.feed(&Bytes::from_static(b" a line")), " a line");
    }
}
