//! Lists that show callers what is within their reach, whole and in streams.

use std::time::Duration;

use axum::{Router, body::Body, response::IntoResponse as _};
use bytes::Bytes;
use futures_util::StreamExt as _;
use http::StatusCode;
use mcp_authflow_resource::{AuthorizeTools, ProtectedResource, TokenVerifier, VerifiedToken, VerifyError};
use tokio::sync::mpsc;
use tower::ServiceExt as _;

use crate::{
    house::{RESOURCE, Seen},
    mcp_server::{McpServer, TOOLS, list, policy, post, request, tool},
};

const FOR_READERS: &str =
    r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"read"}],"cacheScope":"private"}}"#;
const FOR_WRITERS: &str = r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"read"},{"name":"write"}],"cacheScope":"private"}}"#;

/// The data of a stream's events.
fn data(seen: &Seen) -> Vec<&str> {
    seen.body
        .lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .collect()
}

/// M-133
#[tokio::test]
async fn a_list_shows_what_the_caller_may_call_and_is_theirs_alone() {
    let server = McpServer::with_policy(policy());
    for (token, expected) in [("a.c.read", FOR_READERS), ("a.c.write", FOR_WRITERS)] {
        let seen = server.post(token, &list()).await;
        assert_eq!((seen.status, seen.body.as_str()), (StatusCode::OK, expected));
        assert_eq!(seen.header("cache-control"), Some("private, no-store"));
        assert_eq!(
            seen.header("content-length"),
            Some(expected.len().to_string().as_str())
        );
        assert_eq!(seen.header("etag"), None);
        let seen = server
            .call(post(token, &[("accept", "text/event-stream")], &list()))
            .await;
        assert_eq!(data(&seen), [r#"{"method":"x"}"#, expected]);
        assert_eq!(
            seen.header("cache-control"),
            Some("private, no-store, no-transform")
        );
    }
}

/// M-133: what is hidden is refused too; nothing rests on the list.
#[tokio::test]
async fn a_hidden_tool_is_refused_as_before() {
    let server = McpServer::with_policy(policy());
    assert_eq!(
        server.post("a.c.read", &tool("write")).await.status,
        StatusCode::FORBIDDEN
    );
}

/// A client can only step up to what it knows of, so showing all is a choice; what nobody may call is no choice.
#[tokio::test]
async fn a_list_for_clients_that_step_up_shows_all_that_can_be_reached() {
    let server = McpServer::with_policy(policy().hide_forbidden_tools(false));
    let seen = server.post("a.c.read", &list()).await;
    let all = r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"read"},{"name":"write"},{"name":"admin"}],"cacheScope":"private"}}"#;
    assert_eq!(seen.body, all);
}

/// An answer may come on the stream that was opened by GET, as in the transport of 2024-11-05 and after a break.
#[tokio::test]
async fn a_list_on_another_stream_is_cut_too() {
    let server = McpServer::with_policy(policy());
    let seen = server.call(request("GET", "/mcp", "a.c.read", &[], "")).await;
    assert_eq!(data(&seen), [FOR_READERS]);
}

#[tokio::test]
async fn other_answers_stay_as_they_are() {
    let server = McpServer::with_policy(policy());
    let seen = server.post("a.c.read", &tool("read")).await;
    assert_eq!(seen.header("etag"), Some("\"1\""));
    assert_ne!(seen.header("cache-control"), Some("private, no-store"));
    let server = McpServer::with_policy(mcp_authflow_resource::ToolPolicy::builder());
    assert_eq!(server.post("a.c.read", &list()).await.body, TOOLS);
}

/// What is compressed cannot be cut, so nothing is asked for compressed; a list that is all the same is not shown.
#[tokio::test]
async fn a_compressed_list_is_not_passed_on_uncut() {
    let server = McpServer::with_policy(policy());
    let accepts = ("accept-encoding", "gzip, br");
    assert_eq!(
        server.call(post("a.c.read", &[accepts], &list())).await.body,
        FOR_READERS
    );
    assert!(!server.last().headers.contains_key("accept-encoding"));
    for accept in ["application/json", "text/event-stream"] {
        let headers = [("x-compress", "gzip"), ("accept", accept)];
        let seen = server.call(post("a.c.read", &headers, &list())).await;
        assert_eq!(seen.status, StatusCode::BAD_GATEWAY);
        assert!(!seen.body.contains("tools"), "{seen:?}");
    }
}

/// What a server calls its JSON, and the caller may have a say in it, does not matter.
#[tokio::test]
async fn a_list_under_another_name_is_cut_too() {
    let server = McpServer::with_policy(policy());
    for media_type in [
        "application/vnd.mcp+json",
        "text/plain; charset=utf-8",
        "application/json-rpc",
    ] {
        let seen = server
            .call(post("a.c.read", &[("x-type", media_type)], &list()))
            .await;
        assert_eq!(
            (seen.status, seen.body.as_str()),
            (StatusCode::OK, FOR_READERS),
            "{media_type}"
        );
    }
}

/// The caller is `a`, for `read`.
struct Anyone;

#[async_trait::async_trait]
impl TokenVerifier for Anyone {
    async fn verify(&self, _: &str) -> Result<VerifiedToken, VerifyError> {
        let mut verified = VerifiedToken::default();
        verified.audience = vec![RESOURCE.to_owned()];
        Ok(verified)
    }
}

/// Both layers around a server that answers with a stream which the test feeds.
fn streaming(content_type: &'static str) -> (mpsc::Sender<&'static str>, Router) {
    let (sender, receiver) = mpsc::channel::<&'static str>(8);
    let receiver = std::sync::Arc::new(tokio::sync::Mutex::new(receiver));
    let handler = move || {
        let receiver = std::sync::Arc::clone(&receiver);
        async move {
            let chunks = futures_util::stream::unfold(receiver, async |receiver| {
                let chunk = receiver.lock().await.recv().await?;
                Some((Ok::<_, std::io::Error>(Bytes::from(chunk)), receiver))
            });
            ([("content-type", content_type)], Body::from_stream(chunks)).into_response()
        }
    };
    let protect = ProtectedResource::builder(RESOURCE, "https://auth.test")
        .verify_with(Anyone)
        .build()
        .unwrap();
    let authorize = AuthorizeTools::new(policy().build().unwrap());
    (
        sender,
        Router::new().fallback(handler).layer(authorize).layer(protect),
    )
}

async fn next(body: &mut axum::body::BodyDataStream) -> Bytes {
    let chunk = tokio::time::timeout(Duration::from_secs(10), body.next()).await;
    chunk
        .unwrap_or_else(|_| panic!("the event is held back"))
        .unwrap()
        .unwrap()
}

/// Events go on one by one; so does what is no stream of events.
#[tokio::test]
async fn a_stream_is_not_collected() {
    for (content_type, message, chunks) in [
        (
            "text/event-stream; charset=utf-8",
            list(),
            ["data: 1\n\n", "data: 2\n\n"],
        ),
        ("text/event-stream", tool("read"), ["data: 1\n\n", "data: 2\n\n"]),
        ("application/octet-stream", list(), ["half", "whole"]),
        ("application/json", tool("read"), ["{", "}"]),
    ] {
        let (sender, app) = streaming(content_type);
        let response = app.oneshot(post("a", &[], &message)).await.unwrap();
        let mut body = response.into_body().into_data_stream();
        for chunk in chunks {
            sender.send(chunk).await.unwrap();
            assert_eq!(next(&mut body).await, chunk, "{content_type}");
        }
        drop(sender);
    }
}

/// A reader that goes away takes the stream with it: the server sees that nobody listens.
#[tokio::test]
async fn a_dropped_stream_is_dropped_at_the_server() {
    let (sender, app) = streaming("text/event-stream");
    let response = app.oneshot(post("a", &[], &list())).await.unwrap();
    drop(response);
    let closed = tokio::time::timeout(Duration::from_secs(10), sender.closed()).await;
    assert!(closed.is_ok(), "the stream lives on");
}
