//! The one cookie: 256 random bits that tie an authorization request, and later a session, to one browser.
//!
//! On https it is `__Host-authflow`: no other host and no sub-domain can set it. On loopback http, where that prefix does
//! not work, it is `authflow_session`. Two cookies of the name count as none: somebody is tossing.

use base64::Engine as _;
use http::{HeaderMap, HeaderValue, header};
use mcp_authflow_types::{Issuer, TokenHash};

/// How the cookie is called and sent, for an issuer.
#[derive(Clone, Debug)]
pub struct BrowserCookie {
    name: &'static str,
    is_secure: bool,
}

/// The value of the cookie. The server keeps only its digest.
pub struct BrowserSecret(String);

impl BrowserSecret {
    /// Makes a secret from 256 random bits.
    pub fn from_random(bytes: [u8; 32]) -> Self {
        Self(base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(bytes))
    }

    /// The digest by which a store knows the browser.
    pub fn hash(&self) -> TokenHash {
        TokenHash::of(&self.0)
    }
}

impl std::fmt::Debug for BrowserSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BrowserSecret(…)")
    }
}

impl BrowserCookie {
    /// The cookie of an issuer.
    pub fn of(issuer: &Issuer) -> Self {
        if issuer.is_https() {
            Self {
                name: "__Host-authflow",
                is_secure: true,
            }
        } else {
            Self {
                name: "authflow_session",
                is_secure: false,
            }
        }
    }

    /// Reads the cookie; none when it is missing, malformed or there twice.
    pub fn read(&self, headers: &HeaderMap) -> Option<BrowserSecret> {
        let mut values = headers
            .get_all(header::COOKIE)
            .iter()
            .filter_map(|header| header.to_str().ok())
            .flat_map(|header| header.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .filter(|(name, _)| *name == self.name)
            .map(|(_, value)| value);
        let value = values.next()?;
        let is_ours = value.len() == 43
            && value
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        (is_ours && values.next().is_none()).then(|| BrowserSecret(value.to_owned()))
    }

    /// The `Set-Cookie` value: for this host, out of reach of scripts, sent on top-level visits only.
    pub fn set(&self, secret: &BrowserSecret) -> HeaderValue {
        let secure = if self.is_secure { "; Secure" } else { "" };
        let text = format!(
            "{}={}; Path=/; HttpOnly; SameSite=Lax{secure}",
            self.name, secret.0
        );
        let mut value = HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static(""));
        value.set_sensitive(true);
        value
    }

    /// The `Set-Cookie` value that takes the cookie away.
    pub fn clear(&self) -> HeaderValue {
        let secure = if self.is_secure { "; Secure" } else { "" };
        let text = format!(
            "{}=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0{secure}",
            self.name
        );
        HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static(""))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    fn with_cookie(text: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::COOKIE, HeaderValue::from_str(text).unwrap())])
    }

    /// M-143
    #[test]
    fn the_cookie_is_read_back_and_only_under_its_own_name() {
        let cookie = BrowserCookie::of(&Issuer::parse("https://a.example").unwrap());
        let secret = BrowserSecret::from_random([3; 32]);
        let set = cookie.set(&secret).to_str().unwrap().to_owned();
        assert!(
            set.starts_with("__Host-authflow=") && set.ends_with("; Path=/; HttpOnly; SameSite=Lax; Secure")
        );
        let pair = set.split(';').next().unwrap();
        assert_eq!(cookie.read(&with_cookie(pair)).unwrap().hash(), secret.hash());
        assert!(
            cookie
                .read(&with_cookie(&format!("authflow_session=evil; {pair}")))
                .is_some()
        );
        for bad in [
            "authflow_session=x".to_owned(),
            format!("{pair}; {pair}"),
            "__Host-authflow=short".to_owned(),
            "__Host-authflow=".to_owned(),
            pair[..pair.len() - 1].to_owned(),
        ] {
            assert!(cookie.read(&with_cookie(&bad)).is_none(), "{bad}");
        }
    }
}
