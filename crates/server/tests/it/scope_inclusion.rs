//! Scopes that include others, as an operator writes them down: in a bootstrap file and at the command line.

use mcp_authflow_testkit::{
    browser::Decision,
    server::{Store, TestServer},
};
use serde_json::Value;

use crate::house::{BOOTSTRAP, House, text};

fn with_includes() -> String {
    BOOTSTRAP.replacen(
        "description = \"Change your notes\"\n",
        "description = \"Change your notes\"\nincludes = [\"mcp:read\"]\n",
        1,
    )
}

/// M-027
#[tokio::test]
async fn a_scope_of_the_bootstrap_file_is_granted_with_what_it_includes() {
    let server = TestServer::builder()
        .binary(env!("CARGO_BIN_EXE_authflow"))
        .store(Store::Sqlite)
        .bootstrap(with_includes())
        .start()
        .unwrap();
    let house = House::of(server);
    let url = house.authorize_url("web", "scope=mcp%3Awrite");
    let redirect = house
        .browser()
        .sign_in_and(&url, "alice", crate::house::PASSWORD, Decision::Allow)
        .await
        .unwrap();
    let code = redirect.parameter("code").unwrap().unwrap();
    let (status, tokens) = house.redeem("web", &code).await;
    assert_eq!((status, text(&tokens, "scope")), (200, "mcp:read mcp:write"));
    let heard = house.introspect(text(&tokens, "access_token")).await;
    assert_eq!(text(&heard, "scope"), "mcp:read mcp:write");
}

/// M-027, M-152
#[tokio::test]
async fn a_resource_is_registered_with_what_its_scopes_include() {
    let house = House::open();
    let add = |uri: &str, more: &[&str]| {
        let mut verb = vec!["resource", "add", uri, "--name", "Files"];
        verb.extend([
            "--scope",
            "files:read=Read files",
            "--scope",
            "files:write=Change files",
        ]);
        verb.extend(more);
        house.server.run_all(verb)
    };
    add(
        "https://files.test/mcp",
        &["--scope-includes", "files:write=files:read"],
    )
    .unwrap();
    let listed: Value =
        serde_json::from_str(&house.server.run(["resource", "list", "--json"]).unwrap()).unwrap();
    let resources = listed
        .as_array()
        .or_else(|| listed["resources"].as_array())
        .unwrap();
    let files = resources.iter().find(|one| one["name"] == "Files").unwrap();
    assert_eq!(files["scopes"][1]["includes"], "files:read", "{files}");

    for (more, why) in [
        (
            &["--scope-includes", "files:write=files:all"][..],
            "is no scope of this resource",
        ),
        (
            &[
                "--scope-includes",
                "files:write=files:read",
                "--scope-includes",
                "files:read=files:write",
            ],
            "includes itself",
        ),
        (
            &["--scope-includes", "files:wipe=files:read"],
            "there is no --scope 'files:wipe=…'",
        ),
        (
            &["--scope-includes", "files:write="],
            "name the scopes that a scope includes",
        ),
        (&["--scope", "*=Everything"], "allows everything"),
        (
            &["--scope", "files:*=Everything about files"],
            "allows everything",
        ),
    ] {
        let error = format!("{:#}", add("https://other.test/mcp", more).unwrap_err());
        assert!(error.contains(why), "{more:?}: {error}");
    }
}
