//! The event streams of a session: what the child says waits here until it is read, and a little longer, so that a client
//! whose connection broke takes up where it was (`Last-Event-ID`).
//!
//! Stream 0 is the one that a GET opens; every POST with requests in it has one of its own, which ends with the last
//! answer. An event's id is its stream and its place there, `3-7`. All that is kept is bounded: what was read or has no
//! reader goes first, and a reader who does not read stops the child, for a while, and then loses their connection.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use tokio::{sync::Notify, time::timeout};

/// What a session keeps for readers who may come back, in bytes.
const MAX_KEPT_BYTES: usize = 2 * 1_024 * 1_024;
/// What may wait for a reader who is there, in bytes, before the child has to wait.
const MAX_UNREAD_BYTES: usize = 1_024 * 1_024;
/// How long the child waits for such a reader.
pub(super) const WAIT_FOR_READER: Duration = Duration::from_secs(30);
/// How many ended streams are remembered.
const MAX_ENDED: usize = 32;

/// The stream that a GET opens.
pub(super) const STANDALONE: u64 = 0;

#[derive(Debug)]
pub(super) struct Streams {
    streams: Mutex<BTreeMap<u64, Stream>>,
    wait_for_reader: Duration,
}

#[derive(Debug)]
struct Stream {
    /// The first has the number `next - events.len()`.
    events: VecDeque<Bytes>,
    next: u64,
    /// The first that was not read.
    unread_from: u64,
    /// How many answers it waits for; `None` for the one that never ends.
    awaited: Option<usize>,
    /// Counts the readers; the last one is the one that reads.
    reader: u64,
    has_reader: bool,
    written: Arc<Notify>,
    drained: Arc<Notify>,
}

impl Stream {
    fn new(awaited: Option<usize>) -> Self {
        Self {
            events: VecDeque::new(),
            next: 0,
            unread_from: 0,
            awaited,
            reader: 0,
            has_reader: false,
            written: Arc::default(),
            drained: Arc::default(),
        }
    }

    fn first(&self) -> u64 {
        self.next - self.events.len() as u64
    }

    fn has_ended(&self) -> bool {
        self.awaited == Some(0)
    }

    fn unread_bytes(&self) -> usize {
        let skipped = usize::try_from(self.unread_from.saturating_sub(self.first())).unwrap_or(usize::MAX);
        self.events.iter().skip(skipped).map(Bytes::len).sum()
    }

    /// Whether the oldest event may be forgotten: it was read, or nobody reads.
    fn may_forget_oldest(&self) -> bool {
        !self.events.is_empty() && (!self.has_reader || self.first() < self.unread_from)
    }
}

/// One event: its id and its data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) id: String,
    pub(super) data: Bytes,
    /// Whether it is the last of its stream.
    pub(super) is_last: bool,
}

impl Streams {
    pub(super) fn new() -> Arc<Self> {
        Self::waiting(WAIT_FOR_READER)
    }

    fn waiting(wait_for_reader: Duration) -> Arc<Self> {
        let streams = BTreeMap::from([(STANDALONE, Stream::new(None))]);
        Arc::new(Self {
            streams: Mutex::new(streams),
            wait_for_reader,
        })
    }

    /// Opens a stream that waits for so many answers. Its number is the caller's to choose, and new.
    pub(super) fn open(&self, stream: u64, awaited: usize) {
        self.lock().insert(stream, Stream::new(Some(awaited)));
    }

    /// Reads a stream from the first event that was not read, or from the one numbered `from`. Whoever read it before reads
    /// no more. `None` when there is no such stream.
    pub(super) fn read(self: &Arc<Self>, stream: u64, from: Option<u64>) -> Option<Reader> {
        let mut streams = self.lock();
        let found = streams.get_mut(&stream)?;
        if let Some(from) = from {
            found.unread_from = from.min(found.next);
        }
        found.reader += 1;
        found.has_reader = true;
        let written = Arc::clone(&found.written);
        // Who read before finds out now.
        written.notify_waiters();
        found.drained.notify_one();
        Some(Reader {
            stream,
            number: found.reader,
            written,
            streams: Arc::clone(self),
        })
    }

    pub(super) fn has_reader(&self, stream: u64) -> bool {
        self.lock().get(&stream).is_some_and(|stream| stream.has_reader)
    }

    /// Whether anybody reads anything.
    pub(super) fn have_readers(&self) -> bool {
        self.lock().values().any(|stream| stream.has_reader)
    }

    /// Adds an event; `is_answer` counts towards the stream's end. Waits while the stream's reader is behind.
    pub(super) async fn push(&self, stream: u64, data: Bytes, is_answer: bool) {
        loop {
            let drained = {
                let mut streams = self.lock();
                let Some(found) = streams.get_mut(&stream) else {
                    return;
                };
                if !found.has_reader || found.unread_bytes() < MAX_UNREAD_BYTES {
                    add(found, data, is_answer);
                    forget(&mut streams, stream);
                    return;
                }
                Arc::clone(&found.drained)
            };
            if timeout(self.wait_for_reader, drained.notified()).await.is_err()
                && let Some(found) = self.lock().get_mut(&stream)
            {
                tracing::warn!(stream, "a client does not read its stream: disconnected");
                found.reader += 1;
                found.has_reader = false;
                found.written.notify_waiters();
            }
        }
    }

    /// Adds an answer of ours, which waits for nobody.
    pub(super) fn answer(&self, stream: u64, data: Bytes) {
        let mut streams = self.lock();
        if let Some(found) = streams.get_mut(&stream) {
            add(found, data, true);
            forget(&mut streams, stream);
        }
    }

    /// An answer that will not come counts as come.
    pub(super) fn give_up(&self, stream: u64) {
        if let Some(found) = self.lock().get_mut(&stream) {
            settle(found, true);
        }
    }

    /// Ends all streams; what is in them can still be read.
    pub(super) fn end_all(&self) {
        for stream in self.lock().values_mut() {
            stream.awaited = Some(0);
            stream.written.notify_waiters();
            stream.drained.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Stream>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn add(stream: &mut Stream, data: Bytes, is_answer: bool) {
    stream.events.push_back(data);
    stream.next += 1;
    settle(stream, is_answer);
}

fn settle(stream: &mut Stream, is_answer: bool) {
    if is_answer && let Some(awaited) = &mut stream.awaited {
        *awaited = awaited.saturating_sub(1);
    }
    stream.written.notify_waiters();
}

/// Forgets what is beyond the limits, the oldest first; never the event that came just now.
fn forget(streams: &mut BTreeMap<u64, Stream>, newest: u64) {
    let mut kept: usize = streams
        .values()
        .flat_map(|stream| stream.events.iter().map(Bytes::len))
        .sum();
    while kept > MAX_KEPT_BYTES {
        let candidate = streams.iter_mut().find(|(number, stream)| {
            stream.may_forget_oldest() && (**number != newest || stream.events.len() > 1)
        });
        let Some((_, stream)) = candidate else { break };
        kept -= stream.events.pop_front().map_or(0, |event| event.len());
        stream.unread_from = stream.unread_from.max(stream.first());
    }
    let ended: Vec<u64> = streams
        .iter()
        .filter(|(number, stream)| **number != newest && stream.has_ended() && !stream.has_reader)
        .map(|(number, _)| *number)
        .collect();
    for number in ended.iter().take(ended.len().saturating_sub(MAX_ENDED)) {
        streams.remove(number);
    }
}

/// Whoever reads a stream.
#[derive(Debug)]
pub(super) struct Reader {
    stream: u64,
    number: u64,
    written: Arc<Notify>,
    streams: Arc<Streams>,
}

impl Reader {
    pub(super) fn stream(&self) -> u64 {
        self.stream
    }

    /// The next event; `None` when the stream has ended or another reader has taken over.
    pub(super) async fn next(&mut self) -> Option<Event> {
        loop {
            let written = Arc::clone(&self.written);
            let mut waiting = std::pin::pin!(written.notified());
            // From here on no event is missed.
            waiting.as_mut().enable();
            {
                let mut streams = self.streams.lock();
                let stream = streams.get_mut(&self.stream)?;
                if stream.reader != self.number {
                    return None;
                }
                let at = stream.unread_from.max(stream.first());
                if at < stream.next {
                    let index = usize::try_from(at - stream.first()).ok()?;
                    let data = stream.events.get(index)?.clone();
                    stream.unread_from = at + 1;
                    stream.drained.notify_one();
                    return Some(Event {
                        id: format!("{}-{at}", self.stream),
                        data,
                        is_last: stream.has_ended() && stream.unread_from == stream.next,
                    });
                }
                if stream.has_ended() {
                    return None;
                }
            }
            waiting.await;
        }
    }

    /// Whether the stream has ended and all of it was read.
    pub(super) fn is_done(&self) -> bool {
        let streams = self.streams.lock();
        streams
            .get(&self.stream)
            .is_none_or(|stream| stream.has_ended() && stream.unread_from == stream.next)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        if let Some(stream) = self.streams.lock().get_mut(&self.stream)
            && stream.reader == self.number
        {
            stream.has_reader = false;
            stream.drained.notify_one();
        }
    }
}

/// The id of what stands before the first event of a stream.
pub(super) fn id_of_opening(stream: u64) -> String {
    format!("{stream}-open")
}

/// Reads the id of the last event that a client has got: its stream, and the number of the next one.
pub(super) fn after(id: &str) -> Option<(u64, u64)> {
    let (stream, event) = id.split_once('-')?;
    let next = match event {
        "open" => 0,
        event => event.parse::<u64>().ok()?.saturating_add(1),
    };
    Some((stream.parse().ok()?, next))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    fn data(text: &str) -> Bytes {
        Bytes::copy_from_slice(text.as_bytes())
    }

    #[tokio::test]
    async fn a_reader_who_comes_back_takes_up_where_they_were() {
        let streams = Streams::new();
        streams.open(1, 1);
        for text in ["a", "b", "c"] {
            streams.push(1, data(text), text == "c").await;
        }
        let mut reader = streams.read(1, None).unwrap();
        let first = reader.next().await.unwrap();
        assert_eq!((first.id.as_str(), &first.data[..]), ("1-0", &b"a"[..]));
        assert_eq!(reader.next().await.unwrap().id, "1-1");
        drop(reader);
        // The second never arrived.
        let (stream, from) = after("1-0").unwrap();
        let mut reader = streams.read(stream, Some(from)).unwrap();
        assert_eq!(&reader.next().await.unwrap().data[..], b"b");
        let last = reader.next().await.unwrap();
        assert!(last.is_last && reader.is_done());
        assert_eq!(reader.next().await, None);
        assert!(streams.read(9, None).is_none());
        assert_eq!(after(&id_of_opening(1)), Some((1, 0)));
        for bad in ["", "1", "1-", "x-1", "1-x"] {
            assert_eq!(after(bad), None, "{bad}");
        }
    }

    #[tokio::test]
    async fn the_last_reader_reads_and_the_one_before_ends() {
        let streams = Streams::new();
        let mut first = streams.read(STANDALONE, None).unwrap();
        let waiting = tokio::spawn(async move { first.next().await });
        tokio::task::yield_now().await;
        let mut second = streams.read(STANDALONE, None).unwrap();
        assert_eq!(waiting.await.unwrap(), None);
        streams.push(STANDALONE, data("x"), false).await;
        assert_eq!(&second.next().await.unwrap().data[..], b"x");
        assert!(streams.has_reader(STANDALONE));
        drop(second);
        assert!(!streams.have_readers());
    }

    #[tokio::test]
    async fn what_is_kept_is_bounded_and_the_newest_stays() {
        let streams = Streams::new();
        let half = "x".repeat(MAX_KEPT_BYTES / 2);
        for number in 1..=5 {
            streams.open(number, 1);
            streams.push(number, data(&half), true).await;
        }
        let kept = |stream: u64| streams.lock()[&stream].events.len();
        assert_eq!((1..=5).map(kept).collect::<Vec<_>>(), [0, 0, 0, 1, 1]);
        streams.open(6, 1);
        streams.push(6, data(&"x".repeat(MAX_KEPT_BYTES * 2)), true).await;
        assert_eq!((4..=6).map(kept).collect::<Vec<_>>(), [0, 0, 1]);
        for number in 7..60 {
            streams.open(number, 1);
            streams.push(number, data("y"), true).await;
        }
        assert!(streams.lock().len() <= MAX_ENDED + 2);
    }

    #[tokio::test]
    async fn a_reader_who_does_not_read_stops_the_child_and_not_for_ever() {
        let streams = Streams::waiting(Duration::from_millis(50));
        let mut reader = streams.read(STANDALONE, None).unwrap();
        streams
            .push(STANDALONE, data(&"x".repeat(MAX_UNREAD_BYTES)), false)
            .await;
        let started = tokio::time::Instant::now();
        streams.push(STANDALONE, data("y"), false).await;
        assert!(started.elapsed() >= Duration::from_millis(50));
        assert_eq!(reader.next().await, None);
    }
}
