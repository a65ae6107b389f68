//! A stream of server-sent events on its way to one caller (HTML, *Server-sent events* §9.2.6): event ids and the
//! `endpoint` URL are sealed, lists are cut, and everything else goes through as it comes.
//!
//! A line that means nothing to us is passed on as it arrives, however long it is. A whole event is held back only where
//! a list may stand in it, and where a stream begins.

use bytes::Bytes;
use memchr::memchr2;

use super::list::ListFilter;
use crate::session::{CallersIds, Kind};

/// The longest event that is held back: as large as a request may be.
const MAX_HELD_BYTES: usize = 4 * 1_024 * 1_024;
/// The longest id that is sealed. A longer one passes without a seal, and then resumes nothing.
const MAX_ID_BYTES: usize = 8 * 1_024;
/// The longest first event that is looked into.
const MAX_FIRST_BYTES: usize = 64 * 1_024;

/// What is done to the events of a stream, and how far it has come.
#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each says one thing about the byte before, the line, the event and the stream"
)]
pub(super) struct EventStream {
    ids: Option<CallersIds>,
    lists: Option<ListFilter>,
    /// Lines of an event that is held back.
    held: Vec<u8>,
    /// The line that is arriving, unless it is passed on at once.
    line: Vec<u8>,
    /// The rest of the line is passed on at once.
    is_passing: bool,
    /// The event that is arriving is held back.
    is_holding: bool,
    is_first: bool,
    /// The last byte was a carriage return; a line feed behind it belongs to it.
    after_cr: bool,
}

/// What may be a list that has to be cut is too large to be held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ListTooLarge;

impl EventStream {
    pub(super) fn new(ids: Option<CallersIds>, lists: Option<ListFilter>) -> Self {
        Self {
            ids,
            lists,
            held: Vec::new(),
            line: Vec::new(),
            is_passing: false,
            // The `endpoint` event of 2024-11-05 is the first.
            is_holding: true,
            is_first: true,
            after_cr: false,
        }
    }

    /// What may go on now that `chunk` has come; empty when nothing may.
    pub(super) fn feed(&mut self, chunk: &Bytes) -> Result<Bytes, ListTooLarge> {
        if self.is_passing && !self.after_cr && memchr2(b'\n', b'\r', chunk).is_none() {
            return Ok(chunk.clone());
        }
        let mut out = Vec::with_capacity(chunk.len() + 64);
        let mut rest = &chunk[..];
        while let Some(first) = rest.first() {
            if std::mem::take(&mut self.after_cr) && *first == b'\n' {
                let to = if self.held.is_empty() {
                    &mut out
                } else {
                    &mut self.held
                };
                to.push(b'\n');
                rest = &rest[1..];
                continue;
            }
            let end = memchr2(b'\n', b'\r', rest);
            let (piece, behind) = rest.split_at(end.map_or(rest.len(), |end| end + 1));
            rest = behind;
            self.after_cr = piece.ends_with(b"\r");
            self.take_piece(piece, end.is_some(), &mut out)?;
        }
        Ok(out.into())
    }

    /// What is left when the stream ends in the middle of an event; no client takes it for one.
    pub(super) fn finish(&mut self) -> Bytes {
        let mut rest = std::mem::take(&mut self.held);
        rest.append(&mut self.line);
        rest.into()
    }

    /// Takes a line or a part of one.
    fn take_piece(&mut self, piece: &[u8], is_end: bool, out: &mut Vec<u8>) -> Result<(), ListTooLarge> {
        if self.is_passing {
            out.extend_from_slice(piece);
            self.is_passing = !is_end;
            return Ok(());
        }
        self.line.extend_from_slice(piece);
        if self.is_holding && self.held.len() + self.line.len() > self.max_held() {
            self.let_go(out)?;
        }
        if is_end {
            self.end_line(out);
        } else if !self.is_holding && !self.may_be_id() {
            out.append(&mut self.line);
            self.is_passing = true;
        }
        Ok(())
    }

    fn max_held(&self) -> usize {
        if self.lists.is_some() {
            MAX_HELD_BYTES
        } else {
            MAX_FIRST_BYTES
        }
    }

    fn may_be_id(&self) -> bool {
        let is_beginning = b"id:".starts_with(&self.line) || self.line.starts_with(b"id:");
        self.ids.is_some() && is_beginning && self.line.len() <= MAX_ID_BYTES
    }

    /// The event is longer than may be held: it is passed on line by line.
    fn let_go(&mut self, out: &mut Vec<u8>) -> Result<(), ListTooLarge> {
        // It may be in what is still to come.
        if self.lists.as_ref().is_some_and(ListFilter::expects_one) {
            self.held = Vec::new();
            self.line = Vec::new();
            return Err(ListTooLarge);
        }
        let held = std::mem::take(&mut self.held);
        for line in lines(&held) {
            self.put_line(line, out);
        }
        self.is_holding = false;
        Ok(())
    }

    /// A line is complete.
    fn end_line(&mut self, out: &mut Vec<u8>) {
        let line = std::mem::take(&mut self.line);
        let is_blank = matches!(line.first(), Some(b'\n' | b'\r'));
        if self.is_holding {
            self.held.extend_from_slice(&line);
            if is_blank {
                let event = std::mem::take(&mut self.held);
                self.put_event(&event, out);
            }
        } else {
            self.put_line(&line, out);
        }
        if is_blank {
            self.is_first = false;
            self.is_holding = self.lists.is_some();
        }
    }

    /// Passes a line on, an id with its seal.
    fn put_line(&self, line: &[u8], out: &mut Vec<u8>) {
        let (content, end) = split_end(line);
        match (&self.ids, value_of(content, b"id")) {
            // An empty id says that there is none.
            (Some(ids), Some(id)) if !id.is_empty() && id.len() <= MAX_ID_BYTES => {
                out.extend_from_slice(b"id: ");
                out.extend_from_slice(&ids.seal(Kind::Event, id));
                out.extend_from_slice(end);
            }
            _ => out.extend_from_slice(line),
        }
    }

    /// Passes a whole event on.
    fn put_event(&self, event: &[u8], out: &mut Vec<u8>) {
        let data = self.new_data(event);
        let mut is_written = false;
        for line in lines(event) {
            let (content, end) = split_end(line);
            match &data {
                Some(data) if value_of(content, b"data").is_some() => {
                    if !std::mem::replace(&mut is_written, true) {
                        out.extend_from_slice(b"data: ");
                        out.extend_from_slice(data.as_bytes());
                        out.extend_from_slice(end);
                    }
                }
                _ => self.put_line(line, out),
            }
        }
    }

    /// The data that takes the place of the event's own.
    fn new_data(&self, event: &[u8]) -> Option<String> {
        let may_be_list = self.lists.is_some() && ListFilter::may_be_in(event);
        if !may_be_list && !self.is_first {
            return None;
        }
        let (mut kind, mut data) = (&b"message"[..], Vec::new());
        for line in lines(event) {
            let (content, _) = split_end(line);
            if let Some(value) = value_of(content, b"event") {
                kind = value;
            } else if let Some(value) = value_of(content, b"data") {
                data.push(value);
            }
        }
        let data = data.join(&b'\n');
        match (&self.ids, &self.lists) {
            (Some(ids), _) if kind == b"endpoint" => {
                std::str::from_utf8(&data).ok().map(|url| ids.seal_query(url))
            }
            // What was spread over several lines may hold line ends between its tokens; one line cannot.
            (_, Some(lists)) if may_be_list => lists.cut(&data).map(|json| json.replace(['\n', '\r'], " ")),
            _ => None,
        }
    }
}

/// The lines with their ends.
fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let end = match memchr2(b'\n', b'\r', rest) {
            Some(at) if rest[at..].starts_with(b"\r\n") => at + 2,
            Some(at) => at + 1,
            None if rest.is_empty() => return None,
            None => rest.len(),
        };
        let (line, behind) = rest.split_at(end);
        rest = behind;
        Some(line)
    })
}

fn split_end(line: &[u8]) -> (&[u8], &[u8]) {
    let end = memchr2(b'\n', b'\r', line).unwrap_or(line.len());
    line.split_at(end)
}

/// The value of a field, when the line is one of that name.
fn value_of<'a>(line: &'a [u8], field: &[u8]) -> Option<&'a [u8]> {
    let behind = line.strip_prefix(field)?;
    if behind.is_empty() {
        return Some(behind);
    }
    let value = behind.strip_prefix(b":")?;
    Some(value.strip_prefix(b" ").unwrap_or(value))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use std::sync::Arc;

    use mcp_authflow_types::Scope;

    use super::{
        super::{policy::ToolPolicy, rule::Rule},
        *,
    };
    use crate::{JsonRpc, caller::Caller, challenge::Challenge, session::SessionKey, verify::VerifiedToken};

    fn ids() -> CallersIds {
        let challenge = Arc::new(Challenge::bearer("https://rs.test/prm"));
        SessionKey::new(&[1; 32]).ids_of(&Caller::admit(VerifiedToken::default(), challenge))
    }

    fn lists() -> ListFilter {
        let policy = ToolPolicy::builder()
            .rule(Rule::tool("w").requires("write"))
            .build()
            .unwrap();
        let asked = JsonRpc::parse(br#"{"id":1,"method":"tools/list"}"#).unwrap();
        ListFilter::for_answer_to(&asked, &policy, &Scope::empty()).unwrap()
    }

    fn sealed(kind: Kind, id: &str) -> String {
        String::from_utf8(ids().seal(kind, id.as_bytes())).unwrap()
    }

    /// What comes out of a stream that arrives in pieces of this size.
    fn run(mut stream: EventStream, text: &str, size: usize) -> String {
        let mut out = Vec::new();
        for piece in text.as_bytes().chunks(size) {
            out.extend_from_slice(&stream.feed(&Bytes::copy_from_slice(piece)).unwrap());
        }
        out.extend_from_slice(&stream.finish());
        String::from_utf8(out).unwrap()
    }

    const LIST: &str = r#"{"id":1,"result":{"tools":[{"name":"w"},{"name":"r"}]}}"#;
    const CUT: &str = r#"{"id":1,"result":{"tools":[{"name":"r"}],"cacheScope":"private"}}"#;

    #[test]
    fn events_come_out_as_they_should_however_they_arrive() {
        let (seven, eight) = (sealed(Kind::Event, "7"), sealed(Kind::Event, "8 x"));
        let cases = [
            (
                "id: 7\ndata: a\n\n".to_owned(),
                format!("id: {seven}\ndata: a\n\n"),
            ),
            (
                "id:7\r\ndata: a\r\n\r\n: hello\r\n\r\ndata\r\nid:8 x\r\n\r\n".to_owned(),
                format!("id: {seven}\r\ndata: a\r\n\r\n: hello\r\n\r\ndata\r\nid: {eight}\r\n\r\n"),
            ),
            (
                "data: a\rid: 7\r\rid\r\r".to_owned(),
                format!("data: a\rid: {seven}\r\rid\r\r"),
            ),
            (
                format!("retry: 5\n\nevent: message\nid: 7\ndata: {LIST}\n\ndata: {{\"id\":2}}\n\n"),
                format!("retry: 5\n\nevent: message\nid: {seven}\ndata: {CUT}\n\ndata: {{\"id\":2}}\n\n"),
            ),
            (
                "data: {\"id\":1,\r\ndata: \"result\":{\"tools\":\r\ndata: [{\"name\":\"w\"}]}}\r\n\r\n"
                    .to_owned(),
                "data: {\"id\":1,\"result\":{\"tools\":[],\"cacheScope\":\"private\"}}\r\n\r\n".to_owned(),
            ),
            (
                "event: endpoint\ndata: /messages/?session_id=abc\n\ndata: a\n\n".to_owned(),
                format!(
                    "event: endpoint\ndata: /messages/?session_id={}\n\ndata: a\n\n",
                    sealed(Kind::Endpoint, "abc")
                ),
            ),
            (
                "data: an event without an end\nid: 7".to_owned(),
                "data: an event without an end\nid: 7".to_owned(),
            ),
            (
                "identity: 1\nid : 2\nids\n\n".to_owned(),
                "identity: 1\nid : 2\nids\n\n".to_owned(),
            ),
        ];
        for (text, expected) in cases {
            for size in 1..=text.len() {
                let stream = EventStream::new(Some(ids()), Some(lists()));
                assert_eq!(run(stream, &text, size), expected, "{size}");
                if !text.contains("tools") && !text.ends_with('7') {
                    let stream = EventStream::new(Some(ids()), None);
                    assert_eq!(run(stream, &text, size), expected, "{size}");
                }
            }
        }
    }

    /// An event ends with its blank line and goes out then, not later.
    #[test]
    fn an_event_goes_on_as_soon_as_it_is_complete() {
        for lists in [None, Some(lists())] {
            let mut stream = EventStream::new(Some(ids()), lists);
            let out = stream
                .feed(&Bytes::from_static(b"data: a\n\ndata: b\n\nid"))
                .unwrap();
            assert_eq!(out, "data: a\n\ndata: b\n\n");
        }
    }

    /// Nothing long is held where nothing is to be changed.
    #[test]
    fn a_long_line_goes_on_as_it_comes() {
        let mut stream = EventStream::new(Some(ids()), None);
        let chunk = Bytes::from(vec![b'x'; 60_000]);
        assert_eq!(
            stream.feed(&Bytes::from_static(b": begin\n\ndata: ")).unwrap(),
            ": begin\n\ndata: "
        );
        for _ in 0..100 {
            assert_eq!(stream.feed(&chunk).unwrap(), chunk);
        }
        assert_eq!(
            stream.feed(&Bytes::from_static(b"\nid: 7\n\n")).unwrap(),
            format!("\nid: {}\n\n", sealed(Kind::Event, "7"))
        );
    }

    #[test]
    fn what_is_held_is_bounded() {
        let chunk = Bytes::from(vec![b'x'; 1_000_000]);
        let feed_long = |lists: ListFilter, start: &'static [u8]| {
            let mut stream = EventStream::new(Some(ids()), Some(lists));
            let mut out = stream.feed(&Bytes::from_static(start)).map(|out| out.len());
            for _ in 0..8 {
                let more = stream.feed(&chunk).map(|out| out.len());
                assert!(stream.held.len() + stream.line.len() <= MAX_HELD_BYTES + chunk.len());
                out = out.and_then(|out| more.map(|more| out + more));
            }
            out
        };
        // A long answer of another kind passes in the end …
        let any = ListFilter::for_any_answer(&ToolPolicy::default(), &Scope::empty());
        assert_eq!(feed_long(any, b"id: 7\ndata: "), Ok(8_000_000 + 12 + 44));
        // … a list that cannot be cut does not, also when nothing of it is to be seen yet: the id that stands in front
        // of it was the caller's to choose.
        for start in [
            &br#"data: {"id":1,"result":{"tools":["#[..],
            br#"data: {"id":"xxx"#,
        ] {
            assert_eq!(feed_long(lists(), start), Err(ListTooLarge));
        }
    }

    proptest::proptest! {
        /// How a stream is cut into pieces changes nothing, and what is not to be changed is not.
        #[test]
        fn pieces_do_not_matter(
            words in proptest::collection::vec(
                proptest::sample::select(vec![
                    "id", ":", " ", "data", "event", "endpoint", "\n", "\r", "\r\n", "7", LIST, "?session_id=a", "ü",
                ]),
                0..40,
            ),
            sizes in proptest::collection::vec(1..9_usize, 1..8),
        ) {
            let text = words.concat();
            let run_in = |mut stream: EventStream, sizes: &[usize]| {
                let (mut out, mut rest) = (Vec::new(), text.as_bytes());
                for size in sizes.iter().cycle() {
                    let (piece, behind) = rest.split_at(rest.len().min(*size));
                    out.extend_from_slice(&stream.feed(&Bytes::copy_from_slice(piece)).unwrap());
                    rest = behind;
                    if rest.is_empty() {
                        break;
                    }
                }
                out.extend_from_slice(&stream.finish());
                String::from_utf8(out).unwrap()
            };
            for lists in [None, Some(lists())] {
                let stream = || EventStream::new(Some(ids()), lists.clone());
                proptest::prop_assert_eq!(run_in(stream(), &sizes), run_in(stream(), &[usize::MAX]));
            }
            proptest::prop_assert_eq!(run_in(EventStream::new(None, None), &sizes), text.clone());
        }
    }
}
