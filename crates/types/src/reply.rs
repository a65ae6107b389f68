//! An answer in JSON as any web framework can send it: a status, headers in order, a body.

use std::borrow::Cow;

use crate::{ErrorResponse, TokenResponse, introspection::IntrospectionResponse};

/// An answer of an OAuth endpoint. It always says `Cache-Control: no-store` (RFC 6749 §5.1), which nothing can replace.
///
/// ```
/// use mcp_authflow_types::{ErrorReply, Reply};
///
/// let reply = Reply::from(ErrorReply::invalid_grant("the code is spent"));
/// assert_eq!(reply.status(), 400);
/// assert_eq!(reply.body(), r#"{"error":"invalid_grant","error_description":"the code is spent"}"#);
/// let names: Vec<&str> = reply.headers().map(|(name, _)| name).collect();
/// assert_eq!(names, ["Cache-Control", "Content-Length", "Content-Type"]);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    status: u16,
    /// Those beside the three that every answer has.
    extra: Vec<(Cow<'static, str>, String)>,
    body: String,
    length: String,
}

impl Reply {
    /// The header that keeps every answer out of every cache.
    pub const NO_STORE: (&'static str, &'static str) = ("Cache-Control", "no-store");

    /// Status 200 with a JSON body; for what has no type of its own here.
    pub fn success(json: String) -> Self {
        Self::new(200, Vec::new(), json)
    }

    pub(crate) fn new(status: u16, extra: Vec<(Cow<'static, str>, String)>, body: String) -> Self {
        Self {
            status,
            extra,
            length: body.len().to_string(),
            body,
        }
    }

    /// The HTTP status.
    pub const fn status(&self) -> u16 {
        self.status
    }

    /// Names and values in the order in which they are sent: `Cache-Control`, what the answer adds, `Content-Length`,
    /// `Content-Type`.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        let extra = self.extra.iter().map(|(name, value)| (&**name, &**value));
        std::iter::once(Self::NO_STORE).chain(extra).chain([
            ("Content-Length", &*self.length),
            ("Content-Type", "application/json"),
        ])
    }

    /// The JSON body.
    pub fn body(&self) -> &str {
        &self.body
    }

    /// The JSON body, taken.
    pub fn into_body(self) -> String {
        self.body
    }
}

impl From<&TokenResponse> for Reply {
    fn from(response: &TokenResponse) -> Self {
        Self::success(response.body())
    }
}

impl From<&IntrospectionResponse> for Reply {
    fn from(response: &IntrospectionResponse) -> Self {
        Self::success(response.body())
    }
}

impl From<&ErrorResponse> for Reply {
    fn from(error: &ErrorResponse) -> Self {
        let mut extra = Vec::new();
        if error.basic_challenge {
            extra.push(("WWW-Authenticate".into(), "Basic realm=\"authflow\"".to_owned()));
        }
        if let Some(wait) = error.retry_after {
            extra.push(("Retry-After".into(), wait.as_secs().max(1).to_string()));
        }
        Self::new(error.status(), extra, error.body())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AccessToken, ErrorCode, Scope, Timestamp};

    /// S-046
    /// S-060
    #[test]
    fn success_is_kept_out_of_caches_too() {
        let token = TokenResponse {
            access_token: AccessToken::mint(&[0; 32], Timestamp::from_seconds(0)),
            expires_in: 600,
            refresh_token: None,
            scope: Scope::empty(),
        };
        for reply in [
            Reply::from(&token),
            Reply::from(&IntrospectionResponse::Inactive),
            Reply::success("{}".to_owned()),
            Reply::from(&ErrorResponse::unavailable()),
        ] {
            assert_eq!(reply.headers().next(), Some(("Cache-Control", "no-store")));
            assert_eq!(reply.headers().last(), Some(("Content-Type", "application/json")));
        }
        assert_eq!(
            Reply::from(&IntrospectionResponse::Inactive).into_body(),
            r#"{"active":false}"#
        );
    }

    #[test]
    fn the_servers_own_errors_keep_their_headers() {
        let error = ErrorResponse {
            basic_challenge: true,
            ..ErrorCode::InvalidClient.into()
        };
        let reply = Reply::from(&error);
        assert_eq!(reply.status(), 401);
        assert!(
            reply
                .headers()
                .any(|pair| pair == ("WWW-Authenticate", "Basic realm=\"authflow\""))
        );
    }
}
