//! How a refused call is answered: with a tool error, which a model reads and a program can act on.

use std::fmt;

use serde_json::{Map, Value, json};

use super::{
    justification::JUSTIFICATION,
    result::{FrictionReason, FrictionResult},
};

/// The member of a result's `_meta` that says in JSON why a call was refused and when to come back.
///
/// It is `_meta` and not `structuredContent`, because clients check the latter against the tool's output schema even
/// when it is an error, and would report that instead of the refusal.
pub const FRICTION: &str = "authflow/friction";

/// A call that does not run.
#[derive(Clone, Debug, PartialEq)]
pub struct FrictionRefusal(Box<Cause>);

#[derive(Clone, Debug, PartialEq)]
enum Cause {
    /// Friction or budget.
    Check(FrictionResult),
    /// It would run with a justification.
    Unjustified(FrictionResult),
    /// Nobody knows whose friction it would be.
    NobodyCalls { tool: String },
}

impl FrictionRefusal {
    pub(super) fn by_check(result: FrictionResult) -> Self {
        Self(Box::new(Cause::Check(result)))
    }

    pub(super) fn unjustified(result: FrictionResult) -> Self {
        Self(Box::new(Cause::Unjustified(result)))
    }

    pub(super) fn nobody_calls(tool: &str) -> Self {
        let tool = tool.to_owned();
        Self(Box::new(Cause::NobodyCalls { tool }))
    }

    /// The tool.
    pub fn tool(&self) -> &str {
        match &*self.0 {
            Cause::Check(result) | Cause::Unjustified(result) => &result.tool_name,
            Cause::NobodyCalls { tool } => tool,
        }
    }

    /// What the check said; `None` when it was not made, because nobody knows who is calling.
    pub fn result(&self) -> Option<&FrictionResult> {
        match &*self.0 {
            Cause::Check(result) | Cause::Unjustified(result) => Some(result),
            Cause::NobodyCalls { .. } => None,
        }
    }

    /// Whether the call would run with a justification.
    pub fn wants_justification(&self) -> bool {
        matches!(*self.0, Cause::Unjustified(_))
    }

    /// The reason in one word: `blocked`, `insufficient_budget`, `justification_required` or `caller_unknown`.
    pub fn reason(&self) -> &'static str {
        match &*self.0 {
            Cause::Check(result) => match result.reason {
                FrictionReason::InsufficientBudget { .. } => "insufficient_budget",
                FrictionReason::Blocked { .. }
                | FrictionReason::JustificationRequired
                | FrictionReason::NotConfigured
                | FrictionReason::Allowed => "blocked",
            },
            Cause::Unjustified(_) => "justification_required",
            Cause::NobodyCalls { .. } => "caller_unknown",
        }
    }

    /// The machine-readable part: the value of [`FRICTION`].
    ///
    /// `reason`, `tool`; after a check also `friction_level`, `friction`, `cost` and `retry_after`: seconds after which
    /// the call would be allowed, null when waiting does not help.
    pub fn data(&self) -> Value {
        let mut data = Map::new();
        data.insert("reason".to_owned(), self.reason().into());
        data.insert("tool".to_owned(), self.tool().into());
        if let Some(result) = self.result() {
            let retry_after = result.retry_after.map(|wait| wait.as_secs());
            data.insert("friction_level".to_owned(), result.friction_level.as_str().into());
            data.insert("friction".to_owned(), result.friction.into());
            data.insert("cost".to_owned(), result.cost.into());
            data.insert("retry_after".to_owned(), retry_after.into());
        }
        if self.wants_justification() {
            data.insert("justification_key".to_owned(), JUSTIFICATION.into());
        }
        Value::Object(data)
    }

    /// The result of `tools/call` that answers the call.
    pub fn tool_result(&self) -> Value {
        json!({
            "content": [{ "type": "text", "text": self.to_string() }],
            "isError": true,
            "_meta": { FRICTION: self.data() },
        })
    }
}

/// The text that the model reads.
impl fmt::Display for FrictionRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            Cause::Check(result) => write!(
                f,
                "Tool '{}' is temporarily rate-limited. {result}. Please try a different approach or wait before \
                 retrying.",
                result.tool_name
            ),
            Cause::Unjustified(result) => write!(
                f,
                "Tool '{}' has been called often. {result}. Say in _meta under \"{JUSTIFICATION}\" why this call is \
                 needed, or try a different approach.",
                result.tool_name
            ),
            Cause::NobodyCalls { tool } => write!(
                f,
                "Tool '{tool}' is rate-limited for each caller, and it is not known who is calling."
            ),
        }
    }
}

impl std::error::Error for FrictionRefusal {}
