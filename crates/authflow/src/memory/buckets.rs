//! Tokens by bucket and digest: a whole bucket expires at once.

use std::collections::{BTreeMap, HashMap};

use mcp_authflow_types::{TokenHash, secret::ExpiryBucket};

pub(super) struct Buckets<T>(BTreeMap<ExpiryBucket, HashMap<TokenHash, T>>);

impl<T> Default for Buckets<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T> Buckets<T> {
    pub(super) fn find(&self, bucket: ExpiryBucket, hash: &TokenHash) -> Option<&T> {
        self.0.get(&bucket)?.get(hash)
    }

    pub(super) fn find_mut(&mut self, bucket: ExpiryBucket, hash: &TokenHash) -> Option<&mut T> {
        self.0.get_mut(&bucket)?.get_mut(hash)
    }

    pub(super) fn insert(&mut self, bucket: ExpiryBucket, hash: TokenHash, token: T) {
        self.0.entry(bucket).or_default().insert(hash, token);
    }

    pub(super) fn remove(&mut self, bucket: ExpiryBucket, hash: &TokenHash) -> Option<T> {
        self.0.get_mut(&bucket)?.remove(hash)
    }

    /// Takes everything out that lies before a bucket. Dropping it is left to the caller, who does it without the lock.
    pub(super) fn take_before(
        &mut self,
        bucket: ExpiryBucket,
    ) -> impl Iterator<Item = HashMap<TokenHash, T>> + use<T> {
        let kept = self.0.split_off(&bucket);
        std::mem::replace(&mut self.0, kept).into_values()
    }
}
