//! Which scope a tool needs: what the operator wrote, else what the tool's annotations say (MCP, *Tool annotations*).
//!
//! | the tool says | scope |
//! |---|---|
//! | `readOnlyHint: true` | `tools:read` |
//! | `destructiveHint: false` | `tools:write` |
//! | anything else, or nothing | `tools:destructive` |
//!
//! `tools:destructive` includes `tools:write`, and that `tools:read`. A tool that nobody has heard of needs the widest.
//!
//! # Security
//! Annotations are the MCP server's word about itself. Who does not trust it writes rules of their own.

use mcp_authflow::record::ScopeDescription;
use mcp_authflow_resource::{
    ScopeHierarchy, ToolPolicy,
    scope_hierarchy::InvalidHierarchy,
    tool::{InvalidToolPolicy, Rule, Unlisted},
};
use mcp_authflow_types::{Scope, ScopeToken, scope::InvalidScope};

use super::survey::{Found, Tool};
use crate::{config, pages::OneLine};

/// What a tool may do at most, by its own word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reach {
    /// It changes nothing.
    Read,
    /// It adds, and takes nothing away.
    Write,
    /// It may do anything.
    Destructive,
}

impl Reach {
    pub(crate) const ALL: [Self; 3] = [Self::Read, Self::Write, Self::Destructive];

    /// MCP: `readOnlyHint` is false unless said, `destructiveHint` true, and means nothing for tools that only read.
    pub(crate) fn of(tool: &Tool) -> Self {
        match (tool.read_only, tool.destructive) {
            (Some(true), _) => Self::Read,
            (_, Some(false)) => Self::Write,
            _ => Self::Destructive,
        }
    }

    pub(crate) const fn scope(self) -> &'static str {
        match self {
            Self::Read => "tools:read",
            Self::Write => "tools:write",
            Self::Destructive => "tools:destructive",
        }
    }

    const fn description(self) -> &'static str {
        match self {
            Self::Read => "Use tools that only read",
            Self::Write => "Use tools that add or change things",
            Self::Destructive => "Use tools that may delete or overwrite things, or do not say what they do",
        }
    }

    /// The next smaller one.
    const fn includes(self) -> Option<Self> {
        match self {
            Self::Read => None,
            Self::Write => Some(Self::Read),
            Self::Destructive => Some(Self::Write),
        }
    }
}

/// What can be allowed at the MCP server, and what each tool needs.
#[derive(Clone, Debug)]
pub(crate) struct Authority {
    /// What can be allowed, in the order in which it is shown; the base first, since it is what a client gets that asks
    /// for nothing.
    scopes: Vec<ScopeDescription>,
    /// Which of them stand for others as well.
    includes: Vec<(String, String)>,
    hierarchy: ScopeHierarchy,
    /// What every request needs.
    base: Scope,
    rules: Vec<config::ToolRule>,
}

/// Why the operator's scopes and rules do not fit together.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InvalidAuthority {
    /// A rule, or the base, asks for a scope that nobody can be given.
    #[error(
        "{place} asks for the scope {scope}, which is none: describe it in a [[protect.scope]], or write one of {known}"
    )]
    Unknown {
        /// Where it stands.
        place: String,
        /// The scope.
        scope: ScopeToken,
        /// Those that there are.
        known: String,
    },
    /// Scopes include each other.
    #[error("protect.scope: {0}")]
    Hierarchy(#[from] InvalidHierarchy),
    /// Cannot be: one of our own names is no scope.
    #[error(transparent)]
    Scope(#[from] InvalidScope),
}

fn rule_of(rule: &config::ToolRule) -> Rule {
    let mut made = Rule::tool(&rule.name);
    for (argument, pattern) in &rule.when {
        made = made.when_argument(argument, pattern.clone());
    }
    for (argument, pattern) in &rule.unless {
        made = made.unless_argument(argument, pattern.clone());
    }
    match &rule.scope {
        Some(scope) => made.requires(scope.to_string()),
        None => made.denied(),
    }
}

/// A star in a name would make its rule speak of others.
fn has_rule_of_its_own(tool: &Tool) -> bool {
    !tool.name.contains('*')
}

impl Authority {
    /// Puts the operator's scopes and rules beside what annotations say.
    pub(crate) fn new(config: &config::Protect) -> Result<Self, InvalidAuthority> {
        let mut scopes = Vec::new();
        let mut pairs = Vec::new();
        for reach in Reach::ALL {
            let token = ScopeToken::parse(reach.scope())?;
            scopes.push(ScopeDescription::new(token, reach.description()));
            if let Some(smaller) = reach.includes() {
                pairs.push((reach.scope().to_owned(), smaller.scope().to_owned()));
            }
        }
        for rule in &config.scopes {
            for included in &rule.includes {
                pairs.push((rule.name.to_string(), included.to_string()));
            }
            match scopes.iter_mut().find(|one| one.token == rule.name) {
                Some(there) => there.description.clone_from(&rule.description),
                None => scopes.push(ScopeDescription::new(rule.name.clone(), &*rule.description)),
            }
        }
        let mut asked = vec![("protect.base_scope".to_owned(), config.base_scope.clone())];
        for rule in &config.scopes {
            asked.push((
                format!("protect.scope \"{}\"", rule.name),
                rule.includes.iter().cloned().collect(),
            ));
        }
        for rule in &config.tools {
            asked.push((
                format!("protect.tool \"{}\"", rule.name),
                rule.scope.clone().unwrap_or_default(),
            ));
        }
        for (place, scope) in &asked {
            let is_unknown = |scope: &&ScopeToken| !scopes.iter().any(|one| one.token == **scope);
            if let Some(unknown) = scope.iter().find(is_unknown) {
                let known = scopes.iter().map(|one| one.token.to_string());
                return Err(InvalidAuthority::Unknown {
                    place: place.clone(),
                    scope: unknown.clone(),
                    known: known.collect::<Vec<_>>().join(", "),
                });
            }
        }
        let base = config.base_scope.clone();
        scopes.sort_by_key(|one| !base.contains(one.token.as_str()));
        Ok(Self {
            scopes,
            hierarchy: ScopeHierarchy::new(pairs.iter().map(|(broad, narrow)| (broad, narrow)))?,
            includes: pairs,
            base,
            rules: config.tools.clone(),
        })
    }

    /// What can be allowed, in words for the person who allows it, with the tools that need just that.
    pub(crate) fn described(&self, found: Option<&Found>) -> Vec<ScopeDescription> {
        let with_tools = |one: &ScopeDescription| {
            let tools = found.map(|found| &*found.tools).unwrap_or_default();
            let needs_it = |tool: &&Tool| {
                self.needs(tool)
                    .is_some_and(|scope| scope.to_string() == one.token.as_str())
            };
            let names = tools.iter().filter(needs_it).map(|tool| tool.name.clone());
            ScopeDescription {
                tools: names.collect(),
                ..one.clone()
            }
        };
        self.scopes.iter().map(with_tools).collect()
    }

    /// What every request needs.
    pub(crate) fn base(&self) -> &Scope {
        &self.base
    }

    /// What all calls of a tool need, the base apart: by the rules for its name, else by its annotations. Nothing: nobody
    /// may call it.
    pub(crate) fn needs(&self, tool: &Tool) -> Option<Scope> {
        let mut rules = self.unconditional(&tool.name).peekable();
        if rules.peek().is_none() {
            if !has_rule_of_its_own(tool) {
                return self.unlisted().ok()?;
            }
            return Scope::parse(Reach::of(tool).scope()).ok();
        }
        rules.try_fold(Scope::empty(), |all, rule| Some(all.union(rule.scope.as_ref()?)))
    }

    fn unconditional<'a>(&'a self, tool: &'a str) -> impl Iterator<Item = &'a config::ToolRule> {
        self.rules
            .iter()
            .filter(move |rule| rule.is_unconditional() && rule.is_for(tool))
    }

    /// What calls of a tool need that nobody has judged. Nothing: nobody may call it.
    fn unlisted(&self) -> Result<Option<Scope>, InvalidScope> {
        let mut conditional = self.rules.iter().filter(|rule| !rule.is_unconditional());
        let widest = Scope::parse(Reach::Destructive.scope())?;
        Ok(conditional.try_fold(widest, |all, rule| Some(all.union(rule.scope.as_ref()?))))
    }

    /// What calls of these tools need, beyond the base.
    ///
    /// # Security
    /// Each known tool has its own rule by its whole name, so that whatever has none is a tool that nobody has judged.
    /// Those need the widest scope, and more than that where a rule with conditions may be about them: it cannot be told
    /// before the tool is known.
    pub(crate) fn policy(
        &self,
        found: Option<&Found>,
        hides_forbidden: bool,
    ) -> Result<ToolPolicy, InvalidToolPolicy> {
        let mut rules: Vec<Rule> = self
            .rules
            .iter()
            .filter(|rule| rule.is_unconditional())
            .map(rule_of)
            .collect();
        let known = found
            .iter()
            .flat_map(|found| &found.tools)
            .filter(|tool| has_rule_of_its_own(tool));
        for tool in known {
            if self.unconditional(&tool.name).next().is_none() {
                rules.push(Rule::tool(&tool.name).requires(Reach::of(tool).scope()));
            }
            let conditional = self
                .rules
                .iter()
                .filter(|rule| !rule.is_unconditional() && rule.is_for(&tool.name));
            rules.extend(conditional.map(|rule| {
                let mut rule = rule.clone();
                rule.name.clone_from(&tool.name);
                rule_of(&rule)
            }));
        }
        ToolPolicy::builder()
            .rules(rules)
            .unlisted(
                self.unlisted()?
                    .map_or(Unlisted::Deny, |scope| Unlisted::Require(scope.to_string())),
            )
            .hide_forbidden_tools(hides_forbidden)
            .build()
    }

    /// What a first sign-in asks for: the base and, where that lets nobody call any tool, what the most modest tool
    /// needs. Everything beyond is asked for when it is needed.
    pub(crate) fn first(&self, found: Option<&Found>) -> Scope {
        let base = self.hierarchy.expand(&self.base);
        let tools = found.map(|found| &*found.tools).unwrap_or_default();
        let beyond = |scope: &Scope| {
            let all = self.hierarchy.expand(scope);
            all.iter().filter(|one| !base.contains(one.as_str())).count()
        };
        let most_modest = tools
            .iter()
            .filter_map(|tool| self.needs(tool))
            .min_by_key(beyond);
        match most_modest {
            Some(needed) if beyond(&needed) > 0 => self.base.union(&needed),
            _ => self.base.clone(),
        }
    }

    /// What is of use at all: the base, what the tools need that are there, and what the rules ask for.
    pub(crate) fn useful(&self, found: Option<&Found>) -> Scope {
        let Some(found) = found else {
            return self.scopes.iter().map(|one| one.token.clone()).collect();
        };
        let of_rules = self.rules.iter().filter_map(|rule| rule.scope.clone());
        let of_tools = found.tools.iter().filter_map(|tool| self.needs(tool));
        of_rules
            .chain(of_tools)
            .fold(self.base.clone(), |all, one| all.union(&one))
    }

    /// Pairs of a scope and one that it stands for as well.
    pub(crate) fn includes(&self) -> &[(String, String)] {
        &self.includes
    }

    /// A scope with all that it stands for.
    fn expand(&self, scope: &Scope) -> Scope {
        self.hierarchy.expand(scope)
    }

    /// The tools by what they need, for the terminal: a line for each scope.
    pub(crate) fn lines(&self, found: &Found) -> Vec<String> {
        let mut groups: Vec<(Option<Scope>, Vec<&str>)> = Vec::new();
        for tool in &found.tools {
            let needed = self.needs(tool);
            match groups.iter_mut().find(|(scope, _)| *scope == needed) {
                Some((_, names)) => names.push(&tool.name),
                None => groups.push((needed, vec![&tool.name])),
            }
        }
        groups.sort_by_key(|(scope, _)| {
            scope
                .as_ref()
                .map_or(usize::MAX, |scope| self.expand(scope).iter().len())
        });
        let words = |scope: &Option<Scope>| {
            scope
                .as_ref()
                .map_or_else(|| "nobody".to_owned(), ToString::to_string)
        };
        let width = groups
            .iter()
            .map(|(scope, _)| words(scope).len())
            .max()
            .unwrap_or(0);
        let mut lines = vec![match (&found.name, found.tools.len()) {
            (None, 1) => "1 tool".to_owned(),
            (None, count) => format!("{count} tools"),
            (Some(name), 1) => format!("{}, 1 tool", OneLine::name(name)),
            (Some(name), count) => format!("{}, {count} tools", OneLine::name(name)),
        }];
        lines.extend(groups.iter().map(|(scope, names)| {
            let scope = words(scope);
            let names = OneLine::long(&names.join(", "));
            format!("{scope:<width$}  {names}")
        }));
        lines
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use mcp_authflow_resource::JsonRpc;
    use mcp_authflow_resource::tool::{ArgumentPattern, Denied};

    use super::*;

    fn tool(name: &str, read_only: Option<bool>, destructive: Option<bool>) -> Tool {
        Tool {
            name: name.to_owned(),
            read_only,
            destructive,
        }
    }

    fn found(tools: &[Tool]) -> Found {
        Found {
            name: None,
            tools: tools.to_vec(),
        }
    }

    fn authority(rules: Vec<config::ToolRule>) -> Authority {
        let config = config::Protect {
            base_scope: Scope::parse("tools:read").unwrap(),
            tools: rules,
            ..config::Protect::default()
        };
        Authority::new(&config).unwrap()
    }

    fn rule(name: &str, scope: Option<&str>, when: &[(&str, &str)]) -> config::ToolRule {
        let pattern = |(name, value): &(&str, &str)| ((*name).to_owned(), ArgumentPattern::glob(value));
        config::ToolRule {
            name: name.to_owned(),
            scope: scope.map(|scope| Scope::parse(scope).unwrap()),
            when: when.iter().map(pattern).collect(),
            unless: Vec::new(),
        }
    }

    fn needed(policy: &ToolPolicy, name: &str) -> Result<String, Denied> {
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{name}","arguments":{{"table":"users"}}}}}}"#
        );
        let message = JsonRpc::parse(body.as_bytes()).unwrap();
        policy.required_for(&message).map(|scope| scope.to_string())
    }

    /// MCP, *Tool annotations*: the defaults are the worst, and a tool that only reads destroys nothing.
    #[test]
    fn a_tool_that_says_nothing_may_do_anything() {
        for (read_only, destructive, reach) in [
            (None, None, Reach::Destructive),
            (Some(false), None, Reach::Destructive),
            (None, Some(true), Reach::Destructive),
            (Some(false), Some(false), Reach::Write),
            (None, Some(false), Reach::Write),
            (Some(true), None, Reach::Read),
            (Some(true), Some(true), Reach::Read),
        ] {
            assert_eq!(
                Reach::of(&tool("t", read_only, destructive)),
                reach,
                "{read_only:?} {destructive:?}"
            );
        }
    }

    #[test]
    fn a_first_sign_in_asks_for_the_least_that_is_good_for_anything() {
        let authority = authority(Vec::new());
        let first = |tools: &[Tool]| authority.first(Some(&found(tools))).to_string();
        let (reads, writes, destroys) = (
            tool("r", Some(true), None),
            tool("w", None, Some(false)),
            tool("d", None, None),
        );
        assert_eq!(first(&[destroys.clone(), reads, writes.clone()]), "tools:read");
        assert_eq!(first(&[destroys.clone(), writes]), "tools:read tools:write");
        assert_eq!(first(&[destroys]), "tools:destructive tools:read");
        assert_eq!(first(&[]), "tools:read");
        assert_eq!(authority.first(None).to_string(), "tools:read");
    }

    #[test]
    fn what_nobody_has_judged_needs_the_widest_scope() {
        let widest = Ok("tools:destructive".to_owned());
        // Nothing is known yet; a tool is new; a tool's name would speak of others.
        let tools = found(&[tool("read", Some(true), None), tool("*", Some(true), None)]);
        let authority = authority(Vec::new());
        assert_eq!(needed(&authority.policy(None, false).unwrap(), "read"), widest);
        let policy = authority.policy(Some(&tools), false).unwrap();
        assert_eq!(needed(&policy, "read"), Ok("tools:read".to_owned()));
        for unheard_of in ["new", "READ", "read ", "*", "rea*"] {
            assert_eq!(needed(&policy, unheard_of), widest, "{unheard_of}");
        }
    }

    #[test]
    fn a_person_reads_the_names_of_the_tools_beside_what_a_scope_allows() {
        let mut authority = authority(Vec::new());
        "Write notes".clone_into(&mut authority.scopes[1].description);
        let mut tools: Vec<Tool> = (1..=8)
            .map(|number| tool(&format!("read_{number}"), Some(true), None))
            .collect();
        tools.push(tool("write", None, Some(false)));
        tools.push(tool("burn", None, None));
        let described = |found: Option<&Found>| -> Vec<(String, String)> {
            let described = authority.described(found);
            let in_words = |one: ScopeDescription| (one.description, one.tools.join(" "));
            described.into_iter().map(in_words).collect()
        };
        let words = [
            "Use tools that only read",
            "Write notes",
            "Use tools that may delete or overwrite things, or do not say what they do",
        ];
        let with = |names: [&str; 3]| -> Vec<(String, String)> {
            let pairs = words.iter().zip(names);
            pairs
                .map(|(words, names)| ((*words).to_owned(), names.to_owned()))
                .collect()
        };
        let reading = "read_1 read_2 read_3 read_4 read_5 read_6 read_7 read_8";
        assert_eq!(described(Some(&found(&tools))), with([reading, "write", "burn"]));
        assert_eq!(described(None), with(["", "", ""]));
        assert_eq!(described(Some(&found(&[]))), with(["", "", ""]));
    }

    /// The lines at the start, the consent and the policy say the same.
    #[test]
    fn a_tool_with_a_star_in_its_name_is_shown_as_it_is_enforced() {
        let star = tool("*", Some(true), None);
        let tools = found(std::slice::from_ref(&star));
        for (rules, expected) in [
            (vec![], Some("tools:destructive")),
            (vec![rule("*", Some("tools:write"), &[])], Some("tools:write")),
            (vec![rule("query", None, &[("table", "keys")])], None),
        ] {
            let authority = authority(rules);
            let shown = authority.needs(&star).map(|scope| scope.to_string());
            assert_eq!(shown.as_deref(), expected);
            let policy = authority.policy(Some(&tools), false).unwrap();
            assert_eq!(needed(&policy, "*").ok(), shown);
        }
    }

    /// A rule with conditions judges no tool: an unknown one that it may be about does not get in by it.
    #[test]
    fn a_rule_with_conditions_opens_nothing() {
        let tools = found(&[tool("query", Some(true), None)]);
        let narrow = authority(vec![rule("*", Some("tools:write"), &[("table", "users")])]);
        let policy = narrow.policy(Some(&tools), false).unwrap();
        assert_eq!(needed(&policy, "query"), Ok("tools:read tools:write".to_owned()));
        assert_eq!(
            needed(&policy, "new"),
            Ok("tools:destructive tools:write".to_owned())
        );
        let denying = authority(vec![rule("*", None, &[("table", "keys")])]);
        let policy = denying.policy(Some(&tools), false).unwrap();
        assert_eq!(needed(&policy, "query"), Ok("tools:read".to_owned()));
        assert!(needed(&policy, "new").is_err());
    }

    #[test]
    fn a_rule_without_conditions_stands_in_place_of_annotations() {
        let tools = found(&[tool("delete_all", Some(true), None), tool("list", None, None)]);
        let authority = authority(vec![
            rule("delete_*", Some("tools:destructive"), &[]),
            rule("list", Some("tools:read"), &[]),
            rule("off", None, &[]),
        ]);
        let policy = authority.policy(Some(&tools), false).unwrap();
        assert_eq!(needed(&policy, "delete_all"), Ok("tools:destructive".to_owned()));
        assert_eq!(needed(&policy, "list"), Ok("tools:read".to_owned()));
        assert!(needed(&policy, "off").is_err());
    }
}
