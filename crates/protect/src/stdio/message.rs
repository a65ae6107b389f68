//! The messages of a client's POST, taken apart: what each is, and what the child gets instead of it.

use http::HeaderMap;
use serde_json::{Map, Value, json};

use crate::identity::IDENTITY_META;

/// The first version without sessions and handshake. Versions are dates, so they compare as text.
pub(super) const STATELESS_SINCE: &str = "2026-07-28";
/// The last version with them, which we speak to a child on our own account.
pub(super) const LAST_WITH_SESSIONS: &str = "2025-11-25";

pub(super) const META_VERSION: &str = "io.modelcontextprotocol/protocolVersion";
pub(super) const META_CLIENT_INFO: &str = "io.modelcontextprotocol/clientInfo";
pub(super) const META_CLIENT_CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
pub(super) const META_LOG_LEVEL: &str = "io.modelcontextprotocol/logLevel";
pub(super) const META_SUBSCRIPTION: &str = "io.modelcontextprotocol/subscriptionId";
pub(super) const META_SERVER_INFO: &str = "io.modelcontextprotocol/serverInfo";

pub(super) type Members = Map<String, Value>;

/// What a message is (JSON-RPC 2.0 §4).
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Message {
    Request {
        id: Value,
        members: Members,
    },
    Notification {
        members: Members,
    },
    /// An answer to a question of the other side's.
    Response {
        id: Value,
        members: Members,
    },
}

impl Message {
    /// Reads one message; `None` when it is none.
    pub(super) fn read(value: Value) -> Option<Self> {
        let Value::Object(members) = value else {
            return None;
        };
        let id = members.get("id").cloned();
        let is_call = members.get("method").is_some_and(Value::is_string);
        match (is_call, id) {
            (true, Some(id @ (Value::String(_) | Value::Number(_)))) => Some(Self::Request { id, members }),
            (true, None) => Some(Self::Notification { members }),
            (false, Some(id)) if members.contains_key("result") || members.contains_key("error") => {
                Some(Self::Response { id, members })
            }
            _ => None,
        }
    }
}

/// Reads a body: one message, or a batch (2025-03-26). `None` when anything in it is no message.
pub(super) fn read_body(body: &[u8]) -> Option<(Vec<Message>, bool)> {
    match serde_json::from_slice(body).ok()? {
        Value::Array(batch) if batch.is_empty() => None,
        Value::Array(batch) => {
            let messages: Option<Vec<Message>> = batch.into_iter().map(Message::read).collect();
            Some((messages?, true))
        }
        one => Some((vec![Message::read(one)?], false)),
    }
}

pub(super) fn method(members: &Members) -> &str {
    members.get("method").and_then(Value::as_str).unwrap_or_default()
}

/// The `params._meta` of a message, made when it is not there; `None` when the params are no object.
pub(super) fn meta_mut(members: &mut Members) -> Option<&mut Members> {
    let params = members
        .entry("params")
        .or_insert_with(|| Value::Object(Map::new()));
    if params.is_null() {
        *params = Value::Object(Map::new());
    }
    let meta = params
        .as_object_mut()?
        .entry("_meta")
        .or_insert_with(|| Value::Object(Map::new()));
    if !meta.is_object() {
        *meta = Value::Object(Map::new());
    }
    meta.as_object_mut()
}

pub(super) fn meta(members: &Members) -> Option<&Members> {
    members.get("params")?.get("_meta")?.as_object()
}

/// Takes from `_meta` what only we say. Compared without case: a child may be careless.
pub(super) fn remove_claims(members: &mut Members) {
    let Some(params) = members.get_mut("params").and_then(Value::as_object_mut) else {
        return;
    };
    if let Some(meta) = params.get_mut("_meta").and_then(Value::as_object_mut) {
        meta.retain(|name, _| !name.eq_ignore_ascii_case(IDENTITY_META));
    }
}

/// Whether a client calls without a handshake: by the header, or by what its requests say. Without the header an
/// `initialize` begins a session whatever it says.
pub(super) fn is_stateless(headers: &HeaderMap, messages: &[Message]) -> bool {
    let header = headers
        .get("mcp-protocol-version")
        .and_then(|value| value.to_str().ok());
    if header.is_some_and(|version| version >= STATELESS_SINCE) {
        return true;
    }
    let requests = || {
        messages.iter().filter_map(|message| match message {
            Message::Request { members, .. } => Some(members),
            _ => None,
        })
    };
    let says_version = |members: &Members| {
        meta(members)
            .and_then(|meta| meta.get(META_VERSION))
            .is_some_and(Value::is_string)
    };
    !requests().any(|members| method(members) == "initialize") && requests().any(says_version)
}

/// An error in answer to a request.
pub(super) fn error(id: &Value, code: i64, message: &str, data: Option<Value>) -> Value {
    let mut error = json!({"code": code, "message": message});
    if let (Some(error), Some(data)) = (error.as_object_mut(), data) {
        error.insert("data".to_owned(), data);
    }
    json!({"jsonrpc": "2.0", "id": id, "error": error})
}

pub(super) fn result(id: &Value, result: &Value) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "result": result})
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    #[test]
    fn a_client_cannot_say_who_it_is() {
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call",
                "params":{{"_meta":{{"{IDENTITY_META}":"x","IO.github.mcp-authflow/Identity":"y","a":1}}}}}}"#
        );
        let (messages, is_batch) = read_body(body.as_bytes()).unwrap();
        assert!(!is_batch);
        let Message::Request { mut members, .. } = messages.into_iter().next().unwrap() else {
            panic!("a request")
        };
        remove_claims(&mut members);
        assert_eq!(Value::Object(meta(&members).unwrap().clone()), json!({"a": 1}));
    }

    #[test]
    fn what_is_no_message_is_refused() {
        for bad in [
            "",
            "1",
            "[]",
            "[1]",
            "{}",
            r#"{"id":1}"#,
            r#"{"id":null,"method":"x"}"#,
        ] {
            assert!(read_body(bad.as_bytes()).is_none(), "{bad}");
        }
    }
}
