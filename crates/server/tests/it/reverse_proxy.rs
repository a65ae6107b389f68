//! The server behind a real proxy: what the guide shows works, and what goes wrong is said.

use std::{net::Ipv4Addr, time::Duration};

use mcp_authflow_testkit::{
    server::TestServer,
    service::reverse_proxy::{ProxySite, ReverseProxy},
};
use serde_json::Value;

use crate::house::builder;

const NGINX: &str = include_str!("../../../../docs/proxies/nginx.conf");
const CADDY: &str = include_str!("../../../../docs/proxies/Caddyfile");

/// The server of a site, with this said of its proxies.
fn server(site: &ProxySite, config: &str) -> TestServer {
    builder()
        .issuer(&site.origin())
        .config(format!("issuer = \"{}\"\n{config}", site.origin()))
        .env("SSL_CERT_FILE", site.authority().to_str().unwrap())
        .start()
        .unwrap()
}

/// The text with each of the pairs replaced; each must be in it.
fn replaced(text: &str, pairs: &[(&str, String)]) -> String {
    pairs.iter().fold(text.to_owned(), |text, (old, new)| {
        assert!(text.contains(old), "{old}");
        text.replace(old, new)
    })
}

/// The guide's nginx, on this computer.
fn nginx_of_the_guide(site: &ProxySite, server: &TestServer) -> String {
    replaced(
        NGINX,
        &[
            ("listen 443 ssl", format!("listen 127.0.0.1:{} ssl", site.port())),
            ("auth.example;", "localhost;".to_owned()),
            (
                "/etc/ssl/auth.example.pem",
                site.certificate().display().to_string(),
            ),
            ("/etc/ssl/auth.example.key", site.key().display().to_string()),
            ("127.0.0.1:8000", format!("127.0.0.1:{}", server.port())),
        ],
    )
}

/// The guide's Caddyfile, on this computer.
fn caddy_of_the_guide(site: &ProxySite, server: &TestServer) -> String {
    replaced(
        CADDY,
        &[
            (
                "auth.example {",
                format!(
                    "{} {{\n\tbind 127.0.0.1\n\ttls {} {}",
                    site.origin(),
                    site.certificate().display(),
                    site.key().display()
                ),
            ),
            ("127.0.0.1:8000", format!("127.0.0.1:{}", server.port())),
        ],
    )
}

/// What `authflow config check --live` finds that is not as it should be.
fn troubles(server: &TestServer) -> Vec<(String, String)> {
    let output = server.try_run(["config", "check", "--live", "--json"]).unwrap();
    let found: Vec<Value> =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    let has_errors = found.iter().any(|one| one["severity"] == "error");
    assert_eq!(output.status.code(), Some(i32::from(has_errors)), "{found:#?}");
    assert!(!found.is_empty());
    found
        .into_iter()
        .filter(|one| one["severity"] != "good")
        .map(|one| {
            let text = |name: &str| one[name].as_str().unwrap().to_owned();
            (text("severity"), text("text"))
        })
        .collect()
}

async fn leads_every_client_here(server: &TestServer, proxy: &ReverseProxy) {
    // The resources of this house are nowhere: theirs are the only questions without an answer.
    for (severity, text) in troubles(server) {
        assert!(
            severity == "warning" && text.contains(".test/mcp"),
            "{severity} {text}"
        );
    }
    let line = server
        .output()
        .wait_for("leads here as it should", Duration::from_secs(30));
    assert!(line.is_some(), "{}\n{}", server.output().text(), proxy.output());

    let request = "GET /authorize?client_id=web&response_type=code&resource=https%3A%2F%2Frs1.test%2Fmcp\
                   &redirect_uri=https%3A%2F%2Fclient.example%2Fcb&code_challenge_method=S256\
                   &code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM HTTP/1.1\r\nHost: localhost\r\n\
                   X-Forwarded-For: 198.51.100.7\r\nConnection: close\r\n\r\n";
    let answer = proxy.ask(Ipv4Addr::new(127, 0, 0, 9), request).await.unwrap();
    let head = answer.to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 303 "), "{answer}");
    assert!(head.contains("\r\nset-cookie: __host-"), "{answer}");
    assert!(head.contains("\r\nlocation: /ui/interaction/"), "{answer}");
    // It counts for whoever asked the proxy, not for the proxy, and not for whom the caller claims to be.
    let noted = server
        .output()
        .wait_for("address=127.0.0.9", Duration::from_secs(10));
    assert!(noted.is_some(), "{}", server.output().text());
    assert!(!server.output().text().contains("198.51.100.7"));
}

/// HH-02, M-045, P10
#[tokio::test(flavor = "multi_thread")]
async fn the_nginx_of_the_guide_leads_every_client_here() {
    let site = ProxySite::new().unwrap();
    let server = server(&site, "trusted_proxies = \"127.0.0.1\"\n");
    let configuration = nginx_of_the_guide(&site, &server);
    let proxy = site.nginx(&configuration).unwrap();
    leads_every_client_here(&server, &proxy).await;
}

/// HH-02, M-045, P10
#[tokio::test(flavor = "multi_thread")]
async fn the_caddy_of_the_guide_leads_every_client_here() {
    let site = ProxySite::new().unwrap();
    let server = server(&site, "trusted_proxies = \"127.0.0.1\"\n");
    let configuration = caddy_of_the_guide(&site, &server);
    let proxy = site.caddy(&configuration).unwrap();
    leads_every_client_here(&server, &proxy).await;
}

/// M-045, M-117, M-132, P10: each is a mistake that people make.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_proxy_gets_wrong_is_said() {
    const FORWARDED: &str = "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;";
    const LOCATION: &str = "location / {";
    let mistakes: [(&str, &str, String, &str); 9] = [
        (
            "127.0.0.1",
            FORWARDED,
            String::new(),
            "error: the proxy 127.0.0.1 passes on whatever callers say",
        ),
        (
            "127.0.0.1",
            FORWARDED,
            "proxy_set_header X-Forwarded-For \"\";".to_owned(),
            "warning: the proxy 127.0.0.1 does not say for whom it speaks",
        ),
        (
            "10.0.0.0/8",
            FORWARDED,
            FORWARDED.to_owned(),
            "warning: requests come through the proxy 127.0.0.1, which is not among",
        ),
        (
            "127.0.0.1",
            LOCATION,
            format!("location /.well-known/ {{ return 301 https://localhost/elsewhere; }}\n{LOCATION}"),
            "error: 301 Moved Permanently to https://localhost/elsewhere: clients do not follow it",
        ),
        (
            "127.0.0.1",
            LOCATION,
            format!(
                "location /.well-known/ {{ default_type text/html; return 200 '<title>Shop</title>'; }}\n{LOCATION}"
            ),
            "error: 200 OK with text/html: that is not this server",
        ),
        (
            "127.0.0.1",
            LOCATION,
            format!(
                "location /.well-known/openid-configuration {{ default_type application/json; \
                 add_header Access-Control-Allow-Origin '*'; return 200 '{{\"issuer\":\"https://localhost/\"}}'; }}\n{LOCATION}"
            ),
            "error: it names the issuer \"https://localhost/\" and not",
        ),
        (
            "127.0.0.1",
            LOCATION,
            format!("{LOCATION} add_header Access-Control-Allow-Origin '*';"),
            "warning: its answer has Access-Control-Allow-Origin twice",
        ),
        (
            "127.0.0.1",
            LOCATION,
            format!("{LOCATION} proxy_set_header Authorization \"\";"),
            "error: the proxy takes the Authorization header away",
        ),
        (
            "127.0.0.1",
            LOCATION,
            format!("{LOCATION} proxy_hide_header Cache-Control;"),
            "error: its answer lost Cache-Control: no-store on the way",
        ),
    ];
    for (trusted, right, wrong, expected) in mistakes {
        let site = ProxySite::new().unwrap();
        let server = server(
            &site,
            &format!("trusted_proxies = \"{trusted}\"\ncheck_public_url = false\n"),
        );
        let configuration = replaced(&nginx_of_the_guide(&site, &server), &[(right, wrong)]);
        let _proxy = site.nginx(&configuration).unwrap();
        let found: Vec<String> = troubles(&server)
            .into_iter()
            .map(|(severity, text)| format!("{severity}: {text}"))
            .collect();
        assert!(
            found.iter().any(|one| one.starts_with(expected)),
            "{expected}\n{found:#?}"
        );
    }
}

/// Nobody listens: the start goes on, and says so once it has tried for a while; the verb says it at once.
#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_nobody_answers_is_an_error_of_the_verb_alone() {
    let site = ProxySite::new().unwrap();
    let server = server(&site, "trusted_proxies = \"127.0.0.1\"\n");
    let found = troubles(&server);
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].0 == "error" && found[0].1.starts_with("it cannot be reached from here"));
}
