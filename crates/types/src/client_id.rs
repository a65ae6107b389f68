//! Client identifiers (RFC 6749 §2.2).

mod check;

use std::fmt;

pub use self::check::{ClientIdForm, MAX_PLAIN_CHARACTERS, is_metadata_document_url, is_plain_client_id};

/// A client's identifier: 1 to 2,048 printable ASCII characters without a space, compared byte for byte
/// (RFC 6749 Appendix A.1; client metadata documents compare the same way).
///
/// ```
/// use mcp_authflow_types::ClientId;
///
/// assert!(ClientId::parse("s6BhdRkqt3").is_ok());
/// assert!(ClientId::parse("no space").is_err());
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(transparent)]
pub struct ClientId(Box<str>);

/// The text is not a client identifier: empty, longer than 2,048 bytes, or not printable ASCII.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a client id is 1 to 2048 printable ASCII characters without a space")]
pub struct InvalidClientId;

impl ClientId {
    /// The longest identifier accepted, in bytes; room for a client metadata document's URL.
    pub const MAX_BYTES: usize = 2_048;

    /// Takes the text as an identifier.
    ///
    /// # Errors
    /// [`InvalidClientId`] when the text is empty, too long, or holds anything but `0x21..=0x7e`.
    pub fn parse(text: &str) -> Result<Self, InvalidClientId> {
        let ok = !text.is_empty()
            && text.len() <= Self::MAX_BYTES
            && text.bytes().all(|byte| byte.is_ascii_graphic());
        if ok {
            Ok(Self(text.into()))
        } else {
            Err(InvalidClientId)
        }
    }

    /// Makes an identifier from 128 random bits. It never begins with `https:`, which is how a client metadata document
    /// is named.
    pub fn from_random(bytes: [u8; 16]) -> Self {
        Self(format!("c_{}", crate::hex::encode(&bytes)).into())
    }

    /// The identifier as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl std::str::FromStr for ClientId {
    type Err = InvalidClientId;

    fn from_str(text: &str) -> Result<Self, InvalidClientId> {
        Self::parse(text)
    }
}

impl<'de> serde::Deserialize<'de> for ClientId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identifier_is_printable_ascii_of_bounded_length() {
        for bad in ["", " ", "a b", "a\0b", "ä", "a\nb", &"x".repeat(2_049)] {
            assert_eq!(ClientId::parse(bad), Err(InvalidClientId), "{bad:?}");
        }
        for good in ["a", "https://cimd.test/client.json", &"x".repeat(2_048)] {
            assert_eq!(
                ClientId::parse(good).map(|id| id.to_string()),
                Ok(good.to_owned())
            );
        }
    }
}
