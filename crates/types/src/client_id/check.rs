//! The two forms of client identifiers, for servers of your own.
//!
//! [`ClientId`](super::ClientId) takes whatever RFC 6749 Appendix A.1 allows, since identifiers come from elsewhere too.
//! These questions are narrower: what one of the Python packages would have taken, and what names a client metadata
//! document.

use crate::uri::Uri;

/// What an identifier is, by its looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientIdForm {
    /// One to 256 letters, digits, `-` and `_`: the client is registered.
    Plain,
    /// An https URL: the client describes itself in the document there (OAuth Client ID Metadata Document).
    MetadataDocument,
}

/// The longest plain identifier.
pub const MAX_PLAIN_CHARACTERS: usize = 256;

impl ClientIdForm {
    /// The form of an identifier; `None` when it has neither.
    ///
    /// ```
    /// use mcp_authflow_types::client_id::ClientIdForm;
    ///
    /// assert_eq!(ClientIdForm::of("mcp-AbC_9"), Some(ClientIdForm::Plain));
    /// assert_eq!(ClientIdForm::of("https://app.example/client.json"), Some(ClientIdForm::MetadataDocument));
    /// assert_eq!(ClientIdForm::of("mcp-AbC_9\n"), None);
    /// ```
    pub fn of(text: &str) -> Option<Self> {
        if is_plain_client_id(text) {
            Some(Self::Plain)
        } else if is_metadata_document_url(text) {
            Some(Self::MetadataDocument)
        } else {
            None
        }
    }
}

/// Whether the text is one to 256 letters, digits, `-` and `_`, from the first to the last character. Such an identifier
/// can stand in a header, a log line or a key as it is.
pub fn is_plain_client_id(text: &str) -> bool {
    (1..=MAX_PLAIN_CHARACTERS).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

/// Whether the text may name a client metadata document (draft-ietf-oauth-client-id-metadata-document §3): an https URL
/// with a path, without fragment, user information and dot segments, of at most 2,048 characters. A path of `/` alone
/// names no document. Nothing is fetched, and nothing is said about where the host leads.
pub fn is_metadata_document_url(text: &str) -> bool {
    // `Uri` refuses user information, spaces, control characters and broken escapes.
    let Some(uri) = Uri::parse(text).filter(|_| text.len() <= super::ClientId::MAX_BYTES) else {
        return false;
    };
    let is_dot = |segment: &str| {
        let dots = segment.to_ascii_lowercase().replace("%2e", ".");
        matches!(dots.as_str(), "." | "..")
    };
    // "Client identifier URLs MUST have an "https" scheme, MUST contain a path component, MUST NOT contain single-dot or
    // double-dot path segments, MUST NOT contain a fragment component and MUST NOT contain a username or password."
    uri.scheme == "https"
        && uri.authority.is_some_and(|authority| !authority.host.is_empty())
        && uri.path.len() > 1
        && uri.fragment.is_none()
        // A bare question mark is another spelling of nothing.
        && uri.query != Some("")
        && !uri.path.split('/').any(is_dot)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// S-014
    /// S-015
    /// S-017
    #[test]
    fn a_plain_identifier_is_letters_digits_hyphen_and_underscore() {
        for good in ["Z", "-", "_", "mcp-AbC_9", "null", &"A".repeat(256)] {
            assert!(is_plain_client_id(good), "{good}");
        }
        for bad in [
            "",
            " ",
            "a b",
            "a.b",
            "a:b",
            "é",
            "ａ",
            "*",
            "../etc",
            "a\0b",
            &"A".repeat(257),
        ] {
            assert!(!is_plain_client_id(bad), "{bad:?}");
        }
    }

    /// S-016
    #[test]
    fn no_line_break_is_let_through_anywhere() {
        for bad in ["abc\n", "\nabc", "abc\r\n", "abc\r", "abc\n\n", "\n"] {
            assert_eq!(ClientIdForm::of(bad), None, "{bad:?}");
        }
    }

    /// S-018
    #[test]
    fn a_url_is_the_other_form_when_it_can_name_a_document() {
        for good in [
            "https://app.example/client.json",
            "https://app.example:8443/a/b?v=1",
            "https://app.example/.well-known/client",
        ] {
            assert_eq!(
                ClientIdForm::of(good),
                Some(ClientIdForm::MetadataDocument),
                "{good}"
            );
        }
        for bad in [
            "http://app.example/client.json",
            "HTTPS://app.example/client.json",
            "https://app.example",
            "https://app.example/",
            "https:///client.json",
            "https://app.example/client.json#x",
            "https://app.example/client.json?",
            "https://u:p@app.example/client.json",
            "https://app.example/a/../client.json",
            "https://app.example/./client.json",
            "https://app.example/%2E%2e/client.json",
            "https://app.example/client.json\n",
            "https://app.example/cli ent.json",
            &format!("https://app.example/{}", "a".repeat(2_048)),
        ] {
            assert_eq!(ClientIdForm::of(bad), None, "{bad}");
        }
    }
}
