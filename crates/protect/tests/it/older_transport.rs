//! HTTP with SSE as of 2024-11-05: a stream whose first event names the URL to post to.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};

use axum::{Router, body::Body};
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;

use crate::support::{Front, answer, channel, next, request, request_of, serve, text, until};

/// A server of the older transport, whose session ids can be guessed.
async fn older(said: &'static str, posted: Arc<Mutex<Vec<String>>>) -> std::net::SocketAddr {
    let stream = Arc::new(Mutex::new(None::<tokio::sync::mpsc::Sender<Bytes>>));
    let app = Router::new().fallback(move |request: Request<Body>| {
        let (stream, posted) = (Arc::clone(&stream), Arc::clone(&posted));
        async move {
            if request.uri().path() == "/sse" {
                let (sender, body) = channel();
                *stream.lock().unwrap() = Some(sender.clone());
                let event = format!("event: endpoint\r\ndata: {said}\r\n\r\n");
                tokio::spawn(async move { sender.send(Bytes::from(event)).await });
                return answer(200, &[("content-type", "text/event-stream; charset=utf-8")], body);
            }
            let target = request.uri().to_string();
            let body = request.into_body().collect().await.unwrap().to_bytes();
            let told = format!("event: message\ndata: {}\n\n", String::from_utf8_lossy(&body));
            posted.lock().unwrap().push(target);
            let sender = stream.lock().unwrap().clone().unwrap();
            sender.send(Bytes::from(told)).await.unwrap();
            answer(202, &[], "Accepted")
        }
    });
    serve(app).await
}

/// M-127, M-128
#[tokio::test]
async fn an_older_server_works_and_its_session_is_its_callers() {
    for said in [
        "/messages/?session_id=1",
        "http://elsewhere.example/messages/?session_id=1",
        "messages/?session_id=1",
    ] {
        let posted = Arc::default();
        let upstream = older(said, Arc::clone(&posted)).await;
        let front = Front::before(&format!("http://{upstream}/sse"));
        let mut stream = front.send(request("GET", "/mcp", "")).await.into_body();
        let event = next(&mut stream).await.unwrap();
        let url = event.split("data: ").nth(1).unwrap().trim().to_owned();
        assert!(event.starts_with("event: endpoint\r\n"), "{event}");
        assert!(
            url.starts_with("/mcp/~") && url.len() == "/mcp/~".len() + 43,
            "{url}"
        );

        let answered = front.send(request("POST", &url, r#"{"id":1}"#)).await;
        assert_eq!(answered.status(), StatusCode::ACCEPTED);
        let event = next(&mut stream).await.unwrap();
        assert_eq!(event, "event: message\ndata: {\"id\":1}\n\n");
        assert_eq!(*posted.lock().unwrap(), ["/messages/?session_id=1"]);

        // Somebody else, and the same person through another client, with the right URL.
        for other in ["bob.c1", "alice.c2"] {
            let refused = front.send(request_of(other, "POST", &url, r#"{"id":2}"#)).await;
            assert_eq!(refused.status(), StatusCode::NOT_FOUND, "{other}");
        }
        // The stream has ended, and the session with it.
        drop(stream);
        let refused = front.send(request("POST", &url, r#"{"id":3}"#)).await;
        let (status, body) = text(refused).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{body}");
        assert_eq!(posted.lock().unwrap().len(), 1);
    }
}

/// A stream of today's transport is not held back, and a later event of that name loses it.
#[tokio::test]
async fn a_stream_that_only_looks_older_passes_as_it_is() {
    let is_open = Arc::new(AtomicBool::new(true));
    let open = Arc::clone(&is_open);
    let app = Router::new().fallback(move || {
        let open = Arc::clone(&open);
        async move {
            let (sender, body) = channel();
            tokio::spawn(async move {
                for event in [
                    ": ping\n\n",
                    "id: 1\ndata: {}\n\n",
                    "event: endpoint\ndata: /x\n\n",
                ] {
                    let _ = sender.send(Bytes::from_static(event.as_bytes())).await;
                }
                sender.closed().await;
                open.store(false, Ordering::SeqCst);
            });
            answer(200, &[("content-type", "text/event-stream")], body)
        }
    });
    let upstream = serve(app).await;
    let front = Front::before(&format!("http://{upstream}/mcp"));
    let mut stream = front.send(request("GET", "/mcp", "")).await.into_body();
    let mut got = String::new();
    while !got.contains("/x\n\n") && got.len() < 1_000 {
        got.push_str(&next(&mut stream).await.unwrap());
    }
    assert_eq!(got, ": ping\n\nid: 1\ndata: {}\n\ndata: /x\n\n");
    assert!(is_open.load(Ordering::SeqCst));
    drop(stream);
    until(|| !is_open.load(Ordering::SeqCst)).await;
}
