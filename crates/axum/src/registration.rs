//! The registration part as an axum handler.

use std::sync::Arc;

use axum::{
    body::Body,
    response::{IntoResponse as _, Response},
    routing::{MethodRouter, post},
};
use http::{HeaderName, HeaderValue, Request, StatusCode};
use mcp_authflow::registration::{RegistrationHandler, RegistrationReply, RequestHead};

use crate::{
    reply,
    request::{client_address, read_body},
    to_its_end::to_its_end,
};

/// Makes an axum handler for POST of a [`RegistrationHandler`]. The other end of the connection is a
/// [`ClientAddress`](crate::ClientAddress) in the request's extensions, else axum's `ConnectInfo`. CORS is yours to add.
///
/// ```no_run
/// # use std::sync::Arc;
/// # use mcp_authflow::registration::RegistrationHandler;
/// # fn routes(handler: RegistrationHandler) -> axum::Router {
/// axum::Router::new().route("/register", mcp_authflow_axum::registration(Arc::new(handler)))
/// # }
/// ```
pub fn registration<S: Clone + Send + Sync + 'static>(handler: Arc<RegistrationHandler>) -> MethodRouter<S> {
    post(move |request: Request<Body>| {
        let handler = handler.clone();
        async move { answer(handler, request).await }
    })
}

async fn answer(handler: Arc<RegistrationHandler>, request: Request<Body>) -> Response {
    let (parts, body) = request.into_parts();
    let peer = client_address(&parts);
    let headers: Vec<(String, String)> = parts
        .headers
        .iter()
        // What is not text goes on as a character that nobody understands, and what stands beside it as it is: a proxy writes
        // behind what the caller sent.
        .map(|(name, value)| {
            (
                name.as_str().to_owned(),
                String::from_utf8_lossy(value.as_bytes()).into_owned(),
            )
        })
        .collect();
    let admitted = match handler.admit(&head(&borrowed(&headers), peer)).await {
        Ok(admitted) => admitted,
        Err(refused) => return response(refused),
    };
    let body = match read_body(body).await {
        Ok(body) => body,
        Err(error) => return reply::error(&error),
    };
    // A caller who hangs up leaves no client without its hooks.
    to_its_end(async move {
        let headers = borrowed(&headers);
        response(handler.register(admitted, &head(&headers, peer), &body).await)
    })
    .await
}

fn borrowed(headers: &[(String, String)]) -> Vec<(&str, &str)> {
    headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect()
}

fn head<'a>(headers: &'a [(&'a str, &'a str)], peer: Option<std::net::IpAddr>) -> RequestHead<'a> {
    RequestHead { headers, peer }
}

fn response(answer: RegistrationReply) -> Response {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = (status, answer.body).into_response();
    let headers = response.headers_mut();
    for (name, value) in answer.headers {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
    response
}
