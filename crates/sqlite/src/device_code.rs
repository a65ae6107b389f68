//! Device codes.

use std::time::Duration;

use mcp_authflow::{
    grant::device_code::poll::DeviceStatus,
    port::store::{
        BeginDevice, ClaimDevice, CloseInteraction, Closing, DeviceCodeStore, PollDevice, StoreResult,
    },
    record::{DeviceCodeRecord, Interaction, InteractionId},
};
use mcp_authflow_types::{ClientId, Timestamp, TokenHash};
use rusqlite::{Connection, OptionalExtension as _, Row, named_params};

use crate::{
    SqliteStore,
    interaction::{self, Approval},
    sql::{Json, Text, moment, moment_if_any, statements},
};

statements! {
    BEGIN = "INSERT INTO device_codes (hash, user_code, client_id, client_generation, request, created_at, expires_at,
            wait, last_poll_at, status)
        VALUES (:hash, :user_code, :client_id, :client_generation, :request, :created_at, :expires_at, :wait,
            :last_poll_at, :status)
        ON CONFLICT (user_code) DO NOTHING";
    FIND = "SELECT d.* FROM device_codes d LEFT JOIN interactions i ON i.id = d.claimed_by
        WHERE d.user_code = :user_code AND d.status = 'pending' AND d.expires_at > :now
            AND (i.browser IS NULL OR i.browser = :browser)";
    CLAIM = "UPDATE device_codes SET claimed_by = :id
        WHERE hash = :hash AND status = 'pending' AND expires_at > :now
            AND coalesce((SELECT i.browser = :browser FROM interactions i WHERE i.id = claimed_by), 1)";
    DECIDE = "UPDATE device_codes SET status = :status
        WHERE hash = :hash AND claimed_by = :id AND status = 'pending' AND expires_at > :now";
    LOAD = "SELECT * FROM device_codes
        WHERE hash = :hash AND client_id = :client_id AND client_generation = :client_generation";
    MOVE = "UPDATE device_codes SET wait = :wait, last_poll_at = :last_poll_at WHERE hash = :hash";
    PURGE = "DELETE FROM device_codes WHERE hash IN
        (SELECT hash FROM device_codes WHERE expires_at <= :long_ago LIMIT :limit)";
}

fn device(row: &Row<'_>) -> rusqlite::Result<DeviceCodeRecord> {
    let Text(client_id) = row.get("client_id")?;
    let Json(request) = row.get("request")?;
    Ok(DeviceCodeRecord {
        hash: TokenHash::from_bytes(row.get("hash")?),
        user_code: TokenHash::from_bytes(row.get("user_code")?),
        client_id,
        client_generation: row.get("client_generation")?,
        request,
        created_at: moment(row, "created_at")?,
        expires_at: moment(row, "expires_at")?,
        interval: Duration::from_secs(row.get::<_, u32>("wait")?.into()),
        last_poll_at: moment_if_any(row, "last_poll_at")?,
        status: DeviceStatus::parse(&row.get::<_, String>("status")?),
    })
}

/// The interval as it is kept.
fn seconds(interval: Duration) -> u32 {
    u32::try_from(interval.as_secs()).unwrap_or(u32::MAX)
}

fn begin(connection: &Connection, device: &DeviceCodeRecord) -> rusqlite::Result<BeginDevice> {
    let begun = connection.prepare_cached(BEGIN)?.execute(named_params! {
        ":hash": device.hash.as_bytes(),
        ":user_code": device.user_code.as_bytes(),
        ":client_id": device.client_id.as_str(),
        ":client_generation": device.client_generation,
        ":request": Json(&device.request),
        ":created_at": device.created_at.seconds(),
        ":expires_at": device.expires_at.seconds(),
        ":wait": seconds(device.interval),
        ":last_poll_at": device.last_poll_at.map(Timestamp::seconds),
        ":status": device.status.as_str(),
    })?;
    Ok(if begun == 1 {
        BeginDevice::Begun
    } else {
        BeginDevice::UserCodeTaken
    })
}

fn claim(
    connection: &Connection,
    device: &TokenHash,
    interaction: &Interaction,
    now: Timestamp,
) -> rusqlite::Result<ClaimDevice> {
    let claimed = connection.prepare_cached(CLAIM)?.execute(named_params! {
        ":hash": device.as_bytes(),
        ":id": interaction.id.as_bytes(),
        ":browser": interaction.browser.as_bytes(),
        ":now": now.seconds(),
    })?;
    if claimed == 0 {
        return Ok(ClaimDevice::Gone);
    }
    interaction::begin(connection, interaction)?;
    Ok(ClaimDevice::Claimed)
}

/// One writer: nobody comes between two of these statements, and a job that answers `Gone` has changed nothing.
fn close(
    connection: &Connection,
    device: &TokenHash,
    id: InteractionId,
    browser: &TokenHash,
    approval: Option<&Approval>,
    now: Timestamp,
) -> rusqlite::Result<CloseInteraction> {
    if !interaction::is_open(connection, id, browser, now)? {
        return interaction::close(connection, id, browser, approval, now);
    }
    let status = if approval.is_some() {
        DeviceStatus::Approved
    } else {
        DeviceStatus::Denied
    };
    let key = |status: DeviceStatus| {
        connection.prepare_cached(DECIDE)?.execute(named_params! {
            ":hash": device.as_bytes(),
            ":id": id.as_bytes(),
            ":status": status.as_str(),
            ":now": now.seconds(),
        })
    };
    // Looks without changing: what is pending stays pending.
    if key(DeviceStatus::Pending)? == 0 {
        return Ok(CloseInteraction::Gone);
    }
    let closed = interaction::close(connection, id, browser, approval, now)?;
    if closed == CloseInteraction::Closed {
        key(status)?;
    }
    Ok(closed)
}

fn poll(
    connection: &Connection,
    device: &TokenHash,
    client: &ClientId,
    client_generation: u32,
    now: Timestamp,
) -> rusqlite::Result<PollDevice> {
    let found = connection
        .prepare_cached(LOAD)?
        .query_row(
            named_params! {
                ":hash": device.as_bytes(),
                ":client_id": client.as_str(),
                ":client_generation": client_generation,
            },
            self::device,
        )
        .optional()?;
    let Some(mut record) = found else {
        return Ok(PollDevice::Gone);
    };
    let polled = record.poll(now);
    if polled != PollDevice::Expired {
        connection.prepare_cached(MOVE)?.execute(named_params! {
            ":hash": device.as_bytes(),
            ":wait": seconds(record.interval),
            ":last_poll_at": record.last_poll_at.map(Timestamp::seconds),
        })?;
    }
    Ok(polled)
}

/// Forgets at most `limit` devices some time after their end; answers how many went.
pub(crate) fn purge(connection: &Connection, now: Timestamp, limit: u32) -> rusqlite::Result<u64> {
    let long_ago = now - DeviceCodeRecord::KEPT_AFTER_ITS_END;
    let gone = connection.prepare_cached(PURGE)?.execute(named_params! {
        ":long_ago": long_ago.seconds(),
        ":limit": limit,
    })?;
    Ok(u64::try_from(gone).unwrap_or(u64::MAX))
}

#[async_trait::async_trait]
impl DeviceCodeStore for SqliteStore {
    async fn begin_device(&self, device: &DeviceCodeRecord) -> StoreResult<BeginDevice> {
        let device = device.clone();
        self.write(move |connection| begin(connection, &device)).await
    }

    async fn find_device(
        &self,
        user_code: &TokenHash,
        browser: &TokenHash,
        now: Timestamp,
    ) -> StoreResult<Option<DeviceCodeRecord>> {
        let (user_code, browser) = (*user_code, *browser);
        self.read(move |connection| {
            let key = named_params! {
                ":user_code": user_code.as_bytes(),
                ":browser": browser.as_bytes(),
                ":now": now.seconds(),
            };
            connection.prepare_cached(FIND)?.query_row(key, device).optional()
        })
        .await
    }

    async fn claim_device(
        &self,
        device: &TokenHash,
        interaction: &Interaction,
        now: Timestamp,
    ) -> StoreResult<ClaimDevice> {
        let (device, interaction) = (*device, interaction.clone());
        self.write(move |connection| claim(connection, &device, &interaction, now))
            .await
    }

    async fn close_device(
        &self,
        device: &TokenHash,
        id: InteractionId,
        browser: &TokenHash,
        closing: Closing<'_>,
        now: Timestamp,
    ) -> StoreResult<CloseInteraction> {
        let (device, browser, approval) = (*device, *browser, Approval::of(&closing));
        self.write(move |connection| close(connection, &device, id, &browser, approval.as_ref(), now))
            .await
    }

    async fn poll_device(
        &self,
        device: &TokenHash,
        client: &ClientId,
        client_generation: u32,
        now: Timestamp,
    ) -> StoreResult<PollDevice> {
        let (device, client) = (*device, client.clone());
        self.write(move |connection| poll(connection, &device, &client, client_generation, now))
            .await
    }
}
