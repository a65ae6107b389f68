//! A strict reading of absolute URIs (RFC 3986), for the three nouns that are URIs here: issuer, resource and
//! redirect URI.
//!
//! It splits and checks; it never rewrites. Every comparison of this house is made on the bytes that came in, or on an
//! equivalence spelled out by the noun itself, never on what a URL library would print.

/// The parts of an absolute URI, borrowed from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uri<'a> {
    /// The scheme as spelled, without the colon.
    pub scheme: &'a str,
    /// What stands between `//` and the path; absent in `scheme:path`.
    pub authority: Option<Authority<'a>>,
    /// The path, perhaps empty.
    pub path: &'a str,
    /// The query without its question mark.
    pub query: Option<&'a str>,
    /// The fragment without its hash sign.
    pub fragment: Option<&'a str>,
}

/// Host and port. User information is refused outright: its only use here is deception.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Authority<'a> {
    /// The host as spelled; IPv6 with its brackets. Empty only for private-use schemes.
    pub host: &'a str,
    /// The port, 1 to 65,535, when one is spelled.
    pub port: Option<u16>,
}

impl<'a> Uri<'a> {
    /// Splits the text; `None` when it is not an absolute URI in plain ASCII, or carries user information, a
    /// backslash, a bad percent escape or a bad port.
    pub fn parse(text: &'a str) -> Option<Self> {
        if !text.bytes().all(is_uri_byte) || !percent_escapes_are_whole(text) {
            return None;
        }
        let (scheme, rest) = text.split_once(':')?;
        let mut letters = scheme.bytes();
        if !letters.next()?.is_ascii_alphabetic()
            || !letters.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'))
        {
            return None;
        }
        let (rest, fragment) = split_off(rest, '#');
        let (rest, query) = split_off(rest, '?');
        let (authority, path) = match rest.strip_prefix("//") {
            None => (None, rest),
            Some(rest) => {
                let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
                (Some(Authority::parse(authority)?), path)
            }
        };
        Some(Self {
            scheme,
            authority,
            path,
            query,
            fragment,
        })
    }
}

impl<'a> Authority<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        if text.contains('@') {
            return None;
        }
        let (host, port) = if text.starts_with('[') {
            let end = text.find(']')? + 1;
            text[1..end - 1].parse::<std::net::Ipv6Addr>().ok()?;
            (&text[..end], &text[end..])
        } else {
            text.split_at(text.find(':').unwrap_or(text.len()))
        };
        let host_is_plain = host.starts_with('[')
            || host
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b'~'));
        if !host_is_plain {
            return None;
        }
        let port = match port.strip_prefix(':') {
            None if port.is_empty() => None,
            None => return None,
            Some(digits) => Some(parse_port(digits)?),
        };
        Some(Self { host, port })
    }

    /// Whether the host is one of the three spellings of this computer: `127.0.0.1`, `[::1]` or `localhost`.
    pub fn is_loopback(&self) -> bool {
        is_loopback_host(self.host)
    }
}

/// Whether the host, spelled exactly so, is `127.0.0.1`, `[::1]` or `localhost` (RFC 8252 §7.3, and what MCP clients
/// register in practice). Other addresses of 127.0.0.0/8 are not meant.
pub fn is_loopback_host(host: &str) -> bool {
    matches!(host, "127.0.0.1" | "[::1]" | "localhost")
}

/// Reads a port: 1 to 65,535 in plain decimal digits.
pub fn parse_port(digits: &str) -> Option<u16> {
    let plain = !digits.is_empty() && digits.len() <= 5 && digits.bytes().all(|b| b.is_ascii_digit());
    digits.parse().ok().filter(|port| plain && *port != 0)
}

fn split_off(text: &str, at: char) -> (&str, Option<&str>) {
    match text.split_once(at) {
        Some((before, after)) => (before, Some(after)),
        None => (text, None),
    }
}

/// RFC 3986 §2: unreserved, reserved and the percent sign. No space, quote, angle bracket, backslash, caret, backtick,
/// brace or pipe, no control character, nothing beyond ASCII.
fn is_uri_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=%".contains(&byte)
}

fn percent_escapes_are_whole(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.iter().enumerate().all(|(at, byte)| {
        *byte != b'%'
            || matches!(bytes.get(at + 1..at + 3), Some(two) if two.iter().all(u8::is_ascii_hexdigit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absolute_uri_is_split_without_being_rewritten() {
        let uri = Uri::parse("HTTPS://Rs1.Test:8443/mcp/?a=b#f");
        let authority = Some(Authority {
            host: "Rs1.Test",
            port: Some(8443),
        });
        assert_eq!(
            uri,
            Some(Uri {
                scheme: "HTTPS",
                authority,
                path: "/mcp/",
                query: Some("a=b"),
                fragment: Some("f")
            })
        );
        let app = Uri::parse("com.example.app:/cb");
        assert_eq!(app.map(|uri| (uri.authority, uri.path)), Some((None, "/cb")));
        assert_eq!(
            Uri::parse("http://[::1]:80/cb").and_then(|uri| uri.authority),
            Some(Authority {
                host: "[::1]",
                port: Some(80)
            })
        );
    }

    #[test]
    fn what_is_not_a_plain_absolute_uri_is_refused() {
        for bad in [
            "",
            "/cb",
            "//h/cb",
            "h/cb",
            "1a:/b",
            "https://u@h/",
            "https://u:p@h/",
            "https://h\\@e/",
            "https://h:0/",
            "https://h:99999/",
            "https://h:-1/",
            "https://h:1:2/",
            "https://h:%35/",
            "https://h%40e/",
            "https://[::1/",
            "https://[zz]/",
            "https://h/ ",
            " https://h/",
            "https://h/\u{200b}",
            "https://h/%2",
            "https://h/%zz",
            "https://h/<x>",
            "https://h/\"",
            "https://h:/",
            "https://[::1]x/",
        ] {
            assert_eq!(Uri::parse(bad), None, "{bad:?}");
        }
    }
}
