//! The applications that a person has let in: seeing them, and the way out.

use std::{fmt::Write as _, time::Duration};

use mcp_authflow_testkit::browser::{Browser, Decision, Page, Visit};
use serde_json::{Value, json};

use crate::{
    command_line::{json, run},
    house::{BOOTSTRAP, House, PASSWORD, answer, builder, page, text},
};

impl House {
    async fn connect(&self, browser: &Browser, client: &str) -> Value {
        let code = self.code(browser, client, Decision::Allow).await;
        let (status, tokens) = self.redeem(client, &code).await;
        assert_eq!(status, 200, "{tokens}");
        tokens
    }

    /// Whether a token pair is good for nothing any more, at this server and at the one that asks it.
    async fn is_over(&self, client: &str, tokens: &Value) -> bool {
        let introspected = self.introspect(text(tokens, "access_token")).await;
        let (status, error) = self.refresh(client, text(tokens, "refresh_token")).await;
        let (is_inactive, is_refused) = (introspected["active"] == false, status == 400);
        assert_eq!(is_inactive, is_refused, "{introspected} {error}");
        is_inactive
    }

    async fn apps(&self, browser: &Browser) -> Page {
        page(browser.open(&self.server.url("/ui/apps")).await.unwrap())
    }

    async fn disconnect(&self, browser: &Browser, client: &str) -> Page {
        let asked = page(
            browser
                .open(&self.server.url(&format!("/ui/apps/disconnect?client={client}")))
                .await
                .unwrap(),
        );
        assert!(
            asked.text.contains("Disconnect this application?"),
            "{}",
            asked.text
        );
        let form = asked.form_with("client", client).unwrap().clone();
        page(browser.submit(&asked, &form, &[]).await.unwrap())
    }

    /// Signs somebody in on the page itself.
    async fn sign_in_at_apps(&self, browser: &Browser, username: &str) -> Page {
        let login = self.apps(browser).await;
        assert!(
            login.text.contains("to see which applications are connected"),
            "{}",
            login.text
        );
        let form = login.form_with("step", "login").unwrap().clone();
        let fields = [("username", username), ("password", PASSWORD)];
        page(browser.submit(&login, &form, &fields).await.unwrap())
    }
}

/// P2, P8: access token, refresh token, and a code that nobody has redeemed yet.
#[tokio::test]
async fn a_disconnected_clients_next_call_is_refused() {
    let house = House::open();
    let browser = house.browser();
    let (first, second) = (
        house.connect(&browser, "web").await,
        house.connect(&browser, "web").await,
    );
    let waiting = house.code(&browser, "web", Decision::Allow).await;
    let other = house.connect(&browser, "native").await;

    let listed = house.apps(&browser).await;
    for said in [
        "Web notes",
        "Native notes",
        "Registered by the operator",
        "Notes",
        "https://rs1.test/mcp",
        "Read your notes",
        "Change your notes",
        "Allowed just now",
        "Last used just now from 127.0.0.7",
        "stays connected",
        "Alice",
    ] {
        assert!(listed.text.contains(said), "{said} is not in\n{}", listed.text);
    }
    assert!(!listed.text.contains("Disconnected."));
    assert_eq!(
        listed.text.matches("Client ID web").count(),
        1,
        "one row a client\n{}",
        listed.text
    );

    let after = house.disconnect(&browser, "web").await;
    assert_eq!(after.url.path(), "/ui/apps");
    assert!(
        after.text.contains("Disconnected. It can no longer act for you."),
        "{}",
        after.text
    );
    assert!(
        !after.text.contains("Web notes") && after.text.contains("Native notes"),
        "{}",
        after.text
    );
    assert!(house.is_over("web", &first).await && house.is_over("web", &second).await);
    let (status, error) = house.redeem("web", &waiting).await;
    assert_eq!((status, &error["error"]), (400, &json!("invalid_grant")));
    assert!(!house.is_over("native", &other).await);

    // It may ask again, and is asked about again.
    let again = house.connect(&browser, "web").await;
    assert!(!house.is_over("web", &again).await);
}

/// P2; RFC 8628
#[tokio::test]
async fn a_device_is_shown_and_disconnected_like_any_other() {
    let house = House::open();
    let browser = house.browser();
    let tokens = crate::device::connect(&house, &browser).await;
    let listed = house.apps(&browser).await;
    assert!(listed.text.contains("Living Room Player"), "{}", listed.text);
    assert!(
        listed.text.contains("Last used just now from 127.0.0.7"),
        "{}",
        listed.text
    );
    house.disconnect(&browser, "tv").await;
    assert!(house.is_over("tv", &tokens).await);
}

/// CD-09: identifiers are not secret, and are of no use to anybody else; an administrator included.
#[tokio::test]
async fn nobody_sees_or_ends_what_somebody_else_allowed() {
    let house = House::of(
        builder()
            .bootstrap(BOOTSTRAP.replace("username = \"bob\"", "username = \"bob\"\nadmin = true"))
            .start()
            .unwrap(),
    );
    let (alice, bob) = (house.browser(), house.browser());
    let tokens = house.connect(&alice, "web").await;
    let empty = house.sign_in_at_apps(&bob, "bob").await;
    assert!(
        empty.text.contains("No application is connected"),
        "{}",
        empty.text
    );

    // What bob asks for is the same page for alice's client as for one that nobody has.
    for client in ["web", "nobody", "%00", ""] {
        let url = house.server.url(&format!("/ui/apps/disconnect?client={client}"));
        let shown = page(bob.open(&url).await.unwrap());
        assert_eq!(shown.url.path(), "/ui/apps", "{client}");
        assert!(
            shown.text.contains("No application is connected"),
            "{}",
            shown.text
        );
    }
    // Alice's own form, sent by bob; and bob's own words.
    let url = house.server.url("/ui/apps/disconnect?client=web");
    let asked = page(alice.open(&url).await.unwrap());
    let form = asked.form_with("client", "web").unwrap().clone();
    let refused = page(bob.submit(&asked, &form, &[]).await.unwrap());
    assert_eq!(refused.status, 403, "{}", refused.text);
    assert!(!house.is_over("web", &tokens).await);
}

/// CO-11: another page's token, another client's, none, and another site's form.
#[tokio::test]
async fn a_forged_form_disconnects_nothing() {
    let house = House::open();
    let browser = house.browser();
    let tokens = house.connect(&browser, "web").await;
    house.connect(&browser, "native").await;
    let token_of = async |path: &str| {
        let shown = page(browser.open(&house.server.url(path)).await.unwrap());
        shown.forms[0].value("csrf").unwrap().to_owned()
    };
    let right = token_of("/ui/apps/disconnect?client=web").await;
    let of_other = token_of("/ui/apps/disconnect?client=native").await;
    let of_page = token_of("/ui/sign-out-everywhere").await;
    let cookie = format!("authflow_session={}", browser.cookie("authflow_session").unwrap());
    let post = async |csrf: &str, site: &str| {
        house
            .http
            .post(house.server.url("/ui/apps/disconnect"))
            .header("cookie", &cookie)
            .header("sec-fetch-site", site)
            .form(&[("client", "web"), ("csrf", csrf)])
            .send()
            .await
            .unwrap()
            .status()
            .as_u16()
    };
    for (csrf, site) in [
        (of_other.as_str(), "same-origin"),
        (&of_page, "same-origin"),
        ("", "same-origin"),
        (&right, "cross-site"),
    ] {
        assert_eq!(post(csrf, site).await, 403, "{csrf} {site}");
    }
    assert!(!house.is_over("web", &tokens).await);
    assert_eq!(post(&right, "same-origin").await, 303);
    assert!(house.is_over("web", &tokens).await);
    // A link cannot say that something was done.
    let url = house.server.url(&format!("/ui/apps?done={right}"));
    let shown = page(browser.open(&url).await.unwrap());
    assert!(!shown.text.contains("Disconnected."), "{}", shown.text);
}

#[tokio::test]
async fn whoever_is_not_signed_in_signs_in_at_the_page_and_learns_nothing_before() {
    let house = House::open();
    house.connect(&house.browser(), "web").await;
    let browser = house.browser();
    let login = house.apps(&browser).await;
    assert!(!login.text.contains("Web notes"), "{}", login.text);
    for path in ["/ui/apps/disconnect?client=web", "/ui/sign-out-everywhere"] {
        let shown = page(browser.open(&house.server.url(path)).await.unwrap());
        assert_eq!(shown.url.path(), "/ui/apps");
        assert!(shown.form_with("step", "login").is_some());
    }
    let form = login.form_with("step", "login").unwrap().clone();
    let fields = [("username", "alice"), ("password", "wrong")];
    let wrong = page(browser.submit(&login, &form, &fields).await.unwrap());
    assert!(wrong.text.contains("do not match"), "{}", wrong.text);
    let listed = house.sign_in_at_apps(&browser, "alice").await;
    assert!(listed.text.contains("Web notes"), "{}", listed.text);
}

/// SE-02: the two choices are told apart, and do what they say.
#[tokio::test]
async fn signing_out_everywhere_ends_every_session_and_on_demand_every_connection() {
    let house = House::open();
    for (what, ends_apps) in [("sessions", false), ("everything", true)] {
        let (here, elsewhere) = (house.browser(), house.browser());
        let tokens = house.connect(&here, "web").await;
        let waiting = house.code(&here, "native", Decision::Allow).await;
        house.sign_in_at_apps(&elsewhere, "alice").await;
        let bob = house.browser();
        house.sign_in_at_apps(&bob, "bob").await;

        let asked = page(
            here.open(&house.server.url("/ui/sign-out-everywhere"))
                .await
                .unwrap(),
        );
        let form = asked.form_with("what", what).unwrap().clone();
        let done = page(here.submit(&asked, &form, &[("what", what)]).await.unwrap());
        assert!(done.text.contains("You are signed out"), "{}", done.text);
        assert_eq!(
            done.text.contains("no application is connected"),
            ends_apps,
            "{}",
            done.text
        );
        for browser in [&here, &elsewhere] {
            let home = page(browser.open(&house.server.url("/ui/")).await.unwrap());
            assert!(home.text.contains("Not signed in"), "{what}: {}", home.text);
        }
        let home = page(bob.open(&house.server.url("/ui/")).await.unwrap());
        assert!(home.text.contains("You are signed in"), "{}", home.text);
        assert_eq!(house.is_over("web", &tokens).await, ends_apps, "{what}");
        assert_eq!(
            house.redeem("native", &waiting).await.0,
            if ends_apps { 400 } else { 200 }
        );
    }
}

/// CD-12, CM-11: the same name given twice proves nothing, and says so.
#[tokio::test]
async fn many_applications_go_over_pages_and_equal_names_are_told_apart() {
    let mut bootstrap = BOOTSTRAP.to_owned();
    for number in 0..20 {
        write!(
            bootstrap,
            "[[client]]\nclient_id = \"known-{number}-\"\nname = \"Application {number}\"\n\
             redirect_uris = [\"https://client.example/cb\"]\ntoken_endpoint_auth_method = \"none\"\n"
        )
        .unwrap();
    }
    let house = House::of(builder().bootstrap(bootstrap).start().unwrap());
    let browser = house.browser();
    let mut ids: Vec<String> = (0..20).map(|number| format!("known-{number}-")).collect();
    for id in &ids {
        house.connect(&browser, id).await;
    }
    // Approvals are told apart to the second of the server's clock: those that follow are later ones.
    tokio::time::sleep(Duration::from_millis(1_050)).await;
    for name in ["Note taker", " note  TAKER"] {
        let request = house.http.post(house.server.url("/register")).json(&json!({
            "client_name": name,
            "redirect_uris": ["https://client.example/cb"],
            "token_endpoint_auth_method": "none",
            "grant_types": ["authorization_code", "refresh_token"],
        }));
        let (status, client) = answer(request).await;
        assert_eq!(status, 201, "{client}");
        let id = text(&client, "client_id").to_owned();
        house.connect(&browser, &id).await;
        ids.push(id);
    }
    let first = house.apps(&browser).await;
    assert!(first.text.contains("Page 1 of 2"), "{}", first.text);
    assert_eq!(
        first.text.matches("Unverified application").count(),
        2,
        "the last first"
    );
    assert_eq!(first.text.matches("Registered by the operator").count(), 18);
    assert_eq!(
        first
            .text
            .matches("More than one application here gives itself this name")
            .count(),
        2
    );
    let second = page(browser.open(&house.server.url("/ui/apps?page=2")).await.unwrap());
    assert!(second.text.contains("Page 2 of 2"), "{}", second.text);
    assert_eq!(second.text.matches("Registered by the operator").count(), 2);
    let all = format!("{} {}", first.text, second.text);
    for id in &ids {
        assert_eq!(
            all.matches(id.as_str()).count(),
            2,
            "beside its name, and on its button: {id}"
        );
    }
    for nonsense in ["0", "99", "-1", "x", "99999999999999999999999"] {
        let url = house.server.url(&format!("/ui/apps?page={nonsense}"));
        assert_eq!(page(browser.open(&url).await.unwrap()).status, 200, "{nonsense}");
    }
}

/// P2
#[tokio::test]
async fn an_operator_lists_and_revokes_grants_on_the_command_line() {
    let house = House::open();
    let browser = house.browser();
    let web = house.connect(&browser, "web").await;
    let native = house.connect(&browser, "native").await;
    house.code(&browser, "native", Decision::Allow).await;

    let listed = json(&house, &["grant", "list", "--user", "alice"], "");
    assert_eq!(listed.as_array().unwrap().len(), 2, "{listed}");
    let all = json(&house, &["grant", "list", "--all"], "");
    assert_eq!(all.as_array().unwrap().len(), 3, "{all}");
    let of_web = json(&house, &["grant", "list", "--client", "web"], "");
    let grant = &of_web[0];
    for (name, value) in [
        ("username", json!("alice")),
        ("client_id", json!("web")),
        ("standing", json!("connected")),
        ("last_used_from", json!("127.0.0.7")),
        ("offline_access", json!(true)),
    ] {
        assert_eq!(grant[name], value, "{grant}");
    }
    let nobodys = json(&house, &["grant", "list", "--user", "bob"], "");
    assert_eq!(nobodys, json!([]));

    let id = text(grant, "id");
    let (code, out, err) = run(&house, &["grant", "revoke", id], "");
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("everything beneath it has ended"), "{out}");
    assert!(house.is_over("web", &web).await);
    let (code, _, err) = run(&house, &["grant", "revoke", id], "");
    assert_eq!(code, 1, "{err}");
    assert!(!house.is_over("native", &native).await);

    let native = house.connect(&browser, "native").await;
    let ended = json(
        &house,
        &["grant", "revoke", "--user", "Alice", "--client", "native"],
        "",
    );
    assert_eq!(ended["username"], "alice");
    assert!(house.is_over("native", &native).await);
    let (web, native) = (
        house.connect(&browser, "web").await,
        house.connect(&browser, "native").await,
    );
    assert_eq!(
        json(&house, &["grant", "revoke", "--user", "alice"], "")["revoked"],
        2
    );
    assert!(house.is_over("web", &web).await && house.is_over("native", &native).await);
    // The account itself stays signed in.
    let home = page(browser.open(&house.server.url("/ui/")).await.unwrap());
    assert!(home.text.contains("You are signed in"), "{}", home.text);

    for wrong in [
        &["grant", "revoke"][..],
        &["grant", "revoke", "x"],
        &["grant", "revoke", "--client", "web"],
        &["grant", "revoke", id, "--user", "alice"],
    ] {
        let (code, _, told) = run(&house, wrong, "");
        assert_eq!(code, 2, "{wrong:?}");
        assert!(
            told.contains("--user <NAME> [--client <ID>]") || told.contains("see authflow grant list"),
            "{wrong:?} is not told what to say: {told}"
        );
    }
    assert_eq!(run(&house, &["grant", "list", "--user", "nobody"], "").0, 1);
}

/// M-098, M-171, CD-01, CD-08, CD-12: who vouches, how new it is, where it leads, and what each scope opens.
#[tokio::test]
async fn a_stranger_is_marked_as_one_and_a_scope_says_which_tools_it_opens() {
    let described = BOOTSTRAP.replacen(
        "description = \"Read your notes\"",
        "description = \"Read your notes\"\ntools = [\"list_notes\", \"read_note\", \"a3\", \"a4\", \"a5\", \"a6\", \"a7\"]",
        1,
    );
    let house = House::of(builder().bootstrap(&described).start().unwrap());
    let request = house.http.post(house.server.url("/register")).json(&json!({
        "client_name": "Registered by the operator\u{202e}",
        "redirect_uris": ["http://127.0.0.1/cb"],
        "token_endpoint_auth_method": "none",
    }));
    let (_, client) = answer(request).await;
    let id = text(&client, "client_id");
    let url = house.authorize_url(id, "scope=mcp%3Aread%20mcp%3Awrite").replace(
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
        "Calls itself “Registered by the operator” (its own claim)",
        "Registered itself just now",
        "First time for you",
        "a program on this computer",
        "Any program on this computer can receive the answer",
        "Opens these tools: list_notes, read_note, a3, a4, a5, a6 and 1 more",
        "Deny",
    ] {
        assert!(shown.text.contains(said), "{said} is not in\n{}", shown.text);
    }
    let form = shown.form_with("step", "consent").unwrap().clone();
    let Visit::Left(left) = browser
        .submit(&shown, &form, &[("decision", "allow")])
        .await
        .unwrap()
    else {
        panic!("it stays here");
    };
    assert!(left.parameter("code").unwrap().is_some());
    // No silent approval, but no longer the first time (CD-01).
    let shown = page(browser.open(&url).await.unwrap());
    assert!(!shown.text.contains("First time for you"), "{}", shown.text);
    assert!(
        shown.text.contains("Allow access to your account?"),
        "{}",
        shown.text
    );
}

/// CD-08: the second click of a double one comes when the first has been answered, and must not say that nothing was
/// shared.
#[tokio::test]
async fn a_second_click_on_allow_meets_a_calm_page_and_changes_nothing() {
    let house = House::open();
    let browser = house.browser();
    let url = house.authorize_url("web", "scope=mcp%3Aread");
    let login = page(browser.open(&url).await.unwrap());
    let form = login.form_with("step", "login").unwrap().clone();
    let fields = [("username", "alice"), ("password", PASSWORD)];
    let shown = page(browser.submit(&login, &form, &fields).await.unwrap());
    let form = shown.form_with("step", "consent").unwrap().clone();
    let allow = [("decision", "allow")];
    let Visit::Left(left) = browser.submit(&shown, &form, &allow).await.unwrap() else {
        panic!("it stays here");
    };
    let again = page(browser.submit(&shown, &form, &allow).await.unwrap());
    assert_eq!(again.status, 400);
    assert!(
        again.text.contains("You have answered this request already"),
        "{}",
        again.text
    );
    assert!(!again.text.contains("Nothing has been shared"), "{}", again.text);
    let code = left.parameter("code").unwrap().unwrap();
    assert_eq!(house.redeem("web", &code).await.0, 200);
}
