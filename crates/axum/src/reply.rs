//! Words to HTTP, with the headers that each answer must carry.

use axum::{
    body::Body,
    response::{IntoResponse as _, Response},
};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use mcp_authflow::{SendBack, keys::PublishedKeys, port::rate_limit::retry_after_seconds};
use mcp_authflow_types::{ErrorCode, ErrorResponse};

/// A JSON answer that nobody may keep (RFC 6749 §5.1: `Cache-Control: no-store`).
pub(crate) fn json(status: StatusCode, body: String) -> Response {
    let mut response = (status, body).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    response
}

/// The key set, which everybody may keep for a while (RFC 7517 §8.5.2); 304 for whoever has it (RFC 9110 §13.1.2).
pub(crate) fn key_set(keys: &PublishedKeys, asked: &HeaderMap) -> Response {
    let mut response = if has_it(&keys.etag, asked) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let mut response = keys.body.to_string().into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/jwk-set+json"),
        );
        headers.insert(
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        );
        response
    };
    let headers = response.headers_mut();
    let cache_control = format!("public, max-age={}", keys.max_age.as_secs());
    for (name, value) in [
        (header::CACHE_CONTROL, cache_control.as_str()),
        (header::ETAG, &*keys.etag),
    ] {
        // Both are plain ASCII of our own.
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    }
    response
}

/// Whether `If-None-Match` names the tag, compared weakly (RFC 9110 §13.1.2).
fn has_it(etag: &str, asked: &HeaderMap) -> bool {
    asked
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|tag| tag.trim().trim_start_matches("W/"))
        .any(|tag| tag == etag || tag == "*")
}

/// Success with nothing to say (RFC 7009 §2.2).
pub(crate) fn nothing() -> Response {
    let mut response = json(StatusCode::OK, String::new());
    response.headers_mut().remove(header::CONTENT_TYPE);
    response
}

/// Done, and there is nothing left to say (RFC 7592 §2.3).
pub(crate) fn no_content() -> Response {
    let mut response = nothing();
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

/// An error (RFC 6749 §5.2).
pub(crate) fn error(error: &ErrorResponse) -> Response {
    let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = json(status, error.body());
    let headers = response.headers_mut();
    if error.basic_challenge {
        headers.insert(
            header::WWW_AUTHENTICATE,
            HeaderValue::from_static("Basic realm=\"authflow\""),
        );
    }
    if error.code == ErrorCode::InvalidToken {
        headers.insert(
            header::WWW_AUTHENTICATE,
            HeaderValue::from_static("Bearer realm=\"authflow\", error=\"invalid_token\""),
        );
    }
    if let Some(wait) = error.retry_after {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(retry_after_seconds(wait)));
    }
    if matches!(error.status(), 408 | 413) {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// 404 in JSON; what unknown well-known addresses get, so that no client mistakes a page for metadata.
pub(crate) fn not_found() -> Response {
    let error = ErrorResponse {
        status: Some(404),
        detail: Some("there is nothing at this address".to_owned()),
        ..ErrorCode::InvalidRequest.into()
    };
    self::error(&error)
}

/// 405 in JSON.
pub(crate) fn method_not_allowed(allow: &'static str) -> Response {
    let mut response = error(&ErrorResponse {
        status: Some(405),
        ..ErrorResponse::invalid_request("this method is not allowed here")
    });
    response
        .headers_mut()
        .insert(header::ALLOW, HeaderValue::from_static(allow));
    response
}

/// A redirect by GET that nobody may keep and that tells the next site nothing of this one.
pub fn see_other(location: &str) -> Response {
    let Ok(location) = HeaderValue::from_str(location) else {
        return error(&ErrorCode::ServerError.into());
    };
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SEE_OTHER;
    let headers = response.headers_mut();
    headers.insert(header::LOCATION, location);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

/// The answer on its way to the client.
pub(crate) fn send_back(answer: &SendBack) -> Response {
    see_other(answer.location())
}
