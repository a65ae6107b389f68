//! Where state is kept, as the operator writes it: `memory:`, `sqlite:PATH` or `postgres://…`.

use std::{fmt, path::PathBuf};

/// Where state is kept.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Database {
    /// In this process, and gone with it.
    Memory,
    /// In one file.
    Sqlite(PathBuf),
    /// In PostgreSQL.
    Postgres {
        /// The connection URL; it may hold a password.
        url: String,
        /// The most connections this node holds.
        pool_size: u32,
        /// Whether statements are prepared under names.
        prepared_statements: bool,
    },
}

impl Database {
    /// Reads a URL.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text == "memory:" {
            return Ok(Self::Memory);
        }
        if let Some(path) = text.strip_prefix("sqlite:") {
            return if path.is_empty() {
                Err("name the file, as in sqlite:/var/lib/authflow/state.sqlite".to_owned())
            } else {
                Ok(Self::Sqlite(path.into()))
            };
        }
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            let url = text.to_owned();
            return Ok(Self::Postgres {
                url,
                pool_size: 8,
                prepared_statements: true,
            });
        }
        Err("a database is memory:, sqlite:PATH or postgres://USER@HOST/NAME".to_owned())
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("Memory"),
            Self::Sqlite(path) => f.debug_tuple("Sqlite").field(path).finish(),
            Self::Postgres {
                url,
                pool_size,
                prepared_statements,
            } => f
                .debug_struct("Postgres")
                .field("url", &mask_password(url))
                .field("pool_size", pool_size)
                .field("prepared_statements", prepared_statements)
                .finish(),
        }
    }
}

/// `postgres://user:…@host/db?password=…` with the passwords taken out. What is not understood is not shown at all.
pub(super) fn mask_password(url: &str) -> String {
    const MASK: &str = "***";
    let Some((scheme, rest)) = url.split_once("://") else {
        let is_harmless = url.is_empty() || url.starts_with("sqlite:") || url == "memory:";
        return if is_harmless { url } else { MASK }.to_owned();
    };
    let mut masked = format!("{scheme}://");
    // An `@` behind a password among the parameters: where one ends and the other begins cannot be told.
    let parameter = rest.to_ascii_lowercase().find("password=");
    if parameter.is_some_and(|parameter| rest[parameter..].contains('@')) {
        masked.push_str(MASK);
        return masked;
    }
    let mut rest = rest;
    // The last `@`: what stands before it may be part of a password.
    if let Some((userinfo, place)) = rest.rsplit_once('@')
        && let Some((user, _)) = userinfo.split_once(':')
    {
        masked.extend([user, ":", MASK, "@"]);
        rest = place;
    }
    for piece in rest.split_inclusive(['?', '&']) {
        let (parameter, end) = piece.split_at(piece.trim_end_matches(['?', '&']).len());
        match parameter.split_once('=') {
            Some((name, _)) if name.to_ascii_lowercase().ends_with("password") => {
                masked.extend([name, "=", MASK]);
            }
            _ => masked.push_str(parameter),
        }
        masked.push_str(end);
    }
    masked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_masked_wherever_it_stands() {
        for (url, shown) in [
            ("postgres://u:hunter2@h/d", "postgres://u:***@h/d"),
            ("postgres://u:hun@ter/2@h/d?a=b", "postgres://u:***@h/d?a=b"),
            (
                "postgres://u@h/d?password=hunter2",
                "postgres://u@h/d?password=***",
            ),
            (
                "postgres://h/d?user=u&password=hunter2&sslmode=require",
                "postgres://h/d?user=u&password=***&sslmode=require",
            ),
            (
                "postgres://u:hunter2@h/d?sslPassword=hunter2",
                "postgres://u:***@h/d?sslPassword=***",
            ),
            ("postgres://u@h:5432/d?password=hunter@2", "postgres://***"),
            (
                "postgres://h:5432/d?user=u&sslPassword=hunter@2",
                "postgres://***",
            ),
            ("postgres://u:hun?password=ter@h/d", "postgres://***"),
            ("u:hunter2@h/d", "***"),
            ("host=h password='hunter 2' user=u", "***"),
            ("postgres://u@h:5432/d", "postgres://u@h:5432/d"),
            ("sqlite:/var/lib/state.sqlite", "sqlite:/var/lib/state.sqlite"),
            ("memory:", "memory:"),
        ] {
            assert_eq!(mask_password(url), shown);
        }
    }
}
