//! A server on loopback that plays a script to each connection.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpListener,
    sync::{Semaphore, watch},
    task::{AbortHandle, JoinSet},
    time::timeout,
};
use tokio_rustls::TlsAcceptor;

use super::PATIENCE;

/// What a peer does after it has read a request.
#[derive(Clone)]
pub(super) enum Act {
    Send(Vec<u8>),
    /// The same bytes again and again, until the other side has enough.
    SendForever(Vec<u8>),
    /// Waits until the test gives a permit.
    Await(Arc<Semaphore>),
    /// Neither sends nor closes.
    Hang,
}

pub(super) type Script = Vec<Act>;

pub(super) struct Peer {
    pub(super) port: u16,
    heads: Arc<Mutex<Vec<String>>>,
    /// How many connections there have been.
    connections: watch::Receiver<usize>,
    /// How many requests have been read.
    requests: watch::Receiver<usize>,
    most_at_once: Arc<AtomicUsize>,
    task: AbortHandle,
}

impl Peer {
    /// Plays the script of the n-th connection, counted from 0.
    pub(super) async fn playing(script: impl Fn(usize) -> Script + Send + Sync + 'static) -> Self {
        Self::start(None, script).await
    }

    /// The same behind TLS.
    pub(super) async fn secured(
        acceptor: TlsAcceptor,
        script: impl Fn(usize) -> Script + Send + Sync + 'static,
    ) -> Self {
        Self::start(Some(acceptor), script).await
    }

    /// Answers every request with this JSON.
    pub(super) async fn serving(body: &'static str) -> Self {
        Self::playing(move |_| json(body, "")).await
    }

    async fn start(
        acceptor: Option<TlsAcceptor>,
        script: impl Fn(usize) -> Script + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let most_at_once = Arc::new(AtomicUsize::new(0));
        let (connected, connections) = watch::channel(0);
        let (requested, requests) = watch::channel(0);
        let shared = Shared {
            heads: Arc::clone(&heads),
            at_once: Arc::default(),
            most_at_once: Arc::clone(&most_at_once),
            requested: Arc::new(requested),
        };
        let task = tokio::spawn(async move {
            let mut playing = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let nth = *connected.borrow();
                connected.send_replace(nth + 1);
                let script = script(nth);
                let shared = shared.clone();
                let acceptor = acceptor.clone();
                playing.spawn(async move {
                    match acceptor {
                        None => shared.play(stream, script).await,
                        Some(acceptor) => {
                            if let Ok(stream) = acceptor.accept(stream).await {
                                shared.play(stream, script).await;
                            }
                        }
                    }
                });
            }
        });
        Self {
            port,
            heads,
            connections,
            requests,
            most_at_once,
            task: task.abort_handle(),
        }
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    pub(super) fn connections(&self) -> usize {
        *self.connections.borrow()
    }

    pub(super) fn requests(&self) -> usize {
        *self.requests.borrow()
    }

    pub(super) fn most_at_once(&self) -> usize {
        self.most_at_once.load(Ordering::SeqCst)
    }

    /// The heads of the requests, in order.
    pub(super) fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }

    /// Waits until so many requests have been read.
    pub(super) async fn until_requests(&self, number: usize) {
        let mut requests = self.requests.clone();
        let reached = requests.wait_for(|requests| *requests >= number);
        timeout(PATIENCE, reached).await.unwrap().unwrap();
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(Clone)]
struct Shared {
    heads: Arc<Mutex<Vec<String>>>,
    at_once: Arc<AtomicUsize>,
    most_at_once: Arc<AtomicUsize>,
    requested: Arc<watch::Sender<usize>>,
}

impl Shared {
    async fn play(&self, mut stream: impl AsyncRead + AsyncWrite + Unpin, script: Script) {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            match stream.read_u8().await {
                Ok(byte) => head.push(byte),
                Err(_) => return,
            }
        }
        self.heads.lock().unwrap().push(String::from_utf8(head).unwrap());
        let running = self.at_once.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_at_once.fetch_max(running, Ordering::SeqCst);
        self.requested.send_modify(|requests| *requests += 1);
        for act in script {
            let went_well = match act {
                Act::Send(bytes) => stream.write_all(&bytes).await.is_ok(),
                Act::SendForever(bytes) => loop {
                    if stream.write_all(&bytes).await.is_err() {
                        break false;
                    }
                },
                Act::Await(permits) => {
                    // Before the answer goes out, so that the count never lags behind the other side.
                    permits.acquire().await.unwrap().forget();
                    true
                }
                Act::Hang => std::future::pending().await,
            };
            if !went_well {
                break;
            }
        }
        self.at_once.fetch_sub(1, Ordering::SeqCst);
        stream.shutdown().await.ok();
    }
}

/// An honest answer with this body and these further header lines.
pub(super) fn json(body: &str, headers: &str) -> Script {
    vec![Act::Send(
        format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n{headers}\r\n{body}",
            body.len()
        )
        .into_bytes(),
    )]
}

/// These bytes.
pub(super) fn raw(bytes: &str) -> Script {
    vec![Act::Send(bytes.as_bytes().to_vec())]
}
