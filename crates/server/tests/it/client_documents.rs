//! Clients that are named by the URL of their metadata document, through the binary and over TLS.

use std::time::Duration;

use mcp_authflow_testkit::{
    browser::{Decision, Visit},
    document_host::{DocumentHost, Served},
    server::{Store, TestServerBuilder},
    service::postgres::PrivatePostgres,
};
use serde_json::json;

use crate::house::{House, VERIFIER, answer, builder, text};

/// A server that trusts a document host's authority, and looks at documents again after a second.
fn trusting(host: &DocumentHost, config: &str) -> TestServerBuilder {
    builder()
        .env("SSL_CERT_FILE", host.ca_file().to_str().unwrap())
        .config(format!(
            "[client_documents]\nmin_age = \"1s\"\nmax_age = \"1s\"\n{config}"
        ))
}

fn encoded(text: &str) -> String {
    text.replace(':', "%3A").replace('/', "%2F")
}

fn app(host: &DocumentHost) -> String {
    host.serve_client(
        "/client.json",
        &json!({ "redirect_uris": ["https://client.example/cb"] }),
    )
}

/// The status of the page that a client gets at once.
async fn page_status(house: &House, client_id: &str) -> u16 {
    match house
        .browser()
        .open(&house.authorize_url(&encoded(client_id), ""))
        .await
        .unwrap()
    {
        Visit::Page(page) => page.status,
        Visit::Left(redirect) => panic!("left for {}", redirect.url),
    }
}

/// Waits until the page of a client has a status, 30 s at most.
async fn until_page_status(house: &House, client_id: &str, status: u16) {
    let mut now = 0;
    for _ in 0..150 {
        now = page_status(house, client_id).await;
        if now == status {
            return;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    panic!("it is still {now}");
}

/// M-061, M-064, M-065, M-067, SF-16
#[tokio::test]
async fn a_client_named_by_its_document_gets_in_on_every_store() {
    let postgres = PrivatePostgres::shared().unwrap_or_else(|error| panic!("{error:#}"));
    let database = postgres.fresh_database().unwrap();
    for store in [
        Store::Memory,
        Store::Sqlite,
        Store::Postgres(database.url().to_owned()),
    ] {
        let host = DocumentHost::start().unwrap();
        let id = app(&host);
        let house = House::of(trusting(&host, "").store(store.clone()).start().unwrap());
        let code = house.code(&house.browser(), &encoded(&id), Decision::Allow).await;
        let (status, tokens) = house.redeem(&id, &code).await;
        assert_eq!(status, 200, "{store:?}: {tokens}");
        assert_eq!(
            house.introspect(text(&tokens, "access_token")).await["client_id"],
            json!(id)
        );
        let (status, tokens) = house.refresh(&id, text(&tokens, "refresh_token")).await;
        assert_eq!(status, 200, "{store:?}: {tokens}");
        assert_eq!(
            house.introspect(text(&tokens, "access_token")).await["active"],
            true
        );
        // Our request says who we are and nothing else.
        for head in host.heads() {
            let head = head.to_ascii_lowercase();
            assert!(head.contains("user-agent: mcp-authflow"), "{head}");
            for header in ["cookie", "authorization", "referer", "x-forwarded"] {
                assert!(!head.contains(header), "{head}");
            }
        }
    }
}

/// M-164, M-166, CM-14: a host that goes down and comes back.
#[tokio::test]
async fn a_host_that_goes_down_signs_nobody_out() {
    let host = DocumentHost::start().unwrap();
    let id = app(&host);
    let house = House::of(trusting(&host, "").start().unwrap());
    let code = house.code(&house.browser(), &encoded(&id), Decision::Allow).await;
    let (_, tokens) = house.redeem(&id, &code).await;
    host.serve("/client.json", Served::status(503));
    until_page_status(&house, &id, 503).await;
    let (status, tokens) = house.refresh(&id, text(&tokens, "refresh_token")).await;
    assert_eq!(status, 200, "{tokens}");
    app(&host);
    until_page_status(&house, &id, 200).await;
    let (status, tokens) = house.refresh(&id, text(&tokens, "refresh_token")).await;
    assert_eq!(status, 200, "{tokens}");
}

/// CM-15: after a key was stolen nobody waits for the copy to be past its time.
#[tokio::test]
async fn an_administrator_has_a_document_fetched_anew() {
    let host = DocumentHost::start().unwrap();
    let id = app(&host);
    let config = "[client_documents]\nmin_age = \"1s\"\n";
    let house = builder()
        .env("SSL_CERT_FILE", host.ca_file().to_str().unwrap())
        .config(config);
    let house = House::of(house.start().unwrap());
    assert_eq!(page_status(&house, &id).await, 200);
    host.go_down(true);
    assert_eq!(
        page_status(&house, &id).await,
        200,
        "the copy counts for five minutes"
    );
    let fetched_at = || {
        let listed = house.server.run(["client-document", "list", "--json"]).unwrap();
        let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
        listed[0]["document"]["fetched_at"].clone()
    };
    let before = fetched_at();
    house.server.run(["client-document", "refetch", &id]).unwrap();
    // Nodes put a copy by naming the one that they saw: one that is being fetched at this moment must not fit any more.
    assert_ne!(fetched_at(), before);
    until_page_status(&house, &id, 503).await;
}

/// CM-18, M-177: ask, allow, deny, from the command line.
/// M-100
#[tokio::test]
async fn an_administrator_lets_hosts_in_and_throws_them_out() {
    let host = DocumentHost::start().unwrap();
    let id = app(&host);
    let house = House::of(trusting(&host, "trust = \"ask\"\n").start().unwrap());
    let name = format!("127.0.0.1:{}", host.address().port());
    assert_eq!(page_status(&house, &id).await, 403);
    assert_eq!(host.hits("/client.json"), 0);
    let listed = house.server.run(["client-document", "host", "list"]).unwrap();
    assert!(listed.contains(&name) && listed.contains("waits"), "{listed}");
    assert!(
        listed.contains("host allow HOST"),
        "the next step is missing: {listed}"
    );

    house
        .server
        .run(["client-document", "host", "allow", &name])
        .unwrap();
    let listed = house.server.run(["client-document", "host", "list"]).unwrap();
    assert!(
        !listed.contains("host allow HOST"),
        "nothing is left to decide: {listed}"
    );
    let code = house.code(&house.browser(), &encoded(&id), Decision::Allow).await;
    let (_, tokens) = house.redeem(&id, &code).await;
    assert_eq!(
        house.introspect(text(&tokens, "access_token")).await["active"],
        true
    );

    let denied = house
        .server
        .run(["client-document", "host", "deny", &name, "--json"])
        .unwrap();
    let denied: serde_json::Value = serde_json::from_str(&denied).unwrap();
    assert_eq!(
        (&denied["decision"], &denied["clients_ended"]),
        (&json!("denied"), &json!(1))
    );
    assert_eq!(
        house.introspect(text(&tokens, "access_token")).await["active"],
        false
    );
    assert_eq!(house.refresh(&id, text(&tokens, "refresh_token")).await.0, 400);
    assert_eq!(page_status(&house, &id).await, 400);
    let listed = house.server.run(["client-document", "host", "list"]).unwrap();
    assert!(listed.contains("denied"), "{listed}");
}

/// P13: a client of a named host on the web is not asked about twice; one of a stranger's is.
#[tokio::test]
async fn approvals_are_remembered_for_hosts_that_the_operator_names() {
    let host = DocumentHost::start().unwrap();
    let id = app(&host);
    let name = format!("127.0.0.1:{}", host.address().port());
    for (config, is_asked_again) in [
        (format!("trust = \"only\"\nhosts = \"{name}\"\n"), false),
        (String::new(), true),
    ] {
        let house = House::of(trusting(&host, &config).start().unwrap());
        let browser = house.browser();
        let code = house.code(&browser, &encoded(&id), Decision::Allow).await;
        let (status, _) = house.redeem(&id, &code).await;
        assert_eq!(status, 200);
        let again = browser
            .open(&house.authorize_url(&encoded(&id), "scope=mcp%3Aread"))
            .await
            .unwrap();
        assert_eq!(matches!(again, Visit::Page(_)), is_asked_again, "{config}");
    }
}

/// CM-15, CM-08: two nodes on one database have one copy, and agree on what changed.
#[tokio::test]
async fn two_nodes_have_one_last_good_copy() {
    let host = DocumentHost::start().unwrap();
    let id = app(&host);
    let ca = host.ca_file();
    let postgres = PrivatePostgres::shared().unwrap_or_else(|error| panic!("{error:#}"));
    let database = postgres.fresh_database().unwrap();
    let node = || {
        builder()
            .store(Store::Postgres(database.url().to_owned()))
            .env("SSL_CERT_FILE", ca.to_str().unwrap())
            .config("[client_documents]\nmin_age = \"1h\"\n")
    };
    let house = House::of(node().start().unwrap());
    let second = node().beside(&house.server).start().unwrap();
    let ask = async |form: &[(&str, &str)]| {
        answer(house.http.post(format!("{}/token", second.origin())).form(form)).await
    };
    let code = house.code(&house.browser(), &encoded(&id), Decision::Allow).await;
    assert_eq!(host.hits("/client.json"), 1);

    // The other node redeems and authorizes with the copy that the first one fetched, host or no host.
    host.go_down(true);
    let (status, tokens) = ask(&[
        ("grant_type", "authorization_code"),
        ("code", &code),
        ("client_id", &id),
        ("code_verifier", VERIFIER),
    ])
    .await;
    assert_eq!(status, 200, "{tokens}");
    let url = house
        .authorize_url(&encoded(&id), "")
        .replace(house.server.origin(), second.origin());
    let begun = house.http.get(&url).send().await.unwrap();
    assert_eq!(begun.status(), 303);
    assert_eq!(host.hits("/client.json"), 1);

    // What an administrator ends on one node has ended on the other.
    house.server.run(["client", "revoke", &id]).unwrap();
    let refresh = [
        ("grant_type", "refresh_token"),
        ("refresh_token", text(&tokens, "refresh_token")),
        ("client_id", &id),
    ];
    assert_eq!(ask(&refresh).await.0, 400);
}

/// A person who has a wrong link sees a page, and nothing of why.
#[tokio::test]
async fn what_is_no_document_gets_a_page_that_says_nothing_of_the_network() {
    let host = DocumentHost::start().unwrap();
    host.serve("/page", Served::new("text/html", "<p>no</p>"));
    host.serve("/moved", Served::status(302).header("Location", "/client.json"));
    host.serve(
        "/other.json",
        Served::json(r#"{"client_id":"https://other.example/client.json"}"#),
    );
    let house = House::of(trusting(&host, "").start().unwrap());
    let mut texts = Vec::new();
    for path in ["/page", "/moved", "/other.json", "/missing"] {
        let url = house.authorize_url(&encoded(&host.url(path)), "");
        let Visit::Page(page) = house.browser().open(&url).await.unwrap() else {
            panic!("{path} left");
        };
        assert_eq!(page.status, 400, "{path}");
        texts.push(page.text.clone());
    }
    for id in [
        "https://10.0.0.5/client.json",
        "https://127.0.0.1:1/client.json",
        "https://localhost:9/client.json",
    ] {
        let url = house.authorize_url(&encoded(id), "");
        let Visit::Page(page) = house.browser().open(&url).await.unwrap() else {
            panic!("{id} left");
        };
        assert_eq!(page.status, 400, "{id}");
        texts.push(page.text.clone());
    }
    // Each page has a reference of its own, for the log.
    for text in &mut texts {
        let end = text.find("Reference").expect("a reference");
        text.truncate(end);
    }
    texts.dedup();
    assert_eq!(texts.len(), 1, "{texts:#?}");
    assert!(!texts[0].contains("10.0.0.5"), "{}", texts[0]);
}
