//! Members of a document by name and type. What is wrong is noted, and counts as absent, so that a linter sees all of it.

use mcp_authflow_types::{Scope, registration::RegistrationRequest};
use serde_json::{Map, Value};

use super::InvalidDocument;

/// The members, and what was found wrong with them so far.
pub(super) struct Members {
    members: Map<String, Value>,
    pub(super) problems: Vec<InvalidDocument>,
}

impl Members {
    pub(super) fn new(members: Map<String, Value>) -> Self {
        Self {
            members,
            problems: Vec::new(),
        }
    }

    pub(super) fn note(&mut self, problem: InvalidDocument) {
        self.problems.push(problem);
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.members.keys().map(String::as_str)
    }

    /// A member as it stands; `null` counts as absent.
    pub(super) fn value(&self, name: &str) -> Option<&Value> {
        self.members.get(name).filter(|value| !value.is_null())
    }

    /// A text of one line; the empty one counts as absent.
    pub(super) fn text(&mut self, name: &'static str) -> Option<String> {
        let longest = if name == "scope" {
            Scope::MAX_ASKED_BYTES
        } else {
            RegistrationRequest::MAX_TEXT_BYTES
        };
        let problem = match self.value(name)? {
            Value::String(text) if text.len() > longest => InvalidDocument::TooLong(name),
            Value::String(text) if text.chars().any(char::is_control) => {
                InvalidDocument::ControlCharacter(name)
            }
            Value::String(text) => return Some(text.clone()).filter(|text| !text.is_empty()),
            _ => InvalidDocument::WrongType(name),
        };
        self.note(problem);
        None
    }

    /// A list of texts.
    pub(super) fn list(&mut self, name: &'static str) -> Option<Vec<String>> {
        let value = self.value(name)?;
        let texts = value.as_array().and_then(|items| {
            items
                .iter()
                .map(|item| item.as_str().map(str::to_owned))
                .collect()
        });
        if texts.is_none() {
            self.note(InvalidDocument::WrongType(name));
        }
        texts
    }
}
