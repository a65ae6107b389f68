//! Copies that the operator keeps, for hosts that refuse servers.

use std::{path::PathBuf, time::Duration};

use clap::Args;
use mcp_authflow::{
    client::{
        change::Change,
        metadata_document::{MetadataDocument, Severity, lint},
    },
    port::{
        Clock as _,
        audit::AuditAction,
        store::{NewClientDocument, PutClientDocument},
    },
    record::{Client, ClientOrigin, ClientProfile, DocumentCopy, DocumentSource},
};
use mcp_authflow_types::{ClientId, Timestamp};
use serde_json::{Value, json};

use super::{Output, Refused, identifier, in_full, read};
use crate::{
    cli::{
        client::note,
        output::{moment, table},
    },
    system::SystemClock,
    wire::Opened,
};

/// The member of a file that was written from what somebody says about a document, and not copied from the document.
const FROM_A_DESCRIPTION: &str = "x_written_from_description";

#[derive(Debug, Args)]
pub(crate) struct Pin {
    /// The document: a file, or - for standard input
    #[arg(value_name = "FILE")]
    document: PathBuf,
    /// The client's identifier, the URL of the document [default: the client_id that it names]
    #[arg(long, value_name = "URL")]
    client_id: Option<String>,
    /// Take a file that says of itself that it was written from a description: you fetched the original, by other means,
    /// and it says the same
    #[arg(long)]
    checked_against_the_original: bool,
}

impl Pin {
    pub(super) async fn run(self, opened: &Opened, output: Output) -> anyhow::Result<()> {
        let body = read(&self.document)?;
        let client_id = identifier(self.client_id, &body, &self.document)?;
        let mut findings = lint(&client_id, &body);
        findings.retain(|finding| finding.severity == Severity::Error);
        if !findings.is_empty() {
            output.print(&json!({ "findings": findings }), &in_full(&findings))?;
            return Err(Refused("a document with errors is not pinned".to_owned()).into());
        }
        let refuse = |why: &dyn std::fmt::Display| Refused(format!("{}: {why}", self.document.display()));
        let client_id = ClientId::parse(&client_id).map_err(|error| refuse(&error))?;
        let document = MetadataDocument::parse(&client_id, &body).map_err(|error| refuse(&error))?;
        let members: Value = serde_json::from_slice(&body).unwrap_or_default();
        if members.get(FROM_A_DESCRIPTION).is_some() && !self.checked_against_the_original {
            return Err(refuse(
                &"it was written from a description and not copied from its URL. Fetch the original with a browser and pin \
                  that, or compare the two and say --checked-against-the-original",
            )
            .into());
        }
        let now = SystemClock.now();
        put(opened, &client_id, now, false, |old| {
            let changed_at = old.and_then(|old| old.document).and_then(|copy| copy.changed_at);
            ClientProfile {
                document: Some(DocumentCopy {
                    fetched_at: now,
                    // It is past its time at once: the host is asked first whenever it can be.
                    fresh_until: now,
                    changed_at,
                    source: DocumentSource::Pinned,
                }),
                ..document.clone().into_profile()
            }
        })
        .await?;
        note(
            &client_id,
            AuditAction::ClientDocument,
            "a copy of the document was pinned",
        );
        output.print(
            &json!({ "client_id": client_id, "pinned": true }),
            &format!("pinned {client_id}: the copy counts as long as its host cannot be asked"),
        )
    }
}

/// Makes a copy the one that counts, and dates what a person has to be asked about again. Another copy may come in
/// meanwhile, from a running server; then that one is looked at.
async fn put(
    opened: &Opened,
    client_id: &ClientId,
    now: Timestamp,
    keeps_life: bool,
    copy: impl Fn(Option<&ClientProfile>) -> ClientProfile,
) -> anyhow::Result<()> {
    for _ in 0..3 {
        let known = opened.store.load_client(client_id).await?;
        if known
            .as_ref()
            .is_some_and(|client| client.profile.origin != ClientOrigin::MetadataDocument)
        {
            return Err(Refused(format!(
                "{client_id} is a client that was added or registered, without a document"
            ))
            .into());
        }
        let old = known.as_ref().map(|client| &client.profile);
        let mut profile = copy(old);
        let change = old.map(|old| Change::between(old, &profile)).unwrap_or_default();
        if change.asks_again()
            && let Some(document) = &mut profile.document
        {
            document.changed_at = Some(now);
        }
        let new = NewClientDocument {
            id: client_id.clone(),
            profile,
            seen: old.and_then(|old| old.document).map(|copy| copy.fetched_at),
            ends_tokens: change.ends_tokens(),
            // What is pinned stays; a copy that is only fetched anew keeps the life that its client has.
            expires_at: known
                .as_ref()
                .filter(|_| keeps_life)
                .and_then(|client| client.expires_at),
        };
        match opened.store.put_client_document(&new, now).await? {
            PutClientDocument::Put => return Ok(()),
            PutClientDocument::Outrun => {}
        }
    }
    Err(Refused(format!(
        "the document of {client_id} changes all the time: try again"
    ))
    .into())
}

/// Lets go of a pinned copy: it counts like one that was fetched when it was pinned.
pub(super) async fn unpin(opened: &Opened, client_id: &ClientId, output: Output) -> anyhow::Result<()> {
    let client = opened.store.load_client(client_id).await?;
    let pinned = client.as_ref().and_then(|client| client.profile.document);
    let Some(pinned) = pinned.filter(|copy| copy.source == DocumentSource::Pinned) else {
        return Err(Refused(format!(
            "no copy of {client_id} is pinned; see authflow client-document list"
        ))
        .into());
    };
    let now = SystemClock.now();
    put(opened, client_id, now, false, |old| ClientProfile {
        document: Some(DocumentCopy {
            source: DocumentSource::Fetched,
            ..pinned
        }),
        ..old
            .cloned()
            .unwrap_or_else(|| ClientProfile::new(ClientOrigin::MetadataDocument))
    })
    .await?;
    note(client_id, AuditAction::ClientDocument, "a pinned copy was let go");
    output.print(
        &json!({ "client_id": client_id, "pinned": false }),
        &format!("let go of the copy of {client_id}: from now on its host has to answer"),
    )
}

/// Puts the copy at hand past its time, so that its host is asked the next time that the client comes.
pub(super) async fn refetch(opened: &Opened, client_id: &ClientId, output: Output) -> anyhow::Result<()> {
    let client = opened.store.load_client(client_id).await?;
    let Some(copy) = client.as_ref().and_then(|client| client.profile.document) else {
        return Err(Refused(format!(
            "no document of {client_id} is kept; see authflow client-document list"
        ))
        .into());
    };
    let now = SystemClock.now();
    put(opened, client_id, now, true, |old| {
        let copy = old.and_then(|old| old.document).unwrap_or(copy);
        ClientProfile {
            document: Some(DocumentCopy {
                // Another copy than before: a node that fetched a moment ago, and has not put that yet, is outrun.
                fetched_at: copy.fetched_at - Duration::from_secs(1),
                fresh_until: now,
                ..copy
            }),
            ..old
                .cloned()
                .unwrap_or_else(|| ClientProfile::new(ClientOrigin::MetadataDocument))
        }
    })
    .await?;
    note(
        client_id,
        AuditAction::ClientDocument,
        "the copy of the document is past its time",
    );
    output.print(
        &json!({ "client_id": client_id, "fresh_until": now }),
        &format!("the document of {client_id} is fetched anew the next time that its client comes"),
    )
}

/// Lists the clients whose documents are kept.
pub(super) async fn list(opened: &Opened, output: Output) -> anyhow::Result<()> {
    let mut clients: Vec<Client> = Vec::new();
    let mut after = None;
    loop {
        let page = opened.store.list_clients(after.as_ref(), 500).await?;
        let Some(last) = page.last() else { break };
        after = Some(last.id.clone());
        clients.extend(
            page.into_iter()
                .filter(|client| client.profile.document.is_some()),
        );
    }
    let values: Vec<Value> = clients
        .iter()
        .map(|client| {
            let document = client.profile.document;
            json!({
                "client_id": client.id, "client_name": client.profile.name, "document": document,
            })
        })
        .collect();
    let rows: Vec<Vec<String>> = clients
        .iter()
        .filter_map(|client| {
            let copy = client.profile.document?;
            let source = match copy.source {
                DocumentSource::Fetched => "fetched",
                DocumentSource::Pinned => "pinned",
            };
            Some(vec![
                client.id.to_string(),
                client.profile.name.clone().unwrap_or_default(),
                source.to_owned(),
                moment(copy.fetched_at),
                copy.changed_at.map_or_else(|| "-".to_owned(), moment),
            ])
        })
        .collect();
    output.print(
        &Value::from(values),
        &table(&["CLIENT ID", "NAME IT CLAIMS", "COPY", "FROM", "CHANGED"], &rows),
    )
}
