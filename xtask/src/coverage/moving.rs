//! The page *Coming from the Python packages*: every public name there leads to something that exists here.

#![cfg(test)]

use std::collections::BTreeMap;
use std::path::Path;

use regex::Regex;

use super::read_toml;
use crate::workspace;

#[derive(serde::Deserialize)]
struct Names {
    root: Vec<String>,
    submodules: Vec<String>,
    resource_root: Vec<String>,
    resource_submodules: Vec<String>,
}

fn names() -> Names {
    read_toml(&workspace::root().join("tests/vectors/public_names.toml")).unwrap()
}

/// Name there → path here, of every row of the page's tables.
fn page() -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(workspace::root().join("docs/coming-from-python.md")).unwrap();
    let row = Regex::new(r"(?m)^\| `([A-Za-z0-9_.]+)` \| `([a-z_]+(?:::\w+)+)` \|").unwrap();
    row.captures_iter(&text)
        .map(|found| (found[1].to_owned(), found[2].to_owned()))
        .collect()
}

/// Everything that stands in the sources of a crate, by the crate's name in paths.
fn sources(krate: &str) -> String {
    fn read(folder: &Path, text: &mut String) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                read(&path, text);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                text.push_str(&std::fs::read_to_string(path).unwrap());
            }
        }
    }
    let room = match krate {
        "mcp_authflow" => "authflow",
        _ => krate.strip_prefix("mcp_authflow_").unwrap(),
    };
    let mut text = String::new();
    read(
        &workspace::root().join("crates").join(room).join("src"),
        &mut text,
    );
    text
}

/// A public item, a variant, a field, or a line of a macro that makes one of them.
fn is_defined(name: &str, sources: &str) -> bool {
    let name = regex::escape(name);
    let pattern = format!(
        r"(?m)\bpub (?:const |async )*(?:fn|struct|enum|trait|type|const|mod) {name}\b|^ +(?:pub )?{name}(?:,|\(| \{{|:| = )|^ +async fn {name}\b"
    );
    Regex::new(&pattern).unwrap().is_match(sources)
}

fn all_lead_on(names: &[String]) {
    let page = page();
    let mut known: BTreeMap<String, String> = BTreeMap::new();
    for name in names {
        let path = page
            .get(name)
            .unwrap_or_else(|| panic!("docs/coming-from-python.md has no row for {name}"));
        let mut parts = path.split("::");
        let krate = parts.next().unwrap();
        let sources = known.entry(krate.to_owned()).or_insert_with(|| sources(krate));
        for part in parts {
            assert!(is_defined(part, sources), "{name}: there is no {part} of {path}");
        }
    }
}

/// S-010
#[test]
fn every_public_name_leads_to_an_item_that_exists() {
    let names = names();
    assert!(names.root.len() > 60);
    all_lead_on(&names.root);
}

/// S-011
#[test]
fn every_name_in_a_submodule_does_too() {
    all_lead_on(&names().submodules);
}

/// S-012
#[test]
fn every_public_name_of_the_resource_side_leads_to_an_item_that_exists() {
    let names = names();
    assert_eq!(names.resource_root.len(), 12);
    all_lead_on(&names.resource_root);
}

/// S-013
#[test]
fn every_name_in_a_submodule_of_the_resource_side_does_too() {
    let names = names();
    assert!(names.resource_submodules.len() > 20);
    all_lead_on(&names.resource_submodules);
}

#[test]
fn an_item_that_is_gone_is_noticed() {
    let sources = "pub fn there() {}\n    Variant,\n    pub field: u8,\nfn private() {}\n";
    for name in ["there", "Variant", "field"] {
        assert!(is_defined(name, sources), "{name}");
    }
    for name in ["gone", "private", "ther"] {
        assert!(!is_defined(name, sources), "{name}");
    }
}
