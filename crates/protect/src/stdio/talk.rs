//! How much of what a child says beside its messages is logged: so many lines a minute, and of the rest the number.
//!
//! A child that reports every request, or loops over an error, would fill the disk of the machine with its words.

use std::time::Duration;

use tokio::time::Instant;

/// The most lines a minute. A start with its banner and the trace of an error are within it.
const MAX_LINES: u32 = 200;
const MINUTE: Duration = Duration::from_secs(60);

/// What one of a child's outputs has said in this minute.
#[derive(Debug)]
pub(super) struct Talk {
    since: Instant,
    lines: u32,
    left_out: u64,
}

/// What is done with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is logged, and so many before it were not.
    Logged { left_out: u64 },
    /// It is counted.
    LeftOut,
}

impl Talk {
    pub(super) fn starting(now: Instant) -> Self {
        Self {
            since: now,
            lines: 0,
            left_out: 0,
        }
    }

    /// Judges one line.
    pub(super) fn hear(&mut self, now: Instant) -> Verdict {
        if now.duration_since(self.since) >= MINUTE {
            self.since = now;
            self.lines = 0;
        }
        if self.lines >= MAX_LINES {
            self.left_out += 1;
            return Verdict::LeftOut;
        }
        self.lines += 1;
        Verdict::Logged {
            left_out: std::mem::take(&mut self.left_out),
        }
    }

    /// How many lines were left out since one was logged.
    pub(super) fn left_out(&self) -> u64 {
        self.left_out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_that_says_too_much_is_logged_in_part_and_the_rest_is_counted() {
        let start = Instant::now();
        let mut talk = Talk::starting(start);
        for _ in 0..MAX_LINES {
            assert_eq!(talk.hear(start), Verdict::Logged { left_out: 0 });
        }
        for number in 1..=3 {
            assert_eq!(talk.hear(start + MINUTE / 2), Verdict::LeftOut);
            assert_eq!(talk.left_out(), number);
        }
        assert_eq!(talk.hear(start + MINUTE), Verdict::Logged { left_out: 3 });
        assert_eq!(talk.left_out(), 0);
        for _ in 1..MAX_LINES {
            assert_eq!(talk.hear(start + MINUTE), Verdict::Logged { left_out: 0 });
        }
        assert_eq!(
            talk.hear(start + MINUTE * 2 - Duration::from_millis(1)),
            Verdict::LeftOut
        );
    }
}
