//! A JSON-RPC batch with some of its messages left out; the others stay byte for byte.
//!
//! Only MCP 2025-03-26 has batches.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

/// What of a message tells a call from an answer of the client.
#[derive(Deserialize)]
struct Kind {
    method: Option<serde::de::IgnoredAny>,
}

/// The messages of a batch but for the calls at these positions among its calls. `None` when it is no batch.
pub(super) fn without(batch: &[u8], positions: &[usize]) -> Option<Vec<String>> {
    let messages: Vec<&RawValue> = serde_json::from_slice(batch).ok()?;
    let mut position = 0;
    let mut rest = Vec::new();
    for message in messages {
        let kind: Kind = serde_json::from_str(message.get()).ok()?;
        let is_call = kind.method.is_some();
        if !is_call || !positions.contains(&position) {
            rest.push(message.get().to_owned());
        }
        position += usize::from(is_call);
    }
    Some(rest)
}

/// The array of these members.
pub(super) fn array(members: &[String]) -> Bytes {
    format!("[{}]", members.join(",")).into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    #[test]
    fn what_stays_is_as_it_was_written_and_answers_do_not_count() {
        let batch = br#" [ {"method" : "a","n":1e400 }, {"id":1,"result":["],{"]},
            {"method":"b"}, {"method":"c", "params":{"x":18446744073709551616}} ] "#;
        assert_eq!(
            without(batch, &[1]).unwrap(),
            [
                r#"{"method" : "a","n":1e400 }"#,
                r#"{"id":1,"result":["],{"]}"#,
                r#"{"method":"c", "params":{"x":18446744073709551616}}"#
            ]
        );
        assert_eq!(without(batch, &[0, 1, 2]).unwrap().len(), 1);
        assert_eq!(without(b"{}", &[0]), None);
        assert_eq!(array(&["1".to_owned(), "2".to_owned()]), "[1,2]");
        assert_eq!(array(&[]), "[]");
    }
}
