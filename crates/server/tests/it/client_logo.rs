//! Logos of clients: fetched by the server and never by the browser, for who has business with the client.

use mcp_authflow_testkit::{
    browser::{Browser, Decision},
    document_host::{DocumentHost, Served},
};
use reqwest::{StatusCode, header};
use serde_json::json;

use crate::house::{House, PASSWORD, builder, page};

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR";

fn encoded(text: &str) -> String {
    text.replace(':', "%3A").replace('/', "%2F")
}

fn house(host: &DocumentHost) -> House {
    House::of(
        builder()
            .env("SSL_CERT_FILE", host.ca_file().to_str().unwrap())
            .start()
            .unwrap(),
    )
}

/// A client whose logo is at `/logo`.
fn app(host: &DocumentHost, path: &str) -> String {
    let members = json!({ "redirect_uris": ["https://client.example/cb"], "logo_uri": host.url("/logo") });
    host.serve_client(path, &members)
}

async fn get(house: &House, browser: Option<&Browser>, path: &str) -> reqwest::Response {
    let mut request = house.http.get(house.server.url(path));
    if let Some(cookie) = browser.and_then(|browser| browser.cookie("authflow_session")) {
        request = request.header(header::COOKIE, format!("authflow_session={cookie}"));
    }
    request.send().await.unwrap()
}

/// M-169, M-172, CM-12
#[tokio::test]
async fn a_logo_is_served_to_who_has_business_with_the_client_and_fetched_for_nobody_else() {
    let host = DocumentHost::start().unwrap();
    host.serve("/logo", Served::new("image/png", PNG));
    let (id, other) = (app(&host, "/client.json"), app(&host, "/other.json"));
    let house = house(&host);
    let logo = |id: &str| format!("/ui/client-logo/{}", encoded(id));

    // Somebody who is at the sign-in page of the client's request, and is not signed in.
    let browser = house.browser();
    let login = page(
        browser
            .open(&house.authorize_url(&encoded(&id), ""))
            .await
            .unwrap(),
    );
    // The page itself loads nothing from elsewhere.
    let policy = login.headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
    assert!(
        policy.contains("img-src 'self'") || policy.contains("default-src 'none'"),
        "{policy}"
    );
    assert_eq!(host.hits("/logo"), 0);

    let interaction = login.url.path_segments().unwrap().next_back().unwrap().to_owned();
    let of_request = |id: &str| format!("{}?interaction={interaction}", logo(id));
    // Neither a stranger, nor a stranger who knows of the request, nor this browser for another client.
    for (browser, path) in [
        (None, logo(&id)),
        (None, of_request(&id)),
        (Some(&house.browser()), of_request(&id)),
        (Some(&browser), of_request(&other)),
        (Some(&browser), logo(&id)),
        (Some(&browser), logo("web")),
        (Some(&browser), logo("https://app.example/unknown.json")),
    ] {
        assert_eq!(
            get(&house, browser, &path).await.status(),
            StatusCode::NOT_FOUND,
            "{path}"
        );
    }
    assert_eq!(host.hits("/logo"), 0);

    for _ in 0..2 {
        let answer = get(&house, Some(&browser), &of_request(&id)).await;
        assert_eq!(answer.status(), StatusCode::OK);
        for (name, value) in [
            ("content-type", "image/png"),
            ("x-content-type-options", "nosniff"),
            ("content-security-policy", "default-src 'none'; sandbox"),
            ("cross-origin-resource-policy", "same-origin"),
            ("cache-control", "private, max-age=3600"),
        ] {
            assert_eq!(answer.headers()[name], value, "{name}");
        }
        assert_eq!(&answer.bytes().await.unwrap()[..], PNG);
    }
    assert_eq!(host.hits("/logo"), 1);

    // Somebody who is signed in sees it without a request, as on the page of connected applications; and the page that asks
    // names it.
    let url = house.authorize_url(&encoded(&id), "");
    let signed_in = house.browser();
    signed_in
        .sign_in_and(&url, "alice", PASSWORD, Decision::Allow)
        .await
        .unwrap();
    assert_eq!(
        get(&house, Some(&signed_in), &logo(&id)).await.status(),
        StatusCode::OK
    );
    let consent = page(signed_in.open(&url).await.unwrap());
    let html = get(&house, Some(&signed_in), consent.url.path())
        .await
        .text()
        .await
        .unwrap();
    assert!(
        html.contains(&format!("src=\"{}?interaction=", logo(&id))),
        "{html}"
    );
    assert_eq!(host.hits("/logo"), 1);
}

/// CM-18: who is denied names no address that this server asks, as often as somebody who is signed in looks.
#[tokio::test]
async fn a_denied_host_has_no_logo() {
    let host = DocumentHost::start().unwrap();
    host.serve("/logo", Served::new("image/png", PNG));
    let id = app(&host, "/client.json");
    let house = house(&host);
    let browser = house.browser();
    let url = house.authorize_url(&encoded(&id), "");
    browser
        .sign_in_and(&url, "alice", PASSWORD, Decision::Allow)
        .await
        .unwrap();
    let name = id.trim_start_matches("https://").split('/').next().unwrap();
    house
        .server
        .run_all(["client-document", "host", "deny", name])
        .unwrap();
    let logo = format!("/ui/client-logo/{}", encoded(&id));
    let answer = get(&house, Some(&browser), &logo).await;
    assert_eq!((answer.status(), host.hits("/logo")), (StatusCode::NOT_FOUND, 0));

    // An operator who removes the client instead is told that this keeps nobody out.
    let said = house.server.run_all(["client", "remove", &id]).unwrap();
    assert!(said.contains(&format!("host deny {name}")), "{said}");
}

/// CM-12
/// SF-16
#[tokio::test]
async fn what_is_no_picture_is_not_shown_and_locks_nobody_out() {
    let svg = "<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>";
    for (nth, answer) in [
        Served::new("image/svg+xml", svg),
        Served::new("image/png", svg),
        Served::new("image/gif", PNG),
        Served::new("text/html", "<script>alert(1)</script>"),
        Served::new("image/png", [PNG, &vec![0; 64 * 1_024]].concat()),
        Served::status(302).header("Location", "/elsewhere"),
        Served::status(500),
    ]
    .into_iter()
    .enumerate()
    {
        let host = DocumentHost::start().unwrap();
        host.serve("/logo", answer);
        host.serve("/elsewhere", Served::new("image/png", PNG));
        let id = app(&host, "/client.json");
        let house = house(&host);
        let browser = house.browser();
        let url = house.authorize_url(&encoded(&id), "");
        let redirect = browser
            .sign_in_and(&url, "alice", PASSWORD, Decision::Allow)
            .await
            .unwrap();
        assert!(redirect.parameter("code").unwrap().is_some(), "{nth}");
        for _ in 0..2 {
            let path = format!("/ui/client-logo/{}", encoded(&id));
            let answer = get(&house, Some(&browser), &path).await;
            assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{nth}");
            assert_eq!(answer.headers()["cache-control"], "no-store");
        }
        // A host that fails is left alone for a while.
        assert_eq!((host.hits("/logo"), host.hits("/elsewhere")), (1, 0), "{nth}");
    }
}
