//! The consent form: what counts is what the person did, here, on this page.

use mcp_authflow_testkit::browser::{Browser, Decision, Page, Visit};
use serde_json::json;

use crate::house::{House, PASSWORD, page, text};

async fn consent_page(house: &House, browser: &Browser) -> Page {
    let url = house.authorize_url("web", "scope=mcp%3Aread%20mcp%3Awrite");
    let login = page(browser.open(&url).await.unwrap());
    let form = login.form_with("step", "login").unwrap().clone();
    let fields = [("username", "alice"), ("password", PASSWORD)];
    page(browser.submit(&login, &form, &fields).await.unwrap())
}

/// M-098, CD-08
/// M-142
#[tokio::test]
async fn the_page_says_who_where_what_and_as_whom() {
    let house = House::open();
    let shown = consent_page(&house, &house.browser()).await;
    for said in [
        "Web notes",
        "client.example",
        "Notes",
        "https://rs1.test/mcp",
        "Read your notes",
        "Change your notes",
        "Alice",
    ] {
        assert!(shown.text.contains(said), "{said} is not in\n{}", shown.text);
    }
}

/// SC-03
#[tokio::test]
async fn what_is_unticked_is_not_granted_and_does_not_come_back() {
    let house = House::open();
    let code = house
        .code(
            &house.browser(),
            "web",
            Decision::AllowOnly(&["mcp:read", "offline_access"]),
        )
        .await;
    let (_, tokens) = house.redeem("web", &code).await;
    assert_eq!(tokens["scope"], "mcp:read");
    let (_, refreshed) = house.refresh("web", text(&tokens, "refresh_token")).await;
    assert_eq!(refreshed["scope"], "mcp:read");
    let form = [
        ("grant_type", "refresh_token"),
        ("refresh_token", text(&refreshed, "refresh_token")),
        ("client_id", "web"),
        ("scope", "mcp:read mcp:write"),
    ];
    let (status, error) = house.post("/token", &form).await;
    assert_eq!((status, &error["error"]), (400, &json!("invalid_scope")));
}

/// P13: two resources may have a scope of the same name, and each is decided about by itself.
#[tokio::test]
async fn what_is_unticked_at_one_resource_is_unticked_there_alone() {
    let house = House::open();
    let browser = house.browser();
    let url = house.authorize_url(
        "web",
        "resource=https%3A%2F%2Frs2.test%2Fmcp&scope=mcp%3Aread%20mcp%3Awrite",
    );
    let login = page(browser.open(&url).await.unwrap());
    let form = login.form_with("step", "login").unwrap().clone();
    let shown = page(
        browser
            .submit(&login, &form, &[("username", "alice"), ("password", PASSWORD)])
            .await
            .unwrap(),
    );
    let body = [
        (
            "csrf",
            shown
                .form_with("step", "consent")
                .unwrap()
                .value("csrf")
                .unwrap()
                .to_owned(),
        ),
        ("step", "consent".to_owned()),
        ("decision", "allow".to_owned()),
        ("scope", "0 mcp:read".to_owned()),
        ("scope", "0 mcp:write".to_owned()),
        ("scope", "1 mcp:read".to_owned()),
        ("scope", "offline_access".to_owned()),
    ];
    let cookie = format!("authflow_session={}", browser.cookie("authflow_session").unwrap());
    let response = house
        .http
        .post(shown.url.clone())
        .header("cookie", cookie)
        .form(&body)
        .send()
        .await
        .unwrap();
    let location = response.headers()["location"].to_str().unwrap().to_owned();
    let code = location.split(['=', '&']).nth(1).unwrap();
    let (_, first) = house.redeem("web", code).await;
    assert_eq!(first["scope"], "mcp:read mcp:write", "at the first resource");
    let form = [
        ("grant_type", "refresh_token"),
        ("refresh_token", text(&first, "refresh_token")),
        ("client_id", "web"),
        ("resource", "https://rs2.test/mcp"),
    ];
    let (_, second) = house.post("/token", &form).await;
    assert_eq!(second["scope"], "mcp:read", "at the second resource");
}

#[tokio::test]
async fn without_leave_to_stay_connected_there_is_no_refresh_token() {
    let house = House::open();
    let code = house
        .code(&house.browser(), "web", Decision::AllowOnly(&["mcp:read"]))
        .await;
    let (status, tokens) = house.redeem("web", &code).await;
    assert_eq!(status, 200);
    assert!(tokens.get("refresh_token").is_none(), "{tokens}");
}

/// AZ-20: only the stored request counts.
#[tokio::test]
async fn a_form_cannot_ask_for_more_than_the_page_showed() {
    let house = House::open();
    let browser = house.browser();
    let shown = consent_page(&house, &browser).await;
    let csrf = shown
        .form_with("step", "consent")
        .unwrap()
        .value("csrf")
        .unwrap()
        .to_owned();
    let body = [
        ("csrf", csrf.as_str()),
        ("step", "consent"),
        ("decision", "allow"),
        ("scope", "mcp:read"),
        ("scope", "admin"),
        ("redirect_uri", "https://evil.example/cb"),
        ("client_id", "native"),
    ];
    let request = house
        .http
        .post(shown.url.clone())
        .header(
            "cookie",
            format!("authflow_session={}", browser.cookie("authflow_session").unwrap()),
        )
        .form(&body);
    let response = request.send().await.unwrap();
    let location = response.headers()["location"].to_str().unwrap().to_owned();
    assert!(
        location.starts_with("https://client.example/cb?code="),
        "{location}"
    );
    let code = location.split(['=', '&']).nth(1).unwrap();
    assert_eq!(house.redeem("web", code).await.1["scope"], "mcp:read");
}

/// CS-01, CS-02, SE-08
#[tokio::test]
async fn a_form_of_another_page_browser_or_site_decides_nothing() {
    let house = House::open();
    let browser = house.browser();
    let shown = consent_page(&house, &browser).await;
    let cookie = format!("authflow_session={}", browser.cookie("authflow_session").unwrap());
    let csrf = shown
        .form_with("step", "consent")
        .unwrap()
        .value("csrf")
        .unwrap()
        .to_owned();
    let other = page(
        browser
            .open(&house.authorize_url("web", "scope=mcp%3Aread"))
            .await
            .unwrap(),
    );
    let others_csrf = other
        .form_with("step", "consent")
        .unwrap()
        .value("csrf")
        .unwrap()
        .to_owned();
    let tries = [
        ("", &cookie, None),
        ("csrf=", &cookie, None),
        (&*format!("csrf={others_csrf}"), &cookie, None),
        (&*format!("csrf={csrf}"), &String::new(), None),
        (
            &*format!("csrf={csrf}"),
            &cookie,
            Some(("origin", "https://evil.example")),
        ),
        (&*format!("csrf={csrf}"), &cookie, Some(("origin", "null"))),
        (
            &*format!("csrf={csrf}"),
            &cookie,
            Some(("sec-fetch-site", "cross-site")),
        ),
        (
            &*format!("csrf={csrf}"),
            &cookie,
            Some(("referer", "https://evil.example/")),
        ),
    ]
    .map(|(csrf, cookie, header)| {
        (
            format!("{csrf}&step=consent&decision=allow&scope=mcp%3Aread"),
            cookie.clone(),
            header,
        )
    });
    for (body, cookie, header) in tries {
        let mut request = house
            .http
            .post(shown.url.clone())
            .header("content-type", "application/x-www-form-urlencoded")
            .header("cookie", &cookie)
            .body(body.clone());
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        let response = request.send().await.unwrap();
        assert!(
            [400, 403].contains(&response.status().as_u16()),
            "{body} {header:?}: {}",
            response.status()
        );
        assert!(response.headers().get("location").is_none());
    }
    // And the request still waits for the person.
    let form = shown.form_with("step", "consent").unwrap().clone();
    let decided = browser
        .submit(&shown, &form, &[("decision", "allow")])
        .await
        .unwrap();
    assert!(matches!(decided, Visit::Left(redirect) if redirect.parameter("code").unwrap().is_some()));
}

/// CS-07
#[tokio::test]
async fn a_double_click_makes_one_code() {
    let house = House::open();
    let browser = house.browser();
    let shown = consent_page(&house, &browser).await;
    let form = shown.form_with("step", "consent").unwrap().clone();
    let (one, two) = tokio::join!(
        browser.submit(&shown, &form, &[("decision", "allow")]),
        browser.submit(&shown, &form, &[("decision", "allow")]),
    );
    let left = [one.unwrap(), two.unwrap()]
        .into_iter()
        .filter(|visit| matches!(visit, Visit::Left(_)))
        .count();
    assert_eq!(left, 1);
}

/// MX-01, M-093
#[tokio::test]
async fn state_and_issuer_come_back_untouched_with_yes_and_with_no() {
    let house = House::open();
    for decision in [Decision::Allow, Decision::Deny] {
        let url = house.authorize_url("web", "scope=mcp%3Aread");
        let redirect = house
            .browser()
            .sign_in_and(&url, "alice", PASSWORD, decision)
            .await
            .unwrap();
        assert_eq!(redirect.parameter("state").unwrap().as_deref(), Some("st&te"));
        assert_eq!(
            redirect.parameter("iss").unwrap().as_deref(),
            Some(house.server.issuer())
        );
    }
}

/// CD-01: who cannot prove who it is gets no answer that the person has not given to it just now.
#[tokio::test]
async fn a_remembered_yes_is_no_answer_to_a_client_that_cannot_prove_itself() {
    let house = House::open();
    let registered = async |uri: &str| {
        let body = json!({"redirect_uris": [uri], "token_endpoint_auth_method": "none"});
        let request = house.http.post(house.server.url("/register")).json(&body);
        let (status, client) = crate::house::answer(request).await;
        assert_eq!(status, 201, "{client}");
        text(&client, "client_id").to_owned()
    };
    let web = registered("https://client.example/cb").await;
    let app = registered("com.example.app:/cb").await;
    let computer = registered("http://127.0.0.1/cb").await;
    for (client, redirect) in [
        ("native", "http%3A%2F%2F127.0.0.1%3A7777%2Fcb"),
        (&web, "https%3A%2F%2Fclient.example%2Fcb"),
        (&app, "com.example.app%3A%2Fcb"),
        (&computer, "http%3A%2F%2F127.0.0.1%3A7777%2Fcb"),
    ] {
        let browser = house.browser();
        let url = house
            .authorize_url(client, "scope=mcp%3Aread")
            .replace("https%3A%2F%2Fclient.example%2Fcb", redirect);
        let first = browser
            .sign_in_and(&url, "alice", PASSWORD, Decision::Allow)
            .await;
        assert!(first.unwrap().parameter("code").unwrap().is_some(), "{client}");
        let again = page(browser.open(&url).await.unwrap());
        assert!(
            again.form_with("step", "consent").is_some(),
            "{client}: {}",
            again.text
        );
        // Asked for nothing: an operator's client is told so, a stranger's mistake is shown where it was made.
        match browser.open(&format!("{url}&prompt=none")).await.unwrap() {
            Visit::Page(shown) => {
                assert!(shown.status >= 400, "{client}: {} {}", shown.status, shown.text);
                assert!(shown.form_with("step", "consent").is_none(), "{client}");
            }
            Visit::Left(silent) => {
                assert_eq!(silent.parameter("code").unwrap(), None, "{client}");
                let error = silent.parameter("error").unwrap().unwrap();
                assert!(
                    ["consent_required", "interaction_required"].contains(&error.as_str()),
                    "{client}: {error}"
                );
            }
        }
    }
}

/// CD-08: what a stranger says of itself is called a claim, where it leads is large, and the way out is as near as the way in.
#[tokio::test]
async fn a_stranger_is_called_one_and_a_program_on_this_computer_too() {
    let house = House::open();
    let body = json!({
        "client_name": "Acme Notes", "redirect_uris": ["http://127.0.0.1/cb"], "token_endpoint_auth_method": "none",
    });
    let request = house.http.post(house.server.url("/register")).json(&body);
    let (_, client) = crate::house::answer(request).await;
    let id = text(&client, "client_id");
    let url = house.authorize_url(id, "scope=mcp%3Aread").replace(
        "https%3A%2F%2Fclient.example%2Fcb",
        "http%3A%2F%2F127.0.0.1%3A7777%2Fcb",
    );
    let browser = house.browser();
    let login = page(browser.open(&url).await.unwrap());
    let form = login.form_with("step", "login").unwrap().clone();
    let fields = [("username", "alice"), ("password", PASSWORD)];
    let shown = page(browser.submit(&login, &form, &fields).await.unwrap());
    for said in [
        "Unverified application",
        "Acme Notes",
        id,
        "127.0.0.1",
        "Read your notes",
        "Notes",
        crate::house::R1,
        "Alice",
        "Any program on this computer can receive the answer",
    ] {
        assert!(shown.text.contains(said), "{said} is not in\n{}", shown.text);
    }
    assert!(!shown.text.contains("Registered by the operator"));
    let form = shown.form_with("step", "consent").unwrap();
    let decisions: Vec<_> = form
        .controls
        .iter()
        .filter(|control| control.name == "decision")
        .map(|control| control.value.as_str())
        .collect();
    assert_eq!(decisions, ["deny", "allow"]);
}

/// CD-09: who decides is who is signed in, and a page that somebody else was shown decides nothing.
#[tokio::test]
async fn what_one_person_was_shown_another_does_not_answer() {
    let house = House::open();
    let browser = house.browser();
    let for_alice = consent_page(&house, &browser).await;
    // In another tab alice signs out, and bob in.
    let url = house.authorize_url("native", "scope=mcp%3Aread");
    let tab = page(browser.open(&url).await.unwrap());
    let sign_out = tab.form_with("step", "sign_out").unwrap().clone();
    let login = page(browser.submit(&tab, &sign_out, &[]).await.unwrap());
    let form = login.form_with("step", "login").unwrap().clone();
    let fields = [("username", "bob"), ("password", PASSWORD)];
    let for_bob = page(browser.submit(&login, &form, &fields).await.unwrap());
    assert!(for_bob.text.contains("bob") && !for_bob.text.contains("Alice"));

    let stale = for_alice.form_with("step", "consent").unwrap().clone();
    let shown = match browser
        .submit(&for_alice, &stale, &[("decision", "allow")])
        .await
        .unwrap()
    {
        Visit::Page(shown) => *shown,
        Visit::Left(left) => panic!("decided for somebody: {}", left.url),
    };
    assert!(!shown.text.contains("Alice"), "{}", shown.text);
    // Opened again, the request is bob's to decide about, and what he allows is his.
    let Visit::Page(shown) = browser.open(for_alice.url.as_str()).await.unwrap() else {
        panic!("left without a decision");
    };
    if let Some(form) = shown.form_with("step", "consent").cloned() {
        assert!(
            shown.text.contains("bob") && !shown.text.contains("Alice"),
            "{}",
            shown.text
        );
        let Visit::Left(left) = browser
            .submit(&shown, &form, &[("decision", "allow")])
            .await
            .unwrap()
        else {
            panic!("still here");
        };
        let code = left.parameter("code").unwrap().unwrap();
        let (_, tokens) = house.redeem("web", &code).await;
        assert_eq!(
            house.introspect(text(&tokens, "access_token")).await["username"],
            "bob"
        );
    }
}
