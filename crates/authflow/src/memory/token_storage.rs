//! Token storage in memory: one lock, an index by client and one by expiry, a cap, and digests only.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use mcp_authflow_types::{Timestamp, TokenHash};

use crate::port::{
    Clock,
    token_storage::{
        NewToken, TokenCount, TokenKind, TokenRecord, TokenRules, TokenStorage, TokenStorageError,
        TokenStorageResult,
    },
};

/// How many expired tokens a store that is full takes out to make room for one: two, so that a store of expired tokens
/// empties faster than it fills.
const ROOM_FOR_ONE: usize = 2;

/// A token storage in memory, gone with its process.
///
/// See [`port::token_storage`](crate::port::token_storage) for an example.
pub struct MemoryTokenStorage {
    clock: Arc<dyn Clock>,
    rules: TokenRules,
    most: usize,
    /// None while it is closed.
    shelves: Mutex<Option<Shelves>>,
}

impl MemoryTokenStorage {
    /// The most tokens of a kind that it holds unless told otherwise: about half a gigabyte of them.
    pub const DEFAULT_MOST: usize = 1_000_000;

    /// Makes a closed store that goes by `clock`.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            rules: TokenRules::default(),
            most: Self::DEFAULT_MOST,
            shelves: Mutex::default(),
        }
    }

    /// Sets the most tokens of a kind that it holds; more are refused with [`TokenStorageError::Full`].
    #[must_use]
    pub fn holding_at_most(mut self, most: usize) -> Self {
        self.most = most;
        self
    }

    /// Sets the rules; [`TokenRules::Strict`] unless told otherwise.
    #[must_use]
    pub fn with_rules(mut self, rules: TokenRules) -> Self {
        self.rules = rules;
        self
    }

    fn lock(&self) -> MutexGuard<'_, Option<Shelves>> {
        self.shelves.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Works on the tokens of a kind.
    fn on<T>(&self, kind: TokenKind, work: impl FnOnce(&mut Shelf) -> T) -> TokenStorageResult<T> {
        let mut shelves = self.lock();
        let shelves = shelves.as_mut().ok_or(TokenStorageError::NotInitialized)?;
        Ok(work(shelves.of(kind)))
    }

    fn store(&self, kind: TokenKind, token: &str, new: &NewToken) -> TokenStorageResult<()> {
        let (hash, now) = (TokenHash::of(token), self.clock.now());
        self.on(kind, |shelf| {
            if let Some(known) = shelf.tokens.get(&hash) {
                if known.client_id != new.client_id && !self.rules.may_rebind() {
                    return Err(TokenStorageError::OtherClients);
                }
            } else if shelf.tokens.len() >= self.most && shelf.clean(now, ROOM_FOR_ONE) == 0 {
                return Err(TokenStorageError::Full(self.most));
            }
            shelf.remove(&hash);
            shelf.insert(hash, TokenRecord::of(new, now));
            Ok(())
        })??;
        tracing::debug!(token = %fingerprint(&hash), "{} stored", kind.as_str());
        Ok(())
    }

    fn load(&self, kind: TokenKind, token: &str) -> TokenStorageResult<Option<TokenRecord>> {
        let (hash, now) = (TokenHash::of(token), self.clock.now());
        self.on(kind, |shelf| {
            let Some(found) = shelf.tokens.get(&hash) else {
                tracing::debug!(token = %fingerprint(&hash), "no such {}", kind.as_str());
                return None;
            };
            if self.rules.is_over(found.expires_at, now) {
                shelf.remove(&hash);
                tracing::debug!(token = %fingerprint(&hash), "{} expired", kind.as_str());
                return None;
            }
            Some(found.clone())
        })
    }

    fn take(&self, kind: TokenKind, token: &str) -> TokenStorageResult<Option<TokenRecord>> {
        let (hash, now) = (TokenHash::of(token), self.clock.now());
        let record = self.on(kind, |shelf| shelf.remove(&hash))?;
        Ok(record.filter(|record| !self.rules.is_over(record.expires_at, now)))
    }

    fn delete(&self, kind: TokenKind, token: &str) -> TokenStorageResult<()> {
        let hash = TokenHash::of(token);
        self.on(kind, |shelf| shelf.remove(&hash))?;
        tracing::debug!(token = %fingerprint(&hash), "{} deleted", kind.as_str());
        Ok(())
    }

    fn clean_up(&self, kind: TokenKind) -> TokenStorageResult<u64> {
        /// How many go under one lock.
        const BATCH: usize = 1_000;
        let now = self.clock.now();
        let mut removed = 0;
        loop {
            let batch = self.on(kind, |shelf| shelf.clean(now, BATCH))?;
            removed += batch;
            if batch < BATCH {
                break;
            }
        }
        if removed > 0 {
            tracing::info!(removed, "expired {}s cleaned up", kind.as_str());
        }
        Ok(as_count(removed))
    }

    fn count(&self, kind: TokenKind) -> TokenStorageResult<TokenCount> {
        let now = self.clock.now();
        self.on(kind, |shelf| {
            let over = shelf
                .by_expiry
                .iter()
                .take_while(|(expires_at, _)| self.rules.is_over(*expires_at, now))
                .count();
            TokenCount {
                live: as_count(shelf.tokens.len() - over),
                expired: as_count(over),
            }
        })
    }
}

impl fmt::Debug for MemoryTokenStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryTokenStorage")
            .field("rules", &self.rules)
            .field("most", &self.most)
            .finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Shelves {
    access: Shelf,
    refresh: Shelf,
}

impl Shelves {
    fn of(&mut self, kind: TokenKind) -> &mut Shelf {
        match kind {
            TokenKind::Access => &mut self.access,
            TokenKind::Refresh => &mut self.refresh,
        }
    }
}

/// The tokens of a kind, with their indexes.
#[derive(Default)]
struct Shelf {
    tokens: HashMap<TokenHash, TokenRecord>,
    by_client: HashMap<String, HashSet<TokenHash>>,
    by_expiry: BTreeSet<(Timestamp, TokenHash)>,
}

impl Shelf {
    fn insert(&mut self, hash: TokenHash, record: TokenRecord) {
        self.by_expiry.insert((record.expires_at, hash));
        self.by_client
            .entry(record.client_id.clone())
            .or_default()
            .insert(hash);
        self.tokens.insert(hash, record);
    }

    fn remove(&mut self, hash: &TokenHash) -> Option<TokenRecord> {
        let record = self.tokens.remove(hash)?;
        self.by_expiry.remove(&(record.expires_at, *hash));
        if let Some(tokens) = self.by_client.get_mut(&record.client_id) {
            tokens.remove(hash);
            if tokens.is_empty() {
                self.by_client.remove(&record.client_id);
            }
        }
        Some(record)
    }

    fn remove_client(&mut self, client_id: &str) -> usize {
        let tokens = self.by_client.remove(client_id).unwrap_or_default();
        for hash in &tokens {
            if let Some(record) = self.tokens.remove(hash) {
                self.by_expiry.remove(&(record.expires_at, *hash));
            }
        }
        tokens.len()
    }

    /// Removes at most `limit` tokens that expired before this second.
    fn clean(&mut self, now: Timestamp, limit: usize) -> usize {
        let over: Vec<TokenHash> = self
            .by_expiry
            .iter()
            .take_while(|(expires_at, _)| *expires_at < now)
            .take(limit)
            .map(|(_, hash)| *hash)
            .collect();
        for hash in &over {
            self.remove(hash);
        }
        over.len()
    }
}

fn as_count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

fn fingerprint(hash: &TokenHash) -> String {
    format!("fp:{}", hash.fingerprint())
}

#[async_trait::async_trait]
impl TokenStorage for MemoryTokenStorage {
    async fn initialize(&self) -> TokenStorageResult<()> {
        let mut shelves = self.lock();
        if shelves.is_none() {
            *shelves = Some(Shelves::default());
            tracing::info!("token storage opened in memory");
        }
        Ok(())
    }

    async fn close(&self) {
        // Dropped without the lock: it may be large.
        let gone = self.lock().take();
        if gone.is_some() {
            tracing::info!("token storage closed");
        }
    }

    async fn store_token(&self, token: &str, new: &NewToken) -> TokenStorageResult<()> {
        self.store(TokenKind::Access, token, new)
    }

    async fn load_token(&self, token: &str) -> TokenStorageResult<Option<TokenRecord>> {
        self.load(TokenKind::Access, token)
    }

    async fn delete_token(&self, token: &str) -> TokenStorageResult<()> {
        self.delete(TokenKind::Access, token)
    }

    async fn store_refresh_token(&self, refresh_token: &str, new: &NewToken) -> TokenStorageResult<()> {
        self.store(TokenKind::Refresh, refresh_token, new)
    }

    async fn load_refresh_token(&self, refresh_token: &str) -> TokenStorageResult<Option<TokenRecord>> {
        self.load(TokenKind::Refresh, refresh_token)
    }

    async fn delete_refresh_token(&self, refresh_token: &str) -> TokenStorageResult<()> {
        self.delete(TokenKind::Refresh, refresh_token)
    }

    async fn revoke_client_tokens(&self, client_id: &str) -> TokenStorageResult<u64> {
        let mut shelves = self.lock();
        let shelves = shelves.as_mut().ok_or(TokenStorageError::NotInitialized)?;
        let revoked = shelves.access.remove_client(client_id) + shelves.refresh.remove_client(client_id);
        if revoked > 0 {
            tracing::info!(?client_id, revoked, "all tokens of a client revoked");
        }
        Ok(as_count(revoked))
    }

    async fn cleanup_expired_tokens(&self) -> TokenStorageResult<u64> {
        self.clean_up(TokenKind::Access)
    }

    async fn cleanup_expired_refresh_tokens(&self) -> TokenStorageResult<u64> {
        self.clean_up(TokenKind::Refresh)
    }

    async fn get_token_count(&self) -> TokenStorageResult<TokenCount> {
        self.count(TokenKind::Access)
    }

    async fn get_refresh_token_count(&self) -> TokenStorageResult<TokenCount> {
        self.count(TokenKind::Refresh)
    }

    async fn take_refresh_token(&self, refresh_token: &str) -> TokenStorageResult<Option<TokenRecord>> {
        self.take(TokenKind::Refresh, refresh_token)
    }
}
