//! Which endpoints scripts on other sites may call: metadata, the key set, token, registration, revocation and device
//! authorization, none of which looks at cookies. Never authorize and the pages; introspection is for servers.
//!
//! A handler marks its answer with [`open`]; the router's outermost layer, [`decide`], says to whom it is readable.

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use mcp_authflow_types::cors::{AllowedOrigins, CorsPolicy, CorsRequest};

/// The mark on an answer that scripts may read; with the methods when it is the answer to a pre-flight.
#[derive(Clone, Copy)]
struct Open {
    preflight: Option<&'static str>,
}

/// Opens an answer to the allowed origins. Nothing here rests on cookies, so nothing is given away by it.
pub(crate) fn open(mut response: Response) -> Response {
    response.extensions_mut().insert(Open { preflight: None });
    response
}

/// Answers a pre-flight for the given methods, whatever it asks for.
pub(crate) fn preflight(methods: &'static str) -> Response {
    let mut response = Response::default();
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
        .headers_mut()
        .insert(header::ALLOW, HeaderValue::from_static(methods));
    response.extensions_mut().insert(Open {
        preflight: Some(methods),
    });
    response
}

/// Writes the headers of the answers that are marked.
pub(crate) async fn decide(State(origins): State<AllowedOrigins>, request: Request, next: Next) -> Response {
    let sent: Vec<HeaderValue> = request
        .headers()
        .get_all(header::ORIGIN)
        .iter()
        .cloned()
        .collect();
    let mut response = next.run(request).await;
    if let Some(open) = response.extensions_mut().remove::<Open>() {
        write(response.headers_mut(), origins, &sent, open);
    }
    response
}

fn write(headers: &mut HeaderMap, origins: AllowedOrigins, sent: &[HeaderValue], open: Open) {
    let sent: Vec<&str> = sent
        .iter()
        .map(|value| value.to_str().unwrap_or_default())
        .collect();
    let policy = CorsPolicy::endpoint(origins, open.preflight.unwrap_or_default());
    let request = CorsRequest {
        origins: &sent,
        is_preflight: open.preflight.is_some(),
    };
    for (name, value) in policy.headers(request) {
        // Both are plain ASCII: a listed origin, or texts of ours.
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            if name == header::VARY {
                headers.append(name, value);
            } else {
                headers.insert(name, value);
            }
        }
    }
}
