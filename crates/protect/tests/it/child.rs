//! An MCP server over stdio: this very program, started again as the child of the tests.

use std::{
    io::{BufRead as _, Write as _},
    path::PathBuf,
};

use mcp_authflow_protect::Upstream;
use serde_json::{Value, json};

/// Which versions the child knows.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// Those with sessions.
    Older,
    /// Those with sessions; it ends on hearing anything before the handshake.
    Strict,
    /// 2026-07-28 only.
    Stateless,
    /// Ends at once.
    Broken,
    /// The server of the SDK.
    Sdk,
}

pub(crate) fn upstream(kind: Kind) -> Upstream {
    let program = std::env::current_exe().unwrap();
    let arguments = [
        "--exact",
        "child::the_child_itself",
        "--ignored",
        "--nocapture",
        "--test-threads=1",
    ];
    Upstream::command(program, arguments).variable("CHILD", format!("{kind:?}"))
}

/// Where a child notes that it ended in an orderly way.
pub(crate) fn note_in(upstream: Upstream, folder: &std::path::Path) -> Upstream {
    upstream.variable("NOTES", folder)
}

#[test]
#[ignore = "the other tests start it, as their child"]
#[expect(
    clippy::disallowed_methods,
    reason = "a child is told by its environment what to do"
)]
fn the_child_itself() {
    let Ok(kind) = std::env::var("CHILD") else { return };
    if kind == "Broken" {
        return;
    }
    if kind == "Sdk" {
        // Behind what the test harness has written on this line.
        println!();
        crate::sdk::serve_over_stdio();
        return;
    }
    let mut server = Server {
        kind,
        is_ready: false,
        asking: None,
        out: Box::new(std::io::stdout()),
    };
    // Behind what the test harness has written on this line.
    writeln!(server.out).unwrap();
    eprintln!("a child says hello on its error output");
    for line in std::io::stdin().lock().lines() {
        let message: Value = serde_json::from_str(&line.unwrap()).unwrap();
        if !server.hear(&message) {
            break;
        }
    }
    if let Ok(notes) = std::env::var("NOTES") {
        let note = PathBuf::from(notes).join(format!("{}.ended", std::process::id()));
        std::fs::write(note, "").unwrap();
    }
}

struct Server {
    kind: String,
    is_ready: bool,
    /// The request during which the client is asked something.
    asking: Option<Value>,
    out: Box<dyn std::io::Write>,
}

impl Server {
    fn say(&mut self, message: &Value) {
        writeln!(self.out, "{message}").unwrap();
        self.out.flush().unwrap();
    }

    fn result(&mut self, id: &Value, result: &Value) {
        self.say(&json!({"jsonrpc": "2.0", "id": id, "result": result}));
    }

    fn error(&mut self, id: &Value, code: i64) {
        self.say(&json!({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": "no"}}));
    }

    /// Hears one message; `false` ends the child.
    fn hear(&mut self, message: &Value) -> bool {
        let id = &message["id"];
        match message["method"].as_str() {
            Some("initialize") if self.kind == "Stateless" => self.error(id, -32_022),
            Some("initialize") => {
                self.is_ready = true;
                let said = json!({
                    "protocolVersion": message["params"]["protocolVersion"],
                    "capabilities": {"tools": {"listChanged": true}, "logging": {}},
                    "serverInfo": {"name": "child", "version": std::process::id().to_string()},
                });
                self.result(id, &said);
            }
            Some("server/discover") if self.kind == "Stateless" => {
                self.result(id, &json!({"resultType": "complete", "supportedVersions": ["2026-07-28"], "capabilities": {}}));
            }
            Some("notifications/cancelled") => {
                let told = json!({"jsonrpc": "2.0", "method": "notifications/message",
                    "params": {"level": "info", "data": {"cancelled": message["params"]["requestId"]}}});
                self.say(&told);
            }
            Some("tools/list") if self.is_ready || self.kind == "Stateless" => {
                self.result(
                    id,
                    &json!({"tools": [
                        {"name": "echo", "inputSchema": {"type": "object"}},
                        {"name": "shout", "inputSchema": {"type": "object", "properties": {
                            "region": {"type": "string", "x-mcp-header": "Region"}}}},
                    ]}),
                );
            }
            Some("tools/call") if self.is_ready || self.kind == "Stateless" => return self.call(message),
            Some("subscriptions/listen") if self.kind == "Stateless" => {
                let told = json!({"jsonrpc": "2.0", "method": "notifications/tools/list_changed",
                    "params": {"_meta": {"io.modelcontextprotocol/subscriptionId": id}}});
                self.say(&told);
            }
            Some(_) if id.is_null() => {}
            Some(_) if self.kind == "Strict" && !self.is_ready => return false,
            Some(_) => self.error(id, -32_601),
            None => {
                // The client's answer.
                if let Some(asking) = self.asking.take() {
                    let answered = message["result"].clone();
                    self.result(&asking, &json!({"answered": answered}));
                }
            }
        }
        true
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "a tool that tells what the child's environment is"
    )]
    fn call(&mut self, message: &Value) -> bool {
        let id = &message["id"];
        let arguments = &message["params"]["arguments"];
        match message["params"]["name"].as_str().unwrap() {
            "echo" | "shout" => {
                let said = json!({"arguments": arguments, "meta": message["params"]["_meta"], "pid": std::process::id()});
                self.result(id, &said);
            }
            "progress" => {
                for step in 1..=3 {
                    let told = json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": {
                        "progressToken": message["params"]["_meta"]["progressToken"], "progress": step}});
                    self.say(&told);
                    std::thread::park_timeout(std::time::Duration::from_millis(50));
                }
                self.result(id, &json!({"done": true}));
            }
            "ask" => {
                self.asking = Some(id.clone());
                self.say(
                    &json!({"jsonrpc": "2.0", "id": "q-1", "method": "sampling/createMessage", "params": {}}),
                );
            }
            "log" => {
                let told = json!({"jsonrpc": "2.0", "method": "notifications/message",
                    "params": {"level": "info", "data": "hello"}});
                self.say(&told);
                self.result(id, &json!({"logged": true}));
            }
            "slow" => {
                let millis = arguments["ms"].as_u64().unwrap();
                std::thread::park_timeout(std::time::Duration::from_millis(millis));
                self.result(id, &json!({"slept": millis}));
            }
            "big" => {
                let length = usize::try_from(arguments["bytes"].as_u64().unwrap()).unwrap();
                self.result(id, &json!({"text": "x".repeat(length)}));
            }
            "environment" => {
                let names: Vec<String> = std::env::vars().map(|(name, _)| name).collect();
                self.result(id, &json!(names));
            }
            // Neither answers nor ends.
            "hang" => {}
            "noise" => {
                writeln!(self.out, "this is no message").unwrap();
                self.result(id, &json!({"noisy": true}));
            }
            "crash" => return false,
            _ => self.error(id, -32_602),
        }
        true
    }
}
