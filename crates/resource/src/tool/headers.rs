//! Whether the headers of an MCP request say the same as its body (MCP 2026-07-28, *Server Validation*; M-131).
//!
//! Load balancers and gateways route by `Mcp-Method` and `Mcp-Name`, the server works by the body. A request in which
//! the two differ is one thing to the one and another to the other.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderValue};

use crate::json_rpc::{Call, JsonRpc};

pub(super) const PROTOCOL_VERSION: &str = "mcp-protocol-version";
const METHOD: &str = "mcp-method";
const NAME: &str = "mcp-name";
/// The first version whose requests must have the headers; versions are dates and compare as text.
const FIRST_WITH_HEADERS: &str = "2026-07-28";

/// What does not match. The text goes to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Mismatch {
    #[error("Header mismatch: {0} is missing")]
    Missing(&'static str),
    #[error("Header mismatch: {0} is given twice, or is not well formed")]
    Malformed(&'static str),
    #[error("Header mismatch: {0} differs from the body")]
    Differs(&'static str),
    #[error("Header mismatch: {0} cannot speak for a batch")]
    Batch(&'static str),
}

/// Whether the request says that it is of a version that has the headers.
pub(super) fn is_of_a_version_with_headers(headers: &HeaderMap) -> bool {
    let version = headers
        .get(PROTOCOL_VERSION)
        .and_then(|value| value.to_str().ok());
    version.is_some_and(has_headers)
}

fn has_headers(version: &str) -> bool {
    version >= FIRST_WITH_HEADERS && version.starts_with(|c: char| c.is_ascii_digit())
}

/// Whether the request carries anything that its body could contradict.
pub(super) fn are_there(headers: &HeaderMap) -> bool {
    headers.contains_key(METHOD) || headers.contains_key(NAME) || is_of_a_version_with_headers(headers)
}

/// Compares. Requests of older versions need no headers; those that they have must be true all the same.
pub(super) fn check(headers: &HeaderMap, message: &JsonRpc) -> Result<(), Mismatch> {
    let version = single(headers, PROTOCOL_VERSION, "MCP-Protocol-Version")?;
    let method = single(headers, METHOD, "Mcp-Method")?;
    let name = single(headers, NAME, "Mcp-Name")?;
    if message.is_batch() {
        let given = [
            ("Mcp-Method", method),
            ("Mcp-Name", name),
            ("MCP-Protocol-Version", version.filter(|v| has_headers(v))),
        ];
        return match given.into_iter().find(|(_, value)| value.is_some()) {
            Some((header, _)) => Err(Mismatch::Batch(header)),
            None => Ok(()),
        };
    }
    let [call] = message.calls() else {
        return Ok(());
    };
    check_version(version, call)?;
    let is_required = version.is_some_and(has_headers) && call.method() != "initialize";
    match method {
        None if is_required => return Err(Mismatch::Missing("Mcp-Method")),
        Some(method) if method != call.method() => return Err(Mismatch::Differs("Mcp-Method")),
        _ => {}
    }
    let needs_name = matches!(call.method(), "tools/call" | "prompts/get" | "resources/read");
    match (name, call.name()) {
        (None, _) if is_required && needs_name => Err(Mismatch::Missing("Mcp-Name")),
        (Some(name), Some(of_body)) => match decode_header_value(name) {
            None => Err(Mismatch::Malformed("Mcp-Name")),
            Some(name) if name != of_body => Err(Mismatch::Differs("Mcp-Name")),
            Some(_) => Ok(()),
        },
        // A name for what has none in the body says nothing that could differ.
        _ => Ok(()),
    }
}

fn check_version(header: Option<&str>, call: &Call) -> Result<(), Mismatch> {
    match (header, call.protocol_version()) {
        (None, Some(of_body)) if has_headers(of_body) => Err(Mismatch::Missing("MCP-Protocol-Version")),
        (Some(header), Some(of_body)) if header != of_body => Err(Mismatch::Differs("MCP-Protocol-Version")),
        _ => Ok(()),
    }
}

/// The one value of a header, in visible ASCII and spaces.
fn single<'a>(headers: &'a HeaderMap, name: &str, shown: &'static str) -> Result<Option<&'a str>, Mismatch> {
    let mut values = headers.get_all(name).iter();
    let first = values.next().map(HeaderValue::to_str);
    match (first, values.next()) {
        (None, _) => Ok(None),
        (Some(Ok(value)), None) => Ok(Some(value)),
        _ => Err(Mismatch::Malformed(shown)),
    }
}

/// A header's value as it was meant (MCP 2026-07-28, transports): `=?base64?…?=` holds what a header cannot; any other
/// text is itself. `None` when what stands there is no base64, or no text.
///
/// ```
/// use mcp_authflow_resource::tool::decode_header_value;
///
/// assert_eq!(decode_header_value("add_note").as_deref(), Some("add_note"));
/// assert_eq!(decode_header_value("=?base64?w7xiZXI=?=").as_deref(), Some("über"));
/// assert_eq!(decode_header_value("=?base64?!?="), None);
/// ```
pub fn decode_header_value(value: &str) -> Option<String> {
    let packed = value
        .strip_prefix("=?base64?")
        .and_then(|value| value.strip_suffix("?="));
    match packed {
        None => Some(value.to_owned()),
        Some(packed) => String::from_utf8(STANDARD.decode(packed).ok()?).ok(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    const NEW: (&str, &str) = ("mcp-protocol-version", "2026-07-28");
    const OLD: (&str, &str) = ("mcp-protocol-version", "2025-11-25");

    fn judge(headers: &[(&'static str, &str)], body: &str) -> Result<(), Mismatch> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        check(&map, &JsonRpc::parse(body.as_bytes()).unwrap())
    }

    const CALL: &str = r#"{"id":1,"method":"tools/call","params":{"name":"add"}}"#;
    const LIST: &str = r#"{"id":1,"method":"tools/list"}"#;

    /// M-131
    #[test]
    fn headers_must_say_what_the_body_says() {
        let (call, list) = (("mcp-method", "tools/call"), ("mcp-method", "tools/list"));
        let (add, other) = (("mcp-name", "add"), ("mcp-name", "delete"));
        for version in [&[NEW][..], &[OLD], &[]] {
            let judge =
                |headers: &[(&'static str, &str)], body: &str| judge(&[version, headers].concat(), body);
            assert_eq!(judge(&[call, add], CALL), Ok(()));
            assert_eq!(judge(&[list], LIST), Ok(()));
            assert_eq!(judge(&[list, other], LIST), Ok(()));
            assert_eq!(judge(&[list, add], CALL), Err(Mismatch::Differs("Mcp-Method")));
            assert_eq!(
                judge(&[("mcp-method", "Tools/Call"), add], CALL),
                Err(Mismatch::Differs("Mcp-Method"))
            );
            assert_eq!(judge(&[call, other], CALL), Err(Mismatch::Differs("Mcp-Name")));
            assert_eq!(
                judge(&[call, list, add], CALL),
                Err(Mismatch::Malformed("Mcp-Method"))
            );
            assert_eq!(
                judge(&[call, add, add], CALL),
                Err(Mismatch::Malformed("Mcp-Name"))
            );
            assert_eq!(
                judge(&[call, ("mcp-name", "ädd")], CALL),
                Err(Mismatch::Malformed("Mcp-Name"))
            );
        }
    }

    /// M-131: from 2026-07-28 on, and not before.
    #[test]
    fn a_new_version_needs_the_headers_and_an_old_one_does_not() {
        assert_eq!(judge(&[NEW], CALL), Err(Mismatch::Missing("Mcp-Method")));
        assert_eq!(
            judge(&[NEW, ("mcp-method", "tools/call")], CALL),
            Err(Mismatch::Missing("Mcp-Name"))
        );
        let notification = r#"{"method":"notifications/cancelled"}"#;
        assert_eq!(judge(&[NEW], notification), Err(Mismatch::Missing("Mcp-Method")));
        assert_eq!(judge(&[NEW], r#"{"id":1,"method":"initialize"}"#), Ok(()));
        for old in [&[OLD][..], &[]] {
            assert_eq!(judge(old, CALL), Ok(()));
            assert_eq!(judge(old, notification), Ok(()));
        }
        assert_eq!(judge(&[NEW], r#"{"id":1,"result":{}}"#), Ok(()));
    }

    /// M-131: the version stands in the body as well.
    #[test]
    fn the_versions_of_header_and_body_are_the_same() {
        let body = r#"{"id":1,"method":"tools/list","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}"#;
        let list = ("mcp-method", "tools/list");
        assert_eq!(judge(&[NEW, list], body), Ok(()));
        assert_eq!(
            judge(&[list], body),
            Err(Mismatch::Missing("MCP-Protocol-Version"))
        );
        assert_eq!(
            judge(&[OLD, list], body),
            Err(Mismatch::Differs("MCP-Protocol-Version"))
        );
        assert_eq!(
            judge(&[NEW, NEW, list], body),
            Err(Mismatch::Malformed("MCP-Protocol-Version"))
        );
    }

    /// M-131: what a header cannot hold comes in base64.
    #[test]
    fn a_name_in_base64_is_decoded() {
        let body = r#"{"id":1,"method":"tools/call","params":{"name":"Hello, 世界"}}"#;
        let call = ("mcp-method", "tools/call");
        let named = |name: &str| judge(&[NEW, call, ("mcp-name", name)], body);
        assert_eq!(named("=?base64?SGVsbG8sIOS4lueVjA==?="), Ok(()));
        assert_eq!(named("=?base64?SGVsbG8=?="), Err(Mismatch::Differs("Mcp-Name")));
        assert_eq!(named("=?base64?%%%?="), Err(Mismatch::Malformed("Mcp-Name")));
        assert_eq!(named("=?base64?/w==?="), Err(Mismatch::Malformed("Mcp-Name")));
        assert_eq!(
            named("=?BASE64?SGVsbG8sIOS4lueVjA==?="),
            Err(Mismatch::Differs("Mcp-Name"))
        );
    }

    #[test]
    fn no_header_speaks_for_a_batch() {
        let batch = format!("[{CALL},{LIST}]");
        assert_eq!(judge(&[], &batch), Ok(()));
        assert_eq!(judge(&[OLD], &batch), Ok(()));
        assert_eq!(
            judge(&[("mcp-method", "tools/call")], &batch),
            Err(Mismatch::Batch("Mcp-Method"))
        );
        assert_eq!(
            judge(&[("mcp-name", "add")], &batch),
            Err(Mismatch::Batch("Mcp-Name"))
        );
        assert_eq!(
            judge(&[NEW], &batch),
            Err(Mismatch::Batch("MCP-Protocol-Version"))
        );
    }
}
