//! `authflow client-document` as its users meet it.

use std::process::{Command, Output};

use mcp_authflow_testkit::{
    browser::{Decision, Visit},
    document_host::{DocumentHost, Served, client_document},
};
use serde_json::{Value, json};

use crate::house::{House, builder};

/// Runs a verb in a folder of its own, trusting a host where there is one.
fn verb(folder: &std::path::Path, host: Option<&DocumentHost>, words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_authflow"));
    command.arg("client-document").args(words).current_dir(folder);
    if let Some(host) = host {
        command.env("SSL_CERT_FILE", host.ca_file());
    }
    command.output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What was said to a person, without its line breaks, which have to leave lines that fit a terminal.
fn in_one_line(output: &Output) -> String {
    let text = said(output);
    for line in text.lines() {
        let is_one_word = line.split_whitespace().count() == 1;
        assert!(line.chars().count() <= 80 || is_one_word, "{line}");
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// M-062
#[test]
fn what_make_writes_lint_finds_good() {
    let folder = tempfile::tempdir().unwrap();
    let id = "https://app.example/oauth/client.json";
    let mut words = vec!["make", "--client-id", id, "--name", "An app"];
    words.extend([
        "--redirect-uri",
        "http://127.0.0.1:3118/cb",
        "--redirect-uri",
        "https://app.example/cb",
    ]);
    for (option, path) in [
        ("--client-uri", ""),
        ("--logo-uri", "logo.png"),
        ("--policy-uri", "privacy"),
        ("--tos-uri", "terms"),
        ("--jwks-uri", "jwks.json"),
    ] {
        words.extend([
            option,
            Box::leak(format!("https://app.example/{path}").into_boxed_str()),
        ]);
    }
    let made = verb(folder.path(), None, &words);
    assert!(made.status.success() && made.stderr.is_empty(), "{made:?}");
    let file = folder.path().join("client.json");
    std::fs::write(&file, &made.stdout).unwrap();
    let document: Value = serde_json::from_slice(&made.stdout).unwrap();
    assert_eq!(
        document["redirect_uris"],
        json!(["http://127.0.0.1/cb", "https://app.example/cb"])
    );

    let linted = verb(folder.path(), None, &["lint", "client.json"]);
    assert!(linted.status.success(), "{linted:?}");
    assert_eq!(
        said(&linted),
        format!("there is nothing to say against it as the document of {id}\n")
    );
    // As the document of another URL it is refused, and a program can read why.
    let other = [
        "lint",
        "client.json",
        "--json",
        "--client-id",
        "https://app.example/other.json",
    ];
    let linted = verb(folder.path(), None, &other);
    assert_eq!(linted.status.code(), Some(1));
    let value: Value = serde_json::from_slice(&linted.stdout).unwrap();
    assert_eq!(value["findings"][0]["severity"], "error");
    assert_eq!(value["findings"][0]["member"], "client_id");

    let bad = verb(
        folder.path(),
        None,
        &[
            "make",
            "--client-id",
            "http://x/y",
            "--name",
            "x",
            "--redirect-uri",
            "data:x",
        ],
    );
    assert_eq!(bad.status.code(), Some(1));
    assert!(
        in_one_line(&bad).contains("cannot take an authorization code"),
        "{bad:?}"
    );
}

#[test]
fn a_file_that_is_no_document_is_told_from_one_that_names_no_client_id() {
    let folder = tempfile::tempdir().unwrap();
    for (text, why) in [
        ("{\"client_id\":", "is not JSON"),
        ("{}", "names no client_id: say --client-id"),
    ] {
        std::fs::write(folder.path().join("client.json"), text).unwrap();
        for verb_name in ["lint", "pin"] {
            let refused = verb(folder.path(), None, &[verb_name, "client.json"]);
            let told = String::from_utf8_lossy(&refused.stderr).into_owned();
            assert_eq!(refused.status.code(), Some(1), "{verb_name}: {told}");
            assert!(told.contains(why), "{verb_name}: {told}");
        }
    }
}

/// M-162
/// M-163
/// M-188
#[test]
fn lint_asks_a_host_as_a_server_would_and_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let host = DocumentHost::start().unwrap();
    let lint = |path: &str| {
        let linted = verb(folder.path(), Some(&host), &["lint", &host.url(path)]);
        (linted.status.code(), in_one_line(&linted))
    };
    let members = json!({ "redirect_uris": ["http://127.0.0.1:3118/cb"], "logo_uri": host.url("/logo"),
        "jwks_uri": host.url("/jwks"), "token_endpoint_auth_method": "private_key_jwt" });
    host.serve_client("/client.json", &members);
    host.serve("/logo", Served::new("image/svg+xml", "<svg/>"));
    host.serve("/jwks", Served::json(r#"{"keys":[]}"#));
    let (code, text) = lint("/client.json");
    assert_eq!(code, Some(0), "{text}");
    for part in ["without a port", "Cache-Control: max-age=3600", "it is not shown"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    host.remove("/jwks");
    assert_eq!(lint("/client.json").0, Some(1));

    for (answer, part) in [
        (Served::status(403), "bot protection"),
        (
            Served::status(301).header("Location", "/client.json"),
            "redirects are not followed",
        ),
        (Served::new("text/html", "{}"), "application/json"),
        (Served::json(vec![b' '; 10 * 1_024 + 1]), "smaller"),
        (Served::status(503), "try again later"),
    ] {
        host.serve("/bad.json", answer);
        let (code, text) = lint("/bad.json");
        assert!(code == Some(1) && text.contains(part), "{part}: {text}");
    }
    let elsewhere = verb(
        folder.path(),
        Some(&host),
        &["lint", "https://10.0.0.5/client.json"],
    );
    assert!(
        elsewhere.status.code() == Some(1) && in_one_line(&elsewhere).contains("public host"),
        "{elsewhere:?}"
    );
}

/// M-188
#[tokio::test]
async fn a_pinned_copy_lets_a_client_in_whose_host_refuses_servers() {
    let host = DocumentHost::start().unwrap();
    let id = host.url("/client.json");
    host.serve("/client.json", Served::status(403));
    let house = House::of(
        builder()
            .env("SSL_CERT_FILE", host.ca_file().to_str().unwrap())
            .config("[client_documents]\nmin_age = \"1s\"\nmax_age = \"1s\"\n")
            .start()
            .unwrap(),
    );
    let encoded = id.replace(':', "%3A").replace('/', "%2F");
    let Visit::Page(page) = house
        .browser()
        .open(&house.authorize_url(&encoded, ""))
        .await
        .unwrap()
    else {
        panic!("let in");
    };
    assert_eq!(page.status, 400);

    let file = house.server.folder().join("client.json");
    let name = file.to_str().unwrap();
    let members = json!({ "redirect_uris": ["https://client.example/cb"] });
    let mut document = client_document(&id, &members);
    document["x_written_from_description"] = json!("a blog post, 2026-05-01");
    std::fs::write(&file, document.to_string()).unwrap();
    let refused = house.server.run(["client-document", "pin", name]).unwrap_err();
    assert!(
        refused.to_string().contains("--checked-against-the-original"),
        "{refused}"
    );
    document["client_secret"] = json!("x");
    std::fs::write(&file, document.to_string()).unwrap();
    let checked = ["client-document", "pin", name, "--checked-against-the-original"];
    assert!(house.server.run(checked).is_err());

    std::fs::write(&file, client_document(&id, &members).to_string()).unwrap();
    house.server.run(["client-document", "pin", name]).unwrap();
    let listed = house.server.run(["client-document", "list"]).unwrap();
    assert!(listed.contains(&id) && listed.contains("pinned"), "{listed}");
    let code = house.code(&house.browser(), &encoded, Decision::Allow).await;
    assert_eq!(house.redeem(&id, &code).await.0, 200);

    house.server.run(["client-document", "unpin", &id]).unwrap();
    assert!(house.server.run(["client-document", "unpin", &id]).is_err());
    let operators = house.server.run(["client-document", "unpin", "web"]);
    assert!(operators.is_err());
}
