//! Which browser pages may call: the `Origin` check of the MCP transport (M-130) and the CORS headers that let allowed
//! pages read the answers (M-132).

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header, request::Parts};
use mcp_authflow_types::{Resource, cors::Origin, uri::Uri};

use crate::refusal::Refusal;

/// What a page's script may read of an answer beyond the body.
const EXPOSED: &str = "WWW-Authenticate, Mcp-Session-Id, MCP-Protocol-Version";
/// What an MCP client sends to its endpoint (MCP transports, 2025-03-26 to 2026-07-28). `Mcp-Param-…` and its kin come
/// on top, as asked for.
const ALLOWED: &str = "Authorization, Content-Type, Accept, MCP-Protocol-Version, Mcp-Session-Id, Mcp-Method, Mcp-Name, \
                       Last-Event-ID";
const METHODS: &str = "GET, POST, DELETE";
/// How long a browser may remember a pre-flight: ten minutes, the most that all browsers honour.
const MAX_AGE: &str = "600";

/// The origins from which a browser page may call.
#[derive(Clone, Debug, Default)]
pub(crate) struct Origins {
    allowed: Vec<Origin>,
    any_loopback: bool,
}

impl Origins {
    /// The resource's own origin and, when the resource is on this computer, all others on it.
    pub(crate) fn of(resource: &Resource) -> Self {
        Self {
            allowed: origin_of(resource.as_str()).into_iter().collect(),
            any_loopback: resource.is_loopback(),
        }
    }

    /// Adds an origin; `false` when it is none.
    pub(crate) fn allow(&mut self, origin: &str) -> bool {
        let origin = Origin::parse(origin);
        let is_one = origin.is_ok();
        self.allowed.extend(origin);
        is_one
    }

    /// Makes sure that the page that asks, if a page asks, is an allowed one; answers its origin for the CORS headers.
    pub(crate) fn check(&self, request: &Parts) -> Result<Option<HeaderValue>, Refusal> {
        let mut headers = request.headers.get_all(header::ORIGIN).iter();
        let Some(origin) = headers.next() else {
            return Ok(None);
        };
        let text = origin.to_str().unwrap_or_default();
        if headers.next().is_none() && Origin::parse(text).is_ok_and(|origin| self.contain(&origin)) {
            Ok(Some(origin.clone()))
        } else {
            Err(Refusal::ForeignOrigin)
        }
    }

    fn contain(&self, origin: &Origin) -> bool {
        let on_this_computer = || {
            Uri::parse(origin.as_str()).is_some_and(|uri| {
                matches!(uri.scheme, "http" | "https")
                    && uri.authority.is_some_and(|authority| authority.is_loopback())
            })
        };
        self.allowed.contains(origin) || (self.any_loopback && on_this_computer())
    }
}

/// The origin of an absolute URL.
fn origin_of(url: &str) -> Option<Origin> {
    let host_at = url.find("://")? + 3;
    let end = url[host_at..]
        .find(['/', '?', '#'])
        .map_or(url.len(), |at| host_at + at);
    Origin::parse(&url[..end]).ok()
}

/// Whether the request is a browser's question before the real one. It carries no token, by design of the browsers.
pub(crate) fn is_preflight(request: &Parts) -> bool {
    request.method == Method::OPTIONS
        && request.headers.contains_key(header::ORIGIN)
        && request
            .headers
            .contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// The answer to a pre-flight of an allowed page; [`admit`] makes it readable.
pub(crate) fn preflight_answer(request: &Parts) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_METHODS,
        HeaderValue::from_static(METHODS),
    );
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_HEADERS,
        allowed_headers(&request.headers),
    );
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(MAX_AGE));
    response
}

/// The fixed list, and whichever `Mcp-…` headers are asked for (`Mcp-Param-…` of 2026-07-28 have names of the tools').
fn allowed_headers(request: &HeaderMap) -> HeaderValue {
    let asked = request
        .get(header::ACCESS_CONTROL_REQUEST_HEADERS)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let is_mcp = |name: &&str| {
        name.get(..4)
            .is_some_and(|start| start.eq_ignore_ascii_case("mcp-"))
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !ALLOWED.split(", ").any(|known| known.eq_ignore_ascii_case(name))
    };
    let list = asked
        .split(',')
        .map(str::trim)
        .filter(is_mcp)
        .fold(ALLOWED.to_owned(), |list, name| format!("{list}, {name}"));
    HeaderValue::try_from(list).unwrap_or(HeaderValue::from_static(ALLOWED))
}

/// Makes an answer readable for the page of `origin`, and says on what it depends.
pub(crate) fn admit(headers: &mut HeaderMap, origin: Option<&HeaderValue>) {
    headers.append(header::VARY, HeaderValue::from_static("Authorization, Origin"));
    if let Some(origin) = origin {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        headers.insert(
            header::ACCESS_CONTROL_EXPOSE_HEADERS,
            HeaderValue::from_static(EXPOSED),
        );
    }
}

/// Makes a public document readable for every page, pre-flight included: clients send `MCP-Protocol-Version` along.
pub(crate) fn admit_all(headers: &mut HeaderMap) {
    for (name, value) in [
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, HEAD"),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, "*"),
        (header::ACCESS_CONTROL_MAX_AGE, MAX_AGE),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use http::Request;

    use super::*;

    fn check(origins: &Origins, sent: &[&str]) -> Result<Option<HeaderValue>, Refusal> {
        let mut request = Request::post("/mcp").body(()).unwrap();
        for origin in sent {
            let origin = HeaderValue::from_str(origin).unwrap();
            request.headers_mut().append(header::ORIGIN, origin);
        }
        origins.check(&request.into_parts().0)
    }

    fn is_allowed(origins: &Origins, origin: &str) -> bool {
        check(origins, &[origin]).is_ok()
    }

    fn origins(resource: &str) -> Origins {
        Origins::of(&Resource::parse(resource).unwrap())
    }

    /// M-130
    #[test]
    fn a_public_server_is_called_by_its_own_and_listed_pages_only() {
        let mut origins = origins("https://RS.test:443/mcp");
        assert!(origins.allow("https://app.test"));
        assert!(origins.allow("vscode-webview://one"));
        for good in [
            "https://rs.test",
            "https://app.test",
            "https://app.test:443",
            "vscode-webview://one",
        ] {
            assert!(is_allowed(&origins, good), "{good}");
        }
        for bad in [
            "http://rs.test",
            "https://rs.test:8443",
            "https://rs.test.evil.test",
            "https://evil.test",
            "http://localhost:6274",
            "http://127.0.0.1",
            "null",
            "",
            "https://app.test/",
            "https://app.test?",
            "https://u@app.test",
        ] {
            assert!(!is_allowed(&origins, bad), "{bad}");
        }
        assert_eq!(check(&origins, &[]), Ok(None));
        assert_eq!(
            check(&origins, &["https://app.test", "https://app.test"]),
            Err(Refusal::ForeignOrigin)
        );
    }

    #[test]
    fn a_server_on_this_computer_is_called_by_all_pages_on_it() {
        let origins = origins("http://127.0.0.1:8001/mcp");
        for good in ["http://127.0.0.1:8001", "http://localhost:6274", "https://[::1]"] {
            assert!(is_allowed(&origins, good), "{good}");
        }
        for bad in [
            "http://evil.test",
            "http://localhost.evil.test",
            "http://127.0.0.1.evil.test",
            "x://localhost",
        ] {
            assert!(!is_allowed(&origins, bad), "{bad}");
        }
    }

    #[test]
    fn what_is_no_origin_cannot_be_listed() {
        for bad in [
            "*",
            "null",
            "app.test",
            "https://app.test/",
            "https://*.app.test",
            "",
        ] {
            assert!(!Origins::default().allow(bad), "{bad}");
        }
    }

    /// M-131, M-132
    #[test]
    fn headers_of_the_mcp_family_are_let_through_when_asked_for() {
        let mut headers = HeaderMap::new();
        let asked = HeaderValue::from_static("authorization, mcp-param-City, x-evil, mcp-a b, mcp-name");
        headers.insert(header::ACCESS_CONTROL_REQUEST_HEADERS, asked);
        assert_eq!(allowed_headers(&headers), format!("{ALLOWED}, mcp-param-City"));
    }
}
