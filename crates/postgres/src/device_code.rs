//! Device codes.

use std::time::Duration;

use mcp_authflow::{
    grant::device_code::poll::{DeviceStatus, INTERVAL_GROWTH},
    port::{
        StoreError,
        store::{
            BeginDevice, ClaimDevice, CloseInteraction, Closing, DeviceCodeStore, PollDevice, StoreResult,
        },
    },
    record::{DeviceCodeRecord, Interaction, InteractionId},
};
use mcp_authflow_types::{ClientId, Timestamp, TokenHash};
use tokio_postgres::{
    Row,
    types::{Json, ToSql, Type},
};

use crate::{
    PostgresStore,
    ask::{Ask, Doubt, TRIES},
    error::Trouble,
    interaction,
    row::{as_counter, counter, did_something, digest, document, field, moment, optional_moment, parsed},
    statement::Statement,
};

pub(crate) const STATEMENTS: &[&Statement] =
    &[&BEGIN, &FIND, &CLAIM, &IS_CLAIMED, &LOCK, &DECIDE, &POLL, &PURGE];

/// Whoever tries again after a lost connection finds its own row.
static BEGIN: Statement = Statement {
    sql: "WITH begun AS (INSERT INTO authflow.device_codes (hash, user_code, client_id, client_generation, request, \
          created_at, expires_at, wait, last_poll_at, status) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) \
          ON CONFLICT DO NOTHING RETURNING 1) \
          SELECT (SELECT count(*) FROM begun) + (SELECT count(*) FROM authflow.device_codes d \
          WHERE d.hash = $1 AND d.user_code = $2) AS done",
    types: &[
        Type::BYTEA,
        Type::BYTEA,
        Type::TEXT,
        Type::INT4,
        Type::JSONB,
        Type::INT8,
        Type::INT8,
        Type::INT4,
        Type::INT8,
        Type::TEXT,
    ],
};

static FIND: Statement = Statement {
    sql: "SELECT d.hash, d.user_code, d.client_id, d.client_generation, d.request, d.created_at, d.expires_at, d.wait, \
          d.last_poll_at, d.status FROM authflow.device_codes d \
          LEFT JOIN authflow.interactions i ON i.id = d.claimed_by \
          WHERE d.user_code = $1 AND d.status = 'pending' AND d.expires_at > authflow.clock() \
          AND (i.browser IS NULL OR i.browser = $2)",
    types: &[Type::BYTEA, Type::BYTEA],
};

/// The row of the device decides who claims it. It is locked before the interaction is looked at by which it was claimed:
/// whoever waited for another browser's claim sees that claim, and loses.
static CLAIM: Statement = Statement {
    sql: "WITH claimed AS (UPDATE authflow.device_codes d SET claimed_by = $2 \
          WHERE d.hash = $1 AND d.status = 'pending' AND d.expires_at > authflow.clock() \
          AND (d.claimed_by IS NULL OR d.claimed_by = $2 OR EXISTS (SELECT FROM authflow.interactions i \
          WHERE i.id = d.claimed_by AND i.browser = $3)) RETURNING 1), \
          begun AS (INSERT INTO authflow.interactions (id, browser, client_id, client_generation, request, created_at, \
          expires_at) SELECT $2, $3, $4, $5, $6, $7, $8 FROM claimed ON CONFLICT (id) DO NOTHING) \
          SELECT count(*) AS done FROM claimed",
    types: &[
        Type::BYTEA,
        Type::BYTEA,
        Type::BYTEA,
        Type::TEXT,
        Type::INT4,
        Type::JSONB,
        Type::INT8,
        Type::INT8,
    ],
};

/// For whoever lost a connection while claiming: was it this caller after all?
static IS_CLAIMED: Statement = Statement {
    sql: "SELECT count(*) AS done FROM authflow.device_codes d WHERE d.hash = $1 AND d.claimed_by = $2",
    types: &[Type::BYTEA, Type::BYTEA],
};

/// First of the steps in which an interaction is closed: no poll and no other claim comes between.
static LOCK: Statement = Statement {
    sql: "SELECT d.hash FROM authflow.device_codes d WHERE d.hash = $1 AND d.claimed_by = $2 \
          AND d.status = 'pending' AND d.expires_at > authflow.clock() FOR UPDATE",
    types: &[Type::BYTEA, Type::BYTEA],
};

static DECIDE: Statement = Statement {
    sql: "WITH decided AS (UPDATE authflow.device_codes SET status = $2 WHERE hash = $1 RETURNING 1) \
          SELECT count(*) AS done FROM decided",
    types: &[Type::BYTEA, Type::TEXT],
};

/// The row is locked as it is, judged, and moved on. An expired one stays as it is.
static POLL: Statement = Statement {
    sql: "WITH found AS (SELECT d.hash, d.status, d.expires_at <= authflow.clock() AS is_expired, \
          d.last_poll_at IS NOT NULL AND greatest(authflow.clock() - d.last_poll_at, 0) < d.wait AS is_too_soon, d.wait \
          FROM authflow.device_codes d WHERE d.hash = $1 AND d.client_id = $2 AND d.client_generation = $3 FOR UPDATE), \
          moved AS (UPDATE authflow.device_codes d SET last_poll_at = authflow.clock(), \
          wait = CASE WHEN found.is_too_soon THEN found.wait + $4 ELSE found.wait END \
          FROM found WHERE d.hash = found.hash AND NOT found.is_expired) \
          SELECT status, is_expired, is_too_soon, wait FROM found",
    types: &[Type::BYTEA, Type::TEXT, Type::INT4, Type::INT4],
};

pub(crate) static PURGE: Statement = Statement {
    sql: "WITH gone AS (DELETE FROM authflow.device_codes WHERE hash = ANY (ARRAY(SELECT hash \
          FROM authflow.device_codes WHERE expires_at <= authflow.clock() - 3600 LIMIT $1 FOR UPDATE SKIP LOCKED)) \
          RETURNING 1) SELECT count(*) AS done FROM gone",
    types: &[Type::INT8],
};
const _: () = assert!(DeviceCodeRecord::KEPT_AFTER_ITS_END.as_secs() == 3_600);

/// The interval as it is kept.
fn seconds(interval: Duration) -> i32 {
    i32::try_from(interval.as_secs()).unwrap_or(i32::MAX)
}

fn interval(row: &Row) -> StoreResult<Duration> {
    counter(row, "wait").map(|seconds| Duration::from_secs(seconds.into()))
}

fn read(row: &Row) -> StoreResult<DeviceCodeRecord> {
    Ok(DeviceCodeRecord {
        hash: digest(row, "hash")?,
        user_code: digest(row, "user_code")?,
        client_id: parsed(row, "client_id", ClientId::parse)?,
        client_generation: counter(row, "client_generation")?,
        request: document(row, "request")?,
        created_at: moment(row, "created_at")?,
        expires_at: moment(row, "expires_at")?,
        interval: interval(row)?,
        last_poll_at: optional_moment(row, "last_poll_at")?,
        status: DeviceStatus::parse(field(row, "status")?),
    })
}

/// Decides about a device and closes the interaction, together. Answers false when there was nothing to decide or to close.
async fn close(
    ask: &Ask<'_>,
    device: &TokenHash,
    id: InteractionId,
    browser: &TokenHash,
    closing: &Closing<'_>,
) -> Result<bool, Trouble> {
    let (device, key): (&[u8], &[u8]) = (device.as_bytes(), id.as_bytes());
    let transaction = ask.begin().await?;
    if transaction.rows(&LOCK, &[&device, &key]).await?.is_empty() {
        transaction.roll_back().await?;
        return Ok(false);
    }
    let (rows, status) = match closing {
        Closing::Approve { .. } => (
            interaction::approve_within(&transaction, id, browser, closing).await?,
            DeviceStatus::Approved,
        ),
        Closing::Deny => (
            interaction::deny_within(&transaction, id, browser).await?,
            DeviceStatus::Denied,
        ),
    };
    if !did_something(&rows)? {
        transaction.roll_back().await?;
        return Ok(false);
    }
    transaction.rows(&DECIDE, &[&device, &status.as_str()]).await?;
    transaction.commit().await?;
    Ok(true)
}

#[async_trait::async_trait]
impl DeviceCodeStore for PostgresStore {
    async fn begin_device(&self, device: &DeviceCodeRecord) -> StoreResult<BeginDevice> {
        let (hash, user_code): (&[u8], &[u8]) = (device.hash.as_bytes(), device.user_code.as_bytes());
        let (rows, _) = self
            .ask()
            .write_again(
                &BEGIN,
                &[
                    &hash,
                    &user_code,
                    &device.client_id.as_str(),
                    &as_counter(device.client_generation),
                    &Json(&device.request),
                    &device.created_at.seconds(),
                    &device.expires_at.seconds(),
                    &seconds(device.interval),
                    &device.last_poll_at.map(Timestamp::seconds),
                    &device.status.as_str(),
                ],
            )
            .await?;
        Ok(if did_something(&rows)? {
            BeginDevice::Begun
        } else {
            BeginDevice::UserCodeTaken
        })
    }

    async fn find_device(
        &self,
        user_code: &TokenHash,
        browser: &TokenHash,
        _now: Timestamp,
    ) -> StoreResult<Option<DeviceCodeRecord>> {
        let (user_code, browser): (&[u8], &[u8]) = (user_code.as_bytes(), browser.as_bytes());
        let rows = self.ask().read(&FIND, &[&user_code, &browser]).await?;
        rows.first().map(read).transpose()
    }

    async fn claim_device(
        &self,
        device: &TokenHash,
        interaction: &Interaction,
        _now: Timestamp,
    ) -> StoreResult<ClaimDevice> {
        let device: &[u8] = device.as_bytes();
        let (id, browser): (&[u8], &[u8]) = (interaction.id.as_bytes(), interaction.browser.as_bytes());
        let ask = self.ask();
        let (client_id, client_generation) = (
            interaction.client_id.as_str(),
            as_counter(interaction.client_generation),
        );
        let (created_at, expires_at) = (interaction.created_at.seconds(), interaction.expires_at.seconds());
        let request = Json(&interaction.request);
        let columns: [&(dyn ToSql + Sync); 8] = [
            &device,
            &id,
            &browser,
            &client_id,
            &client_generation,
            &request,
            &created_at,
            &expires_at,
        ];
        let (mut rows, mut doubt) = ask.write_again(&CLAIM, &columns).await?;
        if !did_something(&rows)? {
            // Whoever waited for another claim could not see whose it was. It may have been the same browser's, of a form
            // that was sent twice.
            let (again, more_doubt) = ask.write_again(&CLAIM, &columns).await?;
            rows = again;
            if more_doubt == Doubt::MayHaveHappened {
                doubt = more_doubt;
            }
        }
        if did_something(&rows)? {
            return Ok(ClaimDevice::Claimed);
        }
        // It may have been this caller after all, before its connection was lost.
        let is_ours =
            doubt == Doubt::MayHaveHappened && did_something(&ask.read(&IS_CLAIMED, &[&device, &id]).await?)?;
        Ok(if is_ours {
            ClaimDevice::Claimed
        } else {
            ClaimDevice::Gone
        })
    }

    async fn close_device(
        &self,
        device: &TokenHash,
        id: InteractionId,
        browser: &TokenHash,
        closing: Closing<'_>,
        _now: Timestamp,
    ) -> StoreResult<CloseInteraction> {
        let grant: &[u8] = match &closing {
            Closing::Approve { grant, .. } => grant.id.as_bytes(),
            Closing::Deny => &[],
        };
        let ask = self.ask();
        let (mut doubt, mut tries) = (Doubt::None, 1);
        // Each try is a transaction of its own. The one after a lost connection waits for the row until the lost one is over.
        loop {
            match close(&ask, device, id, browser, &closing).await {
                Ok(true) => return Ok(CloseInteraction::Closed),
                Ok(false) => break,
                Err(Trouble::Undone(_)) if tries < TRIES => {}
                Err(Trouble::Lost(_)) if tries < TRIES => doubt = Doubt::MayHaveHappened,
                Err(trouble) => return Err(trouble.into_error()),
            }
            tries += 1;
        }
        interaction::afterwards(&ask, id.as_bytes(), browser.as_bytes(), grant, doubt).await
    }

    async fn poll_device(
        &self,
        device: &TokenHash,
        client: &ClientId,
        client_generation: u32,
        _now: Timestamp,
    ) -> StoreResult<PollDevice> {
        let device: &[u8] = device.as_bytes();
        let growth = seconds(INTERVAL_GROWTH);
        // Not again after a lost connection: it may have counted, and the device would be slowed down for nothing.
        let rows = self
            .ask()
            .write(
                &POLL,
                &[&device, &client.as_str(), &as_counter(client_generation), &growth],
            )
            .await?;
        let Some(row) = rows.first() else {
            return Ok(PollDevice::Gone);
        };
        if field(row, "is_expired")? {
            return Ok(PollDevice::Expired);
        }
        if field(row, "is_too_soon")? {
            return Ok(PollDevice::SlowDown {
                interval: interval(row)?.saturating_add(INTERVAL_GROWTH),
            });
        }
        match DeviceStatus::parse(field(row, "status")?) {
            DeviceStatus::Pending => Ok(PollDevice::Pending),
            DeviceStatus::Denied => Ok(PollDevice::Denied),
            DeviceStatus::Approved => Ok(PollDevice::Approved),
            DeviceStatus::Over => Err(StoreError::Broken("column status is no status".to_owned())),
        }
    }
}
