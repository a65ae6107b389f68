//! Answers 403 `insufficient_scope` to the call of a tool whose scope the token lacks, so that the client can ask its
//! person for it and try again (step-up).
//!
//! Which tool is called stands in the JSON-RPC body and is read there; the header `Mcp-Name` is the client's word only.
//! A body that is no single `tools/call` passes: `rmcp` answers it, and the tool itself checks its scope once more.

use axum::{
    body::{Body, Bytes, to_bytes},
    extract::Request,
    http::StatusCode,
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use mcp_authflow_resource::Caller;

/// As much as `rmcp` reads.
const MAX_BODY_BYTES: usize = 4 * 1_024 * 1_024;

/// The scope that each tool needs on top of `hello:read`.
fn scope_of_tool(name: &str) -> &'static str {
    match name {
        "remember" => "hello:write",
        _ => "",
    }
}

pub(crate) async fn ask_for_the_scope_of_a_tool(caller: Caller, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, MAX_BODY_BYTES).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    let scope = called_tool(&body).map_or("", |name| scope_of_tool(&name));
    match caller.require_scope(scope) {
        Ok(()) => next.run(Request::from_parts(parts, Body::from(body))).await,
        Err(refused) => refused.into_response(),
    }
}

/// The tool's name, when the body calls one.
fn called_tool(body: &Bytes) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Call {
        method: String,
        params: Params,
    }
    #[derive(serde::Deserialize)]
    struct Params {
        name: String,
    }
    let call: Call = serde_json::from_slice(body).ok()?;
    (call.method == "tools/call").then_some(call.params.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tool_is_read_from_the_body() {
        let tool = |body: &'static str| called_tool(&Bytes::from_static(body.as_bytes()));
        assert_eq!(
            tool(
                r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"remember","arguments":{}}}"#
            ),
            Some("remember".to_owned())
        );
        for other in [
            r#"{"method":"tools/list","params":{"name":"remember"}}"#,
            r#"{"method":"tools/call"}"#,
            r#"[{"method":"tools/call","params":{"name":"remember"}}]"#,
            "",
        ] {
            assert_eq!(tool(other), None, "{other}");
        }
    }
}
