//! Where requests say they go: what of it is believed.

use std::time::Duration;

use reqwest::header;
use serde_json::Value;

use crate::{
    house::{House, R1, answer, text},
    public::{ISSUER, OTHER_HOSTS, PublicServer, ask_by_hand, body_of, good_authorize, is_no_request},
};

const PROXY_HEADERS: [(&str, &str); 12] = [
    ("x-forwarded-proto", "http"),
    ("x-forwarded-ssl", "off"),
    ("front-end-https", "off"),
    ("forwarded", "proto=http;host=evil.example"),
    ("x-forwarded-host", "evil.example"),
    ("x-forwarded-port", "81"),
    ("x-forwarded-prefix", "//evil.example"),
    ("x-original-url", "/admin"),
    ("x-rewrite-url", "/admin"),
    ("x-original-host", "evil.example"),
    ("via", "1.1 evil.example"),
    ("x-http-method-override", "DELETE"),
];

/// HH-01: addresses come from the configuration, and a request without one host is none.
#[tokio::test]
async fn no_host_in_a_request_is_in_an_answer() {
    let server = PublicServer::start();
    let own = "auth.example";
    let good = good_authorize();
    for path in [
        "/.well-known/oauth-authorization-server",
        "/.well-known/openid-configuration",
        "/ui/device",
        "/authorize?client_id=unknown",
        "/nowhere",
        &good,
    ] {
        let ask = async |lines: &str| {
            let request = format!("GET {path} HTTP/1.1\r\n{lines}\r\nConnection: close\r\n\r\n");
            ask_by_hand(server.port, &request).await
        };
        let (expected, right) = ask(&format!("Host: {own}")).await;
        if path.starts_with("/.well-known/") {
            let document: Value = serde_json::from_str(body_of(&right)).unwrap();
            assert_eq!(document["issuer"], ISSUER);
            for (name, value) in document.as_object().unwrap() {
                if name.ends_with("_endpoint") || name.ends_with("_uri") {
                    assert!(
                        value.as_str().unwrap().starts_with(&format!("{ISSUER}/")),
                        "{name}: {value}"
                    );
                }
            }
        }
        for lines in OTHER_HOSTS {
            let lines = lines.replace("{}", own);
            let (status, said) = ask(&lines).await;
            if is_no_request(&lines) {
                assert_eq!(status, 400, "{path} {lines:?}: {said}");
            } else if status != 400 && status != 421 {
                assert_eq!(status, expected, "{path} {lines:?}");
            }
            assert!(
                !said.contains("evil") && !said.contains("31337"),
                "{path} {lines:?}: {said}"
            );
            if status == 200 && path.starts_with("/.well-known/") {
                assert_eq!(body_of(&said), body_of(&right), "{lines:?}");
            }
        }
        // RFC 9112 §3.2.2: a request to a proxy that came here by mistake.
        let absolute =
            format!("GET http://evil.example{path} HTTP/1.1\r\nHost: {own}\r\nConnection: close\r\n\r\n");
        let (_, said) = ask_by_hand(server.port, &absolute).await;
        assert!(!said.contains("evil"), "{path}: {said}");
    }
}

/// HH-01, by HTTP/2 (RFC 9113 §8.3.1).
#[tokio::test]
async fn no_authority_in_a_request_is_in_an_answer() {
    use hyper_util::rt::{TokioExecutor, TokioIo};

    let server = PublicServer::start();
    let stream = tokio::net::TcpStream::connect(("127.0.0.1", server.port))
        .await
        .unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    let connection = tokio::spawn(connection);
    for (authority, hosts, expected) in [
        ("auth.example", &[][..], 200),
        ("auth.example", &["auth.example"], 200),
        ("evil.example", &[], 200),
        ("evil.example:31337", &["evil.example:31337"], 200),
        ("auth.example", &["evil.example"], 400),
        ("evil.example", &["auth.example"], 400),
        ("auth.example", &["auth.example", "evil.example"], 400),
    ] {
        let path = "/.well-known/oauth-authorization-server";
        let request = http::Request::get(format!("http://{authority}{path}"));
        let request = hosts
            .iter()
            .fold(request, |request, host| request.header("host", *host));
        let answered = sender
            .send_request(request.body(String::new()).unwrap())
            .await
            .unwrap();
        assert_eq!(answered.status().as_u16(), expected, "{authority} {hosts:?}");
        let body = http_body_util::BodyExt::collect(answered.into_body())
            .await
            .unwrap()
            .to_bytes();
        let said = String::from_utf8(body.to_vec()).unwrap();
        assert!(
            !said.contains("evil") && !said.contains("31337"),
            "{authority} {hosts:?}: {said}"
        );
        assert_eq!(
            said.contains(&format!("\"issuer\":\"{ISSUER}\"")),
            expected == 200
        );
    }
    drop(sender);
    connection.await.unwrap().unwrap();
}

/// HH-02: where no proxy speaks, nothing that proxies say has an effect: neither on addresses, cookies and routes of a public
/// server, nor on those of one on loopback.
#[tokio::test]
async fn what_only_a_proxy_says_changes_no_address_cookie_or_route() {
    let public = PublicServer::start();
    let house = House::open();
    for (name, value) in PROXY_HEADERS {
        let response = public
            .get(&good_authorize())
            .header(name, value)
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), 303, "{name}");
        let headers = response.headers();
        let location = headers[header::LOCATION].to_str().unwrap();
        assert!(location.starts_with("/ui/interaction/"), "{name}: {location}");
        let cookie = headers[header::SET_COOKIE].to_str().unwrap();
        assert!(cookie.starts_with("__Host-authflow="), "{name}: {cookie}");
        assert!(
            cookie.ends_with("; Path=/; HttpOnly; SameSite=Lax; Secure"),
            "{name}: {cookie}"
        );
        assert_eq!(headers["strict-transport-security"], "max-age=31536000");
        let cookie = cookie.split(';').next().unwrap();
        let shown = public
            .get(location)
            .header(header::COOKIE, cookie)
            .header(name, value)
            .send()
            .await
            .unwrap();
        assert_eq!(shown.status(), 200, "{name}");
        let shown = shown.text().await.unwrap();
        assert!(
            shown.contains("name=\"password\"") && !shown.contains("evil"),
            "{name}: {shown}"
        );

        let url = house.authorize_url("web", "scope=mcp%3Aread");
        let proto = if name == "x-forwarded-proto" {
            "https"
        } else {
            value
        };
        let response = house.http.get(url).header(name, proto).send().await.unwrap();
        let cookie = response.headers()[header::SET_COOKIE].to_str().unwrap();
        assert!(
            cookie.starts_with("authflow_session=") && !cookie.contains("Secure"),
            "{name}: {cookie}"
        );
        assert!(response.headers().get("strict-transport-security").is_none());
    }
}

/// HH-05: the address at which a person types the code is ours.
#[tokio::test]
async fn a_device_is_sent_to_the_configured_address() {
    let server = PublicServer::start();
    let form = format!(
        "client_id=tv&scope=mcp%3Aread&resource={}",
        R1.replace(':', "%3A").replace('/', "%2F")
    );
    for lines in ["Host: auth.example"].iter().chain(&OTHER_HOSTS) {
        let lines = lines.replace("{}", "auth.example");
        let request = format!(
            "POST /device_authorization HTTP/1.1\r\n{lines}\r\nConnection: close\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
            form.len()
        );
        let (status, said) = ask_by_hand(server.port, &request).await;
        assert!(!said.contains("evil"), "{lines:?}: {said}");
        if is_no_request(&lines) {
            assert_eq!(status, 400, "{lines:?}");
            continue;
        }
        if status == 200 {
            let codes: Value = serde_json::from_str(body_of(&said)).unwrap();
            assert_eq!(codes["verification_uri"], format!("{ISSUER}/ui/device"));
            let complete = text(&codes, "verification_uri_complete");
            assert!(
                complete.starts_with(&format!("{ISSUER}/ui/device?user_code=")),
                "{complete}"
            );
        } else {
            assert!([400, 421].contains(&status), "{lines:?}: {said}");
        }
    }
}

/// HH-07: from right to left, as long as proxies speak; what is no address ends the walk.
#[tokio::test]
async fn only_what_trusted_proxies_wrote_down_is_a_callers_address() {
    let near = PublicServer::start().by_its_proxy();
    let thousand = format!("{}1.2.3.4", "6.6.6.6, ".repeat(999));
    let own = format!("6.6.6.6, {}127.0.0.1", "127.0.0.1, ".repeat(998));
    let cases: [(&[&str], &str); 15] = [
        (&["6.6.6.6", "1.2.3.4"], "1.2.3.4"),
        (&["6.6.6.6, 1.2.3.4"], "1.2.3.4"),
        (&["6.6.6.6", "1.2.3.4, 127.0.0.1"], "1.2.3.4"),
        (&[&thousand], "1.2.3.4"),
        (&[&own], "6.6.6.6"),
        (&["6.6.6.6, fe80::1%eth0"], "127.0.0.1"),
        (&["6.6.6.6", "[fe80::1%25eth0]:80"], "127.0.0.1"),
        (&["6.6.6.6, unknown"], "127.0.0.1"),
        (&["6.6.6.6", "unknown, 127.0.0.1"], "127.0.0.1"),
        (&["6.6.6.6, 1.2.3.4:5678"], "1.2.3.4"),
        (&["6.6.6.6, [2001:db8::7]:5678"], "2001:db8::7"),
        (&["6.6.6.6, "], "127.0.0.1"),
        (&["6.6.6.6, , 127.0.0.1"], "127.0.0.1"),
        (&["6.6.6.6, 1.2.3.4 5.6.7.8"], "127.0.0.1"),
        (&[], "127.0.0.1"),
    ];
    let check = async |server: &PublicServer, said: &[&str], expected: &str| {
        let with = |mut request: reqwest::RequestBuilder| {
            for value in said {
                request = request.header("x-forwarded-for", *value);
            }
            request
        };
        let metadata = with(server.get("/.well-known/oauth-authorization-server"));
        assert_eq!(answer(metadata).await.1["issuer"], ISSUER, "{said:?}");
        server.process.output().clear();
        let form = [
            ("grant_type", "refresh_token"),
            ("refresh_token", "x"),
            ("client_id", "nobody"),
        ];
        let (status, _) = answer(with(server.post("/token")).form(&form)).await;
        assert_eq!(status, 401, "{said:?}");
        let output = server.process.output();
        let line = output
            .wait_for("audit: action=", Duration::from_secs(30))
            .unwrap();
        assert!(line.ends_with(&format!("address={expected}")), "{said:?}: {line}");
    };
    for (said, expected) in cases {
        check(&near, said, expected).await;
    }
    let far = PublicServer::start();
    for (said, _) in cases {
        check(&far, said, "127.0.0.7").await;
    }
}
