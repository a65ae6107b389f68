//! The hook for login and consent: everything between a good authorization request and its answer.
//!
//! The router stores the request, sends the browser to the request's page, and calls [`Interact::interact`] for every
//! visit of that page, GET or POST, as often as it takes. The hook shows pages of its own and ends with an approval or a
//! denial. It is never called for a request that is over, or from another browser than the one that began it.

use std::net::IpAddr;

use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header, request::Parts};
use mcp_authflow::{Approval, PageReason, Pending};
use mcp_authflow_types::TokenHash;

/// One visit of a request's page. `Debug` shows neither headers nor body: they hold the cookie and the password.
pub struct Visit {
    /// The HTTP request, its body apart.
    pub parts: Parts,
    /// The body of a POST: a form of at most 64 KiB.
    pub body: Bytes,
    /// The path of this page, to which forms are posted.
    pub page: String,
    /// The digest of the browser's cookie.
    pub browser: TokenHash,
    /// Where the visit came from.
    pub address: Option<IpAddr>,
}

impl std::fmt::Debug for Visit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Visit")
            .field("method", &self.parts.method)
            .field("page", &self.page)
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

/// What a visit leads to.
#[derive(Debug)]
pub enum Outcome {
    /// The person approved.
    Approve(Approval),
    /// The person said no.
    Deny,
    /// The request said `prompt=none`, and nobody is signed in.
    LoginRequired,
    /// The request said `prompt=none`, and somebody would have to approve.
    ConsentRequired,
    /// Something is shown, and the request goes on waiting. For a request that said `prompt=none` this counts as
    /// [`LoginRequired`](Self::LoginRequired).
    Show(Response),
}

/// Login and consent.
///
/// # Security
/// The router has checked that the visit comes from the browser that began the request, and that a POST does not come
/// from another site. The hook must make sure *who* is signed in, show the person where the answer will go
/// ([`Pending::target`]), and approve nothing that the person did not just approve.
#[async_trait::async_trait]
pub trait Interact: Send + Sync + 'static {
    /// Handles one visit of a request's page.
    async fn interact(&self, pending: &Pending, visit: Visit) -> Outcome;

    /// Shows why a request does not go on. The default is a plain page of one paragraph.
    async fn refuse(&self, reason: &PageReason, parts: &Parts) -> Response {
        let _ = parts;
        plain_page(reason)
    }
}

/// A page of one paragraph, without style.
fn plain_page(reason: &PageReason) -> Response {
    let text: String = reason
        .to_string()
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || " _.,:=-".contains(*c))
        .collect();
    let html = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Sign-in stopped</title><h1>Sign-in stopped</h1><p>{text}</p>"
    );
    let status = StatusCode::from_u16(reason.status()).unwrap_or(StatusCode::BAD_REQUEST);
    let mut response = (status, html).into_response();
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; base-uri 'none'; frame-ancestors 'none'",
        ),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    let wait = match reason {
        PageReason::TooMany { retry_after } => Some(retry_after.as_secs().max(1)),
        PageReason::Unavailable { .. } => Some(2),
        _ => None,
    };
    if let Some(wait) = wait {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(wait));
    }
    response
}
