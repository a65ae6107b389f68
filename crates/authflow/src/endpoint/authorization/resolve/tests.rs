#![allow(clippy::unwrap_used, reason = "a test may panic")]

use mcp_authflow_types::{ClientId, ScopeToken, Timestamp};

use super::*;
use crate::record::{ClientOrigin, ClientProfile, ScopeDescription};

fn client(ceiling: Option<&str>, grant_types: &[GrantType]) -> Client {
    Client {
        id: ClientId::parse("WEB").unwrap(),
        generation: 0,
        secret: None,
        retired_secret: None,
        created_at: Timestamp::from_seconds(0),
        expires_at: None,
        profile: ClientProfile {
            grant_types: grant_types.to_vec(),
            scope: ceiling.map(|ceiling| Scope::parse(ceiling).unwrap()),
            ..ClientProfile::new(ClientOrigin::Operator)
        },
    }
}

/// A resource with scopes in the order given, or one that nobody registered.
fn resource(uri: &str, tokens: Option<&[&str]>) -> Resolved {
    let resource = Resource::parse(uri).unwrap();
    let record = tokens.map(|tokens| {
        Arc::new(ResourceRecord {
            resource: resource.clone(),
            name: "A resource".to_owned(),
            scopes: tokens
                .iter()
                .map(|token| ScopeDescription::new(ScopeToken::parse(token).unwrap(), "May do it"))
                .collect(),
            access_token_format: crate::record::AccessTokenFormat::Opaque,
            created_at: Timestamp::from_seconds(0),
        })
    });
    (resource, record)
}

fn r1() -> Resolved {
    resource("https://rs1.test/mcp", Some(&["mcp:read", "mcp:write", "admin"]))
}

fn r2() -> Resolved {
    resource("https://rs2.test/mcp", Some(&["tasks:run", "mcp:read"]))
}

fn narrowed(client: &Client, asked: &str, resources: Vec<Resolved>) -> Result<Vec<String>, Reason> {
    narrow(client, &Scope::parse(asked).unwrap(), resources)
        .map(|pending| pending.iter().map(|one| one.asked.scope.to_string()).collect())
}

const BOTH: &[GrantType] = &[GrantType::AuthorizationCode, GrantType::RefreshToken];

/// M §6.4 trap 6; RFC 6749 §3.3
#[test]
fn scope_is_narrowed_silently_and_refused_only_when_nothing_is_left() {
    let free = client(None, BOTH);
    for (asked, left) in [
        ("mcp:read", Ok("mcp:read")),
        ("mcp:read no-such", Ok("mcp:read")),
        ("mcp:read admin mcp:write", Ok("admin mcp:read mcp:write")),
        ("no-such", Err(Reason::Scope)),
        // SC-08
        ("MCP:READ", Err(Reason::Scope)),
        ("no-such offline_access", Err(Reason::Scope)),
    ] {
        let left = left.map(|left| vec![left.to_owned()]);
        assert_eq!(narrowed(&free, asked, vec![r1()]), left, "{asked}");
    }
}

/// SC-06
#[test]
fn no_scope_means_the_first_one_that_the_client_may_have_and_never_all() {
    for (ceiling, left) in [
        (None, Ok("mcp:read")),
        (Some("admin mcp:read"), Ok("mcp:read")),
        (Some("mcp:write"), Ok("mcp:write")),
        (Some("tasks:run"), Err(Reason::Scope)),
    ] {
        let left = left.map(|left| vec![left.to_owned()]);
        assert_eq!(
            narrowed(&client(ceiling, BOTH), "", vec![r1()]),
            left,
            "{ceiling:?}"
        );
    }
    let scopeless = resource("https://rs3.test/mcp", Some(&[]));
    assert_eq!(
        narrowed(&client(None, BOTH), "", vec![scopeless]),
        Ok(vec![String::new()])
    );
}

#[test]
fn a_ceiling_is_never_passed() {
    let below = client(Some("mcp:read"), BOTH);
    assert_eq!(
        narrowed(&below, "mcp:read mcp:write", vec![r1()]),
        Ok(vec!["mcp:read".to_owned()])
    );
    assert_eq!(narrowed(&below, "mcp:write", vec![r1()]), Err(Reason::Scope));
    let unregistered = resource("http://127.0.0.1:9/mcp", None);
    assert_eq!(
        narrowed(&below, "mcp:read x", vec![unregistered]),
        Ok(vec!["mcp:read".to_owned()])
    );
}

/// M-116
#[test]
fn offline_access_belongs_to_no_resource_and_to_clients_that_may_refresh() {
    assert_eq!(
        narrowed(&client(None, BOTH), "offline_access", vec![r1()]),
        Ok(vec!["mcp:read offline_access".to_owned()])
    );
    assert_eq!(
        narrowed(
            &client(Some("mcp:read"), BOTH),
            "mcp:read offline_access",
            vec![r1()]
        ),
        Ok(vec!["mcp:read offline_access".to_owned()])
    );
    let online = client(None, &[GrantType::AuthorizationCode]);
    assert_eq!(
        narrowed(&online, "mcp:read offline_access", vec![r1()]),
        Ok(vec!["mcp:read".to_owned()])
    );
}

#[test]
fn each_resource_gets_of_the_scope_what_it_knows_and_falls_away_when_that_is_nothing() {
    let free = client(None, BOTH);
    assert_eq!(
        narrowed(&free, "mcp:read tasks:run", vec![r1(), r2()]),
        Ok(vec!["mcp:read".to_owned(), "mcp:read tasks:run".to_owned()])
    );
    assert_eq!(
        narrowed(&free, "mcp:write", vec![r1(), r2()]),
        Ok(vec!["mcp:write".to_owned()])
    );
    assert_eq!(
        narrowed(&free, "", vec![r1(), r2()]),
        Ok(vec!["mcp:read".to_owned(), "tasks:run".to_owned()])
    );
}

/// AU-09
#[test]
fn at_most_eight_resources_are_asked_for_repetitions_folded() {
    let query = |count: usize| {
        let one = |number| format!("resource=https://rs{number}.test/mcp&");
        (0..count).map(one).collect::<Vec<_>>().concat()
    };
    let read = |text: &str| {
        read_resources(&Form::parse(text.as_bytes()).unwrap(), false).map(|resources| resources.len())
    };
    assert_eq!(read(""), Ok(0));
    assert_eq!(read(&query(8)), Ok(8));
    assert_eq!(read(&(query(8) + "resource=HTTPS://RS1.test:443/mcp")), Ok(8));
    assert_eq!(read(&query(9)), Err(Reason::Resource));
    assert_eq!(read("resource=rs1.test"), Err(Reason::Resource));
    assert_eq!(read("resource=https://a.test/%2523f"), Ok(1));
    assert_eq!(read("resource=https://a.test/%23f"), Err(Reason::Resource));
}

/// M §6.4 trap 15
#[test]
fn an_audience_stands_for_a_resource_only_by_the_switch_and_where_there_is_none() {
    let read = |text: &str, accept: bool| {
        let resources = read_resources(&Form::parse(text.as_bytes()).unwrap(), accept).unwrap();
        resources
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(" ")
    };
    let audience = "audience=https%3A%2F%2Frs1.test%2Fmcp";
    assert_eq!(read(audience, false), "");
    assert_eq!(read(audience, true), "https://rs1.test/mcp");
    assert_eq!(
        read(&format!("{audience}&resource=https://rs2.test/mcp"), true),
        "https://rs2.test/mcp"
    );
}

/// AZ-14
#[test]
fn none_goes_with_no_other_prompt() {
    assert_eq!(read_prompt(None), Ok(vec![]));
    assert_eq!(read_prompt(Some("none")), Ok(vec![Prompt::None]));
    assert_eq!(
        read_prompt(Some("login consent select_account")),
        Ok(vec![Prompt::Login, Prompt::Consent, Prompt::SelectAccount])
    );
    for bad in [
        "none login",
        "consent none",
        "Login",
        "create",
        " ",
        "login  consent",
    ] {
        assert_eq!(read_prompt(Some(bad)), Err(Reason::Prompt), "{bad:?}");
    }
}

#[test]
fn each_reason_has_its_code_and_fixed_words() {
    use ErrorCode as Code;
    use Reason as No;
    for (reason, code) in [
        (No::Repeated, Code::InvalidRequest),
        (No::NoResponseType, Code::InvalidRequest),
        (No::ResponseType, Code::UnsupportedResponseType),
        (No::ResponseMode, Code::InvalidRequest),
        (No::RequestObject, Code::RequestNotSupported),
        (No::RequestUri, Code::RequestUriNotSupported),
        (No::GrantNotAllowed, Code::UnauthorizedClient),
        (No::NoChallenge, Code::InvalidRequest),
        (No::ChallengeMethod, Code::InvalidRequest),
        (No::Challenge, Code::InvalidRequest),
        (No::Prompt, Code::InvalidRequest),
        (No::MaxAge, Code::InvalidRequest),
        (No::State, Code::InvalidRequest),
        (No::Scope, Code::InvalidScope),
        (No::Resource, Code::InvalidTarget),
        (No::ConsentRequired, Code::ConsentRequired),
    ] {
        assert_eq!(reason.code(), code, "{reason}");
        // RFC 6749 Appendix A.8
        let plain = |b: u8| matches!(b, 0x20..=0x21 | 0x23..=0x5b | 0x5d..=0x7e);
        assert!(reason.description().bytes().all(plain), "{reason}");
    }
}
