//! An MCP client that finds its way by itself: from the 401 of an MCP server to its authorization server, through the
//! person's browser, to the tools; and back to the person when a tool needs more than they have allowed.
//!
//! ```sh
//! hello_client http://127.0.0.1:8001/mcp --tool hello
//! ```
//!
//! All of OAuth is done by `rmcp`; what is left here is to show the person an address and to catch the answer.

use std::error::Error;

use anyhow::{Context as _, anyhow, ensure};
use axum::{Router, extract::State, http::Uri, response::Html, routing::get};
use clap::Parser;
use rmcp::{
    ServiceError, ServiceExt as _,
    model::CallToolRequestParams,
    transport::{
        StreamableHttpClientTransport,
        auth::{AuthClient, AuthorizationCallback, AuthorizationManager, AuthorizationRequest, OAuthState},
        streamable_http_client::{InsufficientScopeError, StreamableHttpClientTransportConfig},
    },
};
use tokio::{net::TcpListener, sync::mpsc};

/// Signs in to an MCP server and calls one of its tools.
#[derive(Parser)]
#[command(version)]
struct Settings {
    /// The MCP server.
    #[arg(default_value = "http://127.0.0.1:8001/mcp")]
    server: String,
    /// The tool to call.
    #[arg(long, default_value = "hello")]
    tool: String,
    /// The tool's arguments, a JSON object.
    #[arg(long, default_value = "{}")]
    arguments: String,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let settings = Settings::parse();
    let arguments = serde_json::from_str(&settings.arguments).context("--arguments is a JSON object")?;

    // 1. A place on this computer to which the browser comes back.
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let redirect_uri = format!("http://{}/callback", listener.local_addr()?);
    let (send, mut callbacks) = mpsc::channel(1);
    let catcher = tokio::spawn(async move {
        let app = Router::new().route("/callback", get(catch)).with_state(send);
        axum::serve(listener, app).await
    });

    // 2. Discovery and registration: which authorization server, and who are we to it?
    let mut state = OAuthState::Unauthorized(AuthorizationManager::new(&settings.server).await?);
    let request = AuthorizationRequest::new(&redirect_uri)
        .with_client_name("Hello client")
        .with_initial_scope_selection();
    state.start_authorization(request).await?;

    // 3. The person signs in and approves, in a browser.
    let callback = ask_person(&state.get_authorization_url().await?, &mut callbacks).await?;
    state
        .handle_callback_url(&format!("{redirect_uri}?{callback}"))
        .await?;
    let manager = state
        .into_authorization_manager()
        .context("signing in did not work")?;

    // 4. With tokens in hand, the server answers.
    let config = StreamableHttpClientTransportConfig::with_uri(settings.server.as_str());
    let http = AuthClient::new(reqwest::Client::new(), manager);
    let session =
        ().serve(StreamableHttpClientTransport::with_client(http.clone(), config))
            .await
            .map_err(|error| anyhow!("{error}"))?;
    let tools = session.list_all_tools().await?;
    let names: Vec<_> = tools.iter().map(|tool| tool.name.as_ref()).collect();
    println!("Signed in. The server offers: {}", names.join(", "));
    let call = CallToolRequestParams::new(settings.tool.clone()).with_arguments(arguments);
    let mut result = session.call_tool(call.clone()).await;

    // 5. The tool needs more than was allowed: ask the person for all of it, and call once more.
    let missing = result.as_ref().err().and_then(missing_scope);
    if let Some(scope) = missing {
        println!("{} needs more than you have allowed: {scope}", settings.tool);
        let manager = http.auth_manager.lock().await;
        let address = manager.request_scope_upgrade(&scope).await?;
        let answer = ask_person(&address, &mut callbacks).await?;
        let answer = AuthorizationCallback::from_redirect_url(&format!("{redirect_uri}?{answer}"))?;
        manager
            .exchange_code_for_token_with_issuer(&answer.code, &answer.csrf_token, answer.issuer.as_deref())
            .await?;
        drop(manager);
        result = session.call_tool(call).await;
    }
    let result = result?;
    for text in result.content.iter().filter_map(|part| part.as_text()) {
        println!("{} says: {}", settings.tool, text.text);
    }
    ensure!(result.is_error != Some(true), "the tool failed");
    session.cancel().await?;
    catcher.abort();
    Ok(())
}

/// Shows an address, and waits until the browser comes back from there.
async fn ask_person(address: &str, callbacks: &mut mpsc::Receiver<String>) -> anyhow::Result<String> {
    println!("Open this address in your browser and sign in:\n\n  {address}\n");
    callbacks.recv().await.context("the browser did not come back")
}

/// What the server says that a call needs, when the token lacks it (403 `insufficient_scope`).
fn missing_scope(refused: &ServiceError) -> Option<String> {
    let mut cause: Option<&dyn Error> = Some(refused);
    while let Some(error) = cause {
        if let Some(missing) = error.downcast_ref::<InsufficientScopeError>() {
            return missing.required_scope.clone();
        }
        cause = error.source();
    }
    None
}

/// Takes what the authorization server sent with the browser.
async fn catch(State(send): State<mpsc::Sender<String>>, uri: Uri) -> Html<&'static str> {
    let query = uri.query().unwrap_or_default().to_owned();
    // A second visit (a reload) has nothing new to say.
    let _ = send.try_send(query);
    Html(
        "<!doctype html><title>Signed in</title><p>You can close this window and go back to the terminal.</p>",
    )
}
