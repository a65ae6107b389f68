//! Who the other side is.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{ServerConfig, crypto::aws_lc_rs, pki_types::PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use super::{peer::json, *};
use crate::{BadDocument, InvalidCertificates, Unavailable};

/// A certificate authority of one test.
pub(super) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(super) fn new() -> Self {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(super) fn pem(&self) -> String {
        self.0.pem()
    }

    /// A server that shows a certificate for this name or address.
    pub(super) fn acceptor(&self, name: &str) -> TlsAcceptor {
        self.acceptor_with(&CertificateParams::new(vec![name.to_owned()]).unwrap())
    }

    fn acceptor_with(&self, params: &CertificateParams) -> TlsAcceptor {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        acceptor_showing(&certificate, &key)
    }
}

fn acceptor_showing(certificate: &rcgen::Certificate, key: &KeyPair) -> TlsAcceptor {
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(aws_lc_rs::default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

/// Asks a host of a private network that this authority vouches for.
fn private(authority: &Authority, names: &Names) -> Fetcher {
    Fetcher::builder()
        .deadline(PATIENCE)
        .dangerous_allow_network("127.0.0.1".parse().unwrap())
        .trust_also(&authority.pem())
        .unwrap()
        .resolver(names.resolver())
        .build()
}

fn is_tls_failure(answer: &Result<Document, FetchError>) -> bool {
    matches!(answer, Err(FetchError::BadDocument(BadDocument::Tls(_))))
}

#[tokio::test]
async fn a_host_that_shows_its_name_is_asked() {
    let authority = Authority::new();
    let names = Names::answering(&[&["127.0.0.1"]]);
    let fetcher = private(&authority, &names);
    for name in ["client.test", "127.0.0.1"] {
        let peer = Peer::secured(authority.acceptor(name), |_| json("{}", "")).await;
        assert_eq!(
            body(get(&fetcher, &format!("https://{name}:{}/d", peer.port)).await),
            "{}"
        );
        assert!(peer.heads()[0].contains(&format!("host: {name}:{}\r\n", peer.port)));
    }
}

/// SF-14
#[tokio::test]
async fn a_host_that_cannot_show_its_name_is_not_asked() {
    let authority = Authority::new();
    let names = Names::answering(&[&["127.0.0.1"]]);
    let expired = {
        let mut params = CertificateParams::new(vec!["client.test".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2021, 1, 1);
        params
    };
    let not_yet = {
        let mut params = CertificateParams::new(vec!["client.test".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(4000, 1, 1);
        params
    };
    let self_signed = {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["client.test".to_owned()]).unwrap();
        acceptor_showing(&params.self_signed(&key).unwrap(), &key)
    };
    for (case, acceptor) in [
        ("signed by itself", self_signed),
        ("another name", authority.acceptor("other.test")),
        ("a wildcard one level off", authority.acceptor("*.client.test")),
        ("an address", authority.acceptor("127.0.0.1")),
        ("another authority", Authority::new().acceptor("client.test")),
        ("expired", authority.acceptor_with(&expired)),
        ("not yet valid", authority.acceptor_with(&not_yet)),
    ] {
        let peer = Peer::secured(acceptor, |_| json("{}", "")).await;
        let answer = get(
            &private(&authority, &names),
            &format!("https://client.test:{}/d", peer.port),
        )
        .await;
        assert!(is_tls_failure(&answer), "{case}: {answer:?}");
        assert_eq!(peer.requests(), 0, "{case}");
    }
}

/// Begins a handshake with a server that says this; answers what came of it, and all that was heard.
async fn said_over_tcp(said: Vec<u8>) -> (Result<Document, FetchError>, Vec<u8>) {
    let authority = Authority::new();
    let names = Names::answering(&[&["127.0.0.1"]]);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut stream, &said)
            .await
            .unwrap();
        // Until the other side is done with it.
        let mut heard = Vec::new();
        tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut heard)
            .await
            .ok();
        heard
    });
    let answer = get(
        &private(&authority, &names),
        &format!("https://client.test:{port}/d"),
    )
    .await;
    (answer, server.await.unwrap())
}

#[tokio::test]
async fn plain_http_behind_an_https_url_is_not_used() {
    let plain = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";
    let (answer, _) = said_over_tcp(plain.to_vec()).await;
    assert!(is_tls_failure(&answer), "{answer:?}");
}

/// SF-14, RFC 8996: the old versions are not spoken, and not agreed to.
#[tokio::test]
async fn a_host_that_speaks_only_an_old_version_is_not_asked() {
    for minor in [0, 1, 2] {
        // RFC 2246 §7.4.1.3: a ServerHello of SSL 3.0, TLS 1.0 or 1.1, with TLS_RSA_WITH_AES_128_CBC_SHA.
        let hello = [&[3, minor][..], &[7; 32], &[0, 0, 0x2f, 0]].concat();
        let length = u8::try_from(hello.len()).unwrap();
        let handshake = [&[2, 0, 0, length][..], &hello].concat();
        let record = [&[22, 3, minor, 0, length + 4][..], &handshake].concat();
        let (answer, heard) = said_over_tcp(record).await;
        assert!(is_tls_failure(&answer), "{minor}: {answer:?}");
        // Its hello, and the alert that ends it.
        assert_eq!(heard.first(), Some(&22));
        assert!(!heard.windows(4).any(|four| four == b"GET "));
    }
}

#[tokio::test]
async fn a_handshake_that_hangs_is_cut_off() {
    let authority = Authority::new();
    let limit = Duration::from_millis(300);
    // It accepts, and never says a word.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let fetcher = Fetcher::builder()
        .deadline(limit)
        .dangerous_allow_network("127.0.0.1".parse().unwrap())
        .trust_also(&authority.pem())
        .unwrap()
        .build();
    let url = format!("https://127.0.0.1:{port}/d");
    let answer = tokio::time::timeout(PATIENCE, get(&fetcher, &url)).await.unwrap();
    assert_eq!(answer, Err(Unavailable::TimedOut(limit).into()));
}

#[test]
fn what_is_no_certificate_is_not_trusted() {
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for pem in ["", "x", broken] {
        assert_eq!(
            Fetcher::builder().trust_also(pem).err(),
            Some(InvalidCertificates),
            "{pem}"
        );
    }
}
