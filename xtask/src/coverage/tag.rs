//! Tests and the rows that their doc comments name.

use std::fmt;
use std::path::Path;

use anyhow::{Context, Result};

/// Functions here are laws that the adapters' own tests run.
const LAWS: &str = "crates/testkit/src/";

/// A test of the workspace.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Test {
    /// Below the workspace's folder.
    file: String,
    name: String,
    /// Of every table.
    pub(super) rows: Vec<String>,
}

impl Test {
    /// The rows of the table whose numbers begin so.
    pub(super) fn rows_of<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a String> {
        self.rows.iter().filter(move |row| row.starts_with(kind))
    }
}

impl fmt::Display for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}::{}", self.file, self.name)
    }
}

/// Holds sources in texts, which are no tests of the workspace.
const SAMPLES: &str = "xtask/src/coverage/tag.rs";

/// Reads every source file below `folder`.
pub(super) fn collect(root: &Path, folder: &Path, tests: &mut Vec<Test>) -> Result<()> {
    let entries =
        std::fs::read_dir(folder).with_context(|| format!("cannot read the folder {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        let is_hidden = path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if path.is_dir() && !is_hidden && !path.ends_with("target") {
            collect(root, &path, tests)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text =
                std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let file = path.strip_prefix(root)?.to_string_lossy().into_owned();
            if file != SAMPLES {
                tests.extend(tests_in(&file, &text));
            }
        }
    }
    Ok(())
}

/// The tests of one file: functions under an attribute that ends in `test`, and the laws.
fn tests_in(file: &str, text: &str) -> Vec<Test> {
    let mut tests = Vec::new();
    let mut rows = Vec::new();
    let mut is_test = false;
    for line in text.lines().map(str::trim) {
        if let Some(doc) = line.strip_prefix("///") {
            rows.extend(rows_in(doc.trim_start()));
        } else if let Some(attribute) = line.strip_prefix("#[") {
            let path = attribute.split(['(', ']']).next().unwrap_or_default();
            is_test |= path.rsplit("::").next() == Some("test");
        } else if let Some(name) = function(line) {
            if is_test || file.starts_with(LAWS) {
                tests.push(Test {
                    file: file.to_owned(),
                    name: name.to_owned(),
                    rows: std::mem::take(&mut rows),
                });
            }
            rows.clear();
            is_test = false;
        } else if !line.is_empty() && !is_in_attribute(line) {
            rows.clear();
            is_test = false;
        }
    }
    tests
}

/// `S-041`, `S-041, M-042`, `M-041: what it is about`; a number in the middle of a sentence is no claim. Other tags, such
/// as `CR-02`, `RU-02 to RU-16` and `P5`, may stand before it.
fn rows_in(doc: &str) -> Vec<String> {
    let mut rows = Vec::new();
    for word in doc.split([' ', ',', ';']).filter(|word| !word.is_empty()) {
        let word = word.trim_end_matches([':', '.']);
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let is_row = ["S-", "M-"].iter().any(|kind| {
            word.strip_prefix(kind)
                .is_some_and(|number| number.len() == 3 && is_number(number))
        });
        let is_other_tag = word == "to"
            || word.strip_prefix('P').is_some_and(is_number)
            || word
                .split_once('-')
                .is_some_and(|(area, number)| area.len() <= 3 && is_number(number));
        if is_row {
            rows.push(word.to_owned());
        } else if !is_other_tag {
            break;
        }
    }
    rows
}

/// The name, when the line begins a function.
fn function(line: &str) -> Option<&str> {
    let mut rest = line;
    for word in ["pub(crate) ", "pub(super) ", "pub ", "const ", "async "] {
        rest = rest.strip_prefix(word).unwrap_or(rest);
    }
    let rest = rest.strip_prefix("fn ")?;
    Some(&rest[..rest.find(['(', '<'])?])
}

/// The later lines of an attribute that is longer than one.
fn is_in_attribute(line: &str) -> bool {
    line.ends_with(',') || line == ")]" || line.starts_with("reason =")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_is_tagged_by_the_doc_comment_right_above_it() {
        let text = "
            /// S-001
            /// CR-02 to CR-04, P5, S-002; M-003: the origin
            #[tokio::test(flavor = \"multi_thread\")]
            async fn tagged() {}

            /// S-003
            fn no_test() {}

            #[test]
            fn untagged() {}

            /// S-004
            const X: u8 = 1;
            #[test]
            fn below_something_else() {}

            /// What S-005 says is not shown here.
            #[test]
            fn mentioned() {}
        ";
        let found: Vec<(String, Vec<String>)> = tests_in("f.rs", text)
            .into_iter()
            .map(|test| (test.name, test.rows))
            .collect();
        let row = |rows: &[&str]| rows.iter().map(|row| (*row).to_owned()).collect::<Vec<_>>();
        assert_eq!(
            found,
            [
                ("tagged".to_owned(), row(&["S-001", "S-002", "M-003"])),
                ("untagged".to_owned(), row(&[])),
                ("below_something_else".to_owned(), row(&[])),
                ("mentioned".to_owned(), row(&[])),
            ]
        );
    }

    #[test]
    fn a_law_of_the_testkit_needs_no_attribute() {
        let text = "/// S-174\npub async fn a_law(store: &dyn Store) {}\n";
        assert_eq!(tests_in("crates/testkit/src/contract/x.rs", text).len(), 1);
        assert_eq!(tests_in("crates/types/src/x.rs", text).len(), 0);
    }
}
