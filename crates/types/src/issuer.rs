//! The issuer identifier (RFC 8414 §2): one string, kept byte for byte, from which every other address is made.

use std::fmt;

use crate::uri::Uri;

/// The server's name: `https://host[:port][/path]`, or plain http on loopback. No query, no fragment, no trailing
/// slash, and never printed through a URL library: one slash too many breaks half of all clients.
///
/// ```
/// use mcp_authflow_types::Issuer;
///
/// let issuer = Issuer::parse("https://auth.example/tenant")?;
/// assert_eq!(issuer.path(), "/tenant");
/// assert_eq!(issuer.endpoint("/token"), "https://auth.example/tenant/token");
/// # Ok::<(), mcp_authflow_types::issuer::InvalidIssuer>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Issuer {
    text: Box<str>,
    path_at: usize,
    is_loopback: bool,
}

/// Why a text cannot be an issuer; each says the remedy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidIssuer {
    /// Not an absolute URI.
    #[error("an issuer is an absolute URL such as https://auth.example")]
    NotAUrl,
    /// Plain http beyond loopback.
    #[error("an issuer is https; plain http is only for 127.0.0.1, [::1] and localhost")]
    NotHttps,
    /// Upper case in scheme or host.
    #[error("write the issuer's scheme and host in lower case: clients compare it byte for byte")]
    UpperCase,
    /// A query or a fragment.
    #[error("an issuer has no query and no fragment (RFC 8414 section 2)")]
    QueryOrFragment,
    /// Ends in a slash.
    #[error("leave the issuer's trailing slash out: clients compare it byte for byte")]
    TrailingSlash,
    /// A path that would be read differently by different programs.
    #[error(
        "an issuer's path is made of letters, digits, '-', '_', '.' and '~', without '//' or dot segments"
    )]
    OddPath,
}

impl Issuer {
    /// Takes the text as the issuer, unchanged.
    ///
    /// # Errors
    /// [`InvalidIssuer`] says which rule is broken.
    pub fn parse(text: &str) -> Result<Self, InvalidIssuer> {
        let uri = Uri::parse(text).ok_or(InvalidIssuer::NotAUrl)?;
        let authority = uri
            .authority
            .filter(|authority| !authority.host.is_empty())
            .ok_or(InvalidIssuer::NotAUrl)?;
        let lower = |text: &str| !text.bytes().any(|b| b.is_ascii_uppercase());
        if !lower(uri.scheme) || !lower(authority.host) {
            return Err(InvalidIssuer::UpperCase);
        }
        match uri.scheme {
            "https" => {}
            "http" if authority.is_loopback() => {}
            _ => return Err(InvalidIssuer::NotHttps),
        }
        if uri.query.is_some() || uri.fragment.is_some() {
            return Err(InvalidIssuer::QueryOrFragment);
        }
        if uri.path.ends_with('/') {
            return Err(InvalidIssuer::TrailingSlash);
        }
        let segment_is_plain = |segment: &str| {
            !matches!(segment, "" | "." | "..")
                && segment
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"-_.~".contains(&b))
        };
        if !uri.path.is_empty() && !uri.path[1..].split('/').all(segment_is_plain) {
            return Err(InvalidIssuer::OddPath);
        }
        Ok(Self {
            path_at: text.len() - uri.path.len(),
            is_loopback: authority.is_loopback(),
            text: text.into(),
        })
    }

    /// The issuer, byte for byte as configured.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Scheme, host and port.
    pub fn origin(&self) -> &str {
        &self.text[..self.path_at]
    }

    /// The path, empty or beginning with a slash, never ending in one.
    pub fn path(&self) -> &str {
        &self.text[self.path_at..]
    }

    /// The address of an endpoint: the issuer followed by `path`, which begins with a slash.
    pub fn endpoint(&self, path: &str) -> String {
        format!("{}{path}", self.text)
    }

    /// Whether the host is `127.0.0.1`, `[::1]` or `localhost`.
    pub fn is_loopback(&self) -> bool {
        self.is_loopback
    }

    /// Whether the scheme is https.
    pub fn is_https(&self) -> bool {
        self.text.starts_with("https:")
    }
}

impl fmt::Display for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// M-045
    #[test]
    fn an_issuer_keeps_its_bytes() -> Result<(), InvalidIssuer> {
        for good in [
            "https://a.example",
            "https://a.example:8443/x/y",
            "http://127.0.0.1:8000",
            "http://[::1]:1/t",
        ] {
            assert_eq!(Issuer::parse(good)?.as_str(), good);
        }
        let issuer = Issuer::parse("http://localhost:8000/t")?;
        assert_eq!((issuer.origin(), issuer.path()), ("http://localhost:8000", "/t"));
        Ok(())
    }

    /// M-005
    #[test]
    fn what_clients_could_read_two_ways_is_refused() {
        use InvalidIssuer as No;
        for (bad, why) in [
            ("auth.example", No::NotAUrl),
            ("https:///x", No::NotAUrl),
            ("https://u@a.example", No::NotAUrl),
            ("http://a.example", No::NotHttps),
            ("http://127.0.0.2", No::NotHttps),
            ("https://A.example", No::UpperCase),
            ("https://a.example/", No::TrailingSlash),
            ("https://a.example/x/", No::TrailingSlash),
            ("https://a.example?x", No::QueryOrFragment),
            ("https://a.example#x", No::QueryOrFragment),
            ("https://a.example/a//b", No::OddPath),
            ("https://a.example/..", No::OddPath),
            ("https://a.example/%41", No::OddPath),
        ] {
            assert_eq!(Issuer::parse(bad), Err(why), "{bad}");
        }
    }
}
