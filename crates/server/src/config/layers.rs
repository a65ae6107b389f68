//! The layers of configuration, flattened to dotted keys, each value with its origin.

use std::{collections::BTreeMap, fmt, path::Path};

use super::ConfigError;

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Nobody set it.
    Default,
    /// A file.
    File(String),
    /// An environment variable.
    Environment(String),
    /// A flag.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => f.write_str(path),
            Self::Environment(name) => write!(f, "the environment variable {name}"),
            Self::Flag(name) => write!(f, "the flag --{name}"),
        }
    }
}

/// Values by dotted key; later layers replace earlier ones.
#[derive(Default)]
pub(crate) struct Layers(pub(super) BTreeMap<String, (toml::Value, Origin)>);

/// Variables that the ecosystem spells in its own way.
const FOREIGN_SPELLINGS: [(&str, &str); 3] = [
    ("DATABASE_URL", "database_url"),
    ("REDIS_URL", "redis.url"),
    ("ALLOWED_MCP_ORIGINS", "cors.allowed_origins"),
];
const PREFIX: &str = "AUTHFLOW_";

impl Layers {
    pub(super) fn add_file(&mut self, path: &Path) -> Result<(), ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable {
            path: path.display().to_string(),
            source,
        })?;
        self.add_text(&text, path)
    }

    pub(super) fn add_text(&mut self, text: &str, path: &Path) -> Result<(), ConfigError> {
        let table: toml::Table = toml::from_str(text).map_err(|error| malformed(text, path, &error))?;
        let origin = Origin::File(path.display().to_string());
        self.add_table("", table, &origin);
        Ok(())
    }

    fn add_table(&mut self, prefix: &str, table: toml::Table, origin: &Origin) {
        for (name, value) in table {
            let key = if prefix.is_empty() {
                name
            } else {
                format!("{prefix}.{name}")
            };
            match value {
                toml::Value::Table(table) => self.add_table(&key, table, origin),
                value => {
                    self.0.insert(key, (value, origin.clone()));
                }
            }
        }
    }

    /// Takes `AUTHFLOW_<KEY>` and `AUTHFLOW_<SECTION>__<KEY>`, and what the ecosystem spells otherwise.
    pub(super) fn add_environment(&mut self, variables: impl Iterator<Item = (String, String)>) {
        let mut ours = Vec::new();
        for (name, value) in variables {
            let foreign = FOREIGN_SPELLINGS.iter().find(|(foreign, _)| *foreign == name);
            if let Some((_, key)) = foreign {
                self.0
                    .insert((*key).to_owned(), (value.into(), Origin::Environment(name)));
            } else if let Some(key) = name.strip_prefix(PREFIX) {
                let key = key.to_ascii_lowercase().replace("__", ".");
                ours.push((key, value, name));
            }
        }
        // Ours win over the ecosystem's.
        for (key, value, name) in ours {
            self.0.insert(key, (typed(&value), Origin::Environment(name)));
        }
    }

    pub(super) fn add_flag(&mut self, key: &'static str, value: &str) {
        let name = key.strip_prefix("protect.").unwrap_or(key);
        let origin = Origin::Flag(name.replace(['_', '.'], "-"));
        self.0.insert(key.to_owned(), (typed(value), origin));
    }
}

/// Says where a file is malformed, and how, without its words: the line may hold a password.
pub(crate) fn malformed(text: &str, path: &Path, error: &toml::de::Error) -> ConfigError {
    let before = error.span().and_then(|span| text.get(..span.start));
    let place = before.map_or_else(String::new, |before| {
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().map_or(0, |line| line.chars().count()) + 1;
        format!(":{line}:{column}")
    });
    ConfigError::Malformed {
        place: format!("{}{place}", path.display()),
        message: without_value(error.message()),
    }
}

/// ``invalid type: integer `7`, expected a string`` without the 7.
pub(super) fn without_value(message: &str) -> String {
    let names_a_value = message.starts_with("invalid type: ") || message.starts_with("invalid value: ");
    match message.rsplit_once(", expected ") {
        Some((found, expected)) if names_a_value => {
            let kind = found.split(['`', '"']).next().unwrap_or_default();
            format!("{}, expected {expected}", kind.trim_end())
        }
        _ => message.to_owned(),
    }
}

/// A variable's text as the TOML value it would be, where it is one; else as text.
fn typed(text: &str) -> toml::Value {
    match text {
        "true" => true.into(),
        "false" => false.into(),
        text => text
            .parse::<i64>()
            .map_or_else(|_| text.into(), toml::Value::from),
    }
}
