//! Everybody else: whoever is dialled in the namespace, at any address, is this server, and writes down who was meant.
//!
//! Unless told otherwise it answers every path of every host with a good document, at private addresses as well. So a
//! server that dials where it must not does not merely leave a trace: it succeeds, and is found out twice.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustls::ServerConfig;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::LazyConfigAcceptor;

use super::authority::{Authority, Certificate};

/// Ports with TLS, and without.
const TLS_PORTS: [u16; 3] = [443, 8443, 9443];
const PLAIN_PORTS: [u16; 4] = [80, 8080, 9090, 3128];
/// No connection of ours lives longer.
const PATIENCE: Duration = Duration::from_secs(30);
const MAX_HEAD: usize = 64 * 1_024;

/// What is answered at a host and path.
#[derive(Clone, Debug)]
pub(crate) enum Serve {
    /// An answer of this status with these headers (each line with its end) and this body, and its length.
    Answer(u16, String, Vec<u8>),
    /// These bytes, and the end.
    Raw(Vec<u8>),
    /// A beginning, then the same piece so many times.
    Flood {
        head: Vec<u8>,
        piece: Vec<u8>,
        times: usize,
    },
    /// These bytes one by one, with this pause.
    Drip(Vec<u8>, Duration),
    /// Nothing, until the other side has had enough.
    Silence,
    /// A good answer of this status and body once this time is over.
    Late(Duration, Vec<u8>),
}

impl Serve {
    /// A document that is JSON.
    pub(crate) fn json(body: &Value) -> Self {
        Self::text(200, "content-type: application/json\r\n", &body.to_string())
    }

    /// An answer of text.
    pub(crate) fn text(status: u16, headers: &str, body: &str) -> Self {
        Self::Answer(status, headers.to_owned(), body.as_bytes().to_vec())
    }
}

/// Somebody dialled.
#[derive(Clone, Debug)]
pub(crate) struct Contact {
    /// Who was meant.
    pub(crate) to: SocketAddr,
    /// What was asked; empty when it never came to that.
    pub(crate) head: String,
}

impl Contact {
    /// The host and path that were asked for.
    pub(crate) fn place(&self) -> Option<(String, String)> {
        let path = self.head.split(' ').nth(1)?.to_owned();
        Some((self.header("host")?, path))
    }

    /// The value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        let lines = self.head.lines().skip(1);
        let mut fields = lines.filter_map(|line| line.split_once(':'));
        fields
            .find(|(field, _)| field.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim().to_owned())
    }
}

#[derive(Default)]
struct Stage {
    answers: HashMap<(String, String), Serve>,
    certificates: HashMap<String, Certificate>,
    configs: HashMap<(String, Certificate), Arc<ServerConfig>>,
    contacts: Vec<Contact>,
}

/// The other side of every connection. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Peers {
    stage: Arc<Mutex<Stage>>,
    authority: Arc<Authority>,
    /// The keys that every key set names.
    keys: Arc<Value>,
}

impl Peers {
    /// Listens on every address; a key set names `keys`.
    pub(crate) async fn start(authority: Arc<Authority>, keys: Value) -> Result<Self> {
        let peers = Self {
            stage: Arc::default(),
            authority,
            keys: Arc::new(keys),
        };
        for (ports, is_tls) in [(&TLS_PORTS[..], true), (&PLAIN_PORTS[..], false)] {
            for port in ports {
                let listener = TcpListener::bind(("::", *port))
                    .await
                    .with_context(|| format!("cannot listen at port {port}"))?;
                let peers = peers.clone();
                tokio::spawn(async move {
                    while let Ok((stream, _)) = listener.accept().await {
                        let peers = peers.clone();
                        tokio::spawn(async move {
                            // How a connection ends is the other side's affair; what it did is written down.
                            let _ = tokio::time::timeout(PATIENCE, peers.receive(stream, is_tls)).await;
                        });
                    }
                });
            }
        }
        Ok(peers)
    }

    /// Says what is answered at a path of a host (with its port where that is not the usual one).
    pub(crate) fn serve(&self, host: &str, path: &str, what: Serve) {
        self.stage()
            .answers
            .insert((host.to_owned(), path.to_owned()), what);
    }

    /// Lets a path of a host have its usual document again.
    pub(crate) fn serve_usual(&self, host: &str, path: &str) {
        self.stage().answers.remove(&(host.to_owned(), path.to_owned()));
    }

    /// Says how a host shows who it is.
    pub(crate) fn show(&self, host: &str, how: Certificate) {
        self.stage().certificates.insert(host.to_owned(), how);
    }

    /// Everybody who was dialled so far.
    pub(crate) fn contacts(&self) -> Vec<Contact> {
        self.stage().contacts.clone()
    }

    /// How often this document was asked for.
    pub(crate) fn hits(&self, host: &str, path: &str) -> usize {
        let stage = self.stage();
        let places = stage.contacts.iter().filter_map(Contact::place);
        places.filter(|(h, p)| h == host && p == path).count()
    }

    fn stage(&self) -> MutexGuard<'_, Stage> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn receive(&self, stream: TcpStream, is_tls: bool) -> Result<()> {
        let to = stream.local_addr()?;
        let to = SocketAddr::new(to.ip().to_canonical(), to.port());
        let number = {
            let mut stage = self.stage();
            stage.contacts.push(Contact {
                to,
                head: String::new(),
            });
            stage.contacts.len() - 1
        };
        if !is_tls {
            return self.converse(stream, number, "http").await;
        }
        let start = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), stream).await?;
        let name = start.client_hello().server_name().map(str::to_owned);
        let name = name.unwrap_or_else(|| to.ip().to_string());
        let how = self.stage().certificates.get(&name).copied().unwrap_or_default();
        if how == Certificate::Tls10 {
            return speak_tls10(start.io).await;
        }
        let config = self.config(name, how)?;
        let stream = start.into_stream(config).await?;
        self.converse(stream, number, "https").await
    }

    fn config(&self, name: String, how: Certificate) -> Result<Arc<ServerConfig>> {
        let place = (name, how);
        if let Some(config) = self.stage().configs.get(&place) {
            return Ok(config.clone());
        }
        let config = self.authority.config(&place.0, how)?;
        self.stage().configs.insert(place, config.clone());
        Ok(config)
    }

    async fn converse<S>(&self, mut stream: S, number: usize, scheme: &str) -> Result<()>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut head = Vec::new();
        while !head.windows(4).any(|window| window == b"\r\n\r\n") {
            let mut piece = [0; 4_096];
            let length = stream.read(&mut piece).await?;
            if length == 0 || head.len() > MAX_HEAD {
                bail!("no request");
            }
            head.extend(&piece[..length]);
        }
        let contact = {
            let mut stage = self.stage();
            let contact = &mut stage.contacts[number];
            contact.head = String::from_utf8_lossy(&head).into_owned();
            contact.clone()
        };
        let (host, path) = contact.place().context("a request without a host")?;
        let what = self.stage().answers.get(&(host.clone(), path.clone())).cloned();
        let what = what.unwrap_or_else(|| self.usual(scheme, &host, &path));
        deliver(&mut stream, what).await?;
        // The end of our side, and then the other side's, so that nothing we said is lost.
        stream.shutdown().await?;
        let mut rest = [0; 1_024];
        while stream.read(&mut rest).await? > 0 {}
        Ok(())
    }

    /// A good document: keys, a picture, or the metadata of a client whose identifier is this address.
    fn usual(&self, scheme: &str, host: &str, path: &str) -> Serve {
        if path.ends_with("jwks") {
            Serve::json(&json!({"keys": [*self.keys]}))
        } else {
            Serve::json(&client_metadata(&format!("{scheme}://{host}{path}")))
        }
    }
}

/// The metadata of an honest public client.
pub(crate) fn client_metadata(client_id: &str) -> Value {
    json!({
        "client_id": client_id,
        "client_name": "Document client",
        "redirect_uris": ["https://client.test/cb"],
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": "none",
    })
}

async fn deliver<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, what: Serve) -> Result<()> {
    match what {
        Serve::Answer(status, headers, body) => {
            stream.write_all(&answer(status, &headers, &body)).await?;
        }
        Serve::Raw(bytes) => stream.write_all(&bytes).await?,
        Serve::Flood { head, piece, times } => {
            stream.write_all(&head).await?;
            for _ in 0..times {
                stream.write_all(&piece).await?;
            }
        }
        Serve::Drip(bytes, pause) => {
            for byte in bytes {
                stream.write_all(&[byte]).await?;
                stream.flush().await?;
                tokio::time::sleep(pause).await;
            }
        }
        Serve::Silence => {
            let mut rest = [0; 1_024];
            while stream.read(&mut rest).await? > 0 {}
        }
        Serve::Late(time, body) => {
            tokio::time::sleep(time).await;
            let bytes = answer(200, "content-type: application/json\r\n", &body);
            stream.write_all(&bytes).await?;
        }
    }
    stream.flush().await?;
    Ok(())
}

fn answer(status: u16, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let mut bytes =
        format!("HTTP/1.1 {status} X\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n")
            .into_bytes();
    bytes.extend(body);
    bytes
}

/// The hello of a server that knows TLS 1.0 only (RFC 2246 §7.4.1.3).
async fn speak_tls10(mut stream: TcpStream) -> Result<()> {
    let mut hello = vec![22, 3, 1, 0, 42, 2, 0, 0, 38, 3, 1];
    hello.extend([7; 32]);
    hello.extend([0, 0, 47, 0]);
    stream.write_all(&hello).await?;
    let mut rest = [0; 1_024];
    while stream.read(&mut rest).await? > 0 {}
    Ok(())
}

/// Whether anybody may be dialled there: an ordinary address of the public internet.
pub(crate) fn is_global(address: IpAddr) -> bool {
    mcp_authflow_types::special_use::special_use(address).is_none()
}
