//! Errors for endpoints of your own: every code with words of your choice, checked before they leave.
//!
//! What a caller sends ends up in descriptions sooner or later. So a description is filtered, whatever it holds, to what
//! RFC 6749 §5.2 allows; a header is refused when it could split the answer or undo `no-store`; a status that is no error
//! is refused.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use serde::de::{Deserializer as _, Error as _, IgnoredAny, MapAccess, Visitor};

use crate::Reply;

/// An error answer (RFC 6749 §5.2): a code, a description, a status, headers. Send it as a [`Reply`].
///
/// ```
/// use std::time::Duration;
/// use mcp_authflow_types::{ErrorReply, Reply};
///
/// let reply = Reply::from(ErrorReply::slow_down("asked too often", Some(Duration::from_millis(4_200))));
/// assert_eq!(reply.body(), r#"{"error":"slow_down","error_description":"asked too often"}"#);
/// assert!(reply.headers().any(|header| header == ("Retry-After", "5")));
///
/// // What came from outside cannot leave as markup, a line break or a broken string.
/// let reply = Reply::from(ErrorReply::invalid_scope("no \"such\"\nscope"));
/// assert_eq!(reply.body(), r#"{"error":"invalid_scope","error_description":"no 'such'?scope"}"#);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorReply {
    status: u16,
    /// `error`, `error_description`, `error_uri`, in the order in which they are sent.
    members: Vec<(Member, String)>,
    headers: Vec<(Cow<'static, str>, String)>,
}

/// What an error answer may say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Member {
    Error,
    Description,
    Uri,
}

/// Why an answer is not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidReply {
    /// The code has characters that RFC 6749 Appendix A.7 does not allow.
    #[error("an error code is printable ASCII without quote and backslash")]
    Code,
    /// The status is not 400 to 599: success and redirection are no errors, and 204 and 304 carry no body.
    #[error("the status of an error is 400 to 599")]
    Status,
    /// The header's name is no token (RFC 9110 §5.6.2), or its value could split the answer or is not ASCII.
    #[error("a header is a plain name and printable ASCII without line breaks")]
    Header,
    /// `Cache-Control`, `Content-Type` and `Content-Length` are set already.
    #[error("Cache-Control, Content-Type and Content-Length are set already")]
    ReservedHeader,
    /// What should be forwarded is no JSON object with a text `error`.
    #[error("an error to forward is a JSON object with a text `error`")]
    NotAnError,
}

/// Helpers whose code, name and status agree.
macro_rules! plain {
    ($($(#[$doc:meta])* $name:ident, $status:literal;)*) => {$(
        $(#[$doc])*
        pub fn $name(description: impl AsRef<str>) -> Self {
            Self::fixed(stringify!($name), description.as_ref(), $status)
        }
    )*};
}

impl ErrorReply {
    /// What `authorization_pending` says by default.
    pub const AUTHORIZATION_PENDING: &'static str = "Authorization pending";
    /// What `expired_token` says by default.
    pub const EXPIRED_TOKEN: &'static str = "Device code has expired";
    /// What `pkce_required` says by default.
    pub const PKCE_REQUIRED: &'static str = "PKCE is required for public clients";

    /// Any error code, with status 400.
    ///
    /// # Errors
    /// [`InvalidReply::Code`]; the description is filtered and never refused.
    pub fn new(code: &str, description: impl AsRef<str>) -> Result<Self, InvalidReply> {
        if code.chars().all(is_plain) {
            Ok(Self::fixed(code, description.as_ref(), 400))
        } else {
            Err(InvalidReply::Code)
        }
    }

    fn fixed(code: &str, description: &str, status: u16) -> Self {
        Self {
            status,
            members: vec![
                (Member::Error, code.to_owned()),
                (Member::Description, filtered(description)),
            ],
            headers: Vec::new(),
        }
    }

    plain! {
        /// 400: the request is malformed (RFC 6749 §5.2).
        invalid_request, 400;
        /// 401: the client is unknown or did not prove who it is (RFC 6749 §5.2). Add
        /// [`with_basic_challenge`](Self::with_basic_challenge) when it tried the `Authorization` header.
        invalid_client, 401;
        /// 400: the code or refresh token is no good (RFC 6749 §5.2).
        invalid_grant, 400;
        /// 400: the scope is unknown, malformed or too wide (RFC 6749 §5.2).
        invalid_scope, 400;
        /// 400: the client may not use this grant (RFC 6749 §5.2).
        unauthorized_client, 400;
        /// 400: the server does not run this grant (RFC 6749 §5.2).
        unsupported_grant_type, 400;
        /// 400: the person or a policy said no (RFC 8628 §3.5).
        access_denied, 400;
        /// 400: a redirect URI may not be registered (RFC 7591 §3.2.2).
        invalid_redirect_uri, 400;
        /// 400: a registration is not acceptable (RFC 7591 §3.2.2).
        invalid_client_metadata, 400;
        /// 400: the resource is unknown or not this client's (RFC 8707 §2).
        invalid_target, 400;
    }

    /// 400 `authorization_pending`: the person has not decided yet (RFC 8628 §3.5).
    /// [`AUTHORIZATION_PENDING`](Self::AUTHORIZATION_PENDING) is the usual text.
    pub fn authorization_pending(description: impl AsRef<str>) -> Self {
        Self::fixed("authorization_pending", description.as_ref(), 400)
    }

    /// 400 `expired_token`: the device code is over (RFC 8628 §3.5). [`EXPIRED_TOKEN`](Self::EXPIRED_TOKEN) is the usual
    /// text.
    pub fn expired_token(description: impl AsRef<str>) -> Self {
        Self::fixed("expired_token", description.as_ref(), 400)
    }

    /// 400 `invalid_request`: a public client came without a code challenge (RFC 7636 §4.4.1).
    /// [`PKCE_REQUIRED`](Self::PKCE_REQUIRED) is the usual text.
    pub fn pkce_required(description: impl AsRef<str>) -> Self {
        Self::fixed("invalid_request", description.as_ref(), 400)
    }

    /// 400 `slow_down`: the device polls too often (RFC 8628 §3.5), with `Retry-After` when a time is given.
    pub fn slow_down(description: impl AsRef<str>, retry_after: Option<Duration>) -> Self {
        Self::fixed("slow_down", description.as_ref(), 400).with_retry_after(retry_after)
    }

    /// 429 `too_many_requests`, with `Retry-After` when a time is given; give one. The code is registered nowhere, and
    /// what clients of the Python packages look for.
    pub fn rate_limit_exceeded(description: impl AsRef<str>, retry_after: Option<Duration>) -> Self {
        Self::fixed("too_many_requests", description.as_ref(), 429).with_retry_after(retry_after)
    }

    /// 503 `temporarily_unavailable` (RFC 6749 §4.1.2.1): a dependency cannot be asked now.
    pub fn temporarily_unavailable(description: impl AsRef<str>, retry_after: Option<Duration>) -> Self {
        Self::fixed("temporarily_unavailable", description.as_ref(), 503).with_retry_after(retry_after)
    }

    /// 500 `server_error`; another status comes with [`with_status`](Self::with_status).
    pub fn server_error(description: impl AsRef<str>) -> Self {
        Self::fixed("server_error", description.as_ref(), 500)
    }

    /// 504: the authorization server behind us did not answer in time.
    pub fn backend_timeout() -> Self {
        Self::fixed("server_error", "Backend timeout", 504)
    }

    /// 502: the authorization server behind us cannot be reached.
    pub fn backend_connection_error() -> Self {
        Self::fixed("server_error", "Backend connection error", 502)
    }

    /// 502: the authorization server behind us answered nonsense.
    pub fn backend_invalid_response() -> Self {
        Self::fixed("server_error", "Invalid response from backend", 502)
    }

    /// 401 `invalid_token` with its challenge (RFC 6750 §3.1), for a protected resource.
    pub fn invalid_token(description: impl AsRef<str>) -> Self {
        Self::fixed("invalid_token", description.as_ref(), 401).with_bearer_challenge(None)
    }

    /// 403 `insufficient_scope` with its challenge (RFC 6750 §3.1); `scope` is what would be enough.
    pub fn insufficient_scope(description: impl AsRef<str>, scope: Option<&crate::Scope>) -> Self {
        Self::fixed("insufficient_scope", description.as_ref(), 403).with_bearer_challenge(scope)
    }

    /// 400 `use_dpop_nonce` with the nonce to use (RFC 9449 §8).
    ///
    /// # Errors
    /// [`InvalidReply::Header`] when the nonce cannot stand in a header.
    pub fn use_dpop_nonce(description: impl AsRef<str>, nonce: &str) -> Result<Self, InvalidReply> {
        Self::fixed("use_dpop_nonce", description.as_ref(), 400).with_header("DPoP-Nonce", nonce)
    }

    /// Passes on what an authorization server behind us answered: `error`, `error_description` and `error_uri`, in its
    /// order, each checked; whatever else the body holds stays here.
    ///
    /// ```
    /// use mcp_authflow_types::{ErrorReply, Reply};
    ///
    /// let upstream = br#"{"error":"invalid_grant","trace":"at db.rs:7"}"#;
    /// let reply = ErrorReply::forward(upstream, 400).unwrap_or(ErrorReply::backend_invalid_response());
    /// assert_eq!(Reply::from(reply).body(), r#"{"error":"invalid_grant"}"#);
    /// ```
    ///
    /// # Errors
    /// [`InvalidReply::NotAnError`], [`InvalidReply::Code`], or [`InvalidReply::Status`] when the status is no error's.
    pub fn forward(body: &[u8], status: u16) -> Result<Self, InvalidReply> {
        let mut deserializer = serde_json::Deserializer::from_slice(body);
        let members = deserializer
            .deserialize_map(Forwarded)
            .and_then(|members| deserializer.end().map(|()| members))
            .map_err(|_| InvalidReply::NotAnError)?;
        let code = members.iter().find(|(member, _)| *member == Member::Error);
        let (_, code) = code.ok_or(InvalidReply::NotAnError)?;
        if !code.chars().all(is_plain) {
            return Err(InvalidReply::Code);
        }
        let members = members.into_iter().filter_map(|(member, text)| match member {
            Member::Error => Some((member, text)),
            Member::Description => Some((member, filtered(&text))),
            // RFC 6749 Appendix A.9: a URI reference.
            Member::Uri => text
                .chars()
                .all(|c| is_plain(c) && c != ' ')
                .then_some((member, text)),
        });
        Self {
            status: 400,
            members: members.collect(),
            headers: Vec::new(),
        }
        .with_status(status)
    }

    /// Changes the status.
    ///
    /// # Errors
    /// [`InvalidReply::Status`] unless it is 400 to 599.
    pub fn with_status(self, status: u16) -> Result<Self, InvalidReply> {
        if (400..=599).contains(&status) {
            Ok(Self { status, ..self })
        } else {
            Err(InvalidReply::Status)
        }
    }

    /// Adds a header behind those that are there.
    ///
    /// # Errors
    /// [`InvalidReply::Header`] or [`InvalidReply::ReservedHeader`]
    pub fn with_header(mut self, name: &str, value: &str) -> Result<Self, InvalidReply> {
        let is_name = !name.is_empty()
            && name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b));
        let is_value = value.bytes().all(|b| matches!(b, b'\t' | 0x20..=0x7e));
        if !is_name || !is_value {
            return Err(InvalidReply::Header);
        }
        let reserved = ["cache-control", "content-type", "content-length"];
        if reserved.iter().any(|one| one.eq_ignore_ascii_case(name)) {
            return Err(InvalidReply::ReservedHeader);
        }
        self.headers.push((name.to_owned().into(), value.to_owned()));
        Ok(self)
    }

    /// Adds `WWW-Authenticate: Basic`, which RFC 6749 §5.2 demands when the client tried that header.
    ///
    /// # Errors
    /// [`InvalidReply::Header`] when the realm cannot stand between quotes.
    pub fn with_basic_challenge(self, realm: &str) -> Result<Self, InvalidReply> {
        if !realm.chars().all(is_plain) {
            return Err(InvalidReply::Header);
        }
        self.with_header("WWW-Authenticate", &format!("Basic realm=\"{realm}\""))
    }

    fn with_bearer_challenge(mut self, scope: Option<&crate::Scope>) -> Self {
        let [(_, code), (_, description), ..] = &self.members[..] else {
            return self;
        };
        // Neither holds a quote or a backslash, and a scope cannot.
        let scope = scope.map_or_else(String::new, |scope| format!(", scope=\"{scope}\""));
        let challenge = format!("Bearer error=\"{code}\", error_description=\"{description}\"{scope}");
        self.headers.push(("WWW-Authenticate".into(), challenge));
        self
    }

    /// Whole seconds, rounded up, so that who keeps to it is not refused again; nothing when there is nothing to wait.
    fn with_retry_after(mut self, wait: Option<Duration>) -> Self {
        if let Some(wait) = wait.filter(|wait| !wait.is_zero()) {
            let seconds = wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0));
            self.headers.push(("Retry-After".into(), seconds.to_string()));
        }
        self
    }
}

impl From<ErrorReply> for Reply {
    fn from(error: ErrorReply) -> Self {
        let members = error.members.iter().map(|(member, text)| {
            let name = match member {
                Member::Error => "error",
                Member::Description => "error_description",
                Member::Uri => "error_uri",
            };
            // Neither quote, backslash nor control character is in any of them, so there is nothing to escape.
            format!("\"{name}\":\"{text}\"")
        });
        let body = format!("{{{}}}", members.collect::<Vec<_>>().join(","));
        Self::new(error.status, error.headers, body)
    }
}

/// RFC 6749 Appendix A.7 and A.8: `%x20-21 / %x23-5B / %x5D-7E`.
const fn is_plain(character: char) -> bool {
    matches!(character, ' '..='!' | '#'..='[' | ']'..='~')
}

/// What RFC 6749 §5.2 lets a description hold; a quote becomes an apostrophe, anything else a question mark.
fn filtered(text: &str) -> String {
    let filter = |character| match character {
        '"' => '\'',
        plain if is_plain(plain) => plain,
        _ => '?',
    };
    text.chars().map(filter).collect()
}

/// Collects the three members in their order.
struct Forwarded;

impl<'de> Visitor<'de> for Forwarded {
    type Value = Vec<(Member, String)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an error object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members: Self::Value = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            let member = match name.as_str() {
                "error" => Member::Error,
                "error_description" => Member::Description,
                "error_uri" => Member::Uri,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            if members.iter().any(|(known, _)| *known == member) {
                return Err(A::Error::custom("a name is repeated"));
            }
            members.push((member, map.next_value()?));
        }
        Ok(members)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    fn headers(reply: &Reply) -> Vec<(&str, &str)> {
        reply.headers().collect()
    }

    /// S-047
    /// S-048
    #[test]
    fn an_error_is_two_members_and_four_kinds_of_header_in_order() {
        let error = ErrorReply::invalid_client("who are you")
            .with_basic_challenge("as")
            .unwrap();
        let reply = Reply::from(error);
        assert_eq!(reply.status(), 401);
        assert_eq!(
            reply.body(),
            r#"{"error":"invalid_client","error_description":"who are you"}"#
        );
        assert_eq!(
            headers(&reply),
            [
                ("Cache-Control", "no-store"),
                ("WWW-Authenticate", "Basic realm=\"as\""),
                ("Content-Length", "60"),
                ("Content-Type", "application/json"),
            ]
        );
    }

    /// S-050
    /// S-052
    /// S-053
    /// S-055
    /// S-056
    /// S-060
    #[test]
    fn every_helper_has_its_code_and_its_status() {
        let table: [(ErrorReply, u16, &str); 24] = [
            (ErrorReply::invalid_request("d"), 400, "invalid_request"),
            (ErrorReply::invalid_client("d"), 401, "invalid_client"),
            (ErrorReply::invalid_grant("d"), 400, "invalid_grant"),
            (ErrorReply::invalid_scope("d"), 400, "invalid_scope"),
            (ErrorReply::unauthorized_client("d"), 400, "unauthorized_client"),
            (
                ErrorReply::unsupported_grant_type("d"),
                400,
                "unsupported_grant_type",
            ),
            (ErrorReply::access_denied("d"), 400, "access_denied"),
            (ErrorReply::invalid_redirect_uri("d"), 400, "invalid_redirect_uri"),
            (
                ErrorReply::invalid_client_metadata("d"),
                400,
                "invalid_client_metadata",
            ),
            (ErrorReply::invalid_target("d"), 400, "invalid_target"),
            (
                ErrorReply::authorization_pending(ErrorReply::AUTHORIZATION_PENDING),
                400,
                "authorization_pending",
            ),
            (
                ErrorReply::expired_token(ErrorReply::EXPIRED_TOKEN),
                400,
                "expired_token",
            ),
            (
                ErrorReply::pkce_required(ErrorReply::PKCE_REQUIRED),
                400,
                "invalid_request",
            ),
            (ErrorReply::slow_down("d", None), 400, "slow_down"),
            (
                ErrorReply::rate_limit_exceeded("d", None),
                429,
                "too_many_requests",
            ),
            (
                ErrorReply::temporarily_unavailable("d", None),
                503,
                "temporarily_unavailable",
            ),
            (ErrorReply::server_error("d"), 500, "server_error"),
            (
                ErrorReply::server_error("d").with_status(503).unwrap(),
                503,
                "server_error",
            ),
            (ErrorReply::backend_timeout(), 504, "server_error"),
            (ErrorReply::backend_connection_error(), 502, "server_error"),
            (ErrorReply::backend_invalid_response(), 502, "server_error"),
            (ErrorReply::invalid_token("d"), 401, "invalid_token"),
            (
                ErrorReply::insufficient_scope("d", None),
                403,
                "insufficient_scope",
            ),
            (
                ErrorReply::use_dpop_nonce("d", "n").unwrap(),
                400,
                "use_dpop_nonce",
            ),
        ];
        for (error, status, code) in table {
            let reply = Reply::from(error);
            let body: serde_json::Value = serde_json::from_str(reply.body()).unwrap();
            assert_eq!((reply.status(), body["error"].as_str()), (status, Some(code)));
        }
    }

    /// S-060
    /// RFC 6750 §3
    /// RFC 9449 §8
    #[test]
    fn what_a_client_must_read_from_a_header_is_there() {
        let value = |error: ErrorReply, name: &str| {
            let reply = Reply::from(error);
            let found = reply
                .headers()
                .find_map(|(one, value)| (one == name).then(|| value.to_owned()));
            found.unwrap_or_default()
        };
        let scope = crate::Scope::parse("a b").unwrap();
        assert_eq!(
            value(
                ErrorReply::insufficient_scope("more \"please\"", Some(&scope)),
                "WWW-Authenticate"
            ),
            "Bearer error=\"insufficient_scope\", error_description=\"more 'please'\", scope=\"a b\""
        );
        assert_eq!(
            value(ErrorReply::invalid_token("expired"), "WWW-Authenticate"),
            "Bearer error=\"invalid_token\", error_description=\"expired\""
        );
        assert_eq!(
            value(ErrorReply::use_dpop_nonce("d", "abc").unwrap(), "DPoP-Nonce"),
            "abc"
        );
    }

    /// S-049
    /// S-051
    #[test]
    fn no_header_splits_the_answer_or_undoes_no_store() {
        let add = |name, value| ErrorReply::invalid_request("d").with_header(name, value);
        for name in ["Cache-Control", "cache-control", "CONTENT-TYPE", "Content-Length"] {
            assert_eq!(add(name, "max-age=60"), Err(InvalidReply::ReservedHeader));
        }
        for (name, value) in [
            ("X-A", "a\r\nX-B: b"),
            ("X-A", "a\0"),
            ("X-A", "客"),
            ("X A", "a"),
            ("", "a"),
            ("X-A:", "a"),
        ] {
            assert_eq!(add(name, value), Err(InvalidReply::Header), "{name}: {value}");
        }
        assert_eq!(
            ErrorReply::invalid_client("d").with_basic_challenge("a\"b"),
            Err(InvalidReply::Header)
        );
        let reply = Reply::from(add("X-A", "1").unwrap().with_header("X-B", "2").unwrap());
        assert_eq!(
            headers(&reply)[..3],
            [("Cache-Control", "no-store"), ("X-A", "1"), ("X-B", "2")]
        );
    }

    /// S-054
    #[test]
    fn time_to_wait_is_whole_seconds_rounded_up() {
        for (wait, expected) in [
            (Some(Duration::from_secs(60)), Some("60")),
            (Some(Duration::from_millis(1_500)), Some("2")),
            (Some(Duration::from_nanos(1)), Some("1")),
            (Some(Duration::ZERO), None),
            (None, None),
        ] {
            for error in [
                ErrorReply::slow_down("d", wait),
                ErrorReply::rate_limit_exceeded("d", wait),
            ] {
                let reply = Reply::from(error);
                let found = reply
                    .headers()
                    .find_map(|(name, value)| (name == "Retry-After").then_some(value));
                assert_eq!(found, expected, "{wait:?}");
            }
        }
    }

    /// S-058
    #[test]
    fn an_error_has_the_status_of_one() {
        for status in [0, 100, 200, 204, 302, 304, 399, 600] {
            assert_eq!(
                ErrorReply::server_error("d").with_status(status),
                Err(InvalidReply::Status)
            );
        }
    }

    /// S-059
    /// RFC 6749 Appendix A.8
    #[test]
    fn a_description_is_plain_whatever_it_was() {
        let reply = Reply::from(ErrorReply::invalid_request("é \"q\" \\ </script> \u{2028}\t\0"));
        assert_eq!(
            reply.body(),
            r#"{"error":"invalid_request","error_description":"? 'q' ? </script> ???"}"#
        );
        assert_eq!(ErrorReply::new("a\"b", "d"), Err(InvalidReply::Code));
    }

    /// S-057
    #[test]
    fn of_a_forwarded_error_three_checked_members_remain_in_their_order() {
        let body = |json: &str, status| {
            ErrorReply::forward(json.as_bytes(), status).map(|error| Reply::from(error).into_body())
        };
        assert_eq!(
            body(
                r#"{"error_uri":"https://as.example/e","error":"x","db":{"a":[1]},"error_description":"a\nb"}"#,
                400
            ),
            Ok(r#"{"error_uri":"https://as.example/e","error":"x","error_description":"a?b"}"#.to_owned())
        );
        assert_eq!(
            body(r#"{"error":"x","error_uri":"a b"}"#, 400),
            Ok(r#"{"error":"x"}"#.to_owned())
        );
        for bad in [
            "",
            "[]",
            "{}",
            r#"{"error":7}"#,
            r#"{"error":"x"} y"#,
            r#"{"error":"x","error":"y"}"#,
            r#"{"detail":"x"}"#,
        ] {
            assert_eq!(body(bad, 500), Err(InvalidReply::NotAnError), "{bad}");
        }
        assert_eq!(body(r#"{"error":"\n"}"#, 400), Err(InvalidReply::Code));
        assert_eq!(body(r#"{"error":"x"}"#, 200), Err(InvalidReply::Status));
    }
}
