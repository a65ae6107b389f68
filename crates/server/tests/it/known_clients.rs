//! Known clients: each fixture in `tests/clients` is played against the server, from its first question to the end of its
//! grant; and the table that says how each is met.

mod fixture;
mod leniency;
mod replay;
mod table;

use self::{fixture::Fixture, replay::Replay};

/// Plays one fixture, and says which in a failure.
macro_rules! play {
    ($($name:ident = $file:literal)*) => {
        /// The names of the fixtures that are played.
        const PLAYED: &[&str] = &[$($file),*];

        $(
            #[tokio::test]
            async fn $name() {
                Replay::of(&Fixture::load($file)).whole().await;
            }
        )*
    };
}

play! {
    claude_hosted_connects = "claude-hosted"
    claude_hosted_connects_when_it_registers = "claude-hosted-dynamic"
    claude_hosted_connects_with_its_secret_in_the_body = "claude-hosted-static"
    claude_hosted_connects_where_the_rules_are_strict = "claude-hosted-strict"
    claude_code_connects_from_any_port = "claude-code"
    claude_code_connects_when_it_registers_without_scope = "claude-code-dynamic"
    chatgpt_connects_without_an_assertion = "chatgpt"
    chatgpt_connects_with_an_assertion = "chatgpt-assertion"
    chatgpt_connects_by_leniency_if_its_document_names_the_key_alone = "chatgpt-key-alone"
    chatgpt_connects_with_a_document_of_the_connector = "chatgpt-connector"
    chatgpt_connects_when_it_registers = "chatgpt-dynamic"
    codex_connects = "codex"
    codex_connects_with_a_document_of_its_own = "codex-per-id"
    codex_connects_when_it_registers = "codex-dynamic"
    vscode_connects_at_all_its_callbacks = "vscode"
    vscode_connects_when_it_registers = "vscode-dynamic"
    copilot_cli_connects_from_another_port_than_it_says = "copilot-cli"
    copilot_cli_connects_when_it_registers = "copilot-cli-dynamic"
    cursor_connects_at_all_three_callbacks = "cursor"
    opencode_connects_at_another_path_by_leniency = "opencode"
    opencode_connects_when_it_registers = "opencode-dynamic"
    zed_connects = "zed"
    inspector_connects = "inspector"
    inspector_cli_connects_with_plain_basic = "inspector-cli"
    mcp_remote_connects_and_repeats_its_scope = "mcp-remote"
    fastmcp_connects_behind_its_probe = "fastmcp"
    fastmcp_connects_with_its_identifier_beside_basic = "fastmcp-static"
}

#[test]
fn every_fixture_is_played_and_every_known_client_has_one() {
    let mut files: Vec<String> = std::fs::read_dir(fixture::folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    files.sort_unstable();
    let mut played = PLAYED.to_vec();
    played.sort_unstable();
    assert_eq!(files, played);
    let mut met: Vec<String> = PLAYED
        .iter()
        .map(|name| Fixture::load(name).known_client)
        .collect();
    met.sort_unstable();
    met.dedup();
    assert_eq!(met, table::names());
}
