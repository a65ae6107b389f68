//! Drives `rmcp`, the Rust SDK, through the same story as the drivers in `judges/`.

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use rmcp::model::{CallToolRequestParams, ProgressNotificationParam};
use rmcp::service::{NotificationContext, RunningService, ServiceError};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::auth::{
    AuthClient, AuthorizationManager, AuthorizationRequest, CredentialStore as _, InMemoryCredentialStore,
    OAuthState, StoredCredentials,
};
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use rmcp::{ClientHandler, RoleClient, ServiceExt as _};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use url::Url;

use super::dialogue::Dialogue;

type Session = RunningService<RoleClient, Ear>;

/// Hears how far a tool is.
#[derive(Clone, Debug)]
struct Ear(mpsc::UnboundedSender<ProgressNotificationParam>);

impl ClientHandler for Ear {
    async fn on_progress(&self, progress: ProgressNotificationParam, _: NotificationContext<RoleClient>) {
        // Nobody listens while no tool is slow.
        let _ = self.0.send(progress);
    }
}

/// Plays the story against the MCP server at `mcp_url`; `options` are the drivers' own.
pub(super) async fn play(mcp_url: String, options: Value, mut dialogue: Dialogue) -> Result<()> {
    let option = |name: &str| {
        options[name]
            .as_str()
            .map(str::to_owned)
            .with_context(|| format!("no `{name}`"))
    };
    let redirect_uri = option("redirect_uri")?;
    let first_call = params(&options)?;
    let call = || first_call.clone();

    // 1. Without a token the server refuses and says where to go.
    let store = InMemoryCredentialStore::new();
    let (ear, mut heard) = mpsc::unbounded_channel();
    let ear = Ear(ear);
    let refusal = match connect(&mcp_url, manager(&mcp_url, &store).await?, ear.clone()).await {
        Ok(_) => bail!("the server let a client in that has no token"),
        Err(error) => *error,
    };
    let challenge = refusal
        .auth_challenge()
        .map(str::to_owned)
        .ok_or(refusal)
        .context("no challenge")?;

    // 2. Discovery and registration, then the browser.
    let mut state = OAuthState::Unauthorized(manager(&mcp_url, &store).await?);
    let request = AuthorizationRequest::new(redirect_uri)
        .with_client_name(option("client_name")?)
        .with_initial_scope_selection()
        .with_challenge(challenge);
    state.start_authorization(introduce(request, &options)).await?;
    let authorize = state.get_authorization_url().await?;
    let client_id = Url::parse(&authorize)?
        .query_pairs()
        .find(|(name, _)| name == "client_id")
        .map(|(_, value)| value.into_owned())
        .context("no client_id in the authorization URL")?;
    dialogue
        .say(json!({ "step": "registered", "ok": true, "client_id": client_id }))
        .await?;
    dialogue.say(json!({ "authorize": authorize })).await?;
    let callback = dialogue.hear("callback").await?;

    // 3. The code becomes tokens, and with them the server answers.
    state
        .handle_callback_url(callback.as_str().context("a callback that is no text")?)
        .await?;
    let manager = state
        .into_authorization_manager()
        .context("rmcp is not authorized after the callback")?;
    let first = stored(&store).await?;
    dialogue.say(credentials("authorized", &options, &first)).await?;
    let session = connect(&mcp_url, manager, ear)
        .await
        .map_err(|error| anyhow!("{error}"))?;
    let tools = session.list_all_tools().await?;
    let tools: Vec<_> = tools.iter().map(|tool| tool.name.to_string()).collect();
    dialogue
        .say(json!({ "step": "listed", "ok": true, "tools": tools }))
        .await?;
    let text = text_of(&session.call_tool(call()).await?)?;
    dialogue
        .say(json!({ "step": "called", "ok": true, "text": text }))
        .await?;

    // A slow tool says how far it is, and ends only once a client has heard that and called another tool.
    if options["stream"].is_object() {
        let stream = &options["stream"];
        let (slow, answer) = (params(stream)?, params(&stream["answer"])?);
        let listen = async {
            for _ in 0..3 {
                heard.recv().await.context("rmcp stopped listening")?;
            }
            text_of(&session.call_tool(answer).await?)
        };
        let (end, answered) = tokio::join!(session.call_tool(slow), listen);
        dialogue
            .say(json!({ "step": "streamed", "ok": true, "text": text_of(&end?)?, "heard": 3, "answered": answered? }))
            .await?;
    }

    // 4. The access token is no good any more; rmcp refreshes by itself.
    store.save(spoilt(&first)?).await?;
    let text = text_of(&session.call_tool(call()).await?)?;
    dialogue
        .say(json!({ "step": "called_again", "ok": true, "text": text }))
        .await?;
    dialogue
        .say(credentials("refreshed", &options, &stored(&store).await?))
        .await?;

    // 5. Revoked: refused, with the challenge that starts a new authorization.
    dialogue.hear("revoked").await?;
    let error = match session.call_tool(call()).await {
        Ok(result) => bail!("a revoked token still works: {result:?}"),
        Err(error) => error,
    };
    ensure!(
        ServiceError::auth_challenge(&error).is_some(),
        "refused, but without a challenge: {error}"
    );
    dialogue
        .say(json!({ "step": "revoked_refused", "ok": true, "error": error.to_string() }))
        .await?;
    // The session cannot be closed politely without a token; dropping it ends its task.
    drop(session);
    Ok(())
}

async fn manager(mcp_url: &str, store: &InMemoryCredentialStore) -> Result<AuthorizationManager> {
    let mut manager = AuthorizationManager::new(mcp_url).await?;
    manager.set_credential_store(store.clone());
    Ok(manager)
}

async fn connect(
    mcp_url: &str,
    manager: AuthorizationManager,
    ear: Ear,
) -> Result<Session, Box<rmcp::service::ClientInitializeError>> {
    // `no_proxy` alone cannot fail to build; rmcp's own default would read proxies from the environment.
    let http = reqwest::Client::builder().no_proxy().build().unwrap_or_default();
    let config = StreamableHttpClientTransportConfig::with_uri(mcp_url);
    let transport = StreamableHttpClientTransport::with_client(AuthClient::new(http, manager), config);
    ear.serve(transport).await.map_err(Box::new)
}

/// `{"tool": …, "arguments": {…}}`
fn params(call: &Value) -> Result<CallToolRequestParams> {
    let tool = call["tool"].as_str().context("no `tool`")?.to_owned();
    let arguments = call["arguments"].as_object().cloned().unwrap_or_default();
    Ok(CallToolRequestParams::new(tool).with_arguments(arguments))
}

fn text_of(result: &rmcp::model::CallToolResult) -> Result<String> {
    ensure!(result.is_error != Some(true), "the tool failed: {result:?}");
    let texts: Vec<_> = result
        .content
        .iter()
        .filter_map(|part| part.as_text())
        .map(|part| part.text.clone())
        .collect();
    Ok(texts.join(" "))
}

async fn stored(store: &InMemoryCredentialStore) -> Result<StoredCredentials> {
    store.load().await?.context("rmcp stored no credentials")
}

/// Tells the library who it is, where it does not register by itself.
fn introduce(request: AuthorizationRequest, options: &Value) -> AuthorizationRequest {
    let member = |name: &str| options["client"][name].as_str();
    let mut request = request;
    if let Some(client_id) = member("client_id") {
        request = request.with_preregistered_client(client_id);
    }
    if let Some(client_secret) = member("client_secret") {
        request = request.with_client_secret(client_secret);
    }
    if let Some(url) = options["client_metadata_url"].as_str() {
        request = request.with_client_metadata_url(url);
    }
    request
}

fn credentials(step: &str, options: &Value, stored: &StoredCredentials) -> Value {
    let mut client = json!({ "client_id": stored.client_id, "token_endpoint_auth_method": "none" });
    if options["client"]["client_secret"].is_string() {
        client["client_secret"] = options["client"]["client_secret"].clone();
        client["token_endpoint_auth_method"] = options["client"]["token_endpoint_auth_method"].clone();
    }
    json!({ "step": step, "ok": true, "client": client, "tokens": stored.token_response })
}

/// The same credentials with one letter of the access token changed.
fn spoilt(stored: &StoredCredentials) -> Result<StoredCredentials> {
    let mut value = serde_json::to_value(stored)?;
    let token = value["token_response"]["access_token"]
        .as_str()
        .context("no access token")?;
    let other = if token.as_bytes().get(20) == Some(&b'A') {
        "B"
    } else {
        "A"
    };
    let token = format!("{}{other}{}", &token[..20], &token[21..]);
    value["token_response"]["access_token"] = token.into();
    Ok(serde_json::from_value(value)?)
}
