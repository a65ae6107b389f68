//! P7: no secret in any log at any level, nor in the database.

use mcp_authflow_testkit::{browser::Decision, server::Store, service::postgres::PrivatePostgres};

use crate::house::{House, PASSWORD, R1, RS_SECRET, SVC_SECRET, VERIFIER, answer, builder, page, text};

/// M-006
#[tokio::test]
async fn no_secret_of_a_whole_life_is_in_the_log_or_the_file() {
    let house = House::of(builder().env("AUTHFLOW_LOG__FILTER", "trace").start().unwrap());
    let browser = house.browser();
    let registration = serde_json::json!({
        "redirect_uris": ["https://client.example/cb"],
        "token_endpoint_auth_method": "client_secret_post",
    });
    let (status, registered) =
        answer(house.http.post(house.server.url("/register")).json(&registration)).await;
    assert_eq!(status, 201);

    let code = house.code(&browser, "web", Decision::Allow).await;
    let (_, tokens) = house.redeem("web", &code).await;
    let (access, refresh) = (text(&tokens, "access_token"), text(&tokens, "refresh_token"));
    assert_eq!(house.introspect(access).await["active"], true);
    let (_, next) = house.refresh("web", refresh).await;
    let (_, repeated) = house.refresh("web", refresh).await;
    assert_eq!(next["refresh_token"], repeated["refresh_token"]);
    let request = house
        .http
        .post(house.server.url("/token"))
        .form(&[("grant_type", "client_credentials"), ("resource", R1)]);
    let (status, machine) = answer(request.basic_auth("svc", Some(SVC_SECRET))).await;
    assert_eq!(status, 200, "{machine}");
    // Mistakes are logged too.
    house.refresh("native", text(&next, "refresh_token")).await;
    house.redeem("web", &code).await;
    let (status, _) = house
        .post(
            "/revoke",
            &[("token", text(&next, "refresh_token")), ("client_id", "web")],
        )
        .await;
    assert_eq!(status, 200);
    // A device: its codes are secrets too, and one of them stands in an address.
    let start = [("client_id", "tv"), ("resource", R1), ("scope", "mcp:read")];
    let (status, codes) = house.post("/device_authorization", &start).await;
    assert_eq!(status, 200, "{codes}");
    let (device_code, user_code) = (text(&codes, "device_code"), text(&codes, "user_code"));
    let url = house.server.url(&format!("/ui/device?user_code={user_code}"));
    let shown = page(browser.open(&url).await.unwrap());
    let form = shown.form_with("step", "code").unwrap().clone();
    let consent = page(browser.submit(&shown, &form, &[]).await.unwrap());
    let form = consent.form_with("step", "consent").unwrap().clone();
    let allow = [("scope", "mcp:read"), ("decision", "allow")];
    page(browser.submit(&consent, &form, &allow).await.unwrap());
    let poll = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:device_code"),
        ("device_code", device_code),
        ("client_id", "tv"),
    ];
    let (status, of_device) = house.post("/token", &poll).await;
    assert_eq!(status, 200, "{of_device}");
    let bare_user_code = user_code.replace('-', "");
    let cookie = browser.cookie("authflow_session").unwrap();

    let mut house = house;
    let folder = house.server.folder().to_owned();
    house.server.stop(std::time::Duration::from_secs(20)).unwrap();
    let log = house.server.output().text();
    assert!(
        log.contains("DEBUG") && log.contains("redeem_code"),
        "the log says everything: {log}"
    );
    let mut searched = log.into_bytes();
    for file in std::fs::read_dir(&folder)
        .unwrap()
        .map(|file| file.unwrap().path())
    {
        let name = file.file_name().unwrap().to_str().unwrap().to_owned();
        if name.starts_with("state.sqlite") {
            searched.extend(std::fs::read(file).unwrap());
        }
    }
    for secret in [
        PASSWORD,
        VERIFIER,
        RS_SECRET,
        SVC_SECRET,
        &code,
        access,
        refresh,
        text(&next, "access_token"),
        text(&next, "refresh_token"),
        text(&machine, "access_token"),
        text(&registered, "client_secret"),
        device_code,
        user_code,
        &bare_user_code,
        text(&of_device, "access_token"),
        &cookie,
    ] {
        let found = searched
            .windows(secret.len())
            .any(|window| window == secret.as_bytes());
        assert!(!found, "{}… was found", &secret[..8]);
    }
}

/// P7: the driver would log what goes into its statements.
#[test]
fn no_password_hash_on_its_way_to_postgresql_is_in_the_log() {
    let database = PrivatePostgres::shared().unwrap().fresh_database().unwrap();
    let mut server = builder()
        .store(Store::Postgres(database.url().to_owned()))
        .env(
            "AUTHFLOW_LOG__FILTER",
            "trace,tokio_postgres::query=trace,[request]=trace",
        )
        .start()
        .unwrap();
    server
        .run(["user", "disable", "alice"])
        .expect("alice was added, by a statement with her hash");
    assert!(server.stop(std::time::Duration::from_secs(20)).unwrap().success());
    let log = server.output().text();
    assert!(log.contains("added by the bootstrap file"), "{log}");
    assert!(!log.contains("argon2"), "{log}");
}
