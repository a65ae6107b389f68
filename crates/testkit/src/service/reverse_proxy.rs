//! A real reverse proxy in front of a server: nginx or Caddy, in a folder of its own, on a free loopback port, with TLS for
//! `localhost`.

use std::{
    net::{Ipv4Addr, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{
    port::free_port,
    process::{OwnedProcess, StopSignal},
};

const PATIENCE: Duration = Duration::from_secs(30);

/// Where a proxy will be, before it runs: what its configuration has to name.
#[derive(Debug)]
pub struct ProxySite {
    folder: TempDir,
    port: u16,
}

/// A running proxy, ended when dropped.
#[derive(Debug)]
pub struct ReverseProxy {
    // The process ends before its folder goes.
    process: OwnedProcess,
    site: ProxySite,
}

impl ProxySite {
    /// Chooses a port, and makes a certificate for `localhost`, and the authority that signs it.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn new() -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("authflow-proxy-").tempdir()?;
        let authority_key = rcgen::KeyPair::generate()?;
        let mut authority = rcgen::CertificateParams::default();
        authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let trusted = authority.self_signed(&authority_key)?;
        let key = rcgen::KeyPair::generate()?;
        let signer = rcgen::Issuer::new(authority, authority_key);
        let certificate =
            rcgen::CertificateParams::new(vec!["localhost".to_owned()])?.signed_by(&key, &signer)?;
        for (name, text) in [
            ("authority.pem", trusted.pem()),
            ("certificate.pem", certificate.pem()),
            ("key.pem", key.serialize_pem()),
        ] {
            std::fs::write(folder.path().join(name), text)?;
        }
        Ok(Self {
            folder,
            port: free_port()?,
        })
    }

    /// The port it will listen on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its public origin.
    pub fn origin(&self) -> String {
        format!("https://localhost:{}", self.port)
    }

    /// The certificate of the authority: what to trust (`SSL_CERT_FILE`).
    pub fn authority(&self) -> PathBuf {
        self.folder.path().join("authority.pem")
    }

    /// The certificate of `localhost`.
    pub fn certificate(&self) -> PathBuf {
        self.folder.path().join("certificate.pem")
    }

    /// The certificate's private key.
    pub fn key(&self) -> PathBuf {
        self.folder.path().join("key.pem")
    }

    /// Runs nginx with these `server` blocks.
    ///
    /// # Errors
    /// Says what to install when there is no `nginx`, and shows what it said when it does not come up.
    pub fn nginx(self, servers: &str) -> anyhow::Result<ReverseProxy> {
        let folder = self.folder.path();
        let place = folder.display();
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|what| format!("    {what}_temp_path {place}/{what};\n"))
            .concat();
        let user = if rustix::process::geteuid().is_root() {
            "user root root;\n"
        } else {
            ""
        };
        let text = format!(
            "{user}daemon off;\nworker_processes 1;\npid {place}/nginx.pid;\nerror_log stderr;\n\
             events {{ worker_connections 256; }}\nhttp {{\n    access_log off;\n{temporary}{servers}\n}}\n"
        );
        let file = folder.join("nginx.conf");
        std::fs::write(&file, text)?;
        let program = find("nginx", "nginx-light")?;
        let mut command = Command::new(program);
        command
            .arg("-e")
            .arg("stderr")
            .arg("-p")
            .arg(folder)
            .arg("-c")
            .arg(&file);
        self.run("nginx", command)
    }

    /// Runs Caddy with this Caddyfile. Options for all sites (no administration, no certificates of its own making) are put
    /// in front.
    ///
    /// # Errors
    /// As for [`nginx`](Self::nginx).
    pub fn caddy(self, sites: &str) -> anyhow::Result<ReverseProxy> {
        let folder = self.folder.path();
        let file = folder.join("Caddyfile");
        let options = "{\n\tadmin off\n\tauto_https disable_redirects\n}\n";
        std::fs::write(&file, format!("{options}{sites}"))?;
        let mut command = Command::new(find("caddy", "caddy")?);
        command
            .args(["run", "--adapter", "caddyfile", "--config"])
            .arg(&file)
            .env("XDG_DATA_HOME", folder)
            .env("XDG_CONFIG_HOME", folder);
        self.run("caddy", command)
    }

    fn run(self, name: &'static str, mut command: Command) -> anyhow::Result<ReverseProxy> {
        let folder = self.folder.path().to_owned();
        let mut process = OwnedProcess::spawn(name, &mut command, StopSignal::Terminate, Some(&folder))?;
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            ensure!(
                process.has_ended()?.is_none() && Instant::now() < deadline,
                "{name} does not come up:\n{}",
                process.output().text()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(ReverseProxy { process, site: self })
    }
}

impl ReverseProxy {
    /// Where it is.
    pub fn site(&self) -> &ProxySite {
        &self.site
    }

    /// Sends a request, whole as it is to be on the wire, from an address of this computer, and reads until the end: it
    /// should say `Connection: close`.
    ///
    /// # Errors
    /// When there is no connection, or no end in time.
    pub async fn ask(&self, from: Ipv4Addr, request: &str) -> anyhow::Result<String> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.site.authority())?)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let asking = async {
            let socket = tokio::net::TcpSocket::new_v4()?;
            socket.bind((from, 0).into())?;
            let stream = socket
                .connect((Ipv4Addr::LOCALHOST, self.site.port).into())
                .await?;
            let name = ServerName::try_from("localhost")?;
            let mut stream = tokio_rustls::TlsConnector::from(Arc::new(tls))
                .connect(name, stream)
                .await?;
            stream.write_all(request.as_bytes()).await?;
            let mut answer = Vec::new();
            match stream.read_to_end(&mut answer).await {
                // Some end without a word of TLS.
                Err(error) if error.kind() != std::io::ErrorKind::UnexpectedEof => return Err(error.into()),
                _ => {}
            }
            anyhow::Ok(String::from_utf8_lossy(&answer).into_owned())
        };
        tokio::time::timeout(PATIENCE, asking).await?
    }

    /// What it wrote.
    pub fn output(&self) -> String {
        self.process.output().text()
    }
}

fn find(program: &str, package: &str) -> anyhow::Result<PathBuf> {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&folders)
        .chain(["/usr/sbin", "/usr/local/sbin"].map(|one| Path::new(one).to_owned()))
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
        .with_context(|| format!("found no {program}; install the package `{package}`"))
}
