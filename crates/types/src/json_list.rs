//! A list of texts that came as JSON, or as text that holds JSON: how databases and forms keep them.

use serde_json::Value;

/// A member of the list is no text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a member of the list is not a text")]
pub struct NotTexts;

/// Reads a list field.
///
/// A list is taken as it is, a text that holds a JSON array as that array; an empty array in a text stays empty. Anything
/// else gives `default`, a copy of it: what is missing (null, false, 0, an empty text, list or object), broken JSON, JSON
/// that is no array, and values of other types.
///
/// ```
/// use mcp_authflow_types::json_list::parse_json_list;
/// use serde_json::json;
///
/// let default = ["openid".to_owned()];
/// assert_eq!(parse_json_list(&json!("[\"a\",\"b\"]"), &default)?, ["a", "b"]);
/// assert_eq!(parse_json_list(&json!(null), &default)?, ["openid"]);
/// assert!(parse_json_list(&json!([1]), &default).is_err());
/// # Ok::<(), mcp_authflow_types::json_list::NotTexts>(())
/// ```
///
/// # Errors
/// [`NotTexts`] when a member of the list is anything but a text: what is promised as a list of texts is one.
pub fn parse_json_list(value: &Value, default: &[String]) -> Result<Vec<String>, NotTexts> {
    match value {
        Value::Array(members) if !members.is_empty() => texts(members),
        Value::String(text) if !text.is_empty() => match serde_json::from_str(text) {
            Ok(Value::Array(members)) => texts(&members),
            _ => Ok(default.to_vec()),
        },
        _ => Ok(default.to_vec()),
    }
}

/// Every member as text.
pub(crate) fn texts(members: &[Value]) -> Result<Vec<String>, NotTexts> {
    members
        .iter()
        .map(|member| member.as_str().map(str::to_owned).ok_or(NotTexts))
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use serde_json::json;

    use super::*;

    fn read(value: &Value) -> Result<Vec<String>, NotTexts> {
        parse_json_list(value, &["d".to_owned()])
    }

    /// S-019
    /// S-021
    #[test]
    fn what_is_missing_or_of_another_type_gives_a_copy_of_the_default() {
        for value in [
            json!(null),
            json!(false),
            json!(0),
            json!(""),
            json!([]),
            json!({}),
            json!(1.5),
            json!(true),
            json!({"0": "a"}),
        ] {
            assert_eq!(read(&value), Ok(vec!["d".to_owned()]), "{value}");
        }
    }

    /// S-020
    /// S-022
    #[test]
    fn a_list_is_read_as_it_is_and_so_is_a_text_that_holds_one() {
        for (value, expected) in [
            (json!(["a", ""]), &["a", ""][..]),
            (json!("\n[\"a\", \"a\"]\t"), &["a", "a"]),
            (json!("[]"), &[]),
            (json!("[\"\\u00e9\"]"), &["é"]),
        ] {
            assert_eq!(read(&value).unwrap(), expected);
        }
        for other in ["[\"a\"", "not json", "{\"a\":1}", "\"[]\"", "null", "1", " "] {
            assert_eq!(read(&json!(other)).unwrap(), ["d"], "{other}");
        }
    }

    /// S-023
    #[test]
    fn only_json_counts_as_json() {
        for other in ["[NaN]", "[Infinity]", "\u{feff}[\"a\"]", "['a']", "[\"a\",]"] {
            assert_eq!(read(&json!(other)).unwrap(), ["d"], "{other}");
        }
        assert_eq!(read(&json!("[".repeat(100_000))).unwrap(), ["d"]);
    }

    /// S-024
    #[test]
    fn a_member_of_another_type_is_refused() {
        for value in [
            json!([1]),
            json!([["a"]]),
            json!("[null]"),
            json!("[\"a\",1]"),
            json!("[{\"a\":1}]"),
        ] {
            assert_eq!(read(&value), Err(NotTexts), "{value}");
        }
    }
}
