//! An MCP server with two tools that only signed-in people can call.
//!
//! ```sh
//! authflow resource add http://127.0.0.1:8001/mcp --name 'Hello MCP' \
//!     --scope 'hello:read=Say hello to you' --scope 'hello:write=Remember a note for you'
//! HELLO_MCP_CLIENT_ID=… HELLO_MCP_CLIENT_SECRET=… hello_mcp
//! ```
//!
//! | file | what |
//! |---|---|
//! | `main.rs` | settings, the protection, the listener |
//! | `tools.rs` | the two tools: what they need, and how they learn who is calling |

#[cfg(test)]
mod tests;
mod tools;

use std::{
    io::{IsTerminal as _, Write as _},
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use axum::Router;
use clap::Parser;
use mcp_authflow_resource::{
    AuthorizeTools, Protect, ProtectedResource, ToolPolicy,
    rmcp::ToolsDeclare as _,
    tool::{InvalidToolPolicy, Unlisted},
    well_known::AuthorizationServerAliases,
};
use rmcp::transport::streamable_http_server::{
    StreamableHttpServerConfig, StreamableHttpService, session::never::NeverSessionManager,
};
use tower::Layer as _;
use tracing_subscriber::EnvFilter;

use crate::tools::{HelloMcp, Notes};

/// An MCP server with two tools, `hello` and `remember`, protected by an OAuth authorization server.
#[derive(Parser)]
#[command(version)]
struct Settings {
    /// The address to listen on; port 0 picks a free one.
    #[arg(long, env = "HELLO_MCP_LISTEN", default_value = "127.0.0.1:8001")]
    listen: SocketAddr,
    /// This server's URL as clients know it [default: http:// and the address above, then /mcp].
    #[arg(long, env = "HELLO_MCP_RESOURCE")]
    resource: Option<String>,
    /// The authorization server that issues tokens for it.
    #[arg(long, env = "HELLO_MCP_ISSUER", default_value = "http://127.0.0.1:8000")]
    issuer: String,
    /// The client id that `authflow resource add` printed.
    #[arg(long, env = "HELLO_MCP_CLIENT_ID")]
    client_id: String,
    /// The client secret that `authflow resource add` printed. Better in the environment than on the command line,
    /// where every user of this computer can read it.
    #[arg(long, env = "HELLO_MCP_CLIENT_SECRET", hide_env_values = true)]
    client_secret: String,
    /// Answer for the authorization server's metadata here as well, for clients of MCP 2025-03-26, which look nowhere else.
    #[arg(long, env = "HELLO_MCP_OLD_CLIENTS")]
    old_clients: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    log();
    let settings = Settings::parse();
    let listener = TcpListener::bind(settings.listen)?;
    let address = listener.local_addr()?;
    let resource = settings
        .resource
        .unwrap_or_else(|| format!("http://{address}/mcp"));

    let aliases = if settings.old_clients {
        AuthorizationServerAliases::Copy
    } else {
        AuthorizationServerAliases::Off
    };
    // Everything that reaches the tools has a token with `hello:read`. The layer also answers the discovery documents
    // and the challenges by which a client finds its way to the authorization server.
    let protect = ProtectedResource::builder(&resource, &settings.issuer)
        .introspect_with(settings.client_id, settings.client_secret)
        .require_scope("hello:read")
        .scopes(["hello:read", "hello:write"])
        .name("Hello MCP")
        .authorization_server_aliases(aliases)
        .build()?;

    let transport = StreamableHttpServerConfig::default();
    let stop_streams = transport.cancellation_token.clone();
    let app = app(protect, transport)?;

    let handle = axum_server::Handle::new();
    let stop = handle.clone();
    tokio::spawn(async move {
        told_to_stop().await;
        stop_streams.cancel();
        stop.graceful_shutdown(Some(Duration::from_secs(10)));
    });
    println!("hello_mcp listening on http://{address}/mcp");
    std::io::stdout().flush()?;
    axum_server::from_tcp(listener)?
        .handle(handle)
        .first_request_timeout(Duration::from_secs(10))
        .serve(app.into_make_service())
        .await?;
    Ok(())
}

/// The MCP endpoint behind its protection.
fn app(protect: Protect, mut transport: StreamableHttpServerConfig) -> Result<Router, InvalidToolPolicy> {
    // What each tool needs beyond `hello:read`, the tools say themselves. All are shown to everyone: a client can only ask
    // its person for the scope of a tool that it knows of.
    let policy = ToolPolicy::builder()
        .declared_by(HelloMcp::tool_router().list_all())
        .unlisted(Unlisted::Deny)
        .hide_forbidden_tools(false)
        .build()?;

    // No sessions: who is calling is read off the token of each request, and there is no session id to steal.
    transport.legacy_session_mode = false;
    transport.json_response = true;
    let notes = Notes::default();
    let tools = move || Ok(HelloMcp::new(notes.clone()));
    let mcp = StreamableHttpService::new(tools, Arc::new(NeverSessionManager::default()), transport);
    Ok(Router::new()
        .route_service("/mcp", AuthorizeTools::new(policy).layer(mcp))
        .layer(protect))
}

/// Logs to the standard error stream; `RUST_LOG` says how much.
fn log() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| "info,rmcp=warn".into());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
}

/// Waits for Ctrl-C, or for the SIGTERM of a service manager.
async fn told_to_stop() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
            return;
        }
    }
    // Nothing is to be done about a signal that cannot be waited for.
    let _ = tokio::signal::ctrl_c().await;
}
