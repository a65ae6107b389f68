//! The applications that a person has let in, and the way out of each.

use serde::Serialize;

use super::{Account, Application, OneLine, ResourceView};

/// What the page of connected applications shows.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct AppsView {
    /// Whose they are.
    pub(crate) account: Account,
    /// The applications of this page, the one let in last first; one row each.
    pub(crate) apps: Vec<AppView>,
    /// How many there are on all pages.
    pub(crate) total: usize,
    /// Whether there are so many approvals that the oldest were left out.
    pub(crate) is_cut: bool,
    /// Which page this is, from 1, and where its neighbours are.
    pub(crate) paging: Paging,
    /// Whether an application was disconnected just now.
    pub(crate) has_disconnected: bool,
}

/// Where a page lies among others. The addresses are our own.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Paging {
    /// The number of this page, from 1.
    pub(crate) page: usize,
    /// How many pages there are.
    pub(crate) pages: usize,
    /// The page before.
    pub(crate) newer: Option<String>,
    /// The page behind.
    pub(crate) older: Option<String>,
}

/// An application with what it was allowed.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct AppView {
    /// Who it is, as the consent page says it.
    pub(crate) application: Application,
    /// Whether another application of the list uses the same name for itself.
    pub(crate) shares_its_name: bool,
    /// The page that asks whether to disconnect it.
    pub(crate) disconnect: String,
    /// What was allowed, the last first; the first few.
    pub(crate) grants: Vec<GrantView>,
    /// How many more there are.
    pub(crate) more_grants: usize,
}

/// One approval.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct GrantView {
    /// What it may do, resource by resource.
    pub(crate) resources: Vec<ResourceView>,
    /// How long ago the person allowed it.
    pub(crate) allowed_seconds_ago: u64,
    /// When it was last used.
    pub(crate) last_used: Option<LastUseView>,
    /// Whether the application may stay connected while the person is away.
    pub(crate) offline_access: bool,
    /// Whether it still has tokens that are good.
    pub(crate) is_active: bool,
}

/// When an approval was last used, and from where.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct LastUseView {
    /// How long ago.
    pub(crate) seconds_ago: u64,
    /// From which network address, where that is known.
    pub(crate) address: Option<OneLine>,
}

/// The question whether to disconnect an application. Its form posts `csrf` and `client` to `action`.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct DisconnectView {
    /// The path the form posts to.
    pub(crate) action: String,
    /// The token that binds the form to this browser and this application.
    pub(crate) csrf: String,
    /// The identifier of the application, as it is sent back.
    pub(crate) client: String,
    /// Whose it is.
    pub(crate) account: Account,
    /// Who is disconnected, with what it was allowed.
    pub(crate) app: AppView,
    /// For how many minutes a server that checks signed tokens by itself may still let it in; none where all servers ask.
    pub(crate) minutes_at_most: Option<u64>,
}

/// The question whether to sign out in every browser. Its form posts `csrf` and `what` = `sessions` or `everything`.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct SignOutEverywhereView {
    /// The path the form posts to.
    pub(crate) action: String,
    /// The token that binds the form to this browser.
    pub(crate) csrf: String,
    /// Who signs out.
    pub(crate) account: Account,
    /// How many applications are connected.
    pub(crate) apps: usize,
}

/// What ended by signing out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SignedOut {
    /// The session of this browser.
    Here,
    /// The sessions of all browsers.
    Everywhere,
    /// Those, and the connection of every application.
    Everything,
}

impl SignedOut {
    pub(super) const ALL: [Self; 3] = [Self::Here, Self::Everywhere, Self::Everything];
}
