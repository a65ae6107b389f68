//! An MCP client on a device without a browser (RFC 8628): it shows a code, and the address where a person types it on a
//! phone or another computer, waits until the person has decided, and calls a tool.
//!
//! ```sh
//! hello_device http://127.0.0.1:8001/mcp --tool hello
//! ```
//!
//! | step | where |
//! |---|---|
//! | which endpoints | [`Endpoints::discover`] |
//! | who are we to this server: a client that registers itself, unless it is one already | [`Endpoints::register`] |
//! | two codes: one to show, one to poll with | [`Endpoints::begin`] |
//! | wait as long as told, and five seconds longer after each `slow_down` | [`Endpoints::wait`] |

use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, bail, ensure};
use clap::Parser;
use qrcode::{QrCode, render::unicode};
use rmcp::{
    ServiceExt as _,
    model::CallToolRequestParams,
    transport::{StreamableHttpClientTransport, streamable_http_client::StreamableHttpClientTransportConfig},
};
use serde::Deserialize;
use serde_json::json;

/// Connects a device to an MCP server and calls one of its tools.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// The MCP server.
    #[arg(default_value = "http://127.0.0.1:8001/mcp")]
    server: String,
    /// The authorization server.
    #[arg(long, default_value = "http://127.0.0.1:8000")]
    issuer: String,
    /// Who this client is there: a public client that may use the device grant [default: it registers itself].
    #[arg(long)]
    client_id: Option<String>,
    /// What is asked for, tokens with a space between [default: what the server gives by itself].
    #[arg(long)]
    scope: Option<String>,
    /// The tool to call.
    #[arg(long, default_value = "hello")]
    tool: String,
}

/// What the authorization server says of itself (RFC 8414), as far as it is needed here.
#[derive(Deserialize)]
#[expect(clippy::struct_field_names, reason = "the names are those of RFC 8414")]
struct Endpoints {
    device_authorization_endpoint: String,
    token_endpoint: String,
    /// Absent when clients cannot register themselves.
    registration_endpoint: Option<String>,
}

/// What a registration is answered with (RFC 7591 §3.2.1), as far as it is needed here.
#[derive(Deserialize)]
struct Registered {
    client_id: String,
}

/// Both codes, and what goes with them (RFC 8628 §3.2).
#[derive(Deserialize)]
struct Codes {
    device_code: String,
    user_code: String,
    verification_uri: String,
    verification_uri_complete: Option<String>,
    expires_in: u64,
    /// "If no value is provided, clients MUST use 5 as the default."
    #[serde(default = "five")]
    interval: u64,
}

const fn five() -> u64 {
    5
}

/// What a poll is answered with.
#[derive(Deserialize)]
#[serde(untagged)]
enum Answer {
    Token { access_token: String },
    Error { error: String },
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let http = reqwest::Client::new();
    let endpoints = Endpoints::discover(&http, &arguments.issuer).await?;
    let client_id = match &arguments.client_id {
        Some(client_id) => client_id.clone(),
        None => endpoints.register(&http).await?,
    };
    let codes = endpoints.begin(&http, &client_id, &arguments).await?;
    show(&codes)?;
    let token = endpoints.wait(&http, &client_id, &codes).await?;
    call(&arguments, token).await
}

impl Endpoints {
    async fn discover(http: &reqwest::Client, issuer: &str) -> anyhow::Result<Self> {
        let url = format!("{issuer}/.well-known/oauth-authorization-server");
        let answer = http
            .get(&url)
            .send()
            .await
            .and_then(reqwest::Response::error_for_status)
            .with_context(|| format!("no authorization server answers at {issuer}"))?;
        Ok(answer.json().await?)
    }

    /// Registers a public client that may do no more than this one does (RFC 7591). Without a browser that comes back it
    /// has no redirect URI. A device that is to stay would keep its identifier, and its refresh token.
    async fn register(&self, http: &reqwest::Client) -> anyhow::Result<String> {
        let endpoint = self
            .registration_endpoint
            .as_ref()
            .context("clients cannot register themselves at this server: say --client-id")?;
        let answer = http
            .post(endpoint)
            .json(&json!({
                "client_name": "Hello device",
                "token_endpoint_auth_method": "none",
                "grant_types": ["urn:ietf:params:oauth:grant-type:device_code", "refresh_token"],
                "response_types": [],
            }))
            .send()
            .await?;
        if !answer.status().is_success() {
            bail!(
                "the server does not register this client, so say --client-id: {}",
                answer.text().await?
            );
        }
        let registered: Registered = answer.json().await?;
        println!("Registered as {}.\n", registered.client_id);
        Ok(registered.client_id)
    }

    async fn begin(
        &self,
        http: &reqwest::Client,
        client_id: &str,
        arguments: &Arguments,
    ) -> anyhow::Result<Codes> {
        let mut form = vec![("client_id", client_id), ("resource", &arguments.server)];
        form.extend(arguments.scope.as_deref().map(|scope| ("scope", scope)));
        let answer = http
            .post(&self.device_authorization_endpoint)
            .form(&form)
            .send()
            .await?;
        if !answer.status().is_success() {
            bail!("the server gives no code: {}", answer.text().await?);
        }
        Ok(answer.json().await?)
    }

    /// Asks again and again (RFC 8628 §3.5). A connection that breaks is a reason to wait longer, not to give up.
    async fn wait(&self, http: &reqwest::Client, client_id: &str, codes: &Codes) -> anyhow::Result<String> {
        let form = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:device_code"),
            ("device_code", &codes.device_code),
            ("client_id", client_id),
        ];
        let started = Instant::now();
        let mut interval = Duration::from_secs(codes.interval);
        while started.elapsed() < Duration::from_secs(codes.expires_in) {
            tokio::time::sleep(interval).await;
            let Ok(answer) = http.post(&self.token_endpoint).form(&form).send().await else {
                interval *= 2;
                continue;
            };
            match answer.json().await? {
                Answer::Token { access_token } => return Ok(access_token),
                Answer::Error { error } => match error.as_str() {
                    "authorization_pending" => {}
                    "slow_down" => interval += Duration::from_secs(5),
                    "access_denied" => bail!("the person said no"),
                    "expired_token" => break,
                    other => bail!("the server answers {other}"),
                },
            }
        }
        bail!("nobody typed the code in time; start again")
    }
}

/// Shows the code, the address, and both together as a QR code for a phone.
fn show(codes: &Codes) -> anyhow::Result<()> {
    println!(
        "On a phone or a computer, open\n\n  {}\n\nand type\n\n  {}\n",
        codes.verification_uri, codes.user_code
    );
    if let Some(complete) = &codes.verification_uri_complete {
        let code = QrCode::new(complete).context("the address is too long for a QR code")?;
        // Dark on light, whatever the terminal's colours are: cameras read it that way round.
        let image = code
            .render::<unicode::Dense1x2>()
            .dark_color(unicode::Dense1x2::Dark)
            .light_color(unicode::Dense1x2::Light)
            .build();
        println!("or scan this, and check that the page shows the same code:\n");
        for line in image.lines() {
            println!("\u{1b}[30;47m{line}\u{1b}[0m");
        }
        println!("\n  {complete}\n");
    }
    println!("Waiting …");
    Ok(())
}

/// With a token in hand, the server answers.
async fn call(arguments: &Arguments, token: String) -> anyhow::Result<()> {
    let config = StreamableHttpClientTransportConfig::with_uri(arguments.server.as_str()).auth_header(token);
    let session = ().serve(StreamableHttpClientTransport::from_config(config)).await;
    let session = session.map_err(|error| anyhow!("{error}"))?;
    let tools = session.list_all_tools().await?;
    let names: Vec<_> = tools.iter().map(|tool| tool.name.as_ref()).collect();
    println!("Connected. The server offers: {}", names.join(", "));
    let result = session
        .call_tool(CallToolRequestParams::new(arguments.tool.clone()))
        .await?;
    for text in result.content.iter().filter_map(|part| part.as_text()) {
        println!("{} says: {}", arguments.tool, text.text);
    }
    ensure!(result.is_error != Some(true), "the tool failed");
    session.cancel().await?;
    Ok(())
}
