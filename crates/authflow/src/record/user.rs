//! A local account.

use std::fmt;

use mcp_authflow_types::Timestamp;

/// An account's identifier: it becomes the `sub` of its tokens and never changes, whatever the person is called.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserId(Box<str>);

impl UserId {
    /// Makes an identifier from 128 random bits.
    pub fn from_random(bytes: [u8; 16]) -> Self {
        Self(format!("u_{}", mcp_authflow_types::hex::encode(&bytes)).into())
    }

    /// Takes a stored identifier back.
    pub fn from_stored(text: &str) -> Self {
        Self(text.into())
    }

    /// Whether a text has the form of an identifier that [`from_random`](Self::from_random) makes. No client may be called
    /// so: the tokens that a machine gets for itself name it as their subject, and would name an account.
    ///
    /// ```
    /// use mcp_authflow::record::UserId;
    ///
    /// assert!(UserId::has_form_of_one(UserId::from_random([7; 16]).as_str()));
    /// assert!(!UserId::has_form_of_one("u_7") && !UserId::has_form_of_one("notes"));
    /// ```
    pub fn has_form_of_one(text: &str) -> bool {
        text.strip_prefix("u_")
            .is_some_and(|rest| mcp_authflow_types::hex::decode::<16>(rest).is_some())
    }

    /// The identifier as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// A local account. The password is kept as a PHC string (Argon2id) and never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct User {
    /// Its identifier.
    pub id: UserId,
    /// What the person types to sign in, folded to one spelling so that no two accounts look alike to the limiter.
    pub username: String,
    /// What the person is called.
    pub display_name: Option<String>,
    /// The password's hash, a PHC string.
    pub password_hash: String,
    /// Whether the account may administer the server.
    pub is_admin: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was disabled.
    pub disabled_at: Option<Timestamp>,
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("User")
            .field("id", &self.id)
            .field("username", &self.username)
            .field("is_admin", &self.is_admin)
            .field("disabled_at", &self.disabled_at)
            .finish_non_exhaustive()
    }
}
