//! Keys that sign tokens. There are a handful of them.

use std::time::Duration;

use super::StoreResult;
use crate::record::SigningKeyRecord;

/// How adding a key went.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddSigningKey {
    /// It is there now.
    Added,
    /// Another key of the algorithm was added, or removed, since the caller looked; nothing was stored.
    Overtaken,
}

/// Keeps signing keys. What it is given is sealed already.
#[async_trait::async_trait]
pub trait SigningKeyStore: Send + Sync {
    /// Adds a key, as long as `after` is the key of its algorithm that was added last; `None` as long as there is none. Of
    /// many nodes that add a key behind the same one, one may succeed: two that both did would each sign with a key that
    /// the other has not published.
    async fn add_signing_key(
        &self,
        key: &SigningKeyRecord,
        after: Option<&str>,
    ) -> StoreResult<AddSigningKey>;

    /// Lists all keys, of all algorithms, in the order in which they were added.
    async fn list_signing_keys(&self) -> StoreResult<Vec<SigningKeyRecord>>;

    /// Makes sure that a key's `longest_life` is at least this long, and answers whether the key is there. A wrong yes is a
    /// key that is no longer published while its tokens live.
    async fn extend_signing_key(&self, key_id: &str, longest_life: Duration) -> StoreResult<bool>;

    /// Removes a key: from then on nobody loads it. Answers whether it was there.
    async fn remove_signing_key(&self, key_id: &str) -> StoreResult<bool>;
}
