//! Authorization requests that wait for a person.

use mcp_authflow::{
    port::store::{CloseInteraction, Closing, InteractionStore, StoreResult},
    record::{Grant, GrantedResource, Interaction, InteractionId},
};
use mcp_authflow_types::{ClientId, Timestamp, TokenHash};
use tokio_postgres::types::{Json, ToSql, Type};

use crate::{
    PostgresStore,
    ask::{Ask, Doubt, Transaction},
    error::Trouble,
    row::{as_counter, bytes, counter, did_something, digest, document, field, moment, parsed},
    statement::Statement,
};

pub(crate) const STATEMENTS: &[&Statement] = &[&BEGIN, &LOAD, &APPROVE, &DENY, &AFTERWARDS];

static BEGIN: Statement = Statement {
    sql: "INSERT INTO authflow.interactions (id, browser, client_id, client_generation, request, created_at, \
          expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (id) DO NOTHING",
    types: &[
        Type::BYTEA,
        Type::BYTEA,
        Type::TEXT,
        Type::INT4,
        Type::JSONB,
        Type::INT8,
        Type::INT8,
    ],
};

static LOAD: Statement = Statement {
    sql: "SELECT id, browser, client_id, client_generation, request, created_at, expires_at \
          FROM authflow.interactions \
          WHERE id = $1 AND browser = $2 AND closed_at IS NULL AND expires_at > authflow.clock()",
    types: &[Type::BYTEA, Type::BYTEA],
};

/// The row of the interaction decides who closes it. A subject or a client that moves on meanwhile leaves a grant that
/// was stamped with the generation before, and that stands no more.
static APPROVE: Statement = Statement {
    sql: "WITH closed AS (UPDATE authflow.interactions i SET closed_at = authflow.clock() FROM authflow.clients c \
          WHERE i.id = $1 AND i.browser = $2 AND i.closed_at IS NULL AND i.expires_at > authflow.clock() \
          AND c.client_id = $5 AND c.client_id = i.client_id AND c.generation = $6 AND c.removed_at IS NULL \
          AND (c.expires_at IS NULL OR c.expires_at > authflow.clock()) \
          AND NOT EXISTS (SELECT FROM authflow.subjects s WHERE s.subject = $7 AND s.disabled) \
          AND ($16 IS NULL OR \
          $16 = coalesce((SELECT s.generation FROM authflow.subjects s WHERE s.subject = $7), 0)) \
          RETURNING c.client_no), \
          made AS (INSERT INTO authflow.grants (id, code_hash, client_no, client_generation, subject, \
          subject_generation, username, resources, offline_access, created_at, expires_at, code_expires_at, \
          purge_at, redirect_uri, code_challenge, resource_nos) \
          SELECT $3, $4, closed.client_no, $6, $7, \
          coalesce((SELECT s.generation FROM authflow.subjects s WHERE s.subject = $7), 0), $8, $9, $10, $11, $12, \
          $13, least($12, $13), $14, $15, \
          ARRAY(SELECT r.resource_no FROM unnest($18) WITH ORDINALITY AS approved (equivalence_key, place) \
          LEFT JOIN authflow.resources r ON r.equivalence_key = approved.equivalence_key AND r.removed_at IS NULL \
          ORDER BY approved.place) FROM closed), \
          kept AS (UPDATE authflow.clients c SET expires_at = $17 FROM closed \
          WHERE c.client_no = closed.client_no AND c.expires_at < $17) \
          SELECT count(*) AS done FROM closed",
    types: &[
        Type::BYTEA,
        Type::BYTEA,
        Type::BYTEA,
        Type::BYTEA,
        Type::TEXT,
        Type::INT4,
        Type::TEXT,
        Type::TEXT,
        Type::JSONB,
        Type::BOOL,
        Type::INT8,
        Type::INT8,
        Type::INT8,
        Type::TEXT,
        Type::BYTEA,
        Type::INT4,
        Type::INT8,
        Type::TEXT_ARRAY,
    ],
};

static DENY: Statement = Statement {
    sql: "WITH closed AS (UPDATE authflow.interactions SET closed_at = authflow.clock() \
          WHERE id = $1 AND browser = $2 AND closed_at IS NULL AND expires_at > authflow.clock() RETURNING 1) \
          SELECT count(*) AS done FROM closed",
    types: &[Type::BYTEA, Type::BYTEA],
};

/// For whoever did not close it: was somebody faster, or is there nothing to close? And was it this caller after all,
/// before its connection was lost?
static AFTERWARDS: Statement = Statement {
    sql: "SELECT i.closed_at IS NOT NULL AS is_closed, \
          EXISTS (SELECT FROM authflow.grants g WHERE g.id = $3) AS is_ours \
          FROM authflow.interactions i WHERE i.id = $1 AND i.browser = $2",
    types: &[Type::BYTEA, Type::BYTEA, Type::BYTEA],
};

#[async_trait::async_trait]
impl InteractionStore for PostgresStore {
    async fn begin_interaction(&self, interaction: &Interaction) -> StoreResult<()> {
        let (id, browser) = keys(&interaction.id, &interaction.browser);
        let generation = as_counter(interaction.client_generation);
        let (created_at, expires_at) = (interaction.created_at.seconds(), interaction.expires_at.seconds());
        let client_id = interaction.client_id.as_str();
        let request = Json(&interaction.request);
        self.ask()
            .write_again(
                &BEGIN,
                &[
                    &id,
                    &browser,
                    &client_id,
                    &generation,
                    &request,
                    &created_at,
                    &expires_at,
                ],
            )
            .await?;
        Ok(())
    }

    async fn load_interaction(
        &self,
        id: InteractionId,
        browser: &TokenHash,
        _now: Timestamp,
    ) -> StoreResult<Option<Interaction>> {
        let (id, browser) = keys(&id, browser);
        let rows = self.ask().read(&LOAD, &[&id, &browser]).await?;
        let Some(row) = rows.first() else {
            return Ok(None);
        };
        Ok(Some(Interaction {
            id: InteractionId::from_bytes(bytes(row, "id")?),
            browser: digest(row, "browser")?,
            client_id: parsed(row, "client_id", ClientId::parse)?,
            client_generation: counter(row, "client_generation")?,
            request: document(row, "request")?,
            created_at: moment(row, "created_at")?,
            expires_at: moment(row, "expires_at")?,
        }))
    }

    async fn close_interaction(
        &self,
        id: InteractionId,
        browser: &TokenHash,
        closing: Closing<'_>,
        _now: Timestamp,
    ) -> StoreResult<CloseInteraction> {
        let (id, browser) = keys(&id, browser);
        let ask = self.ask();
        let (rows, doubt, grant) = match closing {
            Closing::Approve {
                grant,
                subject_generation,
                keep_client_until,
            } => {
                let approval = Approval {
                    grant,
                    subject_generation,
                    keep_client_until,
                };
                let (rows, doubt) = approval.commit(&ask, id, browser).await?;
                (rows, doubt, grant.id.as_bytes().as_slice())
            }
            Closing::Deny => {
                let (rows, doubt) = ask.write_again(&DENY, &[&id, &browser]).await?;
                (rows, doubt, [].as_slice())
            }
        };
        if did_something(&rows)? {
            return Ok(CloseInteraction::Closed);
        }
        afterwards(&ask, id, browser, grant, doubt).await
    }
}

/// For whoever did not close it: was somebody faster, or was it this caller, whose grant it would be?
pub(crate) async fn afterwards(
    ask: &Ask<'_>,
    id: &[u8],
    browser: &[u8],
    grant: &[u8],
    doubt: Doubt,
) -> StoreResult<CloseInteraction> {
    let rows = ask.read(&AFTERWARDS, &[&id, &browser, &grant]).await?;
    let Some(row) = rows.first() else {
        return Ok(CloseInteraction::Gone);
    };
    Ok(match (field(row, "is_closed")?, field(row, "is_ours")?) {
        (true, true) if doubt == Doubt::MayHaveHappened => CloseInteraction::Closed,
        (true, _) => CloseInteraction::AlreadyClosed,
        (false, _) => CloseInteraction::Gone,
    })
}

/// Closes an interaction within a transaction, and stores what was approved.
pub(crate) async fn approve_within(
    transaction: &Transaction<'_>,
    id: InteractionId,
    browser: &TokenHash,
    closing: &Closing<'_>,
) -> Result<Vec<tokio_postgres::Row>, Trouble> {
    let Closing::Approve {
        grant,
        subject_generation,
        keep_client_until,
    } = *closing
    else {
        return deny_within(transaction, id, browser).await;
    };
    let (id, browser) = keys(&id, browser);
    let approval = Approval {
        grant,
        subject_generation,
        keep_client_until,
    };
    let columns = approval.columns();
    transaction
        .rows(&APPROVE, &approval.params(&columns, &id, &browser))
        .await
}

/// Closes an interaction within a transaction, and stores nothing.
pub(crate) async fn deny_within(
    transaction: &Transaction<'_>,
    id: InteractionId,
    browser: &TokenHash,
) -> Result<Vec<tokio_postgres::Row>, Trouble> {
    let (id, browser) = keys(&id, browser);
    transaction.rows(&DENY, &[&id, &browser]).await
}

struct Approval<'a> {
    grant: &'a Grant,
    subject_generation: Option<u32>,
    keep_client_until: Timestamp,
}

/// What an approval stores, in the forms that PostgreSQL takes.
struct ApprovalColumns<'a> {
    grant_id: &'a [u8],
    code: &'a [u8],
    client_id: &'a str,
    client_generation: i32,
    resources: Json<&'a Vec<GrantedResource>>,
    created_at: i64,
    expires_at: i64,
    code_expires_at: i64,
    challenge: &'a [u8],
    subject_generation: Option<i32>,
    keep_client_until: i64,
    resource_keys: Vec<&'a str>,
}

impl<'a> Approval<'a> {
    fn columns(&self) -> ApprovalColumns<'a> {
        let grant = self.grant;
        let challenge = grant.code.code_challenge.as_ref();
        ApprovalColumns {
            grant_id: grant.id.as_bytes(),
            code: grant.code.hash.as_bytes(),
            client_id: grant.client_id.as_str(),
            client_generation: as_counter(grant.client_generation),
            resources: Json(&grant.resources),
            created_at: grant.created_at.seconds(),
            expires_at: grant.expires_at.seconds(),
            code_expires_at: grant.code.expires_at.seconds(),
            // Empty for a device code, which has none.
            challenge: challenge.map_or(&[][..], |one| one.as_bytes()),
            subject_generation: self.subject_generation.map(as_counter),
            keep_client_until: self.keep_client_until.seconds(),
            resource_keys: grant
                .resources
                .iter()
                .map(|one| one.resource.equivalence_key())
                .collect(),
        }
    }

    fn params<'p>(
        &'p self,
        columns: &'p ApprovalColumns<'a>,
        id: &'p &[u8],
        browser: &'p &[u8],
    ) -> [&'p (dyn ToSql + Sync); 18] {
        let grant = self.grant;
        [
            id,
            browser,
            &columns.grant_id,
            &columns.code,
            &columns.client_id,
            &columns.client_generation,
            &grant.subject,
            &grant.username,
            &columns.resources,
            &grant.offline_access,
            &columns.created_at,
            &columns.expires_at,
            &columns.code_expires_at,
            &grant.code.redirect_uri,
            &columns.challenge,
            &columns.subject_generation,
            &columns.keep_client_until,
            &columns.resource_keys,
        ]
    }

    async fn commit(
        &self,
        ask: &Ask<'_>,
        id: &[u8],
        browser: &[u8],
    ) -> StoreResult<(Vec<tokio_postgres::Row>, Doubt)> {
        let columns = self.columns();
        ask.write_again(&APPROVE, &self.params(&columns, &id, &browser))
            .await
    }
}

fn keys<'a>(id: &'a InteractionId, browser: &'a TokenHash) -> (&'a [u8], &'a [u8]) {
    (id.as_bytes(), browser.as_bytes())
}
