//! What a service has written, kept so that a test can wait for a line or show it.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How many lines are kept; older ones are dropped first.
const MAX_LINES: usize = 20_000;

/// The lines that one or more pipes have delivered so far. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Output {
    shared: Arc<(Mutex<Lines>, Condvar)>,
}

#[derive(Debug, Default)]
struct Lines {
    kept: VecDeque<String>,
    dropped: usize,
    open_pipes: usize,
}

impl Output {
    /// Reads `pipe` to its end on a thread of its own.
    pub fn collect(&self, pipe: impl Read + Send + 'static) {
        self.lines().open_pipes += 1;
        let output = self.clone();
        std::thread::spawn(move || {
            let mut reader = BufReader::new(pipe);
            let mut line = Vec::new();
            while matches!(reader.read_until(b'\n', &mut line), Ok(length) if length > 0) {
                output.push(String::from_utf8_lossy(&line).trim_end().to_owned());
                line.clear();
            }
            output.lines().open_pipes -= 1;
            output.shared.1.notify_all();
        });
    }

    /// Waits until a line contains `needle` and returns that line, or returns `None`
    /// when `patience` has passed or every pipe has ended.
    pub fn wait_for(&self, needle: &str, patience: Duration) -> Option<String> {
        let deadline = Instant::now() + patience;
        let mut seen = 0;
        let mut lines = self.lines();
        loop {
            let start = seen.max(lines.dropped) - lines.dropped;
            if let Some(line) = lines.kept.iter().skip(start).find(|line| line.contains(needle)) {
                return Some(line.clone());
            }
            seen = lines.dropped + lines.kept.len();
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || lines.open_pipes == 0 {
                return None;
            }
            lines = self
                .shared
                .1
                .wait_timeout(lines, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// Whether every pipe has ended, as it does when whoever writes has ended.
    pub fn is_at_end(&self) -> bool {
        self.lines().open_pipes == 0
    }

    /// Everything that is kept, as one text.
    pub fn text(&self) -> String {
        self.tail(MAX_LINES)
    }

    /// The last `count` lines, as one text.
    pub fn tail(&self, count: usize) -> String {
        let lines = self.lines();
        let skipped = lines.kept.len().saturating_sub(count);
        lines
            .kept
            .iter()
            .skip(skipped)
            .cloned()
            .collect::<Vec<_>>()
            .join("\n")
    }

    /// Forgets what was written, so that the next [`Output::wait_for`] waits for something new.
    pub fn clear(&self) {
        let mut lines = self.lines();
        lines.dropped += lines.kept.len();
        lines.kept.clear();
    }

    fn push(&self, line: String) {
        let mut lines = self.lines();
        if lines.kept.len() == MAX_LINES {
            lines.kept.pop_front();
            lines.dropped += 1;
        }
        lines.kept.push_back(line);
        drop(lines);
        self.shared.1.notify_all();
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.shared.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_arrives_is_found_and_one_that_never_comes_is_not() {
        let output = Output::default();
        output.collect(&b"starting\nlistening on 127.0.0.1:1\n"[..]);
        let patience = Duration::from_secs(10);
        assert_eq!(
            output.wait_for("listening on", patience).as_deref(),
            Some("listening on 127.0.0.1:1")
        );
        // The pipe has ended, so the answer comes at once and not after the patience.
        assert_eq!(output.wait_for("never said", Duration::from_secs(600)), None);
        assert_eq!(output.tail(1), "listening on 127.0.0.1:1");
    }

    #[test]
    fn only_the_newest_lines_are_kept() {
        let output = Output::default();
        for number in 0..=MAX_LINES {
            output.push(number.to_string());
        }
        assert!(output.text().starts_with("1\n"));
        assert_eq!(output.tail(1), MAX_LINES.to_string());
    }
}
