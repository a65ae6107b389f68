//! Headers that repeat arguments of tools, `Mcp-Param-Region: eu` (MCP 2026-07-28, *Custom Headers from Tool
//! Parameters*; M-131).
//!
//! A tool's schema names a header for an argument by `x-mcp-header`. Gateways in front route by the header, and the server
//! works by the argument: it must refuse a call in which they differ. A server over stdio gets no headers, so it is done
//! here, for the tools that the child has told this caller of.

use std::collections::HashMap;

use http::{HeaderMap, HeaderName};
use mcp_authflow_resource::tool::decode_header_value;
use serde_json::Value;

use super::message::{Members, method};

/// What 2026-07-28 calls a header mismatch.
pub(super) const HEADER_MISMATCH: i64 = -32_020;

const PREFIX: &str = "mcp-param-";
/// The most tools with such headers that are remembered of a child.
const MAX_TOOLS: usize = 1_024;
/// Up to here all whole numbers are numbers of JavaScript's: 2^53.
const MAX_WHOLE: f64 = 9_007_199_254_740_992.0;

/// What does not match. The text goes to the client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Mismatch {
    #[error("Header mismatch: {0} is missing")]
    Missing(HeaderName),
    #[error("Header mismatch: {0} is given twice, or is not well formed")]
    Malformed(HeaderName),
    #[error("Header mismatch: {0} differs from the arguments")]
    Differs(HeaderName),
}

/// Of each tool that has any, the headers and where in the arguments their values are.
#[derive(Debug, Default)]
pub(super) struct ParamHeaders(HashMap<String, Vec<ParamHeader>>);

#[derive(Clone, Debug)]
struct ParamHeader {
    header: HeaderName,
    path: Vec<String>,
}

impl ParamHeaders {
    /// Learns from the result of `tools/list`.
    pub(super) fn learn(&mut self, list: &Value) {
        for tool in list["tools"].as_array().into_iter().flatten() {
            let Some(name) = tool["name"].as_str() else {
                continue;
            };
            let headers = of_schema(&tool["inputSchema"]).unwrap_or_default();
            if headers.is_empty() {
                self.0.remove(name);
            } else if self.0.len() < MAX_TOOLS || self.0.contains_key(name) {
                self.0.insert(name.to_owned(), headers);
            }
        }
    }

    /// Compares the headers of a `tools/call` with its arguments.
    pub(super) fn compare(&self, headers: &HeaderMap, request: &Members) -> Result<(), Mismatch> {
        if method(request) != "tools/call" {
            return Ok(());
        }
        let params = request.get("params").unwrap_or(&Value::Null);
        let known = params["name"].as_str().and_then(|name| self.0.get(name));
        for ParamHeader { header, path } in known.into_iter().flatten() {
            let argument = path
                .iter()
                .fold(&params["arguments"], |value, name| &value[name.as_str()]);
            let mut values = headers.get_all(header).iter();
            let said = match (values.next(), values.next()) {
                (None, _) => None,
                (Some(value), None) => {
                    let said = value.to_str().ok().and_then(decode_header_value);
                    Some(said.ok_or_else(|| Mismatch::Malformed(header.clone()))?)
                }
                _ => return Err(Mismatch::Malformed(header.clone())),
            };
            match said {
                None if is_plain(argument) => return Err(Mismatch::Missing(header.clone())),
                Some(said) if !is_same(&said, argument) => return Err(Mismatch::Differs(header.clone())),
                _ => {}
            }
        }
        Ok(())
    }
}

/// The headers that a schema names; `None` when one of them is none, or two are the same: clients refuse such a tool.
fn of_schema(schema: &Value) -> Option<Vec<ParamHeader>> {
    let mut found = Vec::new();
    collect(schema, &mut Vec::new(), &mut found)?;
    let is_twice = |one: &ParamHeader| found.iter().filter(|other| other.header == one.header).count() > 1;
    (!found.iter().any(is_twice)).then_some(found)
}

/// Goes down `properties` alone, as the specification has it. As deep as a message may be, which is 128.
fn collect(schema: &Value, path: &mut Vec<String>, found: &mut Vec<ParamHeader>) -> Option<()> {
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        path.push(name.clone());
        if let Some(header) = property.get("x-mcp-header") {
            let header = header.as_str().filter(|header| !header.is_empty())?;
            found.push(ParamHeader {
                header: HeaderName::try_from(format!("{PREFIX}{header}")).ok()?,
                path: path.clone(),
            });
        }
        collect(property, path, found)?;
        path.pop();
    }
    Some(())
}

/// Whether it is something that a header repeats: nothing, `null`, lists and objects are not.
fn is_plain(argument: &Value) -> bool {
    argument.is_string() || argument.is_number() || argument.is_boolean()
}

fn is_same(said: &str, argument: &Value) -> bool {
    match argument {
        Value::String(argument) => said == argument,
        Value::Bool(argument) => said == if *argument { "true" } else { "false" },
        // Languages write numbers in different ways: 42 is 42.0. Beyond, whole numbers are no longer told apart so.
        Value::Number(argument) => {
            let number = argument.as_f64().filter(|number| number.abs() <= MAX_WHOLE);
            said == argument.to_string() || (number.is_some() && said.parse().ok() == number)
        }
        Value::Null | Value::Array(_) | Value::Object(_) => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use serde_json::json;

    use super::*;

    fn known() -> ParamHeaders {
        let mut known = ParamHeaders::default();
        known.learn(&json!({"tools": [
            {"name": "plain", "inputSchema": {"properties": {"region": {"type": "string"}}}},
            {"name": "deploy", "inputSchema": {"properties": {
                "region": {"type": "string", "x-mcp-header": "Region"},
                "where": {"type": "object", "properties": {"rack": {"type": "integer", "x-mcp-header": "Rack"}}},
                "now": {"type": "boolean", "x-mcp-header": "Now"},
            }}},
            {"name": "twice", "inputSchema": {"properties": {
                "a": {"type": "string", "x-mcp-header": "Same"}, "b": {"type": "string", "x-mcp-header": "SAME"}}}},
            {"name": "bad", "inputSchema": {"properties": {"a": {"type": "string", "x-mcp-header": "no name"}}}},
        ]}));
        known
    }

    fn compared(tool: &str, arguments: &Value, headers: &[(&'static str, &str)]) -> Result<(), Mismatch> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        let request = json!({"method": "tools/call", "params": {"name": tool, "arguments": arguments}});
        known().compare(&map, request.as_object().unwrap())
    }

    /// M-131
    #[test]
    fn a_header_says_what_the_argument_says() {
        let header = |name: &'static str| HeaderName::from_static(name);
        let region = |said: &str, argument: Value| {
            compared(
                "deploy",
                &json!({"region": argument}),
                &[("mcp-param-region", said)],
            )
        };
        let differs = Err(Mismatch::Differs(header("mcp-param-region")));
        let malformed = Err(Mismatch::Malformed(header("mcp-param-region")));
        assert_eq!(region("eu", json!("eu")), Ok(()));
        assert_eq!(region("us", json!("eu")), differs);
        assert_eq!(region("=?base64?SGVsbG8=?=", json!("Hello")), Ok(()));
        assert_eq!(region("SGVsbG8=", json!("SGVsbG8=")), Ok(()));
        assert_eq!(region("=?base64?SGVsbG8=", json!("=?base64?SGVsbG8=")), Ok(()));
        for bad in ["=?base64?SGVsbG8?=", "=?base64?SGVs!!!bG8=?="] {
            assert_eq!(region(bad, json!("Hello")), malformed, "{bad}");
        }
        assert_eq!(region("null", json!(null)), differs);
        assert_eq!(
            compared("deploy", &json!({"region": "eu"}), &[]),
            Err(Mismatch::Missing(header("mcp-param-region")))
        );
        let twice = [("mcp-param-region", "eu"), ("mcp-param-region", "us")];
        assert_eq!(compared("deploy", &json!({"region": "eu"}), &twice), malformed);
    }

    #[test]
    fn numbers_and_nested_arguments_are_compared_by_value() {
        let rack = |said: &str, argument: &Value| {
            compared(
                "deploy",
                &json!({"where": {"rack": argument}}),
                &[("mcp-param-rack", said)],
            )
        };
        for (said, argument) in [
            ("42", json!(42)),
            ("42.0", json!(42)),
            ("42", json!(42.0)),
            ("-1", json!(-1)),
        ] {
            assert_eq!(rack(said, &argument), Ok(()), "{said}");
        }
        for (said, argument) in [
            ("43", json!(42)),
            ("x", json!(42)),
            ("9007199254740993", json!(9_007_199_254_740_995_u64)),
        ] {
            assert!(rack(said, &argument).is_err(), "{said}");
        }
        let now = |said: &str| compared("deploy", &json!({"now": true}), &[("mcp-param-now", said)]);
        assert_eq!(now("true"), Ok(()));
        assert!(now("false").is_err());
    }

    #[test]
    fn nothing_is_asked_of_tools_that_name_no_headers() {
        let wrong = [("mcp-param-region", "us"), ("mcp-param-same", "us")];
        for tool in ["plain", "twice", "bad", "unheard-of"] {
            assert_eq!(
                compared(tool, &json!({"region": "eu", "a": "eu"}), &wrong),
                Ok(()),
                "{tool}"
            );
        }
        let mut known = known();
        known.learn(&json!({"tools": [{"name": "deploy", "inputSchema": {}}]}));
        assert!(known.0.is_empty());
    }
}
