//! The keys that a client registered (RFC 7591 §2): in its record, or at its `jwks_uri`. Parsed once, and kept parsed.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use mcp_authflow_jose::KeySet;

use crate::{
    port::{ClientKeySource, ClientKeysError, DocumentKind, Fetch, Freshness},
    record::ClientKeys,
};

/// How many parsed sets are kept. Beyond that all are dropped: parsing again costs some 20 µs a key.
const MOST_SETS: usize = 1024;

/// How many bytes of text the kept sets are of. Parsed, a large set is some ten times its text: a stranger's sets have
/// 64 KiB, an honest one less than one.
const MOST_BYTES: usize = 4 * 1024 * 1024;

/// Parsed key sets, by the text or the address that they came from.
pub struct RegisteredKeys {
    fetch: Arc<dyn Fetch>,
    parsed: Mutex<Kept>,
}

/// The sets that are kept, and how many bytes of text they are of.
#[derive(Default)]
struct Kept {
    sets: HashMap<String, Parsed>,
    bytes: usize,
}

struct Parsed {
    /// The document that it was, for a set from an address.
    document: Option<Arc<[u8]>>,
    keys: Arc<KeySet>,
}

impl Parsed {
    /// How many bytes of text it is of, by its name.
    fn bytes(&self, name: &str) -> usize {
        name.len() + self.document.as_ref().map_or(0, |document| document.len())
    }
}

impl Kept {
    fn keep(&mut self, name: &str, set: Parsed) {
        let bytes = set.bytes(name);
        if self.sets.len() >= MOST_SETS || self.bytes + bytes > MOST_BYTES {
            *self = Self::default();
        }
        self.bytes += bytes;
        if let Some(old) = self.sets.insert(name.to_owned(), set) {
            self.bytes -= old.bytes(name);
        }
    }
}

impl RegisteredKeys {
    /// Keeps nothing yet.
    pub fn new(fetch: Arc<dyn Fetch>) -> Self {
        Self {
            fetch,
            parsed: Mutex::default(),
        }
    }

    /// The keys that are written down or pointed at.
    ///
    /// # Errors
    /// [`ClientKeysError`]
    pub async fn get(&self, keys: &ClientKeys, freshness: Freshness) -> Result<Arc<KeySet>, ClientKeysError> {
        match keys {
            ClientKeys::Jwks(text) => self.parsed(text, None, text.as_bytes()),
            ClientKeys::JwksUri(uri) => {
                let document = self.fetch.fetch(uri, DocumentKind::KeySet, freshness).await?.body;
                self.parsed(uri, Some(&document), &document)
            }
        }
    }

    fn parsed(
        &self,
        name: &str,
        document: Option<&Arc<[u8]>>,
        text: &[u8],
    ) -> Result<Arc<KeySet>, ClientKeysError> {
        let is_same = |kept: &Parsed| match (&kept.document, document) {
            (None, None) => true,
            (Some(kept), Some(document)) => Arc::ptr_eq(kept, document),
            _ => false,
        };
        if let Some(kept) = self.kept().sets.get(name).filter(|kept| is_same(kept)) {
            return Ok(kept.keys.clone());
        }
        let keys = KeySet::parse(text).map_err(|error| ClientKeysError::Unusable(error.to_string()))?;
        let keys = Arc::new(keys);
        let set = Parsed {
            document: document.cloned(),
            keys: keys.clone(),
        };
        self.kept().keep(name, set);
        Ok(keys)
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.parsed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for RegisteredKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegisteredKeys").finish_non_exhaustive()
    }
}

/// The keys of one client whose record is at hand.
pub(super) struct KeysOf<'a> {
    pub(super) keys: Option<&'a ClientKeys>,
    pub(super) registered: &'a RegisteredKeys,
}

#[async_trait::async_trait]
impl ClientKeySource for KeysOf<'_> {
    async fn client_keys(&self, _: &str, freshness: Freshness) -> Result<Arc<KeySet>, ClientKeysError> {
        self.registered
            .get(self.keys.ok_or(ClientKeysError::None)?, freshness)
            .await
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        time::Duration,
    };

    use super::*;
    use crate::port::{FetchError, Fetched, NoFetch};

    /// Answers a document that changes whenever it is refreshed.
    #[derive(Default)]
    struct Changing {
        current: Mutex<Option<Arc<[u8]>>>,
        fetched: AtomicUsize,
    }

    #[async_trait::async_trait]
    impl Fetch for Changing {
        async fn fetch(
            &self,
            _: &str,
            kind: DocumentKind,
            freshness: Freshness,
        ) -> Result<Fetched, FetchError> {
            assert_eq!(kind, DocumentKind::KeySet);
            let mut current = self.current.lock().unwrap();
            if freshness == Freshness::Refresh || current.is_none() {
                let count = self.fetched.fetch_add(1, Ordering::Relaxed);
                *current = Some(Arc::from(format!(r#"{{"keys":[],"n":{count}}}"#).into_bytes()));
            }
            Ok(Fetched {
                body: current.clone().unwrap(),
                age: Duration::ZERO,
                asked_ago: Duration::ZERO,
                fresh_for: None,
                stale: false,
            })
        }
    }

    /// S-122
    #[tokio::test]
    async fn a_set_is_parsed_again_only_when_the_document_is_another() {
        let fetch = Arc::new(Changing::default());
        let registered = RegisteredKeys::new(fetch.clone());
        let keys = ClientKeys::JwksUri("https://client.example/jwks".to_owned());
        let first = registered.get(&keys, Freshness::Cached).await.unwrap();
        let again = registered.get(&keys, Freshness::Cached).await.unwrap();
        assert!(Arc::ptr_eq(&first, &again));
        let fresh = registered.get(&keys, Freshness::Refresh).await.unwrap();
        assert!(!Arc::ptr_eq(&first, &fresh));
        let uri_and_document = "https://client.example/jwks".len() + r#"{"keys":[],"n":0}"#.len();
        assert_eq!(registered.kept().bytes, uri_and_document, "the old one is gone");
        assert_eq!(fetch.fetched.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn what_is_kept_is_bounded_and_what_is_no_set_is_told() {
        let registered = RegisteredKeys::new(Arc::new(NoFetch));
        for number in 0..=MOST_SETS {
            let keys = ClientKeys::Jwks(format!(r#"{{"keys":[],"n":{number}}}"#));
            registered.get(&keys, Freshness::Cached).await.unwrap();
        }
        assert_eq!(registered.kept().sets.len(), 1);
        for unusable in [
            ClientKeys::Jwks("[]".to_owned()),
            ClientKeys::JwksUri("https://client.example/jwks".to_owned()),
        ] {
            let error = registered.get(&unusable, Freshness::Cached).await.unwrap_err();
            assert!(matches!(error, ClientKeysError::Unusable(_)), "{error}");
        }
        assert_eq!(registered.kept().sets.len(), 1);
    }

    /// P12: sets that are as large as they may be are few.
    #[tokio::test]
    async fn what_is_kept_is_bounded_in_bytes() {
        let registered = RegisteredKeys::new(Arc::new(NoFetch));
        let padding = "x".repeat(60_000);
        for number in 0..200 {
            let keys = ClientKeys::Jwks(format!(r#"{{"keys":[],"n":{number},"x":"{padding}"}}"#));
            registered.get(&keys, Freshness::Cached).await.unwrap();
            let kept = registered.kept();
            let bytes: usize = kept.sets.iter().map(|(name, set)| set.bytes(name)).sum();
            assert!(bytes <= MOST_BYTES && bytes == kept.bytes, "{bytes}");
        }
    }
}
