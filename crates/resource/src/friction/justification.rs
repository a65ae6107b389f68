//! Why a call is needed, when its tool has much friction: said by the client, judged by a hook.
//!
//! A tool's result only *reports* that a call asks for a justification. With a [`Justify`] set on the
//! [`FrictionGuard`](super::FrictionGuard) it is demanded: the client says in the request's `_meta`, under
//! [`JUSTIFICATION`], why the call is needed, and the hook accepts that or does not. A call without one is refused with
//! a tool error that names the key.
//!
//! ```json
//! {"method": "tools/call", "params": {"name": "delete", "arguments": {"id": 7},
//!   "_meta": {"authflow/justification": "the person asked to delete all drafts"}}}
//! ```
//!
//! A tool that would rather ask the person (MCP elicitation) does so when
//! [`admit`](super::FrictionGuard::admit) refuses for want of a justification, and hands over what it was told.

use async_trait::async_trait;

use super::result::FrictionResult;
use crate::caller::Caller;

/// The member of a request's `_meta` that holds the justification: a text.
pub const JUSTIFICATION: &str = "authflow/justification";

/// A longer justification counts as none: it is kept in logs.
pub const MAX_JUSTIFICATION_BYTES: usize = 4 * 1_024;

/// A call that asks for a justification, and the justification.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Plea<'a> {
    /// The name under which the calls are counted.
    pub key: &'a str,
    /// Who calls; `None` when the guard was handed a name alone.
    pub caller: Option<&'a Caller>,
    /// What the check says of the call.
    pub result: &'a FrictionResult,
    /// Why the call is needed, in the words of whoever calls: not to be trusted, and to be shown as text only.
    pub text: &'a str,
}

/// Judges justifications.
///
/// Implemented for functions from a [`Plea`] to whether it is accepted.
///
/// # Security
/// A text proves nothing. What a hook gains is a record that somebody can be held to, or the moment in which a person
/// or a rule looks at it.
#[async_trait]
pub trait Justify: Send + Sync {
    /// Whether the call may run. The call waits for it.
    async fn accepts(&self, plea: &Plea<'_>) -> bool;
}

#[async_trait]
impl<F: Fn(&Plea<'_>) -> bool + Send + Sync> Justify for F {
    async fn accepts(&self, plea: &Plea<'_>) -> bool {
        self(plea)
    }
}
