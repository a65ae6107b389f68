//! This process is the authorization server: the protected resource stands in its store, and tokens are looked up there
//! at every request, so that one which was revoked a moment ago is no good now.

use mcp_authflow::{
    AuthorizationServer,
    port::{Clock as _, Entropy, Store, store::AddResource},
    record::ScopeDescription,
};
use mcp_authflow_resource::{CannotCheck, TokenVerifier, VerifiedToken, VerifyError};
use mcp_authflow_types::{ClientId, ClientSecret, Resource, hex, introspection::ActiveToken};

use crate::{
    cli::resource::{self, NewResource},
    system::{SystemClock, SystemEntropy},
};

/// Registers the resource, when it is not there yet; else describes it as it is now, which ends no token.
///
/// Nobody introspects for it over HTTP, so nobody is told the secret with which that could be done; an operator who wants
/// to replaces it with `authflow client rotate-secret`.
pub(crate) async fn register(
    store: &dyn Store,
    resource: &Resource,
    name: Option<&str>,
    scopes: &[ScopeDescription],
) -> anyhow::Result<()> {
    let host = resource.as_str().split("://").nth(1).unwrap_or_default();
    let unnamed = || format!("the MCP server at {}", host.trim_end_matches("/mcp"));
    if let Some(there) = store
        .list_resources()
        .await?
        .into_iter()
        .find(|one| one.resource == *resource)
    {
        let name = name.map_or_else(|| there.name.clone(), str::to_owned);
        if (&name, scopes) != (&there.name, &*there.scopes)
            && store.describe_resource(resource, &name, scopes).await?
        {
            resource::note(resource, None, "was described anew by authflow protect");
        }
        return Ok(());
    }
    let name = name.map_or_else(unnamed, str::to_owned);
    let client_id = ClientId::parse(&format!(
        "protect-{}",
        hex::encode(&(&SystemEntropy as &dyn Entropy).draw::<8>())
    ))?;
    let new = NewResource {
        resource: resource.clone(),
        name,
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

/// Looks tokens up in the own store.
pub(crate) struct OwnIssuer {
    server: AuthorizationServer,
    resource: Resource,
}

impl OwnIssuer {
    pub(crate) const fn new(server: AuthorizationServer, resource: Resource) -> Self {
        Self { server, resource }
    }
}

#[async_trait::async_trait]
impl TokenVerifier for OwnIssuer {
    async fn verify(&self, token: &str) -> Result<VerifiedToken, VerifyError> {
        match self.server.look_up(token, &self.resource).await {
            Ok(Some(token)) => Ok(described(token)),
            Ok(None) => Err(VerifyError::Inactive),
            Err(error) if error.status() == 504 => Err(CannotCheck::TimedOut.into()),
            Err(_) => Err(CannotCheck::Refused.into()),
        }
    }
}

fn described(active: ActiveToken) -> VerifiedToken {
    let mut token = VerifiedToken::default();
    token.subject = Some(active.subject);
    token.client_id = Some(active.client_id);
    token.username = active.username;
    token.scope = active.scope;
    token.audience = vec![active.audience.as_str().to_owned()];
    token.issuer = Some(active.issuer);
    token.expires_at = Some(active.expires_at);
    token.issued_at = Some(active.issued_at);
    token
}
