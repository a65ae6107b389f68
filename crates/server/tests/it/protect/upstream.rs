//! A small MCP server that knows nothing of sign-in, and writes down what reaches it.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    response::{IntoResponse as _, Response},
    routing::any,
};
use http::{HeaderMap, Method, StatusCode, header};
use serde_json::{Value, json};
use tokio::sync::watch;

/// One request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Arrived {
    pub(crate) headers: HeaderMap,
    pub(crate) message: Value,
}

/// The server; it ends with this value.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    known: Known,
    handle: axum_server::Handle<SocketAddr>,
}

#[derive(Clone)]
struct Known {
    arrived: Arc<Mutex<Vec<Arrived>>>,
    tools: watch::Sender<Value>,
}

/// One tool of each kind.
pub(crate) fn tools() -> Value {
    json!([
        { "name": "read_note", "inputSchema": { "type": "object" }, "annotations": { "readOnlyHint": true } },
        { "name": "add_note", "inputSchema": { "type": "object" }, "annotations": { "destructiveHint": false } },
        { "name": "delete_note", "inputSchema": { "type": "object" } },
    ])
}

impl Upstream {
    pub(crate) fn start(tools: Value) -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap(), tools)
    }

    pub(crate) fn start_at(address: SocketAddr, tools: Value) -> Self {
        let known = Known {
            arrived: Arc::default(),
            tools: watch::Sender::new(tools),
        };
        let app = Router::new().route("/mcp", any(mcp)).with_state(known.clone());
        let listener = std::net::TcpListener::bind(address).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let handle = axum_server::Handle::new();
        let server = axum_server::from_tcp(listener).unwrap().handle(handle.clone());
        tokio::spawn(server.serve(app.into_make_service()));
        Self {
            address,
            known,
            handle,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/mcp", self.address)
    }

    /// What arrived so far, the questions of the gateway itself apart.
    pub(crate) fn calls(&self) -> Vec<Arrived> {
        let is_call = |one: &&Arrived| one.message["method"] == "tools/call";
        self.known
            .arrived
            .lock()
            .unwrap()
            .iter()
            .filter(is_call)
            .cloned()
            .collect()
    }

    pub(crate) fn all(&self) -> Vec<Arrived> {
        self.known.arrived.lock().unwrap().clone()
    }

    /// Has other tools from now on, and says so on every stream.
    pub(crate) fn change_tools(&self, tools: Value) {
        self.known.tools.send_replace(tools);
    }

    pub(crate) fn stop(&self) {
        self.handle.shutdown();
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.stop();
    }
}

async fn mcp(State(known): State<Known>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let bytes = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let message: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    known.arrived.lock().unwrap().push(Arrived {
        headers: parts.headers,
        message: message.clone(),
    });
    if parts.method == Method::GET {
        // A stream that says hello, and then only when the tools change.
        let hello = futures_util::stream::once(async { Ok::<_, std::io::Error>(": hello\n\n") });
        let changes = futures_util::stream::unfold(known.tools.subscribe(), |mut tools| async {
            tools.changed().await.ok()?;
            let said = "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/tools/list_changed\"}\n\n";
            Some((Ok(said), tools))
        });
        let events = futures_util::StreamExt::chain(hello, changes);
        return (
            [(header::CONTENT_TYPE, "text/event-stream")],
            Body::from_stream(events),
        )
            .into_response();
    }
    let result = match message["method"].as_str().unwrap_or_default() {
        "initialize" => json!({
            "protocolVersion": message["params"]["protocolVersion"],
            "capabilities": { "tools": {} },
            "serverInfo": { "name": "notes", "title": "Team notes", "version": "1" },
        }),
        "tools/list" => json!({ "tools": *known.tools.borrow() }),
        "tools/call" => {
            if message["params"]["name"] == "slow" {
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            json!({ "content": [{ "type": "text", "text": "done" }] })
        }
        _ if message.get("id").is_none() => return StatusCode::ACCEPTED.into_response(),
        _ => {
            let error = json!({ "code": -32601, "message": "method not found" });
            return axum::Json(json!({ "jsonrpc": "2.0", "id": message["id"], "error": error }))
                .into_response();
        }
    };
    let answer = json!({ "jsonrpc": "2.0", "id": message["id"], "result": result });
    if parts.method == Method::DELETE {
        return StatusCode::OK.into_response();
    }
    axum::Json(answer).into_response()
}
