//! A real client and a real server of MCP, `rmcp`'s, with the proxy between them.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use axum::Router;
use mcp_authflow_protect::{Proxy, Upstream};
use rmcp::{
    ClientHandler, RoleClient, RoleServer, ServerHandler, ServiceExt as _,
    handler::server::wrapper::Parameters,
    model::{
        CallToolRequestParams, CallToolResult, ClientConfig, ContentBlock, ProgressNotificationParam,
        ProtocolVersion,
    },
    serve_client_with_lifecycle,
    service::{ClientLifecycleMode, NotificationContext, RequestContext, RunningService},
    tool, tool_handler, tool_router,
    transport::{
        StreamableHttpClientTransport, StreamableHttpServerConfig,
        streamable_http_client::StreamableHttpClientTransportConfig,
        streamable_http_server::{StreamableHttpService, session::local::LocalSessionManager},
    },
};

use crate::support::{Front, serve, until, within};

struct Calculator;

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct Summands {
    a: i64,
    b: i64,
}

#[tool_router]
impl Calculator {
    /// Adds two numbers.
    #[tool]
    async fn add(&self, Parameters(Summands { a, b }): Parameters<Summands>) -> CallToolResult {
        CallToolResult::success(vec![ContentBlock::text((a + b).to_string())])
    }

    /// Counts to three, aloud.
    #[tool]
    async fn count(&self, context: RequestContext<RoleServer>) -> CallToolResult {
        if let Some(token) = context.meta.get_progress_token() {
            for step in [1.0, 2.0, 3.0] {
                let told = ProgressNotificationParam::new(token.clone(), step);
                let _ = context.peer.notify_progress(told).await;
            }
        }
        CallToolResult::success(vec![ContentBlock::text("three")])
    }
}

#[tool_handler(name = "calculator")]
impl ServerHandler for Calculator {}

/// The program of the child, when it is to be this server.
pub(crate) fn serve_over_stdio() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let pipes = (tokio::io::stdin(), tokio::io::stdout());
        // An end before the handshake is no failure.
        if let Ok(running) = Calculator.serve(pipes).await {
            let _ = running.waiting().await;
        }
    });
}

#[derive(Clone, Default)]
struct Listener {
    progress: Arc<AtomicUsize>,
}

impl ClientHandler for Listener {
    async fn on_progress(&self, _: ProgressNotificationParam, _: NotificationContext<RoleClient>) {
        self.progress.fetch_add(1, Ordering::SeqCst);
    }

    fn get_info(&self) -> ClientConfig {
        ClientConfig::default()
    }
}

async fn connect(
    url: &str,
    token: &str,
    lifecycle: ClientLifecycleMode,
) -> (RunningService<RoleClient, Listener>, Listener) {
    let listener = Listener::default();
    let config = StreamableHttpClientTransportConfig::with_uri(url).auth_header(token);
    let transport = StreamableHttpClientTransport::from_config(config);
    let client = within(serve_client_with_lifecycle(
        listener.clone(),
        transport,
        lifecycle,
    ))
    .await;
    (client.unwrap(), listener)
}

async fn upstream_over_http() -> Upstream {
    let config = StreamableHttpServerConfig::default();
    let server = StreamableHttpService::new(
        || Ok(Calculator),
        Arc::new(LocalSessionManager::default()),
        config,
    );
    let address = serve(Router::new().route_service("/mcp", server)).await;
    Upstream::http(format!("http://{address}/mcp"))
}

/// With sessions, without, and by a client that tries both; in front of a server over HTTP and one over stdio.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sdk_s_client_and_server_get_along_through_the_proxy() {
    let preferred_versions = vec![ProtocolVersion::V_2026_07_28];
    let lifecycles = [
        ClientLifecycleMode::Initialize,
        ClientLifecycleMode::Discover {
            preferred_versions: preferred_versions.clone(),
        },
        ClientLifecycleMode::Auto {
            preferred_versions,
            legacy_version: None,
        },
    ];
    let over_stdio = crate::child::upstream(crate::child::Kind::Sdk);
    for upstream in [upstream_over_http().await, over_stdio] {
        let front = Front::of(Proxy::builder(upstream.clone()).build().unwrap());
        let url = format!("http://{}/mcp", front.listen().await);
        for lifecycle in &lifecycles {
            let (alice, heard) = connect(&url, "alice.c1", lifecycle.clone()).await;
            let (bob, _) = connect(&url, "bob.c1", lifecycle.clone()).await;
            let tools = within(alice.list_all_tools()).await.unwrap();
            assert_eq!(tools.len(), 2, "{upstream:?} {lifecycle:?}");
            for sum in 0..5_i64 {
                for client in [&alice, &bob] {
                    let arguments = serde_json::json!({"a": sum, "b": 1})
                        .as_object()
                        .cloned()
                        .unwrap();
                    let call = CallToolRequestParams::new("add").with_arguments(arguments);
                    let result = within(client.call_tool(call)).await.unwrap();
                    let text = &result.content[0].as_text().unwrap().text;
                    assert_eq!(*text, (sum + 1).to_string());
                }
            }
            let counted = within(alice.call_tool(CallToolRequestParams::new("count")))
                .await
                .unwrap();
            assert_eq!(counted.content[0].as_text().unwrap().text, "three");
            // The client hears notifications beside the answers.
            until(|| heard.progress.load(Ordering::SeqCst) == 3).await;
            let _ = within(alice.cancel()).await;
            let _ = within(bob.cancel()).await;
        }
        within(front.proxy.shut_down()).await;
    }
}
