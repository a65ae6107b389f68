//! Where the browser will be sent with the code: the one fact about a client that it cannot invent.

use std::net::Ipv4Addr;

use mcp_authflow_types::redirect_uri::is_dangerous_scheme;
use serde::Serialize;

use super::one_line::OneLine;

/// RFC 1035 §2.3.4: a host name has at most 255 octets on the wire, 253 as text.
const HOST_MAX_BYTES: usize = 253;
/// No registered scheme comes near; a longer one is there to be looked at.
const SCHEME_MAX_BYTES: usize = 64;

/// A redirect URI as a person should see it.
///
/// Read by hand, strictly, and not by a URL parser: parsers repair (`\` to `/`, `user@` dropped, `0x7f.1` resolved) and
/// differ in how, and a page that shows another host than the browser goes to is worse than one that shows none.
/// Whatever is not plainly one of three forms is `Unclear` and is shown whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Destination {
    /// Which form it is.
    kind: Kind,
    /// The host, the scheme with `:` or `://`, or for `Unclear` the URI.
    name: OneLine,
    /// The whole URI, for the small print.
    uri: OneLine,
    #[serde(skip)]
    form_action_source: Option<String>,
}

/// The forms of redirect URI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    /// An https address on the web.
    Web,
    /// A program on this computer that listens on a loopback address.
    Computer,
    /// An application that the system opens for a private-use scheme.
    App,
    /// None of these.
    Unclear,
}

impl Destination {
    /// Reads a redirect URI; never fails, since the page must show something in any case.
    pub(crate) fn of(redirect_uri: &str) -> Self {
        let uri = OneLine::long(redirect_uri);
        let Some((kind, name, source)) = read(redirect_uri) else {
            return Self {
                kind: Kind::Unclear,
                name: uri.clone(),
                uri,
                form_action_source: None,
            };
        };
        Self {
            kind,
            name: OneLine::long(&name),
            uri,
            form_action_source: Some(source),
        }
    }

    /// The source that CSP's `form-action` needs so that a form may be answered by a redirect to here.
    ///
    /// Chromium checks `form-action` against every redirect that follows a form, so a consent page that named only
    /// `'self'` would have a dead Allow button. The source is as narrow as CSP can say it: `https://host[:port]`,
    /// `http://127.0.0.1:*`, `sample-app:`. For `[::1]`, which CSP cannot spell, it is the scheme. `None` for anything that
    /// is not plainly one of these; then the redirect is blocked, which is the safe side.
    ///
    /// # Security
    /// It holds only letters, digits and `+ - . / :`, and `*` for a port, so a redirect URI cannot add a directive or
    /// a source.
    fn form_action_source(&self) -> Option<&str> {
        self.form_action_source.as_deref()
    }

    /// Everything that `form-action` needs: the source of the redirect URI itself, and `https:`, because Chromium applies
    /// the policy to the whole chain, and clients send the browser on: a callback at `api.` to its app at another host, a
    /// local program to a page of thanks. Where the *code* goes is decided by the redirect URI alone.
    pub(crate) fn form_targets(&self) -> Vec<String> {
        let mut targets: Vec<String> = self.form_action_source().map(str::to_owned).into_iter().collect();
        if !targets.is_empty() {
            targets.push("https:".to_owned());
        }
        targets
    }
}

/// Kind, shown name and CSP source, when all three are beyond doubt.
fn read(redirect_uri: &str) -> Option<(Kind, String, String)> {
    // Everything below is plain printable ASCII without the characters that end a CSP source or directive.
    let (scheme, rest) = redirect_uri.split_once(':')?;
    let scheme = scheme.to_ascii_lowercase();
    if !is_scheme(&scheme) {
        return None;
    }
    if scheme != "https" && scheme != "http" {
        if is_dangerous_scheme(&scheme) {
            return None;
        }
        let slashes = if rest.starts_with("//") { "//" } else { "" };
        return Some((Kind::App, format!("{scheme}:{slashes}"), format!("{scheme}:")));
    }

    let rest = rest.strip_prefix("//")?;
    let authority = rest.split(['/', '?', '#']).next()?.to_ascii_lowercase();
    if let Some(port) = authority.strip_prefix("[::1]") {
        is_port_suffix(port).then_some(())?;
        // CSP's host-source has no brackets (CSP 3 §2.3.1), so Chromium ignores `http://[::1]:*`; the scheme is the
        // narrowest source that lets the redirect through.
        return Some((Kind::Computer, "[::1]".to_owned(), format!("{scheme}:")));
    }
    let (host, port) = match authority.find(':') {
        Some(at) => authority.split_at(at),
        None => (authority.as_str(), ""),
    };
    if !is_host(host) || !is_port_suffix(port) {
        return None;
    }
    let is_loopback = host == "localhost"
        || host
            .parse::<Ipv4Addr>()
            .is_ok_and(|address| address.is_loopback());
    match (scheme.as_str(), is_loopback) {
        // The port of a loopback redirect changes with every start (RFC 8252 §7.3), and such a program may send the
        // browser on to its own second port.
        ("http", true) => Some((Kind::Computer, host.to_owned(), format!("http://{host}:*"))),
        ("https", true) => Some((Kind::Computer, host.to_owned(), format!("https://{host}{port}"))),
        ("https", false) => Some((
            Kind::Web,
            format!("{host}{port}"),
            format!("https://{host}{port}"),
        )),
        // Plain http across the network is refused at registration.
        _ => None,
    }
}

/// RFC 3986 §3.1, lower case.
fn is_scheme(scheme: &str) -> bool {
    scheme.len() <= SCHEME_MAX_BYTES
        && scheme.starts_with(|first: char| first.is_ascii_lowercase())
        && scheme
            .bytes()
            .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'+' | b'-' | b'.'))
}

/// Labels of letters, digits and hyphens (RFC 1123 §2.1), which is also what CSP calls `host-char`.
fn is_host(host: &str) -> bool {
    host.len() <= HOST_MAX_BYTES
        && host.split('.').all(|label| {
            !label.is_empty()
                && label
                    .bytes()
                    .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
        })
}

/// Nothing, or `:` and a port.
fn is_port_suffix(suffix: &str) -> bool {
    suffix.is_empty()
        || suffix
            .strip_prefix(':')
            .is_some_and(|port| port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(uri: &str) -> (Kind, String) {
        let destination = Destination::of(uri);
        (destination.kind, destination.name.to_string())
    }

    /// M-098
    #[test]
    fn the_shown_host_is_the_one_the_browser_goes_to() {
        for (uri, kind, name) in [
            (
                "https://notes.example/api/mcp/auth_callback",
                Kind::Web,
                "notes.example",
            ),
            (
                "https://Notes.EXAMPLE?x=@evil.example",
                Kind::Web,
                "notes.example",
            ),
            ("https://a.example:8443/cb", Kind::Web, "a.example:8443"),
            (
                "https://xn--nts-ula8c.example/cb",
                Kind::Web,
                "xn--nts-ula8c.example",
            ),
            ("http://127.0.0.1:4711/cb", Kind::Computer, "127.0.0.1"),
            ("http://127.8.9.1/cb", Kind::Computer, "127.8.9.1"),
            ("http://localhost:1/", Kind::Computer, "localhost"),
            ("http://[::1]:4711/cb", Kind::Computer, "[::1]"),
            ("sample-app://callback/oauth", Kind::App, "sample-app://"),
            ("com.example.app:/cb", Kind::App, "com.example.app:"),
        ] {
            assert_eq!(shown(uri), (kind, name.to_owned()), "{uri}");
        }
    }

    #[test]
    fn what_parsers_disagree_about_is_shown_whole() {
        for uri in [
            "https://notes.example@evil.example/cb",
            "https://notes.example\\@evil.example/cb",
            "https://notes.example%2f@evil.example/",
            "https:/evil.example",
            "https:evil.example",
            "https://",
            "https://a..b/",
            "https://notes.example./cb",
            "https://nоtes.example/cb",
            "https://a.example:99999/",
            "https://a.example:+1/",
            "https://[2001:db8::1]/cb",
            "http://example.com/cb",
            "http://127.0.0.1.evil.example/cb",
            "http://localhost.evil.example/cb",
            "http://0x7f.1/cb",
            "javascript:alert(1)",
            "JavaScript:alert(1)",
            "data:text/html,x",
            "/relative",
            "",
        ] {
            assert_eq!(shown(uri), (Kind::Unclear, uri.to_owned()), "{uri}");
        }
    }

    fn source(uri: &str) -> Option<String> {
        Destination::of(uri).form_action_source().map(str::to_owned)
    }

    /// CS-09
    #[test]
    fn a_redirect_target_becomes_the_narrowest_source() {
        for (uri, expected) in [
            (
                "https://notes.example/api/mcp/auth_callback",
                "https://notes.example",
            ),
            ("https://A.example:8443/cb?x=1", "https://a.example:8443"),
            ("http://127.0.0.1:4711/cb", "http://127.0.0.1:*"),
            ("http://localhost/cb", "http://localhost:*"),
            ("https://localhost:8443/cb", "https://localhost:8443"),
            ("http://[::1]:4711/cb", "http:"),
            ("sample-app://callback/oauth/callback", "sample-app:"),
            ("com.example.app:/cb", "com.example.app:"),
            ("vscode-insiders://x", "vscode-insiders:"),
        ] {
            assert_eq!(source(uri).as_deref(), Some(expected), "{uri}");
        }
    }

    #[test]
    fn a_redirect_target_cannot_add_to_the_policy() {
        for uri in [
            "https://a.example;script-src *",
            "https://a.example,default-src *",
            "https://a.example *",
            "https://*.example/cb",
            "https://a.example:*/cb",
            "https://'unsafe-inline'/",
            "https://a_b.example/",
            "https://user@a.example/",
            "http://a.example/",
            "*",
            "*:x",
            "x y:z",
            "x;script-src:z",
            "javascript:alert(1)",
            "data:x",
            "blob:x",
            "https:",
            "https://\r\nSet-Cookie: a=b",
        ] {
            assert_eq!(source(uri), None, "{uri}");
        }
    }
}
