//! Streams: unbuffered, as long as they like, ended when the client leaves, and slowed down when it does not read.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{Router, body::Body};
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use mcp_authflow_protect::{Proxy, Upstream};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::mpsc,
};

use crate::support::{
    Front, Recorder, answer, channel, next, request, request_of, serve, text, until, within,
};

#[tokio::test]
async fn an_event_arrives_before_the_stream_ends() {
    let (sender, body) = channel();
    let body = Arc::new(std::sync::Mutex::new(Some(body)));
    let upstream = Recorder::start(move |_| {
        let body = body.lock().unwrap().take().unwrap();
        answer(200, &[("content-type", "text/event-stream")], body)
    })
    .await;
    let front = Front::before(&upstream.url("/mcp")).listen().await;
    let mut client = TcpStream::connect(front).await.unwrap();
    let head = "POST /mcp HTTP/1.1\r\nhost: mcp.test\r\nauthorization: Bearer alice.c1\r\ncontent-length: 2\r\n\r\n{}";
    client.write_all(head.as_bytes()).await.unwrap();
    let mut got = String::new();
    for event in ["data: 1\n\n", ": ping\n\n", "data: 2\n\n"] {
        sender.send(Bytes::from_static(event.as_bytes())).await.unwrap();
        read_until(&mut client, &mut got, event).await;
    }
    assert!(got.starts_with("HTTP/1.1 200"), "{got}");
    assert!(got.contains("x-accel-buffering: no"), "{got}");
    drop(sender);
    read_until(&mut client, &mut got, "0\r\n\r\n").await;
}

async fn read_until(client: &mut TcpStream, got: &mut String, what: &str) {
    let mut buffer = [0; 4_096];
    within(async {
        while !got.contains(what) {
            let read = client.read(&mut buffer).await.unwrap();
            assert!(read > 0, "closed after {got}");
            got.push_str(&String::from_utf8_lossy(&buffer[..read]));
        }
    })
    .await;
}

/// Notes its own end.
struct Alive(Arc<AtomicBool>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

/// SM-10
#[tokio::test]
async fn a_client_that_leaves_ends_the_exchange_with_the_upstream() {
    // Before the head, in the middle of the stream, and while the request's body is still under way.
    let is_alive = Arc::new(AtomicBool::new(false));
    let alive = Arc::clone(&is_alive);
    let app = Router::new().fallback(move |request: Request<Body>| {
        let alive = Arc::clone(&alive);
        async move {
            alive.store(true, Ordering::SeqCst);
            let guard = Alive(alive);
            match request.uri().path() {
                "/mcp/before" => std::future::pending().await,
                "/mcp/upload" => {
                    let _ = request.into_body().collect().await;
                    drop(guard);
                    std::future::pending().await
                }
                _ => {
                    let mut is_first = true;
                    let stream = futures_util::stream::poll_fn(move |_| {
                        let _ = &guard;
                        if std::mem::take(&mut is_first) {
                            return std::task::Poll::Ready(Some(Ok::<_, Infallible>("data: 1\n\n")));
                        }
                        std::task::Poll::Pending
                    });
                    answer(
                        200,
                        &[("content-type", "text/event-stream")],
                        Body::from_stream(stream),
                    )
                }
            }
        }
    });
    let upstream = serve(app).await;
    let front = Front::before(&format!("http://{upstream}/mcp")).listen().await;
    for (path, method, length) in [
        ("/mcp/before", "POST", 0),
        ("/mcp/stream", "POST", 0),
        ("/mcp/stream", "GET", 0),
        ("/mcp/upload", "POST", 1_000),
    ] {
        let mut client = TcpStream::connect(front).await.unwrap();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: mcp.test\r\nauthorization: Bearer alice.c1\r\n\
             content-length: {length}\r\n\r\n"
        );
        client.write_all(head.as_bytes()).await.unwrap();
        until(|| is_alive.load(Ordering::SeqCst)).await;
        if path == "/mcp/stream" {
            read_until(&mut client, &mut String::new(), "data: 1").await;
        }
        assert!(is_alive.load(Ordering::SeqCst), "{path}");
        drop(client);
        until(|| !is_alive.load(Ordering::SeqCst)).await;
    }
}

/// A slow reader slows the upstream down; what is between them is small, however much there is.
#[tokio::test]
async fn a_hundred_megabytes_pass_through_little_memory() {
    const CHUNK: usize = 64 * 1_024;
    const CHUNKS: u64 = 1_600;
    let made = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&made);
    let app = Router::new().fallback(move || {
        let counter = Arc::clone(&counter);
        async move {
            let stream = futures_util::stream::poll_fn(move |_| {
                if counter.load(Ordering::SeqCst) == CHUNKS {
                    return std::task::Poll::Ready(None);
                }
                counter.fetch_add(1, Ordering::SeqCst);
                std::task::Poll::Ready(Some(Ok::<_, Infallible>(Bytes::from(vec![7_u8; CHUNK]))))
            });
            answer(
                200,
                &[("content-type", "application/octet-stream")],
                Body::from_stream(stream),
            )
        }
    });
    let upstream = serve(app).await;
    let front = Front::before(&format!("http://{upstream}/mcp"));
    let mut body = front.send(request("POST", "/mcp", "{}")).await.into_body();
    // Nobody reads: the upstream comes to a stop. What it has made by then sits in the kernel's buffers and ours.
    let mut before = u64::MAX;
    within(async {
        while before != made.load(Ordering::SeqCst) {
            before = made.load(Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    })
    .await;
    assert!(before < CHUNKS / 4, "{before} chunks were made for nobody");
    let resident = resident_bytes();
    let mut read = 0;
    while let Some(frame) = body.frame().await {
        let data = frame.unwrap().into_data().unwrap();
        assert!(data.iter().all(|byte| *byte == 7));
        read += data.len() as u64;
    }
    assert_eq!(read, CHUNKS * CHUNK as u64);
    let grown = resident_bytes().saturating_sub(resident);
    assert!(grown < 48 * 1_024 * 1_024, "{grown} bytes more");
}

fn resident_bytes() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = pages
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse::<u64>().ok());
    pages.unwrap_or_default() * 4_096
}

/// The other way round: what a client uploads is not collected either.
#[tokio::test]
async fn an_upload_passes_as_it_comes() {
    let (said, mut heard) = mpsc::channel::<usize>(1_000);
    let app = Router::new().fallback(move |request: Request<Body>| {
        let said = said.clone();
        async move {
            let mut body = request.into_body();
            let mut all = 0;
            while let Some(Ok(frame)) = body.frame().await {
                let length = frame.into_data().unwrap().len();
                all += length;
                let _ = said.try_send(length);
            }
            all.to_string()
        }
    });
    let upstream = serve(app).await;
    let front = Front::before(&format!("http://{upstream}/mcp"));
    let (sender, body) = channel();
    // A length that the client claims is not believed: bytes are counted by who frames them.
    let asking = crate::support::with(request("POST", "/mcp", body), &[("content-length", "3")]);
    let answering = tokio::spawn(async move { text(front.send(asking).await).await });
    for _ in 0..3 {
        sender.send(Bytes::from_static(b"0123456789")).await.unwrap();
        assert_eq!(within(heard.recv()).await, Some(10));
    }
    drop(sender);
    assert_eq!(
        within(answering).await.unwrap(),
        (StatusCode::OK, "30".to_owned())
    );
}

#[tokio::test]
async fn a_stream_that_breaks_is_broken_for_the_client_too() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut buffer = [0; 4_096];
        let _ = stream.read(&mut buffer).await;
        let head = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf";
        stream.write_all(head).await.unwrap();
    });
    let front = Front::before(&format!("http://{address}/mcp"));
    let mut body = front.send(request("POST", "/mcp", "{}")).await.into_body();
    assert_eq!(next(&mut body).await.as_deref(), Some("half"));
    assert!(within(body.frame()).await.unwrap().is_err());
}

/// Silence is no failure: none of our limits holds for a stream that has begun.
#[tokio::test]
async fn a_stream_may_be_silent_for_longer_than_any_limit() {
    let (sender, body) = channel();
    let body = Arc::new(std::sync::Mutex::new(Some(body)));
    let upstream = Recorder::start(move |_| {
        let body = body.lock().unwrap().take().unwrap();
        answer(200, &[("content-type", "text/event-stream")], body)
    })
    .await;
    let short = Duration::from_millis(200);
    let proxy = Proxy::builder(Upstream::http(upstream.url("/mcp")))
        .connect_within(short)
        .answer_within(short)
        .build()
        .unwrap();
    let mut stream = Front::of(proxy)
        .send(request("POST", "/mcp", "{}"))
        .await
        .into_body();
    tokio::time::sleep(short * 5).await;
    sender.send(Bytes::from_static(b"data: late\n\n")).await.unwrap();
    assert_eq!(next(&mut stream).await.as_deref(), Some("data: late\n\n"));
}

/// A GET with a body, be it an empty one in chunks, is refused by some servers.
#[tokio::test]
async fn a_get_comes_without_a_body() {
    let upstream = Recorder::start(|_| answer(200, &[], "")).await;
    let front = Front::before(&upstream.url("/mcp")).listen().await;
    for method in ["GET", "DELETE"] {
        let mut client = TcpStream::connect(front).await.unwrap();
        let head =
            format!("{method} /mcp HTTP/1.1\r\nhost: mcp.test\r\nauthorization: Bearer alice.c1\r\n\r\n");
        client.write_all(head.as_bytes()).await.unwrap();
        read_until(&mut client, &mut String::new(), "HTTP/1.1 200").await;
        let asked = upstream.last();
        assert_eq!(asked.method, method);
        for name in ["transfer-encoding", "content-length"] {
            let value = asked.headers.get(name).filter(|value| *value != "0");
            assert_eq!(value, None, "{method} {name}");
        }
        assert_eq!(asked.headers["host"], upstream.address.to_string());
    }
}

/// P8: who listens does not go on to hear what is said after their token has ended. A call is answered to its end.
#[tokio::test]
async fn a_listener_is_heard_no_longer_than_its_token_lasts() {
    let held = Arc::new(std::sync::Mutex::new(Vec::new()));
    let senders = Arc::clone(&held);
    let upstream = Recorder::start(move |_| {
        let (sender, body) = channel();
        senders.lock().unwrap().push(sender);
        answer(200, &[("content-type", "text/event-stream")], body)
    })
    .await;
    let front = Front::before(&upstream.url("/mcp"));
    let mut listening = front
        .send(request_of("brief.c1", "GET", "/mcp", ""))
        .await
        .into_body();
    let mut called = front
        .send(request_of("brief.c1", "POST", "/mcp", "{}"))
        .await
        .into_body();
    let mut lasting = front
        .send(request_of("alice.c1", "GET", "/mcp", ""))
        .await
        .into_body();
    let senders = held.lock().unwrap().clone();
    for sender in &senders {
        sender.send(Bytes::from_static(b"data: 1\n\n")).await.unwrap();
    }
    for body in [&mut listening, &mut called, &mut lasting] {
        assert_eq!(next(body).await.as_deref(), Some("data: 1\n\n"));
    }
    assert_eq!(next(&mut listening).await, None, "ended with the token");
    for sender in &senders {
        // The listener's is gone by now.
        let _ = sender.send(Bytes::from_static(b"data: 2\n\n")).await;
    }
    for body in [&mut called, &mut lasting] {
        assert_eq!(next(body).await.as_deref(), Some("data: 2\n\n"));
    }
}
