//! What was used once.

use std::{
    collections::{BTreeMap, HashMap, hash_map::Entry},
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
};

use mcp_authflow_types::Timestamp;

use super::MemoryStore;
use crate::port::{OneTimeUse, RecordOnce, Replay, store::StoreResult};

type Digest = [u8; 32];

/// A memory of what was used once, in this process.
///
/// It is for one process: behind several, each would let a stolen assertion in once. Every [`MemoryStore`] has one of
/// its own; this one stands alone, beside another store.
///
/// Each owner has room for [`PER_OWNER`](Self::PER_OWNER) entries that have not expired, and all of them together for
/// [`TOTAL`](Self::TOTAL); what finds no room is refused. An expired entry goes when a later one comes, each once.
///
/// ```
/// use mcp_authflow::{memory::MemoryReplay, port::{OneTimeUse, RecordOnce, Replay as _, ReplayKind}};
/// use mcp_authflow_types::Timestamp;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), mcp_authflow::port::StoreError> {
/// let replay = MemoryReplay::new();
/// let (now, expires_at) = (Timestamp::from_seconds(1_000), Timestamp::from_seconds(1_060));
/// let once = OneTimeUse::new(ReplayKind::ClientAssertion, "client-1", "jti-1", now, expires_at);
/// assert_eq!(replay.record_once(&once, now).await?, RecordOnce::FirstUse);
/// assert_eq!(replay.record_once(&once, now).await?, RecordOnce::Replay);
/// # Ok(())
/// # }
/// ```
///
/// # Security
/// A process that starts again has forgotten what was used shortly before. Tell it with [`begun_at`](Self::begun_at) when
/// it began, and what was issued before that is refused. A client whose clock is ahead dates what it issues ahead, too: add
/// the leeway that such clients have, and for as long a fresh start refuses everybody; leave it out, and what a client
/// with such a clock used in the last moments before the start may be used once more.
pub struct MemoryReplay(Mutex<Memory>);

pub(super) struct Memory {
    /// What was used, and whose it was.
    used: HashMap<Digest, Digest>,
    by_expiry: BTreeMap<Timestamp, Vec<Digest>>,
    per_owner: HashMap<Digest, usize>,
    /// The latest expiry of what was forgotten. A clock that is set back may take such a thing for good again.
    forgotten_until: Option<Timestamp>,
    begun_at: Option<Timestamp>,
    room: usize,
    room_per_owner: usize,
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            used: HashMap::new(),
            by_expiry: BTreeMap::new(),
            per_owner: HashMap::new(),
            forgotten_until: None,
            begun_at: None,
            room: MemoryReplay::TOTAL,
            room_per_owner: MemoryReplay::PER_OWNER,
        }
    }
}

impl Memory {
    fn record(&mut self, once: &OneTimeUse, now: Timestamp) -> RecordOnce {
        // Two go for each that comes, so what has expired never piles up.
        self.forget(now, 2);
        if self.used.contains_key(&once.digest) {
            return RecordOnce::Replay;
        }
        let is_forgotten = self.forgotten_until.is_some_and(|until| once.expires_at <= until);
        let is_older = self.begun_at.is_some_and(|begun| once.issued_at < begun);
        if is_forgotten || is_older || once.expires_at.has_passed(now) {
            return RecordOnce::CannotTell;
        }
        if !self.has_room_for(once) {
            self.forget(now, usize::MAX);
            if !self.has_room_for(once) {
                return RecordOnce::Full;
            }
        }
        self.used.insert(once.digest, once.owner);
        self.by_expiry
            .entry(once.expires_at)
            .or_default()
            .push(once.digest);
        *self.per_owner.entry(once.owner).or_default() += 1;
        RecordOnce::FirstUse
    }

    fn has_room_for(&self, once: &OneTimeUse) -> bool {
        let owners = self.per_owner.get(&once.owner).copied().unwrap_or(0);
        self.used.len() < self.room && owners < self.room_per_owner
    }

    /// Forgets at most `limit` of what has expired; answers how many went.
    pub(super) fn forget(&mut self, now: Timestamp, limit: usize) -> usize {
        let mut gone = 0;
        while gone < limit
            && let Some(mut first) = self.by_expiry.first_entry()
            && first.key().has_passed(now)
        {
            let expired_at = *first.key();
            let digest = first.get_mut().pop();
            if first.get().is_empty() {
                first.remove();
            }
            self.forgotten_until = self.forgotten_until.max(Some(expired_at));
            let Some(owner) = digest.and_then(|digest| self.used.remove(&digest)) else {
                continue;
            };
            if let Entry::Occupied(mut count) = self.per_owner.entry(owner) {
                *count.get_mut() -= 1;
                if *count.get() == 0 {
                    count.remove();
                }
            }
            gone += 1;
        }
        gone
    }
}

impl MemoryReplay {
    /// How many unexpired entries are held at most, of all owners together: some 50 MiB.
    pub const TOTAL: usize = 262_144;
    /// How many unexpired entries are held at most of one owner: 45 a second, at six minutes each.
    pub const PER_OWNER: usize = 16_384;

    /// Makes a memory of nothing.
    pub fn new() -> Self {
        Self::with_room_for(Self::TOTAL, Self::PER_OWNER)
    }

    /// The same with other room: for all, and for one owner; at least one each.
    pub fn with_room_for(total: usize, per_owner: usize) -> Self {
        Self(Mutex::new(Memory {
            room: total.max(1),
            room_per_owner: per_owner.max(1),
            ..Memory::default()
        }))
    }

    /// Refuses what was issued before `now`, when this memory did not exist yet.
    #[must_use]
    pub fn begun_at(self, now: Timestamp) -> Self {
        self.memory().begun_at = Some(now);
        self
    }

    /// How many entries are held, expired ones that have not gone yet included.
    pub fn len(&self) -> usize {
        self.memory().used.len()
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for MemoryReplay {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryReplay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryReplay")
            .field("entries", &self.len())
            .finish_non_exhaustive()
    }
}

#[async_trait::async_trait]
impl Replay for MemoryReplay {
    async fn record_once(&self, once: &OneTimeUse, now: Timestamp) -> StoreResult<RecordOnce> {
        Ok(self.memory().record(once, now))
    }
}

impl MemoryStore {
    /// Refuses assertions that were issued before `now`, when this store did not exist yet and cannot know whether they
    /// were used.
    #[must_use]
    pub fn begun_at(self, now: Timestamp) -> Self {
        self.state().replay.begun_at = Some(now);
        self
    }
}

#[async_trait::async_trait]
impl Replay for MemoryStore {
    async fn record_once(&self, once: &OneTimeUse, now: Timestamp) -> StoreResult<RecordOnce> {
        Ok(self.state().replay.record(once, now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::port::ReplayKind;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    fn once(owner: &str, identifier: &str, issued_at: i64, expires_at: i64) -> OneTimeUse {
        let kind = ReplayKind::ClientAssertion;
        OneTimeUse::new(kind, owner, identifier, at(issued_at), at(expires_at))
    }

    /// S-134, S-136: what is recorded is a replay for as long as it could be accepted, to the second.
    #[test]
    fn a_record_lives_until_the_last_second_in_which_it_could_be_accepted() {
        let mut memory = Memory::default();
        let used = once("c", "1", 1_060, 1_420);
        assert_eq!(memory.record(&used, at(1_000)), RecordOnce::FirstUse);
        for now in [1_001, 1_360, 1_361, 1_419] {
            // Others come, and clean up.
            let other = once("c", &now.to_string(), now, now + 1_000);
            assert_eq!(memory.record(&other, at(now)), RecordOnce::FirstUse);
            assert_eq!(memory.record(&used, at(now)), RecordOnce::Replay);
        }
        assert_eq!(
            memory.record(&once("c", "2", 1_400, 1_900), at(1_420)),
            RecordOnce::FirstUse
        );
        assert_eq!(
            memory.record(&used, at(1_420)),
            RecordOnce::CannotTell,
            "it is forgotten"
        );
    }

    /// S-137
    #[test]
    fn owners_do_not_block_each_other() {
        let mut memory = Memory::default();
        for owner in ["c", "d", "c1"] {
            assert_eq!(
                memory.record(&once(owner, "1", 0, 60), at(0)),
                RecordOnce::FirstUse
            );
        }
        assert_eq!(
            memory.record(&once("c", "11", 0, 60), at(0)),
            RecordOnce::FirstUse
        );
    }

    /// S-138
    #[test]
    fn an_owner_has_a_share_of_the_room_and_the_room_has_an_end() {
        let replay = MemoryReplay::with_room_for(3, 2);
        let record = |owner: &str, identifier: &str, expires_at: i64, now: i64| {
            replay
                .memory()
                .record(&once(owner, identifier, now, expires_at), at(now))
        };
        assert_eq!(record("c", "1", 50, 0), RecordOnce::FirstUse);
        assert_eq!(record("c", "2", 60, 0), RecordOnce::FirstUse);
        assert_eq!(record("c", "3", 60, 0), RecordOnce::Full, "its share");
        assert_eq!(record("c", "1", 50, 0), RecordOnce::Replay, "full or not");
        assert_eq!(record("d", "1", 60, 0), RecordOnce::FirstUse);
        assert_eq!(record("e", "1", 60, 0), RecordOnce::Full, "all of it");
        assert_eq!(record("c", "3", 60, 50), RecordOnce::FirstUse, "room again");
        assert_eq!(replay.len(), 3);
    }

    #[test]
    fn what_has_expired_does_not_pile_up() {
        let mut memory = Memory::default();
        for number in 0..10_000 {
            let one = once(&format!("c{number}"), "1", number, number + 10);
            assert_eq!(memory.record(&one, at(number)), RecordOnce::FirstUse);
            assert!(memory.used.len() <= 12, "{}", memory.used.len());
        }
        assert_eq!(memory.used.len(), memory.per_owner.len());
        let held = memory.used.len();
        assert_eq!(memory.forget(at(20_000), usize::MAX), held);
        assert!(memory.used.is_empty() && memory.by_expiry.is_empty() && memory.per_owner.is_empty());
    }

    /// P6: a clock that was a day ahead and is set back revives nothing, and kills nothing that was made since.
    #[test]
    fn a_clock_that_is_set_back_revives_nothing() {
        let mut memory = Memory::default();
        let used = once("c", "1", 1_000, 1_360);
        assert_eq!(memory.record(&used, at(1_000)), RecordOnce::FirstUse);
        assert_eq!(memory.forget(at(1_000 + 86_400), usize::MAX), 1);
        assert_eq!(memory.record(&used, at(1_001)), RecordOnce::CannotTell);
        let fresh = once("c", "2", 1_001, 1_361);
        assert_eq!(memory.record(&fresh, at(1_001)), RecordOnce::FirstUse);
    }

    #[test]
    fn what_was_issued_before_the_memory_began_cannot_be_told() {
        let replay = MemoryReplay::new().begun_at(at(1_000));
        let mut memory = replay.memory();
        assert_eq!(
            memory.record(&once("c", "1", 999, 1_300), at(1_000)),
            RecordOnce::CannotTell
        );
        assert_eq!(
            memory.record(&once("c", "2", 1_000, 1_300), at(1_000)),
            RecordOnce::FirstUse
        );
    }
}
