//! What a POST to an MCP endpoint asks for: its JSON-RPC message, or batch of messages, read once and strictly.
//!
//! [`AuthorizeTools`](crate::tool::AuthorizeTools) reads the body and leaves a [`JsonRpc`] in the request's extensions;
//! the body itself goes on byte for byte. Whoever comes after it and needs to know which tool is called looks there:
//!
//! ```
//! use mcp_authflow_resource::JsonRpc;
//!
//! let body = br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"add","arguments":{"a":1}}}"#;
//! let message = JsonRpc::parse(body)?;
//! let tools: Vec<_> = message.calls().iter().filter_map(|call| call.tool()).collect();
//! assert_eq!(tools, ["add"]);
//! # Ok::<(), mcp_authflow_resource::json_rpc::NotJsonRpc>(())
//! ```
//!
//! # Security
//! A check is worth nothing when the server behind it reads something else from the same bytes. So whatever JSON
//! parsers are known to disagree about is refused: a repeated name, a name that equals one of ours but for its case, an
//! encoding other than UTF-8, a tool whose name is no string.

use std::{error::Error, pin::pin, sync::Arc};

use bytes::{Buf as _, Bytes, BytesMut};
use http::{HeaderMap, header};
use http_body::Body;
use mcp_authflow_types::json::parse_strict;
use serde_json::{Map, Value};

/// The largest body that is read unless somebody says otherwise: 4 MiB, as much as the MCP SDKs accept.
pub const DEFAULT_MAX_BODY_BYTES: usize = 4 * 1_024 * 1_024;

/// The deepest nesting that is read: a little less than `serde_json` and the Python and JavaScript SDKs take.
pub const MAX_DEPTH: usize = 100;

/// The most messages of a batch.
pub const MAX_MESSAGES: usize = 1_000;

/// The longest id that is a text. Clients use numbers, or UUIDs of 36.
const MAX_ID_BYTES: usize = 1_024;

/// The members of a message, and of the `params` that checks look into.
const MEMBERS: [&str; 6] = ["jsonrpc", "id", "method", "params", "result", "error"];
const PARAMS: [&str; 6] = ["name", "arguments", "uri", "taskId", "ref", "_meta"];

/// The methods about which rules speak.
const METHODS: [&str; 8] = [
    "tools/call",
    "tools/list",
    "prompts/get",
    "prompts/list",
    "resources/read",
    "resources/list",
    "resources/subscribe",
    "completion/complete",
];

/// A JSON-RPC message or a batch of them. Cheap to clone.
#[derive(Clone, Debug, PartialEq)]
pub struct JsonRpc {
    calls: Arc<[Call]>,
    is_batch: bool,
}

/// A request or a notification: something the client wants done.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    method: String,
    id: Option<Value>,
    params: Map<String, Value>,
}

/// Why a body is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotJsonRpc {
    /// It is larger than was agreed, or a batch of more than [`MAX_MESSAGES`].
    #[error("the body is too large")]
    TooLarge,
    /// It did not arrive in full.
    #[error("the body did not arrive in full")]
    Broken,
    /// It is compressed, or in another character encoding than UTF-8.
    #[error("the body must be UTF-8 without a content encoding")]
    Encoded,
    /// It is not JSON, repeats a name within an object, or nests deeper than [`MAX_DEPTH`].
    #[error("the body is not JSON, repeats a name or nests too deeply")]
    NotJson,
    /// It is neither a message nor a batch of messages.
    #[error("the body is neither a JSON-RPC message nor a batch of them")]
    NotAMessage,
    /// A member or a method has the name of one that means something, but for upper and lower case, or for spaces around.
    #[error("a name differs from a known one by case or space only")]
    Ambiguous,
    /// `params` is no object, or what the method needs to know is of the wrong type.
    #[error("the params do not fit the method")]
    InvalidParams,
}

impl NotJsonRpc {
    /// The status with which it is answered.
    pub fn status(self) -> http::StatusCode {
        match self {
            Self::TooLarge => http::StatusCode::PAYLOAD_TOO_LARGE,
            Self::Encoded => http::StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Broken | Self::NotJson | Self::NotAMessage | Self::Ambiguous | Self::InvalidParams => {
                http::StatusCode::BAD_REQUEST
            }
        }
    }

    /// The JSON-RPC error code (JSON-RPC 2.0 §5.1).
    pub fn code(self) -> i32 {
        match self {
            Self::NotJson | Self::Encoded => -32_700,
            Self::TooLarge | Self::Broken | Self::NotAMessage | Self::Ambiguous => -32_600,
            Self::InvalidParams => -32_602,
        }
    }
}

/// Reads a request's body whole, up to `max_bytes`, and what it asks for.
///
/// # Errors
/// [`NotJsonRpc`]
pub async fn read<B>(headers: &HeaderMap, body: B, max_bytes: usize) -> Result<(Bytes, JsonRpc), NotJsonRpc>
where
    B: Body,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    if !is_plain_utf8(headers) {
        return Err(NotJsonRpc::Encoded);
    }
    let body = read_whole(body, max_bytes).await?;
    let message = JsonRpc::parse(&body)?;
    Ok((body, message))
}

/// Whether the body is what its bytes look like. Servers exist that unpack what is compressed, and that decode any
/// character encoding whose name begins with `utf-`: they would find another call in it than the one checked.
fn is_plain_utf8(headers: &HeaderMap) -> bool {
    let is_identity = |value: &http::HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"identity");
    let charset_is_utf8 = |value: &http::HeaderValue| {
        value.to_str().is_ok_and(|value| {
            value.split(';').skip(1).all(|parameter| {
                let (name, charset) = parameter.split_once('=').unwrap_or((parameter, ""));
                !name.trim().eq_ignore_ascii_case("charset")
                    || matches!(
                        charset.trim().trim_matches('"').to_ascii_lowercase().as_str(),
                        "utf-8" | "utf8"
                    )
            })
        })
    };
    headers.get_all(header::CONTENT_ENCODING).iter().all(is_identity)
        && headers.get_all(header::CONTENT_TYPE).iter().all(charset_is_utf8)
}

async fn read_whole<B>(body: B, max_bytes: usize) -> Result<Bytes, NotJsonRpc>
where
    B: Body,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let is_beyond = |bytes: u64| usize::try_from(bytes).map_or(true, |bytes| bytes > max_bytes);
    if is_beyond(body.size_hint().lower()) {
        return Err(NotJsonRpc::TooLarge);
    }
    let mut body = pin!(body);
    let mut whole = BytesMut::new();
    while let Some(frame) = std::future::poll_fn(|context| body.as_mut().poll_frame(context)).await {
        let Ok(mut data) = frame.map_err(|_| NotJsonRpc::Broken)?.into_data() else {
            continue;
        };
        if data.remaining() > max_bytes - whole.len() {
            return Err(NotJsonRpc::TooLarge);
        }
        if whole.is_empty() {
            // Usually the only one: taken without a copy when the body is made of `Bytes`.
            whole = data.copy_to_bytes(data.remaining()).into();
        } else {
            while data.has_remaining() {
                let chunk = data.chunk();
                whole.extend_from_slice(chunk);
                let taken = chunk.len();
                data.advance(taken);
            }
        }
    }
    Ok(whole.freeze())
}

impl JsonRpc {
    /// Reads a message or a batch.
    ///
    /// # Errors
    /// [`NotJsonRpc`]
    pub fn parse(body: &[u8]) -> Result<Self, NotJsonRpc> {
        match parse_strict(body, MAX_DEPTH).ok_or(NotJsonRpc::NotJson)? {
            Value::Object(message) => Ok(Self {
                calls: Call::read(message)?.into_iter().collect(),
                is_batch: false,
            }),
            Value::Array(messages) if messages.len() > MAX_MESSAGES => Err(NotJsonRpc::TooLarge),
            Value::Array(messages) => {
                let mut calls = Vec::new();
                for message in messages {
                    let Value::Object(message) = message else {
                        return Err(NotJsonRpc::NotAMessage);
                    };
                    calls.extend(Call::read(message)?);
                }
                Ok(Self {
                    calls: calls.into(),
                    is_batch: true,
                })
            }
            _ => Err(NotJsonRpc::NotAMessage),
        }
    }

    /// All that is asked for, in order. A client's answers to questions of the server ask for nothing and are left out.
    pub fn calls(&self) -> &[Call] {
        &self.calls
    }

    /// Whether it is a batch (MCP 2025-03-26; earlier and later versions have none).
    pub fn is_batch(&self) -> bool {
        self.is_batch
    }

    /// The id by which an error about the whole body is answered: the request's own; `null` for a batch or a
    /// notification.
    pub fn id(&self) -> Value {
        match (&*self.calls, self.is_batch) {
            ([call], false) => call.id.clone().unwrap_or_default(),
            _ => Value::Null,
        }
    }
}

impl Call {
    /// Reads one message; `None` when it is an answer.
    fn read(mut message: Map<String, Value>) -> Result<Option<Self>, NotJsonRpc> {
        refuse_look_alikes(&message, &MEMBERS)?;
        let id = message.remove("id");
        let is_id = match &id {
            None | Some(Value::Null | Value::Number(_)) => true,
            Some(Value::String(text)) => text.len() <= MAX_ID_BYTES,
            Some(_) => false,
        };
        if !is_id {
            return Err(NotJsonRpc::NotAMessage);
        }
        let method = match message.remove("method") {
            Some(Value::String(method)) => method,
            None if message.contains_key("result") || message.contains_key("error") => return Ok(None),
            _ => return Err(NotJsonRpc::NotAMessage),
        };
        // A server that trims names, or ignores their case, would do what no rule spoke of.
        let trimmed = method.trim();
        if METHODS
            .iter()
            .any(|known| is_look_alike(trimmed, known) || trimmed == *known && trimmed.len() < method.len())
        {
            return Err(NotJsonRpc::Ambiguous);
        }
        let params = match message.remove("params") {
            None | Some(Value::Null) => Map::new(),
            Some(Value::Object(params)) => params,
            Some(_) => return Err(NotJsonRpc::InvalidParams),
        };
        refuse_look_alikes(&params, &PARAMS)?;
        let call = Self { method, id, params };
        let is_named = match call.method.as_str() {
            "tools/call" | "prompts/get" | "resources/read" => call.name().is_some(),
            // Who names nothing gets nothing, and a server of MCP 2026-07-28, which has no such method, is to say so itself.
            "resources/subscribe" => call.name().is_some() || !call.params.contains_key("uri"),
            _ => true,
        };
        let arguments_are_some = matches!(
            call.params.get("arguments"),
            None | Some(Value::Null | Value::Object(_))
        );
        if is_named && (arguments_are_some || call.tool().is_none()) {
            Ok(Some(call))
        } else {
            Err(NotJsonRpc::InvalidParams)
        }
    }

    /// What is to be done, such as `tools/call`.
    pub fn method(&self) -> &str {
        &self.method
    }

    /// The id to answer to; `None` for a notification.
    pub fn id(&self) -> Option<&Value> {
        self.id.as_ref()
    }

    /// Its parameters; empty when there are none.
    pub fn params(&self) -> &Map<String, Value> {
        &self.params
    }

    /// What it is about: the name of a tool or prompt, the URI of a resource, the id of a task. What MCP 2026-07-28
    /// repeats in the header `Mcp-Name`.
    pub fn name(&self) -> Option<&str> {
        let member = match self.method.as_str() {
            "tools/call" | "prompts/get" => "name",
            "resources/read" | "resources/subscribe" | "resources/unsubscribe" => "uri",
            "tasks/get" | "tasks/update" | "tasks/cancel" | "tasks/result" => "taskId",
            _ => return None,
        };
        self.params.get(member)?.as_str()
    }

    /// The tool that is called, when one is.
    pub fn tool(&self) -> Option<&str> {
        self.name().filter(|_| self.method == "tools/call")
    }

    /// The arguments with which a tool or prompt is called; `None` when there are none.
    pub fn arguments(&self) -> Option<&Map<String, Value>> {
        self.params.get("arguments")?.as_object()
    }

    /// The protocol version in `_meta` (from MCP 2026-07-28 on).
    pub fn protocol_version(&self) -> Option<&str> {
        let meta = self.params.get("_meta")?.as_object()?;
        meta.get("io.modelcontextprotocol/protocolVersion")?.as_str()
    }
}

fn refuse_look_alikes(members: &Map<String, Value>, known: &[&str]) -> Result<(), NotJsonRpc> {
    let is_look_alike = |name: &String| known.iter().any(|known| is_look_alike(name, known));
    if members.keys().any(is_look_alike) {
        return Err(NotJsonRpc::Ambiguous);
    }
    Ok(())
}

/// Whether parsers that ignore case (Go's `encoding/json`) take `name` for `known` though it is not the same.
pub(crate) fn is_look_alike(name: &str, known: &str) -> bool {
    let fold = |character: char| match character {
        'ſ' => 's',
        '\u{212A}' => 'k',
        other => other.to_ascii_lowercase(),
    };
    name != known && name.chars().map(fold).eq(known.chars().map(fold))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use http_body_util::Full;

    use super::*;

    fn parse(body: &str) -> Result<JsonRpc, NotJsonRpc> {
        JsonRpc::parse(body.as_bytes())
    }

    #[test]
    fn a_tool_call_is_read() {
        let message = parse(
            r#"{"jsonrpc":"2.0","id":"x","method":"tools/call","params":{"name":"add","arguments":{"a":1},
                "_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}"#,
        )
        .unwrap();
        let [call] = message.calls() else { panic!() };
        assert_eq!((call.method(), call.tool()), ("tools/call", Some("add")));
        assert_eq!(call.arguments().unwrap()["a"], 1);
        assert_eq!(call.protocol_version(), Some("2026-07-28"));
        assert_eq!((message.id(), message.is_batch()), (Value::from("x"), false));
    }

    /// RP-04: nothing hides in a batch.
    #[test]
    fn every_call_of_a_batch_is_seen() {
        let message = parse(
            r#"[{"id":1,"method":"tools/call","params":{"name":"a"}},{"id":9,"result":{}},{"method":"notifications/x"},
                {"id":2,"method":"resources/read","params":{"uri":"file:///b"}}]"#,
        )
        .unwrap();
        let names: Vec<_> = message.calls().iter().map(Call::name).collect();
        assert_eq!(names, [Some("a"), None, Some("file:///b")]);
        assert_eq!((message.id(), message.is_batch()), (Value::Null, true));
        assert!(parse("[]").unwrap().calls().is_empty());
    }

    #[test]
    fn an_answer_of_the_client_asks_for_nothing() {
        let error = r#"{"id":1,"error":{"code":1,"message":""}}"#;
        for answer in [r#"{"id":1,"result":{}}"#, error] {
            assert!(parse(answer).unwrap().calls().is_empty(), "{answer}");
        }
    }

    #[test]
    fn what_parsers_disagree_about_is_refused() {
        use NotJsonRpc as No;
        for (body, why) in [
            ("", No::NotJson),
            ("{", No::NotJson),
            (r#"{"method":"a"} {"method":"b"}"#, No::NotJson),
            (r#"{"method":"a","method":"tools/call"}"#, No::NotJson),
            (
                r#"{"method":"tools/call","params":{"name":"a","name":"b"}}"#,
                No::NotJson,
            ),
            (
                r#"{"method":"tools/call","params":{"name":"a","arguments":{"p":1,"\u0070":2}}}"#,
                No::NotJson,
            ),
            ("\u{feff}{\"method\":\"a\"}", No::NotJson),
            (r#"{"method":"a\ud800"}"#, No::NotJson),
            ("1", No::NotAMessage),
            ("[1]", No::NotAMessage),
            (r#"[[{"method":"a"}]]"#, No::NotAMessage),
            ("{}", No::NotAMessage),
            (r#"{"method":["a"]}"#, No::NotAMessage),
            (r#"{"method":"a","id":[1]}"#, No::NotAMessage),
            (r#"{"method":"a","Method":"tools/call"}"#, No::Ambiguous),
            (r#"{"method":"a","paramſ":{}}"#, No::Ambiguous),
            (r#"{"method":"Tools/Call","params":{"name":"a"}}"#, No::Ambiguous),
            (r#"{"method":"tools/call ","params":{"name":"a"}}"#, No::Ambiguous),
            (r#"{"method":"\tresources/Read"}"#, No::Ambiguous),
            (
                r#"{"method":"tools/call","params":{"name":"a","NAME":"b"}}"#,
                No::Ambiguous,
            ),
            (r#"{"method":"a","params":[]}"#, No::InvalidParams),
            (r#"{"method":"tools/call"}"#, No::InvalidParams),
            (
                r#"{"method":"tools/call","params":{"name":["a"]}}"#,
                No::InvalidParams,
            ),
            (
                r#"{"method":"tools/call","params":{"name":"a","arguments":[1]}}"#,
                No::InvalidParams,
            ),
            (
                r#"{"method":"resources/read","params":{"name":"a"}}"#,
                No::InvalidParams,
            ),
            (
                r#"{"method":"resources/subscribe","params":{"uri":["file:///a"]}}"#,
                No::InvalidParams,
            ),
        ] {
            assert_eq!(parse(body), Err(why), "{body}");
        }
    }

    #[test]
    fn a_subscription_to_nothing_is_for_the_server_to_refuse() {
        let body = r#"{"id":1,"method":"resources/subscribe","params":{"_meta":{}}}"#;
        let message = parse(body).unwrap();
        assert_eq!(message.calls()[0].name(), None);
    }

    /// P12: 4 MiB hold a hundred thousand calls, each to be judged, counted, logged and answered.
    #[test]
    fn a_batch_has_an_end() {
        let batch = |messages: usize| parse(&format!("[{}]", vec![r#"{"method":"a"}"#; messages].join(",")));
        assert_eq!(batch(MAX_MESSAGES).unwrap().calls().len(), MAX_MESSAGES);
        assert_eq!(batch(MAX_MESSAGES + 1), Err(NotJsonRpc::TooLarge));
    }

    /// What is asked comes back in front of what is answered, and is not to push it out of sight.
    #[test]
    fn an_id_is_short() {
        let with_id = |length: usize| parse(&format!(r#"{{"method":"a","id":"{}"}}"#, "x".repeat(length)));
        assert!(with_id(MAX_ID_BYTES).is_ok());
        assert_eq!(with_id(MAX_ID_BYTES + 1), Err(NotJsonRpc::NotAMessage));
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |depth: usize| {
            let (open, close) = ("[".repeat(depth), "]".repeat(depth));
            parse(&format!(r#"{{"method":"a","params":{{"deep":{open}{close}}}}}"#))
        };
        assert!(nested(MAX_DEPTH - 2).is_ok());
        assert_eq!(nested(MAX_DEPTH - 1), Err(NotJsonRpc::NotJson));
        assert_eq!(nested(100_000), Err(NotJsonRpc::NotJson));
    }

    async fn read_with(headers: &[(&str, &str)], body: &str, max_bytes: usize) -> Result<Bytes, NotJsonRpc> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name = http::HeaderName::try_from(*name).unwrap();
            map.append(name, value.parse().unwrap());
        }
        let body = Full::new(Bytes::copy_from_slice(body.as_bytes()));
        read(&map, body, max_bytes).await.map(|(body, _)| body)
    }

    #[tokio::test]
    async fn a_body_is_read_up_to_its_limit_and_kept_as_it_is() {
        let body = " {\"method\" : \"a\"}\n";
        assert_eq!(read_with(&[], body, body.len()).await.unwrap(), body);
        assert_eq!(
            read_with(&[], body, body.len() - 1).await,
            Err(NotJsonRpc::TooLarge)
        );
    }

    #[tokio::test]
    async fn a_body_that_reads_differently_elsewhere_is_refused() {
        let body = r#"{"method":"a"}"#;
        for good in [
            ("content-type", "application/json"),
            ("content-type", "application/json; charset=utf-8"),
            ("content-type", "application/json;charset=\"UTF-8\""),
            ("content-encoding", "identity"),
        ] {
            assert!(read_with(&[good], body, 100).await.is_ok(), "{good:?}");
        }
        for bad in [
            ("content-type", "application/json; charset=utf-7"),
            ("content-type", "application/json; charset=utf-16le"),
            ("content-type", "application/json; Charset = \"utf-32\""),
            ("content-encoding", "gzip"),
            ("content-encoding", "identity, deflate"),
        ] {
            assert_eq!(
                read_with(&[bad], body, 100).await,
                Err(NotJsonRpc::Encoded),
                "{bad:?}"
            );
        }
        let twice = [("content-encoding", "identity"), ("content-encoding", "br")];
        assert_eq!(read_with(&twice, body, 100).await, Err(NotJsonRpc::Encoded));
    }
}
