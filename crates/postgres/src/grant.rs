//! Grants and their authorization codes.

use std::net::IpAddr;

use mcp_authflow::{
    port::{
        StoreError,
        store::{
            CodePeek, GrantQuery, GrantStore, GrantSummary, GrantWithStanding, LastUse, NewTokens,
            RedeemCode, Standing, StoreResult,
        },
    },
    record::{CodeBinding, Grant, GrantId, GrantedResource, SigningAlgorithm},
};
use mcp_authflow_types::{ClientId, CodeChallenge, Resource, Timestamp, TokenHash};
use tokio_postgres::{Row, types::Type};

use crate::{
    PostgresStore,
    ask::Doubt,
    client::{self, client_columns, from_one_beside_client},
    row::{counter, did_something, digest, document, field, moment, optional_bytes, optional_moment, parsed},
    signing_key::named,
    statement::Statement,
    token::{AccessColumns, RefreshColumns},
};

/// The columns of `authflow.grants g` with its parties.
macro_rules! grant_columns {
    () => {
        "g.id AS g_id, o.client_id AS g_client_id, g.client_generation AS g_client_generation, \
         g.subject AS g_subject, g.subject_generation AS g_subject_generation, g.username AS g_username, \
         g.resources AS g_resources, g.offline_access AS g_offline_access, g.created_at AS g_created_at, \
         g.expires_at AS g_expires_at, g.code_hash AS g_code_hash, g.code_expires_at AS g_code_expires_at, \
         g.redirect_uri AS g_redirect_uri, g.code_challenge AS g_code_challenge, \
         g.redeemed_at AS g_redeemed_at, g.revoked_at AS g_revoked_at"
    };
}
pub(crate) use grant_columns;

/// The client and the subject of `authflow.grants g`. A client that was removed is still there as a tombstone.
macro_rules! grant_parties {
    () => {
        " JOIN authflow.clients o ON o.client_no = g.client_no \
         LEFT JOIN authflow.subjects s ON s.subject = g.subject "
    };
}
pub(crate) use grant_parties;

/// Whether `authflow.grants g` stands, expiry aside. Every answer about liveness rests on this condition.
macro_rules! stands {
    () => {
        "(g.revoked_at IS NULL AND o.removed_at IS NULL AND o.generation = g.client_generation \
         AND coalesce(s.generation, 0) = g.subject_generation AND NOT coalesce(s.disabled, false))"
    };
}
pub(crate) use stands;

/// What of `authflow.grants g` stands. Its resources are looked up by number: what is registered under the same key by now
/// may be another one.
macro_rules! standing_columns {
    () => {
        concat!(
            $crate::grant::stands!(),
            " AS g_stands, g.resource_nos AS g_resource_nos, \
             ARRAY(SELECT concat_ws(' ', r.resource_no, r.jwt_algorithm) FROM authflow.resources r \
             WHERE r.resource_no = ANY (g.resource_nos) AND r.removed_at IS NULL) AS g_registered"
        )
    };
}
pub(crate) use standing_columns;

pub(crate) const STATEMENTS: &[&Statement] = &[
    &PEEK,
    &REDEEM,
    &AFTERWARDS,
    &REVOKE,
    &REVOKE_OF_CLIENT,
    &REVOKE_SUBJECT,
    &REDEEMED_FOR,
    &LIST_OF_SUBJECT,
    &LIST_ALL,
];

static PEEK: Statement = Statement {
    sql: concat!(
        "SELECT ",
        client_columns!(),
        ", ",
        grant_columns!(),
        ", ",
        standing_columns!(),
        from_one_beside_client!(),
        "LEFT JOIN (authflow.grants g",
        grant_parties!(),
        ") ON g.code_hash = $2"
    ),
    types: &[Type::TEXT, Type::BYTEA],
};

/// The row of the grant decides who redeems. It is locked and changed, so a revocation comes wholly before, and then
/// nothing is redeemed, or wholly after, and then ends what was.
static REDEEM: Statement = Statement {
    sql: "WITH redeemed AS (UPDATE authflow.grants g SET redeemed_at = authflow.clock(), purge_at = g.expires_at, \
          last_used_at = authflow.clock(), last_used_from = $14 \
          WHERE g.code_hash = $1 AND g.redeemed_at IS NULL AND g.revoked_at IS NULL \
          AND g.code_expires_at > authflow.clock() AND g.expires_at > authflow.clock() \
          AND EXISTS (SELECT FROM authflow.clients o WHERE o.client_no = g.client_no AND o.removed_at IS NULL \
          AND o.generation = g.client_generation) \
          AND coalesce((SELECT s.generation = g.subject_generation AND NOT s.disabled FROM authflow.subjects s \
          WHERE s.subject = g.subject), g.subject_generation = 0) \
          AND NOT EXISTS (SELECT FROM authflow.resources r WHERE r.resource_no = ANY (g.resource_nos) \
          AND r.equivalence_key = $5 AND r.removed_at IS NOT NULL) \
          RETURNING g.id, g.client_no, g.client_generation, g.subject, g.resource_nos), \
          access AS (INSERT INTO authflow.access_tokens (bucket, hash, grant_id, client_no, client_generation, \
          subject, resource_no, resource, scope, issued_at, expires_at) \
          SELECT $2, $3, g.id, g.client_no, g.client_generation, nullif($4, g.subject), r.resource_no, \
          nullif($6, r.resource), $7, $8, $9 FROM redeemed g \
          LEFT JOIN authflow.resources r ON r.resource_no = ANY (g.resource_nos) AND r.equivalence_key = $5), \
          refresh AS (INSERT INTO authflow.refresh_tokens (bucket, hash, grant_id, issued_at, expires_at) \
          SELECT $10, $11, g.id, $12, $13 FROM redeemed g WHERE $10 IS NOT NULL) \
          SELECT count(*) AS done FROM redeemed",
    types: &[
        Type::BYTEA,
        Type::INT4,
        Type::BYTEA,
        Type::TEXT,
        Type::TEXT,
        Type::TEXT,
        Type::TEXT,
        Type::INT8,
        Type::INT8,
        Type::INT4,
        Type::BYTEA,
        Type::INT8,
        Type::INT8,
        Type::TEXT,
    ],
};

/// For whoever did not redeem: was somebody faster, or is there nothing to redeem? And was it this caller after all,
/// before its connection was lost?
static AFTERWARDS: Statement = Statement {
    sql: "SELECT g.redeemed_at IS NOT NULL AS is_redeemed, \
          t.hash IS NOT NULL AS is_ours FROM authflow.grants g \
          LEFT JOIN authflow.access_tokens t ON t.bucket = $2 AND t.hash = $3 WHERE g.code_hash = $1",
    types: &[Type::BYTEA, Type::INT4, Type::BYTEA],
};

static REVOKE: Statement = Statement {
    sql: "WITH revoked AS (UPDATE authflow.grants SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL RETURNING 1) \
          SELECT count(*) AS done FROM revoked",
    types: &[Type::BYTEA, Type::INT8],
};

/// The row of each grant is locked and changed, as by [`REVOKE`]: what races with it is ended or stores nothing.
static REVOKE_OF_CLIENT: Statement = Statement {
    sql: "WITH revoked AS (UPDATE authflow.grants SET revoked_at = $3 WHERE subject = $1 AND revoked_at IS NULL \
          AND client_no = (SELECT o.client_no FROM authflow.clients o WHERE o.client_id = $2) RETURNING 1) \
          SELECT count(*) AS done FROM revoked",
    types: &[Type::TEXT, Type::TEXT, Type::INT8],
};

static REVOKE_SUBJECT: Statement = Statement {
    sql: "INSERT INTO authflow.subjects AS old (subject, generation, disabled) VALUES ($1, 1, false) \
          ON CONFLICT (subject) DO UPDATE SET generation = old.generation + 1 RETURNING generation",
    types: &[Type::TEXT],
};

static REDEEMED_FOR: Statement = Statement {
    sql: concat!(
        "SELECT ",
        grant_columns!(),
        ", ",
        standing_columns!(),
        " FROM authflow.grants g",
        grant_parties!(),
        "WHERE g.subject = $1 AND o.client_id = $2 AND g.created_at >= $3 AND g.redeemed_at IS NOT NULL \
         AND g.expires_at > authflow.clock() AND ",
        stands!()
    ),
    types: &[Type::TEXT, Type::TEXT, Type::INT8],
};

/// The columns of a listed grant, as [`read_summary`] reads them, and where they are from.
macro_rules! listed {
    () => {
        concat!(
            "SELECT ",
            grant_columns!(),
            ", ",
            standing_columns!(),
            ", g.last_used_at AS g_last_used_at, g.last_used_from AS g_last_used_from FROM authflow.grants g",
            grant_parties!(),
            "WHERE g.expires_at > authflow.clock() AND ($1 IS NULL OR o.client_id = $1) \
             AND (NOT $2 OR (g.redeemed_at IS NOT NULL AND ",
            stands!(),
            ")) "
        )
    };
}

static LIST_OF_SUBJECT: Statement = Statement {
    sql: concat!(
        listed!(),
        "AND g.subject = $5 AND ($3 IS NULL OR (g.created_at, g.id) < ($6, $3)) \
         ORDER BY g.created_at DESC, g.id DESC LIMIT $4"
    ),
    types: &[
        Type::TEXT,
        Type::BOOL,
        Type::BYTEA,
        Type::INT8,
        Type::TEXT,
        Type::INT8,
    ],
};

static LIST_ALL: Statement = Statement {
    sql: concat!(
        listed!(),
        "AND g.id > coalesce($3, ''::bytea) ORDER BY g.id LIMIT $4"
    ),
    types: &[Type::TEXT, Type::BOOL, Type::BYTEA, Type::INT8],
};

#[async_trait::async_trait]
impl GrantStore for PostgresStore {
    async fn peek_code(
        &self,
        code: &TokenHash,
        client: &ClientId,
        resource_may_be_unregistered: bool,
    ) -> StoreResult<CodePeek> {
        let code: &[u8] = code.as_bytes();
        let rows = self.ask().read(&PEEK, &[&client.as_str(), &code]).await?;
        let Some(row) = rows.first() else {
            return Ok(CodePeek::default());
        };
        Ok(CodePeek {
            client: client::read(row)?,
            grant: read_with_standing(row, resource_may_be_unregistered)?,
        })
    }

    async fn redeem_code(
        &self,
        code: &TokenHash,
        tokens: &NewTokens,
        _now: Timestamp,
    ) -> StoreResult<RedeemCode> {
        let code: &[u8] = code.as_bytes();
        let access = AccessColumns::of(&tokens.access_token);
        let refresh = tokens.refresh_token.as_ref().map(RefreshColumns::of);
        let refresh_bucket = refresh.as_ref().map(|token| token.bucket);
        let refresh_hash = refresh.as_ref().map(|token| token.hash);
        let refresh_issued_at = refresh.as_ref().map(|token| token.issued_at);
        let refresh_expires_at = refresh.as_ref().map(|token| token.expires_at);
        let ask = self.ask();
        let (rows, doubt) = ask
            .write_again(
                &REDEEM,
                &[
                    &code,
                    &access.bucket,
                    &access.hash,
                    &access.subject,
                    &access.resource_key,
                    &access.resource,
                    &access.scope,
                    &access.issued_at,
                    &access.expires_at,
                    &refresh_bucket,
                    &refresh_hash,
                    &refresh_issued_at,
                    &refresh_expires_at,
                    &as_text(tokens.address),
                ],
            )
            .await?;
        if did_something(&rows)? {
            return Ok(RedeemCode::Redeemed);
        }
        let rows = ask
            .read(&AFTERWARDS, &[&code, &access.bucket, &access.hash])
            .await?;
        let Some(row) = rows.first() else {
            return Ok(RedeemCode::Gone);
        };
        Ok(match (field(row, "is_redeemed")?, field(row, "is_ours")?) {
            (true, true) if doubt == Doubt::MayHaveHappened => RedeemCode::Redeemed,
            (true, _) => RedeemCode::Replayed,
            (false, _) => RedeemCode::Gone,
        })
    }

    async fn revoke_grant(&self, grant: GrantId, now: Timestamp) -> StoreResult<bool> {
        let grant: &[u8] = grant.as_bytes();
        // Repeated after a lost connection it may answer "not by this caller", but the grant has ended, which is the point.
        let (rows, _) = self.ask().write_again(&REVOKE, &[&grant, &now.seconds()]).await?;
        did_something(&rows)
    }

    async fn revoke_client_grants(
        &self,
        subject: &str,
        client: &ClientId,
        now: Timestamp,
    ) -> StoreResult<u64> {
        // Repeated after a lost connection it may count fewer, but they have ended, which is the point.
        let (rows, _) = self
            .ask()
            .write_again(&REVOKE_OF_CLIENT, &[&subject, &client.as_str(), &now.seconds()])
            .await?;
        let ended: i64 = rows.first().map_or(Ok(0), |row| field(row, "done"))?;
        Ok(ended.unsigned_abs())
    }

    async fn revoke_subject(&self, subject: &str) -> StoreResult<u32> {
        let (rows, _) = self.ask().write_again(&REVOKE_SUBJECT, &[&subject]).await?;
        match rows.as_slice() {
            [row] => counter(row, "generation"),
            _ => Err(StoreError::Broken(
                "raising a generation answered none".to_owned(),
            )),
        }
    }

    async fn is_covered(
        &self,
        subject: &str,
        client: &ClientId,
        resources: &[GrantedResource],
        offline_access: bool,
        since: Timestamp,
        _now: Timestamp,
    ) -> StoreResult<bool> {
        let rows = self
            .ask()
            .read(&REDEEMED_FOR, &[&subject, &client.as_str(), &since.seconds()])
            .await?;
        for row in &rows {
            let Some(GrantWithStanding { mut grant, gone, .. }) = read_with_standing(row, false)? else {
                continue;
            };
            grant.resources.retain(|one| !gone.contains(&one.resource));
            if grant.covers(resources, offline_access) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn list_grants(
        &self,
        query: &GrantQuery,
        limit: u32,
        _now: Timestamp,
    ) -> StoreResult<Vec<GrantSummary>> {
        let client = query.client.as_ref().map(ClientId::as_str);
        let after_id = query.after.as_ref().map(|(_, id)| id.as_bytes().as_slice());
        let limit = i64::from(limit);
        let ask = self.ask();
        let rows = match &query.subject {
            Some(subject) => {
                let after_created_at = query.after.map(|(created_at, _)| created_at.seconds());
                ask.read(
                    &LIST_OF_SUBJECT,
                    &[
                        &client,
                        &query.only_connected,
                        &after_id,
                        &limit,
                        subject,
                        &after_created_at,
                    ],
                )
                .await?
            }
            None => {
                ask.read(&LIST_ALL, &[&client, &query.only_connected, &after_id, &limit])
                    .await?
            }
        };
        rows.iter()
            .filter_map(|row| read_summary(row).transpose())
            .collect()
    }
}

/// An address as it is kept.
pub(crate) fn as_text(address: Option<IpAddr>) -> Option<String> {
    address.map(|address| address.to_string())
}

/// Reads a listed grant. One that was redeemed before uses were kept was used then at the latest.
fn read_summary(row: &Row) -> StoreResult<Option<GrantSummary>> {
    let Some(GrantWithStanding { grant, standing, .. }) = read_with_standing(row, false)? else {
        return Ok(None);
    };
    let at = optional_moment(row, "g_last_used_at")?.or(grant.code.redeemed_at);
    let address: Option<&str> = field(row, "g_last_used_from")?;
    Ok(Some(GrantSummary {
        grant,
        standing,
        last_used: at.map(|at| LastUse {
            at,
            address: address.and_then(|text| text.parse().ok()),
        }),
    }))
}

/// Reads the grant of a row with what of it stands, if the row has one.
pub(crate) fn read_with_standing(
    row: &Row,
    resource_may_be_unregistered: bool,
) -> StoreResult<Option<GrantWithStanding>> {
    let Some(grant) = read(row)? else {
        return Ok(None);
    };
    let standing = if field(row, "g_stands")? {
        Standing::Live
    } else {
        Standing::Ended
    };
    let approved: Vec<Option<i32>> = field(row, "g_resource_nos")?;
    let registered: Vec<Registered> = field::<Vec<&str>>(row, "g_registered")?
        .into_iter()
        .map(Registered::read)
        .collect::<StoreResult<_>>()?;
    if approved.len() != grant.resources.len() {
        return Err(StoreError::Broken(
            "column resource_nos does not fit resources".to_owned(),
        ));
    }
    let is_gone = |resource: &Resource, approved: Option<i32>| match approved {
        Some(number) => !registered.iter().any(|one| one.number == number),
        None => !(resource_may_be_unregistered && resource.is_loopback()),
    };
    let resources = grant.resources.iter().map(|one| &one.resource).zip(approved);
    let (mut gone, mut signed) = (Vec::new(), Vec::new());
    for (resource, approved) in resources {
        if is_gone(resource, approved) {
            gone.push(resource.clone());
        } else if let Some(algorithm) = registered
            .iter()
            .find(|one| Some(one.number) == approved)
            .and_then(|one| one.algorithm)
        {
            signed.push((resource.clone(), algorithm));
        }
    }
    Ok(Some(GrantWithStanding {
        grant,
        standing,
        gone,
        signed,
    }))
}

/// A registration that stands, and what signs access tokens for its resource.
struct Registered {
    number: i32,
    algorithm: Option<SigningAlgorithm>,
}

impl Registered {
    fn read(text: &str) -> StoreResult<Self> {
        let (number, algorithm) = match text.split_once(' ') {
            Some((number, algorithm)) => (number, Some(named(algorithm)?)),
            None => (text, None),
        };
        let number = number
            .parse()
            .map_err(|_| StoreError::Broken("a registration has no number".to_owned()))?;
        Ok(Self { number, algorithm })
    }
}

fn read(row: &Row) -> StoreResult<Option<Grant>> {
    let Some(id) = optional_bytes(row, "g_id")? else {
        return Ok(None);
    };
    Ok(Some(Grant {
        id: GrantId::from_bytes(id),
        client_id: parsed(row, "g_client_id", ClientId::parse)?,
        client_generation: counter(row, "g_client_generation")?,
        subject: field(row, "g_subject")?,
        subject_generation: counter(row, "g_subject_generation")?,
        username: field(row, "g_username")?,
        resources: document(row, "g_resources")?,
        offline_access: field(row, "g_offline_access")?,
        created_at: moment(row, "g_created_at")?,
        expires_at: moment(row, "g_expires_at")?,
        code: CodeBinding {
            hash: digest(row, "g_code_hash")?,
            expires_at: moment(row, "g_code_expires_at")?,
            redirect_uri: field(row, "g_redirect_uri")?,
            // Empty for a device code, which has none.
            code_challenge: field::<&[u8]>(row, "g_code_challenge")?
                .try_into()
                .ok()
                .map(CodeChallenge::from_bytes),
            redeemed_at: optional_moment(row, "g_redeemed_at")?,
        },
        revoked_at: optional_moment(row, "g_revoked_at")?,
    }))
}
