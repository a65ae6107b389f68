//! What a client finds: a protected MCP server, and what is called there.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::house::USERNAME;

/// A protected MCP server and its authorization server, as a client sees them.
#[derive(Clone, Debug)]
pub(super) struct Site {
    pub(super) issuer: String,
    /// The URL of the MCP server, which is its resource identifier.
    pub(super) mcp_url: String,
    /// As whom the judge may ask about tokens, if at all.
    pub(super) introspection_client: Option<(&'static str, &'static str)>,
    pub(super) play: Play,
    /// Whether the MCP server speaks HTTP with SSE (2024-11-05).
    pub(super) is_sse: bool,
}

/// What the client does there.
#[derive(Clone, Debug)]
pub(super) struct Play {
    /// A tool that the first token is good for.
    pub(super) call: Call,
    /// What stands in its answer.
    pub(super) answer: String,
    /// A tool that needs more.
    pub(super) step_up: Option<StepUp>,
    /// A slow tool that tells how far it is.
    pub(super) stream: Option<Stream>,
}

/// A tool and its arguments.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) tool: &'static str,
    pub(super) arguments: Value,
}

impl Call {
    pub(super) fn to_json(&self) -> Value {
        json!({ "tool": self.tool, "arguments": self.arguments })
    }
}

/// A tool that needs a scope beyond those of the first token.
#[derive(Clone, Debug)]
pub(super) struct StepUp {
    pub(super) call: Call,
    pub(super) scope: &'static str,
}

/// A slow tool, and the call without which it does not end.
#[derive(Clone, Debug)]
pub(super) struct Stream {
    pub(super) call: Call,
    /// Made once three events have arrived.
    pub(super) answer: Call,
    /// What stands in the slow tool's answer.
    pub(super) end: &'static str,
}

impl Play {
    /// The tools of `examples/hello_mcp`.
    pub(super) fn hello() -> Self {
        Self {
            call: Call {
                tool: "hello",
                arguments: json!({}),
            },
            answer: format!("Hello, {USERNAME}"),
            step_up: Some(StepUp {
                call: Call {
                    tool: "remember",
                    arguments: json!({ "text": "milk" }),
                },
                scope: "hello:write",
            }),
            stream: None,
        }
    }

    /// The tools of the note book in `judges/mcp-server-*`, which say of themselves what they do.
    pub(super) fn notes() -> Self {
        let call = |tool| Call {
            tool,
            arguments: json!({}),
        };
        Self {
            call: call("read_notes"),
            answer: "notes:".to_owned(),
            step_up: Some(StepUp {
                call: Call {
                    tool: "write_note",
                    arguments: json!({ "words": "milk" }),
                },
                // It says nothing of itself, and so may do anything.
                scope: "tools:destructive",
            }),
            stream: Some(Stream {
                call: call("await_nod"),
                answer: call("nod"),
                end: "somebody nodded",
            }),
        }
    }
}

impl Site {
    /// A URL under the issuer.
    pub(super) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.issuer)
    }

    /// Asks the authorization server about a token as the MCP server would; nothing where the judge may not ask.
    pub(super) async fn introspect(&self, http: &reqwest::Client, token: &str) -> Result<Option<Value>> {
        let Some((client_id, client_secret)) = self.introspection_client else {
            return Ok(None);
        };
        let response = http
            .post(self.url("/introspect"))
            .basic_auth(client_id, Some(client_secret))
            .form(&[("token", token)])
            .send()
            .await?;
        let status = response.status();
        let text = response.text().await?;
        ensure!(status == 200, "introspection answered {status}: {text}");
        Ok(Some(serde_json::from_str(&text)?))
    }
}
