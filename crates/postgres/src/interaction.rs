//! Authorization requests that wait for a person.

use mcp_authflow::{
    port::store::{CloseInteraction, Closing, InteractionStore, StoreResult},
    record::{Grant, Interaction, InteractionId},
};
use mcp_authflow_types::{ClientId, Timestamp, TokenHash};
use tokio_postgres::types::{Json, Type};

use crate::{
    PostgresStore,
    ask::{Ask, Doubt},
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
}

struct Approval<'a> {
    grant: &'a Grant,
    subject_generation: Option<u32>,
    keep_client_until: Timestamp,
}

impl Approval<'_> {
    async fn commit(
        &self,
        ask: &Ask<'_>,
        id: &[u8],
        browser: &[u8],
    ) -> StoreResult<(Vec<tokio_postgres::Row>, Doubt)> {
        let grant = self.grant;
        let (grant_id, code): (&[u8], &[u8]) = (grant.id.as_bytes(), grant.code.hash.as_bytes());
        // Empty for a device code, which has none.
        let challenge: &[u8] = grant
            .code
            .code_challenge
            .as_ref()
            .map_or(&[][..], |one| one.as_bytes());
        let resources = grant.resources.iter();
        let keys: Vec<&str> = resources.map(|one| one.resource.equivalence_key()).collect();
        ask.write_again(
            &APPROVE,
            &[
                &id,
                &browser,
                &grant_id,
                &code,
                &grant.client_id.as_str(),
                &as_counter(grant.client_generation),
                &grant.subject,
                &grant.username,
                &Json(&grant.resources),
                &grant.offline_access,
                &grant.created_at.seconds(),
                &grant.expires_at.seconds(),
                &grant.code.expires_at.seconds(),
                &grant.code.redirect_uri,
                &challenge,
                &self.subject_generation.map(as_counter),
                &self.keep_client_until.seconds(),
                &keys,
            ],
        )
        .await
    }
}

fn keys<'a>(id: &'a InteractionId, browser: &'a TokenHash) -> (&'a [u8], &'a [u8]) {
    (id.as_bytes(), browser.as_bytes())
}
