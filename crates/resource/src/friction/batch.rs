//! A JSON-RPC batch in pieces, so that some of its messages can be left out and the others stay byte for byte.
//!
//! Only MCP 2025-03-26 has batches.

use bytes::Bytes;

/// The members of the array in `body`, which has been found to be a JSON array; as they are written.
pub(super) fn members(body: &Bytes) -> Vec<Bytes> {
    let mut members = Vec::new();
    let (mut depth, mut start) = (0_usize, None);
    let (mut is_text, mut is_escaped) = (false, false);
    for (at, byte) in body.iter().copied().enumerate() {
        if is_text {
            if is_escaped {
                is_escaped = false;
            } else if byte == b'\\' {
                is_escaped = true;
            } else if byte == b'"' {
                is_text = false;
            }
            continue;
        }
        match byte {
            b'"' => is_text = true,
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        let is_end = (depth == 1 && byte == b',') || depth == 0;
        if is_end {
            if let Some(start) = start.take() {
                members.push(body.slice(start..at));
            }
        } else if start.is_none() && (depth > 1 || (depth == 1 && byte != b'[' && !byte.is_ascii_whitespace())) {
            start = Some(at);
        }
    }
    members
}

/// The array of these members.
pub(super) fn array<M: AsRef<[u8]>>(members: &[M]) -> Bytes {
    let mut array = vec![b'['];
    for (at, member) in members.iter().enumerate() {
        if at > 0 {
            array.push(b',');
        }
        array.extend_from_slice(member.as_ref());
    }
    array.push(b']');
    array.into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn members_stay_as_they_are_written() {
        let body = Bytes::from_static(b" [ {\"a\" : [1,{}], \"b\":\"],{\\\"\"} ,\n{\"n\":1e400}, 7 ,\"x\"] ");
        let members: Vec<_> = members(&body).iter().map(|member| String::from_utf8_lossy(member).into_owned()).collect();
        let expected = [r#"{"a" : [1,{}], "b":"],{\""} "#, r#"{"n":1e400}"#, "7 ", "\"x\""];
        assert_eq!(members, expected);
        assert_eq!(array(&[b"1", b"2"]), "[1,2]");
        assert!(super::members(&Bytes::from_static(b"[]")).is_empty());
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "[\\[\\]{},\"\\\\ a-c]{0,6}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 16, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[\\[\\]{},\"\\\\a]{0,3}", inner, 0..4)
                    .prop_map(|members| json!(members)),
            ]
        })
    }

    proptest! {
        #[test]
        fn an_array_taken_apart_has_its_members(values in prop::collection::vec(any_json(), 0..5), is_pretty: bool) {
            let text = if is_pretty { serde_json::to_string_pretty(&values) } else { serde_json::to_string(&values) };
            let members = members(&text.unwrap().into());
            let read: Vec<Value> = members.iter().map(|member| serde_json::from_slice(member).unwrap()).collect();
            prop_assert_eq!(&read, &values);
            let again: Vec<Value> = serde_json::from_slice(&array(&members)).unwrap();
            prop_assert_eq!(again, values);
        }
    }
}
