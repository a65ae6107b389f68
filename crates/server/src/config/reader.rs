//! Reads keys one by one: each read says type, default and range, and keeps a record for `config print`.

use std::{borrow::Cow, fmt, ops::RangeInclusive, str::FromStr, time::Duration};

use super::{
    database::mask_password,
    duration,
    layers::{Layers, Origin, without_value},
};

/// What is wrong with a configuration: the key, the value, the remedy.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {path}")]
    Unreadable {
        /// Which file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not TOML, or not what it should say.
    #[error("{place}: {message}")]
    Malformed {
        /// File, line and column.
        place: String,
        /// What is wrong, without the line: it may hold a password.
        message: String,
    },
    /// A key that nobody knows.
    #[error("unknown key `{key}` in {origin}{}", suggestion.as_ref().map(|known| format!(" (did you mean `{known}`?)")).unwrap_or_default())]
    Unknown {
        /// The key.
        key: String,
        /// Where it stands.
        origin: Origin,
        /// A known key of nearly that spelling.
        suggestion: Option<String>,
    },
    /// A value that the key cannot have.
    #[error("{key} = \"{value}\" ({origin}): {remedy}")]
    Wrong {
        /// The key.
        key: String,
        /// The value, or a mask.
        value: String,
        /// Where it stands.
        origin: Origin,
        /// What it should be.
        remedy: String,
    },
    /// Values that are not safe together.
    #[error("{0}")]
    Unsafe(String),
}

impl ConfigError {
    pub(super) fn incomplete(missing: &str, present: &str) -> Self {
        Self::Unsafe(format!("{present} is set and {missing} is not: they go together"))
    }
}

/// What stands for a secret.
pub(super) const MASK: &str = "***";

/// One key as it is in force.
#[derive(Clone, Debug)]
pub(crate) struct Effective {
    /// The dotted key.
    pub(crate) key: Cow<'static, str>,
    /// Its value, secrets masked.
    pub(crate) value: String,
    /// Whether `value` is written as TOML already, as tables and numbers are, and not a text.
    pub(crate) written: bool,
    /// Where it came from.
    pub(crate) origin: Origin,
}

pub(super) struct Reader {
    layers: Layers,
    effective: Vec<Effective>,
    /// The keys of lists of tables, whether or not there are any.
    lists: Vec<&'static str>,
}

impl Reader {
    pub(super) fn new(layers: Layers) -> Self {
        Self {
            layers,
            effective: Vec::new(),
            lists: Vec::new(),
        }
    }

    /// Takes a key's text out of the layers and notes it.
    fn take(
        &mut self,
        key: &'static str,
        default: &str,
        mask: fn(&str) -> String,
    ) -> Result<(String, Origin), ConfigError> {
        let (text, origin) = match self.layers.0.remove(key) {
            None => (default.to_owned(), Origin::Default),
            Some((toml::Value::String(text), origin)) => (text, origin),
            Some((toml::Value::Integer(number), origin)) => (number.to_string(), origin),
            Some((toml::Value::Boolean(flag), origin)) => (flag.to_string(), origin),
            Some((toml::Value::Array(items), origin)) => {
                let items: Vec<&str> = items.iter().filter_map(toml::Value::as_str).collect();
                (items.join(","), origin)
            }
            Some((value, origin)) => {
                return Err(ConfigError::Wrong {
                    key: key.to_owned(),
                    value: mask(&value.to_string()),
                    origin,
                    remedy: "write a text, a number, true or false".to_owned(),
                });
            }
        };
        self.effective.push(Effective {
            key: key.into(),
            value: mask(&text),
            written: false,
            origin: origin.clone(),
        });
        Ok((text, origin))
    }

    fn origin_of(&self, key: &str) -> Origin {
        self.effective
            .iter()
            .find(|one| one.key == key)
            .map_or(Origin::Default, |one| one.origin.clone())
    }

    /// Whether somebody set a key that was read.
    pub(super) fn is_set(&self, key: &str) -> bool {
        self.origin_of(key) != Origin::Default
    }

    pub(super) fn wrong(&self, key: &str, value: &str, remedy: &str) -> ConfigError {
        ConfigError::Wrong {
            key: key.to_owned(),
            value: value.to_owned(),
            origin: self.origin_of(key),
            remedy: remedy.to_owned(),
        }
    }

    pub(super) fn text(&mut self, key: &'static str, default: &str) -> Result<String, ConfigError> {
        Ok(self.take(key, default, str::to_owned)?.0)
    }

    /// A text that may be left out; empty counts as left out.
    pub(super) fn optional(&mut self, key: &'static str) -> Result<Option<String>, ConfigError> {
        Ok(Some(self.text(key, "")?).filter(|text| !text.is_empty()))
    }

    pub(super) fn with<T>(
        &mut self,
        key: &'static str,
        default: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<T, ConfigError> {
        let (text, _) = self.take(key, default, str::to_owned)?;
        parse(&text).map_err(|remedy| self.wrong(key, &text, &remedy))
    }

    /// A connection URL: its password is shown to nobody.
    pub(super) fn with_secret<T>(
        &mut self,
        key: &'static str,
        default: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<T, ConfigError> {
        let (text, _) = self.take(key, default, mask_password)?;
        parse(&text).map_err(|remedy| self.wrong(key, &mask_password(&text), &remedy))
    }

    /// An address whose query may hold a secret.
    pub(super) fn with_query_masked<T>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<T, ConfigError> {
        fn mask(text: &str) -> String {
            text.split_once('?')
                .map_or_else(|| text.to_owned(), |(before, _)| format!("{before}?{MASK}"))
        }
        let (text, _) = self.take(key, "", mask)?;
        parse(&text).map_err(|remedy| self.wrong(key, &mask(&text), &remedy))
    }

    /// A text that is nobody's to see, where it is set.
    pub(super) fn optional_secret(&mut self, key: &'static str) -> Result<Option<String>, ConfigError> {
        let mask = |text: &str| if text.is_empty() { "" } else { MASK }.to_owned();
        let (text, _) = self.take(key, "", mask)?;
        Ok(Some(text).filter(|text| !text.is_empty()))
    }

    pub(super) fn parsed<T: FromStr>(
        &mut self,
        key: &'static str,
        default: &str,
        remedy: &str,
    ) -> Result<T, ConfigError> {
        self.with(key, default, |text| {
            text.parse().map_err(|_| format!("write {remedy}"))
        })
    }

    pub(super) fn boolean(&mut self, key: &'static str, default: bool) -> Result<bool, ConfigError> {
        self.parsed(key, &default.to_string(), "true or false")
    }

    pub(super) fn integer(
        &mut self,
        key: &'static str,
        default: u32,
        range: RangeInclusive<u32>,
    ) -> Result<u32, ConfigError> {
        let remedy = format!("write a number between {} and {}", range.start(), range.end());
        self.with(key, &default.to_string(), |text| {
            text.parse()
                .ok()
                .filter(|number| range.contains(number))
                .ok_or(remedy)
        })
    }

    pub(super) fn duration(
        &mut self,
        key: &'static str,
        default: Duration,
        range: RangeInclusive<Duration>,
    ) -> Result<Duration, ConfigError> {
        let remedy = format!(
            "write a time between {} and {}, such as 60s, 10m, 12h or 90d",
            duration::print(*range.start()),
            duration::print(*range.end())
        );
        self.with(key, &duration::print(default), |text| {
            duration::parse(text)
                .filter(|duration| range.contains(duration))
                .ok_or(remedy)
        })
    }

    pub(super) fn one_of(
        &mut self,
        key: &'static str,
        default: &str,
        choices: &[&'static str],
    ) -> Result<&'static str, ConfigError> {
        self.with(key, default, |text| {
            choices
                .iter()
                .find(|choice| **choice == text)
                .copied()
                .ok_or_else(|| format!("write one of {}", choices.join(", ")))
        })
    }

    /// Tables of a list, `[[key]]` each, at most `most`. They stand in a file, in this shape and in no other.
    pub(super) fn tables<Table: serde::de::DeserializeOwned, T>(
        &mut self,
        key: &'static str,
        most: usize,
        read: impl Fn(Table) -> Result<T, String>,
    ) -> Result<Vec<T>, ConfigError> {
        self.lists.push(key);
        let Some((value, origin)) = self.layers.0.remove(key) else {
            return Ok(Vec::new());
        };
        let wrong = |place: String, remedy: String| ConfigError::Wrong {
            key: key.to_owned(),
            value: place,
            origin: origin.clone(),
            remedy,
        };
        let in_a_file = || {
            wrong(
                "…".to_owned(),
                format!("write [[{key}]] tables in the configuration file"),
            )
        };
        let toml::Value::Array(tables) = &value else {
            return Err(in_a_file());
        };
        if tables.len() > most {
            return Err(wrong("…".to_owned(), format!("write at most {most} tables")));
        }
        let mut all = Vec::with_capacity(tables.len());
        for (number, table) in tables.iter().enumerate() {
            let toml::Value::Table(table) = table else {
                return Err(in_a_file());
            };
            let name = table.get("name").and_then(toml::Value::as_str).map(str::to_owned);
            let place = || name.clone().unwrap_or_else(|| format!("table {}", number + 1));
            let table = Table::deserialize(toml::Value::Table(table.clone()))
                .map_err(|error| wrong(place(), without_value(error.message())))?;
            all.push(read(table).map_err(|remedy| wrong(place(), remedy))?);
        }
        self.effective.push(Effective {
            key: key.into(),
            value: value.to_string(),
            written: true,
            origin,
        });
        Ok(all)
    }

    /// What is left of a section, as one table: its keys are those of `T`, which knows their defaults and refuses others.
    /// Nothing when nobody set any.
    pub(super) fn section<T: serde::de::DeserializeOwned>(
        &mut self,
        name: &'static str,
    ) -> Result<Option<T>, ConfigError> {
        let prefix = format!("{name}.");
        let keys: Vec<String> = self
            .layers
            .0
            .keys()
            .filter(|key| key.starts_with(&prefix))
            .cloned()
            .collect();
        let Some(first) = keys.first() else {
            return Ok(None);
        };
        let mut origin = self.layers.0[first].1.clone();
        let mut table = toml::Table::new();
        for key in keys {
            let Some((value, from)) = self.layers.0.remove(&key) else {
                continue;
            };
            // A variable's text may be a number with a point.
            let value = match &value {
                toml::Value::String(text) => text.parse::<f64>().map_or(value, toml::Value::Float),
                _ => value,
            };
            // One key at a time, so that a mistake is told with its own name and place.
            let alone = toml::Table::from_iter([(key[prefix.len()..].to_owned(), value.clone())]);
            if let Err(error) = T::deserialize(toml::Value::Table(alone)) {
                return Err(ConfigError::Wrong {
                    key,
                    value: value.to_string(),
                    origin: from,
                    remedy: without_value(error.message()),
                });
            }
            table.insert(key[prefix.len()..].to_owned(), value.clone());
            origin = from.clone();
            self.effective.push(Effective {
                key: key.into(),
                value: value.to_string(),
                written: true,
                origin: from,
            });
        }
        let shown = toml::Value::Table(table.clone()).to_string();
        let read = T::deserialize(toml::Value::Table(table)).map_err(|error| ConfigError::Wrong {
            key: name.to_owned(),
            value: shown,
            origin,
            remedy: without_value(error.message()),
        })?;
        Ok(Some(read))
    }

    /// Ends the reading: whatever is left over is a key that nobody knows.
    pub(super) fn finish(self) -> Result<Vec<Effective>, ConfigError> {
        if let Some((key, (_, origin))) = self.layers.0.into_iter().next() {
            let known = self.effective.iter().map(|one| one.key.to_string());
            let lists = self.lists.iter().map(|list| format!("[[{list}]]"));
            let suggestion = match self
                .lists
                .iter()
                .find(|list| key.starts_with(&format!("{list}.")))
            {
                Some(list) => Some(format!("[[{list}]]")),
                None => known
                    .chain(lists)
                    .map(|known| (distance(&key, known.trim_matches(['[', ']'])), known))
                    .min()
                    .filter(|(distance, _)| *distance <= 2)
                    .map(|(_, known)| known),
            };
            return Err(ConfigError::Unknown {
                key,
                origin,
                suggestion,
            });
        }
        Ok(self.effective)
    }
}

impl fmt::Display for Effective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.written {
            write!(f, "{} = {}", self.key, self.value)
        } else {
            write!(f, "{} = {}", self.key, quoted(&self.value))
        }
    }
}

/// A text as TOML writes it.
fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for letter in text.chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            letter if letter.is_control() => quoted.extend(format!("\\u{:04X}", u32::from(letter)).chars()),
            letter => quoted.push(letter),
        }
    }
    quoted.push('"');
    quoted
}

/// The number of single-character edits between two keys.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, a) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
