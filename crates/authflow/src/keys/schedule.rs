//! Which key signs at a moment, and until when each is published: pure, over the list of keys in the order in which they
//! were added.
//!
//! ```text
//!            created        active_from                 next one's active_from     + longest_life + CLOCKS
//!  key ──────────┼── published ──┼──────── signs ─────────────┼──── published ─────────────┼ removed
//! ```

use std::time::Duration;

use mcp_authflow_types::Timestamp;

use crate::record::{SigningAlgorithm, SigningKeyRecord};

/// What clocks may be apart: a node that is late signs with a key for so long after the others have gone over to the next,
/// and one that is early would remove it so long before.
pub(super) const CLOCKS: Duration = Duration::from_secs(600);

/// What a key does at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyPhase {
    /// It is published, and will sign from a moment on.
    Pending {
        /// From when on.
        signs_from: Timestamp,
    },
    /// It signs.
    Signing,
    /// Another one signs in its place. It is published while tokens of it may live.
    Retired {
        /// Until when.
        published_until: Timestamp,
    },
    /// Every token of it has expired: it is published no more.
    Over,
}

/// What the key at `place` does.
pub(super) fn phase(keys: &[SigningKeyRecord], place: usize, now: Timestamp) -> KeyPhase {
    let key = &keys[place];
    let replaced_at = keys[place + 1..]
        .iter()
        .filter(|later| later.algorithm == key.algorithm)
        .map(|later| later.active_from)
        .min();
    match replaced_at.filter(|at| at.has_passed(now)) {
        Some(at) => {
            let published_until = at + key.longest_life + CLOCKS;
            if published_until.has_passed(now) {
                KeyPhase::Over
            } else {
                KeyPhase::Retired { published_until }
            }
        }
        None if key.active_from.has_passed(now) => KeyPhase::Signing,
        None => KeyPhase::Pending {
            signs_from: key.active_from,
        },
    }
}

/// The place of the key that signs by an algorithm.
pub(super) fn signer(
    keys: &[SigningKeyRecord],
    algorithm: SigningAlgorithm,
    now: Timestamp,
) -> Option<usize> {
    keys.iter()
        .rposition(|key| key.algorithm == algorithm && key.active_from.has_passed(now))
}

/// The key of an algorithm that was added last.
pub(super) fn newest(keys: &[SigningKeyRecord], algorithm: SigningAlgorithm) -> Option<&SigningKeyRecord> {
    keys.iter().rev().find(|key| key.algorithm == algorithm)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFE: Duration = Duration::from_secs(600);

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    fn key(name: &str, algorithm: SigningAlgorithm, active_from: i64) -> SigningKeyRecord {
        SigningKeyRecord {
            key_id: name.to_owned(),
            algorithm,
            sealed: Vec::new(),
            created_at: at(0),
            active_from: at(active_from),
            longest_life: LIFE,
        }
    }

    fn es(name: &str, active_from: i64) -> SigningKeyRecord {
        key(name, SigningAlgorithm::Es256, active_from)
    }

    /// The phases of all keys, checked against who signs: exactly one is `Signing`, and it is the signer.
    fn phases(keys: &[SigningKeyRecord], now: i64) -> Vec<KeyPhase> {
        let phases: Vec<KeyPhase> = (0..keys.len()).map(|place| phase(keys, place, at(now))).collect();
        for &algorithm in SigningAlgorithm::ALL {
            let signing: Vec<usize> = (0..keys.len())
                .filter(|&place| keys[place].algorithm == algorithm && phases[place] == KeyPhase::Signing)
                .collect();
            let signer: Vec<usize> = signer(keys, algorithm, at(now)).into_iter().collect();
            assert_eq!(signing, signer, "{algorithm} at {now}");
        }
        phases
    }

    #[test]
    fn a_key_is_published_before_it_signs_and_until_its_last_token_has_expired() {
        let keys = [es("a", 0), es("b", 1_000)];
        let signs_from = at(1_000);
        assert_eq!(
            phases(&keys, 999),
            [KeyPhase::Signing, KeyPhase::Pending { signs_from }]
        );
        let published_until = at(1_000 + 600 + 600);
        assert_eq!(
            phases(&keys, 1_000),
            [KeyPhase::Retired { published_until }, KeyPhase::Signing]
        );
        assert_eq!(
            phases(&keys, 2_199),
            [KeyPhase::Retired { published_until }, KeyPhase::Signing]
        );
        assert_eq!(phases(&keys, 2_200), [KeyPhase::Over, KeyPhase::Signing]);
    }

    #[test]
    fn a_key_that_was_added_later_replaces_one_that_still_waits() {
        let keys = [es("a", 0), es("b", 1_000), es("c", 500)];
        assert_eq!(
            phases(&keys, 499)[1..],
            [
                KeyPhase::Pending {
                    signs_from: at(1_000)
                },
                KeyPhase::Pending { signs_from: at(500) }
            ]
        );
        let published_until = at(500 + 600 + 600);
        let retired = KeyPhase::Retired { published_until };
        assert_eq!(phases(&keys, 500), [retired, retired, KeyPhase::Signing]);
        assert_eq!(phases(&keys, 1_000), [retired, retired, KeyPhase::Signing]);
        // Without it, the one before takes its turn.
        assert_eq!(phases(&keys[..2], 1_000)[1], KeyPhase::Signing);
    }

    #[test]
    fn each_algorithm_has_keys_of_its_own() {
        let keys = [es("a", 0), key("e", SigningAlgorithm::EdDsa, 100), es("b", 200)];
        assert_eq!(phases(&keys, 150)[..2], [KeyPhase::Signing, KeyPhase::Signing]);
        assert_eq!(signer(&keys[..1], SigningAlgorithm::EdDsa, at(0)), None);
        assert_eq!(
            newest(&keys, SigningAlgorithm::EdDsa).map(|key| key.key_id.as_str()),
            Some("e")
        );
    }
}
