//! An authorization server's introspection endpoint that answers whatever a test wants, on a port of its own.

use std::{
    collections::HashSet,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::Body,
    extract::{ConnectInfo, Request},
    response::Response,
};
use http::HeaderMap;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// What is answered to a question about a token.
#[derive(Clone)]
pub(crate) enum Answer {
    /// 200 with this body.
    Ok(String),
    /// Another status, with this body.
    Status(u16, &'static str),
    /// A redirect to `/elsewhere` of the same server, which says yes to everything.
    Redirect,
    /// Nothing at all.
    Never,
}

/// What the peer was asked.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) form: Vec<(String, String)>,
}

#[derive(Clone)]
pub(crate) struct Peer {
    pub(crate) issuer: String,
    questions: Arc<Mutex<Vec<Question>>>,
    connections: Arc<Mutex<HashSet<SocketAddr>>>,
}

impl Peer {
    /// Serves until the test's runtime ends. `answer` gets the token.
    #[expect(
        clippy::disallowed_methods,
        reason = "a peer that lives as long as its test needs no header timeout"
    )]
    pub(crate) async fn start(answer: impl Fn(&str) -> Answer + Clone + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let peer = Self {
            issuer: format!("http://{}", listener.local_addr().unwrap()),
            questions: Arc::default(),
            connections: Arc::default(),
        };
        let seen = peer.clone();
        let app = Router::new().fallback(
            move |ConnectInfo(address): ConnectInfo<SocketAddr>, request: Request| async move {
                seen.connections.lock().unwrap().insert(address);
                let question = Question::read(request).await;
                let token = question.token();
                let is_elsewhere = question.path == "/elsewhere";
                seen.questions.lock().unwrap().push(question);
                if is_elsewhere {
                    return respond(200, r#"{"active":true,"aud":"https://rs.test/mcp"}"#.to_owned());
                }
                match answer(&token) {
                    Answer::Ok(body) => respond(200, body),
                    Answer::Status(status, body) => respond(status, body.to_owned()),
                    Answer::Redirect => Response::builder()
                        .status(307)
                        .header("location", "/elsewhere")
                        .body(Body::empty())
                        .unwrap(),
                    Answer::Never => std::future::pending().await,
                }
            },
        );
        let app = app.into_make_service_with_connect_info::<SocketAddr>();
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        peer
    }

    pub(crate) fn questions(&self) -> Vec<Question> {
        self.questions.lock().unwrap().clone()
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.lock().unwrap().len()
    }
}

impl Question {
    async fn read(request: Request) -> Self {
        let (parts, body) = request.into_parts();
        let body = axum::body::to_bytes(body, 1 << 16).await.unwrap();
        Self {
            method: parts.method.to_string(),
            path: parts.uri.path().to_owned(),
            headers: parts.headers,
            form: form_urlencoded::parse(&body).into_owned().collect(),
        }
    }

    fn token(&self) -> String {
        let token = self.form.iter().find(|(name, _)| name == "token");
        token.map(|(_, token)| token.clone()).unwrap_or_default()
    }
}

fn respond(status: u16, body: String) -> Response {
    Response::builder()
        .status(status)
        .header("content-type", "application/json")
        .body(Body::from(body))
        .unwrap()
}

/// A peer below HTTP: answers the n-th question that arrives with the n-th text, and hangs up on an empty one and behind
/// one that says `connection: close`. Afterwards it goes on with the next connection.
pub(crate) async fn start_raw(answers: &[&'static str]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let issuer = format!("http://{}", listener.local_addr().unwrap());
    let mut answers: std::collections::VecDeque<&'static str> = answers.iter().copied().collect();
    tokio::spawn(async move {
        while !answers.is_empty() {
            let (mut connection, _) = listener.accept().await.unwrap();
            while read_question(&mut connection).await {
                match answers.pop_front() {
                    None | Some("") => break,
                    Some(answer) => {
                        connection.write_all(answer.as_bytes()).await.unwrap();
                        if answer.contains("connection: close") {
                            break;
                        }
                    }
                }
            }
        }
    });
    issuer
}

/// Reads a question to the end of its body.
async fn read_question(connection: &mut TcpStream) -> bool {
    let mut read = Vec::new();
    let mut buffer = [0; 4096];
    while !is_whole(&read) {
        match connection.read(&mut buffer).await {
            Ok(0) | Err(_) => return false,
            Ok(count) => read.extend_from_slice(&buffer[..count]),
        }
    }
    true
}

fn is_whole(question: &[u8]) -> bool {
    let text = String::from_utf8_lossy(question).to_ascii_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    length.is_some_and(|length| body.len() >= length.parse().unwrap())
}
