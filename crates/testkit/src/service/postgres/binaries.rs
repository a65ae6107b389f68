//! Where the PostgreSQL server's programs are: `PATH` first, then the versioned
//! folders of Debian, Red Hat and Homebrew, the newest version first.

use std::path::{Path, PathBuf};

/// The two programs that a private instance needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binaries {
    /// Makes the data folder.
    pub initdb: PathBuf,
    /// The server.
    pub postgres: PathBuf,
}

/// Parents of versioned folders, what a version's folder starts with, and where the
/// programs are inside it.
const VERSIONED: &[(&str, &str, &str)] = &[
    ("/usr/lib/postgresql", "", "bin"),
    ("/usr", "pgsql-", "bin"),
    ("/opt/homebrew/opt", "postgresql", "bin"),
    ("/usr/local/opt", "postgresql", "bin"),
    ("/usr/local", "pgsql", "bin"),
];

impl Binaries {
    /// Finds the programs of the newest PostgreSQL.
    ///
    /// # Errors
    /// Says what to install when there is none.
    pub fn find() -> anyhow::Result<Self> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path)
            .chain(versioned_folders(VERSIONED))
            .find_map(|folder| Self::inside(&folder))
            .ok_or_else(|| {
                anyhow::anyhow!(
                    "found no PostgreSQL server (initdb, postgres); install the package \
                     `postgresql`, or set TEST_DATABASE_URL to a server that tests may use"
                )
            })
    }

    fn inside(folder: &Path) -> Option<Self> {
        let (initdb, postgres) = (folder.join("initdb"), folder.join("postgres"));
        (initdb.is_file() && postgres.is_file()).then_some(Self { initdb, postgres })
    }
}

fn versioned_folders(places: &[(&str, &str, &str)]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for (parent, prefix, programs) in places {
        let Ok(entries) = std::fs::read_dir(parent) else {
            continue;
        };
        let mut versions: Vec<(u32, PathBuf)> = entries
            .filter_map(Result::ok)
            .filter_map(|entry| {
                let name = entry.file_name().into_string().ok()?;
                let version = name.strip_prefix(prefix)?.trim_start_matches(['@', '-']);
                Some((version.parse().unwrap_or(0), entry.path().join(programs)))
            })
            .collect();
        versions.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
        found.extend(versions.into_iter().map(|(_, folder)| folder));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_version_comes_first_by_number_and_not_by_letter() {
        let parent = tempfile::tempdir().unwrap();
        for version in ["9", "16", "15"] {
            std::fs::create_dir_all(parent.path().join(version).join("bin")).unwrap();
        }
        let places = [(parent.path().to_str().unwrap(), "", "bin")];
        let names: Vec<_> = versioned_folders(&places)
            .iter()
            .map(|folder| folder.parent().unwrap().file_name().unwrap().to_owned())
            .collect();
        assert_eq!(names, ["16", "15", "9"]);
    }
}
