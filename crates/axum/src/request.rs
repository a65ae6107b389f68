//! HTTP to words: form bodies, the `Authorization` header, and who is calling.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use axum::{body::Body, extract::ConnectInfo};
use bytes::Bytes;
use http::{HeaderMap, Request, header, request::Parts};
use http_body_util::{BodyExt as _, Limited};
use mcp_authflow::FormRequest;
use mcp_authflow_types::{ErrorResponse, Form};

/// The largest body read, in bytes.
const MAX_BODY_BYTES: usize = 64 * 1024;
/// How long a body may take to arrive.
const BODY_DEADLINE: Duration = Duration::from_secs(10);

/// Where a request comes from, when something in front of the router knows better than the connection: a middleware that
/// believes named proxies puts it into the request's extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientAddress(pub IpAddr);

/// Where a request comes from: a [`ClientAddress`], else the other end of the connection.
pub fn client_address(parts: &Parts) -> Option<IpAddr> {
    parts
        .extensions
        .get::<ClientAddress>()
        .map(|address| address.0)
        .or_else(|| {
            parts
                .extensions
                .get::<ConnectInfo<SocketAddr>>()
                .map(|info| info.0.ip())
        })
}

/// Reads a body within size and time: 64 KiB and 10 s.
///
/// # Errors
/// 413 when it is too large, 408 when it does not arrive in time, 400 when the connection breaks.
pub async fn read_body(body: Body) -> Result<Bytes, ErrorResponse> {
    let with_status = |status, detail: &str| ErrorResponse {
        status: Some(status),
        ..ErrorResponse::invalid_request(detail.to_owned())
    };
    let read = tokio::time::timeout(BODY_DEADLINE, Limited::new(body, MAX_BODY_BYTES).collect()).await;
    match read {
        Err(_) => Err(with_status(408, "the body did not arrive in time")),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
            Err(with_status(413, "the body is larger than 64 KiB"))
        }
        Ok(Err(_)) => Err(with_status(400, "the body could not be read")),
        Ok(Ok(body)) => Ok(body.to_bytes()),
    }
}

/// A form request, read: what the token, revocation and introspection endpoints get.
pub(crate) struct FormBody {
    body: Bytes,
    authorization: Option<String>,
    address: Option<IpAddr>,
}

impl FormBody {
    /// Reads a form request. Parameters belong in the body (RFC 6749 §2.3.1, §3.2), so a query is refused rather than
    /// overlooked; so are two `Authorization` headers.
    ///
    /// # Errors
    /// `invalid_request`, with 415 for another content type.
    pub(crate) async fn read(request: Request<Body>) -> Result<Self, ErrorResponse> {
        let (parts, body) = request.into_parts();
        if parts.uri.query().is_some_and(|query| !query.is_empty()) {
            return Err(ErrorResponse::invalid_request(
                "parameters belong in the body, not in the query",
            ));
        }
        if !is_form(&parts.headers) {
            return Err(ErrorResponse {
                status: Some(415),
                ..ErrorResponse::invalid_request("the content type is not application/x-www-form-urlencoded")
            });
        }
        let authorization = authorization(&parts.headers)?;
        let address = client_address(&parts);
        Ok(Self {
            body: read_body(body).await?,
            authorization,
            address,
        })
    }

    /// The parameters.
    ///
    /// # Errors
    /// `invalid_request`
    pub(crate) fn form(&self) -> Result<Form<'_>, ErrorResponse> {
        Form::parse(&self.body).map_err(|error| ErrorResponse::invalid_request(error.to_string()))
    }

    /// The request in the words of the protocol.
    pub(crate) fn words<'a>(&'a self, form: &'a Form<'a>) -> FormRequest<'a> {
        FormRequest {
            form,
            authorization: self.authorization.as_deref(),
            address: self.address,
        }
    }
}

/// The one `Authorization` header, if there is one.
pub(crate) fn authorization(headers: &HeaderMap) -> Result<Option<String>, ErrorResponse> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let first = values.next();
    if values.next().is_some() {
        return Err(ErrorResponse::invalid_request(
            "there is more than one Authorization header",
        ));
    }
    // What is not ASCII cannot be a good header; it goes on as one that no method understands.
    Ok(first.map(|value| value.to_str().unwrap_or_default().to_owned()))
}

/// Whether the body is said to be a form, in UTF-8 if anything is said of that.
pub fn is_form(headers: &HeaderMap) -> bool {
    content_type(headers).is_some_and(|(essence, charset)| {
        essence.eq_ignore_ascii_case("application/x-www-form-urlencoded")
            && charset.is_none_or(|charset| charset.eq_ignore_ascii_case("utf-8"))
    })
}

/// Whether the body is said to be JSON, in UTF-8 if anything is said of that.
pub(crate) fn is_json(headers: &HeaderMap) -> bool {
    content_type(headers).is_some_and(|(essence, charset)| {
        essence.eq_ignore_ascii_case("application/json")
            && charset.is_none_or(|charset| charset.eq_ignore_ascii_case("utf-8"))
    })
}

/// The media type and its charset; `None` when there is not exactly one readable header.
fn content_type(headers: &HeaderMap) -> Option<(&str, Option<&str>)> {
    let mut values = headers.get_all(header::CONTENT_TYPE).iter();
    let value = values.next()?.to_str().ok().filter(|_| values.next().is_none())?;
    let (essence, parameters) = value.split_once(';').unwrap_or((value, ""));
    let charset = parameters
        .split(';')
        .filter_map(|parameter| parameter.trim().split_once('='))
        .find(|(name, _)| name.eq_ignore_ascii_case("charset"))
        .map(|(_, charset)| charset.trim_matches('"'));
    Some((essence.trim(), charset))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    #[test]
    fn only_forms_in_utf_8_are_forms() {
        let is = |value: &str| {
            is_form(&HeaderMap::from_iter([(
                header::CONTENT_TYPE,
                value.parse().unwrap(),
            )]))
        };
        assert!(is("application/x-www-form-urlencoded"));
        assert!(is("Application/X-WWW-Form-Urlencoded; charset=\"UTF-8\""));
        for bad in [
            "",
            ";;;",
            "application/json",
            "text/plain",
            "application/x-www-form-urlencoded; charset=utf-16",
        ] {
            assert!(!is(bad), "{bad}");
        }
        assert!(!is_form(&HeaderMap::new()));
    }
}
