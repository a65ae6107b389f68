//! Clients that describe themselves in a document, and the hosts of such documents.

use mcp_authflow::{
    client::trust::DomainName,
    port::store::{
        ClientDocumentStore, MOST_WAITING_HOSTS, NewClientDocument, NoteHost, PutClientDocument, StoreResult,
        WAITING_HOST_SECONDS,
    },
    record::{DocumentHostRecord, HostDecision},
};
use mcp_authflow_types::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Row, named_params};

use crate::{
    SqliteStore,
    sql::{Json, Text, in_one_snapshot, moment, moment_if_any, statements},
};

statements! {
    /// The copy that counted is told by when it was fetched.
    PUT = "INSERT INTO clients (id, generation, created_at, expires_at, profile)
        SELECT :id, 0, :now, :expires_at, :profile
        WHERE :seen IS NULL OR EXISTS (SELECT 1 FROM clients WHERE id = :id AND NOT is_removed)
        ON CONFLICT (id) DO UPDATE SET
            generation = generation + iif(is_removed, 0, :ends_tokens),
            created_at = iif(is_removed, excluded.created_at, created_at),
            expires_at = iif(is_removed, excluded.expires_at, max(expires_at, excluded.expires_at)),
            secret = NULL, retired_secret = NULL, retired_until = NULL, introspects = NULL,
            profile = excluded.profile, is_removed = 0
        WHERE iif(is_removed, :seen IS NULL,
            json_extract(profile, '$.origin') = 'metadata_document'
            AND json_extract(profile, '$.document.fetched_at') IS :seen)";
    LOAD_HOST = "SELECT * FROM document_hosts WHERE host = :host";
    FORGET_HOSTS = "DELETE FROM document_hosts WHERE is_allowed IS NULL AND asked_at <= :before";
    IS_FULL = "SELECT count(*) >= :most FROM document_hosts WHERE is_allowed IS NULL";
    NOTE_HOST = "INSERT INTO document_hosts (host, asked_at) VALUES (:host, :now)";
    DECIDE_HOST = "INSERT INTO document_hosts (host, asked_at, decided_at, is_allowed) VALUES (:host, :now, :now, :is_allowed)
        ON CONFLICT (host) DO UPDATE SET decided_at = excluded.decided_at, is_allowed = excluded.is_allowed";
    LIST_HOSTS = "SELECT * FROM document_hosts ORDER BY host";
}

fn host(row: &Row<'_>) -> rusqlite::Result<DocumentHostRecord> {
    let Text(host) = row.get("host")?;
    let is_allowed: Option<bool> = row.get("is_allowed")?;
    let decision = is_allowed.map(|is_allowed| {
        if is_allowed {
            HostDecision::Allowed
        } else {
            HostDecision::Denied
        }
    });
    Ok(DocumentHostRecord {
        host,
        asked_at: moment(row, "asked_at")?,
        decision: decision.zip(moment_if_any(row, "decided_at")?),
    })
}

fn load(connection: &Connection, name: &DomainName) -> rusqlite::Result<Option<DocumentHostRecord>> {
    connection
        .prepare_cached(LOAD_HOST)?
        .query_row(named_params! {":host": name.as_str()}, host)
        .optional()
}

fn note(connection: &Connection, name: &DomainName, now: Timestamp) -> rusqlite::Result<NoteHost> {
    connection
        .prepare_cached(FORGET_HOSTS)?
        .execute(named_params! {":before": now.seconds() - WAITING_HOST_SECONDS})?;
    if load(connection, name)?.is_some() {
        return Ok(NoteHost::Known);
    }
    let is_full: bool = connection
        .prepare_cached(IS_FULL)?
        .query_row(named_params! {":most": MOST_WAITING_HOSTS}, |row| row.get(0))?;
    if is_full {
        return Ok(NoteHost::Full);
    }
    connection
        .prepare_cached(NOTE_HOST)?
        .execute(named_params! {":host": name.as_str(), ":now": now.seconds()})?;
    Ok(NoteHost::Noted)
}

#[async_trait::async_trait]
impl ClientDocumentStore for SqliteStore {
    async fn put_client_document(
        &self,
        new: &NewClientDocument,
        now: Timestamp,
    ) -> StoreResult<PutClientDocument> {
        let new = new.clone();
        self.write(move |connection| {
            let put = connection.prepare_cached(PUT)?.execute(named_params! {
                ":id": new.id.as_str(),
                ":now": now.seconds(),
                ":expires_at": new.expires_at.map(Timestamp::seconds),
                ":profile": Json(&new.profile),
                ":seen": new.seen.map(Timestamp::seconds),
                ":ends_tokens": new.ends_tokens,
            })?;
            Ok(if put == 1 {
                PutClientDocument::Put
            } else {
                PutClientDocument::Outrun
            })
        })
        .await
    }

    async fn load_document_hosts(&self, hosts: &[DomainName]) -> StoreResult<Vec<DocumentHostRecord>> {
        let hosts = hosts.to_vec();
        self.read(move |connection| {
            in_one_snapshot(connection, |connection| {
                let found = hosts.iter().filter_map(|host| load(connection, host).transpose());
                found.collect()
            })
        })
        .await
    }

    async fn note_document_host(&self, host: &DomainName, now: Timestamp) -> StoreResult<NoteHost> {
        let host = host.clone();
        self.write(move |connection| note(connection, &host, now)).await
    }

    async fn decide_document_host(
        &self,
        host: &DomainName,
        decision: HostDecision,
        now: Timestamp,
    ) -> StoreResult<()> {
        let host = host.clone();
        self.write(move |connection| {
            connection.prepare_cached(DECIDE_HOST)?.execute(named_params! {
                ":host": host.as_str(),
                ":now": now.seconds(),
                ":is_allowed": decision == HostDecision::Allowed,
            })?;
            Ok(())
        })
        .await
    }

    async fn list_document_hosts(&self) -> StoreResult<Vec<DocumentHostRecord>> {
        self.read(|connection| {
            connection
                .prepare_cached(LIST_HOSTS)?
                .query_map([], host)?
                .collect()
        })
        .await
    }
}
