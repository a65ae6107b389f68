//! Answers of endpoints of your own as axum responses.

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use http::{HeaderName, HeaderValue, StatusCode};
use mcp_authflow_types::Reply;

/// Sends what is a [`Reply`]: an [`ErrorReply`](mcp_authflow_types::ErrorReply), a
/// [`TokenResponse`](mcp_authflow_types::TokenResponse), an introspection answer.
///
/// ```
/// use axum::{Router, response::IntoResponse, routing::post};
/// use mcp_authflow_axum::AsResponse;
/// use mcp_authflow_types::ErrorReply;
///
/// async fn token() -> impl IntoResponse {
///     AsResponse(ErrorReply::unsupported_grant_type("only authorization_code is supported"))
/// }
/// let app: Router = Router::new().route("/token", post(token));
/// ```
#[derive(Clone, Debug)]
pub struct AsResponse<T>(pub T);

impl<T: Into<Reply>> IntoResponse for AsResponse<T> {
    fn into_response(self) -> Response {
        let reply: Reply = self.0.into();
        let mut response = Response::default();
        // A reply's status is 200 or that of an error, and its headers were checked when they were added.
        *response.status_mut() =
            StatusCode::from_u16(reply.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        for (name, value) in reply.headers() {
            if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
                response.headers_mut().append(name, value);
            }
        }
        *response.body_mut() = Body::from(reply.into_body());
        response
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use std::time::Duration;

    use mcp_authflow_types::ErrorReply;

    use super::*;

    /// S-047
    /// S-048
    #[tokio::test]
    async fn an_answer_is_sent_as_it_is() {
        let error = ErrorReply::rate_limit_exceeded("too fast", Some(Duration::from_secs(7)));
        let response = AsResponse(error).into_response();
        assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
        let headers: Vec<(&str, &str)> = response
            .headers()
            .iter()
            .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
            .collect();
        assert_eq!(
            headers,
            [
                ("cache-control", "no-store"),
                ("retry-after", "7"),
                ("content-length", "60"),
                ("content-type", "application/json"),
            ]
        );
        let body = axum::body::to_bytes(response.into_body(), 1_000).await.unwrap();
        assert_eq!(
            body,
            r#"{"error":"too_many_requests","error_description":"too fast"}"#
        );
    }
}
