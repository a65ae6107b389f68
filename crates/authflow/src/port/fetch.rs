//! Documents that clients point at: a key set, a client metadata document.

use std::{sync::Arc, time::Duration};

/// What a fetched document is to be, which decides how large it may be and how long a copy of it may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DocumentKind {
    /// A JSON Web Key Set, named by a client's `jwks_uri` (RFC 7591 §2).
    KeySet,
    /// A client metadata document, named by a client identifier that is a URL. The store keeps the copy that counts, for
    /// all nodes; an adapter's own copy is to live no longer than the shortest time that a copy counts
    /// ([`ClientDocumentSettings::min_age`](crate::settings::ClientDocumentSettings::min_age)), or an older document could
    /// replace a newer one.
    ClientMetadata,
    /// A picture, named by a client's `logo_uri` (RFC 7591 §2): PNG, JPEG, GIF or WebP, nothing that is a program.
    Logo,
}

/// How fresh a document has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// A copy will do, as long as its origin lets it be used.
    Cached,
    /// The copy at hand did not have what was looked for, for example an assertion names a key that it lacks: ask the
    /// origin again. Whoever can make requests can ask for this, so an adapter does it for one URL at most once in
    /// some 30 s and otherwise answers what it has, or how the last try failed.
    Refresh,
}

/// A document and how old it is.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// The bytes as they came. The same allocation as long as it is the same copy, so that what was parsed from it can
    /// be kept beside it and compared with [`Arc::ptr_eq`].
    pub body: Arc<[u8]>,
    /// How long ago it was asked of its origin, the age that the origin stated included.
    pub age: Duration,
    /// How long ago this server asked for it, where it comes from memory; zero where it was asked for now.
    pub asked_ago: Duration,
    /// How long its origin lets it be used from now on (RFC 9111 §4.2), without any bound of ours; absent when the origin
    /// says nothing of it, or nothing is known of that.
    pub fresh_for: Option<Duration>,
    /// It is past its time, and stands in because its origin cannot be asked.
    pub stale: bool,
}

/// Why there is no document.
///
/// The text is for the log. It never goes into an answer: told to whoever chose the URL, it would map the network behind
/// this server for them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// Such a URL is never asked: not https, a special-use address, a host that is not allowed. Trying again changes
    /// nothing until the client's metadata or the operator's settings change.
    #[error("the URL is refused: {0}")]
    Refused(String),
    /// It cannot be asked now: no address, no connection, too many requests on the way, or the pause after a failed try.
    /// Answered with 503.
    #[error("the document cannot be fetched now: {0}")]
    Unavailable(String),
    /// No answer in time. Answered with 504.
    #[error("the document did not come in time: {0}")]
    TimedOut(String),
    /// The origin answered, but not with a document that may be used: another status than 200, a redirect, another
    /// content type than JSON, too many bytes.
    #[error("this is no document to use: {0}")]
    BadDocument(String),
}

/// Fetches JSON documents from URLs that strangers chose.
///
/// What a wrong answer costs: one that dials a private address lets anyone who can register a client reach the network
/// behind this server (request forgery); one that follows redirects, trusts a name that was resolved before, or takes
/// any amount of bytes for any amount of time loses the same fight in another way. A document of another URL, or one
/// kept beyond its time, lets a withdrawn key sign a client in. One that calls every trouble
/// [`Unavailable`](FetchError::Unavailable) keeps clients trying for ever; one that calls trouble
/// [`BadDocument`](FetchError::BadDocument) blames an honest client for its host's bad minute.
///
/// An adapter checks the bytes' amount and declared type, not what they say: the caller parses, and treats the document
/// as input of its enemy. `mcp-authflow-fetch` is made to be such an adapter.
#[async_trait::async_trait]
pub trait Fetch: Send + Sync {
    /// Gets the document at `url`. It answers within a few seconds, however slow the other side is.
    async fn fetch(&self, url: &str, kind: DocumentKind, freshness: Freshness)
    -> Result<Fetched, FetchError>;
}

/// Refuses every URL: for a server whose clients may not point at documents, and the one to start from.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoFetch;

#[async_trait::async_trait]
impl Fetch for NoFetch {
    async fn fetch(&self, _: &str, _: DocumentKind, _: Freshness) -> Result<Fetched, FetchError> {
        Err(FetchError::Refused("this server fetches no documents".to_owned()))
    }
}
