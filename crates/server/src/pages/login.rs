//! The sign-in form.

use http::StatusCode;
use serde::Serialize;

use super::destination::Destination;
use super::{Notice, OneLine};

/// What the sign-in form shows. It posts `csrf`, `step=login`, `username` and `password` to `action`.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct LoginView {
    /// The path the form posts to, `/ui/interaction/{id}` below the issuer's path.
    pub(crate) action: String,
    /// The token that binds the form to this browser and this request.
    pub(crate) csrf: String,
    /// Who asks; nobody yet when a device's code is still to be typed.
    pub(crate) application: Option<Application>,
    /// Whether the person signs in to look at the account itself, and nobody asks for anything.
    pub(crate) is_for_account: bool,
    /// The redirect URI of the request; none when a device waits for the answer.
    pub(crate) destination: Option<Destination>,
    /// The name typed last, or a hint; empty for none.
    pub(crate) username: String,
    /// What was wrong with the last try.
    #[serde(skip)]
    pub(crate) problem: Option<LoginProblem>,
}

/// A client as a person should see it: what is known of it, and apart from that what it says of itself.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Application {
    /// What this server knows, and how.
    pub(crate) identity: Identity,
    /// The name the client gave itself, if any; shown small and as its own claim.
    pub(crate) claimed_name: Option<OneLine>,
    /// The client's identifier.
    pub(crate) client_id: OneLine,
    /// Where this server keeps the picture that the client names, where somebody vouches for the client.
    pub(crate) logo: Option<String>,
}

/// Who vouches for a client (M-171, CD-12).
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "by", rename_all = "snake_case")]
pub(crate) enum Identity {
    /// The operator entered it by hand and gave it this name.
    Operator {
        /// The operator's name for it.
        name: OneLine,
    },
    /// Its identifier is an https address, and the document there was fetched from this host.
    MetadataDocument {
        /// The host of the identifier.
        host: OneLine,
    },
    /// It registered itself; nobody looked.
    SelfRegistered {
        /// How long ago, if known; within a day the page warns.
        seconds_ago: Option<u64>,
    },
}

/// Why the sign-in form is shown again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LoginProblem {
    /// Name or password do not fit; which of them is not said, nor whether the account exists.
    WrongCredentials,
    /// Too many tries for this account or from this address.
    TooManyTries {
        /// When the next try is allowed.
        retry_after_seconds: u64,
    },
    /// The form was old, sent twice, or not ours.
    FormExpired,
    /// Passwords cannot be checked at this moment.
    Unavailable,
}

impl LoginProblem {
    /// A wrong password is 200, as for any form that is shown again: 401 would have to name an HTTP authentication
    /// scheme (RFC 9110 §15.5.2), and there is none.
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::WrongCredentials => StatusCode::OK,
            Self::TooManyTries { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::FormExpired => StatusCode::FORBIDDEN,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    pub(super) fn retry_after(&self) -> Option<u64> {
        match self {
            Self::TooManyTries { retry_after_seconds } => Some(*retry_after_seconds),
            Self::Unavailable => Some(5),
            Self::WrongCredentials | Self::FormExpired => None,
        }
    }

    pub(super) fn notice(&self) -> Notice {
        let (text, fields): (_, &[_]) = match self {
            Self::WrongCredentials => (
                "That username and password do not match. Check both and try again.".to_owned(),
                &["username", "password"],
            ),
            Self::TooManyTries { retry_after_seconds } => (
                format!(
                    "Too many tries. Wait {} and try again.",
                    wait_in_words(*retry_after_seconds)
                ),
                &[],
            ),
            Self::FormExpired => (
                "This form was no longer valid. Sign in again; nothing has been shared.".to_owned(),
                &[],
            ),
            Self::Unavailable => (
                "The server is busy and could not check your password. Try again in a moment.".to_owned(),
                &[],
            ),
        };
        Notice { text, fields }
    }
}

/// Rounded up, so that a person who waits as told has waited long enough.
pub(super) fn wait_in_words(seconds: u64) -> String {
    match seconds {
        0..=1 => "a second".to_owned(),
        2..=90 => format!("{seconds} seconds"),
        _ => format!("{} minutes", seconds.div_ceil(60)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_never_told_shorter_than_it_is() {
        assert_eq!(wait_in_words(0), "a second");
        assert_eq!(wait_in_words(90), "90 seconds");
        assert_eq!(wait_in_words(91), "2 minutes");
        assert_eq!(wait_in_words(121), "3 minutes");
    }
}
