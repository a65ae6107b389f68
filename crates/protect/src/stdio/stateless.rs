//! Clients of MCP 2026-07-28 in front of a child that knows only the versions before: no handshake, no session, and all
//! that a server must know stands in each request.
//!
//! The bridge makes the handshake with the child itself, once a caller, and translates: `server/discover` is answered
//! from what the child said in the handshake; requests lose what only the new version has; results get what only the new
//! version wants. The child cannot ask such a client anything (sampling, elicitation, roots): it is told so in the
//! handshake. Subscriptions do not exist.

use serde_json::{Value, json};

use super::message::{
    LAST_WITH_SESSIONS, META_CLIENT_CAPABILITIES, META_CLIENT_INFO, META_LOG_LEVEL, META_SERVER_INFO,
    META_VERSION, Members, STATELESS_SINCE, error, method, result,
};

/// JSON-RPC's "method not found", and what 2026-07-28 calls an unsupported protocol version.
const METHOD_NOT_FOUND: i64 = -32_601;
const UNSUPPORTED_PROTOCOL_VERSION: i64 = -32_022;
/// JSON-RPC's "invalid params", and how an answer says that they are so by what every request needs.
const INVALID_PARAMS: i64 = -32_602;
pub(super) const INCOMPLETE_META: &str = "incomplete_meta";

/// The results that say how long they may be kept.
const CACHEABLE: [&str; 5] = [
    "tools/list",
    "prompts/list",
    "resources/list",
    "resources/templates/list",
    "resources/read",
];

/// The handshake that the bridge makes.
pub(super) fn initialize(id: u64) -> Value {
    json!({
        "jsonrpc": "2.0", "id": id, "method": "initialize",
        "params": {
            "protocolVersion": LAST_WITH_SESSIONS,
            "capabilities": {},
            "clientInfo": client_info(),
        },
    })
}

/// The question whether the child knows the new version itself.
pub(super) fn discover(id: u64) -> Value {
    json!({
        "jsonrpc": "2.0", "id": id, "method": "server/discover",
        "params": {"_meta": {
            META_VERSION: STATELESS_SINCE,
            META_CLIENT_INFO: client_info(),
            META_CLIENT_CAPABILITIES: {},
        }},
    })
}

fn client_info() -> Value {
    json!({"name": "authflow", "version": env!("CARGO_PKG_VERSION")})
}

/// The versions without sessions that the child knows, by its answer to [`discover`]; none when it is an older one.
pub(super) fn versions(answer: &Value) -> Vec<String> {
    let versions = answer["result"]["supportedVersions"].as_array();
    versions
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .filter(|version| *version >= STATELESS_SINCE)
        .map(str::to_owned)
        .collect()
}

/// The refusal of a request that is none of 2026-07-28, or of a version that is not among the `supported`.
///
/// A child must not see it: the official TypeScript SDK takes its connection for one of the versions before from then on,
/// and it is shared by all requests of the caller.
pub(super) fn refuse(id: &Value, request: &Members, supported: &[&str]) -> Option<Value> {
    // 1. The methods are those of the version.
    if is_removed(request) {
        return Some(error(id, METHOD_NOT_FOUND, "method not found", None));
    }
    // 2. Each request says of which version it is.
    let meta = request.get("params").and_then(|params| params.get("_meta"));
    let said = |name: &str| meta.and_then(|meta| meta.get(name));
    let Some(version) = said(META_VERSION).and_then(Value::as_str) else {
        return Some(lacks(id, META_VERSION));
    };
    // 3. Of one that the child, or the bridge in its stead, knows.
    if !supported.contains(&version) {
        let data = json!({"supported": supported, "requested": version});
        let message = "unsupported protocol version";
        return Some(error(id, UNSUPPORTED_PROTOCOL_VERSION, message, Some(data)));
    }
    // 4. And what its client can do.
    let has_capabilities = said(META_CLIENT_CAPABILITIES).is_some_and(Value::is_object);
    (!has_capabilities).then(|| lacks(id, META_CLIENT_CAPABILITIES))
}

fn lacks(id: &Value, name: &str) -> Value {
    let data = json!({"error": INCOMPLETE_META});
    error(id, INVALID_PARAMS, &format!("_meta lacks {name}"), Some(data))
}

/// Whether a request or a notification is one that 2026-07-28 has no more.
pub(super) fn is_removed(message: &Members) -> bool {
    matches!(
        method(message),
        "initialize"
            | "ping"
            | "logging/setLevel"
            | "resources/subscribe"
            | "resources/unsubscribe"
            | "notifications/initialized"
            | "notifications/roots/list_changed"
    )
}

/// The answer to a request that an older child need not see, if it is one.
pub(super) fn answer(id: &Value, request: &Members, handshake: &Value) -> Option<Value> {
    match method(request) {
        "server/discover" => Some(result(id, &discovered(handshake))),
        "subscriptions/listen" => Some(error(id, METHOD_NOT_FOUND, "method not found", None)),
        _ => None,
    }
}

/// What the child said of itself in the handshake, in the words of the new version.
fn discovered(handshake: &Value) -> Value {
    let mut capabilities = handshake["capabilities"].clone();
    if let Some(capabilities) = capabilities.as_object_mut() {
        for gone in ["logging", "tasks"] {
            capabilities.remove(gone);
        }
        // Nobody would hear of changes.
        for capability in capabilities.values_mut().filter_map(Value::as_object_mut) {
            capability.remove("listChanged");
            capability.remove("subscribe");
        }
    } else {
        capabilities = json!({});
    }
    let mut said = json!({
        "resultType": "complete",
        "supportedVersions": [STATELESS_SINCE],
        "capabilities": capabilities,
        "ttlMs": 0,
        "cacheScope": "private",
        "_meta": {META_SERVER_INFO: handshake["serverInfo"]},
    });
    if let (Some(said), Some(text)) = (said.as_object_mut(), handshake.get("instructions")) {
        said.insert("instructions".to_owned(), text.clone());
    }
    said
}

/// Takes from a request what the child does not know.
pub(super) fn to_child(request: &mut Members) {
    let Some(params) = request.get_mut("params").and_then(Value::as_object_mut) else {
        return;
    };
    if let Some(meta) = params.get_mut("_meta").and_then(Value::as_object_mut) {
        for name in [
            META_VERSION,
            META_CLIENT_INFO,
            META_CLIENT_CAPABILITIES,
            META_LOG_LEVEL,
        ] {
            meta.remove(name);
        }
        if meta.is_empty() {
            params.remove("_meta");
        }
    }
}

/// Adds to a result what the client expects. Of things that are somebody's own nobody else gets a copy.
pub(super) fn from_child(method: &str, response: &mut Members) {
    let Some(result) = response.get_mut("result").and_then(Value::as_object_mut) else {
        return;
    };
    result.entry("resultType").or_insert_with(|| json!("complete"));
    if CACHEABLE.contains(&method) {
        result.entry("ttlMs").or_insert_with(|| json!(0));
        result.entry("cacheScope").or_insert_with(|| json!("private"));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    fn request(method: &str) -> Members {
        let request =
            json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": {"_meta": {META_VERSION: "x"}}});
        request.as_object().unwrap().clone()
    }

    #[test]
    fn discovery_tells_what_the_child_said_and_what_can_be_kept() {
        let handshake = json!({
            "protocolVersion": "2025-06-18",
            "capabilities": {"tools": {"listChanged": true}, "logging": {}, "resources": {"subscribe": true}},
            "serverInfo": {"name": "old", "version": "1"},
            "instructions": "be nice",
        });
        let id = json!("a");
        let answered = answer(&id, &request("server/discover"), &handshake).unwrap();
        assert_eq!(
            answered["result"],
            json!({
                "resultType": "complete", "supportedVersions": ["2026-07-28"], "ttlMs": 0, "cacheScope": "private",
                "capabilities": {"tools": {}, "resources": {}}, "instructions": "be nice",
                "_meta": {"io.modelcontextprotocol/serverInfo": {"name": "old", "version": "1"}},
            })
        );
        assert_eq!(answer(&id, &request("tools/list"), &handshake), None);
    }

    #[test]
    fn a_request_that_is_none_of_the_version_is_refused() {
        let full = json!({META_VERSION: STATELESS_SINCE, META_CLIENT_CAPABILITIES: {}});
        let refused = |method: &str, meta: &Value| {
            let request = json!({"id": 1, "method": method, "params": {"_meta": meta}});
            refuse(&json!(1), request.as_object().unwrap(), &[STATELESS_SINCE])
                .map(|refused| refused["error"].clone())
        };
        let code = |method: &str, meta: &Value| refused(method, meta).map(|error| error["code"].clone());
        assert_eq!(code("tools/list", &full), None);
        for removed in ["initialize", "ping", "logging/setLevel", "resources/subscribe"] {
            assert_eq!(code(removed, &full), Some(json!(-32_601)), "{removed}");
            assert_eq!(code(removed, &json!({})), Some(json!(-32_601)), "{removed}");
        }
        let other = json!({META_VERSION: "2099-01-01", META_CLIENT_CAPABILITIES: {}});
        let error = refused("tools/list", &other).unwrap();
        assert_eq!(
            (&error["code"], &error["data"]),
            (
                &json!(-32_022),
                &json!({"supported": ["2026-07-28"], "requested": "2099-01-01"})
            )
        );
        for lacking in [
            json!({}),
            json!({META_VERSION: STATELESS_SINCE}),
            json!({META_VERSION: 1}),
        ] {
            assert_eq!(code("tools/list", &lacking), Some(json!(-32_602)), "{lacking}");
        }
    }

    #[test]
    fn the_versions_of_a_child_are_those_without_sessions() {
        let answered = |supported: Value| versions(&json!({"result": {"supportedVersions": supported}}));
        assert_eq!(answered(json!(["2025-11-25", "2026-07-28"])), ["2026-07-28"]);
        assert!(answered(json!(["2025-11-25"])).is_empty());
        assert!(versions(&json!({"error": {"code": -32_601}})).is_empty());
    }

    #[test]
    fn a_request_loses_and_a_result_gains_what_is_new() {
        let mut request = request("tools/list");
        to_child(&mut request);
        assert_eq!(request["params"], json!({}));
        let mut response = json!({"id": 1, "result": {"tools": []}})
            .as_object()
            .unwrap()
            .clone();
        from_child("tools/list", &mut response);
        let expected = json!({"tools": [], "resultType": "complete", "ttlMs": 0, "cacheScope": "private"});
        assert_eq!(response["result"], expected);
    }
}
