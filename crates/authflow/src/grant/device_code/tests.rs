#![allow(clippy::unwrap_used, reason = "a test may panic")]

use super::{
    super::sample::{NOW, R1, R2, authenticated, client, grant, in_seconds, resource},
    *,
};
use crate::record::Client;

/// Everything that a decision rests on.
struct Case {
    found: GrantWithStanding,
    client: Client,
    params: Params,
    now: Timestamp,
}

fn judge(change: impl FnOnce(&mut Case)) -> Result<String, Reason> {
    let mut found = grant();
    found.grant.code.code_challenge = None;
    found.grant.code.redirect_uri = None;
    found.grant.code.expires_at = in_seconds(600);
    let mut case = Case {
        found,
        client: client(),
        params: Params {
            device_code: None,
            resource: Ok(None),
        },
        now: NOW,
    };
    change(&mut case);
    let client = authenticated(case.client);
    decide(&case.found, &client, &case.params, case.now).map(|granted| granted.resource.to_string())
}

#[test]
fn an_approved_code_is_good_for_a_resource_that_was_approved() {
    assert_eq!(judge(|_| {}), Ok(R1.to_owned()));
    let second = judge(|case| case.params.resource = Ok(Some(resource(R2))));
    assert_eq!(second, Ok(R2.to_owned()));
    let other = judge(|case| case.params.resource = Ok(Some(resource("https://rs3.test/mcp"))));
    assert_eq!(other, Err(Reason::WrongResource));
    assert_eq!(
        judge(|case| case.params.resource = Err(())),
        Err(Reason::WrongResource)
    );
    let gone = judge(|case| case.found.gone = vec![resource(R1)]);
    assert_eq!(gone, Err(Reason::ResourceGone));
}

/// DV-06
#[test]
fn a_code_of_another_client_is_as_good_as_none() {
    let other = judge(|case| case.client.id = mcp_authflow_types::ClientId::parse("PUB2").unwrap());
    assert_eq!(other, Err(Reason::Unknown));
}

/// An authorization code is no device code, whatever it is presented as.
#[test]
fn a_code_with_a_challenge_is_no_device_code() {
    let code = judge(|case| case.found.grant.code.code_challenge = grant().grant.code.code_challenge);
    assert_eq!(code, Err(Reason::Unknown));
}

/// S-096; DV-08
#[test]
fn a_code_is_taken_once() {
    assert_eq!(
        judge(|case| case.found.grant.code.redeemed_at = Some(NOW)),
        Err(Reason::Taken)
    );
}

/// S-090; DV-04
#[test]
fn an_approved_code_expires_all_the_same() {
    assert_eq!(judge(|case| case.now = in_seconds(599)), Ok(R1.to_owned()));
    assert_eq!(judge(|case| case.now = in_seconds(600)), Err(Reason::Expired));
    assert_eq!(
        judge(|case| case.found.standing = Standing::Ended),
        Err(Reason::Ended)
    );
}

/// DV-02, DV-05; RFC 8628 §3.5
#[test]
fn every_reason_is_a_400_with_the_code_of_its_rfc() {
    let answer = |reason: Reason| {
        let response = reason.response();
        (response.code.as_str(), response.status(), response.retry_after)
    };
    let interval = std::time::Duration::from_secs(10);
    assert_eq!(answer(Reason::Pending), ("authorization_pending", 400, None));
    assert_eq!(
        answer(Reason::TooOften { interval }),
        ("slow_down", 400, Some(interval))
    );
    assert_eq!(answer(Reason::Denied), ("access_denied", 400, None));
    assert_eq!(answer(Reason::Expired), ("expired_token", 400, None));
    for reason in [Reason::Unknown, Reason::Taken, Reason::Ended] {
        assert_eq!(answer(reason), ("invalid_grant", 400, None));
    }
}
