//! Grants (RFC 6749 §4): one a file, each with its `Params`, a pure `decide`, and `run`, which peeks, decides, mints and
//! commits.
//!
//! [`device_code::poll`] is usable by itself.
//!
//! To add a grant: a variant of `GrantType`, a file here, an arm in `endpoint/token`. Metadata follow by themselves.

pub(crate) mod authorization_code;
pub(crate) mod client_credentials;
pub mod device_code;
pub(crate) mod refresh_token;
#[cfg(test)]
mod sample;

use std::net::IpAddr;

use mcp_authflow_types::{
    ErrorResponse, Form, RefreshToken, Resource, Scope, Timestamp, TokenResponse, scope::OFFLINE_ACCESS,
};

use crate::{
    access_token::Said,
    port::store::NewTokens,
    record::{AccessTokenFormat, AccessTokenRecord, Grant, GrantedResource, RefreshTokenRecord},
    server::AuthorizationServer,
};

/// The `resource` parameters of a token request (RFC 8707 §2.2). A token has one audience, so there may be one.
///
/// `Err` for several, or one that is no resource at all.
fn read_resource(form: &Form<'_>) -> Result<Option<Resource>, ()> {
    read_resource_from(form, "resource")
}

/// The same, from the parameter of another name.
fn read_resource_from(form: &Form<'_>, name: &str) -> Result<Option<Resource>, ()> {
    let mut values = form.values(name);
    let Some(first) = values.next() else {
        return Ok(None);
    };
    let resource = Resource::parse(first).map_err(drop)?;
    if values.all(|other| Resource::parse(other).is_ok_and(|other| other == resource)) {
        Ok(Some(resource))
    } else {
        Err(())
    }
}

/// Which of a grant's resources a token is for: the one asked for, else the first one approved. Where that one is gone no
/// other takes its place: a client that names none goes on talking to the first, and would show it a token for the other.
fn choose_resource<'a>(grant: &'a Grant, asked: Option<&Resource>) -> Option<&'a GrantedResource> {
    match asked {
        Some(resource) => grant.at(resource),
        None => grant.resources.first(),
    }
}

/// Everything that a token pair is made of.
struct TokenPlan<'a> {
    grant: &'a Grant,
    resource: &'a Resource,
    format: AccessTokenFormat,
    /// What the access token allows at its resource.
    access_scope: Scope,
    /// What the answer says was granted.
    said_scope: Scope,
    with_refresh_token: bool,
    /// Who asks.
    address: Option<IpAddr>,
}

/// An answer with the records that stand for it in the store.
struct Minted {
    response: TokenResponse,
    tokens: NewTokens,
    access_expires_at: Timestamp,
}

impl AuthorizationServer {
    /// Mints the tokens of a grant. Nothing is stored yet.
    async fn mint(&self, plan: TokenPlan<'_>, now: Timestamp) -> Result<Minted, ErrorResponse> {
        let lifetimes = &self.settings().lifetimes;
        let grant = plan.grant;
        let access_expires_at = (now + lifetimes.access_token).min(grant.expires_at);
        let said = Said {
            client_id: &grant.client_id,
            subject: &grant.subject,
            resource: plan.resource,
            scope: &plan.access_scope,
            issued_at: now,
            expires_at: access_expires_at,
        };
        let access_token = self.make_access_token(plan.format, said).await?;
        let refresh_token = plan
            .with_refresh_token
            .then(|| RefreshToken::mint(&self.entropy().draw(), grant.expires_at));
        let tokens = NewTokens {
            access_token: AccessTokenRecord {
                hash: access_token.hash(),
                bucket: access_token.bucket(),
                grant: Some(grant.id),
                client_id: grant.client_id.clone(),
                client_generation: grant.client_generation,
                subject: grant.subject.clone(),
                resource: plan.resource.clone(),
                scope: plan.access_scope,
                issued_at: now,
                expires_at: access_expires_at,
            },
            refresh_token: refresh_token.as_ref().map(|token| RefreshTokenRecord {
                hash: token.hash(),
                bucket: token.bucket(),
                grant: grant.id,
                issued_at: now,
                expires_at: (now + lifetimes.refresh_idle).min(grant.expires_at),
            }),
            address: plan.address,
        };
        let response = TokenResponse {
            access_token,
            expires_in: access_expires_at.since(now).as_secs(),
            refresh_token,
            scope: plan.said_scope,
        };
        Ok(Minted {
            response,
            tokens,
            access_expires_at,
        })
    }
}

/// The scope of an access token: what is granted at its resource; `offline_access` belongs to no resource.
fn access_scope(granted: &GrantedResource) -> Scope {
    granted.scope.without(OFFLINE_ACCESS)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::{
        sample::{R1, R2, grant, resource},
        *,
    };

    /// AU-13; RFC 8707 §2.2
    #[test]
    fn a_token_request_names_one_resource_at_most_however_often() {
        let read = |body: &str| read_resource(&Form::parse(body.as_bytes()).unwrap());
        let one = "resource=https://rs1.test/mcp";
        assert_eq!(read(""), Ok(None));
        assert_eq!(read("resource="), Ok(None));
        assert_eq!(read(one), Ok(Some(resource(R1))));
        assert_eq!(
            read(&format!("{one}&resource=HTTPS://RS1.test:443/mcp")),
            Ok(Some(resource(R1)))
        );
        for bad in [
            format!("{one}&resource=https://rs2.test/mcp"),
            format!("{one}&resource=x"),
            "resource=rs1.test".to_owned(),
            "resource=https://rs1.test/mcp%23f".to_owned(),
            "resource=https://rs1.test@evil.example/mcp".to_owned(),
        ] {
            assert_eq!(read(&bad), Err(()), "{bad}");
        }
    }

    /// AU-04
    #[test]
    fn a_token_is_for_the_resource_asked_for_else_the_first_approved() {
        let grant = grant().grant;
        let chosen = |asked: Option<&str>| {
            choose_resource(&grant, asked.map(resource).as_ref()).map(|one| one.resource.to_string())
        };
        assert_eq!(chosen(None).as_deref(), Some(R1));
        assert_eq!(chosen(Some(R2)).as_deref(), Some(R2));
        assert_eq!(chosen(Some("https://RS2.test/mcp")).as_deref(), Some(R2));
        assert_eq!(chosen(Some("https://rs3.test/mcp")), None);
    }
}
