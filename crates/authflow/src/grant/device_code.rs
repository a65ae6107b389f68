//! The device authorization grant (RFC 8628 §3.4, §3.5): a device asks again and again whether a person has approved.
//!
//! [`poll`] is the rule by itself, for records of your own.

pub mod poll;

use mcp_authflow_types::{
    DeviceCode, ErrorCode, ErrorResponse, Form, GrantType, Resource, Timestamp, TokenHash, TokenResponse,
};

use super::{TokenPlan, access_scope, choose_resource, read_resource};
use crate::{
    client_auth::{AuthenticatedClient, Presented},
    port::{
        AuditEvent, AuditOutcome,
        audit::AuditAction,
        store::{CodePeek, GrantWithStanding, PollDevice, RedeemCode, Standing},
    },
    record::GrantedResource,
    server::{AuthorizationServer, FormRequest},
};

/// What arrives.
struct Params {
    /// Absent when it has not the form of a device code of ours.
    device_code: Option<DeviceCode>,
    resource: Result<Option<Resource>, ()>,
}

/// Why there are no tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
enum Reason {
    #[error("unknown device code, or another client's")]
    Unknown,
    #[error("this client may not use the grant")]
    GrantNotAllowed,
    #[error("nobody has decided yet")]
    Pending,
    #[error("the device polls too often")]
    TooOften {
        /// How long it must wait from now on.
        interval: std::time::Duration,
    },
    #[error("denied")]
    Denied,
    #[error("expired device code")]
    Expired,
    #[error("the device code was used before")]
    Taken,
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
            Self::Unknown | Self::Taken | Self::Ended => ErrorCode::InvalidGrant,
            Self::GrantNotAllowed => ErrorCode::UnauthorizedClient,
            Self::Pending => ErrorCode::AuthorizationPending,
            Self::TooOften { .. } => ErrorCode::SlowDown,
            Self::Denied => ErrorCode::AccessDenied,
            Self::Expired => ErrorCode::ExpiredToken,
            Self::WrongResource | Self::ResourceGone => ErrorCode::InvalidTarget,
        }
    }

    fn response(self) -> ErrorResponse {
        let mut response = ErrorResponse::new(self.code());
        match self {
            // RFC 8628 §3.5 answers as RFC 6749 §5.2 does: with 400, `access_denied` too.
            Self::Denied => response.status = Some(400),
            Self::TooOften { interval } => response.retry_after = Some(interval),
            _ => {}
        }
        response
    }
}

impl Params {
    fn read(form: &Form<'_>) -> Result<Self, ErrorResponse> {
        let device_code = form
            .value("device_code")
            .ok_or_else(|| ErrorResponse::missing("device_code"))?;
        Ok(Self {
            device_code: DeviceCode::parse(device_code).ok(),
            resource: read_resource(form),
        })
    }
}

/// Decides what an approved device code is good for. A replay ends nothing: the device whose answer was lost polls again,
/// and there is no redirect on which anybody else could have read the code.
fn decide<'a>(
    found: &'a GrantWithStanding,
    client: &AuthenticatedClient,
    params: &Params,
    now: Timestamp,
) -> Result<&'a GrantedResource, Reason> {
    let grant = &found.grant;
    // 1. RFC 8628 §3.4: the code was issued to this client; and it is a device code, not an authorization code.
    if grant.client_id != client.id || grant.code.code_challenge.is_some() {
        return Err(Reason::Unknown);
    }
    // 2. RFC 8707 §2.2: one of the resources that were approved.
    let resource = params.resource.as_ref().map_err(|()| Reason::WrongResource)?;
    let granted = choose_resource(grant, resource.as_ref()).ok_or(Reason::WrongResource)?;
    // 3. Once.
    if grant.code.redeemed_at.is_some() {
        return Err(Reason::Taken);
    }
    // 4. RFC 8628 §3.5: its own life, and that of what it stands for.
    if grant.code.expires_at.has_passed(now) || grant.expires_at.has_passed(now) {
        return Err(Reason::Expired);
    }
    if found.standing == Standing::Ended {
        return Err(Reason::Ended);
    }
    // 5. The resource is what it was when it was approved.
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
    let peek = match &params.device_code {
        Some(code) => peek(server, &code.hash(), presented).await?,
        None => CodePeek {
            client: server.store().load_client(&presented.client_id).await?,
            grant: None,
        },
    };
    let grant = peek.grant.as_ref().map(|found| &found.grant);
    let client = server.returning_client(peek.client, grant, now).await?;
    let client = server.authenticated(presented, client, request, now).await?;
    let refuse = |found: Option<&GrantWithStanding>, reason| refuse(server, request, &client, found, reason);
    if !client.may_use(GrantType::DeviceCode) {
        return Err(refuse(None, Reason::GrantNotAllowed));
    }
    let Some(code) = &params.device_code else {
        return Err(refuse(None, Reason::Unknown));
    };
    let hash = code.hash();
    let polled = server
        .store()
        .poll_device(&hash, &client.id, client.generation, now)
        .await?;
    match polled {
        PollDevice::Approved => {}
        PollDevice::Pending => return Err(refuse(None, Reason::Pending)),
        PollDevice::SlowDown { interval } => return Err(refuse(None, Reason::TooOften { interval })),
        PollDevice::Denied => return Err(refuse(None, Reason::Denied)),
        PollDevice::Expired => return Err(refuse(None, Reason::Expired)),
        PollDevice::Gone => return Err(refuse(None, Reason::Unknown)),
    }
    // Approved between the look and the poll, perhaps: then there is something to see now.
    let found = match peek.grant {
        Some(found) => Some(found),
        None => self::peek(server, &hash, presented).await?.grant,
    };
    let Some(found) = found else {
        return Err(refuse(None, Reason::Ended));
    };
    let granted = decide(&found, &client, &params, now).map_err(|reason| refuse(Some(&found), reason))?;

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
    let reason = match server.store().redeem_code(&hash, &minted.tokens, now).await? {
        RedeemCode::Redeemed => {
            server.audit(
                &AuditEvent::new(AuditAction::RedeemDeviceCode, AuditOutcome::Allowed, "redeemed")
                    .with_client(&client.id)
                    .with_grant(grant.id)
                    .with_subject(&grant.subject)
                    .with_token(&minted.tokens.access_token.hash)
                    .with_address(request.address),
            );
            return Ok(minted.response);
        }
        RedeemCode::Replayed => Reason::Taken,
        RedeemCode::Gone => Reason::Ended,
    };
    Err(refuse(Some(&found), reason))
}

async fn peek(
    server: &AuthorizationServer,
    code: &TokenHash,
    presented: &Presented,
) -> Result<CodePeek, ErrorResponse> {
    let unregistered = server.settings().accept_unregistered_loopback_resources;
    Ok(server
        .store()
        .peek_code(code, &presented.client_id, unregistered)
        .await?)
}

fn refuse(
    server: &AuthorizationServer,
    request: FormRequest<'_>,
    client: &AuthenticatedClient,
    found: Option<&GrantWithStanding>,
    reason: Reason,
) -> ErrorResponse {
    // Waiting is what a device does all the time, patiently or not: no decision, and no record.
    if !matches!(reason, Reason::Pending | Reason::TooOften { .. }) {
        let mut event = AuditEvent::new(
            AuditAction::RedeemDeviceCode,
            AuditOutcome::Refused,
            reason.to_string(),
        )
        .with_client(&client.id)
        .with_address(request.address);
        event.grant = found.map(|found| found.grant.id);
        server.audit(&event);
    }
    reason.response()
}

#[cfg(test)]
mod tests;
