//! Proof Key for Code Exchange (RFC 7636).
//!
//! [`CodeChallenge`] and [`CodeVerifier`] are the server's words: S256 and nothing else. [`verify_pkce`], [`Challenge`] and
//! the questions beside them are the part for servers of your own; they know `plain` too, behind a
//! [policy](MethodPolicy) that leaves it out by default.

mod check;

use base64::Engine as _;
use sha2::Digest as _;
use subtle::ConstantTimeEq as _;

pub use self::check::{
    Challenge, Method, MethodPolicy, RefusedChallenge, is_code_challenge, is_code_verifier, verify_pkce,
};

/// What the client promises at the authorization endpoint: SHA-256 of its verifier (RFC 7636 §4.2).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct CodeChallenge([u8; 32]);

/// What the client shows at the token endpoint: 43 to 128 unreserved characters (RFC 7636 §4.1).
#[derive(zeroize::ZeroizeOnDrop)]
pub struct CodeVerifier(String);

/// The text is not 43 base64url characters that stand for a SHA-256 digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an S256 code challenge is a SHA-256 digest in 43 base64url characters")]
pub struct InvalidCodeChallenge;

/// The text is not 43 to 128 characters of letters, digits, `-`, `.`, `_`, `~`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a code verifier is 43 to 128 letters, digits, '-', '.', '_' or '~'")]
pub struct InvalidCodeVerifier;

impl CodeChallenge {
    /// Reads an S256 challenge.
    ///
    /// # Errors
    /// [`InvalidCodeChallenge`]
    pub fn parse_s256(text: &str) -> Result<Self, InvalidCodeChallenge> {
        let mut digest = [0; 32];
        match base64::prelude::BASE64_URL_SAFE_NO_PAD.decode_slice(text, &mut digest) {
            Ok(32) => Ok(Self(digest)),
            _ => Err(InvalidCodeChallenge),
        }
    }

    /// Takes a stored digest back.
    pub const fn from_bytes(digest: [u8; 32]) -> Self {
        Self(digest)
    }

    /// The digest, for a store.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The challenge as a client sends it: 43 base64url characters.
    pub fn to_text(self) -> String {
        base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(self.0)
    }

    /// Whether the verifier is the one promised, in constant time (RFC 7636 §4.6).
    pub fn is_answered_by(&self, verifier: &CodeVerifier) -> bool {
        let digest: [u8; 32] = sha2::Sha256::digest(verifier.0.as_bytes()).into();
        self.0.ct_eq(&digest).into()
    }
}

impl std::fmt::Debug for CodeChallenge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CodeChallenge(S256)")
    }
}

impl CodeVerifier {
    /// Reads a verifier.
    ///
    /// # Errors
    /// [`InvalidCodeVerifier`]
    pub fn parse(text: &str) -> Result<Self, InvalidCodeVerifier> {
        let ok = (43..=128).contains(&text.len())
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b));
        if ok {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidCodeVerifier)
        }
    }

    /// The challenge that this verifier answers; what a client sends ahead.
    pub fn challenge(&self) -> CodeChallenge {
        CodeChallenge(sha2::Sha256::digest(self.0.as_bytes()).into())
    }
}

impl std::fmt::Debug for CodeVerifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CodeVerifier(…)")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    /// RFC 7636 Appendix B
    #[test]
    fn the_example_of_the_rfc_holds() {
        let verifier = CodeVerifier::parse("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk").unwrap();
        let challenge = CodeChallenge::parse_s256("E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM").unwrap();
        assert!(challenge.is_answered_by(&verifier));
        assert_eq!(challenge.to_text(), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
        let other = CodeVerifier::parse(&"a".repeat(43)).unwrap();
        assert!(!challenge.is_answered_by(&other));
    }

    #[test]
    fn lengths_and_alphabets_are_those_of_the_rfc() {
        for bad in [
            &"a".repeat(42),
            &"a".repeat(129),
            &format!("{}+", "a".repeat(43)),
            &format!("{}\0", "a".repeat(43)),
        ] {
            assert!(CodeVerifier::parse(bad).is_err());
        }
        for bad in [
            "",
            "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM=",
            &"a".repeat(42),
            &"+".repeat(43),
            &"a".repeat(44),
        ] {
            assert!(CodeChallenge::parse_s256(bad).is_err(), "{bad}");
        }
        // The last character carries two unused bits, which a strict decoder wants zero.
        assert!(CodeChallenge::parse_s256("E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cN").is_err());
    }
}
