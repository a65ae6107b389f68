//! What a check says of a call.

use std::{fmt, sync::Arc, time::Duration};

use super::level::FrictionLevel;

/// What a check says of a call: whether it may run, at what price, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct FrictionResult {
    /// The tool.
    pub tool_name: Arc<str>,
    /// Whether the call may run.
    pub allowed: bool,
    /// What it costs.
    pub cost: f64,
    /// The friction in one word.
    pub friction_level: FrictionLevel,
    /// The friction: 0 none, 1 full.
    pub friction: f64,
    /// The smoothed share of the client's calls that goes to the tool.
    pub current_rate: f64,
    /// The share it is meant to have.
    pub target_rate: f64,
    /// The same as raised by saturation.
    pub effective_target: f64,
    /// Whether the call asks for a justification.
    pub justification_required: bool,
    /// Whether the friction has been saturated, so that the target was raised.
    pub saturation_detected: bool,
    /// For a refused call: after how much time it would be allowed if nothing else is called, in whole seconds. `None`
    /// for an allowed call, and where waiting does not help.
    pub retry_after: Option<Duration>,
    /// Why.
    pub reason: FrictionReason,
}

/// Why a call is allowed or refused.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum FrictionReason {
    /// The tool has no friction.
    NotConfigured,
    /// The budget left does not reach.
    InsufficientBudget {
        /// What is left.
        budget: f64,
    },
    /// The friction is too high.
    Blocked {
        /// The tool's `hard_block_threshold`.
        threshold: f64,
    },
    /// It may run, and is asked for a justification.
    JustificationRequired,
    /// It may run.
    Allowed,
}

impl FrictionResult {
    /// Whether the tool is called more often than it is meant to be.
    pub fn is_over_target(&self) -> bool {
        self.current_rate > self.target_rate
    }

    /// The reason in a sentence, for people and models.
    pub fn message(&self) -> String {
        self.to_string()
    }
}

impl fmt::Display for FrictionResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { friction, cost, .. } = self;
        match self.reason {
            FrictionReason::NotConfigured => f.write_str("No friction configured"),
            FrictionReason::InsufficientBudget { budget } => {
                write!(f, "Insufficient budget: {budget:.1} < {cost:.1}")
            }
            FrictionReason::Blocked { threshold } => {
                write!(f, "Blocked: friction {friction:.2} >= threshold {threshold:?}")
            }
            FrictionReason::JustificationRequired => {
                write!(
                    f,
                    "Justification required: friction {friction:.2}, cost {cost:.1}"
                )
            }
            FrictionReason::Allowed => write!(f, "Allowed: friction {friction:.2}, cost {cost:.1}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// S-265
    #[test]
    fn numbers_in_messages_are_rounded_half_to_even_on_the_exact_value() {
        let result = |friction: f64, cost: f64, reason| {
            FrictionResult {
                tool_name: Arc::from("d"),
                allowed: true,
                cost,
                friction_level: FrictionLevel::Low,
                friction,
                current_rate: 0.0,
                target_rate: 0.0,
                effective_target: 0.0,
                justification_required: false,
                saturation_detected: false,
                retry_after: None,
                reason,
            }
            .message()
        };
        // 0.125 and 0.25 are exact; 0.35 is a little less than it reads.
        assert_eq!(
            result(0.125, 0.25, FrictionReason::Allowed),
            "Allowed: friction 0.12, cost 0.2"
        );
        assert_eq!(
            result(0.375, 0.35, FrictionReason::Allowed),
            "Allowed: friction 0.38, cost 0.3"
        );
        assert_eq!(
            result(0.95, 0.0, FrictionReason::Blocked { threshold: 0.0 }),
            "Blocked: friction 0.95 >= threshold 0.0"
        );
        assert_eq!(
            result(0.0, 0.5, FrictionReason::InsufficientBudget { budget: -0.5 }),
            "Insufficient budget: -0.5 < 0.5"
        );
    }
}
