//! The question: may this application do these things for this person?

use http::StatusCode;
use serde::Serialize;

use super::destination::Destination;
use super::{Account, Application, Notice, OneLine};

/// What the consent form shows. It posts `csrf`, `step=consent`, one `scope` for each ticked box, and `decision` =
/// `allow` or `deny` to `action`. A second form, "not you?", posts `csrf` and `step=sign_out` there.
///
/// Pressing Enter in the form denies: the first button is the one browsers press.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ConsentView {
    /// The path both forms post to.
    pub(crate) action: String,
    /// The token that binds the forms to this session and this request.
    pub(crate) csrf: String,
    /// Who asks.
    pub(crate) application: Application,
    /// Where the code goes. Loopback and private-use addresses are warned about (M-099). None when a device waits.
    pub(crate) destination: Option<Destination>,
    /// How well the client is known.
    pub(crate) acquaintance: Acquaintance,
    /// The device that waits, instead.
    pub(crate) device: Option<DeviceView>,
    /// Whose account it is.
    pub(crate) account: Account,
    /// What it asks for, resource by resource; `offline_access` is not among the scopes.
    pub(crate) resources: Vec<ResourceView>,
    /// `Some(ticked)` when it asks to stay connected (`offline_access`).
    pub(crate) offline_access: Option<bool>,
    /// What was wrong with the last answer.
    #[serde(skip)]
    pub(crate) problem: Option<ConsentProblem>,
}

/// What is known of a device that waits: no more than where and when it asked (RFC 8628 §5.4).
#[derive(Debug, Clone, Serialize)]
pub(crate) struct DeviceView {
    /// Where its request came from, if known.
    pub(crate) address: Option<OneLine>,
    /// How long ago.
    pub(crate) seconds_ago: u64,
}

/// How well a client is known, to this server and to the person who is asked.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct Acquaintance {
    /// The person has not allowed it before, as far as this server remembers.
    pub(crate) is_first_time: bool,
    /// How long ago this server saw its document first, where that is less than a day.
    pub(crate) first_seen_seconds_ago: Option<u64>,
    /// How long ago its document changed, where that is since the person last allowed it, or lately.
    pub(crate) changed_seconds_ago: Option<u64>,
}

/// A resource and what is asked for there.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ResourceView {
    /// The operator's name for it; none for a resource that is not registered.
    pub(crate) name: Option<OneLine>,
    /// Its identifier.
    pub(crate) uri: OneLine,
    /// The scopes; empty means to connect, without more.
    pub(crate) scopes: Vec<ScopeView>,
}

/// One box to tick.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ScopeView {
    /// The scope token, which is shown.
    pub(crate) token: String,
    /// The value posted when it is ticked.
    pub(crate) value: String,
    /// What it allows, in the operator's words; the token stands in when there are none.
    pub(crate) description: Option<OneLine>,
    /// Whether the box is ticked.
    pub(crate) checked: bool,
    /// The tools that it opens, the first few; empty where none are known.
    pub(crate) tools: Vec<OneLine>,
    /// How many more there are.
    pub(crate) more_tools: usize,
    /// What comes with it, in the words of the narrower scopes.
    pub(crate) includes: Vec<OneLine>,
}

/// Why the consent form is shown again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ConsentProblem {
    /// Allowed, but with no box ticked.
    NothingChosen,
    /// The form was old, of another session, or not ours; nothing was decided.
    FormExpired,
}

impl ConsentProblem {
    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::NothingChosen => StatusCode::OK,
            Self::FormExpired => StatusCode::FORBIDDEN,
        }
    }

    pub(super) fn notice(self) -> Notice {
        let (text, fields): (_, &[_]) = match self {
            Self::NothingChosen => (
                "Nothing is ticked. Choose at least one permission, or deny.",
                &["permissions"],
            ),
            Self::FormExpired => (
                "This form was no longer valid, so nothing has been decided. Look again and choose.",
                &[],
            ),
        };
        Notice {
            text: text.to_owned(),
            fields,
        }
    }
}
