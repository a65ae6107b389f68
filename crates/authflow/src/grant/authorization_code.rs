//! The authorization code grant (RFC 6749 §4.1.3, RFC 7636 §4.6).

use mcp_authflow_types::{
    AuthorizationCode, CodeVerifier, ErrorCode, ErrorResponse, Form, GrantType, Resource, Timestamp,
    TokenResponse,
};

use super::{TokenPlan, access_scope, choose_resource, read_resource};
use crate::{
    client_auth::{AuthenticatedClient, Presented},
    port::{
        AuditEvent, AuditOutcome,
        audit::AuditAction,
        store::{CodePeek, GrantWithStanding, RedeemCode, Standing},
    },
    record::GrantedResource,
    server::{AuthorizationServer, FormRequest},
};

/// What arrives.
struct Params {
    /// Absent when it has not the form of a code of ours.
    code: Option<AuthorizationCode>,
    redirect_uri: Option<String>,
    /// Absent when it has not the form of a verifier.
    code_verifier: Option<CodeVerifier>,
    resource: Result<Option<Resource>, ()>,
}

/// Why there are no tokens for a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
enum Reason {
    #[error("unknown code")]
    Unknown,
    #[error("the code is another client's")]
    NotYours,
    #[error("this client may not use the grant")]
    GrantNotAllowed,
    #[error("wrong code_verifier")]
    WrongVerifier,
    #[error("another redirect_uri than at the authorization endpoint")]
    WrongRedirectUri,
    #[error("the code was used before")]
    Replayed,
    #[error("expired code")]
    Expired,
    #[error("the grant was revoked")]
    Ended,
    #[error("a resource that was not approved")]
    WrongResource,
    #[error("the resource is no longer registered as it was when it was approved")]
    ResourceGone,
}

impl Reason {
    const fn code(self) -> ErrorCode {
        match self {
            Self::Unknown
            | Self::NotYours
            | Self::WrongVerifier
            | Self::WrongRedirectUri
            | Self::Replayed
            | Self::Expired
            | Self::Ended => ErrorCode::InvalidGrant,
            Self::GrantNotAllowed => ErrorCode::UnauthorizedClient,
            Self::WrongResource | Self::ResourceGone => ErrorCode::InvalidTarget,
        }
    }
}

impl Params {
    fn read(form: &Form<'_>) -> Result<Self, ErrorResponse> {
        let code = form.value("code").ok_or_else(|| ErrorResponse::missing("code"))?;
        let verifier = form
            .value("code_verifier")
            .ok_or_else(|| ErrorResponse::missing("code_verifier"))?;
        Ok(Self {
            code: AuthorizationCode::parse(code).ok(),
            redirect_uri: form.value("redirect_uri").map(str::to_owned),
            code_verifier: CodeVerifier::parse(verifier).ok(),
            resource: read_resource(form),
        })
    }
}

/// Decides what a code is good for. Whoever fails a binding check learns nothing and costs nobody anything; replay is
/// judged only after all of them, so that it can be trusted to be the client's own code come twice.
fn decide<'a>(
    found: &'a GrantWithStanding,
    client: &AuthenticatedClient,
    params: &Params,
    now: Timestamp,
) -> Result<&'a GrantedResource, Reason> {
    let grant = &found.grant;

    // 1. RFC 6749 §4.1.3: "ensure that the authorization code was issued to the authenticated confidential client, or if
    //    the client is public, ensure that the code was issued to "client_id" in the request".
    if grant.client_id != client.id {
        return Err(Reason::NotYours);
    }
    if !client.may_use(GrantType::AuthorizationCode) {
        return Err(Reason::GrantNotAllowed);
    }
    // 2. RFC 7636 §4.6: the verifier answers the challenge. Where there is none, it is a device code that was presented.
    let challenge = grant.code.code_challenge.as_ref().ok_or(Reason::Unknown)?;
    let verifier = params.code_verifier.as_ref().ok_or(Reason::WrongVerifier)?;
    if !challenge.is_answered_by(verifier) {
        return Err(Reason::WrongVerifier);
    }
    // 3. RFC 6749 §4.1.3: redirect_uri is repeated byte for byte if it was sent. OAuth 2.1 no longer asks for it, so one
    //    that is left out is let pass: PKCE binds the two requests already. Where none was sent the code went to the only
    //    one that is registered; a client that names that one says nothing else.
    if let Some(redirect_uri) = &params.redirect_uri {
        let is_the_same = match &grant.code.redirect_uri {
            Some(sent) => sent == redirect_uri,
            None => client
                .redirect_target(None)
                .is_ok_and(|only| only.as_str() == redirect_uri),
        };
        if !is_the_same {
            return Err(Reason::WrongRedirectUri);
        }
    }
    // 4. RFC 8707 §2.2: one of the resources that were approved.
    let resource = params.resource.as_ref().map_err(|()| Reason::WrongResource)?;
    let granted = choose_resource(grant, resource.as_ref()).ok_or(Reason::WrongResource)?;
    // 5. RFC 6749 §4.1.2: "If an authorization code is used more than once, the authorization server MUST deny the
    //    request and SHOULD revoke (when possible) all tokens previously issued".
    if grant.code.redeemed_at.is_some() {
        return Err(Reason::Replayed);
    }
    // 6. RFC 6749 §4.1.2: the code's own life, and that of what it stands for.
    if grant.code.expires_at.has_passed(now) || grant.expires_at.has_passed(now) {
        return Err(Reason::Expired);
    }
    if found.standing == Standing::Ended {
        return Err(Reason::Ended);
    }
    // 7. The resource is what it was when it was approved. After replay, which ends a grant whatever its resources.
    if found.gone.contains(&granted.resource) {
        return Err(Reason::ResourceGone);
    }
    Ok(granted)
}

/// Runs the grant.
pub(crate) async fn run(
    server: &AuthorizationServer,
    request: FormRequest<'_>,
    presented: &Presented,
    now: Timestamp,
) -> Result<TokenResponse, ErrorResponse> {
    let params = Params::read(request.form)?;

    let peek = match &params.code {
        Some(code) => {
            server
                .store()
                .peek_code(
                    &code.hash(),
                    &presented.client_id,
                    server.settings().accept_unregistered_loopback_resources,
                )
                .await?
        }
        None => CodePeek {
            client: server.store().load_client(&presented.client_id).await?,
            grant: None,
        },
    };
    let grant = peek.grant.as_ref().map(|found| &found.grant);
    let client = server.returning_client(peek.client, grant, now).await?;
    let client = server.authenticated(presented, client, request, now).await?;
    let (Some(code), Some(found)) = (&params.code, &peek.grant) else {
        return Err(refuse(server, request, &client, None, Reason::Unknown));
    };
    let granted = match decide(found, &client, &params, now) {
        Ok(granted) => granted,
        Err(reason) => return Err(punish(server, request, &client, found, reason, now).await),
    };

    let grant = &found.grant;
    let minted = server
        .mint(
            TokenPlan {
                grant,
                resource: &granted.resource,
                format: found.access_token_format(&granted.resource),
                access_scope: access_scope(granted),
                said_scope: granted.scope.clone(),
                with_refresh_token: grant.offline_access && client.may_use(GrantType::RefreshToken),
                address: request.address,
            },
            now,
        )
        .await?;
    let reason = match server
        .store()
        .redeem_code(&code.hash(), &minted.tokens, now)
        .await?
    {
        RedeemCode::Redeemed => {
            server.audit(
                &AuditEvent::new(AuditAction::RedeemCode, AuditOutcome::Allowed, "redeemed")
                    .with_client(&client.id)
                    .with_grant(grant.id)
                    .with_subject(&grant.subject)
                    .with_token(&minted.tokens.access_token.hash)
                    .with_address(request.address),
            );
            return Ok(minted.response);
        }
        RedeemCode::Replayed => Reason::Replayed,
        RedeemCode::Gone => Reason::Ended,
    };
    Err(punish(server, request, &client, found, reason, now).await)
}

/// Refuses; and where the code came twice, ends everything that came of it before the answer leaves.
async fn punish(
    server: &AuthorizationServer,
    request: FormRequest<'_>,
    client: &AuthenticatedClient,
    found: &GrantWithStanding,
    reason: Reason,
    now: Timestamp,
) -> ErrorResponse {
    if reason == Reason::Replayed
        && let Err(error) = server.store().revoke_grant(found.grant.id, now).await
    {
        return error.into();
    }
    refuse(server, request, client, Some(found), reason)
}

fn refuse(
    server: &AuthorizationServer,
    request: FormRequest<'_>,
    client: &AuthenticatedClient,
    found: Option<&GrantWithStanding>,
    reason: Reason,
) -> ErrorResponse {
    let outcome = if reason == Reason::Replayed {
        AuditOutcome::Alarm
    } else {
        AuditOutcome::Refused
    };
    let mut event = AuditEvent::new(AuditAction::RedeemCode, outcome, reason.to_string())
        .with_client(&client.id)
        .with_address(request.address);
    event.grant = found.map(|found| found.grant.id);
    server.audit(&event);
    reason.code().into()
}

#[cfg(test)]
mod tests;
