//! What of an answer's head is passed back.

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header, response::Parts};

use super::request_head::{connection_options, query_for_upstream};
use crate::{trouble::Trouble, upstream::Endpoint};

/// Between two neighbours only; or a statement about our origin, which is the authorization server's too and not the
/// upstream's to speak for: its cookies would meet ours there, and its CORS answers and challenges those of the layer in
/// front. The last ones tell strangers what runs behind, or make a web server in front of us send files of its own.
const STOPS_HERE: [&str; 33] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "www-authenticate",
    "proxy-authenticate",
    "authentication-info",
    "proxy-authentication-info",
    "set-cookie",
    "set-cookie2",
    "clear-site-data",
    "strict-transport-security",
    "public-key-pins",
    "expect-ct",
    "alt-svc",
    "service-worker-allowed",
    "refresh",
    "report-to",
    "reporting-endpoints",
    "nel",
    "origin-agent-cluster",
    "server",
    "x-powered-by",
    "x-sendfile",
    "x-lighttpd-send-file",
    "x-lighttpd-send-tempfile",
    "x-litespeed-location",
    "x-reproxy-file",
    "x-reproxy-url",
    "surrogate-control",
];

const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Judges the head and makes it fit to be passed back.
pub(super) fn judge(head: &mut Parts, endpoint: &Endpoint, public_path: &str) -> Result<(), Trouble> {
    // A 401 of the upstream's would send the client, whose token is good, to sign in again, and again.
    if head.status == StatusCode::UNAUTHORIZED || head.status == StatusCode::PROXY_AUTHENTICATION_REQUIRED {
        return Err(Trouble::AsksForCredentials(head.status.as_u16()));
    }
    if head.status.is_informational() {
        return Err(Trouble::Broken(format!(
            "it answered with status {}",
            head.status
        )));
    }
    let named_by_connection = connection_options(&head.headers);
    let stops: Vec<HeaderName> = head
        .headers
        .keys()
        .filter(|name| {
            let name = name.as_str();
            STOPS_HERE.contains(&name)
                || name.starts_with("access-control-")
                || name.starts_with("authflow-")
                || name.starts_with("x-accel-")
                // RFC 9213: for caches in front of us, and stronger there than what we say.
                || name.ends_with("-cache-control")
                || named_by_connection.iter().any(|named| named == name)
        })
        .cloned()
        .collect();
    for name in stops {
        head.headers.remove(name);
    }
    if let Some(location) = head.headers.get(header::LOCATION).cloned() {
        let ours = location
            .to_str()
            .ok()
            .and_then(|location| our_location(location, endpoint, public_path));
        match ours {
            Some(ours) => {
                head.headers.insert(header::LOCATION, ours);
            }
            None if head.status.is_redirection() => {
                let shown = location.to_str().unwrap_or("something unreadable");
                let shown = shown.split('?').next().unwrap_or_default();
                return Err(Trouble::RedirectsElsewhere(shown.chars().take(200).collect()));
            }
            None => {
                head.headers.remove(header::LOCATION);
            }
        }
    }
    // The upstream saw no credentials and may think its answers are everybody's (RFC 9111 §3.5).
    if is_for_everybody(&head.headers) {
        let no_store = HeaderValue::from_static("no-store");
        head.headers.insert(header::CACHE_CONTROL, no_store);
    }
    if is_event_stream(&head.headers) {
        // A proxy in front of us is not to collect events.
        let no = HeaderValue::from_static("no");
        head.headers.insert(X_ACCEL_BUFFERING, no);
    }
    Ok(())
}

pub(super) fn is_event_stream(headers: &HeaderMap) -> bool {
    let content_type = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let essence = content_type.and_then(|value| value.split(';').next());
    essence.is_some_and(|essence| essence.trim().eq_ignore_ascii_case("text/event-stream"))
}

fn is_for_everybody(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::CACHE_CONTROL).iter();
    values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|directive| directive.split('=').next())
        .any(|name| {
            ["public", "s-maxage", "must-revalidate", "proxy-revalidate"]
                .iter()
                .any(|shared| name.trim().eq_ignore_ascii_case(shared))
        })
}

/// The path of a redirect that changes the endpoint's path by a slash at its end, and nothing else.
pub(super) fn other_spelling(location: &str, endpoint: &Endpoint) -> Option<String> {
    let uri: Uri = location.parse().ok()?;
    let is_here = match uri.authority() {
        Some(authority) => {
            uri.scheme() == Some(&endpoint.scheme)
                && authority
                    .as_str()
                    .eq_ignore_ascii_case(endpoint.authority.as_str())
        }
        None => location.starts_with('/'),
    };
    let path = uri.path();
    let is_same = path.strip_suffix('/').unwrap_or(path) == endpoint.base;
    (is_here && is_same && path != endpoint.path).then(|| path.to_owned())
}

/// Where on our side a place of the upstream's is, when it is below its endpoint.
fn our_location(location: &str, endpoint: &Endpoint, public_path: &str) -> Option<HeaderValue> {
    let uri: Uri = location.parse().ok()?;
    if uri.authority().is_some_and(|authority| {
        !authority
            .as_str()
            .eq_ignore_ascii_case(endpoint.authority.as_str())
    }) {
        return None;
    }
    if !location.starts_with('/') && uri.authority().is_none() {
        return None;
    }
    let rest = uri.path().strip_prefix(endpoint.base.as_str())?;
    if !rest.is_empty() && !rest.starts_with('/') || rest.split('/').any(|part| part == "..") {
        return None;
    }
    // Frameworks repeat the query that they were asked with, and the operator's may be a secret.
    let own = endpoint.query.as_deref().unwrap_or_default();
    let query = uri.query().map(|query| query_for_upstream(query, own));
    let query = query
        .filter(|query| !query.is_empty())
        .map(|query| format!("?{query}"))
        .unwrap_or_default();
    let ours = format!("{public_path}{rest}{query}");
    let ours = if ours.starts_with('/') {
        ours
    } else {
        format!("/{ours}")
    };
    // `//host` would be another server.
    if ours.starts_with("//") {
        return None;
    }
    HeaderValue::try_from(ours).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    #[test]
    fn a_redirect_below_the_endpoint_becomes_ours_and_no_other() {
        let endpoint = Endpoint::parse("http://127.0.0.1:9000/mcp", false).unwrap();
        for (location, ours) in [
            ("/mcp/", Some("/public/")),
            ("http://127.0.0.1:9000/mcp/?a=1", Some("/public/?a=1")),
            ("/mcp", Some("/public")),
            ("/login", None),
            ("/mcp/../login", None),
            ("/mcpx", None),
            ("login", None),
            ("http://127.0.0.1:9001/mcp/", None),
            ("https://evil.example/mcp/", None),
            ("//evil.example/mcp/", None),
        ] {
            let got = our_location(location, &endpoint, "/public");
            assert_eq!(
                got.as_ref().map(|value| value.to_str().unwrap()),
                ours,
                "{location}"
            );
        }
        for (location, path) in [
            ("/mcp/", Some("/mcp/")),
            ("http://127.0.0.1:9000/mcp/?a=1", Some("/mcp/")),
            ("https://127.0.0.1:9000/mcp/", None),
            ("http://127.0.0.1:9001/mcp/", None),
            ("/mcp", None),
            ("/mcp//", None),
            ("/other/", None),
        ] {
            assert_eq!(other_spelling(location, &endpoint).as_deref(), path, "{location}");
        }
        let secret = Endpoint::parse("http://127.0.0.1:9000/mcp?key=SECRET", false).unwrap();
        for (location, ours) in [
            ("/mcp/?key=SECRET", "/public/"),
            ("http://127.0.0.1:9000/mcp/?a=1&key=SECRET", "/public/?a=1"),
        ] {
            assert_eq!(our_location(location, &secret, "/public").unwrap(), ours);
        }
        let root = Endpoint::parse("http://127.0.0.1:9000/", false).unwrap();
        assert_eq!(our_location("//evil.example", &root, ""), None);
    }
}
