//! Whether an answer is the one that was observed: the rules of tests/vectors/README.md.

use regex::Regex;
use serde_json::{Map, Value};

/// Numbers that are not both whole may differ by this much, absolutely or in relation.
const TOLERANCE: f64 = 1e-9;

/// Codes of failed client authentication that say the same: what exactly was wrong with the text of an assertion.
const ONE_CODE: &[&str] = &["malformed", "decode", "invalid", "internal", "claim_type"];

/// Which members of the expected value count.
#[derive(Clone, Copy)]
pub(super) enum Members<'a> {
    /// All of them, and there are no others.
    All,
    /// Those named; others may be there.
    Named,
    /// All of them apart from these.
    AllApartFrom(&'a [String]),
}

impl Members<'_> {
    fn counts(self, name: &str) -> bool {
        match self {
            Self::AllApartFrom(left_out) => !left_out.iter().any(|member| member == name),
            Self::All | Self::Named => true,
        }
    }
}

/// Whether `got` is what `expected` says.
pub(super) fn is_same(expected: &Value, got: &Value, members: Members<'_>) -> bool {
    match (expected, got) {
        (Value::Object(expected), _) if expected.contains_key("$match") => {
            matches_pattern(&expected["$match"], got)
        }
        (Value::Object(expected), _) if expected.contains_key("$match_int") => got.is_i64() || got.is_u64(),
        (Value::Object(expected), Value::Object(got)) if is_result_of_chance(expected) => {
            matches_pattern(&expected["match"], got.get("value").unwrap_or(&Value::Null))
                && got.get("value").and_then(Value::as_str).map(has_length)
                    == expected.get("length").and_then(Value::as_u64)
        }
        (Value::Object(expected), Value::Object(got)) => is_same_object(expected, got, members),
        (Value::Array(expected), Value::Array(got)) => {
            expected.len() == got.len()
                && expected
                    .iter()
                    .zip(got)
                    .all(|(expected, got)| is_same(expected, got, members))
        }
        (Value::String(expected), Value::String(got)) => is_same_text(expected, got),
        _ => match (number(expected), number(got)) {
            (Some(expected), Some(got)) => expected.is_same(got),
            _ => expected == got,
        },
    }
}

/// Whether the steps of a trace were let through as listed: `true` where the step's value is true, `false` where it
/// is anything else. A step listed as null does not count.
pub(super) fn has_steps(expected: &[Value], got: &Value) -> bool {
    let Some(steps) = got["steps"].as_array() else {
        return false;
    };
    steps.len() == expected.len()
        && expected
            .iter()
            .zip(steps)
            .all(|(expected, step)| match expected.as_bool() {
                Some(expected) => (step["value"] == true) == expected,
                None => true,
            })
}

/// A result in a few words, for the patterns of the reviewed lists: `value true`, `error wrong_type`,
/// `http 400 invalid_scope`, `unhandled`, `steps value 1; error client_auth replay`.
pub(super) fn in_words(result: &Value) -> String {
    if let Some(error) = result.get("error").filter(|error| error.is_object()) {
        let word = |name: &str| error[name].as_str().unwrap_or_default();
        return format!("error {} {}", word("kind"), word("code"))
            .trim_end()
            .to_owned();
    }
    if let Some(http) = result.get("http") {
        let code = http["body"]["error"].as_str().unwrap_or("-");
        return format!("http {} {code}", http["status"]);
    }
    if result.get("unhandled").is_some() {
        return "unhandled".to_owned();
    }
    if let Some(steps) = result["steps"].as_array() {
        let steps: Vec<String> = steps.iter().map(in_words).collect();
        return format!("steps {}", steps.join("; "));
    }
    match result.get("value") {
        Some(value) => format!("value {value}"),
        None => result.to_string(),
    }
}

/// Whether `words` are what `pattern` says; `*` stands for anything.
pub(super) fn fits(pattern: &str, words: &str) -> bool {
    let literal: Vec<String> = pattern.split('*').map(regex::escape).collect();
    Regex::new(&format!(r"(?s)\A{}\z", literal.join(".*"))).is_ok_and(|regex| regex.is_match(words))
}

/// `{"match": REGEX, "length": N}`: the form of a generated text, which the area hands over as `{"value": TEXT}`.
fn is_result_of_chance(expected: &Map<String, Value>) -> bool {
    expected.len() == 2 && expected.contains_key("match") && expected.contains_key("length")
}

fn has_length(text: &str) -> u64 {
    text.chars().count() as u64
}

fn matches_pattern(pattern: &Value, got: &Value) -> bool {
    let (Some(pattern), Some(got)) = (pattern.as_str(), got.as_str()) else {
        return false;
    };
    Regex::new(&format!(r"\A(?:{pattern})\z")).is_ok_and(|regex| regex.is_match(got))
}

fn is_same_object(expected: &Map<String, Value>, got: &Map<String, Value>, members: Members<'_>) -> bool {
    let no_others = matches!(members, Members::Named)
        || got
            .keys()
            // The exact text of an answer counts only where it was observed.
            .all(|name| expected.contains_key(name) || name == "body_text" || !members.counts(name));
    no_others
        && expected
            .iter()
            .filter(|(name, _)| members.counts(name))
            .all(|(name, expected)| {
                let Some(got) = got.get(name) else {
                    return false;
                };
                match name.as_str() {
                    "error" if expected.get("kind").is_some() => is_same_error(expected, got),
                    "unhandled" => !got.is_null(),
                    "headers" if is_header_list(expected) => is_same_headers(expected, got, members),
                    _ => is_same(expected, got, members),
                }
            })
}

/// The kind of error counts, and its code where one is given; Python's class and wording do not.
fn is_same_error(expected: &Value, got: &Value) -> bool {
    let code = |error: &Value| {
        let code = error["code"].as_str().unwrap_or_default().to_owned();
        if ONE_CODE.contains(&code.as_str()) {
            ONE_CODE[0].to_owned()
        } else {
            code
        }
    };
    expected["kind"] == got["kind"] && (expected.get("code").is_none() || code(expected) == code(got))
}

/// `[[name, value], …]`
fn is_header_list(value: &Value) -> bool {
    value.as_array().is_some_and(|list| {
        list.iter()
            .all(|pair| pair.as_array().is_some_and(|p| p.len() == 2))
    })
}

/// The order of headers of different names says nothing (RFC 9110 §5.3); that of headers of one name does.
/// `Content-Length` counts only where it was observed.
fn is_same_headers(expected: &Value, got: &Value, members: Members<'_>) -> bool {
    let sorted = |list: &Value| {
        let mut pairs: Vec<(String, Value)> = list
            .as_array()
            .into_iter()
            .flatten()
            .map(|pair| {
                (
                    pair[0].as_str().unwrap_or_default().to_ascii_lowercase(),
                    pair[1].clone(),
                )
            })
            .collect();
        pairs.sort_by(|a, b| a.0.cmp(&b.0));
        pairs
    };
    let expected = sorted(expected);
    let mut got = if is_header_list(got) {
        sorted(got)
    } else {
        return false;
    };
    let names = |name: &str| expected.iter().any(|(other, _)| other == name);
    let only_named = matches!(members, Members::Named);
    got.retain(|(name, _)| names(name) || !(only_named || name == "content-length") && members.counts(name));
    expected.len() == got.len()
        && expected
            .iter()
            .zip(&got)
            .all(|(expected, got)| expected.0 == got.0 && is_same(&expected.1, &got.1, Members::All))
}

/// `<hex8>` in an expected text stands for eight random hexadecimal digits.
fn is_same_text(expected: &str, got: &str) -> bool {
    expected == got
        || expected.contains("<hex8>") && {
            let literal: Vec<String> = expected.split("<hex8>").map(regex::escape).collect();
            Regex::new(&format!(r"(?s)\A{}\z", literal.join("[0-9a-f]{8}")))
                .is_ok_and(|regex| regex.is_match(got))
        }
}

/// A number in the exact form, where it has one.
#[derive(Clone, Copy)]
enum Quantity<'a> {
    Whole(i128),
    /// Beyond any of ours; as written.
    Huge(&'a str),
    Float(f64),
}

fn number(value: &Value) -> Option<Quantity<'_>> {
    if let Some(text) = value.get("$int").and_then(Value::as_str) {
        return Some(text.parse().map_or(Quantity::Huge(text), Quantity::Whole));
    }
    let whole = value.as_i64().map(i128::from).or(value.as_u64().map(i128::from));
    whole
        .map(Quantity::Whole)
        .or_else(|| value.as_f64().map(Quantity::Float))
}

impl Quantity<'_> {
    fn is_same(self, other: Self) -> bool {
        match (self, other) {
            (Self::Whole(a), Self::Whole(b)) => a == b,
            (Self::Huge(a), Self::Huge(b)) => a == b,
            (a, b) => is_close(a.as_float(), b.as_float()),
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "the comparison is to 1e-9")]
    fn as_float(self) -> f64 {
        match self {
            Self::Whole(whole) => whole as f64,
            Self::Huge(text) => text.parse().unwrap_or(f64::NAN),
            Self::Float(float) => float,
        }
    }
}

fn is_close(a: f64, b: f64) -> bool {
    let difference = (a - b).abs();
    difference <= TOLERANCE || difference <= TOLERANCE * a.abs().max(b.abs())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn same(expected: &Value, got: &Value) -> bool {
        is_same(expected, got, Members::All)
    }

    #[test]
    fn numbers_are_compared_to_a_billionth_and_whole_ones_exactly() {
        assert!(same(&json!({"value": 0.3}), &json!({"value": 0.1 + 0.2})));
        assert!(same(&json!({"value": 2}), &json!({"value": 2.0})));
        assert!(!same(
            &json!({"value": 1_800_000_000}),
            &json!({"value": 1_800_000_001})
        ));
        assert!(!same(&json!({"value": 1.5}), &json!({"value": 1.500_001})));
        assert!(!same(&json!({"value": 1}), &json!({"value": true})));
        assert!(same(
            &json!({"$int": "100000000000000000000"}),
            &json!({"$int": "100000000000000000000"})
        ));
        assert!(!same(
            &json!({"$int": "100000000000000000000"}),
            &json!({"$int": "100000000000000000001"})
        ));
    }

    #[test]
    fn what_is_random_is_compared_by_its_form() {
        assert!(same(
            &json!({"id": {"$match": "^[0-9a-f]{4}$"}}),
            &json!({"id": "00ff"})
        ));
        assert!(!same(
            &json!({"id": {"$match": "^[0-9a-f]{4}$"}}),
            &json!({"id": "00fg"})
        ));
        assert!(same(&json!({"at": {"$match_int": true}}), &json!({"at": 5})));
        assert!(!same(&json!({"at": {"$match_int": true}}), &json!({"at": 5.5})));
        let form = json!({"match": "^[a-z]+$", "length": 3});
        assert!(same(&form, &json!({"value": "abc"})));
        assert!(!same(&form, &json!({"value": "abcd"})));
        assert!(!same(&form, &form));
        assert!(same(&json!("x:<hex8>"), &json!("x:0123abcd")));
        assert!(!same(&json!("x:<hex8>"), &json!("x:0123abc")));
    }

    #[test]
    fn of_an_error_the_kind_and_the_code_count() {
        let expected = json!({"error": {"kind": "client_auth", "seed_type": "X", "seed_message": "y", "code": "decode"}});
        assert!(same(
            &expected,
            &json!({"error": {"kind": "client_auth", "code": "malformed"}})
        ));
        assert!(!same(
            &expected,
            &json!({"error": {"kind": "client_auth", "code": "replay"}})
        ));
        assert!(!same(
            &expected,
            &json!({"error": {"kind": "other", "code": "decode"}})
        ));
        assert!(!same(&expected, &json!({"value": true})));
    }

    #[test]
    fn headers_are_compared_by_name_and_the_exact_body_where_it_was_seen() {
        let answer = |headers: Value| json!({"http": {"status": 400, "headers": headers, "body": {"error": "e"}, "body_text": "x"}});
        let expected = answer(json!([["cache-control", "no-store"], ["x-a", "1"]]));
        assert!(same(
            &expected,
            &answer(json!([
                ["X-A", "1"],
                ["content-length", "1"],
                ["cache-control", "no-store"]
            ]))
        ));
        assert!(!same(&expected, &answer(json!([["x-a", "1"]]))));
        assert!(!same(
            &expected,
            &answer(json!([["cache-control", "no-store"], ["x-a", "1"], ["x-b", "2"]]))
        ));
        let without_text = json!({"http": {"status": 400, "headers": [], "body": null}});
        assert!(same(
            &without_text,
            &json!({"http": {"status": 400, "headers": [], "body": null, "body_text": ""}})
        ));
        assert!(!same(
            &json!({"http": {"body_text": "a"}}),
            &json!({"http": {"body_text": "b"}})
        ));
    }

    #[test]
    fn members_count_as_asked() {
        let (expected, got) = (json!({"a": 1}), json!({"a": 1, "b": 2}));
        assert!(!same(&expected, &got) && is_same(&expected, &got, Members::Named));
        assert!(is_same(&expected, &got, Members::AllApartFrom(&["b".to_owned()])));
        let steps = json!({"steps": [{"value": 1, "redis": [["GET"]]}]});
        let ours = json!({"steps": [{"value": 1}]});
        assert!(!same(&steps, &ours));
        assert!(is_same(
            &steps,
            &ours,
            Members::AllApartFrom(&["redis".to_owned()])
        ));
        assert!(!same(&json!({"a": 1, "b": 2}), &expected));
        let (nothing, refusal) = (json!({"value": null}), json!({"error": {"kind": "other"}}));
        assert!(!is_same(&nothing, &refusal, Members::Named));
    }

    #[test]
    fn accepted_steps_are_those_whose_value_is_true() {
        let got = json!({"steps": [{"value": true}, {"error": {"kind": "client_auth"}}, {"value": 7}]});
        assert!(has_steps(&[json!(true), json!(false), json!(null)], &got));
        assert!(!has_steps(&[json!(true), json!(true), json!(null)], &got));
        assert!(!has_steps(&[json!(true), json!(false)], &got));
    }

    #[test]
    fn a_result_is_said_in_words_and_a_pattern_fits_them() {
        let result = json!({"steps": [{"value": 1}, {"error": {"kind": "client_auth", "code": "replay"}}, {"http": {"status": 400, "body": {"error": "e"}}}, {"unhandled": {}}]});
        let words = "steps value 1; error client_auth replay; http 400 e; unhandled";
        assert_eq!(in_words(&result), words);
        assert!(fits("steps value *; *unhandled", words));
        assert!(!fits("steps value *; error", words) && !fits("value*", words));
    }
}
