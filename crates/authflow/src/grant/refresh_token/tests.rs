#![allow(clippy::unwrap_used, reason = "a test may panic")]

use super::{
    super::sample::{NOW, R1, R2, authenticated, client, grant, in_seconds, resource, scope},
    *,
};
use crate::record::{Client, RefreshTokenRecord};

/// Everything that a decision rests on.
struct Case {
    found: RefreshTokenWithGrant,
    client: Client,
    params: Params,
    now: Timestamp,
}

/// What a decision comes to: resource, scope of the access token, scope said, and whether the resource is gone.
type Said = (String, String, String, bool);

fn judge(change: impl FnOnce(&mut Case)) -> Result<Said, Reason> {
    let token = RefreshToken::mint(&[3; 32], in_seconds(90 * 86_400));
    let mut case = Case {
        found: RefreshTokenWithGrant {
            token: RefreshTokenRecord {
                hash: token.hash(),
                bucket: token.bucket(),
                grant: grant().grant.id,
                issued_at: NOW,
                expires_at: in_seconds(14 * 86_400),
            },
            spent_at: None,
            grant: grant(),
        },
        client: client(),
        params: Params {
            refresh_token: Spelled::Ours(token),
            scope: Ok(None),
            resource: Ok(None),
        },
        now: NOW,
    };
    change(&mut case);
    let client = authenticated(case.client);
    decide(&case.found, &client, &case.params, case.now).map(|plan| {
        (
            plan.granted.resource.to_string(),
            plan.access_scope.to_string(),
            plan.said_scope.to_string(),
            plan.resource_is_gone,
        )
    })
}

fn said(resource: &str, access: &str, said: &str) -> Said {
    (resource.to_owned(), access.to_owned(), said.to_owned(), false)
}

/// RFC 6749 §6: "if omitted is treated as equal to the scope originally granted".
#[test]
fn an_exchange_gives_what_was_granted() {
    assert_eq!(
        judge(|_| {}),
        Ok(said(
            R1,
            "mcp:read mcp:write",
            "mcp:read mcp:write offline_access"
        ))
    );
    assert_eq!(
        judge(|case| case.params.resource = Ok(Some(resource(R2)))),
        Ok(said(R2, "tasks:run", "offline_access tasks:run"))
    );
}

#[test]
fn an_exchange_may_ask_for_less() {
    for (asked, expected) in [
        ("mcp:read", Ok(said(R1, "mcp:read", "mcp:read"))),
        (
            "offline_access mcp:write",
            Ok(said(R1, "mcp:write", "mcp:write offline_access")),
        ),
        // What belongs to another resource of the grant is asked for there.
        ("mcp:read tasks:run", Ok(said(R1, "mcp:read", "mcp:read"))),
        ("tasks:run", Err(Reason::WiderScope)),
        ("offline_access", Err(Reason::WiderScope)),
    ] {
        let narrowed = judge(|case| case.params.scope = Ok(Some(scope(asked))));
        assert_eq!(narrowed, expected, "{asked}");
    }
}

type Change = fn(&mut Case);

/// What breaks one binding each, or asks for too much.
const BINDINGS: &[(Change, Reason)] = &[
    (
        |case| case.client.id = mcp_authflow_types::ClientId::parse("EVIL").unwrap(),
        Reason::NotYours,
    ),
    (
        |case| case.client.profile.grant_types = vec![GrantType::AuthorizationCode],
        Reason::GrantNotAllowed,
    ),
    (|case| case.found.grant.standing = Standing::Ended, Reason::Ended),
    (|case| case.found.grant.grant.expires_at = NOW, Reason::Expired),
    (|case| case.params.resource = Err(()), Reason::WrongResource),
    (
        |case| case.params.resource = Ok(Some(resource("https://rs3.test/mcp"))),
        Reason::WrongResource,
    ),
    (|case| case.params.scope = Err(()), Reason::WiderScope),
    // RT-08
    (
        |case| case.params.scope = Ok(Some(scope("mcp:read admin"))),
        Reason::WiderScope,
    ),
    (
        |case| case.params.scope = Ok(Some(scope("mcp:read openid"))),
        Reason::WiderScope,
    ),
    (
        |case| case.params.scope = Ok(Some(scope("*"))),
        Reason::WiderScope,
    ),
];

#[test]
fn each_broken_binding_is_refused_for_itself() {
    for (change, reason) in BINDINGS {
        assert_eq!(judge(*change), Err(*reason));
    }
}

/// P5: near-misses never kill an honest family, for the store is not asked about them.
#[test]
fn the_store_is_asked_about_a_spent_token_only_when_every_binding_holds() {
    for (change, reason) in BINDINGS {
        let judged = judge(|case| {
            case.found.spent_at = Some(NOW);
            change(case);
        });
        assert_eq!(judged, Err(*reason));
    }
}

/// RT-19: the node's clock has no say in it, though it is far off, and the token's own expiry has none either.
#[test]
fn the_store_is_asked_about_a_spent_token_whatever_the_time() {
    for elapsed in [-3_600, -31, 0, 29, 30, 31, 14 * 86_400, 89 * 86_400] {
        let judged = judge(|case| {
            case.found.spent_at = Some(NOW);
            case.now = in_seconds(elapsed);
        });
        assert_eq!(judged, judge(|_| {}), "{elapsed}");
    }
}

/// AU-12
#[test]
fn an_exchange_is_for_what_is_still_registered() {
    let gone = |asked: Option<&str>| {
        judge(|case| {
            case.found.grant.gone = vec![resource(R1)];
            case.params.resource = Ok(asked.map(resource));
        })
    };
    assert_eq!(gone(Some(R1)), Err(Reason::ResourceGone));
    assert_eq!(gone(None), Err(Reason::ResourceGone), "no other takes its place");
    assert_eq!(
        gone(Some(R2)),
        Ok(said(R2, "tasks:run", "offline_access tasks:run"))
    );
    // Of a spent one the store is asked all the same, for reuse stays reuse.
    let spent = judge(|case| {
        case.found.spent_at = Some(NOW);
        case.found.grant.gone = vec![resource(R1)];
    });
    assert_eq!(spent.map(|(.., is_gone)| is_gone), Ok(true));
}

#[test]
fn an_unspent_token_is_refused_from_the_second_it_expires() {
    let end = 14 * 86_400;
    assert!(judge(|case| case.now = in_seconds(end - 1)).is_ok());
    assert_eq!(judge(|case| case.now = in_seconds(end)), Err(Reason::Expired));
}

/// SC-09: many clients ask for everything that metadata list.
#[test]
fn a_scope_is_read_as_long_as_a_request_may_spell_it() {
    let read = |tokens: usize| {
        let body = format!("refresh_token=x&scope={}", vec!["mcp:read"; tokens].join("+"));
        Params::read(&Form::parse(body.as_bytes()).unwrap())
            .unwrap()
            .scope
    };
    assert_eq!(read(Scope::MAX_TOKENS + 1), Ok(Some(scope("mcp:read"))));
    assert_eq!(read(Scope::MAX_ASKED_BYTES), Err(()));
}

#[test]
fn each_reason_has_its_code() {
    use Reason as No;
    for reason in [
        No::Unknown,
        No::NotYours,
        No::Expired,
        No::Ended,
        No::Reused,
        No::AnotherRequest,
    ] {
        assert_eq!(reason.code(), ErrorCode::InvalidGrant, "{reason}");
    }
    assert_eq!(No::GrantNotAllowed.code(), ErrorCode::UnauthorizedClient);
    assert_eq!(No::WiderScope.code(), ErrorCode::InvalidScope);
    assert_eq!(No::WrongResource.code(), ErrorCode::InvalidTarget);
    assert_eq!(No::ResourceGone.code(), ErrorCode::InvalidTarget);
}

#[test]
fn a_sealed_answer_opens_with_the_same_token_for_the_same_request_alone() {
    let (token, other) = (
        RefreshToken::mint(&[3; 32], in_seconds(90)),
        RefreshToken::mint(&[4; 32], in_seconds(90)),
    );
    let access_token = AccessToken::mint(&[5; 32], in_seconds(600));
    let minted = Minted {
        tokens: crate::port::store::NewTokens {
            access_token: crate::record::AccessTokenRecord {
                hash: access_token.hash(),
                bucket: access_token.bucket(),
                grant: None,
                client_id: client().id,
                client_generation: 0,
                subject: "u_alice".to_owned(),
                resource: resource(R1),
                scope: scope("mcp:read"),
                issued_at: NOW,
                expires_at: in_seconds(600),
            },
            refresh_token: None,
            address: None,
        },
        response: TokenResponse {
            access_token: access_token.clone(),
            expires_in: 600,
            refresh_token: Some(other.clone()),
            scope: scope("mcp:read"),
        },
        access_expires_at: in_seconds(600),
    };
    let sealed = seal(token.expose(), [9; 12], b"context", &minted);
    let shown = String::from_utf8_lossy(&sealed).into_owned();
    assert!(!shown.contains(access_token.expose()) && !shown.contains(other.expose()));

    let again = open(token.expose(), b"context", &sealed, in_seconds(7)).unwrap();
    assert_eq!(again.access_token.expose(), access_token.expose());
    assert_eq!(again.refresh_token.unwrap().expose(), other.expose());
    assert_eq!((again.expires_in, again.scope), (593, scope("mcp:read")));
    assert!(open(other.expose(), b"context", &sealed, NOW).is_none());
    assert!(open(token.expose(), b"other", &sealed, NOW).is_none());
    assert!(open(token.expose(), b"context", &sealed[1..], NOW).is_none());
}
