//! This app's own way to sign people in, as the server's [`Interact`] hook.
//!
//! The server calls it for each visit of a request's page. Here one page asks for a name and a word that this app's
//! people know, shows what is asked for and where the answer goes, and has two buttons.

use axum::response::{Html, IntoResponse as _};
use mcp_authflow::{AnswerTo, Approval, Pending, Ticked};
use mcp_authflow_axum::{Interact, Outcome, Visit};
use mcp_authflow_types::Form;

/// Whoever is in this app's books.
pub(crate) struct MyLogin {
    people: Vec<(&'static str, &'static str)>,
}

impl MyLogin {
    pub(crate) fn new() -> Self {
        // A real app looks into its own user table, where passwords are hashed.
        Self {
            people: vec![("ada", "analytical engine"), ("grace", "nanosecond wire")],
        }
    }

    fn knows(&self, name: &str, word: &str) -> bool {
        self.people.contains(&(name, word))
    }
}

#[async_trait::async_trait]
impl Interact for MyLogin {
    async fn interact(&self, pending: &Pending, visit: Visit) -> Outcome {
        let form = Form::parse(&visit.body).unwrap_or_default();
        match (form.value("decision"), form.value("name"), form.value("word")) {
            (Some("deny"), ..) => Outcome::Deny,
            (Some("allow"), Some(name), Some(word)) if self.knows(name, word) => Outcome::Approve(Approval {
                subject: format!("my-app:{name}"),
                username: Some(name.to_owned()),
                subject_generation: None,
                ticked: Ticked::Everything,
            }),
            (Some(_), ..) => Outcome::Show(page(pending, &visit, "That is not one of us.").into_response()),
            (None, ..) => Outcome::Show(page(pending, &visit, "").into_response()),
        }
    }
}

/// One page for everything. It says where the answer will go, since that is the one thing a client cannot invent.
fn page(pending: &Pending, visit: &Visit, problem: &str) -> Html<String> {
    let asked: Vec<String> = pending
        .resources()
        .iter()
        .map(|one| {
            format!(
                "<li>{}: {}</li>",
                escape(one.asked.resource.as_str()),
                escape(&one.asked.scope.to_string())
            )
        })
        .collect();
    let asked = asked.join("");
    Html(format!(
        r#"<!doctype html><html lang="en"><meta charset="utf-8"><title>My app</title>
<h1>Sign in to my app</h1>
<p>An application wants to act for you. {whereto}</p>
<ul>{asked}</ul>
<p role="alert">{problem}</p>
<form method="post" action="{action}">
<label>Name <input name="name" autocomplete="username"></label>
<label>Word <input name="word" type="password" autocomplete="current-password"></label>
<button name="decision" value="deny">Deny</button>
<button name="decision" value="allow">Allow</button>
</form></html>"#,
        whereto = whereto(pending),
        action = escape(&visit.page),
    ))
}

/// Where the answer goes. What is done for a device reaches whoever holds it, so a person must know the device.
fn whereto(pending: &Pending) -> String {
    match pending.answer_to() {
        AnswerTo::Client(target) => {
            format!("The answer goes to <strong>{}</strong>.", escape(target.as_str()))
        }
        AnswerTo::Device(_) => {
            "It runs on <strong>another device</strong>. Allow it only if that device is in front of \
            you and you started this yourself: nobody else has a reason to give you a code."
                .to_owned()
        }
    }
}

/// Takes the markup out of a text that a client chose.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
