//! A server for the public internet, as its proxy and its neighbours see it; and requests that no client library sends.

use std::{net::IpAddr, process::Command, time::Duration};

use base64::Engine as _;
use mcp_authflow_testkit::service::{
    port::free_port,
    process::{OwnedProcess, StopSignal},
};
use reqwest::RequestBuilder;
use sha2::Digest as _;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::house::{BOOTSTRAP, VERIFIER};

pub(crate) const ISSUER: &str = "https://auth.example";

/// A server whose issuer is [`ISSUER`]; it ends with this value.
pub(crate) struct PublicServer {
    // Dropped in this order: first the process ends, then its folder goes.
    pub(crate) process: OwnedProcess,
    _folder: TempDir,
    pub(crate) port: u16,
    address: IpAddr,
}

impl PublicServer {
    /// Only 127.0.0.1 is a proxy of it.
    pub(crate) fn start() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("authflow-public-")
            .tempdir()
            .unwrap();
        std::fs::write(folder.path().join("bootstrap.toml"), BOOTSTRAP).unwrap();
        let port = free_port().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_authflow"));
        command
            .current_dir(folder.path())
            .args(["serve", "--issuer", ISSUER, "--database-url", "memory:"])
            .args([
                "--bootstrap",
                "bootstrap.toml",
                "--listen",
                &format!("127.0.0.1:{port}"),
            ])
            .arg("--data-dir")
            .arg(folder.path())
            .env("AUTHFLOW_TRUSTED_PROXIES", "127.0.0.1")
            // Nobody of that name is to be asked by a test.
            .env("AUTHFLOW_CHECK_PUBLIC_URL", "false");
        let mut process = OwnedProcess::spawn(
            "authflow",
            &mut command,
            StopSignal::Terminate,
            Some(folder.path()),
        )
        .unwrap();
        process
            .wait_until("listening on", Duration::from_secs(60))
            .unwrap();
        Self {
            process,
            _folder: folder,
            port,
            address: "127.0.0.7".parse().unwrap(),
        }
    }

    /// The same server, asked by its proxy.
    pub(crate) fn by_its_proxy(mut self) -> Self {
        self.address = "127.0.0.1".parse().unwrap();
        self
    }

    fn http(&self) -> reqwest::Client {
        reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .local_address(self.address)
            .no_proxy()
            .build()
            .unwrap()
    }

    pub(crate) fn get(&self, path: &str) -> RequestBuilder {
        self.http().get(format!("http://127.0.0.1:{}{path}", self.port))
    }

    pub(crate) fn post(&self, path: &str) -> RequestBuilder {
        self.http().post(format!("http://127.0.0.1:{}{path}", self.port))
    }
}

/// The path of a good request for approval.
pub(crate) fn good_authorize() -> String {
    let challenge = base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(sha2::Sha256::digest(VERIFIER));
    format!(
        "/authorize?response_type=code&client_id=web&redirect_uri=https%3A%2F%2Fclient.example%2Fcb&state=s&\
         code_challenge={challenge}&code_challenge_method=S256&resource=https%3A%2F%2Frs1.test%2Fmcp&scope=mcp%3Aread"
    )
}

/// Sends these bytes; answers the status, and all that came back.
pub(crate) async fn ask_by_hand(port: u16, bytes: &str) -> (u16, String) {
    let asking = async {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        stream.write_all(bytes.as_bytes()).await.unwrap();
        let mut said = Vec::new();
        stream.read_to_end(&mut said).await.unwrap();
        String::from_utf8(said).unwrap()
    };
    let said = timeout(Duration::from_secs(10), asking)
        .await
        .expect("an answer, and the end");
    let status = said
        .strip_prefix("HTTP/1.1 ")
        .and_then(|rest| rest.get(..3))
        .unwrap_or_else(|| panic!("no answer: {said:?}"));
    (status.parse().unwrap(), said)
}

/// What stands behind the head.
pub(crate) fn body_of(said: &str) -> &str {
    said.split_once("\r\n\r\n").unwrap().1
}

/// Every way of naming another host (HH-01), as lines of a head; `{}` is the right one.
pub(crate) const OTHER_HOSTS: [&str; 13] = [
    "Host: evil.example",
    "Host: {}\r\nX-Forwarded-Host: evil.example",
    "Host: {}\r\nForwarded: host=evil.example;proto=http",
    "Host: {}\r\nX-Forwarded-Server: evil.example",
    "Host: {}:31337",
    "Host: evil.example:443",
    "Host: {}@evil.example",
    "Host: evil.example/{}",
    "Host: ",
    "Host: {}\r\nHost: evil.example",
    "Host: evil.example\r\nHost: {}",
    "Host: {}\r\nHost: {}",
    "X-Host: {}",
];

/// Whether the lines have another number of `Host` than one, which is a 400 (RFC 9112 §3.2).
pub(crate) fn is_no_request(lines: &str) -> bool {
    lines
        .split("\r\n")
        .filter(|line| line.starts_with("Host:"))
        .count()
        != 1
}
