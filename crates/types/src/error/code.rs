//! The codes, with everything that follows from them.

/// An OAuth error code (RFC 6749 §4.1.2.1 and §5.2, RFC 6750 §3.1, RFC 7591 §3.2.2, RFC 8628 §3.5, RFC 8707 §2, OpenID
/// Connect Core §3.1.2.6) with everything that follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorCode {
    /// The request is malformed.
    InvalidRequest,
    /// The client is unknown or did not prove who it is.
    InvalidClient,
    /// The code or refresh token is no good.
    InvalidGrant,
    /// The client may not use this grant.
    UnauthorizedClient,
    /// The server does not run this grant.
    UnsupportedGrantType,
    /// The server does not answer with this response type.
    UnsupportedResponseType,
    /// Nothing of the scope asked for can be given.
    InvalidScope,
    /// The resource is unknown, or not this client's.
    InvalidTarget,
    /// The person, or a policy, said no.
    AccessDenied,
    /// Nobody has decided yet; the device asks again (RFC 8628 §3.5).
    AuthorizationPending,
    /// Nobody has decided yet, and the device asks too often: from now on it waits five seconds longer (RFC 8628 §3.5).
    SlowDown,
    /// The device code has expired (RFC 8628 §3.5).
    ExpiredToken,
    /// `prompt=none`, but somebody has to sign in.
    LoginRequired,
    /// `prompt=none`, but somebody has to approve.
    ConsentRequired,
    /// Request objects by value are not taken (RFC 9101).
    RequestNotSupported,
    /// Request objects by reference are not taken (RFC 9101).
    RequestUriNotSupported,
    /// A redirect URI may not be registered.
    InvalidRedirectUri,
    /// The registration is not acceptable.
    InvalidClientMetadata,
    /// The kind of token cannot be revoked here (RFC 7009 §2.2.1).
    UnsupportedTokenType,
    /// The bearer token is no good (RFC 6750 §3.1).
    InvalidToken,
    /// The bearer token allows too little (RFC 6750 §3.1).
    InsufficientScope,
    /// Too many requests; `slow down` in plain words. Registered nowhere; used widely with status 429.
    TooManyRequests,
    /// A dependency refuses or did not answer in time.
    TemporarilyUnavailable,
    /// A fault of ours.
    ServerError,
}

impl ErrorCode {
    /// Every code.
    pub const ALL: &'static [Self] = &[
        Self::InvalidRequest,
        Self::InvalidClient,
        Self::InvalidGrant,
        Self::UnauthorizedClient,
        Self::UnsupportedGrantType,
        Self::UnsupportedResponseType,
        Self::InvalidScope,
        Self::InvalidTarget,
        Self::AccessDenied,
        Self::AuthorizationPending,
        Self::SlowDown,
        Self::ExpiredToken,
        Self::LoginRequired,
        Self::ConsentRequired,
        Self::RequestNotSupported,
        Self::RequestUriNotSupported,
        Self::InvalidRedirectUri,
        Self::InvalidClientMetadata,
        Self::UnsupportedTokenType,
        Self::InvalidToken,
        Self::InsufficientScope,
        Self::TooManyRequests,
        Self::TemporarilyUnavailable,
        Self::ServerError,
    ];

    /// The registered spelling.
    pub const fn as_str(self) -> &'static str {
        self.row().0
    }

    /// The HTTP status with which the code is answered when it is answered directly.
    pub const fn status(self) -> u16 {
        self.row().1
    }

    /// The text of `error_description`: ASCII without quote and backslash (RFC 6749 Appendix A.8).
    pub const fn description(self) -> &'static str {
        self.row().2
    }

    /// The table: spelling, status, description.
    const fn row(self) -> (&'static str, u16, &'static str) {
        match self {
            Self::InvalidRequest => ("invalid_request", 400, "the request is malformed"),
            Self::InvalidClient => (
                "invalid_client",
                401,
                "the client is unknown or its credentials are wrong",
            ),
            Self::InvalidGrant => (
                "invalid_grant",
                400,
                "the code or refresh token is unknown, expired, used, revoked, or bound to another request",
            ),
            Self::UnauthorizedClient => ("unauthorized_client", 400, "this client may not use this grant"),
            Self::UnsupportedGrantType => (
                "unsupported_grant_type",
                400,
                "the server does not support this grant type",
            ),
            Self::UnsupportedResponseType => (
                "unsupported_response_type",
                400,
                "the server supports response_type=code only",
            ),
            Self::InvalidScope => ("invalid_scope", 400, "none of the scope asked for can be granted"),
            Self::InvalidTarget => (
                "invalid_target",
                400,
                "the resource is unknown or not open to this client",
            ),
            Self::AccessDenied => ("access_denied", 403, "the request was denied"),
            Self::AuthorizationPending => ("authorization_pending", 400, "nobody has decided yet"),
            Self::SlowDown => ("slow_down", 400, "wait longer between two requests"),
            Self::ExpiredToken => ("expired_token", 400, "the device code has expired, start again"),
            Self::LoginRequired => ("login_required", 400, "somebody has to sign in"),
            Self::ConsentRequired => ("consent_required", 400, "somebody has to approve the request"),
            Self::RequestNotSupported => ("request_not_supported", 400, "request objects are not supported"),
            Self::RequestUriNotSupported => {
                ("request_uri_not_supported", 400, "request_uri is not supported")
            }
            Self::InvalidRedirectUri => (
                "invalid_redirect_uri",
                400,
                "redirect URIs are https, loopback http, or a private-use scheme, without fragment or pattern",
            ),
            Self::InvalidClientMetadata => (
                "invalid_client_metadata",
                400,
                "the client metadata are not acceptable",
            ),
            Self::UnsupportedTokenType => (
                "unsupported_token_type",
                400,
                "this kind of token cannot be revoked here",
            ),
            Self::InvalidToken => (
                "invalid_token",
                401,
                "the access token is missing, expired, revoked or not for this server",
            ),
            Self::InsufficientScope => (
                "insufficient_scope",
                403,
                "the access token does not allow this operation",
            ),
            Self::TooManyRequests => ("too_many_requests", 429, "too many requests, wait and try again"),
            Self::TemporarilyUnavailable => (
                "temporarily_unavailable",
                503,
                "the server cannot answer at the moment, try again shortly",
            ),
            Self::ServerError => ("server_error", 500, "the server met an unexpected condition"),
        }
    }
}
