//! The client credentials grant (RFC 6749 §4.4): a machine acts for itself. There is never a refresh token (§4.4.3).

use mcp_authflow_types::{
    AccessToken, ErrorCode, ErrorResponse, Form, GrantType, Resource, Scope, Timestamp, TokenResponse,
    scope::OFFLINE_ACCESS,
};

use super::read_resource;
use crate::{
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
            scope: form.value("scope").map(Scope::parse).transpose().map_err(drop),
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
    if !client.is_confidential() || !client.may_use(GrantType::ClientCredentials) {
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
    let ceiling = client.profile.scope.clone().unwrap_or_default();
    let allowed = resource.scope().narrow_to(&ceiling).without(OFFLINE_ACCESS);
    let scope = match params.scope.as_ref().map_err(|()| Reason::NoScope)? {
        None => allowed,
        Some(asked) => asked.narrow_to(&allowed),
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
    let params = Params::read(request.form);
    let default = server.settings().default_resource.as_ref();
    let wanted = params.resource.as_ref().ok().and_then(Option::as_ref).or(default);
    let ClientWithResources { client, resources } = server
        .store()
        .load_client_with_resources(&presented.client_id, wanted.map_or(&[], std::slice::from_ref))
        .await?;
    let client = server.authenticated(presented, client, request, now)?;
    let (resource, scope) =
        decide(&client, &resources, &params).map_err(|reason| refuse(server, request, &client, reason))?;

    let expires_at = now + server.settings().lifetimes.access_token;
    let access_token = AccessToken::mint(&server.entropy().draw(), expires_at);
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
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use std::sync::Arc;

    use mcp_authflow_types::{ScopeToken, TokenEndpointAuthMethod};

    use super::{
        super::sample::{NOW, R1, R2, authenticated, client, resource, scope},
        *,
    };
    use crate::record::{Client, ScopeDescription};

    fn record(uri: &str, tokens: &[&str]) -> Arc<ResourceRecord> {
        let scopes = tokens.iter().map(|token| ScopeDescription {
            token: ScopeToken::parse(token).unwrap(),
            description: "May do it".to_owned(),
        });
        Arc::new(ResourceRecord {
            resource: resource(uri),
            name: "A resource".to_owned(),
            scopes: scopes.collect(),
            created_at: NOW,
        })
    }

    /// Everything that a decision rests on.
    struct Case {
        client: Client,
        resources: Vec<Arc<ResourceRecord>>,
        params: Params,
    }

    fn judge(change: impl FnOnce(&mut Case)) -> Result<(String, String), Reason> {
        let mut machine = client();
        machine.profile.grant_types = vec![GrantType::ClientCredentials];
        machine.profile.token_endpoint_auth_method = TokenEndpointAuthMethod::ClientSecretPost;
        machine.profile.scope = Some(scope("svc:read svc:sync"));
        let mut case = Case {
            client: machine,
            resources: vec![record(
                R1,
                &["mcp:read", "offline_access", "svc:sync", "svc:read"],
            )],
            params: Params {
                scope: Ok(None),
                resource: Ok(Some(resource(R1))),
            },
        };
        change(&mut case);
        let client = authenticated(case.client);
        decide(&client, &case.resources, &case.params)
            .map(|(resource, scope)| (resource.resource.to_string(), scope.to_string()))
    }

    fn given(text: &str) -> Result<(String, String), Reason> {
        Ok((R1.to_owned(), text.to_owned()))
    }

    fn asking(text: &str) -> Result<(String, String), Reason> {
        judge(|case| case.params.scope = Ok(Some(scope(text))))
    }

    /// SC-09
    #[test]
    fn a_machine_gets_what_its_ceiling_allows_at_the_resource_and_no_more() {
        assert_eq!(judge(|_| {}), given("svc:read svc:sync"));
        assert_eq!(asking("svc:sync"), given("svc:sync"));
        assert_eq!(asking("svc:sync mcp:read admin"), given("svc:sync"));
        for nothing in ["mcp:read", "openid", "offline_access", "admin", "SVC:SYNC"] {
            assert_eq!(asking(nothing), Err(Reason::NoScope), "{nothing}");
        }
        assert_eq!(judge(|case| case.params.scope = Err(())), Err(Reason::NoScope));
        assert_eq!(
            judge(|case| case.client.profile.scope = None),
            Err(Reason::NoScope)
        );
        let with_offline = Some(scope("offline_access"));
        assert_eq!(
            judge(|case| case.client.profile.scope = with_offline),
            Err(Reason::NoScope)
        );
    }

    /// RFC 6749 §4.4
    #[test]
    fn only_confidential_clients_of_this_grant_act_for_themselves() {
        let public =
            judge(|case| case.client.profile.token_endpoint_auth_method = TokenEndpointAuthMethod::None);
        assert_eq!(public, Err(Reason::GrantNotAllowed));
        let other = judge(|case| case.client.profile.grant_types = vec![GrantType::AuthorizationCode]);
        assert_eq!(other, Err(Reason::GrantNotAllowed));
    }

    /// AU-06, AU-10
    #[test]
    fn the_resource_is_the_one_asked_for_or_the_only_one() {
        assert_eq!(
            judge(|case| case.params.resource = Ok(None)),
            given("svc:read svc:sync")
        );
        for (change, reason) in [
            (
                (|case| case.resources.clear()) as fn(&mut Case),
                Reason::UnknownResource,
            ),
            (
                |case| case.resources.push(record(R2, &[])),
                Reason::UnknownResource,
            ),
            (|case| case.params.resource = Err(()), Reason::UnknownResource),
            (
                |case| case.params.resource = Ok(Some(resource(R2))),
                Reason::UnknownResource,
            ),
            (
                |case| case.client.profile.resources = vec![resource(R2)],
                Reason::ResourceNotAllowed,
            ),
        ] {
            assert_eq!(judge(change), Err(reason));
        }
    }

    #[test]
    fn each_reason_has_its_code() {
        use Reason as No;
        for (reason, code) in [
            (No::GrantNotAllowed, ErrorCode::UnauthorizedClient),
            (No::UnknownResource, ErrorCode::InvalidTarget),
            (No::ResourceNotAllowed, ErrorCode::InvalidTarget),
            (No::NoScope, ErrorCode::InvalidScope),
            (No::ClientGone, ErrorCode::InvalidClient),
        ] {
            assert_eq!(reason.code(), code, "{reason}");
        }
    }
}
