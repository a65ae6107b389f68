//! The page where the code of a device is typed, and what comes of it.

use mcp_authflow_testkit::browser::{Browser, Page};
use serde_json::{Value, json};

use crate::house::{House, PASSWORD, R1, page, text};

impl House {
    async fn device(&self) -> Value {
        let form = [
            ("client_id", "tv"),
            ("resource", R1),
            ("scope", "mcp:read mcp:write"),
        ];
        let (status, codes) = self.post("/device_authorization", &form).await;
        assert_eq!(status, 200, "{codes}");
        codes
    }

    async fn poll(&self, codes: &Value) -> (u16, Value) {
        let form = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:device_code"),
            ("device_code", text(codes, "device_code")),
            ("client_id", "tv"),
        ];
        self.post("/token", &form).await
    }
}

/// Signs somebody in on the device page, at this address.
async fn sign_in(house: &House, browser: &Browser, username: &str, query: &str) -> Page {
    let login = page(
        browser
            .open(&house.server.url(&format!("/ui/device{query}")))
            .await
            .unwrap(),
    );
    let form = login.form_with("step", "login").unwrap().clone();
    let fields = [("username", username), ("password", PASSWORD)];
    page(browser.submit(&login, &form, &fields).await.unwrap())
}

async fn type_code(browser: &Browser, shown: &Page, user_code: &str) -> Page {
    let form = shown.form_with("step", "code").unwrap().clone();
    page(
        browser
            .submit(shown, &form, &[("user_code", user_code)])
            .await
            .unwrap(),
    )
}

async fn decide(browser: &Browser, shown: &Page, fields: &[(&str, &str)]) -> Page {
    let form = shown.form_with("step", "consent").unwrap().clone();
    page(browser.submit(shown, &form, fields).await.unwrap())
}

/// Lets alice connect a device; answers its tokens.
pub(crate) async fn connect(house: &House, browser: &Browser) -> Value {
    let codes = house.device().await;
    let shown = sign_in(house, browser, "alice", "").await;
    let consent = type_code(browser, &shown, text(&codes, "user_code")).await;
    decide(browser, &consent, &[("decision", "allow")]).await;
    let (status, tokens) = house.poll(&codes).await;
    assert_eq!(status, 200, "{tokens}");
    tokens
}

/// S-097; RFC 8628 §3.3, §5.4: nothing is sent by itself, and the page says whom to beware of.
#[tokio::test]
async fn a_person_signs_in_compares_the_code_and_decides_about_a_device() {
    let house = House::open();
    let codes = house.device().await;
    let browser = house.browser();
    let query = format!("?user_code={}", text(&codes, "user_code"));
    let shown = sign_in(&house, &browser, "alice", &query).await;
    let form = shown.form_with("step", "code").unwrap();
    assert_eq!(form.value("user_code"), codes["user_code"].as_str());
    assert!(shown.text.contains("Does your device show exactly this code?"));
    assert!(
        shown
            .text
            .contains("Nobody from any support will ever send you a code")
    );

    let consent = type_code(&browser, &shown, text(&codes, "user_code")).await;
    for said in [
        "Living Room Player",
        "The device whose code you typed",
        "127.0.0.7",
        "Read your notes",
        "Change your notes",
        "Did somebody send you the code",
    ] {
        assert!(consent.text.contains(said), "{said} is not in\n{}", consent.text);
    }
    let fields = [("scope", "mcp:read"), ("decision", "allow")];
    let done = decide(&browser, &consent, &fields).await;
    assert!(done.text.contains("Device connected"), "{}", done.text);
    assert_eq!(done.url.path(), "/ui/device/approved");
    let (status, tokens) = house.poll(&codes).await;
    assert_eq!(status, 200, "{tokens}");
    assert_eq!(tokens["scope"], "mcp:read");
    // Unticked: no leave to stay connected.
    assert_eq!(tokens.get("refresh_token"), None);
    let known = house.introspect(text(&tokens, "access_token")).await;
    assert_eq!(
        (&known["active"], &known["username"], &known["aud"]),
        (&json!(true), &json!("alice"), &json!(R1))
    );
}

/// DV-12, DV-18, TI-05
#[tokio::test]
async fn an_unknown_code_a_used_one_and_what_is_no_code_look_alike() {
    let house = House::open();
    let codes = house.device().await;
    let browser = house.browser();
    let shown = sign_in(&house, &browser, "alice", "").await;
    let consent = type_code(&browser, &shown, text(&codes, "user_code")).await;
    decide(&browser, &consent, &[("decision", "deny")]).await;
    let approved = house.device().await;
    let shown = page(browser.open(&house.server.url("/ui/device")).await.unwrap());
    let consent = type_code(&browser, &shown, text(&approved, "user_code")).await;
    decide(&browser, &consent, &[("decision", "allow")]).await;
    let mut seen = Vec::new();
    for typed in [
        text(&codes, "user_code"),
        text(&approved, "user_code"),
        "BBBB-BBBB",
        "\"><script>alert(1)</script>",
    ] {
        let shown = page(browser.open(&house.server.url("/ui/device")).await.unwrap());
        let answer = type_code(&browser, &shown, typed).await;
        assert_eq!(answer.status, 200);
        assert!(!answer.text.contains("alert"), "{}", answer.text);
        seen.push(answer.text);
    }
    assert!(seen[0].contains("No device is waiting with that code"));
    assert!(seen.iter().all(|text| *text == seen[0]), "{seen:#?}");
    // Four of them were wrong. After one more a sixth is refused, right or wrong.
    let second = house.device().await;
    let shown = page(browser.open(&house.server.url("/ui/device")).await.unwrap());
    assert_eq!(type_code(&browser, &shown, "BBBB-BBBB").await.status, 200);
    let refused = type_code(&browser, &shown, text(&second, "user_code")).await;
    assert_eq!(refused.status, 429);
    assert!(refused.text.contains("Too many codes"), "{}", refused.text);
    assert!(refused.headers.contains_key("retry-after"));
}

/// DV-15
#[tokio::test]
async fn a_device_belongs_to_whoever_typed_its_code_first() {
    let house = House::open();
    let codes = house.device().await;
    let (alice, bob) = (house.browser(), house.browser());
    let shown = sign_in(&house, &alice, "alice", "").await;
    let consent = type_code(&alice, &shown, text(&codes, "user_code")).await;
    let shown = sign_in(&house, &bob, "bob", "").await;
    let late = type_code(&bob, &shown, text(&codes, "user_code")).await;
    assert!(late.text.contains("No device is waiting"), "{}", late.text);
    let stolen = page(bob.open(consent.url.as_str()).await.unwrap());
    assert_eq!(stolen.status, 400);
    assert!(stolen.form_with("step", "consent").is_none());
    // Alice goes back, types it again, and decides.
    let shown = page(alice.open(&house.server.url("/ui/device")).await.unwrap());
    let consent = type_code(&alice, &shown, text(&codes, "user_code")).await;
    let done = decide(&alice, &consent, &[("decision", "allow")]).await;
    assert!(done.text.contains("Device connected"), "{}", done.text);
    assert_eq!(house.poll(&codes).await.0, 200);
}

/// CS-01, CS-02, DV-27: a form without its token, or of nobody who is signed in, types nothing.
#[tokio::test]
async fn a_code_counts_only_from_this_page_of_a_person_who_is_signed_in() {
    let house = House::open();
    let codes = house.device().await;
    let browser = house.browser();
    let shown = sign_in(&house, &browser, "alice", "").await;
    let cookie = format!("authflow_session={}", browser.cookie("authflow_session").unwrap());
    let csrf = shown.form_with("step", "code").unwrap().value("csrf").unwrap();
    let user_code = text(&codes, "user_code");
    let other = house.browser();
    let login = page(other.open(&house.server.url("/ui/device")).await.unwrap());
    let nobody = format!("authflow_session={}", other.cookie("authflow_session").unwrap());
    let nobodys = login.form_with("step", "login").unwrap().value("csrf").unwrap();
    for (cookie, site, csrf, status) in [
        (&cookie, "same-origin", "", 403),
        (&cookie, "same-origin", nobodys, 403),
        (&cookie, "cross-site", csrf, 400),
        (&nobody, "same-origin", nobodys, 200),
    ] {
        let form = [("csrf", csrf), ("step", "code"), ("user_code", user_code)];
        let request = house
            .http
            .post(house.server.url("/ui/device"))
            .header("cookie", cookie)
            .header("sec-fetch-site", site)
            .form(&form);
        let response = request.send().await.unwrap();
        assert_eq!(response.status().as_u16(), status, "{site} {csrf}");
        assert!(!response.headers().contains_key("location"));
    }
    let consent = type_code(&browser, &shown, user_code).await;
    assert!(consent.form_with("step", "consent").is_some());
}

/// CS-05, DV-17, DV-22: no page of the whole way can be framed or kept, and none holds the device code.
#[tokio::test]
async fn no_page_of_the_way_is_framed_or_kept_or_shows_the_device_code() {
    let house = House::open();
    let codes = house.device().await;
    let browser = house.browser();
    let url = house.server.url("/ui/device");
    let login = page(browser.open(&url).await.unwrap());
    let code = sign_in(&house, &browser, "alice", "").await;
    let consent = type_code(&browser, &code, text(&codes, "user_code")).await;
    let done = decide(&browser, &consent, &[("decision", "allow")]).await;
    for shown in [&login, &code, &consent, &done] {
        assert_eq!(shown.headers["x-frame-options"], "DENY");
        assert_eq!(shown.headers["cache-control"], "no-store");
        let policy = shown.headers["content-security-policy"].to_str().unwrap();
        assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
        assert!(!shown.text.contains("mcpdc_") && !shown.url.as_str().contains("mcpdc_"));
        for form in &shown.forms {
            let shows_it = form.controls.iter().any(|one| one.value.contains("mcpdc_"));
            assert!(!shows_it, "{form:?}");
        }
    }
}
