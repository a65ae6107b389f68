//! Friction on the tools of an `rmcp` server, from the HTTP request to the tool's result.

use std::{sync::Arc, time::Duration};

use axum::{Router, body::Body, http::Request};
use http_body_util::BodyExt as _;
use mcp_authflow_resource::{
    ClientId, ProtectedResource, TokenVerifier, VerifiedToken, VerifyError,
    friction::{ControllerConfig, FrictionGuard, FrictionRefusal, FrictionRegistry, ToolFrictionConfig},
};
use rmcp::{
    RoleServer, ServerHandler,
    service::RequestContext,
    tool, tool_handler, tool_router,
    transport::streamable_http_server::{
        StreamableHttpServerConfig, StreamableHttpService, session::never::NeverSessionManager,
    },
};
use serde_json::{Value, json};
use tower::ServiceExt as _;

const RESOURCE: &str = "http://127.0.0.1/mcp";

#[derive(Clone)]
struct Notes {
    friction: FrictionGuard,
}

#[tool_router]
impl Notes {
    /// Deletes all notes.
    #[tool]
    async fn delete(&self, context: RequestContext<RoleServer>) -> Result<String, FrictionRefusal> {
        self.friction.guard(&context, "delete").await?;
        Ok("deleted".to_owned())
    }

    /// Reads a note.
    #[tool]
    async fn read(&self, context: RequestContext<RoleServer>) -> String {
        self.friction.count(&context, "read");
        "a note".to_owned()
    }
}

#[tool_handler]
impl ServerHandler for Notes {}

/// Every token is good, and names its subject.
struct Everybody;

#[async_trait::async_trait]
impl TokenVerifier for Everybody {
    async fn verify(&self, token: &str) -> Result<VerifiedToken, VerifyError> {
        let mut verified = VerifiedToken::default();
        verified.subject = Some(token.to_owned());
        verified.client_id = ClientId::parse("c1").ok();
        verified.audience = vec![RESOURCE.to_owned()];
        Ok(verified)
    }
}

fn app() -> (Router, FrictionGuard) {
    let registry = FrictionRegistry::builder()
        .config(ControllerConfig {
            warmup_calls: 0,
            ..ControllerConfig::default()
        })
        .tool("delete", ToolFrictionConfig::default())
        .clock(|| Duration::ZERO)
        .build()
        .unwrap();
    let guard = FrictionGuard::new(registry);
    let notes = Notes {
        friction: guard.clone(),
    };
    let mut settings = StreamableHttpServerConfig::default();
    settings.legacy_session_mode = false;
    settings.json_response = true;
    let server = StreamableHttpService::new(
        move || Ok(notes.clone()),
        Arc::new(NeverSessionManager::default()),
        settings,
    );
    let protect = ProtectedResource::builder(RESOURCE, "http://127.0.0.1:8000")
        .verify_with(Everybody)
        .build()
        .unwrap();
    (Router::new().route_service("/mcp", server).layer(protect), guard)
}

async fn call(app: &Router, subject: &str, tool: &str) -> Value {
    let body =
        json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": tool, "arguments": {}}});
    let request = Request::post("/mcp")
        .header("host", "127.0.0.1")
        .header("authorization", format!("Bearer {subject}"))
        .header("accept", "application/json, text/event-stream")
        .header("content-type", "application/json")
        .header("mcp-protocol-version", "2025-11-25")
        .body(Body::from(body.to_string()))
        .unwrap();
    let answer = app.clone().oneshot(request).await.unwrap();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    let answer: Value = serde_json::from_slice(&body).unwrap_or_else(|_| panic!("no JSON: {body:?}"));
    answer["result"].clone()
}

/// S-284, S-286, S-287
#[tokio::test]
async fn a_tool_that_is_called_too_much_answers_with_an_error_and_the_time_to_wait() {
    let (app, guard) = app();
    for _ in 0..19 {
        let result = call(&app, "alice", "delete").await;
        assert_eq!(
            (&result["isError"], &result["content"][0]["text"]),
            (&json!(false), &json!("deleted"))
        );
    }
    let refused = call(&app, "alice", "delete").await;
    assert_eq!(refused["isError"], true);
    let text = refused["content"][0]["text"].as_str().unwrap();
    assert!(
        text.starts_with("Tool 'delete' is temporarily rate-limited. Blocked: friction 1.00"),
        "{text}"
    );
    let data = &refused["_meta"]["authflow/friction"];
    assert_eq!(
        (&data["reason"], &data["retry_after"]),
        (&json!("blocked"), &json!(52))
    );
    assert_eq!(call(&app, "bob", "delete").await["isError"], false);
    assert_eq!(call(&app, "alice", "read").await["content"][0]["text"], "a note");
    assert_eq!(
        guard.registry().client_status("subject:- alice").unwrap().calls,
        20
    );
}
