//! Signing keys.

use std::time::Duration;

use super::MemoryStore;
use crate::{
    port::store::{AddSigningKey, SigningKeyStore, StoreResult},
    record::SigningKeyRecord,
};

#[async_trait::async_trait]
impl SigningKeyStore for MemoryStore {
    async fn add_signing_key(
        &self,
        key: &SigningKeyRecord,
        after: Option<&str>,
    ) -> StoreResult<AddSigningKey> {
        let keys = &mut self.state().signing_keys;
        let newest = keys.iter().rev().find(|kept| kept.algorithm == key.algorithm);
        if newest.map(|newest| newest.key_id.as_str()) != after {
            return Ok(AddSigningKey::Overtaken);
        }
        keys.push(key.clone());
        Ok(AddSigningKey::Added)
    }

    async fn list_signing_keys(&self) -> StoreResult<Vec<SigningKeyRecord>> {
        Ok(self.state().signing_keys.clone())
    }

    async fn extend_signing_key(&self, key_id: &str, longest_life: Duration) -> StoreResult<bool> {
        let keys = &mut self.state().signing_keys;
        let found = keys.iter_mut().find(|kept| kept.key_id == key_id);
        Ok(found.is_some_and(|kept| {
            kept.longest_life = kept.longest_life.max(longest_life);
            true
        }))
    }

    async fn remove_signing_key(&self, key_id: &str) -> StoreResult<bool> {
        let keys = &mut self.state().signing_keys;
        let before = keys.len();
        keys.retain(|kept| kept.key_id != key_id);
        Ok(keys.len() < before)
    }
}
