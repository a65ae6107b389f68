//! `tests/differential.toml`: where the two servers may differ, and why.
//!
//! ```toml
//! [[difference]]
//! part = "status"
//! ours = "400"
//! theirs = "401"
//! cases = ["token: an unknown grant"]
//! because = "RFC 6749 §5.2 …"
//! ```

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    difference: Vec<Difference>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Difference {
    part: String,
    ours: String,
    theirs: String,
    cases: Vec<String>,
    because: String,
}

/// The list, and which of its lines have been needed.
#[derive(Debug)]
pub(super) struct Listed {
    differences: Vec<Difference>,
    seen: BTreeSet<(String, String)>,
}

impl Listed {
    pub(super) fn read(path: &Path) -> Result<Self> {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("in {}", path.display()))
    }

    pub(super) fn parse(text: &str) -> Result<Self> {
        let file: File = toml::from_str(text)?;
        for difference in &file.difference {
            ensure!(!difference.because.is_empty(), "a difference without a reason");
        }
        Ok(Self {
            differences: file.difference,
            seen: BTreeSet::new(),
        })
    }

    /// Why these two may differ in this.
    pub(super) fn reason(&mut self, case: &str, part: &str, ours: &str, theirs: &str) -> Option<String> {
        let found = self.differences.iter().find(|difference| {
            difference.part == part
                && difference.ours == ours
                && difference.theirs == theirs
                && difference.cases.iter().any(|name| name == case)
        })?;
        self.seen.insert((case.to_owned(), part.to_owned()));
        Some(found.because.clone())
    }

    /// Lines that no answer needed: the servers have changed, and the list should too.
    pub(super) fn never_seen(&self) -> Vec<String> {
        let lines = self.differences.iter().flat_map(|difference| {
            let part = &difference.part;
            difference
                .cases
                .iter()
                .map(move |case| (case.clone(), part.clone()))
        });
        lines
            .filter(|line| !self.seen.contains(line))
            .map(|(case, part)| format!("{case}: {part}"))
            .collect()
    }
}
