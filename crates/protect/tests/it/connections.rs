//! Connections: calls are never made twice, and an upstream that is down, silent or odd is told from one that answers.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{Router, body::Body};
use http::{Request, StatusCode, Version};
use mcp_authflow_protect::{InvalidProxy, Proxy, Upstream};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use crate::support::{Front, json, next, request, until, within};

/// What a fickle server does with a request.
#[derive(Clone, Copy, Debug)]
enum Mood {
    /// Answers and keeps the connection.
    Good,
    /// Answers, promises to keep the connection, and closes it.
    ClosesAfter,
    /// Answers, and closes as soon as the next request begins to arrive.
    ClosesOnNext,
    /// Reads the whole request and closes.
    ClosesBefore,
    /// Reads the whole request, sends half a head, and closes.
    ClosesWithin,
}

const MOODS: [Mood; 5] = [
    Mood::Good,
    Mood::ClosesAfter,
    Mood::ClosesOnNext,
    Mood::ClosesBefore,
    Mood::ClosesWithin,
];

/// A server that counts how often it has seen each call in whole or in part, and closes connections at bad moments.
async fn fickle(calls: Arc<Mutex<HashMap<String, usize>>>) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let turn = Arc::new(Mutex::new(0_usize));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve_fickle(stream, Arc::clone(&calls), Arc::clone(&turn)));
        }
    });
    address
}

async fn serve_fickle(
    mut stream: TcpStream,
    calls: Arc<Mutex<HashMap<String, usize>>>,
    turn: Arc<Mutex<usize>>,
) {
    let mut closes_on_next = false;
    loop {
        let mut read = Vec::new();
        let mut buffer = [0; 4_096];
        // The request, whose body is `call-N.`
        while !read.ends_with(b".") {
            match stream.read(&mut buffer).await {
                Ok(count) if count > 0 => read.extend_from_slice(&buffer[..count]),
                _ => return,
            }
            if closes_on_next {
                break;
            }
        }
        let text = String::from_utf8_lossy(&read).into_owned();
        if let Some(at) = text.find("call-") {
            *calls.lock().unwrap().entry(text[at..].to_owned()).or_default() += 1;
        }
        if closes_on_next {
            return;
        }
        let mood = {
            let mut turn = turn.lock().unwrap();
            *turn += 1;
            // Not in step with how many connections there are.
            MOODS[(*turn * 7 + *turn / 5) % MOODS.len()]
        };
        let whole: &[u8] = b"HTTP/1.1 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nok";
        let sent = match mood {
            Mood::Good | Mood::ClosesAfter | Mood::ClosesOnNext => whole,
            Mood::ClosesBefore => &[],
            Mood::ClosesWithin => &whole[..20],
        };
        if stream.write_all(sent).await.is_err() {
            return;
        }
        match mood {
            Mood::Good => {}
            Mood::ClosesOnNext => closes_on_next = true,
            Mood::ClosesAfter | Mood::ClosesBefore | Mood::ClosesWithin => return,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_is_never_made_twice_whenever_the_upstream_closes() {
    let calls = Arc::default();
    let upstream = fickle(Arc::clone(&calls)).await;
    let front = Front::before(&format!("http://{upstream}/mcp"));
    let mut running = Vec::new();
    for worker in 0..4 {
        let front = front.clone();
        running.push(tokio::spawn(async move {
            let (mut good, mut bad) = (0, 0);
            for call in 0..250 {
                let body = format!("call-{worker}-{call}.");
                match front.send(request("POST", "/mcp", body)).await.status() {
                    StatusCode::OK => good += 1,
                    StatusCode::BAD_GATEWAY => bad += 1,
                    other => panic!("{other}"),
                }
            }
            (good, bad)
        }));
    }
    let (mut good, mut bad) = (0, 0);
    for worker in running {
        let (its_good, its_bad) = within(worker).await.unwrap();
        good += its_good;
        bad += its_bad;
    }
    let calls = calls.lock().unwrap();
    let twice: Vec<_> = calls.iter().filter(|(_, count)| **count > 1).collect();
    assert!(twice.is_empty(), "{twice:?}");
    // Both happened, so the test has seen what it is for.
    assert!(good > 300 && bad > 100, "{good} good, {bad} bad");
}

/// A connection that is known to be closed is not used: a polite upstream loses nothing.
#[tokio::test]
async fn a_connection_that_was_closed_in_between_loses_no_call() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut buffer = [0; 4_096];
            let _ = stream.read(&mut buffer).await;
            let _ = stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
                .await;
        }
    });
    let front = Front::before(&format!("http://{address}/mcp"));
    for _ in 0..20 {
        let answered = front.send(request("POST", "/mcp", "{}")).await;
        assert_eq!(answered.status(), StatusCode::OK);
        let _ = crate::support::text(answered).await;
        // Time for the closing to arrive.
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn an_upstream_that_is_down_is_a_bad_gateway_and_says_so_in_json_rpc() {
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = nobody.local_addr().unwrap();
    drop(nobody);
    let front = Front::before(&format!("http://{address}/mcp"));
    let mut asking = request("POST", "/mcp", "{}");
    let message = br#"{"jsonrpc":"2.0","id":"seven","method":"ping"}"#;
    let read = mcp_authflow_resource::JsonRpc::parse(message).unwrap();
    asking.extensions_mut().insert(read);
    let (status, body) = json(front.send(asking).await).await;
    assert_eq!(status, StatusCode::BAD_GATEWAY);
    assert_eq!(
        body,
        serde_json::json!({
            "jsonrpc": "2.0", "id": "seven",
            "error": {
                "code": -32_603, "message": "the MCP server behind this gateway cannot be reached",
                "data": {"error": "bad_gateway"},
            },
        })
    );
    let (status, body) = json(front.send(request("GET", "/mcp", "")).await).await;
    assert_eq!(status, StatusCode::BAD_GATEWAY);
    assert_eq!(body["error"], "bad_gateway");
}

/// Accepts connections and says nothing.
async fn silent() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut kept = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            kept.push(stream);
        }
    });
    address
}

#[tokio::test]
async fn an_upstream_that_does_not_answer_is_a_gateway_timeout() {
    let address = silent().await;
    let short = Duration::from_millis(100);
    let plain = Proxy::builder(Upstream::http(format!("http://{address}/mcp"))).answer_within(short);
    // Here it is the handshake of TLS that nobody answers.
    let tls = Proxy::builder(Upstream::http(format!("https://{address}/mcp"))).connect_within(short);
    for builder in [plain, tls] {
        let front = Front::of(builder.build().unwrap());
        let answered = within(front.send(request("POST", "/mcp", "{}"))).await;
        let (status, body) = json(answered).await;
        assert_eq!(status, StatusCode::GATEWAY_TIMEOUT);
        assert_eq!(body["error"]["data"]["error"], "gateway_timeout");
    }
}

/// A GET waits as long as its client: the stream of a server may begin with silence.
#[tokio::test]
async fn a_get_is_not_timed_out() {
    let address = silent().await;
    let proxy = Proxy::builder(Upstream::http(format!("http://{address}/mcp")))
        .answer_within(Duration::from_millis(50))
        .build()
        .unwrap();
    let front = Front::of(proxy);
    let waiting = front.send(request("GET", "/mcp", ""));
    let waited = tokio::time::timeout(Duration::from_millis(300), waiting).await;
    assert!(waited.is_err(), "{:?}", waited.map(|answer| answer.status()));
}

/// Counts itself as long as it lives.
struct Listening(Arc<AtomicUsize>);

impl Listening {
    fn among(listeners: &Arc<AtomicUsize>) -> Self {
        listeners.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(listeners))
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// An upstream over TLS, which prefers HTTP/2 and allows a hundred streams a connection.
async fn over_tls(
    certificate: &rcgen::CertifiedKey<rcgen::KeyPair>,
    listeners: Arc<AtomicUsize>,
) -> std::net::SocketAddr {
    let app = Router::new().fallback(async move |request: Request<Body>| {
        assert_eq!(request.version(), Version::HTTP_2);
        if request.method() == http::Method::GET {
            let first = futures_util::stream::once(async { Ok::<_, std::io::Error>("data: hello\n\n") });
            let listening = Listening::among(&listeners);
            let silence = futures_util::stream::poll_fn(move |_| {
                let _ = &listening;
                std::task::Poll::Pending
            });
            let forever = futures_util::StreamExt::chain(first, silence);
            return crate::support::answer(
                200,
                &[("content-type", "text/event-stream")],
                Body::from_stream(forever),
            );
        }
        crate::support::ok()
    });
    let config = axum_server::tls_rustls::RustlsConfig::from_pem(
        certificate.cert.pem().into_bytes(),
        certificate.signing_key.serialize_pem().into_bytes(),
    )
    .await
    .unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let mut server = axum_server::from_tcp_rustls(listener, config).unwrap();
    server.http_builder().http2().max_concurrent_streams(100);
    tokio::spawn(server.serve(app.into_make_service()));
    address
}

#[tokio::test]
async fn listeners_beyond_what_one_connection_carries_stop_nobody_else() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let certificate = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let listeners = Arc::default();
    let address = over_tls(&certificate, Arc::clone(&listeners)).await;
    let url = format!("https://localhost:{}/mcp", address.port());
    let proxy = Proxy::builder(Upstream::http(&url))
        .root_certificates(certificate.cert.pem())
        .build()
        .unwrap();
    let front = Front::of(proxy);
    let mut listening = Vec::new();
    for _ in 0..250 {
        let answered = within(front.send(request("GET", "/mcp", ""))).await;
        assert_eq!(answered.status(), StatusCode::OK);
        let mut body = answered.into_body();
        assert_eq!(next(&mut body).await.as_deref(), Some("data: hello\n\n"));
        listening.push(body);
    }
    let answered = within(front.send(request("POST", "/mcp", "{}"))).await;
    assert_eq!(answered.status(), StatusCode::OK);
    assert_eq!(listeners.load(Ordering::SeqCst), 250);
    // Streams that are left are reset, and their connections stay.
    drop(listening);
    until(|| listeners.load(Ordering::SeqCst) == 0).await;

    // A certificate that nobody vouches for is no upstream.
    let stranger = Front::before(&url);
    let answered = within(stranger.send(request("POST", "/mcp", "{}"))).await;
    assert_eq!(answered.status(), StatusCode::BAD_GATEWAY);
    let none = Proxy::builder(Upstream::http(&url)).root_certificates("no certificate");
    assert!(matches!(none.build(), Err(InvalidProxy::RootCertificates(_))));
}

/// Connections that exchanges have left behind are closed: none is kept for longer than a little.
#[tokio::test]
async fn an_exchange_that_is_given_up_keeps_no_connection() {
    let open = Arc::new(Mutex::new(0_i32));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let counter = Arc::clone(&open);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let counter = Arc::clone(&counter);
            *counter.lock().unwrap() += 1;
            tokio::spawn(async move {
                let mut buffer = [0; 4_096];
                while matches!(stream.read(&mut buffer).await, Ok(read) if read > 0) {}
                *counter.lock().unwrap() -= 1;
            });
        }
    });
    let front = Front::before(&format!("http://{address}/mcp"));
    for _ in 0..50 {
        let given_up = front.send(request("POST", "/mcp", "{}"));
        let _ = tokio::time::timeout(Duration::from_millis(5), given_up).await;
    }
    until(|| *open.lock().unwrap() == 0).await;
}
