//! Moving over from the Python package: where its tables are, and what of them is called otherwise here.

use std::{collections::BTreeMap, fmt};

use mcp_authflow_types::Resource;

use super::{ConfigError, Reader, database::mask_password};

/// Moving over.
#[derive(Clone, Default)]
pub(crate) struct Import {
    /// The database whose tokens are honoured before they are copied; the URL may hold a password.
    pub(crate) read_through: Option<String>,
    /// What a token without a resource is for.
    pub(crate) default_resource: Option<Resource>,
    /// Resources that have another name here.
    pub(crate) resource_map: BTreeMap<String, String>,
    /// Clients that have another identifier here.
    pub(crate) client_map: BTreeMap<String, String>,
    /// Users that have an account here, or another subject.
    pub(crate) user_map: BTreeMap<String, String>,
}

impl fmt::Debug for Import {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Import")
            .field("read_through", &self.read_through.as_deref().map(mask_password))
            .field("default_resource", &self.default_resource)
            .field("resource_map", &self.resource_map)
            .field("client_map", &self.client_map)
            .field("user_map", &self.user_map)
            .finish()
    }
}

impl Import {
    pub(super) fn read(read: &mut Reader) -> Result<Self, ConfigError> {
        let read_through = read.with_secret("import.read_through", "", |text| {
            if text.is_empty() || text.starts_with("postgres://") || text.starts_with("postgresql://") {
                Ok(Some(text.to_owned()).filter(|text| !text.is_empty()))
            } else {
                Err("write the address of the old database, postgres://USER@HOST/NAME".to_owned())
            }
        })?;
        let default_resource = read.with("import.default_resource", "", |text| {
            Some(text)
                .filter(|text| !text.is_empty())
                .map(Resource::parse)
                .transpose()
                .map_err(|error| error.to_string())
        })?;
        Ok(Self {
            read_through,
            default_resource,
            resource_map: read.with("import.resource_map", "", pairs)?,
            client_map: read.with("import.client_map", "", pairs)?,
            user_map: read.with("import.user_map", "", pairs)?,
        })
    }
}

/// Reads `old=new,old=new`.
fn pairs(text: &str) -> Result<BTreeMap<String, String>, String> {
    text.split(',')
        .map(str::trim)
        .filter(|one| !one.is_empty())
        .map(pair)
        .collect()
}

/// Reads `old=new`.
pub(crate) fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((old, new)) if !old.is_empty() && !new.is_empty() => Ok((old.to_owned(), new.to_owned())),
        _ => Err("write the old name and the new one, as in OLD=NEW".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    #[test]
    fn a_map_is_a_list_of_pairs() {
        let map = pairs("7=alice, notes=https://rs.example/mcp?a=b").unwrap();
        assert_eq!(map["7"], "alice");
        assert_eq!(map["notes"], "https://rs.example/mcp?a=b");
        assert!(pairs("").unwrap().is_empty());
        for bad in ["7", "=x", "x=", "a=b,c"] {
            assert!(pairs(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_old_databases_password_is_not_shown() {
        let import = Import {
            read_through: Some("postgres://u:hunter2@h/d".to_owned()),
            ..Import::default()
        };
        assert!(!format!("{import:?}").contains("hunter2"));
    }
}
