//! Access tokens and refresh tokens. Every statement names the bucket, so that it touches one partition.

use mcp_authflow::{
    port::store::{
        AccessTokenPeek, IssueAccessToken, LastUse, LiveAccessToken, RefreshTokenPeek, RefreshTokenWithGrant,
        RotateRefreshToken, Rotation, StoreResult, TokenStore,
    },
    record::{AccessTokenRecord, GrantId, RefreshTokenRecord},
};
use mcp_authflow_types::{ClientId, Resource, Scope, Timestamp, TokenHash, secret::ExpiryBucket};
use tokio_postgres::{Row, types::Type};

use crate::{
    PostgresStore,
    ask::Doubt,
    client::{self, client_columns, from_one_beside_client},
    grant::{self, as_text, grant_columns, grant_parties, standing_columns, stands},
    row::{counter, did_something, digest, field, moment, optional_bytes, optional_moment, parsed},
    statement::Statement,
};

pub(crate) const STATEMENTS: &[&Statement] = &[
    &ISSUE,
    &PEEK_ACCESS,
    &REVOKE_ACCESS,
    &PEEK_REFRESH,
    &ROTATE,
    &AFTERWARDS,
];

static ISSUE: Statement = Statement {
    sql: "WITH issued AS (INSERT INTO authflow.access_tokens (bucket, hash, client_no, client_generation, subject, \
          resource_no, resource, scope, issued_at, expires_at) \
          SELECT $1, $2, c.client_no, c.generation, nullif($3, c.client_id), r.resource_no, nullif($5, r.resource), \
          $6, $7, $8 FROM authflow.clients c \
          LEFT JOIN authflow.resources r ON r.equivalence_key = $4 AND r.removed_at IS NULL \
          WHERE c.client_id = $9 AND c.generation = $10 AND c.removed_at IS NULL \
          AND (c.expires_at IS NULL OR c.expires_at > authflow.clock()) \
          ON CONFLICT (hash, bucket) DO UPDATE SET issued_at = excluded.issued_at RETURNING 1) \
          SELECT count(*) AS done FROM issued",
    types: &[
        Type::INT4,
        Type::BYTEA,
        Type::TEXT,
        Type::TEXT,
        Type::TEXT,
        Type::TEXT,
        Type::INT8,
        Type::INT8,
        Type::TEXT,
        Type::INT4,
    ],
};

/// A token is answered only while everything above it stands: this join is what makes a revocation immediate.
static PEEK_ACCESS: Statement = Statement {
    sql: concat!(
        "SELECT ",
        client_columns!(),
        ", t.hash AS t_hash, t.bucket AS t_bucket, t.grant_id AS t_grant_id, o.client_id AS t_client_id, \
         t.client_generation AS t_client_generation, coalesce(t.subject, g.subject, o.client_id) AS t_subject, \
         coalesce(t.resource, r.resource) AS t_resource, t.resource_no IS NOT NULL AS t_had_registration, t.scope AS t_scope, t.issued_at AS t_issued_at, \
         t.expires_at AS t_expires_at, g.username AS t_username",
        from_one_beside_client!(),
        "LEFT JOIN (authflow.access_tokens t \
         JOIN authflow.clients o ON o.client_no = t.client_no \
         LEFT JOIN authflow.grants g ON g.id = t.grant_id \
         LEFT JOIN authflow.subjects s ON s.subject = coalesce(g.subject, t.subject, o.client_id) \
         LEFT JOIN authflow.resources r ON r.resource_no = t.resource_no) \
         ON t.bucket = $2 AND t.hash = $3 AND o.removed_at IS NULL AND o.generation = t.client_generation \
         AND (t.grant_id IS NULL OR (g.revoked_at IS NULL AND g.client_generation = o.generation \
         AND g.subject_generation = coalesce(s.generation, 0))) \
         AND NOT coalesce(s.disabled, false) \
         AND (t.resource_no IS NULL OR (r.resource_no IS NOT NULL AND r.removed_at IS NULL))"
    ),
    types: &[Type::TEXT, Type::INT4, Type::BYTEA],
};

static REVOKE_ACCESS: Statement = Statement {
    sql: "WITH gone AS (DELETE FROM authflow.access_tokens t WHERE t.bucket = $1 AND t.hash = $2 RETURNING 1) \
          SELECT count(*) AS done FROM gone",
    types: &[Type::INT4, Type::BYTEA],
};

static PEEK_REFRESH: Statement = Statement {
    sql: concat!(
        "SELECT ",
        client_columns!(),
        ", ",
        grant_columns!(),
        ", ",
        standing_columns!(),
        ", t.hash AS t_hash, t.bucket AS t_bucket, t.issued_at AS t_issued_at, \
         t.expires_at AS t_expires_at, t.spent_at AS t_spent_at",
        from_one_beside_client!(),
        "LEFT JOIN (authflow.refresh_tokens t JOIN authflow.grants g ON g.id = t.grant_id",
        grant_parties!(),
        ") ON t.bucket = $2 AND t.hash = $3"
    ),
    types: &[Type::TEXT, Type::INT4, Type::BYTEA],
};

/// The row of the presented token decides who rotates. The row of the grant is locked first, so that a revocation comes
/// wholly before, and then nothing is rotated, or wholly after, and then ends what was. It is locked as for the change
/// that may follow, the grant's last use: two that shared it, both at the same token, would wait for each other. The rows
/// of client and subject are not locked, for all traffic of a client would then write to one row: whoever raises their generation meanwhile
/// ends the new tokens, because every look compares it.
static ROTATE: Statement = Statement {
    sql: concat!(
        "WITH family AS (SELECT g.id, g.client_no, g.client_generation, g.subject, g.resource_nos \
         FROM authflow.grants g",
        grant_parties!(),
        "WHERE g.id = $3 AND g.expires_at > authflow.clock() AND ",
        stands!(),
        " AND NOT EXISTS (SELECT FROM authflow.resources r WHERE r.resource_no = ANY (g.resource_nos) \
         AND r.equivalence_key = $11 AND r.removed_at IS NOT NULL) FOR NO KEY UPDATE OF g), \
         spent AS (UPDATE authflow.refresh_tokens t SET spent_at = authflow.clock(), successor = $4, sealed = $7 \
         FROM family WHERE t.bucket = $1 AND t.hash = $2 AND t.grant_id = family.id AND t.spent_at IS NULL \
         AND t.expires_at > authflow.clock() RETURNING 1), \
         successor AS (INSERT INTO authflow.refresh_tokens (bucket, hash, grant_id, issued_at, expires_at) \
         SELECT $1, $4, $3, $5, $6 FROM spent), \
         access AS (INSERT INTO authflow.access_tokens (bucket, hash, grant_id, client_no, client_generation, \
         subject, resource_no, resource, scope, issued_at, expires_at) \
         SELECT $8, $9, family.id, family.client_no, family.client_generation, nullif($10, family.subject), \
         r.resource_no, nullif($12, r.resource), $13, $14, $15 FROM spent CROSS JOIN family \
         LEFT JOIN authflow.resources r ON r.resource_no = ANY (family.resource_nos) AND r.equivalence_key = $11), \
         used AS (UPDATE authflow.grants g SET last_used_at = authflow.clock(), last_used_from = $16 FROM spent \
         WHERE g.id = $3 AND (g.last_used_at IS NULL OR g.last_used_at <= authflow.clock() - $17 \
         OR g.last_used_from IS DISTINCT FROM $16)) \
         SELECT count(*) AS done FROM spent"
    ),
    types: &[
        Type::INT4,
        Type::BYTEA,
        Type::BYTEA,
        Type::BYTEA,
        Type::INT8,
        Type::INT8,
        Type::BYTEA,
        Type::INT4,
        Type::BYTEA,
        Type::TEXT,
        Type::TEXT,
        Type::TEXT,
        Type::TEXT,
        Type::INT8,
        Type::INT8,
        Type::TEXT,
        Type::INT8,
    ],
};

/// For whoever did not rotate: how was it lost? A statement that waited for the winner does not see the winner's row, so
/// this one looks again. The window is measured here, from one moment of this server's clock to another.
static AFTERWARDS: Statement = Statement {
    sql: concat!(
        "SELECT t.spent_at IS NOT NULL AS is_spent, t.sealed AS sealed, t.successor IS NOT DISTINCT FROM $5 AS is_ours, ",
        stands!(),
        " AND g.expires_at > authflow.clock() AS grant_stands, \
         authflow.clock() - t.spent_at < $4 AND coalesce((SELECT n.spent_at IS NULL \
         FROM authflow.refresh_tokens n WHERE n.bucket = $1 AND n.hash = t.successor), false) AS may_retry \
         FROM authflow.refresh_tokens t JOIN authflow.grants g ON g.id = t.grant_id",
        grant_parties!(),
        "WHERE t.bucket = $1 AND t.hash = $2 AND t.grant_id = $3"
    ),
    types: &[Type::INT4, Type::BYTEA, Type::BYTEA, Type::INT8, Type::BYTEA],
};

#[async_trait::async_trait]
impl TokenStore for PostgresStore {
    async fn issue_access_token(
        &self,
        token: &AccessTokenRecord,
        _now: Timestamp,
    ) -> StoreResult<IssueAccessToken> {
        let columns = AccessColumns::of(token);
        let generation = crate::row::as_counter(token.client_generation);
        let (rows, _) = self
            .ask()
            .write_again(
                &ISSUE,
                &[
                    &columns.bucket,
                    &columns.hash,
                    &columns.subject,
                    &columns.resource_key,
                    &columns.resource,
                    &columns.scope,
                    &columns.issued_at,
                    &columns.expires_at,
                    &token.client_id.as_str(),
                    &generation,
                ],
            )
            .await?;
        Ok(if did_something(&rows)? {
            IssueAccessToken::Issued
        } else {
            IssueAccessToken::Gone
        })
    }

    async fn peek_access_token(
        &self,
        token: &TokenHash,
        bucket: ExpiryBucket,
        client: &ClientId,
        resource_may_be_unregistered: bool,
    ) -> StoreResult<AccessTokenPeek> {
        let hash: &[u8] = token.as_bytes();
        let rows = self
            .ask()
            .read(&PEEK_ACCESS, &[&client.as_str(), &as_bucket(bucket), &hash])
            .await?;
        let Some(row) = rows.first() else {
            return Ok(AccessTokenPeek::default());
        };
        Ok(AccessTokenPeek {
            client: client::read(row)?,
            token: read_access(row, resource_may_be_unregistered)?,
        })
    }

    async fn revoke_access_token(&self, token: &TokenHash, bucket: ExpiryBucket) -> StoreResult<bool> {
        let hash: &[u8] = token.as_bytes();
        let (rows, _) = self
            .ask()
            .write_again(&REVOKE_ACCESS, &[&as_bucket(bucket), &hash])
            .await?;
        did_something(&rows)
    }

    async fn peek_refresh_token(
        &self,
        token: &TokenHash,
        bucket: ExpiryBucket,
        client: &ClientId,
        resource_may_be_unregistered: bool,
    ) -> StoreResult<RefreshTokenPeek> {
        let hash: &[u8] = token.as_bytes();
        let rows = self
            .ask()
            .read(&PEEK_REFRESH, &[&client.as_str(), &as_bucket(bucket), &hash])
            .await?;
        let Some(row) = rows.first() else {
            return Ok(RefreshTokenPeek::default());
        };
        Ok(RefreshTokenPeek {
            client: client::read(row)?,
            token: read_refresh(row, resource_may_be_unregistered)?,
        })
    }

    async fn rotate_refresh_token(
        &self,
        rotation: &Rotation,
        _now: Timestamp,
    ) -> StoreResult<RotateRefreshToken> {
        let presented: &[u8] = rotation.presented.as_bytes();
        let grant: &[u8] = rotation.grant.as_bytes();
        let bucket = as_bucket(rotation.bucket);
        let sealed = rotation.sealed.as_slice();
        let successor = RefreshColumns::of(&rotation.successor);
        let access = AccessColumns::of(&rotation.access_token);
        let precision = i64::try_from(LastUse::PRECISION.as_secs()).unwrap_or(i64::MAX);
        let ask = self.ask();
        let (rows, doubt) = ask
            .write_again(
                &ROTATE,
                &[
                    &bucket,
                    &presented,
                    &grant,
                    &successor.hash,
                    &successor.issued_at,
                    &successor.expires_at,
                    &sealed,
                    &access.bucket,
                    &access.hash,
                    &access.subject,
                    &access.resource_key,
                    &access.resource,
                    &access.scope,
                    &access.issued_at,
                    &access.expires_at,
                    &as_text(rotation.address),
                    &precision,
                ],
            )
            .await?;
        if did_something(&rows)? {
            return Ok(RotateRefreshToken::Rotated);
        }
        let window = i64::try_from(rotation.retry_window.as_secs()).unwrap_or(i64::MAX);
        let rows = ask
            .read(
                &AFTERWARDS,
                &[&bucket, &presented, &grant, &window, &successor.hash],
            )
            .await?;
        let Some(row) = rows.first() else {
            return Ok(RotateRefreshToken::Gone);
        };
        if !field::<bool>(row, "is_spent")? || !field::<bool>(row, "grant_stands")? {
            return Ok(RotateRefreshToken::Gone);
        }
        if doubt == Doubt::MayHaveHappened && field(row, "is_ours")? {
            return Ok(RotateRefreshToken::Rotated);
        }
        Ok(if field(row, "may_retry")? {
            RotateRefreshToken::Retried {
                sealed: field(row, "sealed")?,
            }
        } else {
            RotateRefreshToken::Reused
        })
    }
}

/// A bucket as PostgreSQL keeps it. What a token can spell fits; what is beyond lies in the default partition.
pub(crate) fn as_bucket(bucket: ExpiryBucket) -> i32 {
    i32::try_from(bucket).unwrap_or(i32::MAX)
}

/// An access token in the form of its columns.
pub(crate) struct AccessColumns<'a> {
    pub(crate) bucket: i32,
    pub(crate) hash: &'a [u8],
    pub(crate) subject: &'a str,
    pub(crate) resource_key: &'a str,
    pub(crate) resource: &'a str,
    pub(crate) scope: String,
    pub(crate) issued_at: i64,
    pub(crate) expires_at: i64,
}

impl<'a> AccessColumns<'a> {
    pub(crate) fn of(token: &'a AccessTokenRecord) -> Self {
        Self {
            bucket: as_bucket(token.bucket),
            hash: token.hash.as_bytes(),
            subject: &token.subject,
            resource_key: token.resource.equivalence_key(),
            resource: token.resource.as_str(),
            scope: token.scope.to_string(),
            issued_at: token.issued_at.seconds(),
            expires_at: token.expires_at.seconds(),
        }
    }
}

/// A refresh token, yet unspent, in the form of its columns.
pub(crate) struct RefreshColumns<'a> {
    pub(crate) bucket: i32,
    pub(crate) hash: &'a [u8],
    pub(crate) issued_at: i64,
    pub(crate) expires_at: i64,
}

impl<'a> RefreshColumns<'a> {
    pub(crate) fn of(token: &'a RefreshTokenRecord) -> Self {
        Self {
            bucket: as_bucket(token.bucket),
            hash: token.hash.as_bytes(),
            issued_at: token.issued_at.seconds(),
            expires_at: token.expires_at.seconds(),
        }
    }
}

/// Reads the access token of a row, if the row has one; unless its resource had no registration and needs one.
fn read_access(row: &Row, resource_may_be_unregistered: bool) -> StoreResult<Option<LiveAccessToken>> {
    if field::<Option<&[u8]>>(row, "t_hash")?.is_none() {
        return Ok(None);
    }
    let resource = parsed(row, "t_resource", Resource::parse)?;
    let stands =
        field(row, "t_had_registration")? || (resource_may_be_unregistered && resource.is_loopback());
    if !stands {
        return Ok(None);
    }
    Ok(Some(LiveAccessToken {
        record: AccessTokenRecord {
            hash: digest(row, "t_hash")?,
            bucket: counter(row, "t_bucket")?,
            grant: optional_bytes(row, "t_grant_id")?.map(GrantId::from_bytes),
            client_id: parsed(row, "t_client_id", ClientId::parse)?,
            client_generation: counter(row, "t_client_generation")?,
            subject: field(row, "t_subject")?,
            resource,
            scope: parsed(row, "t_scope", Scope::parse)?,
            issued_at: moment(row, "t_issued_at")?,
            expires_at: moment(row, "t_expires_at")?,
        },
        username: field(row, "t_username")?,
    }))
}

fn read_refresh(row: &Row, resource_may_be_unregistered: bool) -> StoreResult<Option<RefreshTokenWithGrant>> {
    let Some(grant) = grant::read_with_standing(row, resource_may_be_unregistered)? else {
        return Ok(None);
    };
    Ok(Some(RefreshTokenWithGrant {
        token: RefreshTokenRecord {
            hash: digest(row, "t_hash")?,
            bucket: counter(row, "t_bucket")?,
            grant: grant.grant.id,
            issued_at: moment(row, "t_issued_at")?,
            expires_at: moment(row, "t_expires_at")?,
        },
        spent_at: optional_moment(row, "t_spent_at")?,
        grant,
    }))
}
