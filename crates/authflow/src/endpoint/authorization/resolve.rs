//! What a request asks for, checked and narrowed to what can be granted.

use std::sync::Arc;

use mcp_authflow_types::{
    ErrorCode, Form, GrantType, Prompt, Resource, ResponseType, Scope,
    pkce::{Challenge, RefusedChallenge},
    registry::ResponseMode,
    scope::OFFLINE_ACCESS,
};

use super::PendingResource;
use crate::{
    record::{Client, GrantId, GrantedResource, PendingRequest, ResourceRecord},
    server::AuthorizationServer,
};

/// Why a request is sent back: everything after the redirect URI was proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum Reason {
    #[error("a parameter is given more than once")]
    Repeated,
    #[error("response_type is missing")]
    NoResponseType,
    #[error("the server supports response_type=code only")]
    ResponseType,
    #[error("response_mode is not supported")]
    ResponseMode,
    #[error("request objects are not supported")]
    RequestObject,
    #[error("request_uri is not supported")]
    RequestUri,
    #[error("this client may not use the authorization code grant")]
    GrantNotAllowed,
    #[error("code_challenge is missing")]
    NoChallenge,
    #[error("code_challenge_method is not S256")]
    ChallengeMethod,
    #[error("code_challenge is malformed")]
    Challenge,
    #[error("prompt is malformed")]
    Prompt,
    #[error("max_age is malformed")]
    MaxAge,
    #[error("state is too long")]
    State,
    #[error("the scope is malformed or nothing of it can be granted")]
    Scope,
    #[error("the resource is unknown or not open to this client")]
    Resource,
    #[error("somebody has to approve the request")]
    ConsentRequired,
}

impl Reason {
    pub(crate) const fn code(self) -> ErrorCode {
        match self {
            Self::Repeated
            | Self::NoResponseType
            | Self::ResponseMode
            | Self::NoChallenge
            | Self::ChallengeMethod
            | Self::Challenge
            | Self::Prompt
            | Self::MaxAge
            | Self::State => ErrorCode::InvalidRequest,
            Self::ResponseType => ErrorCode::UnsupportedResponseType,
            Self::RequestObject => ErrorCode::RequestNotSupported,
            Self::RequestUri => ErrorCode::RequestUriNotSupported,
            Self::GrantNotAllowed => ErrorCode::UnauthorizedClient,
            Self::Scope => ErrorCode::InvalidScope,
            Self::Resource => ErrorCode::InvalidTarget,
            Self::ConsentRequired => ErrorCode::ConsentRequired,
        }
    }

    /// The fixed words, for a page.
    pub(super) const fn description(self) -> &'static str {
        match self {
            Self::NoResponseType => "response_type is missing",
            Self::ResponseMode => "response_mode is not supported",
            Self::NoChallenge => "code_challenge is missing: this server asks for PKCE with S256",
            Self::ChallengeMethod => "code_challenge_method is not S256",
            Self::Challenge => "code_challenge is malformed",
            Self::Prompt => "prompt is malformed",
            Self::MaxAge => "max_age is malformed",
            Self::State => "state is too long",
            Self::Repeated => "a parameter is given more than once",
            Self::ResponseType
            | Self::RequestObject
            | Self::RequestUri
            | Self::GrantNotAllowed
            | Self::Scope
            | Self::Resource
            | Self::ConsentRequired => self.code().description(),
        }
    }
}

/// The longest `state` that is kept, in bytes.
const MAX_STATE_BYTES: usize = 4_096;

/// A resource that may be asked for, with its record where it has one.
pub(crate) type Resolved = (Resource, Option<Arc<ResourceRecord>>);

impl AuthorizationServer {
    /// Checks everything that may go back to the client, and narrows what is asked for to what can be granted.
    pub(super) fn resolve(
        &self,
        query: &Form<'_>,
        client: &Client,
        may_be_remembered: bool,
        wanted: Result<Vec<Resource>, Reason>,
        found: &[Arc<ResourceRecord>],
    ) -> Result<(PendingRequest, Vec<PendingResource>), Reason> {
        // 1. RFC 6749 §3.1: "Request and response parameters MUST NOT be included more than once."
        if query.repeated().is_some() {
            return Err(Reason::Repeated);
        }
        // 2. RFC 9101: request objects are not taken, and none is ever fetched.
        if query.value("request").is_some() {
            return Err(Reason::RequestObject);
        }
        if query.value("request_uri").is_some() {
            return Err(Reason::RequestUri);
        }
        // 3. RFC 6749 §3.1.1.
        let response_type = query.value("response_type").ok_or(Reason::NoResponseType)?;
        ResponseType::parse(response_type).ok_or(Reason::ResponseType)?;
        if let Some(mode) = query.value("response_mode") {
            ResponseMode::parse(mode).ok_or(Reason::ResponseMode)?;
        }
        if !client.may_use(GrantType::AuthorizationCode) {
            return Err(Reason::GrantNotAllowed);
        }
        // 4. RFC 7636 §4.3: S256 from everyone. A method left out would mean "plain".
        let code_challenge = query.value("code_challenge").ok_or(Reason::NoChallenge)?;
        let method = query.value("code_challenge_method");
        let code_challenge =
            Challenge::parse(code_challenge, method, self.settings().code_challenge_methods()).map_err(
                |refused| match refused {
                    RefusedChallenge::Method => Reason::ChallengeMethod,
                    RefusedChallenge::Challenge => Reason::Challenge,
                },
            )?;
        // 5. OpenID Connect Core §3.1.2.1: prompt and max_age. `none` goes with nothing else.
        let prompt = read_prompt(query.value("prompt"))?;
        let max_age = query
            .value("max_age")
            .map(|age| age.parse().map_err(|_| Reason::MaxAge))
            .transpose()?;
        if query
            .value("state")
            .is_some_and(|state| state.len() > MAX_STATE_BYTES)
        {
            return Err(Reason::State);
        }
        // 6. RFC 8707 §2: resources that are known, or on loopback where that is enough.
        let resources = self.resolve_resources(client, &wanted?, found)?;
        // 7. RFC 6749 §3.3: narrowed silently, refused only when nothing is left.
        let asked = query
            .value("scope")
            .map(Scope::parse_asked)
            .transpose()
            .map_err(|_| Reason::Scope)?;
        let asked = asked.unwrap_or_default();
        let resources = narrow(client, &asked, resources)?;
        // 8. A client whose approvals are not remembered is asked about every time, so `none` can never be answered for it.
        if prompt.contains(&Prompt::None) && !may_be_remembered {
            return Err(Reason::ConsentRequired);
        }

        let may_refresh = client.may_use(GrantType::RefreshToken);
        let request = PendingRequest {
            redirect_uri: query.value("redirect_uri").map(str::to_owned),
            only_redirect_uri: None,
            state: query.value("state").map(str::to_owned),
            code_challenge: Some(code_challenge.digest().to_text()),
            device: None,
            resources: resources.iter().map(|one| one.asked.clone()).collect(),
            offline_access: may_refresh,
            prompt,
            max_age,
            login_hint: query
                .value("login_hint")
                .filter(|hint| hint.len() <= 256)
                .map(str::to_owned),
        };
        Ok((request, resources))
    }

    /// Finds the resources that are wanted, or the one that is meant when none is.
    pub(crate) fn resolve_resources(
        &self,
        client: &Client,
        wanted: &[Resource],
        found: &[Arc<ResourceRecord>],
    ) -> Result<Vec<Resolved>, Reason> {
        let resolved: Vec<_> = if wanted.is_empty() {
            // The configured default, or the only one there is.
            let [only] = found else {
                return Err(Reason::Resource);
            };
            vec![(only.resource.clone(), Some(only.clone()))]
        } else {
            let unregistered_is_enough = self.settings().accept_unregistered_loopback_resources;
            wanted
                .iter()
                .map(
                    |wanted| match found.iter().find(|record| record.resource == *wanted) {
                        Some(record) => Ok((record.resource.clone(), Some(record.clone()))),
                        None if unregistered_is_enough && wanted.is_loopback() => Ok((wanted.clone(), None)),
                        None => Err(Reason::Resource),
                    },
                )
                .collect::<Result<_, _>>()?
        };
        if resolved.iter().all(|(resource, _)| client.may_reach(resource)) {
            Ok(resolved)
        } else {
            Err(Reason::Resource)
        }
    }
}

/// The `resource` parameters, repetitions folded; where there are none, and the operator lets it, the `audience`.
pub(crate) fn read_resources(query: &Form<'_>, accept_audience: bool) -> Result<Vec<Resource>, Reason> {
    let name = if accept_audience && query.values("resource").next().is_none() {
        "audience"
    } else {
        "resource"
    };
    let mut resources: Vec<Resource> = Vec::new();
    for value in query.values(name) {
        let resource = Resource::parse(value).map_err(|_| Reason::Resource)?;
        if !resources.contains(&resource) {
            resources.push(resource);
        }
        if resources.len() > GrantId::MAX_RESOURCES {
            return Err(Reason::Resource);
        }
    }
    Ok(resources)
}

fn read_prompt(value: Option<&str>) -> Result<Vec<Prompt>, Reason> {
    let Some(value) = value else { return Ok(Vec::new()) };
    let prompts: Vec<Prompt> = value
        .split(' ')
        .map(Prompt::parse)
        .collect::<Option<_>>()
        .ok_or(Reason::Prompt)?;
    if prompts.contains(&Prompt::None) && prompts.len() > 1 {
        return Err(Reason::Prompt);
    }
    Ok(prompts)
}

/// What is meant at a resource by a request without scope: the first of its scopes that this client may have. Where it
/// may have none of them, the first; narrowing then leaves nothing of it.
fn default_scope(record: &ResourceRecord, on_offer: &Scope) -> Scope {
    let mut tokens = record.scopes.iter().map(|scope| &scope.token);
    let allowed = tokens.clone().find(|token| on_offer.contains(token.as_str()));
    allowed.or_else(|| tokens.next()).cloned().into_iter().collect()
}

/// Narrows what is asked for, resource by resource; what is left is spelled out with all that it includes. Nothing asked for means one scope: a small default, never everything.
/// `offline_access` belongs to no resource and rides along.
pub(crate) fn narrow(
    client: &Client,
    asked: &Scope,
    resources: Vec<Resolved>,
) -> Result<Vec<PendingResource>, Reason> {
    let offline = asked.narrow_to(&offline_scope());
    let offline = if client.may_use(GrantType::RefreshToken) {
        offline
    } else {
        Scope::empty()
    };
    let asked = asked.without(OFFLINE_ACCESS);
    let pending: Vec<PendingResource> = resources
        .into_iter()
        .filter_map(|(resource, record)| {
            let (on_offer, default) = match &record {
                Some(record) => {
                    // What a scope includes is granted with it, so it is on offer under the same ceiling.
                    let on_offer = record.expand(&client.under_ceiling(&record.scope()));
                    let default = default_scope(record, &on_offer);
                    (on_offer, default)
                }
                None => (client.under_ceiling(&asked), Scope::empty()),
            };
            let wanted = if asked.is_empty() { &default } else { &asked };
            let scope = wanted.narrow_to(&on_offer);
            let scope = record
                .as_ref()
                .map_or(scope.clone(), |record| record.expand(&scope));
            let nothing_is_left = scope.is_empty() && !wanted.is_empty();
            (!nothing_is_left).then(|| PendingResource {
                record,
                asked: GrantedResource {
                    resource,
                    scope: scope.union(&offline),
                },
            })
        })
        .collect();
    // What is kept of a request is bounded as a whole, however many resources share it.
    let kept: usize = pending.iter().map(|one| one.asked.scope.to_string().len()).sum();
    if pending.is_empty() || kept > Scope::MAX_ASKED_BYTES {
        Err(Reason::Scope)
    } else {
        Ok(pending)
    }
}

/// The scope that is `offline_access` and nothing else.
pub(super) fn offline_scope() -> Scope {
    Scope::parse(OFFLINE_ACCESS).unwrap_or_default()
}

#[cfg(test)]
mod tests;
