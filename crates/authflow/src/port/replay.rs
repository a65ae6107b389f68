//! The memory of what may be used once: identifiers that a client chose, such as the `jti` of an assertion.

use mcp_authflow_types::{Timestamp, TokenHash};

use super::store::StoreResult;

/// What kind of thing is used once. Identifiers of different kinds never meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ReplayKind {
    /// The `jti` of a client's assertion (RFC 7523 §3).
    ClientAssertion,
}

impl ReplayKind {
    /// Every kind.
    pub const ALL: &'static [Self] = &[Self::ClientAssertion];

    /// Its name, as stores keep it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ClientAssertion => "client_assertion",
        }
    }
}

/// One thing that may be used once: whose it is, which one, and from when until when it could be accepted.
///
/// Only digests are kept: an identifier may be of any length, and may say more than anybody needs to know.
///
/// ```
/// use mcp_authflow::port::replay::{OneTimeUse, ReplayKind};
/// use mcp_authflow_types::Timestamp;
///
/// let issued_at = Timestamp::from_seconds(1_000);
/// let kind = ReplayKind::ClientAssertion;
/// let once = OneTimeUse::new(kind, "client-1", "jti-1", issued_at, Timestamp::from_seconds(1_330));
/// let other = OneTimeUse::new(kind, "client-2", "jti-1", issued_at, Timestamp::from_seconds(1_330));
/// assert_ne!(once.digest, other.digest, "one client's identifiers never block another's");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OneTimeUse {
    /// What it is.
    pub kind: ReplayKind,
    /// A digest of who chose the identifier: room is shared out by it.
    pub owner: [u8; 32],
    /// A digest of owner and identifier together.
    pub digest: [u8; 32],
    /// When it says it was issued. Where it does not say, the earliest time at which it can have been: its expiry less
    /// the longest life that is accepted.
    pub issued_at: Timestamp,
    /// The first second in which it is not accepted any more, whatever this memory says: leeway for clocks included.
    pub expires_at: Timestamp,
}

impl OneTimeUse {
    /// Digests who it is from and which one it is.
    pub fn new(
        kind: ReplayKind,
        owner: &str,
        identifier: &str,
        issued_at: Timestamp,
        expires_at: Timestamp,
    ) -> Self {
        // The length in front keeps ("a", "bc") and ("ab", "c") apart.
        let (name, length) = (kind.as_str(), owner.len());
        Self {
            kind,
            owner: *TokenHash::of(&format!("{name}:{owner}")).as_bytes(),
            digest: *TokenHash::of(&format!("{name}:{length}:{owner}{identifier}")).as_bytes(),
            issued_at,
            expires_at,
        }
    }
}

/// What the memory says. All but the first is a refusal.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordOnce {
    /// It was not used before, and now it is: for this caller alone, of however many that ask at once.
    FirstUse,
    /// It was used before.
    Replay,
    /// Nobody can say: it may have been used at a time that the memory does not reach back to (any more). It is refused
    /// like a replay; a fresh one will do, if not at once then soon.
    CannotTell,
    /// There is no room to remember it, for this owner or for anybody. It was not used up; the same one will do later.
    Full,
}

/// Remembers what was used once, for as long as it could be accepted.
///
/// A memory that forgets too soon, or lets two callers be first, lets a stolen assertion be used a second time: whoever
/// reads one in a log or on the wire becomes the client. One that remembers for too long, or mixes owners up, refuses
/// honest clients. What cannot be asked answers an error, and the caller refuses; it never guesses.
///
/// It is asked after every other check, so that what is refused anyway is not used up.
#[async_trait::async_trait]
pub trait Replay: Send + Sync {
    /// Uses it up, and says whether this caller was the first to. Looking and writing are one step; after `FirstUse` it
    /// is remembered at least until `expires_at`, across restarts as far as the memory survives them, and a memory that
    /// does not survive says `CannotTell` of what was issued before it began.
    ///
    /// `now` is the clock by which the caller accepted it. A memory with a clock of its own may answer `CannotTell` to what
    /// has expired by that one.
    async fn record_once(&self, once: &OneTimeUse, now: Timestamp) -> StoreResult<RecordOnce>;
}
