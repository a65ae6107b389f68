//! Tokens by bucket and digest: a whole bucket expires at once.

use std::collections::{BTreeMap, HashMap};

use mcp_authflow_types::{TokenHash, secret::ExpiryBucket};

/// Into how many tables a bucket is divided: a table that grows moves all that it holds in one go, under the lock, and at a
/// million tokens that pause is then a sixty-fourth of what it would be.
const TABLES: usize = 64;

pub(super) struct Buckets<T>(BTreeMap<ExpiryBucket, Bucket<T>>);

/// The tokens of a bucket, divided by the first byte of their digests.
pub(super) struct Bucket<T>(Vec<HashMap<TokenHash, T>>);

impl<T> Bucket<T> {
    fn table(&self, hash: &TokenHash) -> Option<&HashMap<TokenHash, T>> {
        self.0.get(place(hash))
    }

    fn table_mut(&mut self, hash: &TokenHash) -> Option<&mut HashMap<TokenHash, T>> {
        self.0.get_mut(place(hash))
    }

    pub(super) fn len(&self) -> usize {
        self.0.iter().map(HashMap::len).sum()
    }
}

fn place(hash: &TokenHash) -> usize {
    usize::from(hash.as_bytes()[0]) % TABLES
}

impl<T> Default for Bucket<T> {
    fn default() -> Self {
        Self(std::iter::repeat_with(HashMap::new).take(TABLES).collect())
    }
}

impl<T> Default for Buckets<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T> Buckets<T> {
    pub(super) fn find(&self, bucket: ExpiryBucket, hash: &TokenHash) -> Option<&T> {
        self.0.get(&bucket)?.table(hash)?.get(hash)
    }

    pub(super) fn find_mut(&mut self, bucket: ExpiryBucket, hash: &TokenHash) -> Option<&mut T> {
        self.0.get_mut(&bucket)?.table_mut(hash)?.get_mut(hash)
    }

    pub(super) fn insert(&mut self, bucket: ExpiryBucket, hash: TokenHash, token: T) {
        if let Some(table) = self.0.entry(bucket).or_default().table_mut(&hash) {
            table.insert(hash, token);
        }
    }

    pub(super) fn remove(&mut self, bucket: ExpiryBucket, hash: &TokenHash) -> Option<T> {
        self.0.get_mut(&bucket)?.table_mut(hash)?.remove(hash)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.0
            .values()
            .flat_map(|bucket| &bucket.0)
            .flat_map(HashMap::values)
    }

    /// Takes everything out that lies before a bucket. Dropping it is left to the caller, who does it without the lock.
    pub(super) fn take_before(&mut self, bucket: ExpiryBucket) -> impl Iterator<Item = Bucket<T>> + use<T> {
        let kept = self.0.split_off(&bucket);
        std::mem::replace(&mut self.0, kept).into_values()
    }
}
