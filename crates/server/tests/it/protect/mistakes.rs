//! What is wrong with a command or a configuration, said before anything runs.

use super::gateway::command;

fn run(arguments: &[&str], config: &str) -> (i32, String) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("authflow.toml"), config).unwrap();
    let output = command(folder.path())
        .arg("protect")
        .args(arguments)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code().unwrap_or(-1), said)
}

#[expect(clippy::too_many_lines, reason = "a table")]
#[test]
fn a_mistake_is_told_with_its_place_and_the_remedy() {
    const URL: &str = "http://127.0.0.1:9/mcp";
    for (arguments, config, said) in [
        (
            &[][..],
            "",
            "name the MCP server: authflow protect http://127.0.0.1:9000/mcp",
        ),
        (&["ftp://x/mcp"], "", "write the address of the MCP server"),
        (
            &["http://u:p@127.0.0.1/mcp"],
            "",
            "write the address of the MCP server",
        ),
        (&[URL, "--", "cat"], "", "not by both"),
        (
            &["--public-url", "https://x.example/tools", URL],
            "",
            "write the origin alone, https://x.example",
        ),
        (
            &["--public-url", "http://x.example", URL],
            "",
            "the flag --public-url",
        ),
        (
            &["--public-url", "https://x.example", URL],
            "",
            "set trusted_proxies",
        ),
        (&["--issuer", "https://a.example/", URL], "", "the flag --issuer"),
        (
            &["--introspection-client-id", "x", URL],
            "",
            "introspection_client_secret_file",
        ),
        (
            &[
                "--issuer",
                "https://a.example",
                "--introspection-client-id",
                "x",
                "--introspection-client-secret-file",
                "no",
                URL,
            ],
            "",
            "cannot read no",
        ),
        (
            &["--issuer", "https://a.example", "--bootstrap", "b.toml", URL],
            "",
            "cannot be used with",
        ),
        (
            &[URL],
            "[protect]\nupstreem = \"x\"",
            "did you mean `protect.upstream`?",
        ),
        (
            &[],
            "[protect]\nupstream = \"127.0.0.1:9000\"",
            "protect.upstream = \"127.0.0.1:9000\" (authflow.toml)",
        ),
        (
            &[URL],
            "[protect]\nbase_scope = \"notes:read\"",
            "protect.base_scope asks for the scope notes:read, which is none",
        ),
        (
            &[URL],
            "[protect]\nallowed_origins = \"https://x/\"",
            "is no origin",
        ),
        (&[URL], "[protect]\ntool = \"x\"", "write [[protect.tool]] tables"),
        (
            &[URL],
            "[[protect.tool]]\nname = \"a\"",
            "protect.tool = \"a\" (authflow.toml): say what the tool needs",
        ),
        (
            &[URL],
            "[[protect.tool]]\nname = \"a\"\nscope = \"x\"",
            "protect.tool \"a\" asks for the scope x, which is none",
        ),
        (
            &[URL],
            "[[protect.tool]]\nname = \"a\"\nscop = \"x\"",
            "unknown field `scop`",
        ),
        (
            &[URL],
            "[[protect.tool]]\nname = \"a\"\nscope = \"tools:read\"\ndeny = true",
            "not both",
        ),
        (
            &[URL],
            "[[protect.tool]]\nname = \"a\"\nscope = \"tools:read\"\nwhen = { b = {} }",
            "a text with *",
        ),
        (
            &[URL],
            "[[protect.scope]]\nname = \"a\"\ndescription = \" \"",
            "say in words",
        ),
        (
            &[URL],
            "[[protect.scope]]\nname = \"offline_access\"\ndescription = \"x\"",
            "leave it out",
        ),
        (
            &[URL],
            "[[protect.scope]]\nname = \"tools:read\"\ndescription = \"x\"\nincludes = [\"tools:destructive\"]",
            "implies itself",
        ),
        (
            &[URL],
            "[protect.friction]\nwindow = 3",
            "protect.friction.window = \"3\" (authflow.toml): unknown field",
        ),
        (
            &[URL],
            "[protect.friction]\nwindow_size = 0",
            "protect.friction: window_size is 0",
        ),
        (
            &[URL],
            "[[protect.friction.tool]]\ntarget_rate = 0.1",
            "say whose it is",
        ),
        (
            &[URL],
            "[[protect.friction.tool]]\nname = \"a\"\ntarget = 0.1",
            "unknown field `target`",
        ),
    ] {
        let (code, told) = run(arguments, config);
        assert!(told.contains(said), "{arguments:?} {config}: {told}");
        assert!(matches!(code, 1 | 2), "{arguments:?} {config}: {code} {told}");
        assert!(!told.contains("listening"), "{told}");
    }
}
