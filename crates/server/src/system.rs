//! The ports that the operating system fills: the clock and randomness.

use std::{
    cell::RefCell,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use mcp_authflow::port::{Clock, Entropy, Stopwatch};
use mcp_authflow_types::Timestamp;
use zeroize::Zeroize as _;

/// The system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the room for the clock")]
    fn now(&self) -> Timestamp {
        let seconds = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        Timestamp::from_seconds(i64::try_from(seconds).unwrap_or(i64::MAX))
    }
}

/// How long it has been since this value was made, whatever is done to the clock meanwhile.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SinceStart(Instant);

impl SinceStart {
    #[expect(clippy::disallowed_methods, reason = "this is the room for the clock")]
    pub(crate) fn now() -> Self {
        Self(Instant::now())
    }
}

impl Stopwatch for SinceStart {
    fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

/// The system's randomness, drawn a kilobyte at a time: one system call serves some thirty tokens.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SystemEntropy;

const BLOCK: usize = 1_024;

struct Buffer {
    bytes: [u8; BLOCK],
    used: usize,
}

thread_local! {
    static BUFFER: RefCell<Buffer> = const { RefCell::new(Buffer { bytes: [0; BLOCK], used: BLOCK }) };
}

impl Entropy for SystemEntropy {
    fn fill(&self, out: &mut [u8]) {
        BUFFER.with_borrow_mut(|buffer| {
            for piece in out.chunks_mut(64) {
                if buffer.used + piece.len() > BLOCK {
                    draw(&mut buffer.bytes);
                    buffer.used = 0;
                }
                let taken = &mut buffer.bytes[buffer.used..buffer.used + piece.len()];
                piece.copy_from_slice(taken);
                // What was handed out is nobody's to find in this memory.
                taken.zeroize();
                buffer.used += piece.len();
            }
        });
    }
}

#[expect(clippy::expect_used, reason = "a system without randomness must not go on")]
#[expect(clippy::disallowed_methods, reason = "this is the room for randomness")]
fn draw(bytes: &mut [u8]) {
    getrandom::fill(bytes).expect("the operating system gives randomness");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_handed_out_twice() {
        let mut seen = std::collections::HashSet::new();
        for _ in 0..1_000 {
            let mut bytes = [0; 32];
            SystemEntropy.fill(&mut bytes);
            assert!(seen.insert(bytes));
        }
        let mut long = [0; 5_000];
        SystemEntropy.fill(&mut long);
        assert!(long.chunks(16).all(|piece| piece.iter().any(|byte| *byte != 0)));
    }
}
