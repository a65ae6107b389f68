//! Where a token counts at a protected server, and who may keep an answer.

use reqwest::{Method, header};
use serde_json::json;

use super::{
    gateway::Start,
    upstream::{Upstream, tools},
};

/// RP-05: in one header, and nowhere else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_anywhere_but_in_its_header_lets_nobody_in() {
    let upstream = Upstream::start(tools());
    let gateway = Start::before(&upstream.url()).run().unwrap();
    let client = gateway.sign_in(None).await;
    let token = &client.token;
    let message = json!({
        "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": "read_note", "arguments": {} },
    });
    let before = upstream.all().len();
    let url = gateway.endpoint();
    let post = |url: &str| gateway.http.post(url).json(&message);
    let in_query = format!("{url}?access_token={token}");
    let cookie = format!("access_token={token}; authorization=Bearer {token}; __Host-authflow={token}");
    for (place, request, status) in [
        ("query", post(&in_query), 400),
        ("query and header", post(&in_query).bearer_auth(token), 400),
        (
            "form",
            gateway.http.post(&url).form(&[("access_token", token)]),
            401,
        ),
        ("X-Access-Token", post(&url).header("x-access-token", token), 401),
        (
            "X-Authorization",
            post(&url).header("x-authorization", format!("Bearer {token}")),
            401,
        ),
        ("cookie", post(&url).header("cookie", &cookie), 401),
        ("Basic", post(&url).basic_auth(token, Some(token)), 401),
        (
            "WebSocket sub-protocol",
            gateway
                .http
                .get(&url)
                .header("connection", "upgrade")
                .header("upgrade", "websocket")
                .header("sec-websocket-version", "13")
                .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
                .header("sec-websocket-protocol", format!("mcp, bearer.{token}")),
            401,
        ),
        (
            "two headers",
            post(&url)
                .bearer_auth(token)
                .header("authorization", format!("Bearer {token}")),
            400,
        ),
    ] {
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), status, "{place}");
        assert!(
            !response.text().await.unwrap().contains(token.as_str()),
            "{place}"
        );
    }
    assert_eq!(upstream.all().len(), before, "nothing may reach the upstream");
    assert_eq!(client.call("read_note", json!({})).await.status(), 200);
}

/// CH-05: no shared cache keeps what one caller was told, nor a refusal.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_answer_is_for_another_caller() {
    let upstream = Upstream::start(tools());
    let gateway = Start::before(&upstream.url()).run().unwrap();
    let client = gateway.sign_in(None).await;
    let good = client.call("read_note", json!({})).await;
    let narrow = client.call("delete_note", json!({})).await;
    let without = gateway.ask(Method::POST, "/mcp").await;
    let stranger = gateway.client("mcpat_nobodys").call("read_note", json!({})).await;
    for (response, status, kept) in [
        (good, 200, "private"),
        (narrow, 403, "no-store"),
        (without, 401, "no-store"),
        (stranger, 401, "no-store"),
    ] {
        assert_eq!(response.status(), status);
        let headers = response.headers();
        assert_eq!(headers[header::CACHE_CONTROL], kept, "{status}");
        let vary: Vec<&str> = headers
            .get_all(header::VARY)
            .iter()
            .flat_map(|value| value.to_str().unwrap().split(','))
            .map(str::trim)
            .collect();
        for name in ["Authorization", "Origin"] {
            assert!(vary.contains(&name), "{status}: {vary:?}");
        }
        // What the upstream's own answers are is the upstream's to say.
        assert!(
            status == 200 || headers["x-content-type-options"] == "nosniff",
            "{status}"
        );
        for telltale in ["server", "x-powered-by"] {
            assert!(!headers.contains_key(telltale), "{status}");
        }
    }
}
