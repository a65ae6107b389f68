//! An MCP server that knows nothing of sign-in, of HTTP or of this project: it speaks over standard input and output, as
//! most servers do that people run on their own computer.
//!
//! One command puts sign-in in front of it, and makes it a server that others can reach:
//!
//! ```sh
//! authflow protect -- hello_stdio
//! ```

use rmcp::{
    ServerHandler, ServiceExt as _,
    model::{CallToolResult, ContentBlock},
    tool, tool_handler, tool_router,
    transport::stdio,
};

struct HelloStdio;

#[tool_router]
impl HelloStdio {
    /// Greets whoever calls.
    #[tool(annotations(read_only_hint = true))]
    async fn hello(&self) -> CallToolResult {
        said("Hello from a server that never heard of tokens!")
    }

    /// Forgets everything. It does not say that it is harmless, so it needs the widest scope.
    #[tool]
    async fn forget(&self) -> CallToolResult {
        said("There was nothing to forget.")
    }
}

#[tool_handler(name = "hello_stdio", instructions = "Say hello.")]
impl ServerHandler for HelloStdio {}

fn said(text: &str) -> CallToolResult {
    CallToolResult::success(vec![ContentBlock::text(text)])
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    HelloStdio.serve(stdio()).await?.waiting().await?;
    Ok(())
}
