//! The hook for login and consent: everything between a good authorization request and its answer.
//!
//! The router stores the request, sends the browser to the request's page, and calls [`Interact::interact`] for every
//! visit of that page, GET or POST, as often as it takes. The hook shows pages of its own and ends with an approval or a
//! denial. It is never called for a request that is over, or from another browser than the one that began it.

use std::net::IpAddr;

use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header, request::Parts};
use mcp_authflow::{
    Approval, DeviceDecided, PageReason, Pending, UserCodeProblem, port::rate_limit::retry_after_seconds,
};
use mcp_authflow_types::{TokenHash, UserCode};

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

/// One visit of the page where a person types the user code of a device (RFC 8628 §3.3). `Debug` does not show the code.
pub struct DeviceVisit {
    /// The visit; the page is `/ui/device`.
    pub visit: Visit,
    /// The user code in the page's address, or in the form posted to it: as somebody sent it, to be shown in the form, and
    /// never to be taken without the person's doing (RFC 8628 §5.4).
    pub user_code: Option<String>,
    /// What was wrong with the code that was typed; there when the page is to be shown again for that.
    pub problem: Option<UserCodeProblem>,
}

impl std::fmt::Debug for DeviceVisit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DeviceVisit")
            .field("visit", &self.visit)
            .field("problem", &self.problem)
            .finish_non_exhaustive()
    }
}

/// What a visit of the device page leads to. `Debug` does not show the code.
pub enum DeviceOutcome {
    /// The person typed this code.
    Enter {
        /// As it was typed.
        user_code: String,
        /// Who is signed in, where that is known: tries are counted against the person then.
        subject: Option<String>,
    },
    /// Something is shown.
    Show(Response),
}

impl std::fmt::Debug for DeviceOutcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Enter { subject, .. } => f
                .debug_struct("Enter")
                .field("subject", subject)
                .finish_non_exhaustive(),
            Self::Show(response) => f.debug_tuple("Show").field(&response.status()).finish(),
        }
    }
}

/// Login and consent.
///
/// # Security
/// The router has checked that the visit comes from the browser that began the request, and that a POST does not come
/// from another site. The hook must make sure *who* is signed in, show the person where the answer will go
/// ([`Pending::answer_to`]), and approve nothing that the person did not just approve. Where a device waits for the answer
/// it must warn of codes that somebody else sent.
#[async_trait::async_trait]
pub trait Interact: Send + Sync + 'static {
    /// Handles one visit of a request's page.
    async fn interact(&self, pending: &Pending, visit: Visit) -> Outcome;

    /// Handles one visit of the page where the user code of a device is typed. A right code leads on to the page of a
    /// request, where [`interact`](Self::interact) signs in and asks as for any other.
    ///
    /// The default is a plain form that asks for the code before anybody has signed in. Ask for the sign-in first where
    /// you can, and name the subject: then nobody guesses codes without an account.
    async fn device(&self, device: &DeviceVisit) -> DeviceOutcome {
        plain_device_page(device)
    }

    /// Says what was decided about a device. The default is a plain page of one paragraph.
    async fn device_decided(&self, decided: DeviceDecided, parts: &Parts) -> Response {
        let _ = parts;
        match decided {
            DeviceDecided::Approved => plain(
                StatusCode::OK,
                "Device connected",
                "<p>You can close this page and go back to the device.</p>",
            ),
            DeviceDecided::Denied => plain(
                StatusCode::OK,
                "Device not connected",
                "<p>Nothing was shared. You can close this page.</p>",
            ),
        }
    }

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
    let status = StatusCode::from_u16(reason.status()).unwrap_or(StatusCode::BAD_REQUEST);
    let mut response = plain(status, "Sign-in stopped", &format!("<p>{text}</p>"));
    let wait = match reason {
        PageReason::TooMany { retry_after } => Some(retry_after_seconds(*retry_after)),
        PageReason::Unavailable { .. } => Some(2),
        _ => None,
    };
    if let Some(wait) = wait {
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, HeaderValue::from(wait));
    }
    response
}

/// A form of one field, without style. What was typed is shown again only where it is a code.
fn plain_device_page(device: &DeviceVisit) -> DeviceOutcome {
    let is_sent = device.visit.parts.method == http::Method::POST;
    if let (true, None, Some(user_code)) = (is_sent, &device.problem, &device.user_code) {
        return DeviceOutcome::Enter {
            user_code: user_code.clone(),
            subject: None,
        };
    }
    let known = device
        .user_code
        .as_deref()
        .and_then(|typed| UserCode::read(typed).ok());
    let value = known.as_ref().map_or("", UserCode::expose);
    let (status, problem, wait) = match &device.problem {
        None => (StatusCode::OK, "", None),
        Some(UserCodeProblem::TooMany { retry_after }) => (
            StatusCode::TOO_MANY_REQUESTS,
            "<p role=\"alert\">Too many codes were tried. Wait a while.</p>",
            Some(retry_after_seconds(*retry_after)),
        ),
        Some(UserCodeProblem::Unavailable { timed_out }) => (
            if *timed_out {
                StatusCode::GATEWAY_TIMEOUT
            } else {
                StatusCode::SERVICE_UNAVAILABLE
            },
            "<p role=\"alert\">The server cannot answer at the moment.</p>",
            Some(2),
        ),
        Some(_) => (
            StatusCode::OK,
            "<p role=\"alert\">No device waits with this code.</p>",
            None,
        ),
    };
    let form = format!(
        "{problem}<p>Type the code that your device shows. Go on only if you started this yourself, on a device in front \
         of you: nobody else has a reason to give you a code.</p><form method=\"post\" action=\"{}\"><label>Code <input \
         name=\"user_code\" value=\"{value}\" autocomplete=\"off\"></label><button>Go on</button></form>",
        device.visit.page
    );
    let mut response = plain(status, "Connect a device", &form);
    // It may send its form here, and nowhere else.
    response.headers_mut().insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
        ),
    );
    if let Some(wait) = wait {
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, HeaderValue::from(wait));
    }
    DeviceOutcome::Show(response)
}

/// A page without style, under headers that let it do nothing.
fn plain(status: StatusCode, title: &str, body: &str) -> Response {
    let html = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>{title}</title><h1>{title}</h1>{body}"
    );
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
    response
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    /// P7; DV-22
    #[test]
    fn no_user_code_is_shown_by_accident() {
        let (parts, ()) = http::Request::get("/ui/device?user_code=WDJB-MJHT")
            .body(())
            .unwrap()
            .into_parts();
        let device = DeviceVisit {
            visit: Visit {
                parts,
                body: Bytes::from_static(b"user_code=WDJB-MJHT"),
                page: "/ui/device".to_owned(),
                browser: TokenHash::of("a browser"),
                address: None,
            },
            user_code: Some("WDJB-MJHT".to_owned()),
            problem: Some(UserCodeProblem::Unknown),
        };
        let entered = DeviceOutcome::Enter {
            user_code: "WDJB-MJHT".to_owned(),
            subject: Some("u_alice".to_owned()),
        };
        let shown = format!("{device:?} {entered:?}");
        assert!(!shown.contains("WDJB"), "{shown}");
        assert!(shown.contains("Unknown") && shown.contains("u_alice"), "{shown}");
    }
}
