//! The tokens whose signature was seen to be right.
//!
//! A signature that was right once is right for as long as its key is one of the issuer's; so it is computed once. Nothing
//! gets staler by it: an entry counts only beside the very key set that proved it, and a renewed set proves anew. Only
//! proven tokens get in, so no stranger can push others out.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use hashlink::LruCache;
use mcp_authflow_jose::KeySet;
use mcp_authflow_types::TokenHash;

use super::VerifiedToken;

/// How many tokens are remembered; beyond it the least recently used is forgotten, which costs a signature. One takes
/// about a kilobyte.
const MOST_TOKENS: usize = 4_096;

struct Entry {
    by: Weak<KeySet>,
    token: VerifiedToken,
}

pub(super) struct Proven(Mutex<LruCache<TokenHash, Entry>>);

impl Default for Proven {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(MOST_TOKENS)))
    }
}

impl Proven {
    /// What the token says, if `keys` have proven it.
    pub(super) fn find(&self, token: &TokenHash, keys: &Arc<KeySet>) -> Option<VerifiedToken> {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = entries.get(token)?;
        if std::ptr::eq(entry.by.as_ptr(), Arc::as_ptr(keys)) {
            return Some(entry.token.clone());
        }
        entries.remove(token);
        None
    }

    pub(super) fn remember(&self, token: TokenHash, keys: &Arc<KeySet>, verified: &VerifiedToken) {
        let entry = Entry {
            by: Arc::downgrade(keys),
            token: verified.clone(),
        };
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        entries.insert(token, entry);
    }
}

impl fmt::Debug for Proven {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Proven")
    }
}
