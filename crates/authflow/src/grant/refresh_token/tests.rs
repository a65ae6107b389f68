#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::time::Duration;

use super::{
    super::sample::{NOW, R1, R2, authenticated, client, grant, in_seconds, resource, scope},
    *,
};
use crate::record::{Client, RefreshTokenRecord, Spent};

/// Everything that a decision rests on.
struct Case {
    found: RefreshTokenWithGrant,
    client: Client,
    params: Params,
    lifetimes: Lifetimes,
    now: Timestamp,
}

/// What a decision comes to: resource, scope of the access token, scope said, and whether the answer is a repetition.
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
                spent: None,
            },
            grant: grant(),
            successor_is_spent: false,
        },
        client: client(),
        params: Params {
            refresh_token: Some(token),
            scope: Ok(None),
            resource: Ok(None),
        },
        lifetimes: Lifetimes::default(),
        now: NOW,
    };
    change(&mut case);
    let client = authenticated(case.client);
    decide(&case.found, &client, &case.params, &case.lifetimes, case.now).map(|plan| {
        (
            plan.granted.resource.to_string(),
            plan.access_scope.to_string(),
            plan.said_scope.to_string(),
            plan.step != Step::Rotate,
        )
    })
}

fn said(resource: &str, access: &str, said: &str) -> Said {
    (resource.to_owned(), access.to_owned(), said.to_owned(), false)
}

fn spend(case: &mut Case) {
    case.found.token.spent = Some(Spent {
        at: NOW,
        successor: RefreshToken::mint(&[4; 32], NOW).hash(),
        sealed: b"sealed".to_vec(),
    });
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

/// P5: near-misses never kill an honest family.
#[test]
fn reuse_is_judged_only_when_every_binding_holds() {
    let reused = |case: &mut Case| {
        spend(case);
        case.found.successor_is_spent = true;
    };
    assert_eq!(judge(reused), Err(Reason::Reused));
    for (change, reason) in BINDINGS {
        let judged = judge(|case| {
            reused(case);
            change(case);
        });
        assert_eq!(judged, Err(*reason));
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
    // What is said again within the window would be dead too; and reuse stays reuse.
    let spent = |successor_is_spent: bool| {
        judge(|case| {
            spend(case);
            case.found.grant.gone = vec![resource(R1)];
            case.found.successor_is_spent = successor_is_spent;
        })
    };
    assert_eq!(spent(false), Err(Reason::ResourceGone));
    assert_eq!(spent(true), Err(Reason::Reused));
}

/// By default 30 s; it ends when the successor is exchanged; 0 is strict.
#[test]
fn the_retry_window_is_as_long_as_it_is_said_to_be() {
    let repeats = |window: u64, elapsed: i64, successor_is_spent: bool| {
        judge(|case| {
            spend(case);
            case.lifetimes.refresh_retry_window = Duration::from_secs(window);
            case.found.successor_is_spent = successor_is_spent;
            case.now = in_seconds(elapsed);
        })
        .map(|(.., repeats)| repeats)
    };
    assert_eq!(repeats(30, 0, false), Ok(true));
    assert_eq!(repeats(30, 29, false), Ok(true));
    assert_eq!(repeats(30, 30, false), Err(Reason::Reused));
    assert_eq!(repeats(30, 1, true), Err(Reason::Reused));
    assert_eq!(repeats(0, 0, false), Err(Reason::Reused));
    // Another node's clock is a second behind.
    assert_eq!(repeats(0, -1, false), Err(Reason::Reused));
    assert_eq!(repeats(30, -1, false), Ok(true));
}

/// RT-19
#[test]
fn reuse_is_recognised_after_the_token_would_have_expired_itself() {
    let late = judge(|case| {
        spend(case);
        case.now = in_seconds(89 * 86_400);
    });
    assert_eq!(late, Err(Reason::Reused));
}

#[test]
fn an_unspent_token_is_refused_from_the_second_it_expires() {
    let end = 14 * 86_400;
    assert!(judge(|case| case.now = in_seconds(end - 1)).is_ok());
    assert_eq!(judge(|case| case.now = in_seconds(end)), Err(Reason::Expired));
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
        },
        response: TokenResponse {
            access_token: access_token.clone(),
            expires_in: 600,
            refresh_token: Some(other.clone()),
            scope: scope("mcp:read"),
        },
        access_expires_at: in_seconds(600),
    };
    let sealed = seal(&token, [9; 12], b"context", &minted);
    let shown = String::from_utf8_lossy(&sealed).into_owned();
    assert!(!shown.contains(access_token.expose()) && !shown.contains(other.expose()));

    let again = open(&token, b"context", &sealed, in_seconds(7)).unwrap();
    assert_eq!(again.access_token.expose(), access_token.expose());
    assert_eq!(again.refresh_token.unwrap().expose(), other.expose());
    assert_eq!((again.expires_in, again.scope), (593, scope("mcp:read")));
    assert!(open(&other, b"context", &sealed, NOW).is_none());
    assert!(open(&token, b"other", &sealed, NOW).is_none());
    assert!(open(&token, b"context", &sealed[1..], NOW).is_none());
}
