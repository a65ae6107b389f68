//! A store whose verbs fail on demand.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use mcp_authflow::{
    client::trust::DomainName,
    memory::MemoryStore,
    port::{
        OneTimeUse, RecordOnce, Replay, StoreError,
        store::{
            AccessTokenPeek, AddClient, AddResource, AddSigningKey, BeginDevice, ClaimDevice,
            ClientDocumentStore, ClientRegistration, ClientStore, ClientWithResources, CloseInteraction,
            Closing, CodePeek, DeviceCodeStore, GrantQuery, GrantStore, GrantSummary, ImportToken,
            ImportedEntry, ImportedTokenStore, InteractionStore, IssueAccessToken, KeyFingerprint,
            NewClientDocument, NewTokens, NoteHost, PollDevice, Purged, PutClientDocument, RedeemCode,
            RefreshTokenPeek, ReplaceRegistration, ResourceStore, RotateRefreshToken, Rotation,
            SigningKeyStore, StoreResult, TokenCounts, TokenStore, UpkeepStore,
        },
        token_storage::TokenKind,
    },
    record::{
        AccessTokenFormat, AccessTokenRecord, Client, DeviceCodeRecord, DocumentHostRecord, GrantId,
        GrantedResource, HostDecision, ImportedToken, Interaction, InteractionId, ResourceRecord,
        ScopeDescription, SigningKeyRecord,
    },
};
use mcp_authflow_types::{ClientId, Resource, Timestamp, TokenHash, secret::ExpiryBucket};
use tokio::sync::Notify;

/// What befalls a verb.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The store refuses; nothing happens.
    Refuses,
    /// The store does not answer; nothing happened.
    Hangs,
    /// The store does what it is asked, and its answer is lost.
    LosesItsAnswer,
    /// The store answers something that makes no sense.
    IsBroken,
    /// The store does what it is asked, but not before [`FailingStore::heal`].
    Waits,
}

/// A memory store whose verbs fail on demand, each by its name.
///
/// ```
/// use mcp_authflow::port::store::UpkeepStore as _;
/// use mcp_authflow_testkit::failing_store::{FailingStore, Fault};
/// use mcp_authflow_types::Timestamp;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let store = FailingStore::default();
/// store.fail("probe", Fault::Refuses);
/// assert!(store.probe(Timestamp::from_seconds(0)).await.is_err());
/// store.heal();
/// assert!(store.probe(Timestamp::from_seconds(0)).await.is_ok());
/// # }
/// ```
pub struct FailingStore {
    inner: Arc<MemoryStore>,
    faults: Mutex<HashMap<&'static str, Fault>>,
    reached: Notify,
    healed: Notify,
}

impl Default for FailingStore {
    fn default() -> Self {
        Self {
            inner: Arc::default(),
            faults: Mutex::default(),
            reached: Notify::new(),
            healed: Notify::new(),
        }
    }
}

impl FailingStore {
    /// The store behind it, which never fails.
    pub fn inner(&self) -> &MemoryStore {
        &self.inner
    }

    /// Lets a verb fail from now on.
    ///
    /// # Panics
    /// When no verb has this name: such a fault would test nothing.
    pub fn fail(&self, verb: &'static str, fault: Fault) {
        assert!(
            VERBS.iter().any(|verbs| verbs.contains(&verb)),
            "{verb} is no verb"
        );
        self.faults
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(verb, fault);
    }

    /// Ends all faults.
    pub fn heal(&self) {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.healed.notify_waiters();
    }

    /// Returns once somebody waits in a verb that was told to wait.
    pub async fn until_somebody_waits(&self) {
        self.reached.notified().await;
    }

    async fn wait_for_better_times(&self) {
        // Waits from here on, so that a heal right after the next line is not missed.
        let healed = self.healed.notified();
        self.reached.notify_one();
        healed.await;
    }

    fn fault(&self, verb: &str) -> Option<Fault> {
        self.faults
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(verb)
            .copied()
    }
}

impl Fault {
    fn error(self) -> StoreError {
        match self {
            Self::Refuses => StoreError::Unavailable("told to refuse".to_owned()),
            Self::Hangs | Self::LosesItsAnswer | Self::Waits => {
                StoreError::TimedOut("told to hang".to_owned())
            }
            Self::IsBroken => StoreError::Broken("told to be broken".to_owned()),
        }
    }
}

impl fmt::Debug for FailingStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FailingStore")
            .field("faults", &self.faults)
            .finish_non_exhaustive()
    }
}

/// Hands every verb of a port to the store behind, unless it is to fail.
macro_rules! hand_on {
    ($($port:ident $names:ident { $($verb:ident($($arg:ident: $type:ty),*) -> $answer:ty;)+ })+) => {
        $(
            const $names: &[&str] = &[$(stringify!($verb)),+];

            #[async_trait::async_trait]
            impl $port for FailingStore {
                $(async fn $verb(&self, $($arg: $type),*) -> StoreResult<$answer> {
                    match self.fault(stringify!($verb)) {
                        None => self.inner.$verb($($arg),*).await,
                        Some(Fault::Waits) => {
                            self.wait_for_better_times().await;
                            self.inner.$verb($($arg),*).await
                        }
                        Some(fault) => {
                            if fault == Fault::LosesItsAnswer {
                                let _ = self.inner.$verb($($arg),*).await?;
                            }
                            Err(fault.error())
                        }
                    }
                })+
            }
        )+

        const VERBS: &[&[&str]] = &[$($names),+];
    };
}

hand_on! {
    ClientStore CLIENT_VERBS {
        add_client(client: &Client) -> AddClient;
        load_client(id: &ClientId) -> Option<Arc<Client>>;
        load_client_with_resources(id: &ClientId, wanted: &[Resource]) -> ClientWithResources;
        list_clients(after: Option<&ClientId>, limit: u32) -> Vec<Client>;
        remove_client(id: &ClientId, now: Timestamp) -> bool;
        revoke_client(id: &ClientId) -> Option<u32>;
        replace_client_secret(id: &ClientId, secret: &TokenHash, old_until: Option<Timestamp>) -> bool;
        register_client(client: &Client, access_token: &TokenHash) -> AddClient;
        load_registration(id: &ClientId) -> Option<ClientRegistration>;
        replace_registration(replacement: &ReplaceRegistration) -> bool;
    }
    ClientDocumentStore CLIENT_DOCUMENT_VERBS {
        put_client_document(new: &NewClientDocument, now: Timestamp) -> PutClientDocument;
        load_document_hosts(hosts: &[DomainName]) -> Vec<DocumentHostRecord>;
        note_document_host(host: &DomainName, now: Timestamp) -> NoteHost;
        decide_document_host(host: &DomainName, decision: HostDecision, now: Timestamp) -> ();
        list_document_hosts() -> Vec<DocumentHostRecord>;
    }
    ResourceStore RESOURCE_VERBS {
        add_resource(resource: &ResourceRecord, introspector: &Client) -> AddResource;
        list_resources() -> Vec<ResourceRecord>;
        describe_resource(resource: &Resource, name: &str, scopes: &[ScopeDescription]) -> bool;
        set_access_token_format(resource: &Resource, format: AccessTokenFormat) -> bool;
        remove_resource(resource: &Resource) -> bool;
    }
    InteractionStore INTERACTION_VERBS {
        begin_interaction(interaction: &Interaction) -> ();
        load_interaction(id: InteractionId, browser: &TokenHash, now: Timestamp) -> Option<Interaction>;
        close_interaction(id: InteractionId, browser: &TokenHash, closing: Closing<'_>, now: Timestamp) -> CloseInteraction;
    }
    DeviceCodeStore DEVICE_VERBS {
        begin_device(device: &DeviceCodeRecord) -> BeginDevice;
        find_device(user_code: &TokenHash, browser: &TokenHash, now: Timestamp) -> Option<DeviceCodeRecord>;
        claim_device(device: &TokenHash, interaction: &Interaction, now: Timestamp) -> ClaimDevice;
        close_device(device: &TokenHash, id: InteractionId, browser: &TokenHash, closing: Closing<'_>, now: Timestamp) -> CloseInteraction;
        poll_device(device: &TokenHash, client: &ClientId, client_generation: u32, now: Timestamp) -> PollDevice;
    }
    GrantStore GRANT_VERBS {
        peek_code(code: &TokenHash, client: &ClientId, resource_may_be_unregistered: bool) -> CodePeek;
        redeem_code(code: &TokenHash, tokens: &NewTokens, now: Timestamp) -> RedeemCode;
        revoke_grant(grant: GrantId, now: Timestamp) -> bool;
        revoke_client_grants(subject: &str, client: &ClientId, now: Timestamp) -> u64;
        revoke_subject(subject: &str) -> u32;
        is_covered(subject: &str, client: &ClientId, resources: &[GrantedResource], offline_access: bool, since: Timestamp, now: Timestamp) -> bool;
        list_grants(query: &GrantQuery, limit: u32, now: Timestamp) -> Vec<GrantSummary>;
    }
    TokenStore TOKEN_VERBS {
        issue_access_token(token: &AccessTokenRecord, now: Timestamp) -> IssueAccessToken;
        peek_access_token(token: &TokenHash, bucket: ExpiryBucket, client: &ClientId, resource_may_be_unregistered: bool) -> AccessTokenPeek;
        revoke_access_token(token: &TokenHash, bucket: ExpiryBucket) -> bool;
        peek_refresh_token(token: &TokenHash, bucket: ExpiryBucket, client: &ClientId, resource_may_be_unregistered: bool) -> RefreshTokenPeek;
        rotate_refresh_token(rotation: &Rotation, now: Timestamp) -> RotateRefreshToken;
    }
    Replay REPLAY_VERBS {
        record_once(once: &OneTimeUse, now: Timestamp) -> RecordOnce;
    }
    ImportedTokenStore IMPORTED_TOKEN_VERBS {
        import_tokens(tokens: &[ImportedToken], now: Timestamp) -> Vec<ImportToken>;
        find_imported(kind: TokenKind, token: &TokenHash) -> Option<ImportedEntry>;
        claim_imported(token: &TokenHash) -> bool;
    }
    SigningKeyStore SIGNING_KEY_VERBS {
        add_signing_key(key: &SigningKeyRecord, after: Option<&str>) -> AddSigningKey;
        list_signing_keys() -> Vec<SigningKeyRecord>;
        extend_signing_key(key_id: &str, longest_life: Duration) -> bool;
        remove_signing_key(key_id: &str) -> bool;
    }
    UpkeepStore UPKEEP_VERBS {
        probe(now: Timestamp) -> Timestamp;
        purge_expired(now: Timestamp, limit: u32) -> Purged;
        count_tokens(now: Timestamp) -> TokenCounts;
        pin_server_key(fingerprint: &[u8; 32]) -> KeyFingerprint;
    }
}
