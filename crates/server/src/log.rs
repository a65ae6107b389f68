//! The log: text or JSON lines on standard error, written by a thread of its own so that a slow reader of the log slows
//! no sign-in.

use std::{
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, TryRecvError, sync_channel},
    },
    thread::JoinHandle,
};

use tracing_subscriber::{EnvFilter, fmt::MakeWriter};

use crate::config;

/// How many lines may wait to be written. Beyond that lines are dropped, and their number is told.
const WAITING_LINES: usize = 16_384;

/// Keeps the log going; what waits is written when it is dropped.
pub(crate) struct LogGuard {
    lines: Option<SyncSender<Vec<u8>>>,
    writer: Option<JoinHandle<()>>,
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

/// Starts the log.
///
/// # Errors
/// When the filter is malformed.
pub(crate) fn start(log: &config::Log) -> anyhow::Result<LogGuard> {
    let filter = EnvFilter::try_new(&log.filter)
        .map_err(|error| anyhow::anyhow!("log.filter = \"{}\": {error}", log.filter))?;
    let (lines, waiting) = sync_channel(WAITING_LINES);
    let dropped = Arc::new(AtomicU64::new(0));
    let told = dropped.clone();
    let writer = std::thread::Builder::new()
        .name("log".to_owned())
        .spawn(move || write_lines(&waiting, &told))?;
    let guard = LogGuard {
        lines: Some(lines.clone()),
        writer: Some(writer),
    };
    let lines = Lines { lines, dropped };
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(lines);
    let started = if log.json {
        builder
            .json()
            .flatten_event(true)
            .with_current_span(true)
            .with_span_list(false)
            .try_init()
    } else {
        builder.with_ansi(false).try_init()
    };
    started.map_err(|error| anyhow::anyhow!("the log cannot be started: {error}"))?;
    Ok(guard)
}

/// Writes until nobody can send any more; flushes whenever nothing waits.
fn write_lines(waiting: &Receiver<Vec<u8>>, dropped: &AtomicU64) {
    let mut out = io::BufWriter::with_capacity(64 * 1_024, io::stderr());
    loop {
        let line = match waiting.try_recv() {
            Ok(line) => line,
            Err(TryRecvError::Disconnected) => break,
            Err(TryRecvError::Empty) => {
                let _ = out.flush();
                match waiting.recv() {
                    Ok(line) => line,
                    Err(_) => break,
                }
            }
        };
        // An empty line is the guard's farewell.
        if line.is_empty() {
            break;
        }
        let lost = dropped.swap(0, Ordering::Relaxed);
        if lost > 0 {
            let _ = writeln!(
                out,
                "{lost} log lines were dropped: the log is not read fast enough"
            );
        }
        let _ = out.write_all(&line);
    }
    let _ = out.flush();
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
        // The subscriber keeps a sender for ever, so an empty line says that this is the end.
        if let Some(lines) = self.lines.take() {
            let _ = lines.send(Vec::new());
        }
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}
