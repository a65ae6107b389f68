//! The two reviewed lists beside the vectors: classes of cases in which we answer otherwise, and why.
//!
//! `better.toml`: the vectors call what the seed did weak and leave open what would be better. `deliberate.toml`: the
//! vectors do not know of the difference. An entry names a class, never a case:
//!
//! ```toml
//! ["area/class"]
//! reason = "what we do instead, and why"
//! answers = ["error wrong_type", "value *"]   # what our answer may be, in the words of `compare::in_words`
//! apart_from = ["redis"]                      # the members that differ; all others must be as observed
//! ```
//!
//! With both, either will do.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::compare::{Members, fits, in_words, is_same};

/// One of the lists.
pub(super) struct Judged {
    classes: BTreeMap<String, Entry>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    reason: String,
    #[serde(default)]
    answers: Vec<String>,
    #[serde(default)]
    apart_from: Vec<String>,
}

impl Judged {
    /// Reads a list.
    ///
    /// # Errors
    /// A list that cannot be read, or an entry without a reason or without a bound on what it excuses.
    pub(super) fn read(path: &Path) -> Result<Self> {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(&text).with_context(|| path.display().to_string())
    }

    fn parse(text: &str) -> Result<Self> {
        let classes: BTreeMap<String, Entry> = toml::from_str(text)?;
        for (class, entry) in &classes {
            ensure!(!entry.reason.trim().is_empty(), "{class}: no reason");
            ensure!(
                !(entry.answers.is_empty() && entry.apart_from.is_empty()),
                "{class}: name answers or apart_from"
            );
        }
        Ok(Self { classes })
    }

    /// Whether the difference is one that the list names.
    pub(super) fn names(&self, class: &str, expected: &Value, got: &Value) -> bool {
        self.classes.get(class).is_some_and(|entry| {
            let words = in_words(got);
            entry.answers.iter().any(|pattern| fits(pattern, &words))
                || !entry.apart_from.is_empty()
                    && is_same(expected, got, Members::AllApartFrom(&entry.apart_from))
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_entry_excuses_what_it_names_and_nothing_else() {
        let list = Judged::parse(
            "[\"a/b\"]\nreason = \"r\"\nanswers = [\"error wrong_type\"]\n\
             [\"a/c\"]\nreason = \"r\"\napart_from = [\"redis\"]\nanswers = [\"error *\"]\n",
        )
        .unwrap();
        let refused = json!({"error": {"kind": "wrong_type"}});
        let expected = json!({"value": 1, "redis": []});
        assert!(list.names("a/b", &expected, &refused));
        assert!(!list.names("a/b", &expected, &json!({"value": 2})));
        assert!(list.names("a/c", &expected, &json!({"value": 1})));
        assert!(list.names("a/c", &expected, &refused));
        assert!(!list.names("a/c", &expected, &json!({"value": 2})));
        assert!(!list.names("a/d", &expected, &refused));
    }

    #[test]
    fn an_entry_without_a_reason_or_a_bound_is_refused() {
        for bad in [
            "[\"a/b\"]\nreason = \" \"\nanswers = [\"x\"]\n",
            "[\"a/b\"]\nreason = \"r\"\n",
            "[\"a/b\"]\nreason = \"r\"\ncases = [\"x\"]\n",
        ] {
            assert!(Judged::parse(bad).is_err(), "{bad}");
        }
    }
}
