//! The log: text or JSON lines on standard error, written by a thread of its own so that a slow reader of the log slows
//! no sign-in.

use std::{
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel},
    },
    thread::JoinHandle,
    time::Duration,
};

use tracing::{Subscriber, level_filters::LevelFilter};
use tracing_subscriber::{
    EnvFilter,
    filter::Targets,
    fmt::MakeWriter,
    layer::{Layer as _, SubscriberExt as _},
    util::SubscriberInitExt as _,
};

/// How many lines may wait to be written. Beyond that lines are dropped, and their number is told.
const WAITING_LINES: usize = 16_384;
/// How long the end waits for somebody to read what was not written yet.
const LAST_LINES: Duration = Duration::from_secs(2);
/// Crates that log what passes through them: statement parameters (password hashes, digests), headers (tokens, cookies),
/// handshakes, bodies. They are heard from `info` on, whatever the filter says. A name covers all that begin with it.
const CARRIERS: [&str; 5] = ["tokio_postgres", "h2", "hyper", "rustls", "axum::rejection"];

/// Keeps the log going; what waits is written when it is dropped.
pub(crate) struct LogGuard {
    lines: SyncSender<Vec<u8>>,
    is_ending: Arc<AtomicBool>,
    writer: Option<JoinHandle<()>>,
    has_ended: Receiver<()>,
}

#[derive(Clone)]
struct Lines {
    lines: SyncSender<Vec<u8>>,
    dropped: Arc<AtomicU64>,
}

/// One line on its way.
struct Line<'a> {
    to: &'a Lines,
    text: Vec<u8>,
}

/// Says what is wrong with a filter.
pub(crate) fn check_filter(filter: &str) -> Result<(), String> {
    EnvFilter::try_new(filter).map(drop).map_err(|error| {
        format!("{error}; write a level, or directives with commas between, such as info,audit=debug")
    })
}

/// Starts the log.
///
/// # Errors
/// When the filter is malformed, or a log was started before.
pub(crate) fn start(json: bool, filter: &str) -> anyhow::Result<LogGuard> {
    let (guard, lines) = write_to(io::stderr())?;
    subscriber(json, filter, lines)?.try_init()?;
    Ok(guard)
}

/// What decides which events are written, and how.
fn subscriber(
    json: bool,
    filter: &str,
    lines: impl for<'a> MakeWriter<'a> + Send + Sync + 'static,
) -> anyhow::Result<impl Subscriber + Send + Sync> {
    let filter =
        EnvFilter::try_new(filter).map_err(|error| anyhow::anyhow!("log.filter = \"{filter}\": {error}"))?;
    // Beside the filter, not in it: there a directive that says more, such as tokio_postgres::query=debug or
    // [request]=trace, would win.
    let most = filter.max_level_hint().unwrap_or(LevelFilter::TRACE);
    let ceiling = Targets::new()
        .with_default(most)
        .with_targets(CARRIERS.map(|carrier| (carrier, most.min(LevelFilter::INFO))));
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(lines)
        .with_ansi(false);
    let lines = if json {
        let lines = lines.json().flatten_event(true).with_current_span(true);
        lines.with_span_list(false).boxed()
    } else {
        lines.boxed()
    };
    Ok(tracing_subscriber::registry()
        .with(lines)
        .with(filter)
        .with(ceiling))
}

/// Starts the thread that writes.
fn write_to(out: impl Write + Send + 'static) -> io::Result<(LogGuard, Lines)> {
    let (lines, waiting) = sync_channel(WAITING_LINES);
    let (ended, has_ended) = sync_channel(0);
    let dropped = Arc::new(AtomicU64::new(0));
    let is_ending = Arc::new(AtomicBool::new(false));
    let (told, ending) = (dropped.clone(), is_ending.clone());
    let writer = std::thread::Builder::new()
        .name("log".to_owned())
        .spawn(move || {
            write_lines(out, &waiting, &told, &ending);
            drop(ended);
        })?;
    let guard = LogGuard {
        lines: lines.clone(),
        is_ending,
        writer: Some(writer),
        has_ended,
    };
    Ok((guard, Lines { lines, dropped }))
}

/// Writes until the end; flushes whenever nothing waits.
fn write_lines(out: impl Write, waiting: &Receiver<Vec<u8>>, dropped: &AtomicU64, is_ending: &AtomicBool) {
    let mut out = io::BufWriter::with_capacity(64 * 1_024, out);
    loop {
        let line = match waiting.try_recv() {
            Ok(line) => line,
            Err(TryRecvError::Disconnected) => break,
            Err(TryRecvError::Empty) => {
                let _ = out.flush();
                if is_ending.load(Ordering::SeqCst) {
                    break;
                }
                match waiting.recv() {
                    Ok(line) => line,
                    Err(_) => break,
                }
            }
        };
        let lost = dropped.swap(0, Ordering::Relaxed);
        if lost > 0 {
            let _ = writeln!(
                out,
                "{lost} log lines were dropped: the log is not read fast enough"
            );
        }
        let _ = out.write_all(&line);
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line {
            to: self,
            text: Vec::with_capacity(256),
        }
    }
}

impl Write for Line<'_> {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(piece);
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        let text = std::mem::take(&mut self.text);
        if !text.is_empty() && self.to.lines.try_send(text).is_err() {
            self.to.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for LogGuard {
    fn drop(&mut self) {
        self.is_ending.store(true, Ordering::SeqCst);
        // Wakes a writer that has nothing to write. One that finds no room here has lines before it, and looks after the
        // last of them whether this is the end.
        let _ = self.lines.try_send(Vec::new());
        // A log that nobody reads any more must not keep the process.
        let ended = self.has_ended.recv_timeout(LAST_LINES) != Err(RecvTimeoutError::Timeout);
        if let Some(writer) = self.writer.take().filter(|_| ended) {
            let _ = writer.join();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use std::{io::Read as _, sync::mpsc::channel};

    use super::*;

    #[test]
    fn what_waits_is_written_at_the_end() {
        let (mut log, pipe) = io::pipe().unwrap();
        let (guard, lines) = write_to(pipe).unwrap();
        for number in 0..100 {
            writeln!(lines.make_writer(), "line {number}").unwrap();
        }
        drop(guard);
        let mut text = String::new();
        log.read_to_string(&mut text).unwrap();
        assert_eq!(text.lines().count(), 100);
        assert!(text.ends_with("line 99\n"), "{text}");
    }

    #[test]
    fn a_log_that_nobody_reads_does_not_keep_the_process() {
        let (unread, pipe) = io::pipe().unwrap();
        let (guard, lines) = write_to(pipe).unwrap();
        // More than pipe, buffer and queue hold together.
        for _ in 0..WAITING_LINES + 1_000 {
            lines.make_writer().write_all(&[b'x'; 512]).unwrap();
        }
        assert!(lines.dropped.load(Ordering::Relaxed) > 0);
        let (ended, has_ended) = channel();
        std::thread::spawn(move || {
            drop(guard);
            ended.send(()).unwrap();
        });
        has_ended.recv_timeout(LAST_LINES * 5).unwrap();
        drop(unread);
    }

    /// What is written of events that carry what passes through.
    fn heard(filter: &str) -> String {
        let (mut log, pipe) = io::pipe().unwrap();
        let (guard, lines) = write_to(pipe).unwrap();
        tracing::subscriber::with_default(subscriber(false, filter, lines).unwrap(), || {
            let _request = tracing::info_span!("request").entered();
            tracing::debug!(target: "tokio_postgres::query", "parameters: $argon2id");
            tracing::trace!(target: "h2::codec", "headers: Bearer");
            tracing::debug!(target: "hyper::proto", "body");
            tracing::trace!(target: "rustls::server::hs", "hello");
            tracing::warn!(target: "tokio_postgres::connection", "the connection is lost");
            tracing::debug!(target: "http", "answered");
        });
        drop(guard);
        let mut text = String::new();
        log.read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn no_filter_makes_a_crate_tell_what_passes_through_it() {
        for filter in [
            "debug",
            "trace",
            "trace,tokio_postgres::query=trace,h2=trace,hyper::proto=trace,rustls=trace",
            "info,http=debug,[request]=trace",
        ] {
            let log = heard(filter);
            assert!(
                log.contains("answered") && log.contains("is lost"),
                "{filter}: {log}"
            );
            for carried in ["argon2id", "Bearer", "body", "hello"] {
                assert!(!log.contains(carried), "{filter}: {log}");
            }
        }
        let log = heard("error");
        assert_eq!(log, "");
    }
}
