//! An error as the server answers it: a code and fixed words.

use std::time::Duration;

use super::ErrorCode;

/// An error as it is answered: the code, and what little may be said beside it.
///
/// ```
/// use mcp_authflow_types::{ErrorCode, ErrorResponse};
///
/// let error = ErrorResponse::missing("code_verifier");
/// assert_eq!(error.code, ErrorCode::InvalidRequest);
/// assert_eq!(error.description(), "code_verifier is missing");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorResponse {
    /// What went wrong.
    pub code: ErrorCode,
    /// A status that overrules the code's own: 413, 415, 504.
    pub status: Option<u16>,
    /// What `error_description` says in place of the code's text; fixed words and a parameter's name, never its value.
    pub detail: Option<String>,
    /// When to try again; sent as `Retry-After`.
    pub retry_after: Option<Duration>,
    /// Whether the client tried HTTP Basic, and so must be answered with a challenge (RFC 6749 §5.2).
    pub basic_challenge: bool,
}

impl ErrorResponse {
    /// The plain error of a code.
    pub const fn new(code: ErrorCode) -> Self {
        Self {
            code,
            status: None,
            detail: None,
            retry_after: None,
            basic_challenge: false,
        }
    }

    /// `invalid_request` with a fixed text.
    pub fn invalid_request(detail: impl Into<String>) -> Self {
        Self {
            detail: Some(detail.into()),
            ..Self::new(ErrorCode::InvalidRequest)
        }
    }

    /// `invalid_request`: a required parameter is missing.
    pub fn missing(parameter: &str) -> Self {
        Self::invalid_request(format!("{parameter} is missing"))
    }

    /// `invalid_request`: a parameter's value is malformed.
    pub fn malformed(parameter: &str) -> Self {
        Self::invalid_request(format!("{parameter} is malformed"))
    }

    /// `invalid_request`: a parameter comes more than once. The name is said only when it is a plain word.
    pub fn repeated(parameter: &str) -> Self {
        let plain =
            parameter.len() <= 64 && parameter.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        Self::invalid_request(if plain {
            format!("{parameter} is given more than once")
        } else {
            "a parameter is given more than once".to_owned()
        })
    }

    /// `temporarily_unavailable`: a dependency refuses (503).
    pub fn unavailable() -> Self {
        Self {
            retry_after: Some(Duration::from_secs(2)),
            ..Self::new(ErrorCode::TemporarilyUnavailable)
        }
    }

    /// `temporarily_unavailable`: a dependency did not answer in time (504).
    pub fn timed_out() -> Self {
        Self {
            status: Some(504),
            ..Self::unavailable()
        }
    }

    /// `too_many_requests` (429) with the time to wait.
    pub fn too_many_requests(retry_after: Duration) -> Self {
        Self {
            retry_after: Some(retry_after),
            ..Self::new(ErrorCode::TooManyRequests)
        }
    }

    /// The HTTP status.
    pub const fn status(&self) -> u16 {
        match self.status {
            Some(status) => status,
            None => self.code.status(),
        }
    }

    /// The text of `error_description`.
    pub fn description(&self) -> &str {
        self.detail.as_deref().unwrap_or(self.code.description())
    }

    /// The JSON body (RFC 6749 §5.2).
    pub fn body(&self) -> String {
        serde_json::json!({ "error": self.code.as_str(), "error_description": self.description() })
            .to_string()
    }
}

impl From<ErrorCode> for ErrorResponse {
    fn from(code: ErrorCode) -> Self {
        Self::new(code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6749 Appendix A.7, A.8
    #[test]
    fn codes_and_descriptions_are_plain_ascii_without_quote_and_backslash() {
        let plain = |text: &str| {
            text.bytes()
                .all(|b| matches!(b, 0x20..=0x21 | 0x23..=0x5b | 0x5d..=0x7e))
        };
        for code in ErrorCode::ALL {
            assert!(plain(code.as_str()) && plain(code.description()), "{code:?}");
            assert!((400..=599).contains(&code.status()));
        }
        assert!(plain(ErrorResponse::repeated("\"\u{0}").description()));
    }

    #[test]
    fn a_body_has_no_nulls() {
        let body = ErrorResponse::timed_out().body();
        assert_eq!(
            body,
            r#"{"error":"temporarily_unavailable","error_description":"the server cannot answer at the moment, try again shortly"}"#
        );
    }
}
