//! A grant: what a person approved. It is the root of every token descended from it; revoking it kills them all.

use mcp_authflow_types::{ClientId, CodeChallenge, Resource, Scope, Timestamp, TokenHash};

use super::identifier::random_identifier;

random_identifier! {
    /// A grant's identifier: 128 random bits. Not a secret, fit for logs.
    GrantId
}

/// One resource with what is granted there.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct GrantedResource {
    /// The resource, in its registered spelling.
    pub resource: Resource,
    /// What may be done there.
    pub scope: Scope,
}

/// What a person approved for a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Its identifier.
    pub id: GrantId,
    /// To whom.
    pub client_id: ClientId,
    /// The client's generation when it was made.
    pub client_generation: u32,
    /// By whom: an opaque identifier that never changes.
    pub subject: String,
    /// The subject's generation when it was made; stamped by the store.
    pub subject_generation: u32,
    /// The person's name for showing, when it was made.
    pub username: Option<String>,
    /// One to eight resources, each with its scope.
    pub resources: Vec<GrantedResource>,
    /// Whether the client may stay connected while the person is away: whether there are refresh tokens.
    pub offline_access: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// Its absolute end; no descendant outlives it.
    pub expires_at: Timestamp,
    /// The authorization code, or the device code, through which its first tokens are fetched.
    pub code: CodeBinding,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

/// The code of a grant, with all that it is bound to (RFC 6749 §4.1.3, RFC 7636 §4.4; RFC 8628 §3.4 for a device code).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodeBinding {
    /// The code's digest.
    pub hash: TokenHash,
    /// From when on it is no good.
    pub expires_at: Timestamp,
    /// The redirect URI of the authorization request, when one was sent; the token request must then repeat it.
    pub redirect_uri: Option<String>,
    /// What the verifier must answer. Absent for a device code: whoever holds that code is the device that asked (RFC
    /// 8628 §3.4), and it is no authorization code.
    pub code_challenge: Option<CodeChallenge>,
    /// When it was redeemed. Kept as long as the grant, so that replay is always recognised.
    pub redeemed_at: Option<Timestamp>,
}

impl GrantId {
    /// The most resources a grant may hold.
    pub const MAX_RESOURCES: usize = 8;
}

impl Grant {
    /// The scope over all resources together, with `offline_access` where granted; what a token response says.
    pub fn whole_scope(&self) -> Scope {
        self.resources
            .iter()
            .fold(Scope::empty(), |scope, one| scope.union(&one.scope))
    }

    /// What is granted at one resource.
    pub fn at(&self, resource: &Resource) -> Option<&GrantedResource> {
        self.resources.iter().find(|one| one.resource == *resource)
    }

    /// Whether it grants everything in `resources` already, and stays online or offline as asked.
    pub fn covers(&self, resources: &[GrantedResource], offline_access: bool) -> bool {
        (self.offline_access || !offline_access)
            && resources.iter().all(|asked| {
                self.at(&asked.resource)
                    .is_some_and(|granted| granted.scope.covers(&asked.scope))
            })
    }
}
