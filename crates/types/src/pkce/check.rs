//! PKCE for servers of your own: one decision, and the questions before it.

use super::{CodeChallenge, CodeVerifier, InvalidCodeChallenge};

/// How a challenge is made of its verifier (RFC 7636 §4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
pub enum Method {
    /// Its SHA-256.
    S256,
    /// The verifier itself, for clients that cannot hash.
    #[serde(rename = "plain")]
    Plain,
}

/// Which methods count.
///
/// # Security
/// With `plain` the challenge that crosses the browser is the verifier: who reads it there redeems the code. OAuth 2.1
/// and MCP want S256 only, and so does the default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MethodPolicy {
    /// S256 and nothing else.
    #[default]
    S256Only,
    /// `plain` as well, when the client says so; a method left out is never taken for it.
    DangerousAllowPlain,
}

/// What a client promised, by either method.
#[derive(Clone)]
pub enum Challenge {
    /// The digest of the verifier.
    S256(CodeChallenge),
    /// The digest of the text that is to come again: kept as one, it gives nothing away at rest.
    Plain(CodeChallenge),
}

/// Why a challenge is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RefusedChallenge {
    /// The method is unknown, left out, or not allowed by the policy.
    #[error("the code challenge method is not one of those allowed")]
    Method,
    /// The challenge is not one of its method.
    #[error("the code challenge is malformed for its method")]
    Challenge,
}

impl Method {
    /// Both methods.
    pub const ALL: &'static [Self] = &[Self::S256, Self::Plain];

    /// The registered spelling.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::S256 => "S256",
            Self::Plain => "plain",
        }
    }
}

impl MethodPolicy {
    /// The methods that count.
    pub const fn methods(self) -> &'static [Method] {
        match self {
            Self::S256Only => &[Method::S256],
            Self::DangerousAllowPlain => Method::ALL,
        }
    }

    /// The method of that exact spelling, when it counts. `None`, a method left out, never does.
    pub fn admit(self, method: Option<&str>) -> Option<Method> {
        self.methods()
            .iter()
            .copied()
            .find(|one| Some(one.as_str()) == method)
    }
}

impl Challenge {
    /// Reads what a client sent to the authorization endpoint.
    ///
    /// # Errors
    /// [`RefusedChallenge`]
    pub fn parse(
        challenge: &str,
        method: Option<&str>,
        policy: MethodPolicy,
    ) -> Result<Self, RefusedChallenge> {
        match policy.admit(method).ok_or(RefusedChallenge::Method)? {
            Method::S256 => CodeChallenge::parse_s256(challenge).map(Self::S256),
            // RFC 7636 §4.2: the challenge is a verifier.
            Method::Plain => CodeVerifier::parse(challenge)
                .map(|verifier| Self::Plain(verifier.challenge()))
                .map_err(|_| InvalidCodeChallenge),
        }
        .map_err(|InvalidCodeChallenge| RefusedChallenge::Challenge)
    }

    /// Whether the verifier is the one promised, in constant time (RFC 7636 §4.6).
    pub fn is_answered_by(&self, verifier: &CodeVerifier) -> bool {
        let (Self::S256(digest) | Self::Plain(digest)) = self;
        digest.is_answered_by(verifier)
    }

    /// The digest to keep until the code is redeemed; [`CodeChallenge::is_answered_by`] needs no more, whatever the method.
    pub const fn digest(&self) -> &CodeChallenge {
        let (Self::S256(digest) | Self::Plain(digest)) = self;
        digest
    }
}

/// Whether the verifier answers the challenge (RFC 7636 §4.6). The one decision: a verifier or a challenge that is
/// malformed, and a method that is unknown, left out or not allowed, answer `false` as well.
///
/// The comparison takes the same time wherever the first difference stands.
///
/// ```
/// use mcp_authflow_types::pkce::{MethodPolicy, verify_pkce};
///
/// let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
/// let challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
/// assert!(verify_pkce(verifier, challenge, Some("S256"), MethodPolicy::S256Only));
/// assert!(!verify_pkce(verifier, verifier, Some("plain"), MethodPolicy::S256Only));
/// assert!(verify_pkce(verifier, verifier, Some("plain"), MethodPolicy::DangerousAllowPlain));
/// ```
///
/// # Security
/// A code that was issued without a challenge must refuse a verifier, and one issued with a challenge must demand it, or
/// the check can be left out by whoever holds the code. Keep the challenge beside the code, as this house's store does.
pub fn verify_pkce(verifier: &str, challenge: &str, method: Option<&str>, policy: MethodPolicy) -> bool {
    match (
        CodeVerifier::parse(verifier),
        Challenge::parse(challenge, method, policy),
    ) {
        (Ok(verifier), Ok(challenge)) => challenge.is_answered_by(&verifier),
        _ => false,
    }
}

/// Whether the text is a verifier: 43 to 128 letters, digits, `-`, `.`, `_`, `~` from the first to the last character
/// (RFC 7636 §4.1).
pub fn is_code_verifier(text: &str) -> bool {
    CodeVerifier::parse(text).is_ok()
}

/// Whether the text is a challenge of some method (RFC 7636 §4.2); a challenge looks like a verifier. Where the method is
/// known, [`Challenge::parse`] tells more: one of S256 has exactly 43 characters.
pub fn is_code_challenge(text: &str) -> bool {
    is_code_verifier(text)
}

impl std::fmt::Debug for Challenge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::S256(_) => "Challenge::S256(…)",
            Self::Plain(_) => "Challenge::Plain(…)",
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
    const BOTH: MethodPolicy = MethodPolicy::DangerousAllowPlain;

    /// S-036
    /// S-037
    /// S-043
    /// S-044
    #[test]
    fn s256_counts_by_default_and_plain_when_it_is_allowed_and_named() {
        let strict = MethodPolicy::default();
        assert_eq!(strict.admit(Some("S256")), Some(Method::S256));
        assert_eq!(strict.admit(Some("plain")), None);
        assert_eq!(BOTH.admit(Some("plain")), Some(Method::Plain));
        for unknown in [
            None,
            Some(""),
            Some("s256"),
            Some("PLAIN"),
            Some("S256\n"),
            Some("S256,plain"),
        ] {
            assert_eq!(BOTH.admit(unknown), None, "{unknown:?}");
        }
    }

    /// S-038
    /// S-039
    #[test]
    fn no_line_feed_is_let_through_at_the_end() {
        for text in [format!("{VERIFIER}\n"), format!("{}\n", "a".repeat(128))] {
            assert!(!is_code_verifier(&text) && !is_code_challenge(&text));
        }
        assert!(is_code_verifier(&"a".repeat(43)) && is_code_challenge(&"~".repeat(128)));
    }

    /// S-040
    #[test]
    fn a_challenge_is_read_by_its_method() {
        let long = "a".repeat(44);
        assert!(is_code_challenge(&long));
        assert_eq!(
            Challenge::parse(&long, Some("S256"), BOTH).unwrap_err(),
            RefusedChallenge::Challenge
        );
        assert!(Challenge::parse(&long, Some("plain"), BOTH).is_ok());
        assert_eq!(
            Challenge::parse(&long, Some("plain"), MethodPolicy::S256Only).unwrap_err(),
            RefusedChallenge::Method
        );
    }

    /// S-041
    #[test]
    fn the_verifier_promised_is_told_from_every_other() {
        assert!(verify_pkce(VERIFIER, CHALLENGE, Some("S256"), BOTH));
        assert!(verify_pkce(VERIFIER, VERIFIER, Some("plain"), BOTH));
        let other = "b".repeat(43);
        for (verifier, challenge, method) in [
            (&*other, CHALLENGE, Some("S256")),
            (VERIFIER, VERIFIER, Some("S256")),
            (VERIFIER, CHALLENGE, Some("plain")),
            (VERIFIER, CHALLENGE, None),
            (VERIFIER, "", Some("S256")),
        ] {
            assert!(
                !verify_pkce(verifier, challenge, method, BOTH),
                "{challenge} {method:?}"
            );
        }
    }

    /// S-042
    #[test]
    fn a_verifier_outside_the_rules_never_matches() {
        for weak in ["", "x", "é", &"a".repeat(42), &"a".repeat(129)] {
            let digest = sha2::Digest::finalize(sha2::Digest::chain_update(
                <sha2::Sha256 as sha2::Digest>::new(),
                weak,
            ));
            let challenge = base64::Engine::encode(&base64::prelude::BASE64_URL_SAFE_NO_PAD, digest);
            assert!(!verify_pkce(weak, &challenge, Some("S256"), BOTH), "{weak}");
            assert!(!verify_pkce(weak, weak, Some("plain"), BOTH), "{weak}");
        }
    }

    #[test]
    fn what_is_kept_of_either_method_is_a_digest() {
        let plain = Challenge::parse(VERIFIER, Some("plain"), BOTH).unwrap();
        assert_eq!(
            plain.digest(),
            &CodeVerifier::parse(VERIFIER).unwrap().challenge()
        );
        assert!(
            plain
                .digest()
                .is_answered_by(&CodeVerifier::parse(VERIFIER).unwrap())
        );
        assert_eq!(format!("{plain:?}"), "Challenge::Plain(…)");
    }
}
