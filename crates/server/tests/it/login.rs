//! Signing in: what is counted, what changes, what is not told.

use mcp_authflow_testkit::{browser::Decision, server::Store, service::postgres::PrivatePostgres};

use crate::house::{House, PASSWORD, builder, page};

/// SE-01: the cookie changes at sign-in, and the one from before opens nothing.
#[tokio::test]
async fn a_planted_cookie_stays_anonymous() {
    let house = House::open();
    let (mallory, alice) = (house.browser(), house.browser());
    mallory.open(&house.authorize_url("web", "")).await.unwrap();
    let planted = mallory.cookie("authflow_session").unwrap();
    alice
        .plant_cookie(&house.server.url("/"), "authflow_session", &planted)
        .unwrap();
    house.code(&alice, "native", Decision::Allow).await;
    assert_ne!(alice.cookie("authflow_session").unwrap(), planted);
    let home = page(mallory.open(&house.server.url("/ui/")).await.unwrap());
    assert!(!home.text.contains("Alice"), "{}", home.text);
}

/// P10: ten tries an account in ten minutes, counted before they are checked.
#[tokio::test]
async fn the_eleventh_wrong_password_is_not_even_looked_at() {
    let house = House::open();
    let browser = house.browser();
    let mut shown = page(browser.open(&house.authorize_url("web", "")).await.unwrap());
    for attempt in 1..=11 {
        let form = shown.form_with("step", "login").expect("a login form").clone();
        let spelled = if attempt % 2 == 0 { "ALICE " } else { "alice" };
        let fields = [("username", spelled), ("password", "not her password at all")];
        shown = page(browser.submit(&shown, &form, &fields).await.unwrap());
        assert_eq!(
            shown.status,
            if attempt <= 10 { 200 } else { 429 },
            "attempt {attempt}"
        );
    }
    let form = shown.form_with("step", "login").expect("a login form").clone();
    let fields = [("username", "alice"), ("password", PASSWORD)];
    assert_eq!(
        page(browser.submit(&shown, &form, &fields).await.unwrap()).status,
        429
    );
    // Somebody else is not locked out by it.
    let fields = [("username", "bob"), ("password", PASSWORD)];
    assert!(
        page(browser.submit(&shown, &form, &fields).await.unwrap())
            .form_with("step", "consent")
            .is_some()
    );
}

/// P3: what could not be checked was no guess. Nobody is locked out for trying again and again while the database is away.
#[tokio::test(flavor = "multi_thread")]
async fn tries_while_nobody_can_be_asked_do_not_count() {
    let postgres = PrivatePostgres::shared().unwrap_or_else(|error| panic!("{error:#}"));
    let database = postgres.fresh_database().unwrap();
    let store = Store::Postgres(database.url().to_owned());
    let house = House::of(builder().store(store).start().unwrap());
    let (admin, connection) = tokio_postgres::connect(database.url(), tokio_postgres::NoTls)
        .await
        .unwrap();
    tokio::spawn(connection);
    let browser = house.browser();
    let shown = page(browser.open(&house.authorize_url("web", "")).await.unwrap());
    let form = shown.form_with("step", "login").unwrap().clone();
    let fields = [("username", "alice"), ("password", PASSWORD)];
    // Whoever looks alice up gets an error; whoever looks for a session finds none, and so no error.
    admin
        .batch_execute(
            "ALTER TABLE authflow.users RENAME TO elsewhere; CREATE VIEW authflow.users AS SELECT user_id, username, \
             display_name, password_hash, 1 / (username <> 'alice')::int = 1 AS is_admin, created_at, disabled_at \
             FROM authflow.elsewhere",
        )
        .await
        .unwrap();
    for _ in 0..11 {
        let refused = page(browser.submit(&shown, &form, &fields).await.unwrap());
        assert_eq!(refused.status, 503, "{}", refused.describe());
    }
    admin
        .batch_execute("DROP VIEW authflow.users; ALTER TABLE authflow.elsewhere RENAME TO users")
        .await
        .unwrap();
    let consent = page(browser.submit(&shown, &form, &fields).await.unwrap());
    assert!(
        consent.form_with("step", "consent").is_some(),
        "{}",
        consent.describe()
    );
}

/// RL-01: no lock-out weapon. Whoever signed in from an address lately is not locked out there by guesses from elsewhere.
#[tokio::test]
async fn guesses_from_elsewhere_lock_nobody_out_at_home() {
    let house = House::open();
    let (alice, mallory) = (house.browser(), House::browser_at("127.0.0.66"));
    house.code(&alice, "native", Decision::Allow).await;
    let mut shown = page(mallory.open(&house.authorize_url("web", "")).await.unwrap());
    for attempt in 1..=11 {
        let form = shown.form_with("step", "login").expect("a login form").clone();
        let fields = [("username", "alice"), ("password", "not her password at all")];
        shown = page(mallory.submit(&shown, &form, &fields).await.unwrap());
        assert_eq!(
            shown.status,
            if attempt <= 10 { 200 } else { 429 },
            "attempt {attempt}"
        );
    }
    let again = house.browser();
    let shown = page(again.open(&house.authorize_url("web", "")).await.unwrap());
    let form = shown.form_with("step", "login").expect("a login form").clone();
    let fields = [("username", "alice"), ("password", PASSWORD)];
    let shown = page(again.submit(&shown, &form, &fields).await.unwrap());
    assert!(
        shown.form_with("step", "consent").is_some(),
        "{}",
        shown.describe()
    );
}

/// A name that nobody has is told the same as a wrong password.
#[tokio::test]
async fn nobody_learns_which_names_there_are() {
    let house = House::open();
    let mut seen = Vec::new();
    for name in ["alice", "nobody", "", "<script>alert(1)</script>"] {
        let browser = house.browser();
        let shown = page(browser.open(&house.authorize_url("web", "")).await.unwrap());
        let form = shown.form_with("step", "login").unwrap().clone();
        let fields = [("username", name), ("password", "wrong wrong wrong wrong")];
        let again = page(browser.submit(&shown, &form, &fields).await.unwrap());
        seen.push((again.status, again.text.replace(name, "")));
    }
    assert!(seen.windows(2).all(|two| two[0] == two[1]), "{seen:#?}");
}

/// OpenID Connect Core §3.1.2.1
#[tokio::test]
async fn prompt_decides_what_is_asked() {
    let house = House::open();
    let browser = house.browser();
    let silent = house.authorize_url("web", "prompt=none&scope=mcp%3Aread");
    let error = |visit| match visit {
        mcp_authflow_testkit::browser::Visit::Left(redirect) => redirect
            .parameter("error")
            .unwrap()
            .unwrap_or_else(|| "no error".to_owned()),
        mcp_authflow_testkit::browser::Visit::Page(page) => panic!("{}", page.describe()),
    };
    assert_eq!(error(browser.open(&silent).await.unwrap()), "login_required");
    let denied = house.authorize_url("web", "scope=mcp%3Aread");
    browser
        .sign_in_and(&denied, "alice", PASSWORD, Decision::Deny)
        .await
        .unwrap();
    assert_eq!(error(browser.open(&silent).await.unwrap()), "consent_required");
    let code = house.code(&browser, "web", Decision::Allow).await;
    assert_eq!(house.redeem("web", &code).await.0, 200);
    assert_eq!(error(browser.open(&silent).await.unwrap()), "no error");
    let asked = page(
        browser
            .open(&house.authorize_url("web", "prompt=consent&scope=mcp%3Aread"))
            .await
            .unwrap(),
    );
    assert!(asked.form_with("step", "consent").is_some());
    let asked = page(
        browser
            .open(&house.authorize_url("web", "prompt=login"))
            .await
            .unwrap(),
    );
    assert!(asked.form_with("step", "login").is_some());
    // CD-01: a client on loopback is asked about every time.
    let code = house.code(&browser, "native", Decision::Allow).await;
    assert_eq!(house.redeem("native", &code).await.0, 200);
    let again = page(
        browser
            .open(&house.authorize_url("native", "scope=mcp%3Aread"))
            .await
            .unwrap(),
    );
    assert!(again.form_with("step", "consent").is_some());
}

/// OpenID Connect Core §3.1.2.1: `max_age=0` asks for the password, and then takes the person's time.
#[tokio::test]
async fn a_small_max_age_asks_once_and_then_waits() {
    let house = House::open();
    let browser = house.browser();
    house.code(&browser, "web", Decision::Allow).await;
    let asked = page(
        browser
            .open(&house.authorize_url("web", "max_age=0"))
            .await
            .unwrap(),
    );
    let form = asked.form_with("step", "login").expect("a login form").clone();
    let fields = [("username", "alice"), ("password", PASSWORD)];
    let mut shown = page(browser.submit(&asked, &form, &fields).await.unwrap());
    if let Some(form) = shown.form_with("step", "login").cloned() {
        // Signed in within the very second of the request, which may have been earlier.
        tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
        shown = page(browser.submit(&shown, &form, &fields).await.unwrap());
    }
    assert!(
        shown.form_with("step", "consent").is_some(),
        "{}",
        shown.describe()
    );
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    let again = page(browser.open(shown.url.as_str()).await.unwrap());
    assert!(
        again.form_with("step", "consent").is_some(),
        "{}",
        again.describe()
    );
}

/// P12, TI-07: names that no account can have are counted like any other.
#[tokio::test]
async fn names_that_nobody_can_have_are_counted_by_address() {
    let house = House::open();
    let browser = house.browser();
    let mut shown = page(browser.open(&house.authorize_url("web", "")).await.unwrap());
    let mut statuses = Vec::new();
    for _ in 0..52 {
        let form = shown.form_with("step", "login").expect("a login form").clone();
        let fields = [("username", "!!"), ("password", "whatever it may be")];
        shown = page(browser.submit(&shown, &form, &fields).await.unwrap());
        statuses.push(shown.status);
    }
    assert_eq!((statuses[49], statuses[50]), (200, 429));
}
