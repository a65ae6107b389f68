//! Authorization requests that wait for a person.

use mcp_authflow::{
    port::store::{CloseInteraction, Closing, InteractionStore, StoreResult},
    record::{Grant, Interaction, InteractionId},
};
use mcp_authflow_types::{ClientId, Timestamp, TokenHash};
use rusqlite::{Connection, OptionalExtension as _, Row, named_params};

use crate::{
    SqliteStore, grant,
    sql::{Json, Text, moment, statements},
};

statements! {
    BEGIN = "INSERT INTO interactions
            (id, browser, client_id, client_generation, request, created_at, expires_at)
        VALUES (:id, :browser, :client_id, :client_generation, :request, :created_at, :expires_at)";
    LOAD = "SELECT * FROM interactions
        WHERE id = :id AND browser = :browser AND expires_at > :now AND closed_at IS NULL";
    CLOSE = "UPDATE interactions SET closed_at = :now
        WHERE id = :id AND browser = :browser AND expires_at > :now AND closed_at IS NULL";
    IS_CLOSED = "SELECT EXISTS (SELECT 1 FROM interactions
        WHERE id = :id AND browser = :browser AND expires_at > :now AND closed_at IS NOT NULL)";
    KEEP_CLIENT = "UPDATE clients SET expires_at = :until WHERE id = :id AND expires_at < :until";
}

fn interaction(row: &Row<'_>) -> rusqlite::Result<Interaction> {
    let Text(client_id) = row.get("client_id")?;
    let Json(request) = row.get("request")?;
    Ok(Interaction {
        id: InteractionId::from_bytes(row.get("id")?),
        browser: TokenHash::from_bytes(row.get("browser")?),
        client_id,
        client_generation: row.get("client_generation")?,
        request,
        created_at: moment(row, "created_at")?,
        expires_at: moment(row, "expires_at")?,
    })
}

/// What is stored with an approval.
pub(crate) struct Approval {
    grant: Grant,
    subject_generation: Option<u32>,
    keep_client_until: Timestamp,
}

impl Approval {
    /// What a closing stores, if it is an approval.
    pub(crate) fn of(closing: &Closing<'_>) -> Option<Self> {
        match *closing {
            Closing::Approve {
                grant,
                subject_generation,
                keep_client_until,
            } => Some(Self {
                grant: grant.clone(),
                subject_generation,
                keep_client_until,
            }),
            Closing::Deny => None,
        }
    }

    /// Stores the grant; answers whether client and subject are still what they were.
    fn store(&self, connection: &Connection, now: Timestamp) -> rusqlite::Result<bool> {
        if !grant::add(connection, &self.grant, self.subject_generation, now)? {
            return Ok(false);
        }
        connection.prepare_cached(KEEP_CLIENT)?.execute(named_params! {
            ":id": ClientId::as_str(&self.grant.client_id),
            ":until": self.keep_client_until.seconds(),
        })?;
        Ok(true)
    }
}

/// Stores a new interaction.
pub(crate) fn begin(connection: &Connection, interaction: &Interaction) -> rusqlite::Result<()> {
    connection.prepare_cached(BEGIN)?.execute(named_params! {
        ":id": interaction.id.as_bytes(),
        ":browser": interaction.browser.as_bytes(),
        ":client_id": interaction.client_id.as_str(),
        ":client_generation": interaction.client_generation,
        ":request": Json(&interaction.request),
        ":created_at": interaction.created_at.seconds(),
        ":expires_at": interaction.expires_at.seconds(),
    })?;
    Ok(())
}

/// Whether an interaction waits in this browser.
pub(crate) fn is_open(
    connection: &Connection,
    id: InteractionId,
    browser: &TokenHash,
    now: Timestamp,
) -> rusqlite::Result<bool> {
    connection.prepare_cached(LOAD)?.exists(named_params! {
        ":id": id.as_bytes(),
        ":browser": browser.as_bytes(),
        ":now": now.seconds(),
    })
}

pub(crate) fn close(
    connection: &Connection,
    id: InteractionId,
    browser: &TokenHash,
    approval: Option<&Approval>,
    now: Timestamp,
) -> rusqlite::Result<CloseInteraction> {
    let key = named_params! {
        ":id": id.as_bytes(),
        ":browser": browser.as_bytes(),
        ":now": now.seconds(),
    };
    if !is_open(connection, id, browser, now)? {
        let is_closed = connection
            .prepare_cached(IS_CLOSED)?
            .query_row(key, |row| row.get(0))?;
        return Ok(if is_closed {
            CloseInteraction::AlreadyClosed
        } else {
            CloseInteraction::Gone
        });
    }
    if let Some(approval) = approval
        && !approval.store(connection, now)?
    {
        return Ok(CloseInteraction::Gone);
    }
    // There is one writer: nobody came between the look above and this step.
    connection.prepare_cached(CLOSE)?.execute(key)?;
    Ok(CloseInteraction::Closed)
}

#[async_trait::async_trait]
impl InteractionStore for SqliteStore {
    async fn begin_interaction(&self, interaction: &Interaction) -> StoreResult<()> {
        let interaction = interaction.clone();
        self.write(move |connection| begin(connection, &interaction))
            .await
    }

    async fn load_interaction(
        &self,
        id: InteractionId,
        browser: &TokenHash,
        now: Timestamp,
    ) -> StoreResult<Option<Interaction>> {
        let browser = *browser;
        self.read(move |connection| {
            let key = named_params! {
                ":id": id.as_bytes(),
                ":browser": browser.as_bytes(),
                ":now": now.seconds(),
            };
            connection
                .prepare_cached(LOAD)?
                .query_row(key, interaction)
                .optional()
        })
        .await
    }

    async fn close_interaction(
        &self,
        id: InteractionId,
        browser: &TokenHash,
        closing: Closing<'_>,
        now: Timestamp,
    ) -> StoreResult<CloseInteraction> {
        let (browser, approval) = (*browser, Approval::of(&closing));
        self.write(move |connection| close(connection, id, &browser, approval.as_ref(), now))
            .await
    }
}
