//! The `WWW-Authenticate` header: tells a client that it needs a token, for what, and where to get it (RFC 6750 §3,
//! RFC 9728 §5.1).

use http::HeaderValue;
use mcp_authflow_types::{ErrorCode, Scope};

/// A Bearer challenge in the making.
///
/// ```
/// use mcp_authflow_resource::{Challenge, Scope};
///
/// let challenge = Challenge::bearer("https://mcp.example/.well-known/oauth-protected-resource/mcp")
///     .with_scope(Scope::parse("notes:read notes:write")?);
/// assert_eq!(
///     challenge.header_value(),
///     "Bearer scope=\"notes:read notes:write\", \
///      resource_metadata=\"https://mcp.example/.well-known/oauth-protected-resource/mcp\""
/// );
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    resource_metadata: String,
    scope: Scope,
    error: Option<(&'static str, String)>,
}

impl Challenge {
    /// Begins a challenge without an error: for a request that carries no token (RFC 6750 §3.1, last paragraph).
    ///
    /// `resource_metadata` is the absolute URL of the RFC 9728 document; clients do not resolve relative ones.
    pub fn bearer(resource_metadata: impl Into<String>) -> Self {
        Self {
            resource_metadata: resource_metadata.into(),
            scope: Scope::empty(),
            error: None,
        }
    }

    /// Names *all* scopes that the operation needs, those that the caller has included.
    #[must_use]
    pub fn with_scope(mut self, scope: Scope) -> Self {
        self.scope = scope;
        self
    }

    /// Says what was wrong with the token or the request.
    #[must_use]
    pub fn with_error(mut self, code: ErrorCode, description: impl Into<String>) -> Self {
        self.error = Some((code.as_str(), description.into()));
        self
    }

    /// The scopes named.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// The header's value. `Bearer` stands first: clients exist that read nothing else (M §6.4.8).
    pub fn header_value(&self) -> HeaderValue {
        let mut parameters = Vec::with_capacity(4);
        if let Some((code, description)) = &self.error {
            parameters.push(format!("error={}", quoted(code)));
            parameters.push(format!("error_description={}", quoted(description)));
        }
        if !self.scope.is_empty() {
            parameters.push(format!("scope={}", quoted(&self.scope.to_string())));
        }
        parameters.push(format!("resource_metadata={}", quoted(&self.resource_metadata)));
        // `quoted` leaves only printable ASCII, which every header value may hold.
        HeaderValue::try_from(format!("Bearer {}", parameters.join(", ")))
            .unwrap_or(HeaderValue::from_static("Bearer"))
    }
}

/// A quoted-string (RFC 9110 §5.6.4). What is not printable ASCII becomes a question mark, so that nothing can end the
/// header or the line.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            ' '..='~' => quoted.push(character),
            _ => quoted.push('?'),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    /// Reads a header value back by the grammar of RFC 9110 §11.6.1; panics on anything else.
    pub(crate) fn parse(value: &HeaderValue) -> (String, Vec<(String, String)>) {
        let text = value.to_str().unwrap();
        let (scheme, mut rest) = text.split_once(' ').unwrap();
        let mut parameters = Vec::new();
        loop {
            let (name, after) = rest.split_once("=\"").unwrap();
            assert!(
                name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'),
                "{name}"
            );
            let (mut content, mut end) = (String::new(), None);
            let mut characters = after.char_indices();
            while let Some((at, character)) = characters.next() {
                match character {
                    '"' => {
                        end = Some(at);
                        break;
                    }
                    '\\' => content.push(characters.next().unwrap().1),
                    other => content.push(other),
                }
            }
            parameters.push((name.to_owned(), content));
            let after = &after[end.expect("the string is closed") + 1..];
            if after.is_empty() {
                return (scheme.to_owned(), parameters);
            }
            rest = after.strip_prefix(", ").unwrap();
        }
    }

    /// M-022, M-024, M-025: the order too, since some clients read only the beginning.
    #[test]
    fn a_challenge_reads_back_as_it_was_meant() {
        let value = Challenge::bearer("https://rs.test/.well-known/oauth-protected-resource/a?b=c,d")
            .with_scope(Scope::parse("write read").unwrap())
            .with_error(ErrorCode::InsufficientScope, "says \"no\", \\ and more")
            .header_value();
        let (scheme, parameters) = parse(&value);
        assert_eq!(scheme, "Bearer");
        assert_eq!(
            parameters,
            [
                ("error", "insufficient_scope"),
                ("error_description", "says \"no\", \\ and more"),
                ("scope", "read write"),
                (
                    "resource_metadata",
                    "https://rs.test/.well-known/oauth-protected-resource/a?b=c,d"
                ),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
        );
    }

    proptest::proptest! {
        #[test]
        fn no_text_breaks_out_of_its_quotes(text in "\\PC*|[ -~]*|[\r\n\"\\\\,=]*") {
            let value = Challenge::bearer(text.clone()).header_value();
            let (_, parameters) = parse(&value);
            let expected: String =
                text.chars().map(|c| if matches!(c, ' '..='~') { c } else { '?' }).collect();
            proptest::prop_assert_eq!(parameters, vec![("resource_metadata".to_owned(), expected)]);
        }
    }
}
