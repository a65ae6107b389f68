//! Lines on their way to whoever reads the log: gathered by those who write them, written out by one thread a few
//! milliseconds later, many at a time. A line costs a lock and a copy, and no wake-up.

use std::{
    io::{self, Write},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::Duration,
};

use tracing_subscriber::fmt::MakeWriter;

/// How many bytes may wait to be written. Lines beyond that are dropped, and their number is told.
const WAITING_BYTES: usize = 4 * 1_024 * 1_024;
/// How long lines are gathered before they are written out together.
const GATHER: Duration = Duration::from_millis(5);
/// How long the end waits for somebody to read what was not written yet.
const LAST_LINES: Duration = Duration::from_secs(2);

/// Keeps the log going; what waits is written when it is dropped.
pub(crate) struct LogGuard {
    shared: Arc<Shared>,
    writer: Option<JoinHandle<()>>,
}

/// Takes lines: each write is one.
#[derive(Clone)]
pub(super) struct Lines(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: Vec<u8>,
    dropped: u64,
    is_ending: bool,
    has_ended: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts the thread that writes.
pub(super) fn write_to(out: impl Write + Send + 'static) -> io::Result<(LogGuard, Lines)> {
    let shared = Arc::new(Shared::default());
    let theirs = shared.clone();
    let writer = std::thread::Builder::new()
        .name("log".to_owned())
        .spawn(move || {
            write_lines(out, &theirs);
            theirs.lock().has_ended = true;
            theirs.changed.notify_all();
        })?;
    Ok((
        LogGuard {
            shared: shared.clone(),
            writer: Some(writer),
        },
        Lines(shared),
    ))
}

/// Writes out what was gathered, again and again, until the end.
fn write_lines(mut out: impl Write, shared: &Shared) {
    let mut taken = Vec::new();
    loop {
        let mut state = shared.lock();
        while state.waiting.is_empty() && !state.is_ending {
            state = shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if !state.is_ending {
            // The first line of many: let the others come.
            let gathering = shared
                .changed
                .wait_timeout_while(state, GATHER, |state| !state.is_ending);
            (state, _) = gathering.unwrap_or_else(PoisonError::into_inner);
        }
        std::mem::swap(&mut taken, &mut state.waiting);
        let (dropped, is_ending) = (std::mem::take(&mut state.dropped), state.is_ending);
        drop(state);
        // A log that cannot be written is nobody's reason to stop.
        let _ = out.write_all(&taken);
        if dropped > 0 {
            let _ = writeln!(
                out,
                "{dropped} log lines were dropped: the log is not read fast enough"
            );
        }
        let _ = out.flush();
        if is_ending && taken.is_empty() {
            break;
        }
        taken.clear();
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> &'a Self {
        self
    }
}

impl Write for &Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut state = self.0.lock();
        if state.waiting.len() + line.len() > WAITING_BYTES {
            state.dropped += 1;
        } else {
            let is_first = state.waiting.is_empty();
            state.waiting.extend_from_slice(line);
            drop(state);
            if is_first {
                self.0.changed.notify_one();
            }
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for LogGuard {
    fn drop(&mut self) {
        self.shared.lock().is_ending = true;
        self.shared.changed.notify_all();
        // A log that nobody reads any more must not keep the process.
        let waited = self
            .shared
            .changed
            .wait_timeout_while(self.shared.lock(), LAST_LINES, |state| !state.has_ended);
        let has_ended = waited.map_or(true, |(state, _)| state.has_ended);
        if let Some(writer) = self.writer.take().filter(|_| has_ended) {
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
            lines
                .make_writer()
                .write_all(format!("line {number}\n").as_bytes())
                .unwrap();
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
        // More than the pipe and both buffers hold together.
        for _ in 0..3 * WAITING_BYTES / 512 {
            lines.make_writer().write_all(&[b'x'; 512]).unwrap();
        }
        assert!(lines.0.lock().dropped > 0);
        let (ended, has_ended) = channel();
        std::thread::spawn(move || {
            drop(guard);
            ended.send(()).unwrap();
        });
        has_ended.recv_timeout(LAST_LINES * 5).unwrap();
        drop(unread);
    }
}
