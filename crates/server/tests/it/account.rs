//! The first account, and pages that belong to no request.

use mcp_authflow_testkit::server::{Store, TestServer};

use crate::house::{House, PASSWORD, page};

fn set_up_link(server: &TestServer) -> String {
    let text = server.output().text();
    text.split_whitespace()
        .find(|word| word.contains("/ui/setup?"))
        .expect("a link")
        .to_owned()
}

#[tokio::test]
async fn the_first_account_is_made_once_by_whoever_has_the_link() {
    let server = TestServer::builder()
        .binary(env!("CARGO_BIN_EXE_authflow"))
        .store(Store::Memory)
        .start()
        .unwrap();
    let house = House::of(server);
    let link = set_up_link(&house.server);
    let browser = house.browser();
    for wrong in [
        house.server.url("/ui/setup"),
        house.server.url("/ui/setup?token=00"),
        format!("{link}0"),
    ] {
        assert_eq!(page(browser.open(&wrong).await.unwrap()).status, 404, "{wrong}");
    }
    let setup = page(browser.open(&link).await.unwrap());
    let form = setup.forms[0].clone();
    let short = [
        ("username", "root"),
        ("password", "short"),
        ("password_again", "short"),
    ];
    let again = page(browser.submit(&setup, &form, &short).await.unwrap());
    assert!(again.text.contains("12"), "{}", again.text);
    let differ = [
        ("username", "root"),
        ("password", PASSWORD),
        ("password_again", "correct horse battery stapler"),
    ];
    page(
        browser
            .submit(&again, &again.forms[0].clone(), &differ)
            .await
            .unwrap(),
    );
    let good = [
        ("username", "Root"),
        ("password", PASSWORD),
        ("password_again", PASSWORD),
    ];
    let home = page(browser.submit(&setup, &form, &good).await.unwrap());
    assert!(
        home.text.contains("root") && home.text.contains("Administrator"),
        "{}",
        home.text
    );
    assert_eq!(page(house.browser().open(&link).await.unwrap()).status, 404);
}

/// SE-02
#[tokio::test]
async fn signing_out_ends_the_session_and_its_cookie() {
    let house = House::open();
    let browser = house.browser();
    house
        .code(&browser, "web", mcp_authflow_testkit::browser::Decision::Allow)
        .await;
    let cookie = browser.cookie("authflow_session").unwrap();
    let home = page(browser.open(&house.server.url("/ui/")).await.unwrap());
    let form = home.forms[0].clone();
    let out = page(browser.submit(&home, &form, &[]).await.unwrap());
    assert!(out.text.contains("signed out"), "{}", out.text);
    let thief = house.browser();
    thief
        .plant_cookie(&house.server.url("/"), "authflow_session", &cookie)
        .unwrap();
    let home = page(thief.open(&house.server.url("/ui/")).await.unwrap());
    assert!(home.text.contains("Not signed in"), "{}", home.text);
}

/// CS-05, CH-02, CH-04, XS-01, XS-05, CH-06
#[tokio::test]
async fn every_page_is_closed_to_frames_scripts_and_caches() {
    let house = House::open();
    for path in [
        "/ui/",
        "/nowhere",
        "/authorize",
        "/authorize?client_id=%22%3E%3Cscript%3Ealert(1)%3C/script%3E",
        "/authorize/x.css",
        "/ui/interaction/00000000000000000000000000000000",
        "/ui/setup",
        "/ui/sign-out",
    ] {
        let response = house.http.get(house.server.url(path)).send().await.unwrap();
        let headers = response.headers().clone();
        for (name, value) in [
            ("x-frame-options", "DENY"),
            ("referrer-policy", "no-referrer"),
            ("x-content-type-options", "nosniff"),
            ("cache-control", "no-store"),
        ] {
            assert_eq!(headers[name], value, "{path}");
        }
        let policy = headers["content-security-policy"].to_str().unwrap();
        assert!(
            policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"),
            "{path}: {policy}"
        );
        assert!(headers.get("server").is_none() && headers.get("x-powered-by").is_none());
        let body = response.text().await.unwrap();
        assert!(!body.contains("<script"), "{path}: {body}");
    }
}
