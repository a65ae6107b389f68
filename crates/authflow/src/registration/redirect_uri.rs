//! The redirect URIs that may be registered where no other policy is given.

use std::net::Ipv6Addr;

use mcp_authflow_types::RedirectUri;

/// Says whether a redirect URI may be registered, by the default policy: https with any host, or plain http with the
/// host `localhost`, `127.0.0.1` or `[::1]`; nothing else, private-use schemes included.
///
/// Refused besides: more than 2,048 bytes, any `#` (RFC 6749 §3.1.2), user information, white space, control
/// characters, backslashes, a `*` in the host, a port that is none, a broken IP literal, and characters that some
/// readers take for `/`, `?`, `#`, `@` or `:`.
///
/// ```
/// use mcp_authflow::registration::validate_redirect_uri;
///
/// assert!(validate_redirect_uri("https://app.example/cb"));
/// assert!(validate_redirect_uri("http://localhost:3000/cb"));
/// assert!(!validate_redirect_uri("http://app.example/cb"));
/// assert!(!validate_redirect_uri("com.example.app:/cb"));
/// assert!(!validate_redirect_uri("https://app.example@evil.example/cb"));
/// ```
pub fn validate_redirect_uri(uri: &str) -> bool {
    let is_odd = |c: char| c.is_control() || c.is_whitespace() || matches!(c, '\\' | '#');
    if uri.len() > RedirectUri::MAX_BYTES || uri.contains(is_odd) {
        return false;
    }
    let Some((scheme, rest)) = uri.split_once("://") else {
        return false;
    };
    let authority = &rest[..rest.find(['/', '?']).unwrap_or(rest.len())];
    let Some(host) = host_of(authority) else {
        return false;
    };
    if scheme.eq_ignore_ascii_case("https") {
        true
    } else {
        scheme.eq_ignore_ascii_case("http")
            && (host.eq_ignore_ascii_case("localhost") || matches!(host, "127.0.0.1" | "[::1]"))
    }
}

/// The host of an authority without user information, IP literals with their brackets; `None` when it is not one.
fn host_of(authority: &str) -> Option<&str> {
    if authority.contains('@') || authority.contains(is_look_alike) {
        return None;
    }
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let end = rest.find(']')?;
            is_ip_literal(&rest[..end]).then_some(())?;
            authority.split_at(end + 2)
        }
        None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
    };
    let is_literal = host.starts_with('[');
    let is_name = !host.contains(['*', '[', ']']) && host.contains(char::is_alphanumeric);
    let is_port = match port.strip_prefix(':') {
        None => port.is_empty(),
        // RFC 3986 §3.2.3 lets the digits be missing.
        Some(digits) => {
            digits.is_empty() || digits.bytes().all(|b| b.is_ascii_digit()) && digits.parse::<u16>().is_ok()
        }
    };
    ((is_literal || is_name) && is_port).then_some(host)
}

/// What may stand in brackets (RFC 3986 §3.2.2): an IPv6 address, perhaps with a zone, or a future kind: `v1.x`.
fn is_ip_literal(text: &str) -> bool {
    if let Some(future) = text.strip_prefix(['v', 'V']) {
        return future.split_once('.').is_some_and(|(version, address)| {
            !version.is_empty() && version.bytes().all(|b| b.is_ascii_hexdigit()) && !address.is_empty()
        });
    }
    let (address, zone) = text
        .split_once('%')
        .map_or((text, None), |(a, zone)| (a, Some(zone)));
    address.parse::<Ipv6Addr>().is_ok() && zone.is_none_or(|zone| !zone.is_empty() && !zone.contains('%'))
}

/// Characters that a compatibility normalization (NFKC) turns into, or into a text with, `/`, `?`, `#`, `@` or `:`. A host
/// with one of them is another host to whoever normalizes.
fn is_look_alike(c: char) -> bool {
    matches!(
        c,
        '\u{2047}'
            ..='\u{2049}'
                | '\u{2100}'
                | '\u{2101}'
                | '\u{2105}'
                | '\u{2106}'
                | '\u{2a74}'
                | '\u{fe13}'
                | '\u{fe16}'
                | '\u{fe55}'
                | '\u{fe56}'
                | '\u{fe5f}'
                | '\u{fe6b}'
                | '\u{ff03}'
                | '\u{ff0f}'
                | '\u{ff1a}'
                | '\u{ff1f}'
                | '\u{ff20}'
    )
}

#[cfg(test)]
mod tests {
    use super::validate_redirect_uri;

    #[track_caller]
    fn all(expected: bool, uris: &[&str]) {
        for uri in uris {
            assert_eq!(validate_redirect_uri(uri), expected, "{uri}");
        }
    }

    /// S-170
    #[test]
    fn https_is_taken_with_any_host() {
        all(
            true,
            &[
                "https://app.example",
                "HTTPS://APP.EXAMPLE/CB",
                "https://app.example:8443/cb?x=1&y=2",
                "https://app.example:/cb",
                "https://192.0.2.7/cb",
                "https://[2001:db8::7]:8443/cb",
                "https://[v1.x]/cb",
                "https://[fe80::1%25eth0]/cb",
                "https://app_x.example/é",
                "https://app.example./a/../b//c%23d",
            ],
        );
        all(
            false,
            &[
                "https:",
                "https:/",
                "https://",
                "https:///cb",
                "https:cb",
                "https://:443/cb",
                "://x",
                "",
                "/cb",
            ],
        );
    }

    /// S-171
    #[test]
    fn plain_http_is_for_this_computer_alone() {
        all(
            true,
            &[
                "http://localhost/cb",
                "HTTP://LocalHost:1/cb",
                "http://127.0.0.1/cb",
                "http://[::1]:8080/cb",
            ],
        );
        all(
            false,
            &[
                "http://127.0.0.2/cb",
                "http://[0:0:0:0:0:0:0:1]/cb",
                "http://[::ffff:127.0.0.1]/cb",
                "http://localhost./cb",
                "http://localhost.evil.example/cb",
                "http://127.1/cb",
                "http://0.0.0.0/cb",
                "http://app.example/cb",
            ],
        );
    }

    /// S-172
    #[test]
    fn every_other_scheme_is_refused() {
        all(
            false,
            &[
                "com.example.app:/cb",
                "cursor://anysphere.cursor-mcp/oauth/cb",
                "javascript:alert(1)",
                "javascript://app.example/%0aalert(1)",
                "file:///etc/passwd",
                "blob:https://app.example/x",
                "urn:ietf:wg:oauth:2.0:oob",
            ],
        );
    }

    /// S-169
    #[test]
    fn any_hash_sign_and_any_broken_bracket_is_refused() {
        all(
            false,
            &[
                "https://app.example/cb#f",
                "https://app.example/cb#",
                "https://app.example#",
                "https://[::1",
                "https://]/cb",
                "https://[zz]/cb",
                "https://[127.0.0.1]/cb",
                "https://[::1]x/cb",
                "https://x[::1]/cb",
                "https://[v.x]/cb",
                "https://[fe80::1%]/cb",
            ],
        );
    }

    /// S-173
    #[test]
    fn what_two_readers_could_read_differently_is_refused() {
        all(
            false,
            &[
                " https://app.example/cb",
                "https://app.example/cb ",
                "\thttps://app.example/cb",
                "https://app.ex\tample/cb",
                "https://app.example/c\nb",
                "https://app.example/cb\u{0}",
                "https://app.example/\u{a0}",
                "https://app.example\\@evil.example/cb",
                "https://user:pw@app.example/cb",
                "https://@app.example/cb",
                "https://*.example/cb",
                "https://app.example:99999/cb",
                "https://app.example:abc/cb",
                "https://app.example:+443/cb",
                "https://-/cb",
                "https://app.example\u{ff0f}.evil.example/cb",
            ],
        );
        let long = format!("https://app.example/{}", "a".repeat(2_028));
        all(true, &[&long]);
        all(false, &[&(long + "a")]);
    }
}
