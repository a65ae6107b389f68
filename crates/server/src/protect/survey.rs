//! Asks the MCP server which tools it has, as any client would: through the proxy, so that whatever reaches the one
//! reaches the other.
//!
//! Servers of every age are asked in their own way: with a session (2025-03-26 to 2025-11-25), without one (2026-07-28),
//! and over the older transport, where answers come on a stream beside (2024-11-05).

use std::time::Duration;

use axum::{body::Body, response::Response};
use futures_util::StreamExt as _;
use http::{HeaderValue, Method, Request, StatusCode, header};
use serde_json::{Value, json};
use tower::{ServiceExt as _, util::BoxCloneSyncService};

use super::events::{Event, Events};

/// The service that is asked: the proxy, behind a door that knows our own pass.
pub(super) type Asked = BoxCloneSyncService<Request<Body>, Response, std::convert::Infallible>;

/// How long all questions together may take.
const TIME_LIMIT: Duration = Duration::from_secs(10);
/// The most bytes of one answer.
const MAX_ANSWER_BYTES: usize = 8 << 20;
/// The most pages of a list, and the most tools altogether.
const MAX_PAGES: usize = 100;
const MAX_TOOLS: usize = 10_000;
/// What is offered to servers with sessions, and spoken to those without.
const OFFERED_VERSION: &str = "2025-11-25";
const STATELESS_VERSION: &str = "2026-07-28";
/// What a body without sessions says of itself (MCP 2026-07-28).
const META: [&str; 3] = [
    "io.modelcontextprotocol/protocolVersion",
    "io.modelcontextprotocol/clientCapabilities",
    "io.modelcontextprotocol/clientInfo",
];

/// What the server says of itself and its tools.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// What it calls itself.
    pub(crate) name: Option<String>,
    /// Its tools, in its order.
    pub(crate) tools: Vec<Tool>,
}

/// A tool, and what its annotations say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tool {
    pub(crate) name: String,
    /// `readOnlyHint`
    pub(crate) read_only: Option<bool>,
    /// `destructiveHint`
    pub(crate) destructive: Option<bool>,
}

/// Why the tools are not known. For the log.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotRead {
    #[error("the MCP server answered {0}")]
    Status(StatusCode),
    #[error("the MCP server cannot be reached, or broke off")]
    NotReached,
    #[error("the MCP server answered with the error {code}: {message}")]
    Error { code: i64, message: String },
    #[error("the MCP server took the question and did not answer it")]
    NoAnswer,
    #[error("the MCP server's answer makes no sense: {0}")]
    BadAnswer(&'static str),
    #[error("the MCP server did not answer in {} s", TIME_LIMIT.as_secs())]
    TimedOut,
}

impl NotRead {
    /// The same for the person who has just started this.
    pub(crate) fn at_the_start(&self) -> String {
        match self {
            Self::NotReached | Self::TimedOut => "not reached yet; trying again until it is".to_owned(),
            Self::Status(status @ (StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED)) => {
                format!("it answered {status}: is this the whole address, with its path? Trying again")
            }
            other => format!("{other}; trying again"),
        }
    }
}

/// Whoever asks.
#[derive(Clone)]
pub(crate) struct Survey {
    service: Asked,
    authorization: HeaderValue,
}

impl Survey {
    /// `pass` is the bearer token that `service` lets in.
    pub(super) fn new(service: Asked, pass: &str) -> Self {
        let mut authorization =
            HeaderValue::try_from(format!("Bearer {pass}")).unwrap_or(HeaderValue::from_static(""));
        authorization.set_sensitive(true);
        Self {
            service,
            authorization,
        }
    }

    /// Reads name and tools.
    pub(crate) async fn read(&self) -> Result<Found, NotRead> {
        tokio::time::timeout(TIME_LIMIT, self.read_in_its_way())
            .await
            .unwrap_or(Err(NotRead::TimedOut))
    }

    async fn read_in_its_way(&self) -> Result<Found, NotRead> {
        match self.with_session().await {
            // The older transport takes no POST there, or says nothing to it.
            Err(
                first @ (NotRead::Status(StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED)
                | NotRead::NoAnswer),
            ) => self.on_a_stream().await.map_err(|_| first),
            // Whoever knows no sessions does not know this method, or wants headers with it.
            Err(NotRead::Status(StatusCode::BAD_REQUEST) | NotRead::Error { .. }) => {
                self.without_session().await
            }
            other => other,
        }
    }

    /// MCP 2025-03-26 to 2025-11-25.
    async fn with_session(&self) -> Result<Found, NotRead> {
        let response = self.post("/mcp", &initialize(), &[]).await?;
        let session = response.headers().get("mcp-session-id").cloned();
        let welcome = answer(response, 1).await?;
        let version = welcome["protocolVersion"].as_str().unwrap_or(OFFERED_VERSION);
        let version = HeaderValue::try_from(version).map_err(|_| NotRead::BadAnswer("protocolVersion"))?;
        let mut headers = vec![("mcp-protocol-version", version)];
        if let Some(session) = &session {
            headers.push(("mcp-session-id", session.clone()));
        }
        let read = async {
            self.post("/mcp", &initialized(), &headers).await?;
            if welcome["capabilities"].get("tools").is_none() {
                return Ok(Vec::new());
            }
            let mut pages = Pages::default();
            while let Some(question) = pages.question() {
                let response = self.post("/mcp", &question, &headers).await?;
                pages.take(&answer(response, pages.id()).await?)?;
            }
            Ok(pages.tools)
        };
        let tools = read.await;
        if session.is_some() {
            // A courtesy; servers that do not know it say so.
            let _ = self.send(Method::DELETE, "/mcp", Body::empty(), &headers).await;
        }
        Ok(Found {
            name: name(&welcome),
            tools: tools?,
        })
    }

    /// MCP 2026-07-28: each question stands for itself.
    async fn without_session(&self) -> Result<Found, NotRead> {
        let ask = async |mut question: Value| {
            let meta = [
                json!(STATELESS_VERSION),
                json!({}),
                json!({ "name": "authflow-protect", "version": env!("CARGO_PKG_VERSION") }),
            ];
            question["params"]["_meta"] = META.iter().map(|name| (*name).to_owned()).zip(meta).collect();
            let method = question["method"].as_str().unwrap_or_default();
            let headers = [
                (
                    "mcp-protocol-version",
                    HeaderValue::from_static(STATELESS_VERSION),
                ),
                (
                    "mcp-method",
                    HeaderValue::try_from(method).unwrap_or(HeaderValue::from_static("")),
                ),
            ];
            let id = question["id"].as_i64().unwrap_or_default();
            answer(self.post("/mcp", &question, &headers).await?, id).await
        };
        let welcome =
            ask(json!({ "jsonrpc": "2.0", "id": 1, "method": "server/discover", "params": {} })).await;
        let mut pages = Pages::default();
        while let Some(question) = pages.question() {
            pages.take(&ask(question).await?)?;
        }
        Ok(Found {
            name: welcome.ok().as_ref().and_then(name),
            tools: pages.tools,
        })
    }

    /// MCP 2024-11-05: questions go to the address that the stream names first, answers come on the stream.
    async fn on_a_stream(&self) -> Result<Found, NotRead> {
        let stream = self.send(Method::GET, "/mcp", Body::empty(), &[]).await?;
        if !is_event_stream(&stream) {
            return Err(NotRead::BadAnswer("neither streamable HTTP nor HTTP with SSE"));
        }
        let mut events = Events::new(stream.into_body(), MAX_ANSWER_BYTES);
        let first = events.next().await.map_err(NotRead::BadAnswer)?;
        let endpoint = first
            .filter(|event| event.name == "endpoint")
            .ok_or(NotRead::BadAnswer("the stream does not begin with its endpoint"))?
            .data;
        let endpoint = path_of(&endpoint);
        self.post(endpoint, &initialize(), &[]).await?;
        let welcome = on_stream(&mut events, 1).await?;
        self.post(endpoint, &initialized(), &[]).await?;
        let mut pages = Pages::default();
        if welcome["capabilities"].get("tools").is_some() {
            while let Some(question) = pages.question() {
                self.post(endpoint, &question, &[]).await?;
                pages.take(&on_stream(&mut events, pages.id()).await?)?;
            }
        }
        Ok(Found {
            name: name(&welcome),
            tools: pages.tools,
        })
    }

    async fn post(
        &self,
        path: &str,
        message: &Value,
        headers: &[(&'static str, HeaderValue)],
    ) -> Result<Response, NotRead> {
        self.send(Method::POST, path, Body::from(message.to_string()), headers)
            .await
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Body,
        headers: &[(&'static str, HeaderValue)],
    ) -> Result<Response, NotRead> {
        let is_get = method == Method::GET;
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = path
            .parse()
            .map_err(|_| NotRead::BadAnswer("the endpoint is no address"))?;
        let sent = request.headers_mut();
        sent.insert(header::AUTHORIZATION, self.authorization.clone());
        sent.insert(
            header::ACCEPT,
            HeaderValue::from_static(if is_get {
                "text/event-stream"
            } else {
                "application/json, text/event-stream"
            }),
        );
        if !is_get {
            sent.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        for (name, value) in headers {
            sent.insert(*name, value.clone());
        }
        let Ok(response) = self.service.clone().oneshot(request).await;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        // Servers of 2026-07-28 answer 400 with a JSON-RPC error.
        let body = axum::body::to_bytes(response.into_body(), 64 << 10)
            .await
            .unwrap_or_default();
        match serde_json::from_slice::<Value>(&body).as_ref().map(result_of) {
            Ok(Err(error @ NotRead::Error { .. })) if status == StatusCode::BAD_REQUEST => Err(error),
            _ if matches!(status, StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT) => {
                Err(NotRead::NotReached)
            }
            _ => Err(NotRead::Status(status)),
        }
    }
}

/// The pages of `tools/list`.
#[derive(Default)]
struct Pages {
    asked: i64,
    is_last: bool,
    cursor: Option<Value>,
    tools: Vec<Tool>,
}

impl Pages {
    /// The number of the last question. The first two are the welcome's.
    fn id(&self) -> i64 {
        self.asked + 1
    }

    /// The question for the next page.
    fn question(&mut self) -> Option<Value> {
        if self.is_last {
            return None;
        }
        self.asked += 1;
        let mut question = json!({ "jsonrpc": "2.0", "id": self.id(), "method": "tools/list", "params": {} });
        if let Some(cursor) = self.cursor.take() {
            question["params"]["cursor"] = cursor;
        }
        Some(question)
    }

    fn take(&mut self, page: &Value) -> Result<(), NotRead> {
        let tools = page["tools"]
            .as_array()
            .ok_or(NotRead::BadAnswer("a list without tools"))?;
        for tool in tools {
            let name = tool["name"]
                .as_str()
                .ok_or(NotRead::BadAnswer("a tool without a name"))?;
            let hint = |name: &str| tool["annotations"][name].as_bool();
            self.tools.push(Tool {
                name: name.to_owned(),
                read_only: hint("readOnlyHint"),
                destructive: hint("destructiveHint"),
            });
        }
        self.cursor = page
            .get("nextCursor")
            .filter(|cursor| cursor.is_string())
            .cloned();
        self.is_last = self.cursor.is_none();
        let pages = usize::try_from(self.asked).unwrap_or(usize::MAX);
        if !self.is_last && (pages >= MAX_PAGES || self.tools.len() >= MAX_TOOLS) {
            return Err(NotRead::BadAnswer("the list of tools has no end"));
        }
        Ok(())
    }
}

fn initialize() -> Value {
    json!({
        "jsonrpc": "2.0", "id": 1, "method": "initialize",
        "params": {
            "protocolVersion": OFFERED_VERSION,
            "capabilities": {},
            "clientInfo": { "name": "authflow-protect", "version": env!("CARGO_PKG_VERSION") },
        },
    })
}

fn initialized() -> Value {
    json!({ "jsonrpc": "2.0", "method": "notifications/initialized" })
}

fn name(welcome: &Value) -> Option<String> {
    let info = &welcome["serverInfo"];
    let name = info["title"].as_str().or_else(|| info["name"].as_str())?;
    let name = name.trim().chars().filter(|c| !c.is_control()).take(100);
    Some(name.collect()).filter(|name: &String| !name.is_empty())
}

fn is_event_stream(response: &Response) -> bool {
    response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"text/event-stream"))
}

/// The answer to the question with this number, in whichever form it comes.
async fn answer(response: Response, id: i64) -> Result<Value, NotRead> {
    if is_event_stream(&response) {
        return on_stream(&mut Events::new(response.into_body(), MAX_ANSWER_BYTES), id).await;
    }
    let mut bytes = Vec::new();
    let mut body = response.into_body().into_data_stream();
    while let Some(piece) = body.next().await {
        let piece = piece.map_err(|_| NotRead::BadAnswer("the answer broke off"))?;
        if bytes.len() + piece.len() > MAX_ANSWER_BYTES {
            return Err(NotRead::BadAnswer("the answer is too long"));
        }
        bytes.extend_from_slice(&piece);
    }
    if bytes.is_empty() {
        return Err(NotRead::NoAnswer);
    }
    let message: Value = serde_json::from_slice(&bytes).map_err(|_| NotRead::BadAnswer("it is no JSON"))?;
    result_of(&message)
}

async fn on_stream(events: &mut Events, id: i64) -> Result<Value, NotRead> {
    while let Some(Event { data, .. }) = events.next().await.map_err(NotRead::BadAnswer)? {
        // Requests and notifications of the server's own are none of our business.
        if let Ok(message) = serde_json::from_str::<Value>(&data)
            && message["id"] == id
            && message.get("method").is_none()
        {
            return result_of(&message);
        }
    }
    Err(NotRead::BadAnswer("the stream ended before the answer"))
}

fn result_of(message: &Value) -> Result<Value, NotRead> {
    if let Some(error) = message.get("error") {
        let message = error["message"].as_str().unwrap_or_default();
        return Err(NotRead::Error {
            code: error["code"].as_i64().unwrap_or_default(),
            message: message.chars().filter(|c| !c.is_control()).take(200).collect(),
        });
    }
    message
        .get("result")
        .cloned()
        .ok_or(NotRead::BadAnswer("neither result nor error"))
}

/// Path and query of an address that may be written in full.
fn path_of(address: &str) -> &str {
    match address.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("/", |at| &rest[at..]),
        None => address,
    }
}
