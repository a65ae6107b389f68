//! What the log says of what strangers send: one record an event, none of their making, and no more than so much.

use mcp_authflow_testkit::{
    browser::Decision,
    server::{Store, TestServerBuilder},
};
use serde_json::json;

use crate::house::{House, PASSWORD, R1, VERIFIER, answer, builder, page, text};

/// What ends a line for one reader of logs or another, or what else moves a cursor.
const LINE_BREAKERS: [&str; 5] = ["\r\n", "\u{2028}", "\0", "\t", "\u{1b}[2K\u{85}"];

/// Stops the server and answers every line of its log since `clear`.
fn lines_of(mut house: House) -> Vec<String> {
    house.server.stop(std::time::Duration::from_secs(20)).unwrap();
    let text = house.server.output().text();
    text.split('\n').map(str::to_owned).collect()
}

fn logging(format: &str, filter: &str) -> TestServerBuilder {
    builder()
        .store(Store::Memory)
        .env("AUTHFLOW_LOG__FORMAT", format)
        .env("AUTHFLOW_LOG__FILTER", filter)
}

/// Sends a text to wherever a stranger's text comes in: once as a client's identifier in an address and once in a form, as the
/// name of an account, as a user code, as the name of a client, as a path.
async fn say_everywhere(house: &House, said: &str) {
    let query = [("client_id", said), ("response_type", "code")];
    let asked = house.http.get(house.server.url("/authorize")).query(&query);
    assert_eq!(asked.send().await.unwrap().status(), 400);
    let form = [
        ("grant_type", "refresh_token"),
        ("refresh_token", said),
        ("client_id", said),
    ];
    let (status, _) = house.post("/token", &form).await;
    assert!([400, 401].contains(&status), "{status}");
    let registration = json!({"client_name": said, "redirect_uris": ["https://client.example/cb"]});
    let (status, _) = answer(house.http.post(house.server.url("/register")).json(&registration)).await;
    assert!([201, 400].contains(&status), "{status}");

    let device = house.server.url("/ui/device");
    let browser = house.browser();
    let login = page(browser.open(&device).await.unwrap());
    let form = login.form_with("step", "login").unwrap().clone();
    let wrong = [("username", said), ("password", said)];
    page(browser.submit(&login, &form, &wrong).await.unwrap());
    let right = [("username", "alice"), ("password", PASSWORD)];
    let shown = page(browser.submit(&login, &form, &right).await.unwrap());
    let form = shown.form_with("step", "code").expect("a form for codes").clone();
    page(
        browser
            .submit(&shown, &form, &[("user_code", said)])
            .await
            .unwrap(),
    );

    let mut unknown: reqwest::Url = house.server.url("/nowhere").parse().unwrap();
    unknown.path_segments_mut().unwrap().push(said);
    let answered = house.http.get(unknown).header("user-agent", "forged").send();
    assert_eq!(answered.await.unwrap().status(), 404);
}

/// The actions on the audit trail that one call of [`say_everywhere`] leaves, in order.
fn left_by(breaker: &str) -> &'static [&'static str] {
    match breaker {
        // No form with a NUL is read, so nothing is decided but that alice signs in.
        "\0" => &["register", "sign_in"],
        _ => &[
            "authorize",
            "client_authentication",
            "register",
            "sign_in",
            "sign_in",
            "user_code",
        ],
    }
}

/// LG-01
#[tokio::test]
async fn nothing_that_a_stranger_says_begins_a_record() {
    for format in ["text", "json"] {
        let house = House::of(logging(format, "trace").start().unwrap());
        house.server.output().clear();
        for breaker in LINE_BREAKERS {
            let said = format!("x{breaker}2026-01-31T12:00:00.000000Z ERROR audit: action=\"forged\"");
            say_everywhere(&house, &said).await;
        }
        let lines = lines_of(house);
        for line in &lines {
            assert!(
                !line
                    .chars()
                    .any(|one| one.is_control() || one == '\u{2028}' || one == '\u{2029}'),
                "{line:?}"
            );
            assert!(!line.contains("ERROR audit"), "{line}");
            if format == "json" {
                let record: serde_json::Value = serde_json::from_str(line).unwrap();
                assert!(
                    record["timestamp"].is_string() && record["level"].is_string(),
                    "{line}"
                );
            } else {
                let mut words = line.split_whitespace();
                let time = words.next().unwrap_or_default();
                assert!(time.len() == 27 && time.ends_with('Z'), "{line}");
                let level = words.next().unwrap_or_default();
                assert!(["TRACE", "DEBUG", "INFO", "WARN"].contains(&level), "{line}");
            }
        }
        let actions: Vec<&str> = lines.iter().filter_map(|line| action(line)).collect();
        let expected: Vec<&str> = LINE_BREAKERS
            .iter()
            .flat_map(|one| left_by(one))
            .copied()
            .collect();
        assert_eq!(actions, expected, "{format}");
    }
}

/// The action of a line of the audit trail.
fn action(line: &str) -> Option<&str> {
    let after = line
        .split_once("audit: action=\"")
        .or_else(|| line.split_once("\"action\":\""))?
        .1;
    after.split('"').next()
}

/// LG-04: a line for each request says the path alone: what stands behind it in an address is a `state`, a user code, a code.
#[tokio::test]
async fn no_query_is_in_the_log() {
    for (format, filter) in [
        ("text", "http=debug"),
        ("json", "http=debug,audit=info"),
        ("text", "trace"),
    ] {
        let house = House::of(logging(format, filter).start().unwrap());
        let form = [("client_id", "tv"), ("resource", R1), ("scope", "mcp:read")];
        let (_, codes) = house.post("/device_authorization", &form).await;
        let browser = house.browser();
        let code = house.code(&browser, "web", Decision::Allow).await;
        let complete = text(&codes, "verification_uri_complete");
        assert!(complete.contains('?'), "{complete}");
        page(browser.open(complete).await.unwrap());
        let wrong = house.authorize_url("web", "request_uri=canary");
        house.http.get(wrong).send().await.unwrap();
        house.redeem("web", &code).await;
        let unknown = house.server.url("/nowhere?canary");
        house.http.get(unknown).send().await.unwrap();

        let user_code = text(&codes, "user_code").to_owned();
        let log = lines_of(house).join("\n");
        for path in [
            "/authorize",
            "/ui/device",
            "/ui/interaction/",
            "/token",
            "/nowhere",
        ] {
            let said = match format {
                "json" => format!("\"path\":\"{path}"),
                _ => format!("path=\"{path}"),
            };
            assert!(log.contains(&said), "{path} is not in {log}");
        }
        let plain = user_code.replace('-', "");
        for secret in [
            "st%26te",
            "st&te",
            "code_challenge",
            "client.example",
            "canary",
            "?",
            VERIFIER,
            &code,
            &user_code,
            &plain,
        ] {
            assert!(!log.contains(secret), "{secret} is in {log}");
        }
    }
}

/// LG-05: whoever is refused without end has so many lines a minute and no more; and what is allowed is written all the same.
#[tokio::test]
async fn one_caller_does_not_fill_the_log() {
    const REQUESTS: usize = 1_500;
    let house = House::of(logging("text", "info").start().unwrap());
    house.server.output().clear();
    let mut asking = tokio::task::JoinSet::new();
    for worker in 0..5 {
        let (http, url) = (house.http.clone(), house.server.url("/authorize"));
        asking.spawn(async move {
            for number in 0..REQUESTS / 5 {
                let query = [("client_id", format!("c_{worker}_{number}"))];
                let status = http.get(&url).query(&query).send().await.unwrap().status();
                assert!([400, 429].contains(&status.as_u16()), "{status}");
            }
        });
    }
    asking.join_all().await;
    let elsewhere = House::browser_at("127.0.0.66");
    house.code(&elsewhere, "web", Decision::Allow).await;
    let lines = lines_of(house);
    let of = |what: &str| lines.iter().filter(|line| line.contains(what)).count();
    let refusals = of("outcome=\"refused\"");
    // Two minutes may have been touched.
    assert!((600..=1_200).contains(&refusals), "{refusals}");
    assert!((1..=2).contains(&of("too many refusals")), "{lines:#?}");
    assert_eq!(of("action=\"consent\" outcome=\"allowed\""), 1);
    assert!(lines.len() < refusals + 20, "{}", lines.len());
}
