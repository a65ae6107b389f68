//! What came of one question.

use std::fmt;

use crate::cli::output::{WIDTH, wrap};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Severity {
    /// As it should be.
    Good,
    /// Some clients will fail, or a limit does not count as meant.
    Warning,
    /// No client can sign in.
    Error,
}

/// What came of one question.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Finding {
    /// How bad it is.
    pub(crate) severity: Severity,
    /// What was asked.
    pub(crate) url: String,
    /// What is so, and what to do about it.
    pub(crate) text: String,
}

impl Finding {
    pub(super) fn good(url: &str, text: impl Into<String>) -> Self {
        Self::new(Severity::Good, url, text)
    }

    pub(super) fn warning(url: &str, text: impl Into<String>) -> Self {
        Self::new(Severity::Warning, url, text)
    }

    pub(super) fn error(url: &str, text: impl Into<String>) -> Self {
        Self::new(Severity::Error, url, text)
    }

    fn new(severity: Severity, url: &str, text: impl Into<String>) -> Self {
        Self {
            severity,
            url: url.to_owned(),
            text: text.into(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = match self.severity {
            Severity::Good => "ok     ",
            Severity::Warning => "warning",
            Severity::Error => "ERROR  ",
        };
        write!(f, "{mark}  {}", self.url)?;
        for line in wrap(&self.text, WIDTH - 9) {
            write!(f, "\n         {line}")?;
        }
        Ok(())
    }
}
