//! An MCP server over stdio: this very program, started again as the child of the gateway.

use std::io::{BufRead as _, Write as _};

use serde_json::{Value, json};

/// The command of the child.
pub(crate) fn command() -> Vec<String> {
    let program = std::env::current_exe().unwrap().display().to_string();
    let arguments = [
        "--exact",
        "protect::child::the_child_itself",
        "--ignored",
        "--nocapture",
        "--test-threads=1",
    ];
    std::iter::once(program)
        .chain(arguments.map(str::to_owned))
        .collect()
}

#[test]
#[ignore = "the gateway starts it, as its child"]
fn the_child_itself() {
    let mut out = std::io::stdout();
    // Behind what the test harness has written on this line.
    writeln!(out).unwrap();
    for line in std::io::stdin().lock().lines() {
        let Ok(message) = serde_json::from_str::<Value>(&line.unwrap()) else {
            continue;
        };
        let result = match message["method"].as_str().unwrap_or_default() {
            "initialize" => json!({
                "protocolVersion": message["params"]["protocolVersion"],
                "capabilities": { "tools": {} },
                "serverInfo": { "name": "child", "version": "1" },
            }),
            "tools/list" => json!({ "tools": [
                { "name": "pid", "inputSchema": { "type": "object" }, "annotations": { "readOnlyHint": true } },
            ] }),
            "tools/call" => json!({
                "content": [{ "type": "text", "text": std::process::id().to_string() }],
                "structuredContent": message["params"]["_meta"],
            }),
            _ => continue,
        };
        let answer = json!({ "jsonrpc": "2.0", "id": message["id"], "result": result });
        writeln!(out, "{answer}").unwrap();
        out.flush().unwrap();
    }
}
