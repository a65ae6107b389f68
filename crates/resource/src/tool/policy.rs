//! What the calls of an MCP server need, all rules together.

use std::{collections::HashMap, sync::Arc};

use mcp_authflow_types::{
    Scope,
    scope::{InvalidScope, OFFLINE_ACCESS},
};

use super::rule::{CheckedRule, Needs, Rule};
use crate::json_rpc::{Call, JsonRpc};

/// Says which scopes a call needs beyond those that every request to the resource needs. Cheap to clone.
///
/// All rules that speak of a call add up. The default has no rules: whoever may call the resource may call its tools.
///
/// ```
/// use mcp_authflow_resource::{JsonRpc, tool::{ArgumentPattern, Rule, ToolPolicy}};
///
/// let policy = ToolPolicy::builder()
///     .rule(Rule::tool("*_note").requires("notes:write"))
///     .rule(Rule::tool("delete_note").unless_argument("dry_run", ArgumentPattern::equals(true)).requires("notes:delete"))
///     .build()?;
///
/// let needed = |params: &str| {
///     let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{params}}}"#);
///     let message = JsonRpc::parse(body.as_bytes()).expect("is JSON-RPC");
///     policy.required_for(&message).expect("is not denied").to_string()
/// };
/// assert_eq!(needed(r#"{"name":"add"}"#), "");
/// assert_eq!(needed(r#"{"name":"delete_note","arguments":{"id":7}}"#), "notes:delete notes:write");
/// assert_eq!(needed(r#"{"name":"delete_note","arguments":{"id":7,"dry_run":true}}"#), "notes:write");
/// # Ok::<(), mcp_authflow_resource::tool::InvalidToolPolicy>(())
/// ```
#[derive(Clone, Debug)]
pub struct ToolPolicy {
    rules: Arc<[CheckedRule]>,
    /// Where the rules stand that are about one tool. Servers have thousands of tools, each with a rule of its own, and
    /// whoever lists them asks about each.
    of_one_tool: Arc<HashMap<String, Vec<usize>>>,
    /// Where the others stand.
    of_several: Arc<[usize]>,
    unlisted: CheckedUnlisted,
    hides_forbidden: bool,
}

/// What becomes of a tool that no rule names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Unlisted {
    /// The scopes that every request to the resource needs are enough. The default; good where the rules stand beside
    /// the tools.
    #[default]
    Allow,
    /// It needs this scope. Good where tools may appear that nobody has judged yet.
    Require(String),
    /// Nobody may call it.
    Deny,
}

#[derive(Clone, Debug)]
enum CheckedUnlisted {
    Require(Scope),
    Deny,
}

/// The settings of a policy; [`ToolPolicy::builder`] begins one.
#[derive(Clone, Debug)]
#[must_use = "nothing is ruled before `build`"]
pub struct ToolPolicyBuilder {
    rules: Vec<Rule>,
    unlisted: Unlisted,
    hides_forbidden: bool,
}

/// Why a policy is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidToolPolicy {
    /// A scope is none.
    #[error(transparent)]
    Scope(#[from] InvalidScope),
    /// `offline_access` is among the scopes.
    #[error(
        "a tool cannot need offline_access: it asks the authorization server for a refresh token and allows nothing"
    )]
    OfflineAccess,
}

/// The policy allows a call to nobody.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what:?} is not allowed here")]
pub struct Denied {
    /// The tool's name, or the method.
    pub what: String,
}

impl ToolPolicy {
    /// Begins a policy without rules.
    pub fn builder() -> ToolPolicyBuilder {
        ToolPolicyBuilder {
            rules: Vec::new(),
            unlisted: Unlisted::default(),
            hides_forbidden: true,
        }
    }

    /// Whether it asks nothing of any call, so that nobody needs to read one.
    pub fn is_empty(&self) -> bool {
        let is_open = matches!(&self.unlisted, CheckedUnlisted::Require(scope) if scope.is_empty());
        is_open && self.rules.is_empty()
    }

    /// Whether lists are to be cut down.
    pub(super) fn cuts_lists(&self) -> bool {
        let is_denial = |rule: &CheckedRule| matches!(rule.needs, Needs::Denied);
        let denies = matches!(self.unlisted, CheckedUnlisted::Deny) || self.rules.iter().any(is_denial);
        denies || (self.hides_forbidden && !self.is_empty())
    }

    /// All scopes that the whole body needs, every call of a batch included, beyond the resource's own.
    ///
    /// # Errors
    /// [`Denied`] when it holds a call that nobody may make.
    pub fn required_for(&self, message: &JsonRpc) -> Result<Scope, Denied> {
        let mut scope = Scope::empty();
        for call in message.calls() {
            scope = scope.union(&self.required_for_call(call)?);
        }
        Ok(scope)
    }

    /// The scopes that one call needs.
    ///
    /// # Errors
    /// [`Denied`] when nobody may make it.
    pub fn required_for_call(&self, call: &Call) -> Result<Scope, Denied> {
        self.sum(call.method(), call.name(), |rule| rule.applies_to(call))
    }

    /// Whether there is a call about `name` that a token with `held` may make: for a list of what there is. Arguments
    /// decide later.
    pub fn may_see(&self, method: &str, name: &str, held: &Scope) -> bool {
        let speaks = |rule: &CheckedRule| rule.is_unconditional() && rule.is_about(method, Some(name));
        self.sum(method, Some(name), speaks)
            .is_ok_and(|needed| !self.hides_forbidden || held.covers(&needed))
    }

    /// The rules that may be about `name`.
    fn rules_for(&self, name: Option<&str>) -> impl Iterator<Item = &CheckedRule> {
        let of_one = name.and_then(|name| self.of_one_tool.get(name));
        let places = self.of_several.iter().chain(of_one.into_iter().flatten());
        places.filter_map(|place| self.rules.get(*place))
    }

    fn sum(
        &self,
        method: &str,
        name: Option<&str>,
        speaks: impl Fn(&CheckedRule) -> bool,
    ) -> Result<Scope, Denied> {
        let denied = || Denied {
            what: name.unwrap_or(method).to_owned(),
        };
        let mut scope = Scope::empty();
        for rule in self.rules_for(name).filter(|rule| speaks(rule)) {
            match &rule.needs {
                Needs::Scope(needed) => scope = scope.union(needed),
                Needs::Denied => return Err(denied()),
            }
        }
        let is_unlisted_tool =
            || method == "tools/call" && !self.rules_for(name).any(|rule| rule.is_about(method, name));
        match &self.unlisted {
            CheckedUnlisted::Deny if is_unlisted_tool() => Err(denied()),
            CheckedUnlisted::Require(needed) if is_unlisted_tool() => Ok(scope.union(needed)),
            _ => Ok(scope),
        }
    }
}

impl Default for ToolPolicy {
    fn default() -> Self {
        Self {
            rules: Arc::default(),
            of_one_tool: Arc::default(),
            of_several: Arc::default(),
            unlisted: CheckedUnlisted::Require(Scope::empty()),
            hides_forbidden: true,
        }
    }
}

impl ToolPolicyBuilder {
    /// Adds a rule.
    pub fn rule(mut self, rule: Rule) -> Self {
        self.rules.push(rule);
        self
    }

    /// Adds rules.
    pub fn rules(mut self, rules: impl IntoIterator<Item = Rule>) -> Self {
        self.rules.extend(rules);
        self
    }

    /// What becomes of tools that no rule names. Default: [`Unlisted::Allow`].
    pub fn unlisted(mut self, unlisted: Unlisted) -> Self {
        self.unlisted = unlisted;
        self
    }

    /// Whether lists of tools, prompts and resources leave out what the caller's token does not reach. Default: yes.
    ///
    /// A list then shows what can be done now, and no more. With `false` it shows all, and a client that calls a tool
    /// beyond its token is told which scope to ask its person for (step-up): it can only ask for what it knows of. What
    /// nobody may call is left out either way.
    pub fn hide_forbidden_tools(mut self, hides: bool) -> Self {
        self.hides_forbidden = hides;
        self
    }

    /// Judges the rules.
    ///
    /// # Errors
    /// [`InvalidToolPolicy`]
    pub fn build(self) -> Result<ToolPolicy, InvalidToolPolicy> {
        let mut rules = Vec::with_capacity(self.rules.len());
        for rule in self.rules {
            let rule = rule.check()?;
            if matches!(&rule.needs, Needs::Scope(scope) if scope.contains(OFFLINE_ACCESS)) {
                return Err(InvalidToolPolicy::OfflineAccess);
            }
            rules.push(rule);
        }
        let unlisted = match self.unlisted {
            Unlisted::Allow => CheckedUnlisted::Require(Scope::empty()),
            Unlisted::Require(scope) => CheckedUnlisted::Require(Scope::parse(&scope)?),
            Unlisted::Deny => CheckedUnlisted::Deny,
        };
        let mut of_one_tool: HashMap<String, Vec<usize>> = HashMap::new();
        let mut of_several = Vec::new();
        for (place, rule) in rules.iter().enumerate() {
            match rule.only_tool() {
                Some(tool) => of_one_tool.entry(tool.to_owned()).or_default().push(place),
                None => of_several.push(place),
            }
        }
        Ok(ToolPolicy {
            rules: rules.into(),
            of_one_tool: Arc::new(of_one_tool),
            of_several: of_several.into(),
            unlisted,
            hides_forbidden: self.hides_forbidden,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::{super::pattern::ArgumentPattern, *};

    fn policy(rules: impl IntoIterator<Item = Rule>) -> ToolPolicyBuilder {
        ToolPolicy::builder().rules(rules)
    }

    fn needed(policy: &ToolPolicy, body: &serde_json::Value) -> String {
        let message = JsonRpc::parse(body.to_string().as_bytes()).unwrap();
        match policy.required_for(&message) {
            Ok(scope) => scope.to_string(),
            Err(Denied { what }) => format!("denied: {what}"),
        }
    }

    #[expect(
        clippy::needless_pass_by_value,
        reason = "callers write the arguments in place"
    )]
    fn tool(name: &str, arguments: serde_json::Value) -> serde_json::Value {
        serde_json::json!({"id": 1, "method": "tools/call", "params": {"name": name, "arguments": arguments}})
    }

    /// M-025
    #[test]
    fn all_rules_that_speak_of_a_call_add_up() {
        let policy = policy([
            Rule::tool("*").requires("base"),
            Rule::tool("write_*").requires("write"),
            Rule::tool("write_all").requires("all more"),
        ])
        .build()
        .unwrap();
        let none = || serde_json::json!({});
        assert_eq!(needed(&policy, &tool("read", none())), "base");
        assert_eq!(needed(&policy, &tool("write_one", none())), "base write");
        assert_eq!(needed(&policy, &tool("write_all", none())), "all base more write");
        let list = serde_json::json!({"id": 1, "method": "tools/list"});
        assert_eq!(needed(&policy, &list), "");
        let batch = serde_json::json!([tool("read", none()), list, tool("write_one", none())]);
        assert_eq!(needed(&policy, &batch), "base write");
    }

    #[test]
    fn a_rule_about_an_argument_fails_closed() {
        let when = Rule::tool("run")
            .when_argument("mode", ArgumentPattern::one_of(["force", "purge"]))
            .requires("danger");
        let unless = Rule::tool("read")
            .unless_argument("path", ArgumentPattern::glob("/srv/*"))
            .requires("all");
        let policy = policy([when, unless]).build().unwrap();
        for (name, arguments, scope) in [
            ("run", serde_json::json!({"mode": "force"}), "danger"),
            ("run", serde_json::json!({"mode": "soft"}), ""),
            ("run", serde_json::json!({}), ""),
            ("run", serde_json::json!({"mode": null}), ""),
            ("run", serde_json::json!({"mode": ["force"]}), "danger"),
            ("run", serde_json::json!({"mode": ["soft", "purge"]}), "danger"),
            ("run", serde_json::json!({"mode": 1}), "danger"),
            (
                "run",
                serde_json::json!({"mode": "soft", "Mode": "force"}),
                "danger",
            ),
            ("read", serde_json::json!({"path": "/srv/a"}), ""),
            ("read", serde_json::json!({"path": ["/srv/a", "/srv/b"]}), ""),
            ("read", serde_json::json!({"path": ["/srv/a", "/etc/b"]}), "all"),
            ("read", serde_json::json!({"path": "/srv/../etc/b"}), "all"),
            ("read", serde_json::json!({"path": 7}), "all"),
            (
                "read",
                serde_json::json!({"path": "/srv/a", "PATH": "/etc/b"}),
                "all",
            ),
            ("read", serde_json::json!({}), "all"),
        ] {
            assert_eq!(
                needed(&policy, &tool(name, arguments.clone())),
                scope,
                "{name} {arguments}"
            );
        }
        let without = serde_json::json!({"id": 1, "method": "tools/call", "params": {"name": "read"}});
        assert_eq!(needed(&policy, &without), "all");
    }

    #[test]
    fn what_no_rule_names_is_as_the_policy_says() {
        let listed = || {
            policy([Rule::tool("known")
                .when_argument("x", ArgumentPattern::present())
                .requires("x")])
        };
        let none = || serde_json::json!({});
        let (known, other) = (tool("known", none()), tool("other", none()));
        for (unlisted, outcome) in [
            (Unlisted::Allow, ""),
            (Unlisted::Require("extra".to_owned()), "extra"),
            (Unlisted::Deny, "denied: other"),
        ] {
            let policy = listed().unlisted(unlisted).build().unwrap();
            assert_eq!(needed(&policy, &known), "");
            assert_eq!(needed(&policy, &other), outcome);
            let other_method =
                serde_json::json!({"id": 1, "method": "prompts/get", "params": {"name": "other"}});
            assert_eq!(needed(&policy, &other_method), "");
            // One tool that is denied spoils the batch.
            let batch = serde_json::json!([known, other]);
            assert_eq!(needed(&policy, &batch), outcome);
        }
    }

    #[test]
    fn other_methods_have_rules_too() {
        let policy = policy([
            Rule::method("resources/*")
                .named("file:///etc/*")
                .requires("system"),
            Rule::method("prompts/get").named("secret").denied(),
            Rule::method("completion/complete").requires("complete"),
        ])
        .build()
        .unwrap();
        let call = |method: &str, member: &str, name: &str| serde_json::json!({"id": 1, "method": method, "params": {member: name}});
        for (body, scope) in [
            (call("resources/read", "uri", "file:///etc/passwd"), "system"),
            (call("resources/subscribe", "uri", "file:///etc/passwd"), "system"),
            (
                call("resources/read", "uri", "file:///srv/../etc/passwd"),
                "system",
            ),
            (call("resources/read", "uri", "file:///srv/a"), ""),
            (call("resources/list", "uri", "file:///etc/passwd"), ""),
            (call("prompts/get", "name", "secret"), "denied: secret"),
            (call("completion/complete", "x", "y"), "complete"),
        ] {
            assert_eq!(needed(&policy, &body), scope, "{body}");
        }
    }

    #[test]
    fn a_list_shows_what_the_token_reaches() {
        let rules = || {
            policy([
                Rule::tool("write").requires("write"),
                Rule::tool("read")
                    .when_argument("all", ArgumentPattern::equals(true))
                    .requires("all"),
                Rule::tool("gone").denied(),
            ])
        };
        let held = Scope::parse("base").unwrap();
        let policy = rules().build().unwrap();
        let sees = |policy: &ToolPolicy, name: &str| policy.may_see("tools/call", name, &held);
        assert!(sees(&policy, "read") && sees(&policy, "other"));
        assert!(!sees(&policy, "write") && !sees(&policy, "gone"));
        let policy = rules().hide_forbidden_tools(false).build().unwrap();
        assert!(sees(&policy, "write") && !sees(&policy, "gone"));
    }

    /// Whoever lists ten thousand tools asks about each: that is not to be the square of it.
    #[test]
    fn a_tool_is_judged_by_its_own_rules_however_many_others_there_are() {
        let names: Vec<String> = (0..10_000).map(|number| format!("tool_{number}")).collect();
        let rules = names.iter().map(|name| Rule::tool(name).requires("write"));
        let policy = policy(rules)
            .rule(Rule::tool("tool_7*").requires("more"))
            .build()
            .unwrap();
        let looked_at = |name: &str| policy.rules_for(Some(name)).count();
        assert!(names.iter().all(|name| looked_at(name) == 2));
        let write = Scope::parse("write").unwrap();
        let seen = names
            .iter()
            .filter(|name| policy.may_see("tools/call", name, &write))
            .count();
        assert_eq!(seen, 10_000 - 1_111);
    }

    #[test]
    fn a_policy_that_makes_no_sense_is_refused() {
        let refused = |rule: Rule| policy([rule]).build().unwrap_err();
        assert_eq!(
            refused(Rule::tool("a").requires("b  c")),
            InvalidToolPolicy::Scope(InvalidScope)
        );
        assert_eq!(
            refused(Rule::tool("a").requires("offline_access")),
            InvalidToolPolicy::OfflineAccess
        );
        let unlisted = ToolPolicy::builder()
            .unlisted(Unlisted::Require("\"".to_owned()))
            .build();
        assert_eq!(unlisted.unwrap_err(), InvalidToolPolicy::Scope(InvalidScope));
        assert!(ToolPolicy::default().is_empty());
        assert!(!policy([Rule::tool("a").denied()]).build().unwrap().is_empty());
    }
}
