//! Why a request is not let in, and what it is told: reasons inside, codes outside, mapped once.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use mcp_authflow_types::{ErrorCode, ErrorResponse};

use crate::{
    challenge::Challenge,
    verify::{CannotCheck, VerifyError},
};

/// Why a request is not let in. The text is for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("the page that asks is of an origin that is not allowed")]
    ForeignOrigin,
    #[error("a token stands in the query")]
    TokenInQuery,
    #[error("there are several authorization headers")]
    SeveralTokens,
    #[error("there is no bearer token")]
    NoToken,
    #[error("the token does not have the form of one")]
    MalformedToken,
    #[error("the token is unknown, expired or revoked")]
    Inactive,
    #[error("the token was issued by somebody else")]
    OtherIssuer,
    #[error("the token is meant for somebody else")]
    OtherAudience,
    #[error("the token has expired")]
    Expired,
    #[error("the token is not valid yet")]
    NotYetValid,
    #[error("the token is bound to a key and no bearer token")]
    NotABearerToken,
    #[error("the token lacks a scope")]
    InsufficientScope,
    #[error("the token cannot be checked: {0}")]
    CannotCheck(CannotCheck),
}

/// Why the layer answered a request itself, in the extensions of that answer: for whoever keeps a trail of what was
/// refused. It is not sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusalReason(pub String);

impl From<VerifyError> for Refusal {
    fn from(error: VerifyError) -> Self {
        match error {
            VerifyError::Inactive => Self::Inactive,
            VerifyError::CannotCheck(why) => Self::CannotCheck(why),
        }
    }
}

impl Refusal {
    /// The code by which it leaves the server (RFC 6750 §3.1).
    fn error(self) -> ErrorResponse {
        match self {
            Self::ForeignOrigin => ErrorResponse {
                detail: Some("pages of this origin may not call here".to_owned()),
                ..ErrorCode::AccessDenied.into()
            },
            Self::TokenInQuery => ErrorResponse::invalid_request("send the access token in a header only"),
            Self::SeveralTokens => ErrorResponse::repeated("Authorization"),
            Self::NoToken => ErrorResponse {
                detail: Some("an access token is needed".to_owned()),
                ..ErrorCode::InvalidToken.into()
            },
            Self::MalformedToken
            | Self::Inactive
            | Self::OtherIssuer
            | Self::OtherAudience
            | Self::Expired
            | Self::NotYetValid
            | Self::NotABearerToken => ErrorCode::InvalidToken.into(),
            Self::InsufficientScope => ErrorCode::InsufficientScope.into(),
            Self::CannotCheck(CannotCheck::Refused | CannotCheck::BadAnswer | CannotCheck::Misconfigured) => {
                ErrorResponse::unavailable()
            }
            Self::CannotCheck(CannotCheck::TimedOut) => ErrorResponse::timed_out(),
        }
    }

    /// The answer. `challenge` names the scopes of the operation.
    pub(crate) fn response(self, challenge: &Challenge) -> Response<Bytes> {
        let error = self.error();
        let challenge = match self {
            // Whoever could not ask must not send the client away to sign in again (P9); and a foreign page has no
            // business with tokens at all.
            Self::CannotCheck(_) | Self::ForeignOrigin => None,
            // RFC 6750 §3.1: a request that did not try is told no error.
            Self::NoToken => Some(challenge.header_value()),
            _ => Some(
                challenge
                    .clone()
                    .with_error(error.code, error.description())
                    .header_value(),
            ),
        };
        let mut response = json(error.status(), error.body());
        let headers = response.headers_mut();
        if let Some(challenge) = challenge {
            headers.insert(header::WWW_AUTHENTICATE, challenge);
        }
        if let Some(after) = error.retry_after {
            headers.insert(header::RETRY_AFTER, after.as_secs().max(1).into());
        }
        response.extensions_mut().insert(RefusalReason(self.to_string()));
        response
    }
}

/// A JSON answer that nobody keeps.
pub(crate) fn json(status: u16, body: String) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(body));
    // The table of codes holds registered statuses only.
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let fixed: [(HeaderName, &str); 3] = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    response.headers_mut().extend(
        fixed
            .into_iter()
            .map(|(name, value)| (name, HeaderValue::from_static(value))),
    );
    response
}
