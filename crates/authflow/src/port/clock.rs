//! The clock. It is read once a request, so that one request sees one `now`.

use mcp_authflow_types::Timestamp;

/// Tells the time. A clock that is wrong by more than five minutes against the database makes a node report not ready;
/// one that steps back may let expired things live as much longer, as far as no database clock overrules it.
pub trait Clock: Send + Sync {
    /// The time in whole seconds.
    fn now(&self) -> Timestamp;
}
