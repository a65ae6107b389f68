//! The form for a device's code, and what was decided.

use http::StatusCode;
use serde::Serialize;

use super::{Account, Notice, OneLine, login::wait_in_words};

/// What the form shows. It posts `csrf`, `step=code` and `user_code` to `action`. A second form, "not you?", posts `csrf`
/// and `step=sign_out` there. A code that came with the address is filled in and never sent by itself (RFC 8628 §5.4).
#[derive(Debug, Clone, Serialize)]
pub(crate) struct DeviceCodeView {
    /// The path both forms post to.
    pub(crate) action: String,
    /// The token that binds the forms to this browser and this page.
    pub(crate) csrf: String,
    /// Who is signed in.
    pub(crate) account: Account,
    /// What is in the field: the code of the address, or what was typed; empty for none.
    pub(crate) user_code: OneLine,
    /// Whether the code came with the address, and the person is to compare it and not to type it.
    pub(crate) is_brought: bool,
    /// What was wrong with the last try.
    #[serde(skip)]
    pub(crate) problem: Option<DeviceCodeProblem>,
}

/// Why the form is shown again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DeviceCodeProblem {
    /// No device waits with this code; whether one ever did is not said.
    Unknown,
    /// Too many codes were tried.
    TooManyTries {
        /// When the next try is allowed.
        retry_after_seconds: u64,
    },
    /// The form was old, sent twice, or not ours.
    FormExpired,
}

impl DeviceCodeProblem {
    pub(super) const ALL: [Self; 3] = [
        Self::Unknown,
        Self::TooManyTries {
            retry_after_seconds: 300,
        },
        Self::FormExpired,
    ];

    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::Unknown => StatusCode::OK,
            Self::TooManyTries { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::FormExpired => StatusCode::FORBIDDEN,
        }
    }

    pub(super) fn retry_after(self) -> Option<u64> {
        match self {
            Self::TooManyTries { retry_after_seconds } => Some(retry_after_seconds),
            Self::Unknown | Self::FormExpired => None,
        }
    }

    pub(super) fn notice(self) -> Notice {
        let (text, fields): (_, &[_]) = match self {
            Self::Unknown => (
                "No device is waiting with that code. Check every letter, or start again on the device: codes last only \
                 a few minutes."
                    .to_owned(),
                &["user_code"],
            ),
            Self::TooManyTries { retry_after_seconds } => (
                format!(
                    "Too many codes have been tried. Wait {} and try again.",
                    wait_in_words(retry_after_seconds)
                ),
                &[],
            ),
            Self::FormExpired => (
                "This form was no longer valid, so nothing has been decided. Try again.".to_owned(),
                &[],
            ),
        };
        Notice { text, fields }
    }
}

/// What the last page says of a decision. It knows nothing of the device: whoever follows a link here learns nothing.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct DeviceDecidedView {
    /// Whether the device is connected.
    pub(crate) is_approved: bool,
}
