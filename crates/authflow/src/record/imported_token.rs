//! A token that another program minted, as it is taken in: with a grant of its own.

use mcp_authflow_types::{
    AccessToken, ClientId, RefreshToken, Timestamp, TokenHash, hex, secret::ExpiryBucket,
};

use super::{AccessTokenRecord, CodeBinding, Grant, GrantId, GrantedResource, RefreshTokenRecord};
use crate::port::token_storage::TokenKind;

/// A token that another program minted, as it is taken in.
///
/// Nothing there says which tokens came of one approval, so each gets a grant of its own: what ends a grant then ends this
/// token and what comes of it, and nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportedToken {
    /// The token's digest: all that is known of it.
    pub hash: TokenHash,
    /// Which kind it is.
    pub kind: TokenKind,
    /// The grant that stands above it. Its generations are stamped by the store.
    pub grant: Grant,
    /// Since when the token exists.
    pub issued_at: Timestamp,
    /// From when on it is no good.
    pub expires_at: Timestamp,
    /// How long it must be remembered that it was taken in: as long as its old store could offer it again, at least. One
    /// that was revoked here must not come back from there.
    pub remembered_until: Timestamp,
}

/// What is known of a token where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignGrant {
    /// To which client it was issued.
    pub client_id: ClientId,
    /// On whose behalf.
    pub subject: String,
    /// The person's name for showing, when it is known.
    pub username: Option<String>,
    /// What it allows, and where.
    pub granted: GrantedResource,
}

impl ImportedToken {
    /// Takes a token in at `now`. The grant above an access token ends with it; the grant above a refresh token ends at
    /// `grant_ends_at`, as that of anybody who signs in now, and so does the token, at the latest.
    ///
    /// Everything that identifies it comes of its digest: taken in twice, it is the same.
    pub fn new(
        kind: TokenKind,
        hash: TokenHash,
        known: ForeignGrant,
        (issued_at, expires_at): (Timestamp, Timestamp),
        now: Timestamp,
        grant_ends_at: Timestamp,
    ) -> Self {
        let (offline_access, grant_ends_at) = match kind {
            TokenKind::Access => (false, expires_at),
            TokenKind::Refresh => (true, grant_ends_at),
        };
        let derived = |what: &str| {
            let digest = hex::encode(hash.as_bytes());
            TokenHash::of(&format!("imported {} {what} {digest}", kind.as_str()))
        };
        let mut id = [0; 16];
        id.copy_from_slice(&derived("grant").as_bytes()[..16]);
        Self {
            hash,
            kind,
            grant: Grant {
                id: GrantId::from_bytes(id),
                client_id: known.client_id,
                client_generation: 0,
                subject: known.subject,
                subject_generation: 0,
                username: known.username,
                resources: vec![known.granted],
                offline_access,
                created_at: now,
                expires_at: grant_ends_at,
                // A code that nobody ever had, and that was redeemed.
                code: CodeBinding {
                    hash: derived("code"),
                    expires_at: now,
                    redirect_uri: None,
                    code_challenge: None,
                    redeemed_at: Some(now),
                },
                revoked_at: None,
            },
            issued_at,
            expires_at: expires_at.min(grant_ends_at),
            remembered_until: expires_at.max(grant_ends_at),
        }
    }

    /// The bucket in which it lies: nothing in its text says.
    pub fn bucket(&self) -> ExpiryBucket {
        match self.kind {
            TokenKind::Access => AccessToken::bucket_of(self.expires_at),
            TokenKind::Refresh => RefreshToken::bucket_of(self.grant.expires_at),
        }
    }

    /// As an access token, when it is one.
    pub fn access_token(&self) -> Option<AccessTokenRecord> {
        let granted = self.grant.resources.first()?;
        (self.kind == TokenKind::Access).then(|| AccessTokenRecord {
            hash: self.hash,
            bucket: self.bucket(),
            grant: Some(self.grant.id),
            client_id: self.grant.client_id.clone(),
            client_generation: self.grant.client_generation,
            subject: self.grant.subject.clone(),
            resource: granted.resource.clone(),
            scope: granted.scope.clone(),
            issued_at: self.issued_at,
            expires_at: self.expires_at,
        })
    }

    /// As a refresh token, when it is one.
    pub fn refresh_token(&self) -> Option<RefreshTokenRecord> {
        (self.kind == TokenKind::Refresh).then(|| RefreshTokenRecord {
            hash: self.hash,
            bucket: self.bucket(),
            grant: self.grant.id,
            issued_at: self.issued_at,
            expires_at: self.expires_at,
        })
    }
}
