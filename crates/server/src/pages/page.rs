//! A rendered page and the headers it is sent with.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue, StatusCode, header};

use super::csp::content_security_policy;

/// Headers that every page carries, whatever it says.
const HEADERS: [(HeaderName, HeaderValue); 7] = [
    (
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/html; charset=utf-8"),
    ),
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    ),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        HeaderValue::from_static("same-origin"),
    ),
    (
        HeaderName::from_static("permissions-policy"),
        HeaderValue::from_static("camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
    ),
];

/// Cuts the tie to whoever opened the window; not on pages that a client may have opened as a pop-up.
///
/// Browser-based clients open the sign-in page in a pop-up and wait for `window.opener.postMessage` from their own
/// callback. Any value but the default cuts that tie for good, for the pages that follow too (HTML §7.1.3), and the
/// client waits for ever. What the header would protect there, a window that its opener can watch and steer, is left
/// with little to watch: pages that cannot be framed, run no script and ask each time.
const OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");

/// What stands in when a template fails: no template, no asset, nothing of the request.
const PLAIN: &str = "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
    <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><title>Something went wrong</title></head>\
    <body><main><h1>Something went wrong</h1><p>The server could not show this page. Nothing was allowed and nothing \
    was shared. Go back to your application and try again.</p></main></body></html>\n";

/// A page ready to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Page {
    /// The status of the answer.
    pub(crate) status: StatusCode,
    /// The document.
    pub(crate) html: String,
    /// CSP sources, beside the server itself, that the answer to a form on this page may redirect to.
    pub(crate) form_targets: Vec<String>,
    /// Whether the tie to the window that opened this one is kept; see [`OPENER_POLICY`].
    pub(crate) keeps_opener: bool,
    /// Seconds for `Retry-After`, if the person should wait.
    pub(crate) retry_after: Option<u64>,
}

impl Page {
    pub(super) fn new(status: StatusCode, html: String) -> Self {
        Self {
            status,
            html,
            form_targets: Vec::new(),
            keeps_opener: false,
            retry_after: None,
        }
    }

    /// The page of last resort, a 500.
    pub(super) fn plain() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, PLAIN.to_owned())
    }

    pub(super) fn form_targets(mut self, targets: impl IntoIterator<Item = String>) -> Self {
        self.form_targets.extend(targets);
        self
    }

    pub(super) fn in_a_pop_up(mut self) -> Self {
        self.keeps_opener = true;
        self
    }

    pub(super) fn retry_after(mut self, seconds: Option<u64>) -> Self {
        self.retry_after = seconds;
        self
    }
}

impl IntoResponse for Page {
    fn into_response(self) -> Response {
        let policy = content_security_policy(&self.form_targets);
        let mut response = Response::new(Body::from(self.html));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.extend(HEADERS);
        // The policy is made of our own words and plain sources, so this holds; if it ever did not, the page goes out
        // under the strictest policy and not under none.
        let policy =
            HeaderValue::try_from(policy).unwrap_or_else(|_| HeaderValue::from_static("default-src 'none'"));
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
        if !self.keeps_opener {
            headers.insert(OPENER_POLICY, HeaderValue::from_static("same-origin"));
        }
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
