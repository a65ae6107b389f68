//! In front of servers that speak the transports of other years.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Json, Router,
    body::Body,
    extract::State,
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use http::{HeaderMap, StatusCode, header};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::{gateway::Start, json_of};

fn serve(app: Router) -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(
        axum_server::from_tcp(listener)
            .unwrap()
            .serve(app.into_make_service()),
    );
    address
}

fn result_of(message: &Value) -> Option<Value> {
    let result = match message["method"].as_str()? {
        "initialize" | "server/discover" => json!({
            "protocolVersion": message["params"]["protocolVersion"],
            "supportedVersions": ["2026-07-28"],
            "capabilities": { "tools": {} },
            "serverInfo": { "name": "other times", "version": "1" },
        }),
        "tools/list" => json!({ "tools": [
            { "name": "read", "inputSchema": { "type": "object" }, "annotations": { "readOnlyHint": true } },
        ] }),
        "tools/call" => json!({ "content": [{ "type": "text", "text": "done" }] }),
        _ => return None,
    };
    Some(json!({ "jsonrpc": "2.0", "id": message["id"], "result": result }))
}

/// What is to be said on the one stream that the small server below has at a time.
type Said = Arc<Mutex<Option<mpsc::UnboundedSender<String>>>>;

/// MCP 2024-11-05
fn with_events() -> Router {
    async fn listen(State(said): State<Said>) -> Response {
        let (sender, mut receiver) = mpsc::unbounded_channel();
        sender
            .send("event: endpoint\ndata: /messages/?session_id=s1\n\n".to_owned())
            .unwrap();
        *said.lock().unwrap() = Some(sender);
        let events = futures_util::stream::poll_fn(move |context| {
            receiver
                .poll_recv(context)
                .map(|event| event.map(Ok::<_, std::io::Error>))
        });
        (
            [(header::CONTENT_TYPE, "text/event-stream")],
            Body::from_stream(events),
        )
            .into_response()
    }
    async fn hear(State(said): State<Said>, uri: http::Uri, Json(message): Json<Value>) -> StatusCode {
        if uri.query() != Some("session_id=s1") {
            return StatusCode::NOT_FOUND;
        }
        if let (Some(answer), Some(sender)) = (result_of(&message), &*said.lock().unwrap()) {
            sender
                .send(format!("event: message\ndata: {answer}\n\n"))
                .unwrap();
        }
        StatusCode::ACCEPTED
    }
    Router::new()
        .route("/sse", get(listen))
        .route("/messages/", post(hear))
        .with_state(Said::default())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_with_the_older_transport_is_protected_and_its_tools_are_read() {
    let address = serve(with_events());
    let url = format!("http://{address}/sse");
    let gateway = Start::before(&url).run().unwrap();
    assert!(
        gateway.output().contains("other times, 1 tool"),
        "{}",
        gateway.output()
    );
    for path in ["/sse", "/mcp"] {
        assert_eq!(gateway.ask(Method::GET, path).await.status(), 401, "{path}");
    }
    let client = gateway.sign_in(None).await;
    for path in ["/sse", "/mcp"] {
        let mut stream = client.request(Method::GET, path).send().await.unwrap();
        assert_eq!(stream.status(), 200, "{path}");
        let mut heard = String::new();
        let mut hear = async |needle: &str| {
            while !heard.contains(needle) {
                let piece = tokio::time::timeout(Duration::from_secs(10), stream.chunk());
                let piece = piece
                    .await
                    .unwrap_or_else(|_| panic!("{path} {needle:?} after {heard:?}: {}", gateway.output()))
                    .unwrap()
                    .expect("the stream goes on");
                heard.push_str(std::str::from_utf8(&piece).unwrap());
            }
            heard.clone()
        };
        let first = hear("\n\r\n").await;
        let endpoint = first
            .lines()
            .find_map(|line| line.strip_prefix("data: "))
            .unwrap();
        let endpoint = endpoint
            .strip_prefix(&*gateway.origin)
            .unwrap_or(endpoint)
            .to_owned();
        assert!(endpoint.starts_with("/mcp/"), "{endpoint}");
        let call = json!({ "jsonrpc": "2.0", "id": 5, "method": "tools/call", "params": { "name": "read" } });
        let sent = client
            .request(Method::POST, &endpoint)
            .json(&call)
            .send()
            .await
            .unwrap();
        assert_eq!(sent.status(), 202, "{endpoint}");
        assert!(hear("done").await.contains("\"id\":5"));
        let more =
            json!({ "jsonrpc": "2.0", "id": 6, "method": "tools/call", "params": { "name": "write" } });
        let refused = client
            .request(Method::POST, &endpoint)
            .json(&more)
            .send()
            .await
            .unwrap();
        assert_eq!(refused.status(), 403);
        let without = gateway.ask(Method::POST, &endpoint).await;
        assert_eq!(without.status(), 401);
    }
}

/// MCP 2026-07-28, and nothing before it.
fn without_sessions() -> Router {
    async fn hear(headers: HeaderMap, Json(message): Json<Value>) -> Response {
        let version = headers
            .get("mcp-protocol-version")
            .map(http::HeaderValue::as_bytes);
        let method = headers.get("mcp-method").and_then(|value| value.to_str().ok());
        let meta = &message["params"]["_meta"];
        let is_whole = meta["io.modelcontextprotocol/protocolVersion"] == "2026-07-28"
            && meta["io.modelcontextprotocol/clientCapabilities"].is_object();
        if version != Some(b"2026-07-28") || method != message["method"].as_str() || !is_whole {
            let error = json!({ "code": -32022, "message": "Unsupported protocol version" });
            let body = json!({ "jsonrpc": "2.0", "id": message["id"], "error": error });
            return (StatusCode::BAD_REQUEST, Json(body)).into_response();
        }
        result_of(&message).map_or(StatusCode::ACCEPTED.into_response(), |answer| {
            Json(answer).into_response()
        })
    }
    Router::new().route("/mcp", post(hear))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_sessions_is_protected_and_its_tools_are_read() {
    let address = serve(without_sessions());
    let url = format!("http://{address}/mcp");
    let gateway = Start::before(&url).run().unwrap();
    assert!(
        gateway.output().contains("other times, 1 tool"),
        "{}",
        gateway.output()
    );
    let client = gateway.sign_in(None).await;
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let call = |tool: &str| {
        let params = json!({ "name": tool, "arguments": {}, "_meta": meta });
        let message = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params });
        client
            .request(Method::POST, "/mcp")
            .header("mcp-protocol-version", "2026-07-28")
            .header("mcp-method", "tools/call")
            .header("mcp-name", "read")
            .json(&message)
            .send()
    };
    let (status, answer) = json_of(call("read").await.unwrap()).await;
    assert_eq!(
        (status, &answer["result"]["content"][0]["text"]),
        (200, &json!("done")),
        "{answer}"
    );
    // M-131: who looks at the headers alone would let this through.
    let (status, answer) = json_of(call("write").await.unwrap()).await;
    assert_eq!(
        (status, &answer["error"]["code"]),
        (400, &json!(-32020)),
        "{answer}"
    );
}
