//! Several nodes and several tabs at once: the end is that of one order or the other.

use std::sync::Arc;

use mcp_authflow_testkit::{
    browser::{Decision, Visit},
    server::Store,
    service::postgres::PrivatePostgres,
};
use serde_json::{Value, json};
use tokio::{sync::Semaphore, task::JoinSet};

use crate::house::{House, PASSWORD, VERIFIER, answer, builder, page, text};

/// No exchange of a refresh token goes on for longer than this.
const MOST_EXCHANGES: usize = 10_000;

/// A request at the token endpoint of a node, which need not be the one that the issuer's address leads to.
async fn ask(http: &reqwest::Client, origin: &str, form: &[(&str, &str)]) -> (u16, Value) {
    answer(http.post(format!("{origin}/token")).form(form)).await
}

/// XC-02: nothing of a person is good any more once "disabled" was answered, whatever the other nodes were doing.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_lives_after_a_person_is_disabled_while_other_nodes_exchange() {
    let postgres = PrivatePostgres::shared().unwrap_or_else(|error| panic!("{error:#}"));
    let database = postgres.fresh_database().unwrap();
    let node = || builder().store(Store::Postgres(database.url().to_owned()));
    let house = House::of(node().start().unwrap());
    let (two, three) = (
        node().beside(&house.server).start().unwrap(),
        node().beside(&house.server).start().unwrap(),
    );
    let origins = [two.origin().to_owned(), three.origin().to_owned()];
    let browser = house.browser();
    let mut codes = Vec::new();
    for _ in 0..12 {
        codes.push(house.code(&browser, "native", Decision::Allow).await);
    }
    let (unspent, racing) = (codes.split_off(10), codes.split_off(6));

    let exchanged = Arc::new(Semaphore::new(0));
    let mut chains = JoinSet::new();
    for (number, code) in codes.iter().enumerate() {
        let (_, first) = house.redeem("native", code).await;
        let (http, origin) = (house.http.clone(), origins[number % 2].clone());
        let exchanged = exchanged.clone();
        chains.spawn(async move {
            let mut seen = vec![first];
            for _ in 0..MOST_EXCHANGES {
                let form = [
                    ("grant_type", "refresh_token"),
                    ("refresh_token", text(&seen[seen.len() - 1], "refresh_token")),
                    ("client_id", "native"),
                ];
                let (status, next) = ask(&http, &origin, &form).await;
                if status != 200 {
                    assert_eq!((status, &next["error"]), (400, &json!("invalid_grant")));
                    return seen;
                }
                seen.push(next);
                exchanged.add_permits(1);
            }
            panic!("{MOST_EXCHANGES} exchanges, and the person is not disabled");
        });
    }
    // All chains are well on their way.
    exchanged.acquire_many(60).await.unwrap().forget();
    let mut redemptions = JoinSet::new();
    for (number, code) in racing.into_iter().enumerate() {
        let (http, origin) = (house.http.clone(), origins[number % 2].clone());
        redemptions.spawn(async move {
            let form = [
                ("grant_type", "authorization_code"),
                ("code", &code),
                ("client_id", "native"),
                ("code_verifier", VERIFIER),
            ];
            ask(&http, &origin, &form).await
        });
    }
    tokio::task::block_in_place(|| house.server.run(["user", "disable", "alice"]).unwrap());

    let mut seen: Vec<Value> = chains.join_all().await.into_iter().flatten().collect();
    for (status, tokens) in redemptions.join_all().await {
        if status == 200 {
            seen.push(tokens);
        } else {
            assert_eq!((status, &tokens["error"]), (400, &json!("invalid_grant")));
        }
    }
    assert!(seen.len() > 60);
    for tokens in &seen {
        let known = house.introspect(text(tokens, "access_token")).await;
        assert_eq!(known, json!({"active": false}));
    }
    for code in &unspent {
        let (status, error) = house.redeem("native", code).await;
        assert_eq!((status, &error["error"]), (400, &json!("invalid_grant")));
    }
    let again = page(browser.open(&house.authorize_url("native", "")).await.unwrap());
    assert!(again.form_with("step", "login").is_some(), "{}", again.describe());
}

/// XC-06: two tabs, one outcome; and where it was "no", there is no code.
#[tokio::test]
async fn a_person_who_allows_and_denies_at_once_does_one_of_them() {
    let house = House::open();
    let browser = house.browser();
    let url = house.authorize_url("native", "scope=mcp%3Aread");
    let login = page(browser.open(&url).await.unwrap());
    let form = login.form_with("step", "login").unwrap().clone();
    let fields = [("username", "alice"), ("password", PASSWORD)];
    page(browser.submit(&login, &form, &fields).await.unwrap());
    for round in 0..10 {
        let shown = page(browser.open(&url).await.unwrap());
        let form = shown.form_with("step", "consent").expect("a consent form");
        let press = async |decision| {
            browser
                .submit(&shown, form, &[("decision", decision)])
                .await
                .unwrap()
        };
        // Whoever is polled first is sent first.
        let visits = if round % 2 == 0 {
            tokio::join!(press("allow"), press("deny"))
        } else {
            tokio::join!(press("deny"), press("allow"))
        };
        let (mut codes, mut denials, mut late) = (Vec::new(), 0, 0);
        for visit in [visits.0, visits.1] {
            match visit {
                Visit::Page(page) => {
                    assert_eq!(page.status, 400, "{}", page.describe());
                    late += 1;
                }
                Visit::Left(redirect) => {
                    if let Some(code) = redirect.parameter("code").unwrap() {
                        codes.push(code);
                    } else {
                        let error = redirect.parameter("error").unwrap();
                        assert_eq!(error.as_deref(), Some("access_denied"));
                        denials += 1;
                    }
                }
            }
        }
        assert_eq!((codes.len() + denials, late), (1, 1), "round {round}");
        for code in codes {
            assert_eq!(house.redeem("native", &code).await.0, 200);
        }
    }
}
