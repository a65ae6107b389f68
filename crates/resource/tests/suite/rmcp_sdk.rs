//! A server and a client of the `rmcp` SDK, with both layers between them and a real connection.

use std::sync::Arc;

use axum::Router;
use mcp_authflow_resource::{
    AuthorizeTools, Caller, ToolPolicy,
    rmcp::{ToolsDeclare as _, needs},
    tool::{InvalidToolPolicy, ToolPolicyBuilder, Unlisted},
};
use rmcp::{
    RoleClient, ServerHandler, ServiceError,
    model::{CallToolRequestParams, ProtocolVersion, Tool},
    service::{ClientLifecycleMode, RunningService, serve_client_with_lifecycle},
    tool, tool_handler, tool_router,
    transport::{
        StreamableHttpClientTransport, StreamableHttpServerConfig,
        streamable_http_client::StreamableHttpClientTransportConfig,
        streamable_http_server::{StreamableHttpService, session::local::LocalSessionManager},
    },
};
use tower::{Layer as _, ServiceExt as _};

use crate::mcp_server::{McpServer, protect, request};

struct Notes;

#[tool_router]
impl Notes {
    /// Says who is calling.
    #[tool]
    async fn whoami(&self, caller: Caller) -> String {
        caller.subject().unwrap_or("nobody").to_owned()
    }

    /// Writes.
    #[tool(meta = needs("write"))]
    async fn write(&self, caller: Caller) -> String {
        format!("{} wrote", caller.subject().unwrap_or("nobody"))
    }

    /// Finds out too late that it needs more.
    #[tool]
    async fn late(&self, caller: Caller) -> Result<String, rmcp::ErrorData> {
        caller.require_scope("admin")?;
        Ok("done".to_owned())
    }
}

#[tool_handler]
impl ServerHandler for Notes {}

fn declared() -> ToolPolicyBuilder {
    ToolPolicy::builder()
        .declared_by(Notes::tool_router().list_all())
        .unlisted(Unlisted::Deny)
}

fn app() -> Router {
    let config = StreamableHttpServerConfig::default();
    let mcp = StreamableHttpService::new(|| Ok(Notes), Arc::new(LocalSessionManager::default()), config);
    Router::new()
        .route_service(
            "/mcp",
            AuthorizeTools::new(declared().build().unwrap()).layer(mcp),
        )
        .layer(protect())
}

/// Serves until the test's runtime ends.
#[expect(
    clippy::disallowed_methods,
    reason = "a server that lives as long as its test needs no header timeout"
)]
async fn serve() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/mcp", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app()).await.unwrap() });
    url
}

type Client = RunningService<RoleClient, ()>;

async fn connect(url: &str, token: &str, lifecycle: ClientLifecycleMode) -> Client {
    let config = StreamableHttpClientTransportConfig::with_uri(url).auth_header(token);
    let transport = StreamableHttpClientTransport::from_config(config);
    serve_client_with_lifecycle((), transport, lifecycle)
        .await
        .unwrap()
}

async fn call(client: &Client, name: &'static str) -> Result<String, ServiceError> {
    let result = client.call_tool(CallToolRequestParams::new(name)).await?;
    Ok(result.content[0].as_text().unwrap().text.clone())
}

/// M-024, M-127, M-133: with sessions and streams as up to 2025-11-25, and without as from 2026-07-28 on.
#[tokio::test]
async fn the_sdk_s_client_and_server_get_along_through_the_layers() {
    let url = serve().await;
    let modes = [
        ClientLifecycleMode::Initialize,
        ClientLifecycleMode::Discover {
            preferred_versions: vec![ProtocolVersion::V_2026_07_28],
        },
    ];
    for mode in modes {
        let alice = connect(&url, "alice.c.read", mode.clone()).await;
        let bob = connect(&url, "bob.c.read~write", mode).await;
        let names = |tools: Vec<Tool>| {
            let mut names: Vec<_> = tools.into_iter().map(|tool| tool.name.into_owned()).collect();
            names.sort_unstable();
            names
        };
        assert_eq!(names(alice.list_all_tools().await.unwrap()), ["late", "whoami"]);
        assert_eq!(
            names(bob.list_all_tools().await.unwrap()),
            ["late", "whoami", "write"]
        );
        for _ in 0..3 {
            assert_eq!(call(&alice, "whoami").await.unwrap(), "alice");
            assert_eq!(call(&bob, "write").await.unwrap(), "bob wrote");
        }
        let refused = call(&alice, "write").await.unwrap_err();
        assert!(
            format!("{refused:?}").contains("InsufficientScope"),
            "{refused:?}"
        );
        let late = call(&bob, "late").await.unwrap_err();
        assert!(
            matches!(&late, ServiceError::McpError(error) if error.message == "the access token lacks the scope admin"),
            "{late:?}"
        );
        alice.cancel().await.unwrap();
        bob.cancel().await.unwrap();
    }
}

/// RP-13: the SDK's own sessions are anybody's who knows their id.
#[tokio::test]
async fn a_session_of_the_sdk_is_its_callers_alone() {
    let app = app();
    let headers = [
        ("host", "127.0.0.1"),
        ("content-type", "application/json"),
        ("accept", "application/json, text/event-stream"),
    ];
    let initialize = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}"#;
    let call = request("POST", "/mcp", "alice.c.read", &headers, initialize);
    let answer = app.clone().oneshot(call).await.unwrap();
    let session = answer.headers()["mcp-session-id"].to_str().unwrap().to_owned();
    let own = session.rsplit_once('.').unwrap().0;
    for (token, id, status) in [
        ("bob.c.read", session.as_str(), 404),
        ("bob.c.read", own, 404),
        ("alice.c.read", own, 404),
        ("alice.c.read.refreshed", session.as_str(), 202),
    ] {
        let initialized = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
        let headers = [&headers[..], &[("mcp-session-id", id)]].concat();
        let call = request("POST", "/mcp", token, &headers, initialized);
        assert_eq!(
            app.clone().oneshot(call).await.unwrap().status().as_u16(),
            status,
            "{token} {id}"
        );
    }
}

#[tokio::test]
async fn a_tool_that_declares_no_scope_needs_none() {
    let server = McpServer::with_policy(declared());
    let call = |name: &str| crate::mcp_server::tool(name);
    assert_eq!(server.post("a.c.read", &call("whoami")).await.status, 200);
    assert_eq!(server.post("a.c.read", &call("write")).await.status, 403);
    assert_eq!(server.post("a.c.write", &call("write")).await.status, 200);
    assert_eq!(server.post("a.c.write", &call("unknown")).await.status, 403);
}

#[test]
fn a_declaration_that_is_none_is_refused() {
    let mut tool = Notes::tool_router().list_all().pop().unwrap();
    for scope in [
        serde_json::json!("a  b"),
        serde_json::json!(["a"]),
        serde_json::json!(null),
    ] {
        let mut meta = needs("a");
        meta.insert(mcp_authflow_resource::rmcp::SCOPE.to_owned(), scope);
        tool.meta = Some(meta);
        let refused = ToolPolicy::builder().declared_by([tool.clone()]).build();
        assert!(matches!(refused, Err(InvalidToolPolicy::Scope(_))), "{tool:?}");
    }
}
