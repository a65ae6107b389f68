//! An audit trail that a test can read back.

use std::sync::{Mutex, PoisonError};

use mcp_authflow::port::{Audit, AuditEvent};

/// Keeps what was recorded, in order.
#[derive(Debug, Default)]
pub struct AuditLog(Mutex<Vec<AuditRecord>>);

/// One record.
#[derive(Clone, Debug)]
pub struct AuditRecord {
    /// Action, outcome and reason on one line: `redeem_code Allowed: redeemed`.
    pub line: String,
    /// The client concerned.
    pub client_id: Option<String>,
    /// The person concerned.
    pub subject: Option<String>,
    /// The grant concerned.
    pub grant: Option<String>,
    /// Everything that `Debug` shows of the event.
    pub shown: String,
}

impl AuditLog {
    /// Takes out what was recorded since the last time.
    pub fn drain(&self) -> Vec<AuditRecord> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The same, a line each.
    pub fn lines(&self) -> Vec<String> {
        self.drain().into_iter().map(|record| record.line).collect()
    }
}

impl Audit for AuditLog {
    fn record(&self, event: &AuditEvent<'_>) {
        let record = AuditRecord {
            line: format!("{} {:?}: {}", event.action.as_str(), event.outcome, event.reason),
            client_id: event.client_id.map(ToString::to_string),
            subject: event.subject.map(str::to_owned),
            grant: event.grant.map(|grant| grant.to_string()),
            shown: format!("{event:?}"),
        };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(record);
    }
}
