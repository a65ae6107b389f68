//! Over https: certificates are always checked, by the scheme that the address has and not by how it is spelled.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

use mcp_authflow_resource::{
    CannotCheck, ClientAuthentication, TokenVerifier as _, VerifyError, verify::Introspection,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, crypto::aws_lc_rs, pki_types::PrivatePkcs8KeyDer},
};

use crate::house::good_answer;

/// In which variable the child finds the address to ask.
const ENDPOINT: &str = "AUTHFLOW_TEST_ENDPOINT";

/// An authorization server on loopback with a certificate of its own making.
struct Server {
    port: u16,
    certificate: String,
    /// How many questions arrived, tokens and all.
    questions: Arc<AtomicUsize>,
}

impl Server {
    async fn start() -> Self {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let config = ServerConfig::builder_with_provider(aws_lc_rs::default_provider().into())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key.into())
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self {
            port: listener.local_addr().unwrap().port(),
            certificate: made.cert.pem(),
            questions: Arc::default(),
        };
        let questions = Arc::clone(&server.questions);
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                let (acceptor, questions) = (acceptor.clone(), Arc::clone(&questions));
                tokio::spawn(async move {
                    let Ok(mut connection) = acceptor.accept(connection).await else {
                        return;
                    };
                    let mut buffer = [0; 4_096];
                    while let Ok(1..) = connection.read(&mut buffer).await {
                        questions.fetch_add(1, SeqCst);
                        let body = good_answer();
                        let length = body.len();
                        let answer = format!(
                            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
                        );
                        connection.write_all(answer.as_bytes()).await.unwrap();
                    }
                });
            }
        });
        server
    }
}

/// S-229
#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_is_an_outage_in_every_spelling_of_https() {
    let server = Server::start().await;
    for scheme in ["https", "HTTPS", "hTTps"] {
        let endpoint = format!("{scheme}://localhost:{}/introspect", server.port);
        let outcome = ask(&endpoint).await;
        assert_eq!(
            outcome,
            Err(VerifyError::CannotCheck(CannotCheck::Refused)),
            "{scheme}"
        );
    }
    assert_eq!(server.questions.load(SeqCst), 0);
}

/// S-229: and it was the certificate that mattered.
#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_the_system_vouches_for_is_good() {
    let server = Server::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, &server.certificate).unwrap();
    let endpoint = format!("https://localhost:{}/introspect", server.port);
    let asked = tokio::task::spawn_blocking(move || {
        std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "tls::asks_where_it_is_told"])
            .env("SSL_CERT_FILE", file)
            .env_remove("SSL_CERT_DIR")
            .env(ENDPOINT, endpoint)
            .output()
            .unwrap()
    });
    let shown = String::from_utf8(asked.await.unwrap().stdout).unwrap();
    assert!(shown.contains("1 passed"), "{shown}");
    assert_eq!(server.questions.load(SeqCst), 1);
}

#[tokio::test]
#[ignore = "run by the test above, in an environment of its own"]
async fn asks_where_it_is_told() {
    #[expect(clippy::disallowed_methods, reason = "how the test above talks to this one")]
    let endpoint = std::env::var(ENDPOINT).unwrap();
    assert_eq!(ask(&endpoint).await, Ok(()));
}

async fn ask(endpoint: &str) -> Result<(), VerifyError> {
    let verifier = Introspection::new(endpoint, ClientAuthentication::bearer("abc")).unwrap();
    verifier.verify("t").await.map(drop)
}
