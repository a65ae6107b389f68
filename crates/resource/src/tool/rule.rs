//! One rule: which calls it speaks of, and what they need.

use mcp_authflow_types::{Scope, scope::InvalidScope};
use serde_json::{Map, Value};

use super::pattern::{ArgumentPattern, Glob, Verdict};
use crate::json_rpc::{Call, is_look_alike};

/// A rule of a [`ToolPolicy`](super::ToolPolicy) in the making.
///
/// ```
/// use mcp_authflow_resource::tool::{ArgumentPattern, Rule};
///
/// let rules = [
///     Rule::tool("delete_*").requires("notes:delete"),
///     // Reading is free within /srv/public, and needs a scope anywhere else.
///     Rule::tool("read_file").unless_argument("path", ArgumentPattern::glob("/srv/public/*")).requires("files:all"),
///     Rule::tool("shutdown").denied(),
///     Rule::method("resources/read").named("file:///etc/*").requires("files:system"),
/// ];
/// # let _ = rules;
/// ```
#[derive(Clone, Debug)]
#[must_use = "a rule does nothing before it is in a policy"]
pub struct Rule {
    subject: Subject,
    conditions: Vec<Condition>,
    scopes: Vec<String>,
    is_denial: bool,
}

/// Whom a rule is about.
#[derive(Clone, Debug)]
struct Subject {
    method: Glob,
    name: Glob,
    is_tool: bool,
}

#[derive(Clone, Debug)]
struct Condition {
    argument: String,
    pattern: ArgumentPattern,
    /// Whether the rule speaks of the calls that do *not* fit.
    is_exception: bool,
}

impl Rule {
    /// Speaks of the calls of a tool: its name, or a pattern in which `*` stands for any characters.
    pub fn tool(name: impl AsRef<str>) -> Self {
        Self::about("tools/call", name.as_ref(), true)
    }

    /// Speaks of another method, such as `resources/read` or `prompts/*`.
    pub fn method(method: impl AsRef<str>) -> Self {
        Self::about(method.as_ref(), "*", false)
    }

    fn about(method: &str, name: &str, is_tool: bool) -> Self {
        Self {
            subject: Subject {
                method: Glob::new(method),
                name: Glob::new(name),
                is_tool,
            },
            conditions: Vec::new(),
            scopes: Vec::new(),
            is_denial: false,
        }
    }

    /// Speaks only of calls about what has this name: a prompt's name, a resource's URI; with `*` for any characters.
    pub fn named(mut self, name: impl AsRef<str>) -> Self {
        self.subject.name = Glob::new(name.as_ref());
        self
    }

    /// Speaks only of calls whose argument fits; several conditions must hold together.
    ///
    /// # Security
    /// A call that leaves the argument out does not fit, and the tool's default applies: where that is the dangerous
    /// one, use [`unless_argument`](Self::unless_argument). What cannot be told (a value of another type, a path with
    /// `..` in it) is taken to fit, so that the scope is needed.
    pub fn when_argument(self, argument: impl Into<String>, pattern: ArgumentPattern) -> Self {
        self.condition(argument.into(), pattern, false)
    }

    /// Speaks only of calls whose argument does *not* fit, is missing, or cannot be told. The safer of the two: what
    /// nobody thought of needs the scope.
    pub fn unless_argument(self, argument: impl Into<String>, pattern: ArgumentPattern) -> Self {
        self.condition(argument.into(), pattern, true)
    }

    fn condition(mut self, argument: String, pattern: ArgumentPattern, is_exception: bool) -> Self {
        self.conditions.push(Condition {
            argument,
            pattern,
            is_exception,
        });
        self
    }

    /// Such calls need this scope, one or several with a space between; adds up.
    pub fn requires(mut self, scope: impl Into<String>) -> Self {
        self.scopes.push(scope.into());
        self
    }

    /// Nobody may make such calls, whatever their token says.
    pub fn denied(mut self) -> Self {
        self.is_denial = true;
        self
    }

    pub(super) fn check(self) -> Result<CheckedRule, InvalidScope> {
        let mut scope = Scope::empty();
        for text in &self.scopes {
            scope = scope.union(&Scope::parse(text)?);
        }
        Ok(CheckedRule {
            subject: self.subject,
            conditions: self.conditions,
            needs: if self.is_denial {
                Needs::Denied
            } else {
                Needs::Scope(scope)
            },
        })
    }
}

/// A rule whose scopes are some.
#[derive(Clone, Debug)]
pub(super) struct CheckedRule {
    subject: Subject,
    conditions: Vec<Condition>,
    pub(super) needs: Needs,
}

#[derive(Clone, Debug)]
pub(super) enum Needs {
    Scope(Scope),
    Denied,
}

impl CheckedRule {
    /// Whether it is about tools or things with this name, whatever their arguments.
    pub(super) fn is_about(&self, method: &str, name: Option<&str>) -> bool {
        self.subject.method.matches(method)
            && match name {
                _ if self.subject.name.is_any() => true,
                None => false,
                Some(name) if self.subject.is_tool => self.subject.name.matches(name),
                Some(name) => self.subject.name.judge_path(name) != Verdict::No,
            }
    }

    /// The only tool that it is about, when it names one.
    pub(super) fn only_tool(&self) -> Option<&str> {
        self.subject.name.literal().filter(|_| self.subject.is_tool)
    }

    /// Whether it speaks of this call.
    pub(super) fn applies_to(&self, call: &Call) -> bool {
        self.is_about(call.method(), call.name())
            && self
                .conditions
                .iter()
                .all(|condition| condition.holds(call.arguments()))
    }

    /// Whether it speaks of every call of its tool.
    pub(super) fn is_unconditional(&self) -> bool {
        self.conditions.is_empty()
    }
}

impl Condition {
    fn holds(&self, arguments: Option<&Map<String, Value>>) -> bool {
        let verdict = arguments.map_or(Verdict::No, |arguments| self.judge(arguments));
        match verdict {
            Verdict::Yes => !self.is_exception,
            Verdict::No => self.is_exception,
            Verdict::Unclear => true,
        }
    }

    fn judge(&self, arguments: &Map<String, Value>) -> Verdict {
        if arguments.keys().any(|name| is_look_alike(name, &self.argument)) {
            return Verdict::Unclear;
        }
        match arguments.get(&self.argument) {
            None | Some(Value::Null) => Verdict::No,
            Some(value) => self.pattern.judge(value),
        }
    }
}
