//! Which endpoints scripts on other sites may call (M-132): metadata, token, registration and revocation, none of which
//! looks at cookies. Never authorize and the pages; introspection is for servers.

use axum::response::Response;
use http::{HeaderName, HeaderValue, StatusCode, header};

/// Opens an answer to every origin. Nothing here rests on cookies, so nothing is given away by it.
pub(crate) fn open(mut response: Response) -> Response {
    const EXPOSED: &str = "WWW-Authenticate, Retry-After, X-Request-Id";
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(
        header::ACCESS_CONTROL_EXPOSE_HEADERS,
        HeaderValue::from_static(EXPOSED),
    );
    response
}

/// Answers a pre-flight for the given methods.
pub(crate) fn preflight(methods: &'static str) -> Response {
    const HEADERS: &str = "Authorization, Content-Type, MCP-Protocol-Version";
    let mut response = Response::default();
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    let mut put = |name: HeaderName, value| headers.insert(name, HeaderValue::from_static(value));
    put(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
    put(header::ACCESS_CONTROL_ALLOW_HEADERS, HEADERS);
    put(header::ACCESS_CONTROL_MAX_AGE, "600");
    put(header::ALLOW, methods);
    open(response)
}
