//! Where requests to a protected server say they go.

use reqwest::Method;
use serde_json::{Value, json};

use super::{
    gateway::Start,
    upstream::{Upstream, tools},
};
use crate::public::{OTHER_HOSTS, ask_by_hand, body_of, is_no_request};

/// HH-01: the documents, the challenge and what reaches the upstream say the configured address.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_host_in_a_request_is_in_an_answer_or_reaches_the_upstream() {
    let upstream = Upstream::start(tools());
    let gateway = Start::before(&upstream.url()).run().unwrap();
    let own = gateway.origin.strip_prefix("http://").unwrap().to_owned();
    let port = own.rsplit_once(':').unwrap().1.parse().unwrap();
    let client = gateway.sign_in(None).await;
    let message = json!({
        "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": "read_note", "arguments": {} },
    })
    .to_string();
    let call = format!(
        "Authorization: Bearer {}\r\nContent-Type: application/json\r\nAccept: application/json, text/event-stream\r\n\
         Content-Length: {}",
        client.token,
        message.len()
    );
    for (start, rest) in [
        (
            "GET /.well-known/oauth-protected-resource/mcp",
            "\r\n\r\n".to_owned(),
        ),
        ("GET /.well-known/oauth-protected-resource", "\r\n\r\n".to_owned()),
        (
            "GET /.well-known/oauth-authorization-server",
            "\r\n\r\n".to_owned(),
        ),
        ("GET /.well-known/openid-configuration", "\r\n\r\n".to_owned()),
        ("GET /mcp", "\r\n\r\n".to_owned()),
        ("GET /nowhere", "\r\n\r\n".to_owned()),
        ("POST /mcp", format!("\r\n{call}\r\n\r\n{message}")),
    ] {
        let ask = async |lines: &str| {
            let request = format!("{start} HTTP/1.1\r\n{lines}\r\nConnection: close{rest}");
            ask_by_hand(port, &request).await
        };
        let (expected, right) = ask(&format!("Host: {own}")).await;
        for lines in OTHER_HOSTS {
            let lines = lines.replace("{}", &own);
            let before = upstream.calls().len();
            let (status, said) = ask(&lines).await;
            if is_no_request(&lines) {
                assert_eq!(status, 400, "{start} {lines:?}: {said}");
                assert_eq!(upstream.calls().len(), before, "{start} {lines:?}");
            } else if status != 400 && status != 421 {
                assert_eq!(status, expected, "{start} {lines:?}");
                assert_eq!(body_of(&said), body_of(&right), "{start} {lines:?}");
            }
            assert!(
                !said.contains("evil") && !said.contains("31337"),
                "{start} {lines:?}: {said}"
            );
            for arrived in &upstream.calls()[before..] {
                let shown = format!("{:?}", arrived.headers);
                assert!(
                    !shown.contains("evil") && !shown.contains("31337"),
                    "{lines:?}: {shown}"
                );
                assert_eq!(arrived.headers["host"], upstream.address.to_string());
                assert_eq!(arrived.headers["x-forwarded-host"], own.as_str());
            }
        }
    }
    let document: Value = gateway
        .ask(Method::GET, "/.well-known/oauth-protected-resource")
        .await
        .json()
        .await
        .unwrap();
    assert_eq!(document["resource"], gateway.endpoint());
}
