//! How much of what a child said is under way to its clients, in memory: kept for whoever comes back, or handed to a
//! connection that has not taken it yet.
//!
//! An answer may have 16 MiB and a session 256 of them at a time; clients that ask and do not read would fill the memory.
//! So the child is not listened to while too much is under way, and after a while its answers are not taken.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use tokio::{sync::Notify, time::timeout};

/// The most of a session, in bytes: the largest message, as much as is kept for readers who may come back, and the same
/// again for those who are slow.
const MAX_BYTES: usize = 40 * 1_024 * 1_024;
/// What is less than that is not counted.
const SMALL: usize = 16 * 1_024;

#[derive(Debug, Default)]
pub(super) struct UnderWay {
    bytes: AtomicUsize,
    became_less: Notify,
}

impl UnderWay {
    /// Counts `data` until the last copy of it is gone.
    pub(super) fn hold(self: &Arc<Self>, data: Bytes) -> Bytes {
        if data.len() < SMALL {
            return data;
        }
        self.bytes.fetch_add(data.len(), Ordering::Relaxed);
        Bytes::from_owner(Held {
            data,
            of: Arc::clone(self),
        })
    }

    /// Whether so much more may be held; waits until it may, for some time.
    pub(super) async fn has_room_for(&self, bytes: usize, within: Duration) -> bool {
        let room = async {
            loop {
                let mut less = std::pin::pin!(self.became_less.notified());
                // From here on no change is missed.
                less.as_mut().enable();
                let held = self.bytes.load(Ordering::Relaxed);
                if bytes < SMALL || held == 0 || held + bytes <= MAX_BYTES {
                    return;
                }
                less.await;
            }
        };
        timeout(within, room).await.is_ok()
    }
}

struct Held {
    data: Bytes,
    of: Arc<UnderWay>,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.of.bytes.fetch_sub(self.data.len(), Ordering::Relaxed);
        self.of.became_less.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_not_taken_leaves_no_room_and_what_is_taken_does() {
        let under_way = Arc::new(UnderWay::default());
        let half = || under_way.hold(Bytes::from(vec![b'x'; MAX_BYTES / 2]));
        let moment = Duration::from_millis(20);
        let (one, other) = (half(), half());
        let copy = one.clone();
        drop(one);
        assert!(!under_way.has_room_for(SMALL, moment).await);
        assert!(under_way.has_room_for(SMALL - 1, moment).await);
        let waiting = {
            let under_way = Arc::clone(&under_way);
            tokio::spawn(async move { under_way.has_room_for(SMALL, Duration::from_secs(10)).await })
        };
        tokio::task::yield_now().await;
        drop(copy);
        assert_eq!(waiting.await.ok(), Some(true));
        drop(other);
        // One that is larger than everything has room when it is alone.
        assert!(under_way.has_room_for(2 * MAX_BYTES, moment).await);
    }
}
