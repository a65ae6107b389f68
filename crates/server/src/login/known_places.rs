//! Where accounts were signed in to lately.
//!
//! Tries at an account are counted wherever they come from, or many addresses could guess at one account together. But then
//! anybody could lock anybody out by guessing wrong. So an address from which an account was signed in to has a count of
//! its own for that account, which nobody elsewhere uses up.

use std::{
    net::IpAddr,
    sync::{Mutex, PoisonError},
};

use hashlink::LinkedHashMap;
use mcp_authflow::limiter_key;
use mcp_authflow_types::TokenHash;

/// How many are remembered, of accounts and addresses together; the oldest go first.
const MOST: usize = 16_384;

/// Accounts, each with an address, as digests; of this process, since it started.
#[derive(Default)]
pub(super) struct KnownPlaces(Mutex<LinkedHashMap<[u8; 32], ()>>);

fn digest(username: &str, address: Option<IpAddr>) -> [u8; 32] {
    *TokenHash::of(&key(username, address)).as_bytes()
}

/// By what tries at an account from a known place are counted.
pub(super) fn key(username: &str, address: Option<IpAddr>) -> String {
    format!("{} {username}", limiter_key(address))
}

impl KnownPlaces {
    pub(super) fn has(&self, username: &str, address: Option<IpAddr>) -> bool {
        let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        places.to_back(&digest(username, address)).is_some()
    }

    pub(super) fn remember(&self, username: &str, address: Option<IpAddr>) {
        let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        places.insert(digest(username, address), ());
        if places.len() > MOST {
            places.pop_front();
        }
    }
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
        for number in 0..MOST {
            places.remember(&format!("user{number}"), elsewhere);
        }
        assert!(!places.has("alice", home));
        assert!(places.has("user0", elsewhere));
    }
}
