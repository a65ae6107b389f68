//! The audit trail: one structured line for every security decision, under the log target `audit`.

mod bounded;

use mcp_authflow::port::{Audit, AuditEvent, AuditOutcome};

pub(crate) use self::bounded::BoundedTrail;

/// Writes audit events into the log. The fields are ours: identifiers, fingerprints, fixed phrases; values go through
/// the log's own escaping, so nothing can forge a line.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct AuditTrail;

impl Audit for AuditTrail {
    fn record(&self, event: &AuditEvent<'_>) {
        macro_rules! write {
            ($level:expr, $outcome:literal) => {
                tracing::event!(
                    target: "audit",
                    $level,
                    action = event.action.as_str(),
                    outcome = $outcome,
                    reason = &*event.reason,
                    client_id = event.client_id.map(tracing::field::debug),
                    grant = event.grant.map(tracing::field::display),
                    subject = event.subject.map(tracing::field::debug),
                    token = event.token,
                    address = event.address.map(tracing::field::display),
                )
            };
        }
        match event.outcome {
            AuditOutcome::Allowed => write!(tracing::Level::INFO, "allowed"),
            AuditOutcome::Refused => write!(tracing::Level::INFO, "refused"),
            AuditOutcome::Alarm => write!(tracing::Level::WARN, "alarm"),
        }
    }
}
