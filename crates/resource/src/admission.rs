//! Whether a token that its issuer calls good is good *here*: the claim checks, in order.

use mcp_authflow_types::{Issuer, Scope, Timestamp};

use crate::{audience::AudienceRule, refusal::Refusal, verify::VerifiedToken};

/// What a token must fit.
#[derive(Clone, Debug)]
pub(crate) struct Expected {
    /// Our spellings of ourselves.
    pub(crate) audiences: Vec<String>,
    /// Which audiences are one of them.
    pub(crate) audience_rule: AudienceRule,
    /// The issuers that we trust.
    pub(crate) issuers: Vec<Issuer>,
    /// What every request to this route needs.
    pub(crate) scope: Scope,
}

/// Judges the facts; the audience by which the token is let in.
pub(crate) fn decide<'a>(
    expected: &Expected,
    token: &'a VerifiedToken,
    now: Timestamp,
) -> Result<&'a str, Refusal> {
    // 1. RFC 7519 §4.1.1: the issuer is one that we know, when the answer names one. Bytes, not URLs.
    let is_known = |said: &String| expected.issuers.iter().any(|issuer| issuer.as_str() == said);
    if !token.issuer.as_ref().is_none_or(is_known) {
        return Err(Refusal::OtherIssuer);
    }
    // 2. RFC 8707 §2, M-123: the token is meant for us, in a spelling of ours. A token for nobody in particular is one
    //    for anybody's server, and so not for ours.
    let audience = expected
        .audience_rule
        .matched(&expected.audiences, &token.audience)
        .ok_or(Refusal::OtherAudience)?;
    // 3. RFC 7519 §4.1.4, §4.1.5: now is within its life.
    if token.has_expired(now) {
        return Err(Refusal::Expired);
    }
    if token.is_not_yet_valid(now) {
        return Err(Refusal::NotYetValid);
    }
    // 4. RFC 9449 §7.1, RFC 8705 §3: a token bound to a key is worthless to a thief only if it is refused without proof.
    let is_bearer = |name: &String| name.eq_ignore_ascii_case("Bearer");
    if token.is_sender_constrained || !token.token_type.as_ref().is_none_or(is_bearer) {
        return Err(Refusal::NotABearerToken);
    }
    // 5. RFC 6750 §3.1: last, because its answer says what a good token lacks.
    if !token.scope.covers(&expected.scope) {
        return Err(Refusal::InsufficientScope);
    }
    Ok(audience)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use std::time::Duration;

    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);

    fn expected() -> Expected {
        Expected {
            audiences: vec!["https://rs.test/mcp".to_owned()],
            audience_rule: AudienceRule::default(),
            issuers: vec![Issuer::parse("https://auth.test").unwrap()],
            scope: Scope::parse("read write").unwrap(),
        }
    }

    fn good() -> VerifiedToken {
        VerifiedToken {
            audience: vec!["https://rs.test/mcp".to_owned()],
            issuer: Some("https://auth.test".to_owned()),
            scope: Scope::parse("admin read write").unwrap(),
            expires_at: Some(NOW + Duration::from_secs(60)),
            token_type: Some("Bearer".to_owned()),
            ..VerifiedToken::default()
        }
    }

    fn judge(change: impl FnOnce(&mut VerifiedToken)) -> Result<(), Refusal> {
        let mut token = good();
        change(&mut token);
        decide(&expected(), &token, NOW).map(|audience| assert_eq!(audience, "https://rs.test/mcp"))
    }

    #[test]
    fn a_token_that_fits_is_let_in() {
        assert_eq!(judge(|_| {}), Ok(()));
        assert_eq!(
            judge(|token| token.audience.insert(0, "https://other.test".to_owned())),
            Ok(())
        );
        assert_eq!(
            judge(|token| token.token_type = Some("bearer".to_owned())),
            Ok(())
        );
        let says_little = judge(|token| {
            token.issuer = None;
            token.expires_at = None;
            token.token_type = None;
        });
        assert_eq!(says_little, Ok(()));
    }

    /// M-123: nothing but our own spelling, not even an equivalent one.
    #[test]
    fn a_token_for_another_audience_is_refused() {
        for other in [
            "https://rs.test/mcp/",
            "https://rs.test",
            "https://rs.test/",
            "https://rs.test/mcp/sub",
            "https://rs.test/mc",
            "https://rs.test:8443/mcp",
            "https://rs.test:443/mcp",
            "http://rs.test/mcp",
            "https://RS.test/mcp",
            "https://auth.test",
            "",
        ] {
            let outcome = judge(|token| token.audience = vec![other.to_owned()]);
            assert_eq!(outcome, Err(Refusal::OtherAudience), "{other}");
        }
        assert_eq!(judge(|token| token.audience.clear()), Err(Refusal::OtherAudience));
    }

    /// M-020
    #[test]
    fn a_token_of_another_issuer_is_refused() {
        for other in ["https://auth.test/", "https://AUTH.test", ""] {
            let outcome = judge(|token| token.issuer = Some(other.to_owned()));
            assert_eq!(outcome, Err(Refusal::OtherIssuer), "{other}");
        }
    }

    /// RFC 7519 §4.1.4, §4.1.5
    #[test]
    fn a_token_lives_between_its_two_times_give_or_take_half_a_minute() {
        let at = |seconds| Some(Timestamp::from_seconds(NOW.seconds() + seconds));
        assert_eq!(judge(|token| token.expires_at = at(-29)), Ok(()));
        assert_eq!(judge(|token| token.expires_at = at(-30)), Err(Refusal::Expired));
        assert_eq!(judge(|token| token.not_before = at(30)), Ok(()));
        assert_eq!(
            judge(|token| token.not_before = at(31)),
            Err(Refusal::NotYetValid)
        );
        let end_of_time = Some(Timestamp::from_seconds(i64::MIN));
        assert_eq!(
            judge(|token| token.expires_at = end_of_time),
            Err(Refusal::Expired)
        );
    }

    /// RFC 9449 §7.1
    #[test]
    fn a_token_bound_to_a_key_is_no_bearer_token() {
        for other in ["DPoP", "N_A", "mac", ""] {
            let outcome = judge(|token| token.token_type = Some(other.to_owned()));
            assert_eq!(outcome, Err(Refusal::NotABearerToken), "{other}");
        }
        assert_eq!(
            judge(|token| token.is_sender_constrained = true),
            Err(Refusal::NotABearerToken)
        );
    }

    /// M-024: all of them are needed, and case matters.
    #[test]
    fn a_token_without_one_of_the_scopes_is_refused() {
        for scope in ["", "read", "write", "READ WRITE", "read write:all"] {
            let outcome = judge(|token| token.scope = Scope::parse(scope).unwrap());
            assert_eq!(outcome, Err(Refusal::InsufficientScope), "{scope}");
        }
    }
}
