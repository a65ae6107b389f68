//! Many callers at a time: each is answered, and known to the upstream, as whom the own token says.

use std::{sync::Arc, time::Duration};

use http::StatusCode;
use mcp_authflow_protect::{Proxy, Upstream};
use serde_json::json;
use tokio::task::JoinSet;

use crate::{
    child::{Kind, upstream},
    support::{Front, Plain, Recorder, answer, json, request_of, text, with, within},
};

/// Where a signed identity is told to a child.
const META: &str = "io.github.mcp-authflow/identity";

/// RP-16: 64 at a time over few connections, which some leave in the middle of an exchange.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_answer_goes_to_another_caller_whoever_hangs_up() {
    const WORKERS: usize = 64;
    const ROUNDS: usize = 40;
    let echo = Recorder::start(|asked| {
        let identity = asked.headers["authflow-identity"].to_str().unwrap().to_owned();
        let said = format!("{identity} {}", String::from_utf8_lossy(&asked.body));
        answer(200, &[("content-type", "application/json")], said)
    })
    .await;
    let url = echo.url("/mcp");
    let proxy = Proxy::builder(Upstream::http(&url))
        .identity(Arc::new(Plain))
        .build()
        .unwrap();
    let front = Front::of(proxy);
    let mut workers = JoinSet::new();
    for worker in 0..WORKERS {
        let (front, url) = (front.clone(), url.clone());
        workers.spawn(async move {
            let mut hung_up = 0;
            for round in 0..ROUNDS {
                let user = format!("user-{worker}-{round}");
                let padding = "x".repeat(worker * round * 7);
                let body = json!({"id": 1, "mine": user, "padding": padding}).to_string();
                let asking = request_of(&format!("{user}.c1"), "POST", "/mcp", body.clone());
                let exchange = async { text(front.send(asking).await).await };
                if round % 4 == 3 {
                    let patience = Duration::from_micros(50 * u64::try_from(round).unwrap());
                    hung_up += usize::from(tokio::time::timeout(patience, exchange).await.is_err());
                    continue;
                }
                let (status, said) = within(exchange).await;
                assert_eq!(status, StatusCode::OK, "{said}");
                assert_eq!(said, format!("signed:{user}:{url} {body}"));
            }
            hung_up
        });
    }
    let hung_up: usize = workers.join_all().await.into_iter().sum();
    assert!(hung_up > 0, "somebody must leave, or nothing is shown");
    for asked in echo.asked.lock().unwrap().iter() {
        let body: serde_json::Value = serde_json::from_slice(&asked.body).unwrap();
        let identity = asked.headers["authflow-identity"].to_str().unwrap();
        assert_eq!(
            identity,
            format!("signed:{}:{url}", body["mine"].as_str().unwrap())
        );
    }
}

/// RP-16: the same id from everybody at once, in front of children.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_answer_of_a_child_goes_to_another_caller() {
    let proxy = Proxy::builder(upstream(Kind::Stateless))
        .identity(Arc::new(Plain))
        .build()
        .unwrap();
    let audience = proxy.identity_audience().to_owned();
    let front = Front::of(proxy);
    let mut workers = JoinSet::new();
    for worker in 0..16 {
        let (front, audience) = (front.clone(), audience.clone());
        workers.spawn(async move {
            let user = format!("user-{}", worker % 4);
            for round in 0..20 {
                let mine = format!("{user} {worker} {round}");
                let meta = json!({
                    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                    "io.modelcontextprotocol/clientInfo": {"name": "t", "version": "1"},
                    "io.modelcontextprotocol/clientCapabilities": {},
                });
                let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call",
                    "params": {"name": "echo", "arguments": {"mine": mine}, "_meta": meta}});
                let asking = with(
                    request_of(&format!("{user}.c1"), "POST", "/mcp", call.to_string()),
                    &[
                        ("mcp-protocol-version", "2026-07-28"),
                        ("mcp-method", "tools/call"),
                        ("mcp-name", "echo"),
                    ],
                );
                let (status, said) = json(within(front.send(asking)).await).await;
                assert_eq!((status, &said["id"]), (StatusCode::OK, &json!(1)), "{said}");
                let result = &said["result"];
                assert_eq!(result["arguments"]["mine"], mine);
                assert_eq!(result["meta"][META], format!("signed:{user}:{audience}"));
            }
        });
    }
    workers.join_all().await;
    front.proxy.shut_down().await;
}
