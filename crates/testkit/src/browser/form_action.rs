//! `form-action` of the Content-Security-Policy, which browsers hold redirects after a form to as well.
//!
//! A consent page whose policy forgets the client's redirect URI works in every test
//! without a browser and in no browser.

use http::HeaderMap;
use url::Url;

/// Whether a form of the page with these header fields may end at `target`.
pub(super) fn allows(headers: &HeaderMap, page: &Url, target: &Url) -> bool {
    headers
        .get_all("content-security-policy")
        .iter()
        .filter_map(|policy| policy.to_str().ok())
        .filter_map(sources)
        .all(|sources| {
            sources
                .split_ascii_whitespace()
                .any(|source| matches(source, page, target))
        })
}

/// The sources of the directive; `form-action` does not fall back to `default-src`.
fn sources(policy: &str) -> Option<&str> {
    policy
        .split(';')
        .find_map(|directive| directive.trim().strip_prefix("form-action"))
}

fn matches(source: &str, page: &Url, target: &Url) -> bool {
    if source == "'self'" {
        return target.origin() == page.origin();
    }
    if let Some(scheme) = source.strip_suffix(':') {
        return target.scheme() == scheme;
    }
    let Some((scheme, place)) = source.split_once("://") else {
        return false;
    };
    let (host, port) = match place.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port),
        _ => (place, ""),
    };
    let has_port = match port {
        "*" => true,
        "" => target.port().is_none(),
        port => target
            .port_or_known_default()
            .is_some_and(|actual| actual.to_string() == port),
    };
    target.scheme() == scheme && target.host_str() == Some(host) && has_port
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    fn allowed(policy: &str, target: &str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert("content-security-policy", policy.parse().unwrap());
        allows(
            &headers,
            &"http://127.0.0.1:8000/ui/".parse().unwrap(),
            &target.parse().unwrap(),
        )
    }

    #[test]
    fn a_form_may_end_at_its_own_origin_and_at_the_sources_named() {
        let policy = "default-src 'none'; form-action 'self' https://a.example http://127.0.0.1:* cursor:; object-src x";
        for target in [
            "http://127.0.0.1:8000/x",
            "http://127.0.0.1:5/callback",
            "https://a.example/cb?code=1",
            "cursor://anything/callback",
        ] {
            assert!(allowed(policy, target), "{target}");
        }
        for target in [
            "https://b.example/",
            "http://a.example/",
            "https://a.example:8443/",
            "vscode://x/",
        ] {
            assert!(!allowed(policy, target), "{target}");
        }
        assert!(allowed("form-action http://[::1]:7", "http://[::1]:7/cb"));
        assert!(!allowed("form-action http://[::1]", "http://[::1]:7/cb"));
    }

    #[test]
    fn without_the_directive_everything_is_allowed_and_with_an_empty_one_nothing() {
        assert!(allowed("default-src 'none'", "https://b.example/"));
        assert!(!allowed("form-action 'none'", "http://127.0.0.1:8000/"));
    }
}
