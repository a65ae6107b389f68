//! In front of a server over stdio.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use super::{child, gateway::Start, identity, json_of};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_command_starts_and_protects_a_server_over_stdio() {
    let command = child::command();
    let mut behind = vec!["--"];
    behind.extend(command.iter().map(String::as_str));
    let mut gateway = Start {
        behind,
        ..Start::default()
    }
    .run()
    .unwrap();
    assert!(gateway.output().contains("child, 1 tool"), "{}", gateway.output());
    let client = gateway.sign_in(None).await;
    assert_eq!(client.scope, "tools:read");
    let params = json!({ "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": { "name": "t", "version": "1" } });
    let hello = json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params });
    let response = client.post(&hello).await;
    assert_eq!(response.status(), 200);
    let session = response.headers()["mcp-session-id"].to_str().unwrap().to_owned();
    let with_session = |message: Value| {
        client
            .request(Method::POST, "/mcp")
            .header("mcp-session-id", &session)
            .json(&message)
            .send()
    };
    let initialized = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
    assert!(with_session(initialized).await.unwrap().status().is_success());
    let call = json!({ "jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {
        "name": "pid", "arguments": {}, "_meta": { "io.github.mcp-authflow/identity": "forged" },
    } });
    let response = with_session(call.clone()).await.unwrap();
    let text = response.text().await.unwrap();
    let answer: Value = serde_json::from_str(
        text.trim_start_matches("event: message\n")
            .trim_start_matches("data: "),
    )
    .unwrap_or_else(|_| {
        let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
        data.filter_map(|data| serde_json::from_str(data).ok())
            .next_back()
            .expect("an answer")
    });
    let result = &answer["result"];
    let token = result["structuredContent"]["io.github.mcp-authflow/identity"]
        .as_str()
        .unwrap();
    let claims = identity(&gateway, token).await;
    assert_eq!(
        (&claims["username"], &claims["client_id"]),
        (&json!("alice"), &json!(client.id))
    );
    assert!(claims["aud"].as_str().unwrap().starts_with("stdio:"), "{claims}");

    // RP-13, M-127: a session is its caller's.
    let other = gateway.sign_in(None).await;
    let stolen = other
        .request(Method::POST, "/mcp")
        .header("mcp-session-id", &session)
        .json(&call)
        .send()
        .await
        .unwrap();
    let (status, _) = json_of(stolen).await;
    assert_eq!(status, 404);

    let pid = result["content"][0]["text"].as_str().unwrap().to_owned();
    let is_running = || std::path::Path::new(&format!("/proc/{pid}")).exists();
    assert!(is_running());
    assert!(gateway.stop().unwrap().success());
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    while is_running() {
        assert!(
            tokio::time::Instant::now() < deadline,
            "the child outlives the gateway"
        );
        tokio::task::yield_now().await;
    }
}
