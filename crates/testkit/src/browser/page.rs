//! A page as a person meets it: its title, the text that shows, and its forms.

use anyhow::{Context as _, Result, bail, ensure};
use url::Url;

use super::form::{Form, Tag};
use super::html::{Token, tokens};

/// A page that the server answered with.
#[derive(Debug, Clone)]
pub struct Page {
    /// Where it was found, after redirects.
    pub url: Url,
    /// The HTTP status it came with.
    pub status: u16,
    /// The `<title>`; empty when the answer is no HTML.
    pub title: String,
    /// What a reader sees, with runs of white space as one space.
    pub text: String,
    /// The forms, in the order they stand on the page.
    pub forms: Vec<Form>,
    /// The answer's header fields.
    pub headers: http::HeaderMap,
}

impl Page {
    pub(super) fn parse(url: Url, status: u16, headers: http::HeaderMap, body: &str) -> Result<Self> {
        let is_html = headers
            .get(http::header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .is_some_and(|value| value.starts_with("text/html"));
        let mut page = Self {
            url,
            status,
            title: String::new(),
            text: String::new(),
            forms: Vec::new(),
            headers,
        };
        if is_html {
            page.read(body)
                .with_context(|| format!("the page at {} is not well-formed", page.url))?;
        } else {
            body.clone_into(&mut page.text);
        }
        Ok(page)
    }

    fn read(&mut self, body: &str) -> Result<()> {
        let mut open: Vec<(String, bool)> = Vec::new();
        let mut form: Option<Form> = None;
        let mut text = String::new();
        for token in tokens(body)? {
            match token {
                Token::Text(words) if open.iter().any(|(name, _)| name == "title") => {
                    self.title = collapse(&words);
                }
                Token::Text(words) if open.iter().all(|(name, hidden)| !hidden && name != "head") => {
                    text.push_str(&words);
                }
                Token::Text(_) => {}
                Token::Start { name, attributes } => {
                    let tag = Tag {
                        name: &name,
                        attributes: &attributes,
                    };
                    match name.as_str() {
                        "form" => {
                            ensure!(form.is_none(), "a form inside a form");
                            form = Some(self.form(tag)?);
                        }
                        "input" | "button" => {
                            if let Some(control) = tag.control()? {
                                form.as_mut()
                                    .with_context(|| format!("the control `{}` is in no form", control.name))?
                                    .controls
                                    .push(control);
                            }
                        }
                        "select" | "textarea" => {
                            bail!("<{name}> is a control that this browser does not know")
                        }
                        _ => {}
                    }
                    text.push_str(gap(&name));
                    let is_hidden = tag.has("hidden");
                    open.push((name, is_hidden));
                }
                Token::End(name) => {
                    open.pop();
                    text.push_str(gap(&name));
                    if name == "form" {
                        self.forms.extend(form.take());
                    }
                }
            }
        }
        self.text = collapse(&text);
        Ok(())
    }

    fn form(&self, tag: Tag<'_>) -> Result<Form> {
        let action = match tag.attribute("action") {
            None | Some("") => self.url.clone(),
            Some(action) => self
                .url
                .join(action)
                .with_context(|| format!("action=\"{action}\""))?,
        };
        let is_post = match tag.attribute("method").map(str::to_ascii_lowercase).as_deref() {
            Some("post") => true,
            Some("get") | None => false,
            Some(other) => bail!("method=\"{other}\""),
        };
        if let Some(encoding) = tag.attribute("enctype") {
            ensure!(
                encoding == "application/x-www-form-urlencoded",
                "enctype=\"{encoding}\""
            );
        }
        Ok(Form {
            action,
            is_post,
            controls: Vec::new(),
        })
    }

    /// Finds the form that carries this value in a hidden control or a button.
    #[must_use]
    pub fn form_with(&self, name: &str, value: &str) -> Option<&Form> {
        self.forms.iter().find(|form| {
            form.controls
                .iter()
                .any(|control| control.name == name && control.value == value)
        })
    }

    /// What to print about this page when it was not the one expected.
    #[must_use]
    pub fn describe(&self) -> String {
        let text: String = self.text.chars().take(600).collect();
        format!("{} “{}” at {}: {text}", self.status, self.title, self.url)
    }
}

/// What an element's edge puts between words: blocks do not run together, words in bold do.
fn gap(element: &str) -> &'static str {
    const INLINE: &[&str] = &[
        "a", "abbr", "b", "bdi", "code", "em", "i", "kbd", "mark", "small", "span", "strong", "wbr",
    ];
    if INLINE.contains(&element) { "" } else { " " }
}

fn collapse(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
#[path = "page_tests.rs"]
mod tests;
