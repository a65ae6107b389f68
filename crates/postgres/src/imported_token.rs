//! Tokens that another program minted.

use mcp_authflow::{
    port::{
        StoreError,
        store::{ImportToken, ImportedEntry, ImportedTokenStore, StoreResult},
        token_storage::TokenKind,
    },
    record::{GrantedResource, ImportedToken},
};
use mcp_authflow_types::{Timestamp, TokenHash};
use tokio_postgres::types::Type;

use crate::{
    PostgresStore,
    row::{counter, did_something, field},
    statement::Statement,
    token::as_bucket,
};

pub(crate) const STATEMENTS: &[&Statement] = &[&IMPORT, &FIND, &CLAIM, &PURGE];

/// One statement for many tokens: whoever enters a token's entry stores its grant and the token.
static IMPORT: Statement = Statement {
    sql: "WITH wanted AS (SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, \
          $17) WITH ORDINALITY AS w (kind, hash, bucket, remembered_until, grant_id, code_hash, client_id, subject, \
          username, resource_key, resource, resources, offline_access, grant_ends_at, issued_at, expires_at, scope, \
          place)), \
          known AS (SELECT w.*, c.client_no, c.generation AS client_generation, \
          coalesce(s.generation, 0) AS subject_generation, coalesce(s.disabled, false) AS is_disabled, r.resource_no, \
          r.resource AS registered FROM wanted w \
          LEFT JOIN authflow.clients c ON c.client_id = w.client_id AND c.removed_at IS NULL \
          AND (c.expires_at IS NULL OR c.expires_at > authflow.clock()) \
          LEFT JOIN authflow.subjects s ON s.subject = w.subject \
          LEFT JOIN authflow.resources r ON r.equivalence_key = w.resource_key AND r.removed_at IS NULL), \
          fresh AS (INSERT INTO authflow.imported_tokens (kind, hash, bucket, remembered_until) \
          SELECT k.kind, k.hash, k.bucket, k.remembered_until FROM known k \
          WHERE k.client_no IS NOT NULL AND NOT k.is_disabled ON CONFLICT DO NOTHING RETURNING kind, hash), \
          entered AS (SELECT k.* FROM known k JOIN fresh USING (kind, hash)), \
          grants AS (INSERT INTO authflow.grants (created_at, expires_at, code_expires_at, redeemed_at, purge_at, \
          client_no, client_generation, subject_generation, offline_access, id, code_hash, code_challenge, subject, \
          username, resource_nos, resources) \
          SELECT $18, e.grant_ends_at, $18, $18, e.grant_ends_at, e.client_no, e.client_generation, \
          e.subject_generation, e.offline_access, e.grant_id, e.code_hash, '', e.subject, e.username, \
          ARRAY[e.resource_no], e.resources::jsonb FROM entered e), \
          access AS (INSERT INTO authflow.access_tokens (bucket, hash, grant_id, client_no, client_generation, \
          resource_no, resource, scope, issued_at, expires_at) \
          SELECT e.bucket, e.hash, e.grant_id, e.client_no, e.client_generation, e.resource_no, \
          nullif(e.resource, e.registered), e.scope, e.issued_at, e.expires_at FROM entered e WHERE e.kind = 1), \
          refresh AS (INSERT INTO authflow.refresh_tokens (bucket, hash, grant_id, issued_at, expires_at) \
          SELECT e.bucket, e.hash, e.grant_id, e.issued_at, e.expires_at FROM entered e WHERE e.kind = 2) \
          SELECT f.hash IS NOT NULL AS is_fresh, k.client_no IS NULL AS is_client_gone, k.is_disabled, \
          EXISTS (SELECT FROM authflow.imported_tokens i WHERE i.hash = k.hash AND i.kind = k.kind) AS was_there \
          FROM known k LEFT JOIN fresh f USING (kind, hash) ORDER BY k.place",
    types: &[
        Type::INT2_ARRAY,
        Type::BYTEA_ARRAY,
        Type::INT4_ARRAY,
        Type::INT8_ARRAY,
        Type::BYTEA_ARRAY,
        Type::BYTEA_ARRAY,
        Type::TEXT_ARRAY,
        Type::TEXT_ARRAY,
        Type::TEXT_ARRAY,
        Type::TEXT_ARRAY,
        Type::TEXT_ARRAY,
        Type::TEXT_ARRAY,
        Type::BOOL_ARRAY,
        Type::INT8_ARRAY,
        Type::INT8_ARRAY,
        Type::INT8_ARRAY,
        Type::TEXT_ARRAY,
        Type::INT8,
    ],
};

static FIND: Statement = Statement {
    sql: "SELECT i.bucket, i.is_claimed FROM authflow.imported_tokens i WHERE i.hash = $1 AND i.kind = $2",
    types: &[Type::BYTEA, Type::INT2],
};

static CLAIM: Statement = Statement {
    sql: "WITH claimed AS (UPDATE authflow.imported_tokens i SET is_claimed = true WHERE i.hash = $1 AND i.kind = 2 \
          RETURNING 1) SELECT count(*) AS done FROM claimed",
    types: &[Type::BYTEA],
};

pub(crate) static PURGE: Statement = Statement {
    sql: "WITH gone AS (DELETE FROM authflow.imported_tokens WHERE (hash, kind) IN (SELECT i.hash, i.kind \
          FROM authflow.imported_tokens i WHERE i.remembered_until <= authflow.clock() LIMIT $1 \
          FOR UPDATE SKIP LOCKED) RETURNING 1) SELECT count(*) AS done FROM gone",
    types: &[Type::INT8],
};

const fn as_number(kind: TokenKind) -> i16 {
    match kind {
        TokenKind::Access => 1,
        TokenKind::Refresh => 2,
    }
}

#[async_trait::async_trait]
impl ImportedTokenStore for PostgresStore {
    async fn import_tokens(&self, tokens: &[ImportedToken], now: Timestamp) -> StoreResult<Vec<ImportToken>> {
        let broken = |what: &str| StoreError::Broken(what.to_owned());
        let granted: Vec<&GrantedResource> = tokens
            .iter()
            .filter_map(|token| token.grant.resources.first())
            .collect();
        if granted.len() != tokens.len() {
            return Err(broken("an imported token has no resource"));
        }
        // A macro rather than a struct of seventeen lists that is filled and read once.
        macro_rules! column {
            ($token:ident => $value:expr) => {
                tokens.iter().map(|$token| $value).collect::<Vec<_>>()
            };
        }
        let (rows, _) = self
            .ask()
            .write_again(
                &IMPORT,
                &[
                    &column!(token => as_number(token.kind)),
                    &column!(token => token.hash.as_bytes().as_slice()),
                    &column!(token => as_bucket(token.bucket())),
                    &column!(token => token.remembered_until.seconds()),
                    &column!(token => token.grant.id.as_bytes().as_slice()),
                    &column!(token => token.grant.code.hash.as_bytes().as_slice()),
                    &column!(token => token.grant.client_id.as_str()),
                    &column!(token => token.grant.subject.as_str()),
                    &column!(token => token.grant.username.as_deref()),
                    &granted
                        .iter()
                        .map(|one| one.resource.equivalence_key())
                        .collect::<Vec<_>>(),
                    &granted
                        .iter()
                        .map(|one| one.resource.as_str())
                        .collect::<Vec<_>>(),
                    &column!(token => as_document(token)),
                    &column!(token => token.grant.offline_access),
                    &column!(token => token.grant.expires_at.seconds()),
                    &column!(token => token.issued_at.seconds()),
                    &column!(token => token.expires_at.seconds()),
                    &granted
                        .iter()
                        .map(|one| one.scope.to_string())
                        .collect::<Vec<_>>(),
                    &now.seconds(),
                ],
            )
            .await?;
        if rows.len() != tokens.len() {
            return Err(broken("an import answered for other tokens than were asked for"));
        }
        rows.iter()
            .map(|row| {
                Ok(if field(row, "is_fresh")? {
                    ImportToken::Imported
                } else if field(row, "was_there")? {
                    ImportToken::AlreadyThere
                } else if field(row, "is_client_gone")? {
                    ImportToken::ClientGone
                } else if field(row, "is_disabled")? {
                    ImportToken::SubjectDisabled
                } else {
                    // Somebody else took it in while this statement ran.
                    ImportToken::AlreadyThere
                })
            })
            .collect()
    }

    async fn find_imported(&self, kind: TokenKind, token: &TokenHash) -> StoreResult<Option<ImportedEntry>> {
        let hash: &[u8] = token.as_bytes();
        let rows = self.ask().read(&FIND, &[&hash, &as_number(kind)]).await?;
        rows.first()
            .map(|row| {
                Ok(ImportedEntry {
                    bucket: counter(row, "bucket")?,
                    is_claimed: field(row, "is_claimed")?,
                })
            })
            .transpose()
    }

    async fn claim_imported(&self, token: &TokenHash) -> StoreResult<bool> {
        let hash: &[u8] = token.as_bytes();
        let (rows, _) = self.ask().write_again(&CLAIM, &[&hash]).await?;
        did_something(&rows)
    }
}

/// What is granted, as `authflow.grants` keeps it.
fn as_document(token: &ImportedToken) -> String {
    // Texts and lists of texts can always be written.
    serde_json::to_string(&token.grant.resources).unwrap_or_default()
}
