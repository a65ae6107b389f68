//! Clients that describe themselves in a document, and the hosts of such documents.

use mcp_authflow_types::{ClientId, Timestamp};

use super::StoreResult;
use crate::{
    client::trust::DomainName,
    record::{ClientProfile, DocumentHostRecord, HostDecision},
};

/// The most hosts that wait for a decision at a time: strangers can make hosts wait.
pub const MOST_WAITING_HOSTS: u32 = 1_000;

/// For how long a host waits at most, in seconds: 30 days. Whoever still wants it asks again.
pub const WAITING_HOST_SECONDS: i64 = 30 * 24 * 60 * 60;

/// A copy of a client's document that is to become the one that counts.
#[derive(Clone, Debug)]
pub struct NewClientDocument {
    /// The client, named by the URL of the document.
    pub id: ClientId,
    /// What the document says, the copy's own dates included.
    pub profile: ClientProfile,
    /// When the copy was fetched that this one was compared with; absent where there was none.
    pub seen: Option<Timestamp>,
    /// Whether everything issued to the client so far stops.
    pub ends_tokens: bool,
    /// From when on the client counts as unknown unless somebody approves it; absent for one that stays. It never shortens
    /// a life.
    pub expires_at: Option<Timestamp>,
}

/// How putting a document went.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PutClientDocument {
    /// It is the copy that counts now.
    Put,
    /// Another copy was put meanwhile, or the client was removed or added by somebody: look again.
    Outrun,
}

/// How noting a host went.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoteHost {
    /// It waits from now on.
    Noted,
    /// It is known already.
    Known,
    /// Too many hosts wait ([`MOST_WAITING_HOSTS`]).
    Full,
}

/// Keeps what metadata documents say, and what is decided about their hosts.
#[async_trait::async_trait]
pub trait ClientDocumentStore: Send + Sync {
    /// Makes a copy the one that counts, if the copy that counted so far is still the one it was compared with. A client
    /// that is not there is added (one that was removed continues its generation); one that has no document, since the
    /// operator wrote it down or it registered itself, is left alone.
    async fn put_client_document(
        &self,
        new: &NewClientDocument,
        now: Timestamp,
    ) -> StoreResult<PutClientDocument>;

    /// Reads what is known of these hosts, in any order.
    async fn load_document_hosts(&self, hosts: &[DomainName]) -> StoreResult<Vec<DocumentHostRecord>>;

    /// Notes a host that an administrator has to decide about. Hosts that waited for [`WAITING_HOST_SECONDS`] are
    /// forgotten on the way.
    async fn note_document_host(&self, host: &DomainName, now: Timestamp) -> StoreResult<NoteHost>;

    /// Decides about a host, known or not. The newest decision counts.
    async fn decide_document_host(
        &self,
        host: &DomainName,
        decision: HostDecision,
        now: Timestamp,
    ) -> StoreResult<()>;

    /// Lists the hosts that wait or were decided about, by name.
    async fn list_document_hosts(&self) -> StoreResult<Vec<DocumentHostRecord>>;
}
