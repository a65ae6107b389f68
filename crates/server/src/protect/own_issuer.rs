//! This process is the authorization server: the protected resource stands in its store, and tokens are looked up there
//! at every request, so that one which was revoked a moment ago is no good now.

use mcp_authflow::{
    AuthorizationServer,
    port::{
        Clock as _, Entropy, Store, StoreError,
        store::{AddResource, LiveAccessToken},
    },
    record::ScopeDescription,
};
use mcp_authflow_resource::{CannotCheck, TokenVerifier, VerifiedToken, VerifyError};
use mcp_authflow_types::{ClientId, ClientSecret, PresentedToken, Resource};

use crate::{
    cli::resource::{self, NewResource},
    system::{SystemClock, SystemEntropy},
};

/// Registers the resource, when it is not there yet.
///
/// Nobody introspects for it over HTTP, so nobody is told the secret with which that could be done; an operator who wants
/// to replaces it with `authflow client rotate-secret`.
pub(crate) async fn register(
    store: &dyn Store,
    resource: &Resource,
    name: &str,
    scopes: &[ScopeDescription],
) -> anyhow::Result<()> {
    if let Some(there) = store
        .list_resources()
        .await?
        .iter()
        .find(|one| one.resource == *resource)
    {
        if there.scopes != scopes {
            tracing::warn!(%resource, "the resource is registered with other scopes");
        }
        return Ok(());
    }
    let client_id = ClientId::parse(&format!(
        "protect-{}",
        hex(&(&SystemEntropy as &dyn Entropy).draw::<8>())
    ))?;
    let new = NewResource {
        resource: resource.clone(),
        name: name.to_owned(),
        scopes: scopes.to_vec(),
        client_id: client_id.clone(),
        secret: ClientSecret::mint(&(&SystemEntropy as &dyn Entropy).draw()),
    };
    match new.add(store, SystemClock.now()).await? {
        AddResource::Added => {
            resource::note(resource, Some(&client_id), "was added by authflow protect");
            Ok(())
        }
        // Another node was faster.
        AddResource::Taken => Ok(()),
        AddResource::ClientTaken => anyhow::bail!("the identifier {client_id} is taken"),
    }
}

/// Lower-case hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Looks tokens up in the own store.
pub(crate) struct OwnIssuer {
    server: AuthorizationServer,
    resource: Resource,
    /// The store's verb reads a client along with a token; none is needed here.
    nobody: ClientId,
}

impl OwnIssuer {
    pub(crate) fn new(server: AuthorizationServer, resource: Resource) -> anyhow::Result<Self> {
        Ok(Self {
            server,
            resource,
            nobody: ClientId::parse("-")?,
        })
    }
}

#[async_trait::async_trait]
impl TokenVerifier for OwnIssuer {
    async fn verify(&self, token: &str) -> Result<VerifiedToken, VerifyError> {
        let issuer = &self.server.settings().issuer;
        let PresentedToken::Access(token) = PresentedToken::parse(token, issuer) else {
            return Err(VerifyError::Inactive);
        };
        let peek = self
            .server
            .ports()
            .store
            .peek_access_token(&token.hash(), token.bucket(), &self.nobody, false)
            .await
            .map_err(cannot_check)?;
        let now = self.server.ports().clock.now();
        let found = peek
            .token
            .filter(|found| {
                found.record.resource == self.resource && !found.record.expires_at.has_passed(now)
            })
            .ok_or(VerifyError::Inactive)?;
        Ok(self.describe(found))
    }
}

impl OwnIssuer {
    fn describe(&self, found: LiveAccessToken) -> VerifiedToken {
        let record = found.record;
        let mut token = VerifiedToken::default();
        token.subject = Some(record.subject);
        token.client_id = Some(record.client_id);
        token.username = found.username;
        token.scope = record.scope;
        token.audience = vec![self.resource.as_str().to_owned()];
        token.issuer = Some(self.server.settings().issuer.to_string());
        token.expires_at = Some(record.expires_at);
        token.issued_at = Some(record.issued_at);
        token
    }
}

fn cannot_check(error: StoreError) -> VerifyError {
    tracing::error!(%error, "the store cannot be asked");
    match error {
        StoreError::TimedOut(_) => CannotCheck::TimedOut.into(),
        _ => CannotCheck::Refused.into(),
    }
}
