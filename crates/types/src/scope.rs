//! Scopes (RFC 6749 §3.3): an ordered set of tokens that can be narrowed and never widened.

mod field;

use std::fmt;

pub use self::field::{InvalidScopeField, scope_field_unchecked};

/// The scope by which a client asks for a refresh token; it belongs to the authorization server and to no resource.
pub const OFFLINE_ACCESS: &str = "offline_access";

/// One scope token: 1 to 128 characters of `0x21`, `0x23..=0x5b`, `0x5d..=0x7e`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ScopeToken(Box<str>);

/// A set of scope tokens, kept in their byte order so that equal sets print alike.
///
/// ```
/// use mcp_authflow_types::Scope;
///
/// let asked = Scope::parse("mcp:write mcp:read admin")?;
/// let allowed = Scope::parse("mcp:read mcp:write")?;
/// assert_eq!(asked.narrow_to(&allowed).to_string(), "mcp:read mcp:write");
/// # Ok::<(), mcp_authflow_types::scope::InvalidScope>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Scope(Vec<ScopeToken>);

/// The text breaks the syntax of RFC 6749 §3.3, or holds more than 64 tokens or a token of over 128 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a scope is at most 64 tokens of at most 128 printable characters without quote and backslash, one space between"
)]
pub struct InvalidScope;

impl ScopeToken {
    /// Takes the text as one token.
    ///
    /// # Errors
    /// [`InvalidScope`]
    pub fn parse(text: &str) -> Result<Self, InvalidScope> {
        let ok = !text.is_empty()
            && text.len() <= 128
            && text
                .bytes()
                .all(|b| matches!(b, 0x21 | 0x23..=0x5b | 0x5d..=0x7e));
        if ok {
            Ok(Self(text.into()))
        } else {
            Err(InvalidScope)
        }
    }

    /// The token as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ScopeToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ScopeToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl Scope {
    /// The most tokens a scope may hold that an operator writes down.
    pub const MAX_TOKENS: usize = 64;
    /// The longest scope a request may ask for, in bytes. Many clients ask for everything that metadata list, so this is
    /// wider than what can be granted; narrowing comes next.
    pub const MAX_ASKED_BYTES: usize = 8_192;

    /// The scope that allows nothing.
    pub const fn empty() -> Self {
        Self(Vec::new())
    }

    /// Reads a scope: tokens with one space between, repetitions folded. The empty text is the empty scope.
    ///
    /// # Errors
    /// [`InvalidScope`]
    pub fn parse(text: &str) -> Result<Self, InvalidScope> {
        Self::parse_bounded(text, Self::MAX_TOKENS)
    }

    /// Reads what a request asks for: of any number of tokens in [`MAX_ASKED_BYTES`](Self::MAX_ASKED_BYTES). To be
    /// narrowed before anything is kept of it.
    ///
    /// # Errors
    /// [`InvalidScope`]
    pub fn parse_asked(text: &str) -> Result<Self, InvalidScope> {
        if text.len() > Self::MAX_ASKED_BYTES {
            return Err(InvalidScope);
        }
        Self::parse_bounded(text, usize::MAX)
    }

    fn parse_bounded(text: &str, max_tokens: usize) -> Result<Self, InvalidScope> {
        if text.is_empty() {
            return Ok(Self::empty());
        }
        let mut tokens = Vec::new();
        for (index, token) in text.split(' ').enumerate() {
            if index >= max_tokens {
                return Err(InvalidScope);
            }
            tokens.push(ScopeToken::parse(token)?);
        }
        Ok(tokens.into_iter().collect())
    }

    /// Whether nothing is allowed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The tokens in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &ScopeToken> {
        self.0.iter()
    }

    /// Whether the token is in the set. Scopes are case-sensitive.
    pub fn contains(&self, token: &str) -> bool {
        self.0.binary_search_by(|one| one.as_str().cmp(token)).is_ok()
    }

    /// Whether everything in `other` is in `self`.
    pub fn covers(&self, other: &Self) -> bool {
        other.0.iter().all(|token| self.contains(token.as_str()))
    }

    /// What of `self` is also in `ceiling`.
    #[must_use]
    pub fn narrow_to(&self, ceiling: &Self) -> Self {
        Self(
            self.0
                .iter()
                .filter(|token| ceiling.contains(token.as_str()))
                .cloned()
                .collect(),
        )
    }

    /// `self` without one token.
    #[must_use]
    pub fn without(&self, token: &str) -> Self {
        Self(
            self.0
                .iter()
                .filter(|one| one.as_str() != token)
                .cloned()
                .collect(),
        )
    }

    /// `self` and `other` together. For showing and comparing; what a grant holds is made by narrowing.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        self.0.iter().chain(&other.0).cloned().collect()
    }
}

impl FromIterator<ScopeToken> for Scope {
    fn from_iter<I: IntoIterator<Item = ScopeToken>>(tokens: I) -> Self {
        let mut tokens: Vec<ScopeToken> = tokens.into_iter().collect();
        tokens.sort_unstable();
        tokens.dedup();
        Self(tokens)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, token) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(" ")?;
            }
            f.write_str(token.as_str())?;
        }
        Ok(())
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

impl std::str::FromStr for Scope {
    type Err = InvalidScope;

    fn from_str(text: &str) -> Result<Self, InvalidScope> {
        Self::parse(text)
    }
}

impl serde::Serialize for Scope {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Scope {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        Self::parse_asked(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn syntax_is_that_of_rfc_6749_section_3_3() {
        for bad in [
            " ",
            "a  b",
            " a",
            "a ",
            "a\tb",
            "a\nb",
            "a\"b",
            "a\\b",
            "ä",
            &"x".repeat(129),
            &"a ".repeat(65),
        ] {
            assert_eq!(Scope::parse(bad), Err(InvalidScope), "{bad:?}");
        }
        assert_eq!(
            Scope::parse("b a b").map(|scope| scope.to_string()),
            Ok("a b".to_owned())
        );
        assert_eq!(Scope::parse(""), Ok(Scope::empty()));
        assert!(Scope::parse_asked(&vec!["a"; 500].join(" ")).is_ok());
        assert!(Scope::parse_asked(&vec!["a"; 5_000].join(" ")).is_err());
    }

    #[test]
    fn case_matters() -> Result<(), InvalidScope> {
        let allowed = Scope::parse("mcp:read")?;
        assert!(Scope::parse("MCP:READ")?.narrow_to(&allowed).is_empty());
        Ok(())
    }

    proptest::proptest! {
        #[test]
        fn narrowing_never_widens(a in "[a-c]( [a-e]){0,4}", b in "[a-c]( [a-e]){0,4}") {
            let (a, b) = (Scope::parse(&a).unwrap_or_default(), Scope::parse(&b).unwrap_or_default());
            let narrowed = a.narrow_to(&b);
            proptest::prop_assert!(a.covers(&narrowed) && b.covers(&narrowed));
            proptest::prop_assert_eq!(Scope::parse(&narrowed.to_string()), Ok(narrowed));
        }
    }
}
