//! Access tokens as they are kept: what many of them have in common stands once.

use std::{collections::HashSet, sync::Arc};

use mcp_authflow_types::{ClientId, Resource, Scope, Timestamp, TokenHash, secret::ExpiryBucket};

use super::RegistrationNumber;
use crate::record::{AccessTokenRecord, GrantId};

/// An access token, its digest and bucket aside: by those it is found.
pub(super) struct KeptAccessToken {
    pub(super) authority: Arc<Authority>,
    issued_at: Timestamp,
    pub(super) expires_at: Timestamp,
}

/// What a token may do, and for whom: every token of a machine says the same, and every one of a grant at one resource.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Authority {
    pub(super) grant: Option<GrantId>,
    pub(super) client_id: ClientId,
    pub(super) client_generation: u32,
    subject: String,
    pub(super) resource: Resource,
    scope: Scope,
    /// As what its resource was registered, if it was.
    pub(super) registration: Option<RegistrationNumber>,
}

/// Every authority that a token was given, once.
#[derive(Default)]
pub(super) struct Authorities {
    known: HashSet<Arc<Authority>>,
    /// How many there were left after the last look for unused ones.
    left: usize,
}

impl Authorities {
    /// Makes a token of a record.
    pub(super) fn keep(
        &mut self,
        record: &AccessTokenRecord,
        registration: Option<RegistrationNumber>,
    ) -> KeptAccessToken {
        let authority = Authority {
            grant: record.grant,
            client_id: record.client_id.clone(),
            client_generation: record.client_generation,
            subject: record.subject.clone(),
            resource: record.resource.clone(),
            scope: record.scope.clone(),
            registration,
        };
        let authority = if let Some(known) = self.known.get(&authority) {
            known.clone()
        } else {
            let new = Arc::new(authority);
            self.known.insert(new.clone());
            new
        };
        KeptAccessToken {
            authority,
            issued_at: record.issued_at,
            expires_at: record.expires_at,
        }
    }

    /// Forgets those that no token has any more, once they may be half of all.
    pub(super) fn forget_unused(&mut self) {
        if self.known.len() >= 2 * self.left {
            self.known.retain(|one| Arc::strong_count(one) > 1);
            self.left = self.known.len();
        }
    }
}

impl KeptAccessToken {
    /// The record that it was made of.
    pub(super) fn record(&self, bucket: ExpiryBucket, hash: &TokenHash) -> AccessTokenRecord {
        AccessTokenRecord {
            hash: *hash,
            bucket,
            grant: self.authority.grant,
            client_id: self.authority.client_id.clone(),
            client_generation: self.authority.client_generation,
            subject: self.authority.subject.clone(),
            resource: self.authority.resource.clone(),
            scope: self.authority.scope.clone(),
            issued_at: self.issued_at,
            expires_at: self.expires_at,
        }
    }
}
