//! What the operator says of tools.

use mcp_authflow_testkit::service::port::free_port;
use serde_json::{Value, json};

use super::{
    gateway::Start,
    json_of,
    upstream::{Upstream, tools},
};

const LIST: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;

fn names(answer: &Value) -> Vec<&str> {
    let tools = answer["result"]["tools"].as_array().unwrap();
    tools.iter().map(|tool| tool["name"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rules_stand_in_place_of_annotations() {
    let upstream = Upstream::start(tools());
    let config = r#"
        [protect]
        name = "Our notes"
        [[protect.scope]]
        name = "notes:admin"
        description = "Manage all notes"
        includes = ["tools:write"]
        [[protect.tool]]
        name = "read_*"
        unless = { folder = "/public/*" }
        scope = "tools:write"
        [[protect.tool]]
        name = "delete_*"
        scope = "notes:admin"
        [[protect.tool]]
        name = "add_note"
        deny = true
    "#;
    let url = upstream.url();
    let gateway = Start::before(&url).config(config).run().unwrap();
    let (_, document) = json_of(
        gateway
            .ask(reqwest::Method::GET, "/.well-known/oauth-protected-resource")
            .await,
    )
    .await;
    assert_eq!(document["resource_name"], "Our notes");
    assert_eq!(
        document["scopes_supported"],
        json!(["notes:admin", "tools:read", "tools:write"])
    );
    let reader = gateway.sign_in(None).await;
    assert_eq!(reader.scope, "tools:read");
    assert_eq!(
        reader
            .call("read_note", json!({ "folder": "/public/a" }))
            .await
            .status(),
        200
    );
    for other in [
        json!({ "folder": "/private/a" }),
        json!({ "folder": "/public/../private" }),
        json!({}),
    ] {
        assert_eq!(
            reader.call("read_note", other.clone()).await.status(),
            403,
            "{other}"
        );
    }
    assert_eq!(reader.call("delete_note", json!({})).await.status(), 403);
    let admin = gateway.sign_in(Some("notes:admin tools:read")).await;
    assert_eq!(admin.call("delete_note", json!({})).await.status(), 200);
    assert_eq!(admin.call("read_note", json!({})).await.status(), 200);
    let before = upstream.calls().len();
    // Nobody, whatever the token; and a tool that nobody knows needs more than any of these.
    assert_ne!(admin.call("add_note", json!({})).await.status(), 200);
    assert_eq!(admin.call("unheard_of", json!({})).await.status(), 403);
    assert_eq!(upstream.calls().len(), before);
    // What nobody may call is in no list; what needs more is, so that a client can ask for it.
    let list: Value = serde_json::from_str(LIST).unwrap();
    let (_, answer) = json_of(reader.post(&list).await).await;
    assert_eq!(names(&answer), ["read_note", "delete_note"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_leave_out_what_the_token_does_not_allow_when_asked_to() {
    let upstream = Upstream::start(tools());
    let url = upstream.url();
    let gateway = Start::before(&url)
        .config("[protect]\nhide_forbidden_tools = true\n")
        .run()
        .unwrap();
    let list: Value = serde_json::from_str(LIST).unwrap();
    for (scope, expected) in [
        ("tools:read", &["read_note"][..]),
        ("tools:write", &["read_note", "add_note"]),
        ("tools:destructive", &["read_note", "add_note", "delete_note"]),
    ] {
        let client = gateway.sign_in(Some(scope)).await;
        let response = client.post(&list).await;
        let kept = response.headers()["cache-control"].to_str().unwrap().to_owned();
        assert!(kept.contains("private") || kept.contains("no-store"), "{kept}");
        let (_, answer) = json_of(response).await;
        assert_eq!(names(&answer), expected, "{scope}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn friction_refuses_what_is_called_too_often() {
    let upstream = Upstream::start(tools());
    let config = "[protect.friction]\ndefault_budget = 2\n[[protect.friction.tool]]\nname = \"read_note\"\nmin_cost = 1\n";
    let url = upstream.url();
    let gateway = Start::before(&url).config(config).run().unwrap();
    let client = gateway.sign_in(None).await;
    for _ in 0..2 {
        let (_, answer) = json_of(client.call("read_note", json!({})).await).await;
        assert_eq!(answer["result"]["content"][0]["text"], "done");
    }
    let (status, answer) = json_of(client.call("read_note", json!({})).await).await;
    assert_eq!(
        (status, &answer["result"]["isError"]),
        (200, &json!(true)),
        "{answer}"
    );
    assert_eq!(upstream.calls().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reason_is_demanded_when_the_operator_wants_one() {
    let upstream = Upstream::start(tools());
    let url = upstream.url();
    let config = "[protect]\ndemand_justification = true\n\
                  [[protect.friction.tool]]\nname = \"read_note\"\njustification_threshold = 0\n";
    let gateway = Start::before(&url).config(config).run().unwrap();
    let client = gateway.sign_in(None).await;
    let call = |meta: Value| {
        let params = json!({ "name": "read_note", "arguments": {}, "_meta": meta });
        json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params })
    };
    for without in [json!({}), json!({ "authflow/justification": " " })] {
        let (_, answer) = json_of(client.post(&call(without)).await).await;
        assert_eq!(answer["result"]["isError"], true, "{answer}");
    }
    let why = json!({ "authflow/justification": "the person asked for it" });
    let (_, answer) = json_of(client.post(&call(why)).await).await;
    assert_eq!(answer["result"]["content"][0]["text"], "done");
    assert!(gateway.wait_for_output("a call was justified"));
    assert_eq!(upstream.calls().len(), 1);
}

/// A restart, with other rules: tokens live on, and the resource is described anew.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_with_other_rules_ends_no_token() {
    let upstream = Upstream::start(tools());
    let url = upstream.url();
    let port = Some(free_port().unwrap());
    let mut first = Start {
        port,
        ..Start::before(&url)
    }
    .run()
    .unwrap();
    let token = first.sign_in(None).await.token.clone();
    assert!(first.stop().unwrap().success());
    let folder = first.into_folder();
    let config = "[[protect.scope]]\nname = \"notes:admin\"\ndescription = \"Manage all notes\"\n\
                  [[protect.tool]]\nname = \"delete_note\"\nscope = \"notes:admin\"\n";
    let second = Start {
        config,
        port,
        ..Start::before(&url)
    }
    .run_in(folder)
    .unwrap();
    assert_eq!(
        second.client(&token).call("read_note", json!({})).await.status(),
        200
    );
    let admin = second.sign_in(Some("notes:admin tools:read")).await;
    assert_eq!(admin.scope, "notes:admin tools:read");
    assert_eq!(admin.call("delete_note", json!({})).await.status(), 200);
}
