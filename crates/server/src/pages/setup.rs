//! The form that makes the first account.

use http::StatusCode;
use serde::Serialize;

use super::Notice;

/// What the set-up form shows. It posts `csrf`, `username`, `password` and `password_again` to `action`.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct SetupView {
    /// The path and query the form posts to, the one-time token included.
    pub(crate) action: String,
    /// The token that binds the form to this browser.
    pub(crate) csrf: String,
    /// The name typed last; empty for none.
    pub(crate) username: String,
    /// What was wrong with the last try.
    #[serde(skip)]
    pub(crate) problem: Option<SetupProblem>,
}

/// Why the set-up form is shown again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SetupProblem {
    /// The name is empty, too long, or has characters that names may not have.
    UsernameUnusable,
    /// There is an account of this name already.
    UsernameTaken,
    /// Fewer than 12 characters.
    PasswordTooShort,
    /// More than 256 characters.
    PasswordTooLong,
    /// The two passwords differ.
    PasswordsDiffer,
    /// The form was old or not ours.
    FormExpired,
}

impl SetupProblem {
    pub(super) const ALL: [Self; 6] = [
        Self::UsernameUnusable,
        Self::UsernameTaken,
        Self::PasswordTooShort,
        Self::PasswordTooLong,
        Self::PasswordsDiffer,
        Self::FormExpired,
    ];

    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::FormExpired => StatusCode::FORBIDDEN,
            _ => StatusCode::OK,
        }
    }

    pub(super) fn notice(self) -> Notice {
        let (text, fields): (_, &[_]) = match self {
            Self::UsernameUnusable => (
                "Choose another username: letters, digits, dots, hyphens and underscores.",
                &["username"],
            ),
            Self::UsernameTaken => ("That username is taken. Choose another.", &["username"]),
            Self::PasswordTooShort => (
                "That password is too short. Use at least 12 characters.",
                &["password"],
            ),
            Self::PasswordTooLong => (
                "That password is too long. Use at most 256 characters.",
                &["password"],
            ),
            Self::PasswordsDiffer => (
                "The two passwords are not the same. Type both again.",
                &["password", "password_again"],
            ),
            Self::FormExpired => (
                "This form was no longer valid. Fill it in again; no account has been made.",
                &[],
            ),
        };
        Notice {
            text: text.to_owned(),
            fields,
        }
    }
}
