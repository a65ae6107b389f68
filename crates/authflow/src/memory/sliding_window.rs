//! The windows of one rule: for each key, when its tries of the last window were.
//!
//! A try costs the same however large the limit is: it is added at one end, and leaves at the other, once. A key costs the
//! same however long its text is. Time is an argument, in nanoseconds.

use std::{collections::VecDeque, time::Duration};

use hashlink::LinkedHashMap;
use mcp_authflow_types::TokenHash;

use crate::port::rate_limit::{Admission, KeyState};

/// How many keys one call forgets at most in passing, so that no call pays for a whole table.
const SWEPT_AT_ONCE: usize = 1_024;

type Digest = [u8; 32];

/// The keys of a rule. The one whose latest try is oldest stands first.
#[derive(Default)]
pub(super) struct Windows {
    keys: LinkedHashMap<Digest, VecDeque<u64>>,
    /// The tries of all keys.
    tries: usize,
    /// When the last sweep was.
    swept_at: Option<u64>,
}

/// How much a rule may hold.
#[derive(Clone, Copy)]
pub(super) struct Room {
    pub(super) keys: usize,
    pub(super) tries: usize,
}

pub(super) fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn digest(key: &str) -> Digest {
    *TokenHash::of(key).as_bytes()
}

/// Where the tries begin that are younger than a window: one that is exactly a window old is over.
fn first_within(tries: &VecDeque<u64>, window: u64, now: u64) -> usize {
    tries.partition_point(|at| now.saturating_sub(*at) >= window)
}

impl Windows {
    /// Counts a try, unless as many as the limit lie in the last window.
    pub(super) fn admit(
        &mut self,
        key: &str,
        limit: u32,
        window: Duration,
        now: u64,
        room: Room,
    ) -> Admission {
        let length = nanoseconds(window);
        self.sweep(length, now);
        let limit = limit as usize;
        if limit == 0 {
            return Admission::Refused { retry_after: window };
        }
        let key = digest(key);
        if let Some(tries) = self.keys.get_mut(&key) {
            while tries.front().is_some_and(|at| now.saturating_sub(*at) >= length) {
                tries.pop_front();
                self.tries -= 1;
            }
            // Under a limit that was lowered meanwhile, more than one has to go.
            if let Some(at) = tries.len().checked_sub(limit).and_then(|over| tries.get(over)) {
                let retry_after = Duration::from_nanos(at.saturating_add(length).saturating_sub(now));
                return Admission::Refused { retry_after };
            }
        }
        self.keys.to_back(&key);
        self.keys.entry(key).or_insert_with(VecDeque::new).push_back(now);
        self.tries += 1;
        self.make_room(room);
        Admission::Admitted
    }

    /// Says how things stand with a key, and changes nothing.
    pub(super) fn look(&self, key: &str, limit: u32, window: Duration, now: u64) -> KeyState {
        let length = nanoseconds(window);
        let limit = limit as usize;
        if limit == 0 {
            return KeyState {
                retry_after: window,
                oldest: None,
            };
        }
        let Some(tries) = self.keys.get(&digest(key)) else {
            return KeyState::default();
        };
        let within = first_within(tries, length, now);
        let frees = (tries.len() - within)
            .checked_sub(limit)
            .and_then(|over| tries.get(within + over));
        let retry_after = frees.map_or(0, |at| at.saturating_add(length).saturating_sub(now));
        KeyState {
            retry_after: Duration::from_nanos(retry_after),
            oldest: tries
                .front()
                .map(|at| Duration::from_nanos(now.saturating_sub(*at))),
        }
    }

    /// Forgets the latest try of a key.
    pub(super) fn take_back(&mut self, key: &str) {
        let key = digest(key);
        let Some(tries) = self.keys.get_mut(&key) else {
            return;
        };
        if tries.pop_back().is_some() {
            self.tries -= 1;
        }
        if tries.is_empty() {
            self.keys.remove(&key);
        }
    }

    /// Forgets a key.
    pub(super) fn forgive(&mut self, key: &str) {
        if let Some(tries) = self.keys.remove(&digest(key)) {
            self.tries -= tries.len();
        }
    }

    /// How many keys are held.
    pub(super) fn keys(&self) -> usize {
        self.keys.len()
    }

    /// How many tries of a key are held.
    pub(super) fn tries_of(&self, key: &str) -> usize {
        self.keys.get(&digest(key)).map_or(0, VecDeque::len)
    }

    /// Once in a window, forgets the keys whose latest try lies before it. They stand first, so that only they are looked
    /// at, each once in its life.
    fn sweep(&mut self, window: u64, now: u64) {
        if self.swept_at.is_some_and(|at| now.saturating_sub(at) < window) {
            return;
        }
        for _ in 0..SWEPT_AT_ONCE {
            let is_over = self.keys.front().is_some_and(|(_, tries)| {
                tries
                    .back()
                    .is_none_or(|latest| now.saturating_sub(*latest) > window)
            });
            if !is_over {
                self.swept_at = Some(now);
                return;
            }
            self.drop_first();
        }
    }

    /// Drops the quietest keys while there is too much; the newest stays in any case.
    fn make_room(&mut self, room: Room) {
        while self.keys.len() > 1 && (self.keys.len() > room.keys || self.tries > room.tries) {
            self.drop_first();
        }
    }

    fn drop_first(&mut self) {
        if let Some((_, tries)) = self.keys.pop_front() {
            self.tries -= tries.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: Room = Room { keys: 10, tries: 40 };
    const WINDOW: Duration = Duration::from_nanos(100);

    fn admit(windows: &mut Windows, key: &str, now: u64) -> bool {
        windows.admit(key, 30, WINDOW, now, ROOM) == Admission::Admitted
    }

    #[test]
    fn what_is_held_is_bounded_in_keys_and_in_tries() {
        let mut windows = Windows::default();
        for number in 0..25 {
            assert!(admit(&mut windows, &number.to_string(), number));
            assert!(windows.keys() <= 10);
        }
        assert_eq!(
            (windows.tries_of("14"), windows.tries_of("15")),
            (0, 1),
            "the quietest goes"
        );
        for now in 25..55 {
            assert!(admit(&mut windows, "24", now) == (now < 54));
        }
        assert_eq!((windows.tries_of("24"), windows.tries), (30, 39));
        for now in 55..85 {
            assert!(admit(&mut windows, "new", now));
        }
        assert!(windows.tries <= 40, "{}", windows.tries);
        let held: usize = windows.keys.values().map(VecDeque::len).sum();
        assert_eq!(held, windows.tries);
    }

    #[test]
    fn a_key_under_a_limit_that_was_lowered_waits_for_all_that_are_too_many() {
        let mut windows = Windows::default();
        for now in [0, 10, 20, 30] {
            assert!(admit(&mut windows, "a", now));
        }
        let refused = Admission::Refused {
            retry_after: Duration::from_nanos(20 + 100 - 40),
        };
        assert_eq!(windows.admit("a", 2, WINDOW, 40, ROOM), refused);
        assert_eq!(
            windows.look("a", 2, WINDOW, 40).retry_after,
            Duration::from_nanos(80)
        );
        assert_eq!(windows.admit("a", 2, WINDOW, 120, ROOM), Admission::Admitted);
    }

    #[test]
    fn a_sweep_is_done_in_pieces() {
        let mut windows = Windows::default();
        let room = Room {
            keys: 10_000,
            tries: 10_000,
        };
        for number in 0..3_000 {
            let _ = windows.admit(&number.to_string(), 1, WINDOW, 0, room);
        }
        for left in [1_977, 954, 3] {
            let _ = windows.admit(&format!("new {left}"), 1, WINDOW, 1_000, room);
            assert_eq!(windows.keys(), left);
        }
    }
}
