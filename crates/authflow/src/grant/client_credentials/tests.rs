#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::sync::Arc;

use mcp_authflow_types::{ScopeToken, TokenEndpointAuthMethod};

use super::{
    super::sample::{NOW, R1, R2, authenticated, client, resource, scope},
    *,
};
use crate::record::{Client, ScopeDescription};

fn record(uri: &str, tokens: &[&str]) -> Arc<ResourceRecord> {
    let scopes = tokens
        .iter()
        .map(|token| ScopeDescription::new(ScopeToken::parse(token).unwrap(), "May do it"));
    Arc::new(ResourceRecord {
        resource: resource(uri),
        name: "A resource".to_owned(),
        scopes: scopes.collect(),
        access_token_format: crate::record::AccessTokenFormat::Opaque,
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

/// What is given, and where.
fn given(text: &str) -> (String, String) {
    (R1.to_owned(), text.to_owned())
}

fn asking(text: &str) -> Result<(String, String), Reason> {
    judge(|case| case.params.scope = Ok(Some(scope(text))))
}

/// SC-09
#[test]
fn a_machine_gets_what_its_ceiling_allows_at_the_resource_and_no_more() {
    assert_eq!(judge(|_| {}), Ok(given("svc:read svc:sync")));
    assert_eq!(asking("svc:sync"), Ok(given("svc:sync")));
    assert_eq!(asking("svc:sync mcp:read admin"), Ok(given("svc:sync")));
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

/// SC-09: many clients ask for everything that metadata list.
#[test]
fn a_scope_is_read_as_long_as_a_request_may_spell_it() {
    let read = |tokens: usize| {
        let body = format!("scope=svc:sync{}", "+x:y".repeat(tokens));
        Params::read(&Form::parse(body.as_bytes()).unwrap()).scope
    };
    let asked = read(Scope::MAX_TOKENS);
    assert_eq!(judge(|case| case.params.scope = asked), Ok(given("svc:sync")));
    assert_eq!(read(Scope::MAX_ASKED_BYTES), Err(()));
}

/// RFC 6749 §4.4
#[test]
fn only_confidential_clients_of_this_grant_act_for_themselves() {
    let public = judge(|case| case.client.profile.token_endpoint_auth_method = TokenEndpointAuthMethod::None);
    assert_eq!(public, Err(Reason::GrantNotAllowed));
    let other = judge(|case| case.client.profile.grant_types = vec![GrantType::AuthorizationCode]);
    assert_eq!(other, Err(Reason::GrantNotAllowed));
}

/// AU-06, AU-10
#[test]
fn the_resource_is_the_one_asked_for_or_the_only_one() {
    assert_eq!(
        judge(|case| case.params.resource = Ok(None)),
        Ok(given("svc:read svc:sync"))
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
