//! The two tools. Each says which scope it needs, and takes the caller as a parameter.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use mcp_authflow_resource::{Caller, rmcp::needs};
use rmcp::{
    ServerHandler,
    handler::server::wrapper::Parameters,
    model::{CallToolResult, ContentBlock},
    tool, tool_handler, tool_router,
};

/// One note a person, by the `sub` of their tokens; gone when the server stops.
pub(crate) type Notes = Arc<Mutex<HashMap<String, String>>>;

/// The longest note, in characters.
const MAX_NOTE_CHARS: usize = 280;

/// The server that `rmcp` makes for each request.
pub(crate) struct HelloMcp {
    notes: Notes,
}

/// What `remember` takes.
#[derive(serde::Deserialize, schemars::JsonSchema)]
pub(crate) struct Note {
    /// What to remember, 280 characters at most. It replaces the note before.
    text: String,
}

#[tool_router(vis = "pub(crate)")]
impl HelloMcp {
    pub(crate) fn new(notes: Notes) -> Self {
        Self { notes }
    }

    /// Greets whoever is signed in, and says what they wanted remembered.
    #[tool(annotations(read_only_hint = true))]
    async fn hello(&self, caller: Caller) -> CallToolResult {
        let name = caller.username().or(caller.subject()).unwrap_or("stranger");
        let notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        said(match caller.subject().and_then(|subject| notes.get(subject)) {
            None => format!("Hello, {name}!"),
            Some(note) => format!("Hello, {name}! You wanted me to remember: {note}"),
        })
    }

    /// Remembers one note for whoever is signed in.
    #[tool(
        annotations(destructive_hint = false, idempotent_hint = true),
        meta = needs("hello:write")
    )]
    async fn remember(&self, caller: Caller, Parameters(Note { text }): Parameters<Note>) -> CallToolResult {
        let Some(subject) = caller.subject() else {
            return refuse("there is nobody to remember it for");
        };
        if text.chars().count() > MAX_NOTE_CHARS {
            return refuse(format!("a note has at most {MAX_NOTE_CHARS} characters"));
        }
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        notes.insert(subject.to_owned(), text);
        said("I will remember.")
    }
}

#[tool_handler(name = "hello_mcp", instructions = "Say hello, and have one note remembered.")]
impl ServerHandler for HelloMcp {}

fn said(text: impl Into<String>) -> CallToolResult {
    CallToolResult::success(vec![ContentBlock::text(text)])
}

fn refuse(why: impl Into<String>) -> CallToolResult {
    CallToolResult::error(vec![ContentBlock::text(why)])
}
