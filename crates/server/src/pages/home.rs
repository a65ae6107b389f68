//! The page at `/ui/`: who is signed in.

use serde::Serialize;

use super::OneLine;

/// What the home page shows. Its sign-out form posts `csrf` to `/ui/sign-out` below the issuer's path.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct HomeView {
    /// Who is signed in, if anyone.
    pub(crate) account: Option<Account>,
    /// The token of the sign-out form; unused when nobody is signed in.
    pub(crate) csrf: String,
}

/// An account as its owner sees it.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Account {
    /// The name typed to sign in.
    pub(crate) username: OneLine,
    /// The name to greet with, if there is one.
    pub(crate) display_name: Option<OneLine>,
    /// Whether it may administer the server.
    pub(crate) is_admin: bool,
}
