#![allow(clippy::unwrap_used, reason = "a test may panic")]

use super::*;

fn request(offline_access: bool, asked: &[(&str, &str)]) -> PendingRequest {
    PendingRequest {
        redirect_uri: None,
        only_redirect_uri: None,
        state: None,
        code_challenge: None,
        device: None,
        resources: asked
            .iter()
            .map(|(resource, scope)| GrantedResource {
                resource: mcp_authflow_types::Resource::parse(resource).unwrap(),
                scope: Scope::parse(scope).unwrap(),
            })
            .collect(),
        offline_access,
        prompt: Vec::new(),
        max_age: None,
        login_hint: None,
    }
}

const BOTH: &[(&str, &str)] = &[
    ("https://rs1.test/mcp", "a b offline_access"),
    ("https://rs2.test/mcp", "c offline_access"),
];

fn left(request: &PendingRequest, ticked: Option<&str>) -> (Vec<String>, bool) {
    let ticked = ticked.map_or(Ticked::Everything, |ticked| {
        Ticked::Tokens(Scope::parse(ticked).unwrap())
    });
    let (resources, offline_access) = left_ticked(request, &[], &ticked);
    let shown = resources
        .iter()
        .map(|one| format!("{} {}", one.resource, one.scope));
    (shown.collect(), offline_access)
}

/// SC-03, AZ-20
#[test]
fn what_is_granted_is_what_was_asked_for_and_left_ticked() {
    let asked = request(true, BOTH);
    let rs1 = |scope: &str| format!("https://rs1.test/mcp {scope}");
    let rs2 = |scope: &str| format!("https://rs2.test/mcp {scope}");
    for (ticked, expected) in [
        (
            None,
            (vec![rs1("a b offline_access"), rs2("c offline_access")], true),
        ),
        (Some("a c"), (vec![rs1("a"), rs2("c")], false)),
        (
            Some("a c offline_access admin"),
            (vec![rs1("a offline_access"), rs2("c offline_access")], true),
        ),
        (Some("b"), (vec![rs1("b")], false)),
        (Some("offline_access"), (vec![], true)),
        (Some("admin"), (vec![], false)),
        (Some(""), (vec![], false)),
    ] {
        assert_eq!(left(&asked, ticked), expected, "{ticked:?}");
    }
}

#[test]
fn ticking_brings_no_offline_access_that_was_not_asked_for() {
    let asked = request(false, &[("https://rs1.test/mcp", "a")]);
    let expected = (vec!["https://rs1.test/mcp a".to_owned()], false);
    assert_eq!(left(&asked, Some("a offline_access")), expected);
}

#[test]
fn a_resource_that_was_asked_for_without_scope_stays() {
    let asked = request(true, &[("http://127.0.0.1:9/mcp", "")]);
    let expected = (vec!["http://127.0.0.1:9/mcp ".to_owned()], false);
    assert_eq!(left(&asked, Some("")), expected);
}

/// P7
#[test]
fn debug_shows_no_code() {
    let answer = SendBack {
        location: "https://client.example/cb?code=mcpac_x".to_owned(),
    };
    assert_eq!(format!("{answer:?}"), "SendBack(…)");
}

/// M-027: a scope that stays ticked takes along what it includes; one that was not asked for comes by no way.
#[test]
fn what_a_ticked_scope_includes_is_granted_with_it() {
    use std::sync::Arc;

    use crate::record::{AccessTokenFormat, ResourceRecord, ScopeDescription};
    use mcp_authflow_types::ScopeToken;

    let uri = "https://rs1.test/mcp";
    let request = request(false, &[(uri, "read write")]);
    let includes = |token: &str, includes: &str| ScopeDescription {
        includes: Scope::parse(includes).unwrap(),
        ..ScopeDescription::new(ScopeToken::parse(token).unwrap(), "May do it")
    };
    let described = [PendingResource {
        record: Some(Arc::new(ResourceRecord {
            resource: request.resources[0].resource.clone(),
            name: "A resource".to_owned(),
            scopes: vec![
                includes("write", "read new"),
                includes("read", ""),
                includes("new", ""),
            ],
            access_token_format: AccessTokenFormat::Opaque,
            created_at: Timestamp::from_seconds(0),
        })),
        asked: request.resources[0].clone(),
    }];
    for (ticked, granted) in [
        ("write", "read write"),
        ("read", "read"),
        ("read write", "read write"),
    ] {
        let ticked = Ticked::Tokens(Scope::parse(ticked).unwrap());
        let (resources, _) = left_ticked(&request, &described, &ticked);
        assert_eq!(resources[0].scope.to_string(), granted);
    }
    let (none, _) = left_ticked(
        &request,
        &described,
        &Ticked::Tokens(Scope::parse("new").unwrap()),
    );
    assert_eq!(none, []);
}
