//! Resource indicators (RFC 8707): which server a token is for.

use std::{fmt, hash::Hash};

use crate::uri::Uri;

/// The identifier of a protected resource, as spelled, with an explicit equivalence.
///
/// Two spellings name the same resource when they differ only in the case of scheme and host, in a spelled-out default
/// port, or in an empty path against `/`. Nothing else is folded: not a trailing slash behind a path, not percent
/// escapes, not dot segments. `==` and hashing follow the equivalence; [`as_str`](Self::as_str) is the spelling.
///
/// ```
/// use mcp_authflow_types::Resource;
///
/// let registered = Resource::parse("https://rs1.test")?;
/// assert_eq!(registered, Resource::parse("HTTPS://RS1.test:443/")?);
/// assert_ne!(Resource::parse("https://rs1.test/mcp")?, Resource::parse("https://rs1.test/mcp/")?);
/// # Ok::<(), mcp_authflow_types::resource::InvalidResource>(())
/// ```
#[derive(Clone)]
pub struct Resource {
    text: Box<str>,
    key: Box<str>,
    is_loopback: bool,
}

/// The text is not an absolute http or https URI without user information and fragment, or is longer than 2,048 bytes
/// (RFC 8707 §2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a resource is an absolute http or https URI without user information and fragment, of at most 2048 bytes"
)]
pub struct InvalidResource;

impl Resource {
    /// The longest resource accepted, in bytes.
    pub const MAX_BYTES: usize = 2_048;

    /// Takes the text as a resource identifier.
    ///
    /// # Errors
    /// [`InvalidResource`]
    pub fn parse(text: &str) -> Result<Self, InvalidResource> {
        let uri = Uri::parse(text)
            .filter(|_| text.len() <= Self::MAX_BYTES)
            .ok_or(InvalidResource)?;
        let authority = uri
            .authority
            .filter(|authority| !authority.host.is_empty())
            .ok_or(InvalidResource)?;
        let scheme = uri.scheme.to_ascii_lowercase();
        let default_port = match scheme.as_str() {
            "https" => 443,
            "http" => 80,
            _ => return Err(InvalidResource),
        };
        if uri.fragment.is_some() {
            return Err(InvalidResource);
        }
        let host = authority.host.to_ascii_lowercase();
        let mut key = format!("{scheme}://{host}");
        if let Some(port) = authority.port.filter(|port| *port != default_port) {
            key.push(':');
            key.push_str(&port.to_string());
        }
        key.push_str(if uri.path.is_empty() { "/" } else { uri.path });
        if let Some(query) = uri.query {
            key.push('?');
            key.push_str(query);
        }
        Ok(Self {
            text: text.into(),
            key: key.into(),
            is_loopback: crate::uri::is_loopback_host(&host),
        })
    }

    /// The identifier as spelled; of a registered resource this is what `aud` carries.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The text on which equivalence rests; what a store indexes.
    pub fn equivalence_key(&self) -> &str {
        &self.key
    }

    /// Whether the host is `127.0.0.1`, `[::1]` or `localhost`.
    pub fn is_loopback(&self) -> bool {
        self.is_loopback
    }
}

impl PartialEq for Resource {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Eq for Resource {}

impl Hash for Resource {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.key.hash(state);
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

impl std::str::FromStr for Resource {
    type Err = InvalidResource;

    fn from_str(text: &str) -> Result<Self, InvalidResource> {
        Self::parse(text)
    }
}

impl serde::Serialize for Resource {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> serde::Deserialize<'de> for Resource {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// M-085
    #[test]
    fn only_the_named_differences_are_folded() -> Result<(), InvalidResource> {
        let same = [
            ("https://rs1.test/mcp", "https://RS1.TEST/mcp"),
            ("https://rs1.test:443/mcp", "HTTPS://rs1.test/mcp"),
            ("http://rs1.test:80", "http://rs1.test/"),
        ];
        for (a, b) in same {
            assert_eq!(Resource::parse(a)?, Resource::parse(b)?);
        }
        let different = [
            ("https://rs1.test/mcp", "https://rs1.test/mcp/"),
            ("https://rs1.test/mcp", "https://rs1.test/MCP"),
            ("https://rs1.test/mcp", "https://rs1.test/mcp?x"),
            ("https://rs1.test/mcp", "https://rs1.test/mcp-evil"),
            ("https://rs1.test", "http://rs1.test"),
            ("https://rs1.test", "https://rs1.test:444"),
        ];
        for (a, b) in different {
            assert_ne!(Resource::parse(a)?, Resource::parse(b)?);
        }
        Ok(())
    }

    #[test]
    fn tricks_with_user_information_and_fragments_are_refused() {
        for bad in [
            "https://rs1.test@evil.example/mcp",
            "https://evil.example/#https://rs1.test/mcp",
            "urn:x:y",
            "rs1.test",
            "",
            "https://",
            "ftp://rs1.test/",
        ] {
            assert!(Resource::parse(bad).is_err(), "{bad}");
        }
    }
}
