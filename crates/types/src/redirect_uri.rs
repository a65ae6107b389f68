//! Redirect URIs (RFC 6749 §3.1.2, RFC 8252): where answers may go.
//!
//! Comparison is of plain strings. The one exception is the port of loopback hosts (RFC 8252 §7.3), which native
//! clients choose anew at every start.

use std::fmt;

use crate::{
    ApplicationType,
    uri::{Uri, is_loopback_host, parse_port},
};

/// A redirect URI that passed the rules of registration.
#[derive(Clone, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(transparent)]
pub struct RedirectUri(Box<str>);

/// Where a redirect URI leads; what a person is told before approving.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RedirectHost<'a> {
    /// A site on the network, reached by https: its host.
    Web(&'a str),
    /// A program on this computer: any local program can pretend to be it.
    Loopback(&'a str),
    /// An app that claimed a private-use scheme: any app can claim the same one.
    App(&'a str),
}

/// Why a redirect URI cannot be registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidRedirectUri {
    /// Not an absolute URI, or one with user information, odd characters or a bad port.
    #[error("a redirect URI is an absolute URI of at most 2048 plain characters, without user information")]
    NotAbsolute,
    /// It has a fragment (RFC 6749 §3.1.2).
    #[error("a redirect URI has no fragment")]
    Fragment,
    /// It looks like a pattern; nothing is matched by pattern here.
    #[error("a redirect URI is a plain string, not a pattern")]
    Pattern,
    /// Plain http beyond loopback.
    #[error("a redirect URI is https; plain http is only for 127.0.0.1, [::1] and localhost")]
    PlainHttp,
    /// A scheme that a browser itself interprets.
    #[error("this scheme is run or read by browsers and cannot take an authorization code")]
    DangerousScheme,
}

/// Schemes that a browser or the operating system interprets itself: a code sent there is code run, a file read or a
/// message sent. Everything not listed and not http(s) is a private-use scheme (RFC 8252 §7.1), with or without a dot.
#[rustfmt::skip]
const DANGEROUS_SCHEMES: &[&str] = &[
    "about", "afp", "blob", "chrome", "chrome-extension", "cid", "content", "data", "dict", "edge", "feed", "file",
    "filesystem", "ftp", "ftps", "gopher", "intent", "jar", "javascript", "ldap", "ldaps", "livescript", "mailto",
    "mhtml", "mid", "mocha", "moz-extension", "ms-appdata", "ms-its", "ms-msdt", "ms-officecmd", "nfs", "res",
    "resource", "search", "search-ms", "sftp", "shell", "smb", "sms", "smsto", "ssh", "tel", "telnet", "urn",
    "vbscript", "view-source", "ws", "wss", "wyciwyg", "x-javascript",
];

/// Whether a browser or the operating system would interpret a URI of this scheme itself.
pub fn is_dangerous_scheme(scheme: &str) -> bool {
    DANGEROUS_SCHEMES
        .iter()
        .any(|dangerous| scheme.eq_ignore_ascii_case(dangerous))
}

impl RedirectUri {
    /// The longest redirect URI accepted, in bytes.
    pub const MAX_BYTES: usize = 2_048;
    /// The most redirect URIs one client may register.
    pub const MAX_PER_CLIENT: usize = 20;

    /// Takes the text as a redirect URI fit for registration.
    ///
    /// # Errors
    /// [`InvalidRedirectUri`] says which rule is broken.
    pub fn parse(text: &str) -> Result<Self, InvalidRedirectUri> {
        if text.len() > Self::MAX_BYTES {
            return Err(InvalidRedirectUri::NotAbsolute);
        }
        if text.contains('*') {
            return Err(InvalidRedirectUri::Pattern);
        }
        let uri = Uri::parse(text).ok_or(InvalidRedirectUri::NotAbsolute)?;
        if uri.fragment.is_some() {
            return Err(InvalidRedirectUri::Fragment);
        }
        let scheme = uri.scheme.to_ascii_lowercase();
        match scheme.as_str() {
            "https" | "http" => {
                let authority = uri.authority.ok_or(InvalidRedirectUri::NotAbsolute)?;
                if authority.host.is_empty() {
                    return Err(InvalidRedirectUri::NotAbsolute);
                }
                if scheme == "http" && !authority.is_loopback() {
                    return Err(InvalidRedirectUri::PlainHttp);
                }
            }
            scheme if is_dangerous_scheme(scheme) => {
                return Err(InvalidRedirectUri::DangerousScheme);
            }
            _ => {
                if uri.path.is_empty() && uri.authority.is_none_or(|authority| authority.host.is_empty()) {
                    return Err(InvalidRedirectUri::NotAbsolute);
                }
            }
        }
        Ok(Self(text.into()))
    }

    /// The redirect URI as registered.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether what a client presents is this redirect URI: the same string, or the same but for the port where the host
    /// is spelled `127.0.0.1`, `[::1]` or `localhost` under plain http. The three names are not aliases of each other.
    pub fn matches(&self, presented: &str) -> bool {
        if *self.0 == *presented {
            return true;
        }
        match (split_loopback(&self.0), split_loopback(presented)) {
            (Some(registered), Some(presented)) => registered == presented,
            _ => false,
        }
    }

    /// Whether it leads to an https host that is not this computer: nobody but that site can answer there.
    pub fn is_web(&self) -> bool {
        matches!(self.host(), RedirectHost::Web(host) if !is_loopback_host(host))
    }

    /// The application type that redirect URIs show (OpenID Connect DCR §2): web when all lead to the web. What a client
    /// says of itself does not count; Cursor calls itself "web" and is not.
    pub fn application_type(uris: &[Self]) -> ApplicationType {
        if uris.iter().all(Self::is_web) {
            ApplicationType::Web
        } else {
            ApplicationType::Native
        }
    }

    /// Where it leads.
    pub fn host(&self) -> RedirectHost<'_> {
        redirect_host(&self.0)
    }
}

/// Where a redirect URI leads, for a text that has matched a registered one.
pub fn redirect_host(text: &str) -> RedirectHost<'_> {
    match Uri::parse(text) {
        Some(Uri {
            scheme,
            authority: Some(authority),
            ..
        }) if scheme.eq_ignore_ascii_case("https") => RedirectHost::Web(authority.host),
        Some(Uri {
            scheme,
            authority: Some(authority),
            ..
        }) if scheme.eq_ignore_ascii_case("http") => RedirectHost::Loopback(authority.host),
        _ => RedirectHost::App(text.split_once(':').map_or(text, |(scheme, _)| scheme)),
    }
}

/// Host and everything behind the port of a plain-http loopback URI; the port itself must be a good one.
fn split_loopback(text: &str) -> Option<(&str, &str)> {
    let rest = text.strip_prefix("http://")?;
    let host_end = if rest.starts_with('[') {
        rest.find(']')? + 1
    } else {
        rest.find([':', '/', '?']).unwrap_or(rest.len())
    };
    let (host, rest) = rest.split_at(host_end);
    if !is_loopback_host(host) {
        return None;
    }
    match rest.strip_prefix(':') {
        None => Some((host, rest)),
        Some(rest) => {
            let (port, rest) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
            parse_port(port).map(|_| (host, rest))
        }
    }
}

impl fmt::Display for RedirectUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RedirectUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl<'de> serde::Deserialize<'de> for RedirectUri {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    fn registered(text: &str) -> RedirectUri {
        RedirectUri::parse(text).unwrap()
    }

    /// M-089; RFC 6749 §3.1.2.3
    #[test]
    fn comparison_is_of_plain_strings() {
        let web = registered("https://client.example/cb");
        assert!(web.matches("https://client.example/cb"));
        for other in [
            "https://client.example/cb?x=1",
            "https://client.example/cb?",
            "https://client.example/CB",
            "HTTPS://client.example/cb",
            "https://CLIENT.example/cb",
            "https://client.example/cb/../evil",
            "https://client.example:443/cb",
            "https://client.example@evil.example/cb",
            "https://client.example/cb#",
            "https://client.example\\@evil.example/cb",
            "//client.example/cb",
            "",
            "https://client.example/cb ",
            "https://client.example./cb",
            "https%3A%2F%2Fclient.example%2Fcb",
        ] {
            assert!(!web.matches(other), "{other}");
        }
    }

    /// M-090; RFC 8252 §7.3
    #[test]
    fn only_the_port_of_a_loopback_host_may_vary() {
        let native = registered("http://127.0.0.1/cb");
        for good in [
            "http://127.0.0.1:54321/cb",
            "http://127.0.0.1:1/cb",
            "http://127.0.0.1/cb",
        ] {
            assert!(native.matches(good), "{good}");
        }
        for bad in [
            "http://127.0.0.1:5000/evil",
            "http://127.0.0.1:5000/cb?x=1",
            "http://127.0.0.1:5000/CB",
            "http://127.0.0.1:5000/",
            "https://127.0.0.1:5000/cb",
            "HTTP://127.0.0.1:5000/cb",
            "http://127.0.0.1:0/cb",
            "http://127.0.0.1:99999/cb",
            "http://127.0.0.1:-1/cb",
            "http://127.0.0.1:5000:6000/cb",
            "http://127.0.0.1:%35000/cb",
            "http://127.0.0.1:５０００/cb",
            "http://127.0.0.1:5000 /cb",
            "http://localhost:5000/cb",
            "http://[::1]:5000/cb",
            "http://127.0.0.2:5000/cb",
            "http://127.0.0.1:/cb",
            "http://x@127.0.0.1:5000/cb",
        ] {
            assert!(!native.matches(bad), "{bad}");
        }
        assert!(registered("http://localhost:8787/callback").matches("http://localhost:1/callback"));
        assert!(registered("http://[::1]/cb").matches("http://[::1]:7/cb"));
        assert!(registered("http://127.0.0.1/").matches("http://127.0.0.1:33418/"));
        assert!(registered("http://127.0.0.1").matches("http://127.0.0.1:33418"));
        assert!(!registered("http://127.0.0.1").matches("http://127.0.0.1:33418/"));
        assert!(!registered("https://localhost/cb").matches("https://localhost:1/cb"));
    }

    #[test]
    fn a_private_use_scheme_matches_itself_alone() {
        let app = registered("com.example.app:/cb");
        for bad in [
            "com.example.app://evil/cb",
            "com.example.app:/evil",
            "COM.EXAMPLE.APP:/cb",
            "com.example.app:cb",
        ] {
            assert!(!app.matches(bad), "{bad}");
        }
        assert!(RedirectUri::parse("cursor://anysphere.cursor-mcp/oauth/callback").is_ok());
    }

    #[test]
    fn what_may_not_be_registered_is_refused() {
        use InvalidRedirectUri as No;
        for (bad, why) in [
            ("javascript:alert(1)", No::DangerousScheme),
            ("JavaScript:alert(1)", No::DangerousScheme),
            ("data:text/html,x", No::DangerousScheme),
            ("file:///etc/passwd", No::DangerousScheme),
            ("http://client.example/cb", No::PlainHttp),
            ("http://127.0.0.2/cb", No::PlainHttp),
            ("https://client.example/cb#f", No::Fragment),
            ("https://*.example.com/cb", No::Pattern),
            ("com.example.app:*", No::Pattern),
            ("*", No::Pattern),
            ("https://a:b@client.example/cb", No::NotAbsolute),
            ("/cb", No::NotAbsolute),
            ("https:///cb", No::NotAbsolute),
            ("https:client.example/cb", No::NotAbsolute),
            ("cursor:", No::NotAbsolute),
            ("https://cl\u{456}ent.example/cb", No::NotAbsolute),
        ] {
            assert_eq!(RedirectUri::parse(bad), Err(why), "{bad}");
        }
    }

    #[test]
    fn a_person_is_told_where_it_leads() {
        assert_eq!(
            registered("https://claude.ai/api/cb").host(),
            RedirectHost::Web("claude.ai")
        );
        assert_eq!(
            registered("http://localhost:1/cb").host(),
            RedirectHost::Loopback("localhost")
        );
        assert_eq!(registered("cursor://x/y").host(), RedirectHost::App("cursor"));
    }

    proptest::proptest! {
        /// A presented URI that matches is the registered one once its port is taken out.
        #[test]
        fn a_match_differs_in_nothing_but_a_loopback_port(
            host in "(127\\.0\\.0\\.1|localhost|client\\.example)", path in "/[a-z]{0,3}", other in "/[a-z]{0,3}",
            port in 0_u32..70_000,
        ) {
            let scheme = if host == "client.example" { "https" } else { "http" };
            let registered = RedirectUri::parse(&format!("{scheme}://{host}{path}")).unwrap();
            let presented = format!("{scheme}://{host}:{port}{other}");
            let expected = scheme == "http" && path == other && (1..=65_535).contains(&port);
            proptest::prop_assert_eq!(registered.matches(&presented), expected);
        }
    }
}
