//! Where accounts were signed in to lately.
//!
//! Tries at an account are counted wherever they come from, or many addresses could guess at one account together. But then
//! anybody could lock anybody out by guessing wrong. So an address from which an account was signed in to has a count of
//! its own for that account, which nobody elsewhere uses up.

use std::{
    collections::VecDeque,
    net::IpAddr,
    sync::{Mutex, PoisonError},
};

use hashlink::LinkedHashMap;
use mcp_authflow::limiter_key;
use mcp_authflow_types::TokenHash;

/// Of how many accounts places are remembered; those seen longest ago go first.
const MOST_ACCOUNTS: usize = 8_192;
/// How many of one account: whoever has an account and many addresses takes no other account's places with them.
const MOST_PLACES: usize = 8;

type Digest = [u8; 32];

/// Accounts with their addresses, as digests, the one used last at the end; of this process, since it started.
#[derive(Default)]
pub(super) struct KnownPlaces(Mutex<LinkedHashMap<Digest, VecDeque<Digest>>>);

fn digest(text: &str) -> Digest {
    *TokenHash::of(text).as_bytes()
}

/// By what tries at an account from a known place are counted.
pub(super) fn key(username: &str, address: Option<IpAddr>) -> String {
    format!("{} {username}", limiter_key(address))
}

impl KnownPlaces {
    pub(super) fn has(&self, username: &str, address: Option<IpAddr>) -> bool {
        let mut accounts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let places = accounts.to_back(&digest(username));
        places.is_some_and(|places| is_moved_to_the_end(places, digest(&key(username, address))))
    }

    pub(super) fn remember(&self, username: &str, address: Option<IpAddr>) {
        let mut accounts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let account = digest(username);
        accounts.to_back(&account);
        let places = accounts.entry(account).or_insert_with(VecDeque::new);
        let place = digest(&key(username, address));
        if !is_moved_to_the_end(places, place) {
            places.push_back(place);
            if places.len() > MOST_PLACES {
                places.pop_front();
            }
        }
        if accounts.len() > MOST_ACCOUNTS {
            accounts.pop_front();
        }
    }
}

/// Moves a place to the end, where it is one.
fn is_moved_to_the_end(places: &mut VecDeque<Digest>, place: Digest) -> bool {
    let found = places.iter().position(|one| *one == place);
    if let Some(found) = found {
        places.remove(found);
        places.push_back(place);
    }
    found.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_an_account_and_an_address_and_the_oldest_goes_first() {
        let places = KnownPlaces::default();
        let (home, elsewhere) = (Some([192, 0, 2, 1].into()), Some([192, 0, 2, 2].into()));
        places.remember("alice", home);
        assert!(places.has("alice", home));
        assert!(!places.has("alice", elsewhere) && !places.has("bob", home) && !places.has("alice", None));
        for number in 0..MOST_ACCOUNTS {
            places.remember(&format!("user{number}"), elsewhere);
        }
        assert!(!places.has("alice", home));
        assert!(places.has("user0", elsewhere));
    }

    /// RL-01: whoever has an account takes nobody else's places, however many addresses he signs in from.
    #[test]
    fn one_account_has_a_few_places_and_takes_no_others() {
        let places = KnownPlaces::default();
        let at = |number: u32| Some(std::net::Ipv4Addr::from(0x0a00_0000 + number).into());
        places.remember("alice", at(1));
        for number in 0..20_000 {
            places.remember("mallory", at(number));
        }
        assert!(places.has("alice", at(1)));
        assert!(places.has("mallory", at(19_999)) && !places.has("mallory", at(0)));
        // A place that is used stays, others go.
        for number in 2..20 {
            assert!(places.has("alice", at(1)));
            places.remember("alice", at(number));
        }
        assert!(places.has("alice", at(1)) && !places.has("alice", at(2)));
    }
}
