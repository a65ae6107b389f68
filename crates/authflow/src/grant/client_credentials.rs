//! The client credentials grant (RFC 6749 §4.4): a machine acts for itself. There is never a refresh token (§4.4.3).

use mcp_authflow_types::{
    ErrorCode, ErrorResponse, Form, GrantType, Resource, Scope, ScopeToken, Timestamp, TokenResponse,
    scope::OFFLINE_ACCESS,
};

use super::{read_resource, read_resource_from};
use crate::{
    access_token::Said,
    client_auth::{AuthenticatedClient, Presented},
    port::{
        AuditEvent, AuditOutcome,
        audit::AuditAction,
        store::{ClientWithResources, IssueAccessToken},
    },
    record::{AccessTokenRecord, ResourceRecord},
    server::{AuthorizationServer, FormRequest},
};

/// What arrives.
struct Params {
    scope: Result<Option<Scope>, ()>,
    resource: Result<Option<Resource>, ()>,
}

/// Why there is no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
enum Reason {
    #[error("this client may not use the grant")]
    GrantNotAllowed,
    #[error("unknown resource, or none and more than one to choose from")]
    UnknownResource,
    #[error("the resource is not open to this client")]
    ResourceNotAllowed,
    #[error("nothing of the scope asked for is allowed")]
    NoScope,
    #[error("the client is gone")]
    ClientGone,
}

impl Reason {
    const fn code(self) -> ErrorCode {
        match self {
            Self::GrantNotAllowed => ErrorCode::UnauthorizedClient,
            Self::UnknownResource | Self::ResourceNotAllowed => ErrorCode::InvalidTarget,
            Self::NoScope => ErrorCode::InvalidScope,
            Self::ClientGone => ErrorCode::InvalidClient,
        }
    }
}

impl Params {
    fn read(form: &Form<'_>) -> Self {
        Self {
            scope: form
                .value("scope")
                .map(Scope::parse_asked)
                .transpose()
                .map_err(drop),
            resource: read_resource(form),
        }
    }
}

/// Decides what a machine gets: at one resource, what the operator's ceiling for it allows there.
fn decide<'a>(
    client: &AuthenticatedClient,
    resources: &'a [std::sync::Arc<ResourceRecord>],
    params: &Params,
) -> Result<(&'a ResourceRecord, Scope), Reason> {
    // 1. RFC 6749 §4.4: "The client credentials grant type MUST only be used by confidential clients."
    if !client.has_proven_itself() || !client.may_use(GrantType::ClientCredentials) {
        return Err(Reason::GrantNotAllowed);
    }
    // 2. RFC 8707 §2: the resource asked for, or the only one there is.
    let asked = params.resource.as_ref().map_err(|()| Reason::UnknownResource)?;
    let [resource] = resources else {
        return Err(Reason::UnknownResource);
    };
    if asked.as_ref().is_some_and(|asked| *asked != resource.resource) {
        return Err(Reason::UnknownResource);
    }
    if !client.may_reach(&resource.resource) {
        return Err(Reason::ResourceNotAllowed);
    }
    // 3. RFC 6749 §3.3: without a ceiling of the operator's there is nothing to give; with one, what of it this resource
    //    knows. `offline_access` means nothing to a machine.
    let is_known =
        |token: &&ScopeToken| token.as_str() != OFFLINE_ACCESS && resource.describe(token.as_str()).is_some();
    let ceiling = client.profile.scope.as_ref();
    let allowed: Scope = ceiling
        .into_iter()
        .flat_map(Scope::iter)
        .filter(is_known)
        .cloned()
        .collect();
    let allowed = resource.expand(&allowed);
    let scope = match params.scope.as_ref().map_err(|()| Reason::NoScope)? {
        None => allowed,
        Some(asked) => resource.expand(&asked.narrow_to(&allowed)),
    };
    if scope.is_empty() {
        Err(Reason::NoScope)
    } else {
        Ok((resource, scope))
    }
}

/// Runs the grant.
pub(crate) async fn run(
    server: &AuthorizationServer,
    request: FormRequest<'_>,
    presented: &Presented,
    now: Timestamp,
) -> Result<TokenResponse, ErrorResponse> {
    let mut params = Params::read(request.form);
    if server.settings().accept_audience_parameter && params.resource == Ok(None) {
        params.resource = read_resource_from(request.form, "audience");
    }
    let default = server.settings().default_resource.as_ref();
    let wanted = params.resource.as_ref().ok().and_then(Option::as_ref).or(default);
    let ClientWithResources { client, resources } = server
        .store()
        .load_client_with_resources(&presented.client_id, wanted.map_or(&[], std::slice::from_ref))
        .await?;
    let client = server.returning_client(client, None, now).await?;
    let client = server.authenticated(presented, client, request, now).await?;
    let (resource, scope) =
        decide(&client, &resources, &params).map_err(|reason| refuse(server, request, &client, reason))?;

    let expires_at = now + server.settings().lifetimes.access_token;
    let said = Said {
        client_id: &client.id,
        subject: client.id.as_str(),
        resource: &resource.resource,
        scope: &scope,
        issued_at: now,
        expires_at,
    };
    let access_token = server
        .make_access_token(resource.access_token_format, said)
        .await?;
    let record = AccessTokenRecord {
        hash: access_token.hash(),
        bucket: access_token.bucket(),
        grant: None,
        client_id: client.id.clone(),
        client_generation: client.generation,
        subject: client.id.to_string(),
        resource: resource.resource.clone(),
        scope: scope.clone(),
        issued_at: now,
        expires_at,
    };
    match server.store().issue_access_token(&record, now).await? {
        IssueAccessToken::Issued => {}
        IssueAccessToken::Gone => return Err(refuse(server, request, &client, Reason::ClientGone)),
    }
    server.audit(
        &AuditEvent::new(AuditAction::ClientCredentials, AuditOutcome::Allowed, "issued")
            .with_client(&client.id)
            .with_token(&record.hash)
            .with_address(request.address),
    );
    Ok(TokenResponse {
        access_token,
        expires_in: expires_at.since(now).as_secs(),
        refresh_token: None,
        scope,
    })
}

fn refuse(
    server: &AuthorizationServer,
    request: FormRequest<'_>,
    client: &AuthenticatedClient,
    reason: Reason,
) -> ErrorResponse {
    server.audit(
        &AuditEvent::new(
            AuditAction::ClientCredentials,
            AuditOutcome::Refused,
            reason.to_string(),
        )
        .with_client(&client.id)
        .with_address(request.address),
    );
    reason.code().into()
}

#[cfg(test)]
mod tests;
