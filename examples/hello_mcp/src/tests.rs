//! The server as MCP clients see it, with a verifier in place of the authorization server.

use axum::{
    body::Body,
    http::{Request, StatusCode},
};
use mcp_authflow_resource::{Scope, TokenVerifier, VerifiedToken, VerifyError};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::*;

/// Takes `alice.hello-read~hello-write` for a token of alice with two scopes.
struct ByName;

#[async_trait::async_trait]
impl TokenVerifier for ByName {
    async fn verify(&self, token: &str) -> Result<VerifiedToken, VerifyError> {
        let (subject, scope) = token.split_once('.').ok_or(VerifyError::Inactive)?;
        let mut verified = VerifiedToken::default();
        verified.subject = Some(subject.to_owned());
        verified.scope = Scope::parse(&scope.replace('~', " ").replace('-', ":")).unwrap();
        verified.audience = vec!["http://127.0.0.1:8001/mcp".to_owned()];
        Ok(verified)
    }
}

fn hello() -> Router {
    let protect = ProtectedResource::builder("http://127.0.0.1:8001/mcp", "http://127.0.0.1:8000")
        .verify_with(ByName)
        .require_scope("hello:read")
        .build()
        .unwrap();
    app(protect, StreamableHttpServerConfig::default()).unwrap()
}

/// One call, in the way of 2026-07-28: without a handshake.
async fn call(app: &Router, token: &str, method: &str, mut params: Value) -> (StatusCode, String, Value) {
    params["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let mut request = Request::post("/mcp")
        .header("host", "127.0.0.1:8001")
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", "application/json")
        .header("accept", "application/json, text/event-stream")
        .header("mcp-protocol-version", "2026-07-28")
        .header("mcp-method", method);
    if let Some(name) = params["name"].as_str() {
        request = request.header("mcp-name", name);
    }
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string();
    let response = app
        .clone()
        .oneshot(request.body(Body::from(body)).unwrap())
        .await
        .unwrap();
    let status = response.status();
    let challenge = response.headers().get("www-authenticate");
    let challenge = challenge.map_or(String::new(), |value| value.to_str().unwrap().to_owned());
    let body = axum::body::to_bytes(response.into_body(), 1 << 16).await.unwrap();
    let body = serde_json::from_slice(&body).unwrap_or_else(|_| json!(String::from_utf8_lossy(&body)));
    (status, challenge, body)
}

fn text(answer: &Value) -> &str {
    answer["result"]["content"][0]["text"]
        .as_str()
        .unwrap_or_else(|| panic!("{answer}"))
}

#[tokio::test]
async fn a_tool_knows_who_calls_it() {
    let app = hello();
    let (_, _, answer) = call(&app, "alice.hello-read", "tools/call", json!({"name": "hello"})).await;
    assert_eq!(text(&answer), "Hello, alice!");
}

/// M-024, M-025: what the tool says of itself is what the layer asks for.
#[tokio::test]
async fn a_tool_that_needs_more_is_a_challenge_for_all_of_it() {
    let app = hello();
    let note = || json!({"name": "remember", "arguments": {"text": "milk"}});
    let (status, challenge, _) = call(&app, "alice.hello-read", "tools/call", note()).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert!(challenge.contains(r#"error="insufficient_scope""#), "{challenge}");
    assert!(
        challenge.contains(r#"scope="hello:read hello:write""#),
        "{challenge}"
    );
    let (_, _, answer) = call(&app, "alice.hello-read~hello-write", "tools/call", note()).await;
    assert_eq!(text(&answer), "I will remember.");
    let (_, _, answer) = call(&app, "alice.hello-read", "tools/call", json!({"name": "hello"})).await;
    assert_eq!(text(&answer), "Hello, alice! You wanted me to remember: milk");
    let (_, _, answer) = call(&app, "bob.hello-read", "tools/call", json!({"name": "hello"})).await;
    assert_eq!(text(&answer), "Hello, bob!");
}

#[tokio::test]
async fn the_list_shows_what_a_client_can_step_up_to() {
    let (status, _, answer) = call(&hello(), "alice.hello-read", "tools/list", json!({})).await;
    assert_eq!(status, StatusCode::OK);
    let tools = answer["result"]["tools"]
        .as_array()
        .unwrap_or_else(|| panic!("{answer}"));
    let mut tools: Vec<_> = tools
        .iter()
        .map(|tool| {
            (
                tool["name"].as_str().unwrap(),
                tool["_meta"]["authflow/scope"].as_str(),
            )
        })
        .collect();
    tools.sort_unstable();
    assert_eq!(tools, [("hello", None), ("remember", Some("hello:write"))]);
}
