//! An https host on loopback that serves what a test wants: client metadata documents, key sets, logos.
//!
//! It has a certificate authority of its own; give [`DocumentHost::ca_file`] to the server as `SSL_CERT_FILE`. A server
//! whose issuer is on loopback fetches from `https://127.0.0.1:PORT` and `https://localhost:PORT`.
//!
//! ```
//! use mcp_authflow_testkit::document_host::{DocumentHost, Served};
//!
//! let host = DocumentHost::start()?;
//! let client_id = host.serve_client("/client.json", &serde_json::json!({ "client_name": "An app" }));
//! host.serve("/logo.png", Served::new("image/png", b"\x89PNG\r\n\x1a\n"));
//! assert_eq!(client_id, host.url("/client.json"));
//! assert_eq!(host.hits("/client.json"), 0);
//! # anyhow::Ok(())
//! ```
//!
//! Requests are read one a connection, each on a thread of its own, so it works beside any runtime and is not slowed down
//! by a test that is busy.

#![expect(
    clippy::disallowed_methods,
    reason = "the document host's room: a slow answer is slow by the real clock"
)]

use std::{
    collections::HashMap,
    fmt,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::Context as _;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{ServerConfig, ServerConnection, StreamOwned, crypto::aws_lc_rs, pki_types::PrivateKeyDer};
use serde_json::{Value, json};
use tempfile::TempDir;

/// How long a peer may take to send its request.
const PATIENCE: Duration = Duration::from_secs(30);
/// The most bytes of a request's head that are read.
const MAX_HEAD_BYTES: usize = 64 * 1_024;

/// An answer. It is sent as it stands, whether it makes sense or not.
#[derive(Clone, Debug)]
pub struct Served {
    /// The status.
    pub status: u16,
    /// The content type; none is sent when it is empty.
    pub content_type: String,
    /// Further headers. `Content-Length` and `Connection: close` are added.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// How long the answer waits before its first byte.
    pub delay: Duration,
}

impl Served {
    /// 200 with a body of this type, at once.
    pub fn new(content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Self {
            status: 200,
            content_type: content_type.to_owned(),
            headers: Vec::new(),
            body: body.into(),
            delay: Duration::ZERO,
        }
    }

    /// 200 with JSON, at once.
    pub fn json(body: impl Into<Vec<u8>>) -> Self {
        Self::new("application/json", body)
    }

    /// An empty answer with this status.
    pub fn status(status: u16) -> Self {
        Self {
            status,
            ..Self::new("", Vec::new())
        }
    }

    /// The same with a header more, such as `Cache-Control`.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The same, later.
    #[must_use]
    pub fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    fn head(&self) -> String {
        use fmt::Write as _;
        let mut head = format!("HTTP/1.1 {} Said\r\nConnection: close\r\n", self.status);
        // Writing to a String cannot fail.
        if !self.content_type.is_empty() {
            let _ = write!(head, "Content-Type: {}\r\n", self.content_type);
        }
        for (name, value) in &self.headers {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        let _ = write!(head, "Content-Length: {}\r\n\r\n", self.body.len());
        head
    }
}

/// The host. It stops when it is dropped.
pub struct DocumentHost {
    address: SocketAddr,
    name: String,
    ca_pem: String,
    folder: TempDir,
    shared: Arc<Shared>,
}

impl fmt::Debug for DocumentHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DocumentHost")
            .field("name", &self.name)
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Shared {
    answers: Mutex<HashMap<String, Served>>,
    heads: Mutex<Vec<String>>,
    is_down: AtomicBool,
    has_ended: AtomicBool,
}

impl DocumentHost {
    /// Starts a host at `https://127.0.0.1:PORT`, which is also `https://localhost:PORT`.
    ///
    /// # Errors
    /// When no port is to be had, or no certificate can be made.
    pub fn start() -> anyhow::Result<Self> {
        Self::start_at((Ipv4Addr::LOCALHOST, 0).into(), &["127.0.0.1", "localhost"])
    }

    /// Starts a host at an address, which shows a certificate for these names; the first one stands in its URLs. Port 0 is
    /// a free one; port 443 is left out of URLs.
    ///
    /// # Errors
    /// As there.
    pub fn start_at(address: SocketAddr, names: &[&str]) -> anyhow::Result<Self> {
        let name = names.first().context("a host needs a name")?;
        let mut params = CertificateParams::new(vec![])?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        let key = KeyPair::generate()?;
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let certificate = CertificateParams::new(names.clone())?.signed_by(&key, &authority)?;
        let private_key = PrivateKeyDer::try_from(key.serialize_der()).map_err(anyhow::Error::msg)?;
        let tls = ServerConfig::builder_with_provider(aws_lc_rs::default_provider().into())
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], private_key)?;
        let folder = tempfile::Builder::new().prefix("authflow-documents-").tempdir()?;
        let ca_pem = authority.pem();
        std::fs::write(folder.path().join("ca.pem"), &ca_pem)?;

        let listener = TcpListener::bind(address).with_context(|| format!("cannot listen on {address}"))?;
        let shared = Arc::<Shared>::default();
        let host = Self {
            address: listener.local_addr()?,
            name: (*name).to_owned(),
            ca_pem,
            folder,
            shared: Arc::clone(&shared),
        };
        let tls = Arc::new(tls);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if shared.has_ended.load(Ordering::SeqCst) {
                    break;
                }
                let Ok(stream) = stream else { continue };
                if shared.is_down.load(Ordering::SeqCst) {
                    continue;
                }
                let (tls, shared) = (Arc::clone(&tls), Arc::clone(&shared));
                // A peer that goes away half-way has what it wanted.
                thread::spawn(move || answer(stream, tls, &shared));
            }
        });
        Ok(host)
    }

    /// The URL of a path.
    pub fn url(&self, path: &str) -> String {
        self.url_as(&self.name, path)
    }

    /// The URL of a path under another name of this host, such as `localhost`.
    pub fn url_as(&self, name: &str, path: &str) -> String {
        match self.address.port() {
            443 => format!("https://{name}{path}"),
            port => format!("https://{name}:{port}{path}"),
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The certificate of its authority, in PEM.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// The same in a file, for `SSL_CERT_FILE`; it is there as long as the host is.
    pub fn ca_file(&self) -> PathBuf {
        self.folder().join("ca.pem")
    }

    fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Answers a path with this from now on, with or without a query behind it. Other paths are 404.
    pub fn serve(&self, path: &str, answer: Served) {
        lock(&self.shared.answers).insert(path.to_owned(), answer);
    }

    /// Serves a client metadata document at a path and returns its URL, the client's identifier. The members given are
    /// put over those of a good public client, whose only redirect URI is `http://127.0.0.1/callback`; `null` takes one
    /// away.
    pub fn serve_client(&self, path: &str, members: &Value) -> String {
        let client_id = self.url(path);
        self.serve(
            path,
            Served::json(client_document(&client_id, members).to_string()),
        );
        client_id
    }

    /// Answers a path with 404 again.
    pub fn remove(&self, path: &str) {
        lock(&self.shared.answers).remove(path);
    }

    /// Hangs up on everybody, as a host that is down, or answers again.
    pub fn go_down(&self, is_down: bool) {
        self.shared.is_down.store(is_down, Ordering::SeqCst);
    }

    /// How often a path was asked for, its query left out.
    pub fn hits(&self, path: &str) -> usize {
        lock(&self.shared.heads)
            .iter()
            .filter(|head| path_of(head) == path)
            .count()
    }

    /// The heads of all requests so far, as they came.
    pub fn heads(&self) -> Vec<String> {
        lock(&self.shared.heads).clone()
    }
}

impl Drop for DocumentHost {
    fn drop(&mut self) {
        self.shared.has_ended.store(true, Ordering::SeqCst);
        // Wakes the listener, which then sees that it is over.
        let _ = TcpStream::connect_timeout(&self.address, Duration::from_secs(1));
    }
}

/// A client metadata document: the members given over those of a good public client; `null` takes one away.
pub fn client_document(client_id: &str, members: &Value) -> Value {
    let mut document = json!({
        "client_id": client_id,
        "client_name": "A test client",
        "redirect_uris": ["http://127.0.0.1/callback"],
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": "none",
    });
    if let (Some(document), Some(members)) = (document.as_object_mut(), members.as_object()) {
        for (name, value) in members {
            if value.is_null() {
                document.remove(name);
            } else {
                document.insert(name.clone(), value.clone());
            }
        }
    }
    document
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn path_of(head: &str) -> &str {
    let target = head.split(' ').nth(1).unwrap_or_default();
    target.split('?').next().unwrap_or_default()
}

fn answer(stream: TcpStream, tls: Arc<ServerConfig>, shared: &Shared) -> anyhow::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut stream = StreamOwned::new(ServerConnection::new(tls)?, stream);
    let mut head = Vec::new();
    let mut bytes = [0; 4_096];
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let count = stream.read(&mut bytes)?;
        anyhow::ensure!(count > 0 && head.len() < MAX_HEAD_BYTES, "no request");
        head.extend_from_slice(&bytes[..count]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let served = lock(&shared.answers).get(path_of(&head)).cloned();
    lock(&shared.heads).push(head);
    let served = served.unwrap_or_else(|| Served::status(404));
    thread::sleep(served.delay);
    stream.write_all(served.head().as_bytes())?;
    stream.write_all(&served.body)?;
    stream.conn.send_close_notify();
    stream.flush()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use mcp_authflow_fetch::{FetchError, Fetcher, Freshness, Limits};

    use super::*;

    /// A fetcher that remembers nothing of the last one.
    async fn get(host: &DocumentHost, url: &str) -> Result<Vec<u8>, FetchError> {
        let fetcher = Fetcher::builder()
            .dangerous_allow_loopback()
            .deadline(PATIENCE)
            .trust_also(host.ca_pem())
            .unwrap()
            .build();
        let document = fetcher.get(url, Limits::METADATA, Freshness::Cached).await?;
        Ok(document.body.to_vec())
    }

    #[tokio::test]
    async fn it_serves_by_https_what_it_is_told_and_counts() {
        let host = DocumentHost::start().unwrap();
        let id = host.serve_client(
            "/client.json",
            &json!({"client_name": "Me", "response_types": null}),
        );
        let document: Value = serde_json::from_slice(&get(&host, &id).await.unwrap()).unwrap();
        assert_eq!(document["client_id"], id);
        assert_eq!(
            (&document["client_name"], &document["response_types"]),
            (&json!("Me"), &Value::Null)
        );

        host.serve(
            "/slow",
            Served::json("{}")
                .header("Cache-Control", "no-store")
                .after(Duration::from_millis(50)),
        );
        let slow = get(&host, &host.url_as("localhost", "/slow?again=1")).await;
        assert_eq!(slow, Ok(b"{}".to_vec()));
        host.serve("/down", Served::status(503));
        assert!(matches!(
            get(&host, &host.url("/down")).await,
            Err(FetchError::Unavailable(_))
        ));
        assert!(matches!(
            get(&host, &host.url("/other")).await,
            Err(FetchError::BadDocument(_))
        ));
        let hits = ["/client.json", "/slow", "/down", "/other"].map(|path| host.hits(path));
        assert_eq!(hits, [1, 1, 1, 1]);

        host.go_down(true);
        assert!(get(&host, &id).await.is_err());
        host.go_down(false);
        assert!(get(&host, &id).await.is_ok());
        assert_eq!(host.hits("/client.json"), 2);
        assert!(host.heads()[0].to_lowercase().contains("host: 127.0.0.1:"));
        assert_eq!(std::fs::read_to_string(host.ca_file()).unwrap(), host.ca_pem());
    }
}
