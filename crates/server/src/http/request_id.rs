//! A name for each request, in its answer and in every log line that belongs to it.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
};

/// A request's name: this process's start, and a number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RequestId {
    process: u32,
    number: u64,
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}-{:x}", self.process, self.number)
    }
}

/// Names requests.
#[derive(Debug)]
pub(super) struct RequestIds {
    process: u32,
    next: AtomicU64,
}

impl RequestIds {
    /// Begins with a random process name, so that nodes and restarts do not share names.
    pub(super) fn new(process: u32) -> Self {
        Self {
            process,
            next: AtomicU64::new(1),
        }
    }

    pub(super) fn next(&self) -> RequestId {
        RequestId {
            process: self.process,
            number: self.next.fetch_add(1, Ordering::Relaxed),
        }
    }
}
