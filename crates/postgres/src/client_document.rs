//! Clients that describe themselves in a document, and the hosts of such documents.

use mcp_authflow::{
    client::trust::DomainName,
    port::{
        StoreError,
        store::{
            ClientDocumentStore, MOST_WAITING_HOSTS, NewClientDocument, NoteHost, PutClientDocument,
            StoreResult, WAITING_HOST_SECONDS,
        },
    },
    record::{DocumentHostRecord, HostDecision},
};
use mcp_authflow_types::Timestamp;
use tokio_postgres::{
    Row,
    types::{Json, Type},
};

use crate::{
    PostgresStore,
    row::{field, moment, optional_moment, parsed},
    statement::Statement,
};

pub(crate) const STATEMENTS: &[&Statement] = &[&PUT, &LOAD_HOSTS, &NOTE_HOST, &DECIDE_HOST, &LIST_HOSTS];

/// The copy that counted is told by when it was fetched.
static PUT: Statement = Statement {
    sql: "INSERT INTO authflow.clients AS old (client_id, generation, created_at, expires_at, profile) \
          SELECT $1, 0, $2, $3, $4 WHERE $5 IS NULL \
          OR EXISTS (SELECT 1 FROM authflow.clients WHERE client_id = $1 AND removed_at IS NULL) \
          ON CONFLICT (client_id) DO UPDATE SET \
          generation = old.generation + CASE WHEN $6 AND old.removed_at IS NULL THEN 1 ELSE 0 END, \
          created_at = CASE WHEN old.removed_at IS NULL THEN old.created_at ELSE excluded.created_at END, \
          expires_at = CASE WHEN old.removed_at IS NOT NULL THEN excluded.expires_at \
          WHEN old.expires_at IS NULL OR excluded.expires_at IS NULL THEN NULL \
          ELSE greatest(old.expires_at, excluded.expires_at) END, \
          secret = NULL, retired_secret = NULL, retired_until = NULL, introspects = NULL, \
          profile = excluded.profile, removed_at = NULL \
          WHERE CASE WHEN old.removed_at IS NOT NULL THEN $5 IS NULL ELSE old.profile ->> 'origin' = 'metadata_document' \
          AND (old.profile #>> '{document,fetched_at}')::bigint IS NOT DISTINCT FROM $5 END RETURNING 1",
    types: &[
        Type::TEXT,
        Type::INT8,
        Type::INT8,
        Type::JSONB,
        Type::INT8,
        Type::BOOL,
    ],
};

static LOAD_HOSTS: Statement = Statement {
    sql: "SELECT host, asked_at, decided_at, is_allowed FROM authflow.document_hosts WHERE host = ANY ($1)",
    types: &[Type::TEXT_ARRAY],
};

/// What has waited too long goes with the same statement, and is counted for the last time.
static NOTE_HOST: Statement = Statement {
    sql: "WITH forgotten AS (DELETE FROM authflow.document_hosts \
          WHERE is_allowed IS NULL AND asked_at <= $3 AND host <> $1), \
          known AS (SELECT 1 FROM authflow.document_hosts WHERE host = $1), \
          noted AS (INSERT INTO authflow.document_hosts AS old (host, asked_at) SELECT $1, $2 \
          WHERE (SELECT count(*) FROM authflow.document_hosts WHERE is_allowed IS NULL) < $4 \
          ON CONFLICT (host) DO UPDATE SET asked_at = $2 WHERE old.is_allowed IS NULL AND old.asked_at <= $3 \
          RETURNING 1) \
          SELECT EXISTS (SELECT 1 FROM noted) AS is_noted, EXISTS (SELECT 1 FROM known) AS is_known",
    types: &[Type::TEXT, Type::INT8, Type::INT8, Type::INT8],
};

static DECIDE_HOST: Statement = Statement {
    sql: "INSERT INTO authflow.document_hosts (host, asked_at, decided_at, is_allowed) VALUES ($1, $2, $2, $3) \
          ON CONFLICT (host) DO UPDATE SET decided_at = excluded.decided_at, is_allowed = excluded.is_allowed",
    types: &[Type::TEXT, Type::INT8, Type::BOOL],
};

static LIST_HOSTS: Statement = Statement {
    sql: "SELECT host, asked_at, decided_at, is_allowed FROM authflow.document_hosts ORDER BY host",
    types: &[],
};

#[async_trait::async_trait]
impl ClientDocumentStore for PostgresStore {
    async fn put_client_document(
        &self,
        new: &NewClientDocument,
        now: Timestamp,
    ) -> StoreResult<PutClientDocument> {
        let (rows, _) = self
            .ask()
            // Repeated after a lost connection it is outrun by itself, and whoever looks again finds it there.
            .write_again(
                &PUT,
                &[
                    &new.id.as_str(),
                    &now.seconds(),
                    &new.expires_at.map(Timestamp::seconds),
                    &Json(&new.profile),
                    &new.seen.map(Timestamp::seconds),
                    &new.ends_tokens,
                ],
            )
            .await?;
        Ok(if rows.is_empty() {
            PutClientDocument::Outrun
        } else {
            PutClientDocument::Put
        })
    }

    async fn load_document_hosts(&self, hosts: &[DomainName]) -> StoreResult<Vec<DocumentHostRecord>> {
        let hosts: Vec<&str> = hosts.iter().map(DomainName::as_str).collect();
        let rows = self.ask().read(&LOAD_HOSTS, &[&hosts]).await?;
        rows.iter().map(read).collect()
    }

    async fn note_document_host(&self, host: &DomainName, now: Timestamp) -> StoreResult<NoteHost> {
        let before = now.seconds() - WAITING_HOST_SECONDS;
        let (rows, _) = self
            .ask()
            .write_again(
                &NOTE_HOST,
                &[
                    &host.as_str(),
                    &now.seconds(),
                    &before,
                    &i64::from(MOST_WAITING_HOSTS),
                ],
            )
            .await?;
        let [row] = rows.as_slice() else {
            return Err(StoreError::Broken("noting a host answered nothing".to_owned()));
        };
        Ok(if field(row, "is_noted")? {
            NoteHost::Noted
        } else if field(row, "is_known")? {
            NoteHost::Known
        } else {
            NoteHost::Full
        })
    }

    async fn decide_document_host(
        &self,
        host: &DomainName,
        decision: HostDecision,
        now: Timestamp,
    ) -> StoreResult<()> {
        let is_allowed = decision == HostDecision::Allowed;
        self.ask()
            .write_again(&DECIDE_HOST, &[&host.as_str(), &now.seconds(), &is_allowed])
            .await?;
        Ok(())
    }

    async fn list_document_hosts(&self) -> StoreResult<Vec<DocumentHostRecord>> {
        let rows = self.ask().read(&LIST_HOSTS, &[]).await?;
        rows.iter().map(read).collect()
    }
}

fn read(row: &Row) -> StoreResult<DocumentHostRecord> {
    let decision = field::<Option<bool>>(row, "is_allowed")?.map(|is_allowed| {
        if is_allowed {
            HostDecision::Allowed
        } else {
            HostDecision::Denied
        }
    });
    Ok(DocumentHostRecord {
        host: parsed(row, "host", DomainName::parse)?,
        asked_at: moment(row, "asked_at")?,
        decision: decision.zip(optional_moment(row, "decided_at")?),
    })
}
