//! What of a request may be shown.

use std::{collections::BTreeSet, sync::Arc};

use http::{HeaderName, HeaderValue};

/// In the place of a value.
const MASK: &str = "***";

/// Headers that say how a message is to be read and not who sends it. Addresses that a query may be part of (`Referer`,
/// `Location`) are not among them.
const SHOWN: &[&str] = &[
    "accept",
    "accept-encoding",
    "accept-language",
    "access-control-request-headers",
    "access-control-request-method",
    "allow",
    "cache-control",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "date",
    "expect",
    "host",
    "last-event-id",
    "mcp-method",
    "mcp-name",
    "mcp-protocol-version",
    "mcp-session-id",
    "origin",
    "retry-after",
    "te",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "vary",
    "via",
    "www-authenticate",
    "x-request-id",
];

/// Which values are replaced.
#[derive(Clone, Debug)]
pub(super) enum Masking {
    /// All but those of these headers, in lower case.
    AllBut(Arc<BTreeSet<String>>),
    Nothing,
}

impl Default for Masking {
    fn default() -> Self {
        Self::AllBut(Arc::new(SHOWN.iter().map(|name| (*name).to_owned()).collect()))
    }
}

impl Masking {
    pub(super) fn show(&mut self, name: &str) {
        if let Self::AllBut(shown) = self {
            Arc::make_mut(shown).insert(name.to_ascii_lowercase());
        }
    }

    /// The value, what is no text in it replaced, on one line.
    pub(super) fn header(&self, name: &HeaderName, value: &HeaderValue) -> String {
        match self {
            Self::AllBut(shown) if !shown.contains(name.as_str()) => MASK.to_owned(),
            _ => on_one_line(&String::from_utf8_lossy(value.as_bytes())),
        }
    }

    /// The query with its names; a part without a name may be a secret itself.
    pub(super) fn query(&self, query: &str) -> String {
        if matches!(self, Self::Nothing) {
            return on_one_line(query);
        }
        let parts: Vec<String> = query
            .split('&')
            .map(|part| match part.split_once('=') {
                Some((name, _)) => format!("{}={MASK}", on_one_line(name)),
                None => MASK.to_owned(),
            })
            .collect();
        parts.join("&")
    }
}

/// Control characters escaped: whoever calls must not write lines of the log.
pub(super) fn on_one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() {
            line.extend(character.escape_default());
        } else {
            line.push(character);
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_writes_lines_of_the_log() {
        assert_eq!(on_one_line("a\r\nINFO b\u{1b}[2J é"), "a\\r\\nINFO b\\u{1b}[2J é");
    }

    /// S-296
    #[test]
    fn a_header_is_masked_unless_it_is_listed() {
        let mut masking = Masking::default();
        let shown = |masking: &Masking, name: &'static str| {
            masking.header(&HeaderName::from_static(name), &HeaderValue::from_static("v"))
        };
        for name in [
            "authorization",
            "cookie",
            "set-cookie",
            "x-api-key",
            "proxy-authorization",
            "dpop",
            "x",
        ] {
            assert_eq!(shown(&masking, name), MASK, "{name}");
        }
        assert_eq!(shown(&masking, "content-type"), "v");
        masking.show("X");
        assert_eq!(shown(&masking, "x"), "v");
    }
}
