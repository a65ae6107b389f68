#![allow(clippy::unwrap_used, reason = "a test may panic")]

use mcp_authflow_types::RedirectUri;

use super::{
    super::sample::{NOW, R1, R2, VERIFIER, authenticated, client, grant, in_seconds, resource},
    *,
};

/// A token request that fits the grant of the samples.
fn params() -> Params {
    Params {
        code: AuthorizationCode::parse(AuthorizationCode::mint(&[2; 32]).expose()).ok(),
        redirect_uri: Some("https://client.example/cb".to_owned()),
        code_verifier: CodeVerifier::parse(VERIFIER).ok(),
        resource: Ok(Some(resource(R1))),
    }
}

/// Everything that a decision rests on.
struct Case {
    found: GrantWithStanding,
    client: crate::record::Client,
    params: Params,
    now: Timestamp,
}

fn judge(change: impl FnOnce(&mut Case)) -> Result<String, Reason> {
    let mut case = Case {
        found: grant(),
        client: client(),
        params: params(),
        now: NOW,
    };
    change(&mut case);
    let client = authenticated(case.client);
    decide(&case.found, &client, &case.params, case.now).map(|granted| granted.resource.to_string())
}

#[test]
fn a_code_is_good_for_any_one_of_its_resources() {
    assert_eq!(judge(|_| {}), Ok(R1.to_owned()));
    assert_eq!(judge(|case| case.params.resource = Ok(None)), Ok(R1.to_owned()));
    assert_eq!(
        judge(|case| case.params.resource = Ok(Some(resource(R2)))),
        Ok(R2.to_owned())
    );
}

type Change = fn(&mut Case);

/// What breaks one binding each.
const BINDINGS: &[(Change, Reason)] = &[
    (
        |case| case.client.id = mcp_authflow_types::ClientId::parse("EVIL").unwrap(),
        Reason::NotYours,
    ),
    (
        |case| case.client.profile.grant_types.clear(),
        Reason::GrantNotAllowed,
    ),
    (|case| case.params.code_verifier = None, Reason::WrongVerifier),
    (
        |case| case.params.code_verifier = CodeVerifier::parse(&"a".repeat(43)).ok(),
        Reason::WrongVerifier,
    ),
    (
        |case| case.params.redirect_uri = Some("https://client.example/cb2".to_owned()),
        Reason::WrongRedirectUri,
    ),
    (
        |case| {
            case.found.grant.code.redirect_uri = None;
            case.params.redirect_uri = Some("https://client.example/cb2".to_owned());
        },
        Reason::WrongRedirectUri,
    ),
    (|case| case.params.resource = Err(()), Reason::WrongResource),
    (
        |case| case.params.resource = Ok(Some(resource("https://rs3.test/mcp"))),
        Reason::WrongResource,
    ),
];

/// M-153
#[test]
fn each_broken_binding_is_refused_for_itself() {
    for (change, reason) in BINDINGS {
        assert_eq!(judge(*change), Err(*reason));
    }
}

/// P5: near-misses never kill an honest family.
#[test]
fn replay_is_judged_only_when_every_binding_holds() {
    assert_eq!(
        judge(|case| case.found.grant.code.redeemed_at = Some(NOW)),
        Err(Reason::Replayed)
    );
    for (change, reason) in BINDINGS {
        let replayed = judge(|case| {
            case.found.grant.code.redeemed_at = Some(NOW);
            change(case);
        });
        assert_eq!(replayed, Err(*reason));
    }
}

/// CO-01: also after the code's own expiry.
#[test]
fn replay_is_recognised_as_long_as_the_grant_is_remembered() {
    let replayed = judge(|case| {
        case.found.grant.code.redeemed_at = Some(NOW);
        case.now = in_seconds(89 * 86_400);
    });
    assert_eq!(replayed, Err(Reason::Replayed));
}

/// CO-05; RFC 6749 §4.1.2
#[test]
fn a_code_is_refused_from_the_second_it_expires() {
    assert!(judge(|case| case.now = in_seconds(59)).is_ok());
    assert_eq!(judge(|case| case.now = in_seconds(60)), Err(Reason::Expired));
    assert_eq!(
        judge(|case| case.found.grant.expires_at = NOW),
        Err(Reason::Expired)
    );
}

/// CO-09
#[test]
fn a_code_is_refused_when_its_grant_no_longer_stands() {
    assert_eq!(
        judge(|case| case.found.standing = Standing::Ended),
        Err(Reason::Ended)
    );
}

/// AU-12
#[test]
fn a_code_is_good_for_what_is_still_registered() {
    let gone = |asked: Option<&str>| {
        judge(|case| {
            case.found.gone = vec![resource(R1)];
            case.params.resource = Ok(asked.map(resource));
        })
    };
    assert_eq!(gone(Some(R1)), Err(Reason::ResourceGone));
    assert_eq!(gone(Some("https://RS1.test/mcp")), Err(Reason::ResourceGone));
    assert_eq!(gone(None), Err(Reason::ResourceGone), "no other takes its place");
    assert_eq!(gone(Some(R2)), Ok(R2.to_owned()));
    let replayed = judge(|case| {
        case.found.gone = vec![resource(R1)];
        case.found.grant.code.redeemed_at = Some(NOW);
    });
    assert_eq!(replayed, Err(Reason::Replayed));
}

/// OAuth 2.1 §4.1.3 no longer asks for it.
#[test]
fn the_redirect_uri_may_be_left_out() {
    assert!(judge(|case| case.params.redirect_uri = None).is_ok());
}

/// RFC 6749 §4.1.3: where none was sent, the code went to the only one there is.
#[test]
fn a_redirect_uri_that_was_not_sent_may_be_named_if_it_is_the_only_one() {
    let named = |registered: &[&str], named: &str| {
        judge(|case| {
            case.found.grant.code.redirect_uri = None;
            let registered = registered.iter().map(|uri| RedirectUri::parse(uri).unwrap());
            case.client.profile.redirect_uris = registered.collect();
            case.params.redirect_uri = Some(named.to_owned());
        })
    };
    let (here, there) = ("https://client.example/cb", "https://client.example/cb2");
    let (loopback, at_a_port) = ("http://127.0.0.1/cb", "http://127.0.0.1:5000/cb");
    let wrong = || Err(Reason::WrongRedirectUri);
    assert_eq!(named(&[here], here), Ok(R1.to_owned()));
    assert_eq!(named(&[here], there), wrong());
    assert_eq!(
        named(&[here, there], here),
        wrong(),
        "there is none to fall back on"
    );
    assert_eq!(named(&[], here), wrong());
    assert_eq!(named(&[loopback], loopback), Ok(R1.to_owned()));
    assert_eq!(named(&[loopback], at_a_port), wrong(), "the code went elsewhere");
}

/// TI-03
#[test]
fn what_a_stranger_can_learn_is_the_same_for_every_reason() {
    use Reason as No;
    for reason in [
        No::Unknown,
        No::NotYours,
        No::WrongVerifier,
        No::WrongRedirectUri,
        No::Replayed,
        No::Expired,
        No::Ended,
    ] {
        assert_eq!(reason.code(), ErrorCode::InvalidGrant, "{reason}");
    }
    assert_eq!(No::GrantNotAllowed.code(), ErrorCode::UnauthorizedClient);
    assert_eq!(No::WrongResource.code(), ErrorCode::InvalidTarget);
    assert_eq!(No::ResourceGone.code(), ErrorCode::InvalidTarget);
}
