//! The order in which a client that describes itself is found: the row, its host's leave, the copy's time, a fetch.
//!
//! ```text
//! client_id ─▶ row ─▶ not a document client ──────────────────────────────────▶ judged as ever
//!               └──▶ may its host be asked? ─▶ is the copy in time? ─ yes ─────▶ the row
//!                       │ no: a page            └ no ─▶ limits ─▶ fetch ─▶ parse ─▶ put ─▶ the row
//!                       ▼                                           └ failed: nothing is kept of it
//! ```
//!
//! The copy in the row is the cache, shared by all nodes; a failure is never part of it. A document is fetched when a client
//! begins something (authorization, device authorization), and at the token endpoint once the copy is past its time.
//! Revocation and introspection never fetch.

use std::{net::IpAddr, sync::Arc, time::Duration};

use mcp_authflow_types::{
    ClientId, ErrorCode, ErrorResponse, RedirectUri, Timestamp, client_id::is_metadata_document_url,
};

use super::{
    change::Change,
    metadata_document::MetadataDocument,
    trust::{DomainName, HostTrust},
};
use crate::{
    endpoint::authorization::PageReason,
    port::{
        Admission, AuditEvent, AuditOutcome, DocumentKind, FetchError, Freshness, StoreError,
        audit::AuditAction,
        rate_limit::Limit,
        store::{NewClientDocument, NoteHost, PutClientDocument},
    },
    record::{Client, ClientOrigin, ClientProfile, DocumentCopy, DocumentSource, Grant, HostDecision},
    server::{AuthorizationServer, limiter_key},
};

/// How long a copy counts whose origin says nothing of it: RFC 9111 §4.2.2 leaves it to the cache.
const UNSAID_AGE: Duration = Duration::from_secs(300);

const HOUR: Duration = Duration::from_secs(3_600);

/// Why there is no client.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum NoClient {
    #[error("unknown client")]
    Unknown,
    #[error("clients of this kind, or of this host, are not let in")]
    NotAllowed,
    #[error("an administrator has to allow its host first")]
    HostUndecided(String),
    #[error("too many documents for one address or of one host")]
    TooMany(Duration),
    #[error("its document cannot be had or is none")]
    DocumentUnusable,
    #[error("its document cannot be asked for now")]
    DocumentOutOfReach { timed_out: bool },
    #[error("{0}")]
    Store(#[from] StoreError),
}

impl From<NoClient> for PageReason {
    fn from(why: NoClient) -> Self {
        match why {
            NoClient::Unknown => Self::UnknownClient,
            NoClient::NotAllowed => Self::ClientNotAllowed,
            NoClient::HostUndecided(host) => Self::HostUndecided { host },
            NoClient::TooMany(retry_after) => Self::TooMany { retry_after },
            NoClient::DocumentUnusable => Self::DocumentUnusable,
            NoClient::DocumentOutOfReach { timed_out } => Self::DocumentOutOfReach { timed_out },
            NoClient::Store(error) => error.into(),
        }
    }
}

impl From<NoClient> for ErrorResponse {
    fn from(why: NoClient) -> Self {
        match why {
            NoClient::Unknown | NoClient::NotAllowed | NoClient::DocumentUnusable => {
                ErrorCode::InvalidClient.into()
            }
            NoClient::HostUndecided(_) => ErrorCode::UnauthorizedClient.into(),
            NoClient::TooMany(retry_after) => Self::too_many_requests(retry_after),
            NoClient::DocumentOutOfReach { timed_out: true } => Self::timed_out(),
            NoClient::DocumentOutOfReach { timed_out: false } => Self::unavailable(),
            NoClient::Store(error) => error.into(),
        }
    }
}

/// Why there is no document. The text is for the log alone: told outside, it would map the network behind this server.
#[derive(Debug, thiserror::Error)]
enum NoDocument {
    #[error("{0}")]
    Fetch(#[from] FetchError),
    #[error("{0}")]
    Invalid(#[from] super::metadata_document::InvalidDocument),
}

impl NoDocument {
    fn timed_out(&self) -> Option<bool> {
        match self {
            Self::Fetch(FetchError::TimedOut(_)) => Some(true),
            Self::Fetch(FetchError::Unavailable(_)) => Some(false),
            Self::Fetch(_) | Self::Invalid(_) => None,
        }
    }
}

/// Whether a client is one that describes itself, known or not.
pub(crate) fn is_document_client(id: &ClientId, known: Option<&Client>) -> bool {
    match known {
        Some(client) => client.profile.origin == ClientOrigin::MetadataDocument,
        None => is_metadata_document_url(id.as_str()),
    }
}

fn is_in_time(client: &Client, now: Timestamp) -> bool {
    let copy = client.profile.document;
    client.is_current(now) && copy.is_some_and(|copy| !copy.fresh_until.has_passed(now))
}

impl AuthorizationServer {
    /// The client that begins something, given what the store has of it. A client that describes itself is looked up anew
    /// where its copy is past its time.
    pub(crate) async fn beginning_client(
        &self,
        id: &ClientId,
        known: Option<Arc<Client>>,
        address: Option<IpAddr>,
        now: Timestamp,
    ) -> Result<Arc<Client>, NoClient> {
        if !is_document_client(id, known.as_deref()) {
            return known
                .filter(|client| client.is_current(now))
                .ok_or(NoClient::Unknown);
        }
        let refused = |why: &str| {
            AuditEvent::new(AuditAction::ClientDocument, AuditOutcome::Refused, why.to_owned())
                .with_client(id)
                .with_address(address)
        };
        let host = DomainName::of(id).ok_or(NoClient::Unknown)?;
        // 1. The operator lets such clients in, and this host.
        if !self.settings().client_documents.enabled {
            return Err(NoClient::NotAllowed);
        }
        match self.document_host_trust(&host).await? {
            HostTrust::Trusted | HostTrust::Open => {}
            HostTrust::Denied => {
                self.audit(&refused("its host is not let in"));
                return Err(NoClient::NotAllowed);
            }
            HostTrust::Undecided => return Err(self.ask_about(&host, id, address, now).await?),
        }
        // 2. The copy at hand, as long as it counts.
        if let Some(client) = known.clone().filter(|client| is_in_time(client, now)) {
            return Ok(client);
        }
        // 3. What nobody has seen yet is fetched so often and no more. A known document is asked for once in the time that
        //    a copy counts, so that nobody locks its client out by asking for others.
        if known.is_none() {
            self.admit_new_document(&host, id, address).await?;
        }
        // 4. The document, and what changed in it.
        let freshness = known.as_ref().map_or(Freshness::Cached, |_| Freshness::Refresh);
        match self.fetch_document(id, freshness).await {
            Ok((profile, lifetime)) => {
                let client = self
                    .put_document(id, known.as_deref(), profile, lifetime, now)
                    .await?;
                // The fetch took its time. Who denies a host says so first and ends its clients then, so either that end
                // came after this client was put, or what is said is seen here.
                if self.document_host_trust(&host).await? == HostTrust::Denied {
                    self.audit(&refused("its host is not let in"));
                    return Err(NoClient::NotAllowed);
                }
                Ok(client)
            }
            Err(why) => {
                // What a stranger wrote is quoted.
                tracing::info!(client = ?id, why = ?why.to_string(), "a client's document cannot be used");
                self.audit(&refused("its document cannot be had or is none"));
                match known {
                    Some(client) if is_pinned(&client) => Ok(client),
                    Some(_) => Err(match why.timed_out() {
                        Some(timed_out) => NoClient::DocumentOutOfReach { timed_out },
                        None => NoClient::DocumentUnusable,
                    }),
                    // Of a URL that was never good nothing more is said: not whether there is such a host.
                    None => Err(NoClient::DocumentUnusable),
                }
            }
        }
    }

    /// The client at the token endpoint, given what the store has of it: for one that describes itself a newer copy where
    /// the one at hand is past its time, and the last good one while its host cannot be asked.
    ///
    /// `grant` is what the presented code or token belongs to. Without one of this very client's nothing can come of the
    /// request, and nobody is asked: strangers know the names of clients too.
    pub(crate) async fn returning_client(
        &self,
        known: Option<Arc<Client>>,
        grant: Option<&Grant>,
        now: Timestamp,
    ) -> Result<Option<Arc<Client>>, ErrorResponse> {
        let Some(client) = known.filter(|client| self.lets_in(client)) else {
            return Ok(None);
        };
        let is_its_own = grant.is_some_and(|grant| grant.client_id == client.id);
        let copy = match client.profile.document {
            Some(copy) if is_its_own && client.is_current(now) && copy.fresh_until.has_passed(now) => copy,
            _ => return Ok(Some(client)),
        };
        match self.fetch_document(&client.id, Freshness::Refresh).await {
            Ok((profile, lifetime)) => {
                let put = self
                    .put_document(&client.id, Some(&client), profile, lifetime, now)
                    .await;
                Ok(Some(put?))
            }
            Err(why) => {
                tracing::info!(client = ?client.id, why = ?why.to_string(), "a client's document cannot be used");
                let last_good = copy.fetched_at + self.settings().client_documents.last_good;
                let is_refused = matches!(why, NoDocument::Fetch(FetchError::Refused(_)));
                if is_pinned(&client) || (!is_refused && !last_good.has_passed(now)) {
                    return Ok(Some(client));
                }
                let timed_out = why.timed_out().unwrap_or(false);
                Err(NoClient::DocumentOutOfReach { timed_out }.into())
            }
        }
    }

    /// Whether the settings let a client in that came before they were what they are.
    pub(crate) fn lets_in(&self, client: &Client) -> bool {
        if client.profile.origin != ClientOrigin::MetadataDocument {
            return true;
        }
        let settings = &self.settings().client_documents;
        let trust = DomainName::of(&client.id).map_or(HostTrust::Denied, |host| settings.trust.of(&host));
        settings.enabled && trust > HostTrust::Denied
    }

    /// Whether a client's host is let in at this moment, by the settings, by an administrator and by the embedder's policy:
    /// for whoever would ask that host for something else, such as a picture. Other clients always are.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be asked.
    pub async fn is_host_let_in(&self, client: &Client) -> Result<bool, StoreError> {
        if client.profile.origin != ClientOrigin::MetadataDocument {
            return Ok(true);
        }
        match DomainName::of(&client.id).filter(|_| self.settings().client_documents.enabled) {
            Some(host) => Ok(self.document_host_trust(&host).await? > HostTrust::Undecided),
            None => Ok(false),
        }
    }

    /// Whether what people approved for a client may stand in for asking them again: nobody else can receive what is sent
    /// to it, and the operator vouches for it, or for the host that its document is at.
    pub(crate) async fn may_be_remembered(&self, client: &Client) -> Result<bool, StoreError> {
        if client.profile.origin != ClientOrigin::MetadataDocument {
            return Ok(client.can_prove_itself());
        }
        let uris = &client.profile.redirect_uris;
        if uris.is_empty() || !uris.iter().all(RedirectUri::is_web) {
            return Ok(false);
        }
        match DomainName::of(&client.id) {
            Some(host) => Ok(self.document_host_trust(&host).await? == HostTrust::Trusted),
            None => Ok(false),
        }
    }

    /// What is decided about a host: by the settings, by an administrator, by the embedder's policy.
    async fn document_host_trust(&self, host: &DomainName) -> Result<HostTrust, StoreError> {
        let by_settings = self.settings().client_documents.trust.of(host);
        if by_settings == HostTrust::Denied {
            return Ok(by_settings);
        }
        let names = host.with_names_above();
        let records = self.store().load_document_hosts(&names).await?;
        // What is said of this very host counts before what is said of a name above it.
        let exact = records.iter().find(|record| record.host == *host);
        let exact = exact.and_then(|record| record.decision);
        let decision = exact.map(|(decision, _)| decision).or_else(|| {
            let decisions = records.iter().filter_map(|record| record.decision);
            let mut denials = decisions.filter(|(decision, _)| *decision == HostDecision::Denied);
            denials.next().map(|(decision, _)| decision)
        });
        let decided = by_settings.with(decision);
        Ok(self
            .policy()
            .document_host_trust(host, decided)
            .await
            .min(decided))
    }

    /// Notes a host that an administrator has to decide about.
    async fn ask_about(
        &self,
        host: &DomainName,
        id: &ClientId,
        address: Option<IpAddr>,
        now: Timestamp,
    ) -> Result<NoClient, NoClient> {
        self.admit_new_document(host, id, address).await?;
        let said = match self.store().note_document_host(host, now).await? {
            NoteHost::Noted => "its host waits for an administrator from now on",
            NoteHost::Known => "its host waits for an administrator",
            NoteHost::Full => "too many hosts wait for an administrator",
        };
        self.audit(
            &AuditEvent::new(AuditAction::ClientDocument, AuditOutcome::Refused, said)
                .with_client(id)
                .with_address(address),
        );
        Ok(NoClient::HostUndecided(host.to_string()))
    }

    /// Counts a document that nobody has seen yet, for who asks and for its host. What the table of known clients names is
    /// not counted for its host, or whoever asks for enough others there locks out the very client that people use.
    async fn admit_new_document(
        &self,
        host: &DomainName,
        id: &ClientId,
        address: Option<IpAddr>,
    ) -> Result<(), NoClient> {
        let settings = &self.settings().client_documents;
        let limits = [
            (
                "client_document_address",
                settings.per_address_per_hour,
                limiter_key(address),
            ),
            (
                "client_document_host",
                settings.per_host_per_hour,
                host.to_string(),
            ),
        ];
        let is_listed = self.settings().known_clients.lists_document(id.as_str());
        let counted = if is_listed { &limits[..1] } else { &limits[..] };
        for (name, tries, key) in counted {
            let limit = Limit {
                name,
                tries: *tries,
                window: HOUR,
            };
            if let Admission::Refused { retry_after } = self.ports().rate_limit.admit(limit, key).await {
                return Err(NoClient::TooMany(retry_after));
            }
        }
        Ok(())
    }

    /// Fetches and reads a document; with it comes how long it counts. For a known client its host is asked, and not the
    /// fetcher's memory: the row is the copy that counts, and an administrator may have put that past its time a moment
    /// after it was fetched. What comes from that memory all the same, since its host was asked a moment ago, counts no
    /// longer than the shortest time from then on.
    async fn fetch_document(
        &self,
        id: &ClientId,
        freshness: Freshness,
    ) -> Result<(ClientProfile, Duration), NoDocument> {
        let settings = &self.settings().client_documents;
        let fetched = self
            .ports()
            .fetch
            .fetch(id.as_str(), DocumentKind::ClientMetadata, freshness)
            .await?;
        let profile = MetadataDocument::parse(id, &fetched.body)?.into_profile();
        let lifetime = fetched.fresh_for.unwrap_or(UNSAID_AGE);
        let lifetime = lifetime.min(settings.max_age).max(settings.min_age);
        let is_from_memory = !fetched.asked_ago.is_zero();
        let rest = settings.min_age.saturating_sub(fetched.asked_ago);
        Ok((profile, if is_from_memory { rest } else { lifetime }))
    }

    /// Makes a document the copy that counts, unless another node has put one meanwhile; then that one counts.
    async fn put_document(
        &self,
        id: &ClientId,
        known: Option<&Client>,
        profile: ClientProfile,
        lifetime: Duration,
        now: Timestamp,
    ) -> Result<Arc<Client>, NoClient> {
        let old = known.map(|client| &client.profile);
        let old_copy = old.and_then(|profile| profile.document);
        let change = old.map_or_else(Change::default, |old| Change::between(old, &profile));
        let new = NewClientDocument {
            id: id.clone(),
            profile: ClientProfile {
                document: Some(DocumentCopy {
                    fetched_at: now,
                    fresh_until: now + lifetime,
                    changed_at: if change.asks_again() {
                        Some(now)
                    } else {
                        old_copy.and_then(|copy| copy.changed_at)
                    },
                    source: old_copy.map_or(DocumentSource::Fetched, |copy| copy.source),
                }),
                ..profile
            },
            seen: old_copy.map(|copy| copy.fetched_at),
            ends_tokens: change.ends_tokens(),
            expires_at: Some(now + self.settings().lifetimes.unused_client),
        };
        match self.store().put_client_document(&new, now).await? {
            PutClientDocument::Put => {
                let (outcome, said) = match known {
                    None => (
                        AuditOutcome::Allowed,
                        Some("fetched for the first time".to_owned()),
                    ),
                    Some(_) if change.ends_tokens() => {
                        let said = format!("changed, and everything issued to it ended: {change}");
                        (AuditOutcome::Alarm, Some(said))
                    }
                    Some(_) if change.asks_again() => {
                        (AuditOutcome::Allowed, Some(format!("changed: {change}")))
                    }
                    Some(_) => (AuditOutcome::Allowed, None),
                };
                if let Some(said) = said {
                    self.audit(&AuditEvent::new(AuditAction::ClientDocument, outcome, said).with_client(id));
                }
            }
            PutClientDocument::Outrun => {
                tracing::debug!(client = ?id, "another node was faster with a client's document");
            }
        }
        let client = self.store().load_client(id).await?;
        client
            .filter(|client| client.is_current(now))
            .ok_or(NoClient::Unknown)
    }
}

fn is_pinned(client: &Client) -> bool {
    let copy = client.profile.document;
    copy.is_some_and(|copy| copy.source == DocumentSource::Pinned)
}
