//! What the table's file says, checked.

use std::{collections::BTreeSet, path::Path};

use mcp_authflow::client::known::{AddressPattern, KnownClient, KnownClients, Leniency};
use mcp_authflow_types::RedirectUri;

use super::Switches;
use crate::config::{ConfigError, malformed};

/// The table that is built in.
const BUILT_IN: &str = include_str!("../../known-clients.toml");

/// All entries, by name in the order of the file, and the rules that they name.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Table {
    #[serde(default)]
    rule: Vec<Rule>,
    #[serde(default)]
    client: Vec<Entry>,
}

/// A way of this server that holds for every client.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    name: String,
    text: String,
}

/// One known client.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entry {
    /// What switches and the log call it.
    pub(crate) name: String,
    /// What people call it.
    pub(crate) title: String,
    /// How we know.
    pub(crate) from: KnownFrom,
    /// When that was, a date.
    pub(crate) seen: String,
    /// Where its answers go.
    #[serde(default)]
    pub(crate) callbacks: Vec<String>,
    /// How it introduces itself.
    #[serde(default)]
    pub(crate) registers: String,
    /// How it authenticates at the token endpoint.
    #[serde(default)]
    pub(crate) authenticates: String,
    /// What is peculiar in its requests.
    #[serde(default)]
    pub(crate) sends: String,
    /// The rules for everyone that make it work.
    #[serde(default)]
    pub(crate) rules: Vec<String>,
    /// What it needs beyond them.
    #[serde(default)]
    leniencies: Vec<String>,
    /// Redirect URIs that it uses without having registered them.
    #[serde(default)]
    pub(crate) also_redirects_to: Vec<String>,
    /// Whether it connects with the defaults.
    #[serde(default)]
    pub(crate) works: String,
    /// What an operator has to do or know.
    #[serde(default)]
    pub(crate) needs: String,
    /// Where it is told.
    #[serde(default)]
    pub(crate) evidence: Vec<String>,
    /// What nobody else can have.
    #[serde(default)]
    pub(crate) proof: Proof,
    /// What anybody can say.
    #[serde(default)]
    pub(crate) claim: Claim,
}

/// How an entry is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum KnownFrom {
    /// Its published code was read.
    Code,
    /// Its maker's documentation, and reports of others.
    Description,
    /// Its traffic was recorded.
    Recording,
}

impl KnownFrom {
    /// The word in the table.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Code => "code",
            Self::Description => "description",
            Self::Recording => "recording",
        }
    }
}

/// What proves that a client is the one. Leniencies hang on this alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Proof {
    /// Addresses of its metadata documents.
    pub(crate) client_ids: Vec<String>,
    /// https addresses of its maker.
    pub(crate) redirect_uris: Vec<String>,
}

/// What a client says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Claim {
    /// Names that it registers.
    pub(crate) client_names: Vec<String>,
    /// Redirect URIs that anybody can register.
    pub(crate) redirect_uris: Vec<String>,
}

impl Table {
    /// The built-in table.
    pub(crate) fn built_in() -> Result<Self, ConfigError> {
        Self::parse(BUILT_IN, Path::new("known-clients.toml"), &Self::default())
    }

    /// The table with the entries of a file: in the place of those of the same name, or behind the others.
    pub(crate) fn extended_by(mut self, path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable {
            path: path.display().to_string(),
            source,
        })?;
        let Self { rule, client } = Self::parse(&text, path, &self)?;
        self.rule.extend(rule);
        for entry in client {
            match self.client.iter_mut().find(|known| known.name == entry.name) {
                Some(known) => *known = entry,
                None => self.client.push(entry),
            }
        }
        Ok(self)
    }

    fn parse(text: &str, path: &Path, beneath: &Self) -> Result<Self, ConfigError> {
        let table: Self = toml::from_str(text).map_err(|error| malformed(text, path, &error))?;
        let rules: BTreeSet<&str> = beneath
            .rule
            .iter()
            .chain(&table.rule)
            .map(|rule| &*rule.name)
            .collect();
        let mut names = BTreeSet::new();
        for entry in &table.client {
            let problem = if names.insert(&entry.name) {
                entry.check(&rules).err()
            } else {
                Some("it is there twice".to_owned())
            };
            if let Some(message) = problem {
                return Err(ConfigError::Malformed {
                    place: format!("{}: client \"{}\"", path.display(), entry.name),
                    message,
                });
            }
        }
        Ok(table)
    }

    /// The entries.
    pub(crate) fn entries(&self) -> &[Entry] {
        &self.client
    }

    /// The entry of that name.
    pub(crate) fn entry(&self, name: &str) -> Option<&Entry> {
        self.client.iter().find(|entry| entry.name == name)
    }

    /// What a rule says.
    pub(crate) fn rule<'a>(&'a self, name: &'a str) -> &'a str {
        let rule = self.rule.iter().find(|rule| rule.name == name);
        rule.map_or(name, |rule| &rule.text)
    }

    /// The rules with their names.
    pub(crate) fn rules(&self) -> impl Iterator<Item = (&str, &str)> {
        self.rule.iter().map(|rule| (&*rule.name, &*rule.text))
    }

    /// What the protocol asks of the table.
    pub(crate) fn known_clients(&self, switches: &Switches) -> KnownClients {
        self.client
            .iter()
            .map(|entry| entry.known_client(switches))
            .collect()
    }
}

impl Entry {
    /// What it needs beyond the rules; names that mean nothing were refused when it was read.
    pub(crate) fn leniencies(&self) -> impl Iterator<Item = Leniency> {
        self.leniencies.iter().filter_map(|name| Leniency::parse(name))
    }

    fn known_client(&self, switches: &Switches) -> KnownClient {
        let patterns = |texts: &[String]| {
            texts
                .iter()
                .filter_map(|text| AddressPattern::parse(text))
                .collect()
        };
        KnownClient {
            name: (*self.name).into(),
            client_ids: patterns(&self.proof.client_ids),
            redirect_uris: patterns(&self.proof.redirect_uris),
            also_redirects_to: self
                .also_redirects_to
                .iter()
                .filter_map(|uri| RedirectUri::parse(uri).ok())
                .collect(),
            leniencies: self
                .leniencies()
                .filter(|leniency| switches.are_on(&self.name, *leniency))
                .collect(),
        }
    }

    /// Whether everything in it means something.
    fn check(&self, rules: &BTreeSet<&str>) -> Result<(), String> {
        let is_name = |text: &str| {
            !text.is_empty()
                && text.len() <= 64
                && text
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        };
        if !is_name(&self.name) {
            return Err("a name has 1 to 64 of the characters a-z 0-9 -".to_owned());
        }
        for (what, patterns) in [
            ("proof.client_ids", &self.proof.client_ids),
            ("proof.redirect_uris", &self.proof.redirect_uris),
        ] {
            if let Some(bad) = patterns.iter().find(|text| AddressPattern::parse(text).is_none()) {
                return Err(format!(
                    "{what}: {bad} is no https address, with {{id}} for one path segment or without"
                ));
            }
        }
        if let Some(bad) = self
            .also_redirects_to
            .iter()
            .find(|uri| RedirectUri::parse(uri).is_err())
        {
            return Err(format!("also_redirects_to: {bad} is no redirect URI"));
        }
        if let Some(bad) = self
            .leniencies
            .iter()
            .find(|name| Leniency::parse(name).is_none())
        {
            let all: Vec<&str> = Leniency::ALL.into_iter().map(Leniency::as_str).collect();
            return Err(format!("leniencies: {bad} is none of {}", all.join(", ")));
        }
        let proves_nothing = self.proof.client_ids.is_empty() && self.proof.redirect_uris.is_empty();
        if proves_nothing && !self.leniencies.is_empty() {
            return Err("a leniency needs a proof: what a client says of itself opens nothing".to_owned());
        }
        if let Some(bad) = self.rules.iter().find(|name| !rules.contains(&***name)) {
            return Err(format!("rules: {bad} is not in the table"));
        }
        if self.seen.len() != 10 || self.seen.parse::<jiff::civil::Date>().is_err() {
            return Err("seen is a date such as 2026-11-23".to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    #[test]
    fn the_built_in_table_is_in_order_and_says_where_it_is_from() {
        let table = Table::built_in().unwrap();
        assert!(table.entries().len() >= 12);
        for entry in table.entries() {
            assert!(
                !entry.evidence.is_empty() && !entry.rules.is_empty(),
                "{}",
                entry.name
            );
            assert!(
                entry.evidence.iter().all(|link| link.starts_with("https://")),
                "{}",
                entry.name
            );
            for text in [
                &entry.registers,
                &entry.authenticates,
                &entry.sends,
                &entry.works,
                &entry.needs,
            ] {
                assert!(!text.is_empty(), "{}", entry.name);
            }
        }
        // A rule that nobody names is a rule that nobody needs here.
        for (rule, _) in table.rules() {
            let is_named = table
                .entries()
                .iter()
                .any(|entry| entry.rules.iter().any(|name| name == rule));
            assert!(is_named, "{rule}");
        }
    }

    fn read(text: &str) -> Result<Table, String> {
        Table::parse(text, Path::new("mine.toml"), &Table::built_in().unwrap())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn what_means_nothing_is_refused_with_its_place() {
        let entry = |rest: &str| {
            read(&format!(
                "[[client]]\nname = \"mine\"\ntitle = \"Mine\"\nfrom = \"code\"\nseen = \"2026-11-23\"\n{rest}"
            ))
        };
        assert!(entry("").is_ok());
        for (rest, said) in [
            ("leniencies = [\"loopback-path\"]", "a leniency needs a proof"),
            (
                "leniencies = [\"everything\"]",
                "everything is none of loopback-path",
            ),
            ("rules = [\"no-such-rule\"]", "no-such-rule is not in the table"),
            ("also_redirects_to = [\"javascript:x\"]", "is no redirect URI"),
            (
                "[client.proof]\nclient_ids = [\"https://{id}/\"]",
                "is no https address",
            ),
            (
                "[client.proof]\nredirect_uris = [\"http://127.0.0.1/\"]",
                "is no https address",
            ),
            ("[client.claim]\nsoftware = [\"x\"]", "unknown field `software`"),
        ] {
            let problem = entry(rest).unwrap_err();
            assert!(
                problem.starts_with("mine.toml") && problem.contains(said),
                "{problem}"
            );
        }
    }
}
