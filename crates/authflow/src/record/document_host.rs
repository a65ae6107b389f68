//! A host of client metadata documents, and what an administrator decided about it.

use mcp_authflow_types::Timestamp;

use crate::client::trust::DomainName;

/// A host as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentHostRecord {
    /// Which one.
    pub host: DomainName,
    /// When a client of it first came, or, where somebody decided before that, when that was.
    pub asked_at: Timestamp,
    /// What was decided, and when; absent as long as it waits.
    pub decision: Option<(HostDecision, Timestamp)>,
}

/// What an administrator decided about a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostDecision {
    /// Its documents count.
    Allowed,
    /// They do not.
    Denied,
}

impl HostDecision {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Allowed, Self::Denied];

    /// The decision in a word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Denied => "denied",
        }
    }
}
