//! Addresses that strangers write down for the server to ask.

use std::time::Duration;

use mcp_authflow_jose::{Algorithm, SigningKey};
use reqwest::header;
use serde_json::{Value, json};
use tokio::{io::AsyncReadExt as _, net::TcpListener, sync::watch};

use crate::{
    house::{House, VERIFIER, answer, builder, text},
    public::{ISSUER, PublicServer, good_authorize},
};

/// Somebody on loopback who must not be called, and writes down how often it was, and what was said first.
struct Canary {
    port: u16,
    calls: watch::Receiver<Vec<Vec<u8>>>,
}

impl Canary {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (sender, calls) = watch::channel(Vec::new());
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut first = vec![0; 1_024];
                let length = stream.read(&mut first).await.unwrap_or(0);
                first.truncate(length);
                sender.send_modify(|calls| calls.push(first));
            }
        });
        Self { port, calls }
    }

    fn calls(&self) -> usize {
        self.calls.borrow().len()
    }
}

/// SF-01, SF-03, SF-04, SF-05, SF-09, SF-17, SF-20: whatever a stranger writes as a client, nothing special is asked, and
/// nothing is learnt from the answer.
#[tokio::test]
async fn a_client_that_is_an_address_leads_the_server_nowhere() {
    let server = PublicServer::start();
    let canary = Canary::start().await;
    let port = canary.port;
    let mut urls: Vec<String> = [
        "http://cimd.test/client.json",
        "ftp://cimd.test/client.json",
        "file:///etc/passwd",
        "gopher://cimd.test/_x",
        "data:application/json,{}",
        "unix:/run/x.sock",
        &format!("{ISSUER}/authorize?client_id={ISSUER}"),
        &format!("{ISSUER}/jwks"),
        &format!("{ISSUER}/register"),
    ]
    .map(str::to_owned)
    .into();
    for host in [
        "127.0.0.1",
        "localhost",
        "localhost.localdomain",
        "127.1",
        "0x7f.0.0.1",
        "2130706433",
        "0.0.0.0",
        "10.0.0.5",
        "172.16.0.1",
        "192.168.1.1",
        "100.64.0.1",
        "192.0.0.8",
        "192.0.2.1",
        "203.0.113.1",
        "240.0.0.1",
        "224.0.0.1",
        "169.254.1.1",
        "169.254.169.254",
        "169.254.170.2",
        "100.100.100.200",
        "192.0.0.192",
        "[::1]",
        "[::]",
        "[fd00:ec2::254]",
        "[::ffff:127.0.0.1]",
        "[::ffff:169.254.169.254]",
        "[::ffff:a9fe:a9fe]",
        "[64:ff9b::169.254.169.254]",
        "[64:ff9b:1::a9fe:a9fe]",
        "[2001:0:a9fe:a9fe::1]",
        "[::169.254.169.254]",
        "[fe80::1%25eth0]",
        "[fc00::1]",
        "[ff02::1]",
        "[100::1]",
    ] {
        urls.push(format!("https://{host}:{port}/client.json"));
        urls.push(format!("http://{host}:{port}/client.json"));
    }
    urls.push(format!("https://127.0.0.1:{}/jwks", server.port));
    let good = good_authorize();
    let mut said = Vec::new();
    for url in &urls {
        let mut path = reqwest::Url::parse(&format!("http://x{good}")).unwrap();
        let pairs: Vec<(String, String)> = path
            .query_pairs()
            .map(|(name, value)| match &*name {
                "client_id" => (name.into_owned(), url.clone()),
                _ => (name.into_owned(), value.into_owned()),
            })
            .collect();
        path.query_pairs_mut().clear().extend_pairs(pairs);
        let path = format!("{}?{}", path.path(), path.query().unwrap());
        let response = server.get(&path).send().await.unwrap();
        assert_eq!(response.status(), 400, "{url}");
        assert!(response.headers().get(header::LOCATION).is_none(), "{url}");
        let reference = response.headers()["x-request-id"].to_str().unwrap().to_owned();
        let page = response.text().await.unwrap().replace(&reference, "REFERENCE");
        said.push(page);
        let form = [
            ("grant_type", "authorization_code"),
            ("code", "x"),
            ("client_id", url),
        ];
        let (status, refusal) = answer(server.post("/token").form(&form)).await;
        assert!([400, 401].contains(&status), "{url}: {refusal}");
        let error = text(&refusal, "error");
        assert!(
            ["invalid_client", "invalid_request"].contains(&error),
            "{url}: {refusal}"
        );
    }
    said.sort_unstable();
    said.dedup();
    // How the address is spelled is the caller's own knowledge: one that cannot name a document is an identifier that
    // nobody has. What is at an address is told to nobody, so there is no third page.
    let (unusable, unknown) = ("cannot be identified", "not known here");
    assert_eq!(said.len(), 2, "{said:#?}");
    let is_said_once = |title| said.iter().filter(|page| page.contains(title)).count() == 1;
    assert!(is_said_once(unusable) && is_said_once(unknown), "{said:#?}");
    assert_eq!(canary.calls(), 0);
}

async fn register(server: &PublicServer, jwks_uri: &str) -> (u16, Value) {
    let registration = json!({
        "client_name": "Robot", "redirect_uris": ["https://client.example/cb"],
        "token_endpoint_auth_method": "private_key_jwt", "jwks_uri": jwks_uri,
    });
    answer(server.post("/register").json(&registration)).await
}

fn assertion(id: &str, audience: &str) -> String {
    #[expect(
        clippy::disallowed_methods,
        reason = "the server's clock is the system's, and an assertion has to fit it"
    )]
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    let now = i64::try_from(since.as_secs()).unwrap();
    let claims = json!({"iss": id, "sub": id, "aud": audience, "iat": now, "exp": now + 60, "jti": id});
    SigningKey::generate(Algorithm::Es256)
        .unwrap()
        .sign("JWT", &claims)
        .unwrap()
}

/// SF-17, SF-22: what is registered is a text; it is judged at each use, by what it leads to then. Refused before anything is
/// dialled, so that open, closed and foreign ports are alike.
#[tokio::test]
async fn keys_at_a_special_address_are_never_asked_for() {
    let server = PublicServer::start();
    let canary = Canary::start().await;
    let closed = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    for bad in [
        "http://client.example/jwks",
        &format!("http://127.0.0.1:{}/jwks", canary.port),
        "file:///etc/passwd",
        "https:///jwks",
    ] {
        let (status, refusal) = register(&server, bad).await;
        assert_eq!(
            (status, text(&refusal, "error")),
            (400, "invalid_client_metadata"),
            "{bad}"
        );
    }
    let mut said = Vec::new();
    for address in [
        "https://169.254.169.254/jwks",
        "https://10.0.0.5/jwks",
        "https://[fd00:ec2::254]/jwks",
        &format!("https://127.0.0.1:{}/jwks", canary.port),
        // A name: what it leads to is looked up at each use.
        &format!("https://localhost:{}/jwks", canary.port),
        &format!("https://localhost:{closed}/jwks"),
        &format!("https://127.0.0.1:{closed}/jwks"),
        &format!("https://[::ffff:127.0.0.1]:{}/jwks", canary.port),
    ] {
        let (status, client) = register(&server, address).await;
        if status == 400 {
            assert_eq!(client["error"], "invalid_client_metadata", "{address}");
            continue;
        }
        assert_eq!(status, 201, "{address}: {client}");
        let id = text(&client, "client_id");
        for _ in 0..3 {
            let form = [
                ("grant_type", "authorization_code"),
                ("code", "x"),
                ("code_verifier", VERIFIER),
                ("redirect_uri", "https://client.example/cb"),
                (
                    "client_assertion_type",
                    "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
                ),
                ("client_assertion", &assertion(id, ISSUER)),
            ];
            said.push(answer(server.post("/token").form(&form)).await);
        }
    }
    said.dedup();
    let [(status, refusal)] = &said[..] else {
        panic!("more than one answer: {said:#?}")
    };
    assert_eq!(
        (*status, text(refusal, "error")),
        (401, "invalid_client"),
        "{refusal}"
    );
    assert_eq!(canary.calls(), 0);
}

/// SF-16: proxies in the environment are for other programs.
#[tokio::test]
async fn a_proxy_in_the_environment_sees_nothing() {
    let (proxy, target) = (Canary::start().await, Canary::start().await);
    let address = format!("http://127.0.0.1:{}", proxy.port);
    let mut server = builder();
    for name in [
        "HTTPS_PROXY",
        "https_proxy",
        "HTTP_PROXY",
        "http_proxy",
        "ALL_PROXY",
        "all_proxy",
    ] {
        server = server.env(name, &address);
    }
    let house = House::of(server.env("NO_PROXY", "").start().unwrap());
    let uri = format!("https://127.0.0.1:{}/jwks", target.port);
    house
        .server
        .run([
            "client",
            "add",
            "--name",
            "Robot",
            "--id",
            "robot",
            "--auth-method",
            "private_key_jwt",
            "--jwks-uri",
            &uri,
            "--grant-type",
            "client_credentials",
            "--scope",
            "mcp:read",
        ])
        .unwrap();
    let form = [
        ("grant_type", "client_credentials"),
        (
            "client_assertion_type",
            "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        ),
        ("client_assertion", &assertion("robot", house.server.issuer())),
    ];
    let (status, refusal) = house.post("/token", &form).await;
    assert!(status >= 400, "{refusal}");
    let mut calls = target.calls.clone();
    let called = calls.wait_for(|calls| !calls.is_empty());
    let calls = tokio::time::timeout(Duration::from_secs(10), called)
        .await
        .unwrap()
        .unwrap();
    // A TLS record with a hello, and not a CONNECT.
    assert_eq!(calls[0].first(), Some(&22), "{:?}", calls[0]);
    assert_eq!(proxy.calls(), 0);
}
