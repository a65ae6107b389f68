//! Which pages of other sites may read an answer (Fetch, §3.2: CORS).
//!
//! [`AllowedOrigins`] is read and checked once, at the start. [`CorsPolicy`] says for one endpoint which headers an answer
//! carries, as names and values that any web framework can set. Credentials are never let in: nothing that is open to
//! scripts looks at cookies.

use std::{fmt, sync::Arc};

use crate::uri::Uri;

/// The variable in which the ecosystem keeps the list.
pub const ALLOWED_ORIGINS_VARIABLE: &str = "ALLOWED_MCP_ORIGINS";

/// The origin of a page: scheme, host and port (RFC 6454 §4), as browsers spell it: lower case, without a default port.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Origin(String);

/// Why a list of origins is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidOrigin {
    /// A member is not scheme, host and port, with nothing behind.
    #[error(
        "`{0}` is no origin: write scheme, host and port, such as https://app.example or http://localhost:6274"
    )]
    NoOrigin(String),
    /// `null`: what every sandboxed page and every local file calls itself.
    #[error("`null` stands for every sandboxed page and cannot be allowed")]
    Null,
    /// A pattern, or `*` beside other members.
    #[error("`*` stands alone, for every origin, or not at all; name each origin otherwise")]
    Wildcard,
}

/// The origins whose pages may read answers; cheap to clone. The default allows none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowedOrigins(Rule);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Rule {
    Any,
    Listed(Arc<[Origin]>),
    /// As the Python package compares: the exact text.
    Texts(Arc<[String]>),
}

impl Default for Rule {
    fn default() -> Self {
        Self::Listed(Arc::default())
    }
}

/// What of a request decides.
#[derive(Clone, Copy, Debug)]
pub struct CorsRequest<'a> {
    /// The values of all `Origin` headers, in their order. A value that is no text counts as the empty text.
    pub origins: &'a [&'a str],
    /// Whether it is a browser's question before the real request: `OPTIONS` with `Access-Control-Request-Method`.
    pub is_preflight: bool,
}

/// What scripts may do at one endpoint.
///
/// ```
/// use mcp_authflow_types::cors::{AllowedOrigins, CorsPolicy, CorsRequest};
///
/// let policy = CorsPolicy::endpoint(AllowedOrigins::parse("https://app.example")?, "POST, OPTIONS");
/// let request = CorsRequest { origins: &["https://app.example"], is_preflight: false };
/// assert!(policy.headers(request).contains(&("Access-Control-Allow-Origin", "https://app.example".to_owned())));
///
/// let request = CorsRequest { origins: &["https://evil.example"], is_preflight: false };
/// assert_eq!(policy.headers(request), [("Vary", "Origin".to_owned())]);
/// # Ok::<(), mcp_authflow_types::cors::InvalidOrigin>(())
/// ```
#[derive(Clone, Debug)]
pub struct CorsPolicy {
    origins: AllowedOrigins,
    methods: &'static str,
    kind: Kind,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Endpoint,
    /// The Python package's one fixed set.
    Discovery,
}

/// What a client sends beside the headers that every page may send.
const REQUEST_HEADERS: &str =
    "Authorization, Content-Type, Accept, MCP-Protocol-Version, Mcp-Session-Id, DPoP";
/// What a page's script must read of an answer.
const EXPOSED_HEADERS: &str = "WWW-Authenticate, Retry-After, Mcp-Session-Id, DPoP-Nonce, X-Request-Id";
/// How long a browser may remember a pre-flight: ten minutes, the most that all browsers honour.
const MAX_AGE: &str = "600";

impl Origin {
    /// Reads an origin: scheme, host and port with nothing behind, in plain ASCII (hosts of other scripts in their ASCII
    /// form).
    ///
    /// # Errors
    /// [`InvalidOrigin`]
    pub fn parse(text: &str) -> Result<Self, InvalidOrigin> {
        if text.eq_ignore_ascii_case("null") {
            return Err(InvalidOrigin::Null);
        }
        if text.contains('*') {
            return Err(InvalidOrigin::Wildcard);
        }
        let refused =
            || InvalidOrigin::NoOrigin(text.chars().filter(|c| !c.is_control()).take(100).collect());
        let uri = Uri::parse(text)
            .filter(|uri| uri.path.is_empty() && uri.query.is_none() && uri.fragment.is_none())
            .ok_or_else(refused)?;
        let authority = uri
            .authority
            .filter(|authority| !authority.host.is_empty())
            .ok_or_else(refused)?;
        let scheme = uri.scheme.to_ascii_lowercase();
        let host = authority.host.to_ascii_lowercase();
        Ok(Self(match (scheme.as_str(), authority.port) {
            ("https", Some(443)) | ("http", Some(80)) | (_, None) => format!("{scheme}://{host}"),
            (_, Some(port)) => format!("{scheme}://{host}:{port}"),
        }))
    }

    /// The origin as browsers send it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AllowedOrigins {
    /// Every origin. The answers then say `*`, with which no browser sends or keeps credentials.
    pub const fn any() -> Self {
        Self(Rule::Any)
    }

    /// Reads a list with commas between: each member an origin, or `*` alone for every origin. The empty list allows none.
    ///
    /// ```
    /// use mcp_authflow_types::cors::AllowedOrigins;
    ///
    /// let allowed = AllowedOrigins::parse("https://App.example:443, http://localhost:6274")?;
    /// assert_eq!(allowed.admit(&["https://app.example"]), Some("https://app.example"));
    /// assert_eq!(allowed.admit(&["https://app.example", "https://app.example"]), None);
    /// assert!(AllowedOrigins::parse("https://app.example/").is_err());
    /// assert!(AllowedOrigins::parse("https://app.example, *").is_err());
    /// # Ok::<(), mcp_authflow_types::cors::InvalidOrigin>(())
    /// ```
    ///
    /// # Errors
    /// [`InvalidOrigin`], naming the member.
    pub fn parse(text: &str) -> Result<Self, InvalidOrigin> {
        let members = split_origins(text);
        if members == ["*"] {
            return Ok(Self::any());
        }
        let listed = members
            .into_iter()
            .map(Origin::parse)
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self(Rule::Listed(listed.into())))
    }

    /// Takes members as they are and compares them character for character, as the Python package does: for a list that
    /// worked there and is to work on unseen. `null` counts when it is listed, `*` stands for nothing.
    ///
    /// # Security
    /// `null` is the origin of every sandboxed page, so listing it lets any site in. [`parse`](Self::parse) refuses it.
    pub fn as_listed(members: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let members = members.into_iter().map(Into::into);
        Self(Rule::Texts(
            members
                .filter(|member| member != "*" && !member.is_empty())
                .collect(),
        ))
    }

    /// What `Access-Control-Allow-Origin` says to a request with these `Origin` headers; `None` when nothing. More than one
    /// such header comes from no browser and counts as none.
    pub fn admit<'a>(&self, origins: &[&'a str]) -> Option<&'a str> {
        match (&self.0, origins) {
            (Rule::Any, _) => Some("*"),
            (Rule::Listed(listed), &[origin]) => {
                listed.iter().any(|one| one.as_str() == origin).then_some(origin)
            }
            (Rule::Texts(texts), &[origin]) => texts.iter().any(|one| one == origin).then_some(origin),
            _ => None,
        }
    }
}

impl fmt::Display for AllowedOrigins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Rule::Any => f.write_str("*"),
            Rule::Listed(listed) => {
                let listed: Vec<&str> = listed.iter().map(Origin::as_str).collect();
                f.write_str(&listed.join(", "))
            }
            Rule::Texts(texts) => f.write_str(&texts.join(", ")),
        }
    }
}

/// Splits a list at its commas: each part without white space around, empty parts left out, order and repetitions kept.
/// No member is checked; [`AllowedOrigins::parse`] does both.
pub fn split_origins(text: &str) -> Vec<&str> {
    // Python's white space holds four separators more than Rust's.
    let is_blank = |c: char| c.is_whitespace() || matches!(c, '\u{1c}'..='\u{1f}');
    text.split(',')
        .map(|part| part.trim_matches(is_blank))
        .filter(|part| !part.is_empty())
        .collect()
}

impl CorsPolicy {
    /// An endpoint that takes these methods (with commas between). Answers to allowed pages expose what a client must
    /// read: `WWW-Authenticate`, `Retry-After`, `Mcp-Session-Id`, `DPoP-Nonce`, `X-Request-Id`.
    pub const fn endpoint(origins: AllowedOrigins, methods: &'static str) -> Self {
        Self {
            origins,
            methods,
            kind: Kind::Endpoint,
        }
    }

    /// The one set of the Python package, for documents that are read with GET: methods, headers and `Vary` to everybody,
    /// the origin to those allowed.
    pub const fn discovery(origins: AllowedOrigins) -> Self {
        Self {
            origins,
            methods: "GET, OPTIONS",
            kind: Kind::Discovery,
        }
    }

    /// The methods, for an `Allow` header.
    pub const fn methods(&self) -> &'static str {
        self.methods
    }

    /// The headers of the answer to this request, in order. A name may be there already in a framework's answer: `Vary` is
    /// to be appended, the others replace.
    pub fn headers(&self, request: CorsRequest<'_>) -> Vec<(&'static str, String)> {
        let mut headers = Vec::new();
        let origin = self.origins.admit(request.origins);
        let mut put = |name, value: &str| headers.push((name, value.to_owned()));
        if matches!(self.kind, Kind::Discovery) {
            put("Access-Control-Allow-Methods", self.methods);
            put(
                "Access-Control-Allow-Headers",
                "Authorization, Content-Type, Accept",
            );
            put("Vary", "Origin");
            if let Some(origin) = origin {
                put("Access-Control-Allow-Origin", origin);
            }
            return headers;
        }
        // An answer that is the same for everybody depends on nothing.
        if self.origins != AllowedOrigins::any() {
            put("Vary", "Origin");
        }
        let Some(origin) = origin else {
            return headers;
        };
        put("Access-Control-Allow-Origin", origin);
        if request.is_preflight {
            put("Access-Control-Allow-Methods", self.methods);
            put("Access-Control-Allow-Headers", REQUEST_HEADERS);
            put("Access-Control-Max-Age", MAX_AGE);
        } else {
            put("Access-Control-Expose-Headers", EXPOSED_HEADERS);
        }
        headers
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    fn request<'a>(origins: &'a [&'a str]) -> CorsRequest<'a> {
        CorsRequest {
            origins,
            is_preflight: false,
        }
    }

    /// S-030
    #[test]
    fn a_list_is_split_at_commas_and_trimmed() {
        for (text, expected) in [
            ("", &[][..]),
            (" , ,", &[]),
            ("a,b", &["a", "b"]),
            ("\u{a0}a\u{1f} ,,a", &["a", "a"]),
            ("a;b", &["a;b"]),
            ("a b", &["a b"]),
        ] {
            assert_eq!(split_origins(text), expected, "{text:?}");
        }
    }

    /// S-031
    #[test]
    fn every_member_is_an_origin_or_the_list_is_refused() {
        let allowed =
            AllowedOrigins::parse("HTTPS://A.example:443,http://[::1]:80, vscode-webview://one").unwrap();
        assert_eq!(
            allowed.to_string(),
            "https://a.example, http://[::1], vscode-webview://one"
        );
        assert_eq!(AllowedOrigins::parse(" * ").unwrap(), AllowedOrigins::any());
        assert_eq!(AllowedOrigins::parse("").unwrap(), AllowedOrigins::default());
        for (bad, error) in [
            ("null", InvalidOrigin::Null),
            ("*, https://a.example", InvalidOrigin::Wildcard),
            ("https://*.example", InvalidOrigin::Wildcard),
        ] {
            assert_eq!(AllowedOrigins::parse(bad), Err(error), "{bad}");
        }
        for bad in [
            "a.example",
            "https://a.example/",
            "https://a.example/x",
            "https://a.example?",
            "https://u@a.example",
            "https://a.example;https://b.example",
            "https://a.example https://b.example",
            "https://",
            "https://a.example:0",
        ] {
            assert_eq!(
                AllowedOrigins::parse(bad),
                Err(InvalidOrigin::NoOrigin(bad.to_owned()))
            );
        }
    }

    /// S-032
    #[test]
    fn an_origin_is_allowed_character_for_character_and_once() {
        let allowed = AllowedOrigins::parse("https://app.example").unwrap();
        assert_eq!(
            allowed.admit(&["https://app.example"]),
            Some("https://app.example")
        );
        for bad in [
            "https://APP.example",
            "https://app.example/",
            "http://app.example",
            "https://app.example.evil.example",
            "https://app.example:443",
            "null",
            "*",
            "",
        ] {
            assert_eq!(allowed.admit(&[bad]), None, "{bad}");
        }
        assert_eq!(
            allowed.admit(&["https://app.example", "https://evil.example"]),
            None
        );
        assert_eq!(allowed.admit(&[]), None);
        let listed = AllowedOrigins::as_listed(["https://App.example/", "*", ""]);
        assert_eq!(
            listed.admit(&["https://App.example/"]),
            Some("https://App.example/")
        );
        assert_eq!(listed.admit(&["https://any.example"]), None);
        assert_eq!(listed.admit(&["*"]), None);
        assert_eq!(listed.admit(&[""]), None);
    }

    /// S-033
    #[test]
    fn the_discovery_set_is_that_of_the_python_package() {
        let policy = CorsPolicy::discovery(AllowedOrigins::parse("https://app.example").unwrap());
        let names = |origins: &[&str]| {
            let headers = policy.headers(request(origins));
            headers.iter().map(|(name, _)| *name).collect::<Vec<_>>()
        };
        let fixed = [
            "Access-Control-Allow-Methods",
            "Access-Control-Allow-Headers",
            "Vary",
        ];
        assert_eq!(names(&["https://evil.example"]), fixed);
        assert_eq!(names(&["https://app.example"])[..3], fixed);
        assert_eq!(
            policy.headers(request(&["https://app.example"])).last(),
            Some(&("Access-Control-Allow-Origin", "https://app.example".to_owned()))
        );
    }

    /// S-034
    /// S-035
    /// M-132
    #[test]
    fn a_preflight_and_an_answer_say_what_each_must_and_credentials_are_never_let_in() {
        for origins in [
            AllowedOrigins::parse("https://app.example").unwrap(),
            AllowedOrigins::any(),
        ] {
            let policy = CorsPolicy::endpoint(origins, "POST, OPTIONS");
            let names = |is_preflight, origins: &[&str]| {
                let headers = policy.headers(CorsRequest {
                    origins,
                    is_preflight,
                });
                headers
                    .into_iter()
                    .map(|(name, _)| name)
                    .filter(|name| *name != "Vary")
                    .collect::<Vec<_>>()
            };
            assert_eq!(
                names(true, &["https://app.example"]),
                [
                    "Access-Control-Allow-Origin",
                    "Access-Control-Allow-Methods",
                    "Access-Control-Allow-Headers",
                    "Access-Control-Max-Age",
                ]
            );
            assert_eq!(
                names(false, &["https://app.example"]),
                ["Access-Control-Allow-Origin", "Access-Control-Expose-Headers",]
            );
        }
        let listed = CorsPolicy::endpoint(
            AllowedOrigins::parse("https://a.example").unwrap(),
            "POST, OPTIONS",
        );
        for is_preflight in [true, false] {
            let request = CorsRequest {
                origins: &["https://evil.example"],
                is_preflight,
            };
            assert_eq!(listed.headers(request), [("Vary", "Origin".to_owned())]);
        }
    }
}
