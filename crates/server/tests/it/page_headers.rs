//! What browsers and caches are told about pages.

use reqwest::{StatusCode, header};

use crate::{
    house::{House, page},
    public::{PublicServer, good_authorize},
};

/// What a page loads from elsewhere: nothing (CH-02).
fn assert_loads_nothing_from_elsewhere(path: &str, body: &str) {
    for loads in [
        "src=", "srcset=", "<link", "<script", "<iframe", "<object", "@import", "url(",
    ] {
        for (at, _) in body.match_indices(loads) {
            let near: String = body[at..].chars().take(160).collect();
            let near = near.split('>').next().unwrap();
            assert!(!near.contains("//"), "{path}: {near}");
        }
    }
}

/// CH-02, CH-04: of a public server, from the first page to the consent.
#[tokio::test]
async fn every_page_of_a_public_server_says_what_browsers_are_held_to() {
    let server = PublicServer::start();
    let first = server.get(&good_authorize()).send().await.unwrap();
    assert_eq!(first.status(), 303);
    let interaction = first.headers()[header::LOCATION].to_str().unwrap().to_owned();
    let cookie = first.headers()[header::SET_COOKIE].to_str().unwrap();
    let cookie = cookie.split(';').next().unwrap().to_owned();
    assert_eq!(first.headers()["referrer-policy"], "no-referrer");
    let unknown = "/authorize?client_id=unknown";
    let paths = [
        &*interaction,
        "/ui/",
        "/ui/device",
        "/ui/device?user_code=ABCD-EFGH",
        "/ui/setup",
        "/authorize",
        unknown,
        "/nowhere",
        "/.well-known/oauth-authorization-server",
        "/jwks",
        "/token",
        "/healthz",
    ];
    for path in paths {
        let response = server
            .get(path)
            .header(header::COOKIE, &cookie)
            .send()
            .await
            .unwrap();
        let headers = response.headers().clone();
        assert_eq!(headers["strict-transport-security"], "max-age=31536000", "{path}");
        assert_eq!(headers["x-content-type-options"], "nosniff", "{path}");
        for telltale in ["server", "x-powered-by", "via"] {
            assert!(!headers.contains_key(telltale), "{path}: {telltale}");
        }
        let is_page = headers
            .get(header::CONTENT_TYPE)
            .is_some_and(|one| one.as_bytes().starts_with(b"text/html"));
        let body = response.text().await.unwrap();
        if is_page {
            assert_eq!(headers["referrer-policy"], "no-referrer", "{path}");
            assert_eq!(headers["cache-control"], "no-store", "{path}");
            assert_eq!(headers["x-frame-options"], "DENY", "{path}");
            assert_loads_nothing_from_elsewhere(path, &body);
        }
        let version = env!("CARGO_PKG_VERSION");
        assert!(!body.contains(&format!("authflow {version}")), "{path}: {body}");
    }
}

/// CH-06: no suffix makes a private page look like something that a cache keeps, for whoever is signed in either.
#[tokio::test]
async fn no_suffix_makes_a_private_page_an_asset() {
    let house = House::open();
    let browser = house.browser();
    let consent = house.authorize_url("web", "scope=mcp%3Aread");
    let shown = page(browser.open(&consent).await.unwrap());
    let form = shown.form_with("step", "login").unwrap().clone();
    let fields = [("username", "alice"), ("password", crate::house::PASSWORD)];
    let shown = page(browser.submit(&shown, &form, &fields).await.unwrap());
    assert!(shown.text.contains("Alice"), "{}", shown.text);
    let interaction = shown.url.path().to_owned();
    let cookie = format!("authflow_session={}", browser.cookie("authflow_session").unwrap());
    let query = reqwest::Url::parse(&consent).unwrap().query().unwrap().to_owned();
    // The pages are there.
    for path in [&*interaction, "/ui/", "/ui/device"] {
        let request = house
            .http
            .get(house.server.url(path))
            .header(header::COOKIE, &cookie);
        assert_eq!(request.send().await.unwrap().status(), StatusCode::OK, "{path}");
    }
    let mut paths = vec![
        "/authorize/x.css".to_owned(),
        "/consent;x.js".to_owned(),
        "/account/a.png".to_owned(),
        "/login%2f..%2fx.css".to_owned(),
    ];
    for private in [
        &*interaction,
        "/ui/",
        "/ui",
        "/ui/device",
        "/ui/setup",
        "/authorize",
        "/token",
        "/introspect",
    ] {
        for suffix in [
            "/x.css",
            ";x.js",
            "/a.png",
            "%2f..%2fx.css",
            "%2fx.css",
            "%3bx.js",
            "%00.css",
            "%0a.css",
            "%23.css",
            "/..%2fx.css",
            ".css",
            "//x.css",
            "/.js",
            "%3f.css",
            "\\x.css",
        ] {
            paths.push(format!("{private}{suffix}"));
        }
    }
    for path in paths {
        for path in [path.clone(), format!("{path}?{query}")] {
            let request = format!(
                "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nCookie: {cookie}\r\nConnection: close\r\n\r\n",
                house.server.port()
            );
            let (status, said) = crate::public::ask_by_hand(house.server.port(), &request).await;
            assert!([400, 404].contains(&status), "{path}: {said}");
            let head = said.split("\r\n\r\n").next().unwrap().to_lowercase();
            assert!(
                status == 400 || head.contains("cache-control: no-store"),
                "{path}: {head}"
            );
            assert!(
                !said.contains("Alice") && !said.contains("csrf"),
                "{path}: {said}"
            );
        }
    }
}
