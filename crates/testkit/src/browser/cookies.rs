//! The browser's cookies, by the rules of RFC 6265bis that a server can trip over.

#![expect(
    clippy::disallowed_methods,
    reason = "a browser has a clock of its own, by which its cookies expire"
)]

use std::time::{Duration, Instant};

use cookie::{Cookie, CookieBuilder};
use url::Url;

/// Cookies of one person's browser.
///
/// As in a real one, a cookie belongs to a host and not to a port, and a cookie that
/// breaks a rule is dropped without a word. `SameSite` is not modelled: the pages
/// that this browser visits are all navigations.
#[derive(Debug, Default)]
pub(super) struct Jar {
    kept: Vec<Kept>,
}

#[derive(Debug)]
struct Kept {
    host: String,
    path: String,
    name: String,
    value: String,
    is_secure: bool,
    expires: Option<Instant>,
}

impl Jar {
    /// Takes one `Set-Cookie` field of an answer from `url`.
    pub(super) fn store(&mut self, url: &Url, field: &str) {
        let Ok(cookie) = Cookie::parse(field) else {
            return;
        };
        let host = url.host_str().unwrap_or_default().to_owned();
        let is_secure = cookie.secure().unwrap_or(false);
        let has_domain = cookie.domain().is_some();
        let path = cookie
            .path()
            .filter(|path| path.starts_with('/'))
            .map_or_else(|| default_path(url), str::to_owned);
        // RFC 6265bis §4.1.3: a prefix is a promise about the attributes.
        let keeps_its_promise = match cookie.name() {
            name if name.starts_with("__Host-") => is_secure && !has_domain && path == "/",
            name if name.starts_with("__Secure-") => is_secure,
            _ => true,
        };
        // A host's own cookies are all that our server sets; a Domain is refused here.
        if has_domain || !keeps_its_promise || (is_secure && url.scheme() != "https") {
            return;
        }
        self.kept.retain(|kept| {
            (kept.host.as_str(), kept.path.as_str(), kept.name.as_str()) != (&*host, &*path, cookie.name())
        });
        let lifetime = lifetime(&cookie);
        if lifetime == Some(Duration::ZERO) {
            return;
        }
        self.kept.push(Kept {
            host,
            path,
            name: cookie.name().to_owned(),
            value: cookie.value().to_owned(),
            is_secure,
            expires: lifetime.map(|lifetime| Instant::now() + lifetime),
        });
    }

    /// The `Cookie` field for a request to `url`.
    pub(super) fn header(&self, url: &Url) -> Option<String> {
        let now = Instant::now();
        let pairs: Vec<String> = self
            .kept
            .iter()
            .filter(|kept| kept.expires.is_none_or(|expires| now < expires))
            .filter(|kept| url.host_str() == Some(&kept.host))
            .filter(|kept| !kept.is_secure || url.scheme() == "https")
            .filter(|kept| covers(&kept.path, url.path()))
            .map(|kept| format!("{}={}", kept.name, kept.value))
            .collect();
        (!pairs.is_empty()).then(|| pairs.join("; "))
    }

    /// The value of a cookie, whatever host set it.
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.kept
            .iter()
            .find(|kept| kept.name == name)
            .map(|kept| kept.value.as_str())
    }

    /// Puts a cookie there as if the server had set it.
    pub(super) fn plant(&mut self, url: &Url, name: &str, value: &str) {
        self.store(
            url,
            &CookieBuilder::new(name, value).path("/").build().to_string(),
        );
    }
}

/// How long to keep it: `None` until the browser closes. `Max-Age` wins (RFC 6265 §5.3).
fn lifetime(cookie: &Cookie<'_>) -> Option<Duration> {
    if let Some(age) = cookie.max_age() {
        return Some(Duration::try_from(age).unwrap_or(Duration::ZERO));
    }
    let expires = cookie.expires_datetime()?;
    let now = std::time::SystemTime::now();
    Some(
        std::time::SystemTime::from(expires)
            .duration_since(now)
            .unwrap_or(Duration::ZERO),
    )
}

/// RFC 6265 §5.1.4, the default path: up to the last slash of the request's.
fn default_path(url: &Url) -> String {
    match url.path().rfind('/') {
        Some(at) if at > 0 => url.path()[..at].to_owned(),
        _ => "/".to_owned(),
    }
}

/// RFC 6265 §5.1.4, path-match.
fn covers(cookie_path: &str, path: &str) -> bool {
    path.strip_prefix(cookie_path)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || cookie_path.ends_with('/'))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    fn header_after(set: &[&str], from: &str, to: &str) -> Option<String> {
        let mut jar = Jar::default();
        for field in set {
            jar.store(&from.parse().unwrap(), field);
        }
        jar.header(&to.parse().unwrap())
    }

    #[test]
    fn a_cookie_goes_back_to_its_host_and_path_only() {
        let set = &["a=1; Path=/", "b=2; Path=/ui", "c=3"];
        let from = "http://127.0.0.1:8000/x/y";
        assert_eq!(
            header_after(set, from, "http://127.0.0.1:9/ui/z").unwrap(),
            "a=1; b=2"
        );
        assert_eq!(
            header_after(set, from, "http://127.0.0.1:8000/x/q").unwrap(),
            "a=1; c=3"
        );
        assert_eq!(
            header_after(set, from, "http://127.0.0.1:8000/uix").unwrap(),
            "a=1"
        );
        assert_eq!(header_after(set, from, "http://localhost:8000/x/q"), None);
    }

    #[test]
    fn a_cookie_set_again_is_replaced_and_max_age_zero_removes_it() {
        let url = "http://127.0.0.1/";
        assert_eq!(
            header_after(&["a=1; Path=/", "a=2; Path=/"], url, url).unwrap(),
            "a=2"
        );
        assert_eq!(
            header_after(&["a=1; Path=/", "a=; Path=/; Max-Age=0"], url, url),
            None
        );
        let past = "a=; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT";
        assert_eq!(header_after(&["a=1; Path=/", past], url, url), None);
    }

    #[test]
    fn a_broken_promise_is_dropped() {
        let https = "https://as.example/";
        for field in [
            "__Host-a=1; Path=/",
            "__Host-a=1; Secure; Path=/ui",
            "__Host-a=1; Secure; Path=/; Domain=as.example",
        ] {
            assert_eq!(header_after(&[field], https, https), None, "{field}");
        }
        assert_eq!(
            header_after(&["__Host-a=1; Secure; Path=/"], https, https).unwrap(),
            "__Host-a=1"
        );
        assert_eq!(
            header_after(&["a=1; Secure; Path=/"], "http://127.0.0.1/", "http://127.0.0.1/"),
            None
        );
    }
}
