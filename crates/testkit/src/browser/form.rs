//! A form of a page, and what it would send.

use anyhow::{Result, bail, ensure};
use url::Url;

/// A form and what it would send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Form {
    /// Where it is sent to; resolved against the page.
    pub action: Url,
    /// True for `method="post"`.
    pub is_post: bool,
    /// Its named controls, in the order they stand in the form.
    pub controls: Vec<Control>,
}

/// A named control of a form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Control {
    /// What it is.
    pub kind: ControlKind,
    /// Its `name`.
    pub name: String,
    /// Its `value`: what it sends unless something else is typed in.
    pub value: String,
}

/// What sort of control this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ControlKind {
    /// `type="hidden"`.
    Hidden,
    /// Something to type into: text, password, email and their like.
    Text,
    /// A box to tick, and whether it is ticked when the page arrives.
    Checkbox {
        /// Ticked already.
        checked: bool,
    },
    /// A button that sends the form.
    Button,
}

impl Form {
    /// The value of the first control of this name.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&str> {
        self.controls
            .iter()
            .find(|control| control.name == name)
            .map(|control| control.value.as_str())
    }

    /// What the form sends after these fields were filled in, ticked or pressed.
    ///
    /// A text control takes the value given; naming a checkbox ticks exactly the boxes
    /// given for that name and no others; naming a button presses it. A form with one
    /// named button is sent by that button when none is named.
    pub fn fill(&self, fields: &[(&str, &str)]) -> Result<Vec<(String, String)>> {
        for (name, value) in fields {
            ensure!(
                self.controls.iter().any(|control| control.takes(name, value)),
                "the form has no control `{name}` that could be `{value}`; it has: {}",
                self.names()
            );
        }
        let mut buttons = self
            .controls
            .iter()
            .filter(|control| control.kind == ControlKind::Button);
        let only_button = buttons.next().filter(|_| buttons.next().is_none());
        let pressed = self.controls.iter().find(|control| {
            control.kind == ControlKind::Button
                && fields.contains(&(control.name.as_str(), control.value.as_str()))
        });
        let has_buttons = self
            .controls
            .iter()
            .any(|control| control.kind == ControlKind::Button);
        let pressed = pressed.or(only_button);
        ensure!(
            pressed.is_some() || !has_buttons,
            "say which button to press; the form has: {}",
            self.names()
        );

        let mut sent = Vec::new();
        for control in &self.controls {
            let given: Vec<&str> = fields
                .iter()
                .filter(|(name, _)| *name == control.name)
                .map(|(_, value)| *value)
                .collect();
            let value = match control.kind {
                ControlKind::Button => pressed
                    .is_some_and(|button| button == control)
                    .then_some(&*control.value),
                ControlKind::Checkbox { checked } if given.is_empty() => checked.then_some(&*control.value),
                ControlKind::Checkbox { .. } => given.contains(&&*control.value).then_some(&*control.value),
                ControlKind::Hidden | ControlKind::Text => {
                    Some(given.first().copied().unwrap_or(&control.value))
                }
            };
            sent.extend(value.map(|value| (control.name.clone(), value.to_owned())));
        }
        Ok(sent)
    }

    fn names(&self) -> String {
        self.controls
            .iter()
            .map(|control| match control.kind {
                ControlKind::Text => control.name.clone(),
                _ => format!("{}={}", control.name, control.value),
            })
            .collect::<Vec<_>>()
            .join(", ")
    }
}

impl Control {
    fn takes(&self, name: &str, value: &str) -> bool {
        self.name == name
            && (matches!(self.kind, ControlKind::Hidden | ControlKind::Text) || self.value == value)
    }
}

/// A start tag, to be asked for its attributes.
#[derive(Clone, Copy)]
pub(super) struct Tag<'a> {
    pub(super) name: &'a str,
    pub(super) attributes: &'a [(String, String)],
}

impl<'a> Tag<'a> {
    pub(super) fn attribute(&self, name: &str) -> Option<&'a str> {
        self.attributes
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.attribute(name).is_some()
    }

    /// The control that this tag makes, unless it is nameless or disabled and sends nothing.
    pub(super) fn control(&self) -> Result<Option<Control>> {
        let kind = match (self.name, self.attribute("type").unwrap_or_default()) {
            ("button", "" | "submit") | ("input", "submit") => ControlKind::Button,
            ("button", _) | ("input", "reset" | "button") => return Ok(None),
            ("input", "hidden") => ControlKind::Hidden,
            ("input", "checkbox") => ControlKind::Checkbox {
                checked: self.has("checked"),
            },
            ("input", "" | "text" | "password" | "email" | "search" | "url" | "tel") => ControlKind::Text,
            (name, kind) => {
                bail!("<{name} type=\"{kind}\"> is a control that this browser does not know")
            }
        };
        for unknown in ["form", "formaction", "formmethod"] {
            ensure!(
                !self.has(unknown),
                "`{unknown}` on a control is more than this browser knows"
            );
        }
        let Some(name) = self
            .attribute("name")
            .filter(|name| !name.is_empty() && !self.has("disabled"))
        else {
            return Ok(None);
        };
        let unticked = if matches!(kind, ControlKind::Checkbox { .. }) {
            "on"
        } else {
            ""
        };
        let value = self.attribute("value").unwrap_or(unticked).to_owned();
        Ok(Some(Control {
            kind,
            name: name.to_owned(),
            value,
        }))
    }
}
