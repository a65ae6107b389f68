//! `authflow client-document host`: whose documents count, decided host by host.

use clap::Subcommand;
use mcp_authflow::{
    client::trust::{DomainName, DomainTrust, HostTrust},
    port::{
        AuditEvent, AuditOutcome, Clock as _,
        audit::{Audit as _, AuditAction},
    },
    record::{ClientOrigin, HostDecision},
};
use mcp_authflow_types::ClientId;
use serde_json::json;

use crate::{
    audit_trail::AuditTrail,
    cli::{
        Output,
        output::{moment, table},
    },
    config::Config,
    system::SystemClock,
    wire::Opened,
};

#[derive(Debug, Subcommand)]
pub(crate) enum HostVerb {
    /// List the hosts that wait for a decision, and those decided about
    #[command(
        after_help = "A host waits when one of its clients came while the configuration said:
  [client_documents]
  trust = \"ask\""
    )]
    List,
    /// Let clients in whose documents are at a host
    #[command(after_help = "Example:\n  authflow client-document host allow app.example")]
    Allow {
        /// The host, with its port where that is not 443
        host: DomainName,
    },
    /// Keep them out, and end everything issued to them at once
    #[command(
        after_help = "Its sub-domains are denied as well, and any port unless one is named. A host that was allowed by its own name stays.

Example:
  authflow client-document host deny evil.example"
    )]
    Deny {
        /// The host, with its port where that is not 443
        host: DomainName,
    },
}

impl HostVerb {
    pub(super) async fn run(self, opened: &Opened, config: &Config, output: Output) -> anyhow::Result<()> {
        match self {
            Self::List => list(opened, output).await,
            Self::Allow { host } => {
                decide(opened, &host, HostDecision::Allowed).await?;
                let trust = &config.settings.client_documents.trust;
                let in_vain = trust.of(&host) == HostTrust::Denied;
                let said = if in_vain {
                    let why = match trust {
                        DomainTrust::Only(_) => "is not among",
                        _ => "is among",
                    };
                    format!("allowed {host}, but it {why} client_documents.hosts, which decides")
                } else {
                    match trust {
                        DomainTrust::Ask => format!("allowed {host}: its clients are let in from now on"),
                        DomainTrust::Open | DomainTrust::Only(_) | DomainTrust::AllBut(_) => format!(
                            "allowed {host}: from now on approvals are remembered for those of its clients whose \
                             redirects all lead to https hosts"
                        ),
                    }
                };
                output.print(
                    &json!({ "host": host.as_str(), "decision": "allowed", "in_force": !in_vain }),
                    &said,
                )
            }
            Self::Deny { host } => {
                decide(opened, &host, HostDecision::Denied).await?;
                let ended = end_clients(opened, &host).await?;
                output.print(
                    &json!({ "host": host.as_str(), "decision": "denied", "clients_ended": ended }),
                    &format!("denied {host}; clients whose grants and tokens ended: {ended}"),
                )
            }
        }
    }
}

async fn decide(opened: &Opened, host: &DomainName, decision: HostDecision) -> anyhow::Result<()> {
    opened
        .store
        .decide_document_host(host, decision, SystemClock.now())
        .await?;
    let said = match decision {
        HostDecision::Allowed => format!("the operator allowed the host {host}"),
        HostDecision::Denied => format!("the operator denied the host {host}"),
    };
    AuditTrail.record(&AuditEvent::new(
        AuditAction::ClientDocument,
        AuditOutcome::Allowed,
        said,
    ));
    Ok(())
}

/// Ends everything of the clients whose documents are at a host. The host is denied already, so none comes in meanwhile.
async fn end_clients(opened: &Opened, host: &DomainName) -> anyhow::Result<u64> {
    const PAGE: u32 = 500;
    let decided = opened.store.list_document_hosts().await?;
    let is_allowed = |host: &DomainName| {
        decided
            .iter()
            .any(|record| record.host == *host && matches!(record.decision, Some((HostDecision::Allowed, _))))
    };
    let mut ended = 0;
    let mut after: Option<ClientId> = None;
    loop {
        let page = opened.store.list_clients(after.as_ref(), PAGE).await?;
        let Some(last) = page.last() else { return Ok(ended) };
        after = Some(last.id.clone());
        for client in page {
            let is_of_host = client.profile.origin == ClientOrigin::MetadataDocument
                && DomainName::of(&client.id).is_some_and(|of| host.denies(&of) && !is_allowed(&of));
            if is_of_host && opened.store.revoke_client(&client.id).await?.is_some() {
                ended += 1;
            }
        }
    }
}

async fn list(opened: &Opened, output: Output) -> anyhow::Result<()> {
    let hosts = opened.store.list_document_hosts().await?;
    let word = |decision: Option<HostDecision>| decision.map_or("waits", HostDecision::as_str);
    let values: Vec<_> = hosts
        .iter()
        .map(|record| {
            json!({
                "host": record.host.as_str(),
                "decision": record.decision.map(|(decision, _)| decision.as_str()),
                "asked_at": record.asked_at,
                "decided_at": record.decision.map(|(_, at)| at),
            })
        })
        .collect();
    let rows: Vec<Vec<String>> = hosts
        .iter()
        .map(|record| {
            vec![
                record.host.to_string(),
                word(record.decision.map(|(decision, _)| decision)).to_owned(),
                moment(record.asked_at),
                record
                    .decision
                    .map_or_else(|| "-".to_owned(), |(_, at)| moment(at)),
            ]
        })
        .collect();
    let mut text = table(&["HOST", "DECISION", "ASKED", "DECIDED"], &rows);
    if hosts.iter().any(|record| record.decision.is_none()) {
        text.push_str("\nDecide with authflow client-document host allow HOST, or deny HOST.");
    }
    output.print(&values.into(), &text)
}
