//! The command line beside a running server.

use std::process::Command;

use mcp_authflow_testkit::browser::Decision;
use serde_json::Value;

use crate::house::{House, R1, builder, page, text};

/// The old database is not asked: nobody listens there.
#[tokio::test]
async fn what_ends_everything_of_somebody_warns_of_tokens_that_are_at_the_old_program_yet() {
    let verbs = [
        (vec!["client", "revoke", "web"], true),
        (vec!["user", "sign-out", "alice"], true),
        (vec!["user", "disable", "alice"], true),
        (vec!["user", "enable", "alice"], false),
        (vec!["client", "remove", "web"], false),
    ];
    let with = "[import]\nread_through = \"postgres://app@127.0.0.1:1/app\"\n";
    for (config, reads_through) in [(with, true), ("", false)] {
        let house = House::of(builder().config(config).start().unwrap());
        for (verb, is_warned_of) in &verbs {
            let (code, _, err) = run(&house, verb, "");
            assert_eq!(code, 0, "{verb:?}: {err}");
            let warns = err.contains("authflow: warning: import.read_through is set");
            assert_eq!(warns, reads_through && *is_warned_of, "{verb:?}: {err}");
        }
    }
}

/// Runs a verb on the house's database; answers the exit code, standard output and standard error.
pub(crate) fn run(house: &House, arguments: &[&str], stdin: &str) -> (i32, String, String) {
    use std::io::Write as _;
    let mut child = Command::new(env!("CARGO_BIN_EXE_authflow"))
        .args(arguments)
        .arg("--data-dir")
        .arg(house.server.folder())
        .arg("--database-url")
        .arg(format!(
            "sqlite:{}",
            house.server.folder().join("state.sqlite").display()
        ))
        .current_dir(house.server.folder())
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let read = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code().unwrap(),
        read(output.stdout),
        read(output.stderr),
    )
}

pub(crate) fn json(house: &House, arguments: &[&str], stdin: &str) -> Value {
    let (code, out, err) = run(house, &[arguments, &["--json"]].concat(), stdin);
    assert_eq!(code, 0, "{arguments:?}: {err}");
    serde_json::from_str(&out).unwrap()
}

/// CO-09, P2
#[tokio::test]
async fn disabling_an_account_stops_everything_of_it_at_once() {
    let house = House::open();
    let browser = house.browser();
    let code = house.code(&browser, "web", Decision::Allow).await;
    let (_, tokens) = house.redeem("web", &code).await;
    let waiting = house.code(&browser, "native", Decision::Allow).await;
    assert_eq!(json(&house, &["user", "disable", "alice"], "")["disabled"], true);
    assert_eq!(
        house.introspect(text(&tokens, "access_token")).await,
        serde_json::json!({ "active": false })
    );
    assert_eq!(house.refresh("web", text(&tokens, "refresh_token")).await.0, 400);
    assert_eq!(house.redeem("native", &waiting).await.0, 400);
    json(&house, &["user", "enable", "alice"], "");
    assert_eq!(
        house.introspect(text(&tokens, "access_token")).await,
        serde_json::json!({ "active": false })
    );
    let code = house.code(&house.browser(), "web", Decision::Allow).await;
    assert_eq!(house.redeem("web", &code).await.0, 200);
}

/// SE-02, P2
#[tokio::test]
async fn signing_an_account_out_ends_sessions_grants_and_tokens_and_lets_it_in_again() {
    let house = House::open();
    let browser = house.browser();
    let code = house.code(&browser, "web", Decision::Allow).await;
    let (_, tokens) = house.redeem("web", &code).await;
    let waiting = house.code(&browser, "native", Decision::Allow).await;
    assert_eq!(
        json(&house, &["user", "sign-out", "Alice"], ""),
        serde_json::json!({ "username": "alice", "signed_out": true })
    );
    let home = page(browser.open(&house.server.url("/ui/")).await.unwrap());
    assert!(home.text.contains("Not signed in"), "{}", home.text);
    assert_eq!(
        house.introspect(text(&tokens, "access_token")).await,
        serde_json::json!({ "active": false })
    );
    assert_eq!(house.refresh("web", text(&tokens, "refresh_token")).await.0, 400);
    assert_eq!(house.redeem("native", &waiting).await.0, 400);
    let code = house.code(&house.browser(), "web", Decision::Allow).await;
    assert_eq!(house.redeem("web", &code).await.0, 200);
    let (code, _, err) = run(&house, &["user", "sign-out", "nobody"], "");
    assert_eq!((code, err.contains("no account")), (1, true), "{err}");
}

/// P2
#[tokio::test]
async fn revoking_a_client_stops_what_it_has_and_nothing_else() {
    let house = House::open();
    let browser = house.browser();
    let code = house.code(&browser, "web", Decision::Allow).await;
    let (_, tokens) = house.redeem("web", &code).await;
    let code = house.code(&browser, "native", Decision::Allow).await;
    let (_, others) = house.redeem("native", &code).await;
    let waiting = house.code(&browser, "web", Decision::Allow).await;
    assert_eq!(
        json(&house, &["client", "revoke", "web"], ""),
        serde_json::json!({ "client_id": "web", "revoked": true })
    );
    assert_eq!(
        house.introspect(text(&tokens, "access_token")).await,
        serde_json::json!({ "active": false })
    );
    assert_eq!(house.refresh("web", text(&tokens, "refresh_token")).await.0, 400);
    assert_eq!(house.redeem("web", &waiting).await.0, 400);
    assert_eq!(
        house.introspect(text(&others, "access_token")).await["active"],
        true
    );
    let code = house.code(&browser, "web", Decision::Allow).await;
    assert_eq!(house.redeem("web", &code).await.0, 200);
    let (code, _, err) = run(&house, &["client", "revoke", "nobody"], "");
    assert_eq!((code, err.contains("no client")), (1, true), "{err}");
}

#[tokio::test]
async fn what_an_operator_changes_is_in_the_audit_trail_and_not_in_the_answer() {
    let house = House::open();
    let added = "https://rs9.test/mcp";
    let password = "a dozen characters\n";
    for (arguments, stdin, noted) in [
        (
            &["user", "add", "carol", "--password-stdin"][..],
            password,
            "reason=\"added\"",
        ),
        (
            &["user", "set-password", "carol", "--password-stdin"],
            password,
            "the password was set",
        ),
        (&["user", "sign-out", "carol"], "", "action=\"sign_out\""),
        (&["user", "disable", "carol"], "", "disabled"),
        (&["user", "enable", "carol"], "", "enabled"),
        (
            &[
                "client",
                "add",
                "--id",
                "w2",
                "--name",
                "W2",
                "--redirect-uri",
                R1,
            ],
            "",
            "the client was added",
        ),
        (
            &["client", "revoke", "w2"],
            "",
            "everything of the client was revoked",
        ),
        (&["client", "remove", "w2"], "", "the client was removed"),
        (
            &["client", "rotate-secret", "svc"],
            "",
            "the client's secret was replaced",
        ),
        (
            &["resource", "add", added, "--name", "R9"],
            "",
            "the resource https://rs9.test/mcp was added",
        ),
        (
            &["resource", "remove", added],
            "",
            "the resource https://rs9.test/mcp was removed",
        ),
    ] {
        let (code, out, err) = run(&house, &[arguments, &["--json"]].concat(), stdin);
        assert_eq!(code, 0, "{arguments:?}: {err}");
        serde_json::from_str::<Value>(&out).unwrap();
        assert_eq!(err.lines().count(), 1, "{arguments:?}: {err}");
        assert!(
            err.contains("audit") && err.contains("outcome=\"allowed\"") && err.contains(noted),
            "{arguments:?}: {err}"
        );
    }
    assert_eq!(run(&house, &["user", "list"], "").2, "");
    let log = house.server.output();
    for noted in [
        "reason=\"added by the bootstrap file\" subject=",
        "reason=\"added by the bootstrap file\" client_id=\"web\"",
        "the resource https://rs1.test/mcp was added by the bootstrap file",
    ] {
        assert!(
            log.wait_for(noted, std::time::Duration::from_secs(10)).is_some(),
            "{noted}: {}",
            log.text()
        );
    }
}

#[tokio::test]
async fn a_reader_that_goes_away_has_read_enough() {
    let house = House::open();
    for arguments in [
        &["client", "list"][..],
        &["client", "list", "--json"],
        &["config", "print"],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = Command::new(env!("CARGO_BIN_EXE_authflow"))
            .args(arguments)
            .arg("--data-dir")
            .arg(house.server.folder())
            .current_dir(house.server.folder())
            .env_remove("DATABASE_URL")
            .stdin(std::process::Stdio::null())
            .stdout(writer)
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap()
            .wait_with_output()
            .unwrap();
        assert_eq!(
            (
                output.status.code(),
                String::from_utf8(output.stderr).unwrap().as_str()
            ),
            (Some(0), ""),
            "{arguments:?}"
        );
    }
}

#[tokio::test]
async fn accounts_are_added_listed_and_given_passwords() {
    let house = House::open();
    let added = json(
        &house,
        &["user", "add", "Carol", "--admin", "--password-stdin"],
        "a dozen characters\n",
    );
    assert_eq!(added["username"], "carol");
    let (code, _, err) = run(
        &house,
        &["user", "add", "carol", "--password-stdin"],
        "a dozen characters\n",
    );
    assert_eq!(code, 1);
    assert!(err.contains("taken"), "{err}");
    let (code, _, err) = run(&house, &["user", "add", "dave", "--password-stdin"], "short\n");
    assert_eq!((code, err.contains("at least 12")), (1, true), "{err}");
    json(
        &house,
        &["user", "set-password", "alice", "--password-stdin"],
        "another dozen characters\n",
    );
    let names: Vec<Value> = json(&house, &["user", "list"], "")
        .as_array()
        .unwrap()
        .iter()
        .map(|user| user["username"].clone())
        .collect();
    assert_eq!(names, ["alice", "bob", "carol"]);
    let redirect = house
        .browser()
        .sign_in_and(
            &house.authorize_url("web", ""),
            "alice",
            "another dozen characters",
            Decision::Allow,
        )
        .await
        .unwrap();
    assert!(redirect.parameter("code").unwrap().is_some());
}

#[tokio::test]
async fn clients_are_added_shown_rotated_and_removed() {
    let house = House::open();
    let added = json(
        &house,
        &[
            "client",
            "add",
            "--name",
            "Backend",
            "--auth-method",
            "client_secret_basic",
            "--grant-type",
            "client_credentials",
            "--scope",
            "mcp:read",
        ],
        "",
    );
    let (id, secret) = (text(&added, "client_id"), text(&added, "client_secret"));
    let token = |secret: String| {
        let request = house
            .http
            .post(house.server.url("/token"))
            .form(&[("grant_type", "client_credentials"), ("resource", R1)]);
        crate::house::answer(request.basic_auth(id, Some(secret)))
    };
    let (status, first) = token(secret.to_owned()).await;
    assert_eq!((status, first["scope"].as_str()), (200, Some("mcp:read")));
    let rotated = json(&house, &["client", "rotate-secret", id, "--keep-old", "5"], "");
    assert_eq!(token(text(&rotated, "client_secret").to_owned()).await.0, 200);
    assert_eq!(token(secret.to_owned()).await.0, 200);
    json(&house, &["client", "rotate-secret", id], "");
    assert_eq!(token(secret.to_owned()).await.0, 401);
    assert_eq!(json(&house, &["client", "show", id], "")["name"], "Backend");
    assert!(!run(&house, &["client", "show", id], "").1.contains("mcpcs_"));
    assert_eq!(
        house.introspect(text(&first, "access_token")).await["active"],
        true
    );
    json(&house, &["client", "remove", id], "");
    assert_eq!(
        house.introspect(text(&first, "access_token")).await["active"],
        false
    );
    let (code, _, err) = run(&house, &["client", "show", id], "");
    assert_eq!((code, err.contains("no client")), (1, true), "{err}");
}

#[tokio::test]
async fn a_resource_is_registered_with_credentials_that_work_and_removed_with_its_tokens() {
    let house = House::open();
    let scope = "mcp:x=Do x";
    let (code, out, err) = run(
        &house,
        &[
            "resource",
            "add",
            "https://rs3.test/mcp",
            "--name",
            "R2",
            "--scope",
            scope,
            "--env",
            "R2",
        ],
        "",
    );
    assert_eq!(code, 0, "{err}");
    let credential = |name: &str| {
        out.lines()
            .find_map(|line| line.strip_prefix(&format!("R2_{name}=")))
            .expect(name)
            .to_owned()
    };
    let ask = house
        .http
        .post(house.server.url("/introspect"))
        .form(&[("token", "x")]);
    let (status, value) =
        crate::house::answer(ask.basic_auth(credential("CLIENT_ID"), Some(credential("CLIENT_SECRET"))))
            .await;
    assert_eq!((status, value), (200, serde_json::json!({ "active": false })));
    let (code, _, err) = run(
        &house,
        &["resource", "add", "https://rs3.test/mcp", "--name", "R2"],
        "",
    );
    assert_eq!((code, err.contains("registered already")), (1, true), "{err}");
    let code = house.code(&house.browser(), "web", Decision::Allow).await;
    let (_, tokens) = house.redeem("web", &code).await;
    json(&house, &["resource", "remove", R1], "");
    let shown = json(
        &house,
        &["token", "introspect", "-"],
        text(&tokens, "access_token"),
    );
    assert_eq!(shown, serde_json::json!({ "active": false }));
    let request = house
        .http
        .post(house.server.url("/introspect"))
        .form(&[("token", text(&tokens, "access_token"))]);
    // Its credentials went with it.
    let (status, _) = crate::house::answer(request.basic_auth("rs1", Some(crate::house::RS_SECRET))).await;
    assert_eq!(status, 401);
}

#[tokio::test]
async fn tokens_are_looked_into_and_revoked_without_leaving_them_in_a_history() {
    let house = House::open();
    let code = house.code(&house.browser(), "web", Decision::Allow).await;
    let (_, tokens) = house.redeem("web", &code).await;
    let shown = json(
        &house,
        &["token", "introspect", "-"],
        text(&tokens, "refresh_token"),
    );
    assert_eq!(
        (shown["kind"].as_str(), shown["active"].as_bool()),
        (Some("refresh_token"), Some(true))
    );
    json(&house, &["token", "revoke", "-"], text(&tokens, "refresh_token"));
    assert_eq!(
        house.introspect(text(&tokens, "access_token")).await["active"],
        false
    );
    let (code, _, err) = run(&house, &["token", "introspect", "nonsense"], "");
    assert_eq!(
        (code, err.contains("no access or refresh token")),
        (1, true),
        "{err}"
    );
}

#[test]
fn the_configuration_is_checked_and_shown_with_origins() {
    let authflow = |arguments: &[&str], variables: &[(&str, &str)]| {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_authflow"));
        command
            .args(arguments)
            .current_dir(folder.path())
            .env_clear()
            .envs(variables.iter().copied());
        let output = command.output().unwrap();
        let read = |bytes| String::from_utf8(bytes).unwrap();
        (
            output.status.code().unwrap(),
            read(output.stdout),
            read(output.stderr),
        )
    };
    assert_eq!(authflow(&["config", "check"], &[]).0, 0);
    let (code, _, err) = authflow(&["config", "check"], &[("AUTHFLOW_LIFETIMES__CODES", "1s")]);
    assert_eq!(
        (code, err.contains("did you mean `lifetimes.code`?")),
        (2, true),
        "{err}"
    );
    let variables = [
        ("DATABASE_URL", "postgres://u:hunter2@h/d"),
        ("AUTHFLOW_SERVER_KEY_FILE", "/k"),
    ];
    let (code, out, _) = authflow(&["config", "print"], &variables);
    assert_eq!(code, 0);
    assert!(
        out.contains("postgres://u:***@h/d") && out.contains("DATABASE_URL") && !out.contains("hunter2"),
        "{out}"
    );
    assert_eq!(authflow(&["serve", "--nonsense"], &[]).0, 2);
    let (code, _, err) = authflow(&["user", "list"], &[("DATABASE_URL", "memory:")]);
    assert_eq!((code, err.contains("--bootstrap")), (1, true), "{err}");
}
