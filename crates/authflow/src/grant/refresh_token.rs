//! The refresh token grant (RFC 6749 §6), rotating for everyone, with a sealed retry window.
//!
//! An exchange spends the old token and stores the new pair in one step. Beside the old token stays the answer, sealed
//! under a key that only a holder of the old token can derive. Who presents the old token again within the window, before
//! the successor was exchanged, gets that same answer: a lost reply or five processes sharing a token sign nobody out,
//! and there is never more than one successor. After the window a replay ends the whole grant. The store alone judges a spent
//! token, by one clock: to a node whose clock is off it would be honest or stolen at the wrong time.

use mcp_authflow_jose::SealingKey;
use mcp_authflow_types::{
    AccessToken, ErrorCode, ErrorResponse, ForeignToken, Form, GrantType, RefreshToken, Resource, Scope,
    Timestamp, TokenResponse, scope::OFFLINE_ACCESS,
};
use zeroize::Zeroizing;

use super::{Minted, TokenPlan, access_scope, choose_resource, read_resource};
use crate::{
    client_auth::{AuthenticatedClient, Presented},
    port::{
        AuditEvent, AuditOutcome,
        audit::AuditAction,
        store::{RefreshTokenPeek, RefreshTokenWithGrant, RotateRefreshToken, Rotation, Standing},
        token_storage::TokenKind,
    },
    record::{Grant, GrantedResource},
    server::{AuthorizationServer, FormRequest},
};

/// What arrives.
struct Params {
    refresh_token: Spelled,
    scope: Result<Option<Scope>, ()>,
    resource: Result<Option<Resource>, ()>,
}

/// A refresh token as it is presented.
enum Spelled {
    /// It has the form of ours, which says where it lies.
    Ours(RefreshToken),
    /// It has not: another program may have minted it.
    Foreign(ForeignToken),
}

impl Spelled {
    fn expose(&self) -> &str {
        match self {
            Self::Ours(token) => token.expose(),
            Self::Foreign(token) => token.expose(),
        }
    }
}

/// What a refresh token is good for.
#[derive(Debug)]
struct Plan<'a> {
    granted: &'a GrantedResource,
    access_scope: Scope,
    said_scope: Scope,
    /// The store is asked all the same, of a spent token: there is nothing to be had for it, but reuse ends a grant whatever
    /// its resources.
    resource_is_gone: bool,
}

/// Why there are no tokens for a refresh token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
enum Reason {
    #[error("unknown refresh token")]
    Unknown,
    #[error("the refresh token is another client's")]
    NotYours,
    #[error("this client may not use the grant")]
    GrantNotAllowed,
    #[error("expired refresh token")]
    Expired,
    #[error("the grant was revoked")]
    Ended,
    #[error("more scope than was granted")]
    WiderScope,
    #[error("a resource that was not approved")]
    WrongResource,
    #[error("the resource is no longer registered as it was when it was approved")]
    ResourceGone,
    #[error("the refresh token was used before")]
    Reused,
    #[error("another request than the one being retried")]
    AnotherRequest,
    #[error("the program that minted the refresh token has exchanged or revoked it since")]
    UsedElsewhere,
}

impl Reason {
    const fn code(self) -> ErrorCode {
        match self {
            Self::Unknown
            | Self::NotYours
            | Self::Expired
            | Self::Ended
            | Self::Reused
            | Self::AnotherRequest
            | Self::UsedElsewhere => ErrorCode::InvalidGrant,
            Self::GrantNotAllowed => ErrorCode::UnauthorizedClient,
            Self::WiderScope => ErrorCode::InvalidScope,
            Self::WrongResource | Self::ResourceGone => ErrorCode::InvalidTarget,
        }
    }
}

impl Params {
    fn read(form: &Form<'_>) -> Result<Self, ErrorResponse> {
        let token = form
            .value("refresh_token")
            .ok_or_else(|| ErrorResponse::missing("refresh_token"))?;
        Ok(Self {
            refresh_token: RefreshToken::parse(token)
                .map_or_else(|_| Spelled::Foreign(ForeignToken::present(token)), Spelled::Ours),
            scope: form
                .value("scope")
                .map(Scope::parse_asked)
                .transpose()
                .map_err(drop),
            resource: read_resource(form),
        })
    }
}

/// Decides what a refresh token is good for. Requests that ask for too much are refused before anything is spent. Whether
/// a spent token is repeated or reused is not decided here but by the store, and asked only when every binding holds.
fn decide<'a>(
    found: &'a RefreshTokenWithGrant,
    client: &AuthenticatedClient,
    params: &Params,
    now: Timestamp,
) -> Result<Plan<'a>, Reason> {
    let grant = &found.grant.grant;

    // 1. RFC 6749 §6: "The authorization server MUST … ensure that the refresh token was issued to the authenticated
    //    client".
    if grant.client_id != client.id {
        return Err(Reason::NotYours);
    }
    if !client.may_use(GrantType::RefreshToken) {
        return Err(Reason::GrantNotAllowed);
    }
    // 2. What it descends from still stands (RFC 6749 §10.4).
    if found.grant.standing == Standing::Ended {
        return Err(Reason::Ended);
    }
    if grant.expires_at.has_passed(now) {
        return Err(Reason::Expired);
    }
    // 3. RFC 8707 §2.2: one of the resources that were approved.
    let resource = params.resource.as_ref().map_err(|()| Reason::WrongResource)?;
    let granted = choose_resource(grant, resource.as_ref()).ok_or(Reason::WrongResource)?;
    // 4. RFC 6749 §6: "The requested scope MUST NOT include any scope not originally granted by the resource owner, and
    //    if omitted is treated as equal to the scope originally granted".
    let (access_scope, said_scope) = narrow(
        grant,
        granted,
        params.scope.as_ref().map_err(|()| Reason::WiderScope)?.as_ref(),
    )?;
    // 5. An unspent token is exchanged while it is fresh, and for a resource that is what it was when it was approved. A
    //    spent one is judged by the store (RFC 9700 §4.14.2), long after its own expiry too.
    let resource_is_gone = found.grant.gone.contains(&granted.resource);
    if found.spent_at.is_none() {
        if found.token.expires_at.has_passed(now) {
            return Err(Reason::Expired);
        }
        if resource_is_gone {
            return Err(Reason::ResourceGone);
        }
    }
    Ok(Plan {
        granted,
        access_scope,
        said_scope,
        resource_is_gone,
    })
}

/// What of the granted scope goes into the access token, and what the answer says.
fn narrow(grant: &Grant, granted: &GrantedResource, asked: Option<&Scope>) -> Result<(Scope, Scope), Reason> {
    let Some(asked) = asked else {
        return Ok((access_scope(granted), granted.scope.clone()));
    };
    if !grant.whole_scope().covers(asked) {
        return Err(Reason::WiderScope);
    }
    let narrowed = asked.narrow_to(&granted.scope);
    let access = narrowed.without(OFFLINE_ACCESS);
    if access.is_empty() && !access_scope(granted).is_empty() {
        return Err(Reason::WiderScope);
    }
    Ok((access, narrowed))
}

/// Runs the grant.
pub(crate) async fn run(
    server: &AuthorizationServer,
    request: FormRequest<'_>,
    presented: &Presented,
    now: Timestamp,
) -> Result<TokenResponse, ErrorResponse> {
    let params = Params::read(request.form)?;

    // A token of ours is read with its client at once; for any other we look only when we know who asks.
    let peek = match &params.refresh_token {
        Spelled::Ours(token) => {
            server
                .store()
                .peek_refresh_token(
                    &token.hash(),
                    token.bucket(),
                    &presented.client_id,
                    server.settings().accept_unregistered_loopback_resources,
                )
                .await?
        }
        Spelled::Foreign(_) => RefreshTokenPeek {
            client: server.store().load_client(&presented.client_id).await?,
            token: None,
        },
    };
    let grant = peek.token.as_ref().map(|found| &found.grant.grant);
    let client = server.returning_client(peek.client, grant, now).await?;
    let client = server.authenticated(presented, client, request, now).await?;
    let found = match &params.refresh_token {
        Spelled::Ours(_) => peek.token,
        Spelled::Foreign(token) => find_foreign(server, token, &client, now).await?,
    };
    let exchange = Exchange {
        server,
        request,
        client: &client,
        now,
    };
    let token = &params.refresh_token;
    let Some(found) = &found else {
        return Err(exchange.refuse(None, Reason::Unknown));
    };
    let grant = &found.grant.grant;
    let plan = decide(found, &client, &params, now).map_err(|reason| exchange.refuse(Some(grant), reason))?;
    if matches!(token, Spelled::Foreign(_))
        && found.spent_at.is_none()
        && !server.take_over(&found.token.hash).await?
    {
        server.store().revoke_grant(grant.id, now).await?;
        return Err(exchange.refuse(Some(grant), Reason::UsedElsewhere));
    }
    let context = context(&client, &plan);
    let minted = server
        .mint(
            TokenPlan {
                grant,
                resource: &plan.granted.resource,
                format: found.grant.access_token_format(&plan.granted.resource),
                access_scope: plan.access_scope,
                said_scope: plan.said_scope,
                with_refresh_token: true,
                address: request.address,
            },
            now,
        )
        .await?;
    let reason = match exchange.rotate(token, found, &minted, &context).await? {
        RotateRefreshToken::Rotated => {
            exchange.allow(grant, "rotated", &minted.tokens.access_token.hash);
            return Ok(minted.response);
        }
        // What would be said again is dead.
        RotateRefreshToken::Retried { .. } if plan.resource_is_gone => Reason::ResourceGone,
        RotateRefreshToken::Retried { sealed } => match open(token.expose(), &context, &sealed, now) {
            Some(response) => {
                let what = "repeated within the retry window";
                exchange.allow(grant, what, &response.access_token.hash());
                return Ok(response);
            }
            None => Reason::AnotherRequest,
        },
        // The whole family ends before the answer leaves.
        RotateRefreshToken::Reused => {
            server.store().revoke_grant(grant.id, now).await?;
            Reason::Reused
        }
        RotateRefreshToken::Gone => Reason::Ended,
    };
    Err(exchange.refuse(Some(grant), reason))
}

/// Looks for a token that another program minted.
async fn find_foreign(
    server: &AuthorizationServer,
    token: &ForeignToken,
    client: &AuthenticatedClient,
    now: Timestamp,
) -> Result<Option<RefreshTokenWithGrant>, ErrorResponse> {
    let Some(entry) = server.find_foreign(TokenKind::Refresh, token, now).await? else {
        return Ok(None);
    };
    let unregistered = server.settings().accept_unregistered_loopback_resources;
    let peek = server
        .store()
        .peek_refresh_token(&token.hash(), entry.bucket, &client.id, unregistered)
        .await?;
    Ok(peek.token)
}

/// One exchange, with what every step of it needs.
struct Exchange<'a> {
    server: &'a AuthorizationServer,
    request: FormRequest<'a>,
    client: &'a AuthenticatedClient,
    now: Timestamp,
}

impl Exchange<'_> {
    async fn rotate(
        &self,
        token: &Spelled,
        found: &RefreshTokenWithGrant,
        minted: &Minted,
        context: &[u8],
    ) -> Result<RotateRefreshToken, ErrorResponse> {
        let Some(successor) = minted.tokens.refresh_token.clone() else {
            return Err(ErrorCode::ServerError.into());
        };
        let rotation = Rotation {
            presented: found.token.hash,
            bucket: found.token.bucket,
            grant: found.token.grant,
            successor,
            access_token: minted.tokens.access_token.clone(),
            sealed: seal(token.expose(), self.server.entropy().draw(), context, minted),
            retry_window: self.server.settings().lifetimes.refresh_retry_window,
            address: self.request.address,
        };
        Ok(self
            .server
            .store()
            .rotate_refresh_token(&rotation, self.now)
            .await?)
    }

    fn refuse(&self, grant: Option<&Grant>, reason: Reason) -> ErrorResponse {
        let outcome = if reason == Reason::Reused {
            AuditOutcome::Alarm
        } else {
            AuditOutcome::Refused
        };
        let mut event = AuditEvent::new(AuditAction::Refresh, outcome, reason.to_string())
            .with_client(&self.client.id)
            .with_address(self.request.address);
        event.grant = grant.map(|grant| grant.id);
        self.server.audit(&event);
        reason.code().into()
    }

    fn allow(&self, grant: &Grant, what: &'static str, token: &mcp_authflow_types::TokenHash) {
        self.server.audit(
            &AuditEvent::new(AuditAction::Refresh, AuditOutcome::Allowed, what)
                .with_client(&self.client.id)
                .with_grant(grant.id)
                .with_subject(&grant.subject)
                .with_token(token)
                .with_address(self.request.address),
        );
    }
}

const PURPOSE: &str = "refresh token retry";

/// What an answer is sealed to: the client, the resource and the scope of the request. A retry that asks for something
/// else cannot open it.
fn context(client: &AuthenticatedClient, plan: &Plan<'_>) -> Vec<u8> {
    format!("{}\n{}\n{}", client.id, plan.granted.resource, plan.said_scope).into_bytes()
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Sealed<'a> {
    access_token: std::borrow::Cow<'a, str>,
    refresh_token: std::borrow::Cow<'a, str>,
    scope: Scope,
    expires_at: Timestamp,
}

fn seal(token: &str, nonce: [u8; 12], context: &[u8], minted: &Minted) -> Vec<u8> {
    let response = &minted.response;
    let answer = Sealed {
        access_token: response.access_token.expose().into(),
        refresh_token: response
            .refresh_token
            .as_ref()
            .map_or("", RefreshToken::expose)
            .into(),
        scope: response.scope.clone(),
        expires_at: minted.access_expires_at,
    };
    // Strings and numbers cannot fail to serialize.
    let text = Zeroizing::new(serde_json::to_vec(&answer).unwrap_or_default());
    SealingKey::derive(token.as_bytes(), PURPOSE).seal(nonce, context, &text)
}

fn open(token: &str, context: &[u8], sealed: &[u8], now: Timestamp) -> Option<TokenResponse> {
    let text = SealingKey::derive(token.as_bytes(), PURPOSE).open(context, sealed)?;
    let answer: Sealed<'_> = serde_json::from_slice(&text).ok()?;
    let access_token = AccessToken::parse(&answer.access_token)
        .unwrap_or_else(|_| AccessToken::signed(answer.access_token.into_owned(), answer.expires_at));
    Some(TokenResponse {
        access_token,
        expires_in: answer.expires_at.since(now).as_secs(),
        refresh_token: Some(RefreshToken::parse(&answer.refresh_token).ok()?),
        scope: answer.scope,
    })
}

#[cfg(test)]
mod tests;
