//! A scope as databases and forms keep it: a text, a list, or a text that holds a JSON list.

use serde_json::Value;

use super::{InvalidScope, Scope};
use crate::json_list::{NotTexts, texts};

/// Why a scope field cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidScopeField {
    /// It is neither a text nor a list.
    #[error("a scope is a text or a list of texts")]
    NeitherTextNorList,
    /// A member of the list is no text.
    #[error(transparent)]
    NotTexts(#[from] NotTexts),
    /// A token breaks the syntax.
    #[error(transparent)]
    Syntax(#[from] InvalidScope),
}

impl Scope {
    /// Reads a scope field into a checked set without repetitions: answer `invalid_scope` where it fails.
    ///
    /// What is missing (null, an empty text or list, in JSON too) gives `fallback`. Blanks around a text and repeated ones
    /// within are forgiven; broken JSON is not a scope.
    ///
    /// ```
    /// use mcp_authflow_types::Scope;
    /// use serde_json::json;
    ///
    /// let fallback = Scope::parse("mcp:read")?;
    /// let read = |field| Scope::parse_field(&field, &fallback).map(|scope| scope.to_string());
    /// assert_eq!(read(json!("b a  a "))?, "a b");
    /// assert_eq!(read(json!("[\"a\", \"b\"]"))?, "a b");
    /// assert_eq!(read(json!(null))?, "mcp:read");
    /// assert!(read(json!("a\nb")).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`InvalidScopeField`]
    pub fn parse_field(field: &Value, fallback: &Self) -> Result<Self, InvalidScopeField> {
        let tokens = match field {
            Value::Null => Vec::new(),
            Value::Array(members) => texts(members)?,
            Value::String(text) if text.trim_matches(' ').starts_with('[') => {
                match serde_json::from_str(text.trim_matches(' ')) {
                    Ok(Value::Array(members)) => texts(&members)?,
                    _ => return Err(InvalidScope.into()),
                }
            }
            Value::String(text) => {
                let words = text.split(' ').filter(|word| !word.is_empty());
                words.map(str::to_owned).collect()
            }
            _ => return Err(InvalidScopeField::NeitherTextNorList),
        };
        if tokens.is_empty() {
            return Ok(fallback.clone());
        }
        // Each member is one token: a blank within is refused like any other character that does not belong there.
        if tokens.len() > Self::MAX_TOKENS {
            return Err(InvalidScope.into());
        }
        let tokens: Result<Vec<_>, _> = tokens
            .iter()
            .map(|token| super::ScopeToken::parse(token))
            .collect();
        Ok(tokens?.into_iter().collect())
    }
}

/// Reads a scope field as the Python package did, without a check: for data that it wrote. [`Scope::parse_field`] is what
/// new code wants.
///
/// What is false-like gives `fallback` (the package's own was `read`; here nothing is granted that the caller did not
/// name). A list, or a text that begins with `[` and is a JSON array, is joined by blanks with whatever its members hold.
/// Any other text, broken JSON included, comes back unchanged.
///
/// # Errors
/// [`InvalidScopeField::NotTexts`] and [`InvalidScopeField::NeitherTextNorList`]
///
/// # Security
/// The answer may hold line breaks, quotes and repetitions. Check it before it goes anywhere.
pub fn scope_field_unchecked(field: &Value, fallback: &str) -> Result<String, InvalidScopeField> {
    let is_false_like = match field {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(members) => members.is_empty(),
        Value::Object(members) => members.is_empty(),
    };
    match field {
        _ if is_false_like => Ok(fallback.to_owned()),
        Value::Array(members) => Ok(texts(members)?.join(" ")),
        Value::String(text) => match serde_json::from_str(text) {
            Ok(Value::Array(members)) if text.starts_with('[') => Ok(texts(&members)?.join(" ")),
            _ => Ok(text.clone()),
        },
        _ => Err(InvalidScopeField::NeitherTextNorList),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use serde_json::json;

    use super::*;

    fn read(field: &Value) -> Result<String, InvalidScopeField> {
        Scope::parse_field(field, &Scope::parse("f").unwrap()).map(|scope| scope.to_string())
    }

    /// S-025
    #[test]
    fn what_is_missing_gives_what_the_caller_chose_and_never_read() {
        for missing in [json!(null), json!(""), json!([]), json!("[]"), json!("  ")] {
            assert_eq!(read(&missing).unwrap(), "f", "{missing}");
        }
        for missing in [
            json!(null),
            json!(""),
            json!([]),
            json!(0),
            json!(false),
            json!({}),
        ] {
            assert_eq!(scope_field_unchecked(&missing, "f").unwrap(), "f", "{missing}");
        }
    }

    /// S-029
    #[test]
    fn one_parser_gives_a_checked_set_or_an_error() {
        for tidy in [
            json!("b a"),
            json!(" a  b a "),
            json!(["b", "a", "a"]),
            json!(" [\"a\",\"b\"]"),
        ] {
            assert_eq!(read(&tidy).unwrap(), "a b", "{tidy}");
        }
        for malformed in [
            json!("a\nb"),
            json!("a\u{a0}b"),
            json!("é"),
            json!("a \"x\""),
            json!(["a b"]),
            json!([""]),
            json!("[read]"),
            json!("[\"a\"] b"),
            json!("["),
        ] {
            assert_eq!(
                read(&malformed),
                Err(InvalidScopeField::Syntax(InvalidScope)),
                "{malformed}"
            );
        }
        for other in [json!(5), json!(true), json!({"a": 1})] {
            assert_eq!(read(&other), Err(InvalidScopeField::NeitherTextNorList));
        }
        for other in [json!([1]), json!("[null]")] {
            assert_eq!(read(&other), Err(InvalidScopeField::NotTexts(NotTexts)));
        }
        let many: Vec<String> = (0..65).map(|number| number.to_string()).collect();
        assert!(read(&json!(many)).is_err());
    }

    /// S-026
    /// S-027
    /// S-028
    #[test]
    fn the_unchecked_reading_is_that_of_the_python_package() {
        for (field, expected) in [
            (json!(["a", ""]), "a "),
            (json!([" a ", "b c"]), " a  b c"),
            (json!("[\"a\", \"b\"]\n"), "a b"),
            (json!("[]"), ""),
            (json!("[read]"), "[read]"),
            (json!(" [\"a\"]"), " [\"a\"]"),
            (json!("a  b\n"), "a  b\n"),
            (json!("null"), "null"),
        ] {
            assert_eq!(scope_field_unchecked(&field, "f").unwrap(), expected, "{field}");
        }
        for bad in [json!([1]), json!("[1]"), json!(5), json!(true), json!({"a": 1})] {
            assert!(scope_field_unchecked(&bad, "f").is_err(), "{bad}");
        }
    }
}
