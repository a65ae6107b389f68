//! What can be set: for a tool, for a group of tools, for the controller of a client.
//!
//! All numbers are checked when a controller or a registry is made ([`InvalidFriction`]), so that a wrong one is found
//! at the start and not at somebody's first call.

use std::fmt;

use serde::Deserialize;

/// The largest [`ControllerConfig::window_size`]: a window is kept for each client.
pub const MAX_WINDOW_SIZE: u32 = 100_000;

/// How often one tool may be called before it gets expensive, and when it is refused.
///
/// ```
/// use mcp_authflow_resource::friction::ToolFrictionConfig;
///
/// // A tool that is meant to be a tenth of a client's calls.
/// let delete = ToolFrictionConfig { target_rate: 0.1, ..ToolFrictionConfig::default() };
/// assert_eq!(delete.hard_block_threshold, 0.95);
/// ```
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ToolFrictionConfig {
    /// The share of a client's calls that may go to this tool: a number from 0 (none) to 1 (all). Above it the friction
    /// rises, below it falls. Default 0.05.
    pub target_rate: f64,
    /// What a call costs when there is no friction, in units of the budget. Default 0.5.
    pub min_cost: f64,
    /// What a call costs at full friction. Default 10.
    pub max_cost: f64,
    /// The friction from which a call asks for a justification. Default 0.6; above 1, never.
    pub justification_threshold: f64,
    /// The friction from which calls are refused. Default 0.95; above 1, never; exactly 0, always: the tool is off.
    pub hard_block_threshold: f64,
}

impl Default for ToolFrictionConfig {
    fn default() -> Self {
        Self {
            target_rate: 0.05,
            min_cost: 0.5,
            max_cost: 10.0,
            justification_threshold: 0.6,
            hard_block_threshold: 0.95,
        }
    }
}

impl ToolFrictionConfig {
    pub(super) fn validate(&self, tool: &str) -> Result<(), InvalidFriction> {
        let at_least_zero = |setting: &str, value: f64| {
            demand(
                is_at_least_zero(value),
                || format!("{setting} of the tool {tool}"),
                value,
                AT_LEAST_ZERO,
            )
        };
        at_least_zero("target_rate", self.target_rate)?;
        at_least_zero("min_cost", self.min_cost)?;
        at_least_zero("max_cost", self.max_cost)?;
        at_least_zero("justification_threshold", self.justification_threshold)?;
        at_least_zero("hard_block_threshold", self.hard_block_threshold)?;
        demand(
            self.min_cost <= self.max_cost,
            || format!("min_cost of the tool {tool}"),
            self.min_cost,
            "must not be above max_cost",
        )?;
        // A tool that is off has no justification to ask for.
        demand(
            self.hard_block_threshold == 0.0 || self.justification_threshold <= self.hard_block_threshold,
            || format!("justification_threshold of the tool {tool}"),
            self.justification_threshold,
            "must not be above hard_block_threshold, or it would never be reached",
        )
    }
}

/// Tools that together may be only so much of a client's calls.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ToolGroupConfig {
    /// The tools' names. One that is not configured counts nothing. Default none.
    pub tools: Vec<String>,
    /// The share of the calls that may go to all of them together. A negative one presses even on an idle group.
    /// Default 0.2.
    pub aggregate_target: f64,
    /// How strongly the group presses on its tools, beside their own targets. Default 1; 0 is not at all.
    pub pressure_weight: f64,
}

impl Default for ToolGroupConfig {
    fn default() -> Self {
        Self {
            tools: Vec::new(),
            aggregate_target: 0.2,
            pressure_weight: 1.0,
        }
    }
}

impl ToolGroupConfig {
    pub(super) fn validate(&self, group: &str) -> Result<(), InvalidFriction> {
        demand(
            self.aggregate_target.is_finite(),
            || format!("aggregate_target of the group {group}"),
            self.aggregate_target,
            "must be a finite number",
        )?;
        demand(
            is_at_least_zero(self.pressure_weight),
            || format!("pressure_weight of the group {group}"),
            self.pressure_weight,
            AT_LEAST_ZERO,
        )
    }
}

/// How a client's calls are counted and how the friction follows.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ControllerConfig {
    /// How many of the last calls the rates are taken over. Default 100, 1 to [`MAX_WINDOW_SIZE`].
    pub window_size: u32,
    /// How quickly the smoothed rate follows: 0 not at all, 1 at once. Default 0.15.
    pub ema_alpha: f64,
    /// The step of the friction for each call, in relation to how far the rate is from its target. Default 0.08.
    pub adjustment_rate: f64,
    /// How much larger a step down is than a step up. Default 2.
    pub asymmetric_decay: f64,
    /// The distance from the target that is let be. Default 0.01.
    pub dead_zone: f64,
    /// The number of the client's call from which friction moves. Default 20.
    pub warmup_calls: u32,
    /// How quickly friction and smoothed rate fall while time passes: both are multiplied by e^(−rate · seconds).
    /// Default 0.001 per second, which halves them in 693 s. At 0 time heals nothing: a client that calls nothing but a
    /// tool it is refused stays refused until it calls another one.
    pub time_decay_rate: f64,
    /// What a client may spend. Default infinite.
    pub default_budget: f64,
    /// How much of the budget comes back each second, up to `default_budget`. Default 0: what is spent is spent until
    /// somebody calls [`FrictionRegistry::reset_budget`](super::FrictionRegistry::reset_budget).
    pub budget_refill_rate: f64,
    /// The friction that counts as saturated. Default 0.9; above 1, none does.
    pub saturation_threshold: f64,
    /// After how many calls in saturation the target is raised, call by call. Default 0: never.
    pub saturation_window: u32,
    /// By how much. Default 0.005.
    pub saturation_relief_rate: f64,
    /// How quickly a raised target falls back while time passes, as `time_decay_rate`. Default 0.001 per second; 0 is
    /// never.
    pub target_return_rate: f64,
    /// When the passing of time is felt. Default [`Decay::WhenChecked`].
    pub decay: Decay,
}

/// When the passing of time is felt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decay {
    /// At each look, so that nobody stays refused for ever.
    #[default]
    WhenChecked,
    /// Only when a call is recorded, as the Python package `mcp-authflow-resource` counted. A refused call is not
    /// recorded: who calls nothing but the refused tool stays refused for good.
    WhenRecorded,
}

impl Default for ControllerConfig {
    fn default() -> Self {
        Self {
            window_size: 100,
            ema_alpha: 0.15,
            adjustment_rate: 0.08,
            asymmetric_decay: 2.0,
            dead_zone: 0.01,
            warmup_calls: 20,
            time_decay_rate: 0.001,
            default_budget: f64::INFINITY,
            budget_refill_rate: 0.0,
            saturation_threshold: 0.9,
            saturation_window: 0,
            saturation_relief_rate: 0.005,
            target_return_rate: 0.001,
            decay: Decay::WhenChecked,
        }
    }
}

impl ControllerConfig {
    pub(super) fn validate(&self) -> Result<(), InvalidFriction> {
        validate_window_size(self.window_size)?;
        demand(
            (0.0..=1.0).contains(&self.ema_alpha),
            || "ema_alpha".to_owned(),
            self.ema_alpha,
            "must be from 0 to 1",
        )?;
        for (setting, value) in [
            ("adjustment_rate", self.adjustment_rate),
            ("asymmetric_decay", self.asymmetric_decay),
            ("dead_zone", self.dead_zone),
            ("time_decay_rate", self.time_decay_rate),
            ("budget_refill_rate", self.budget_refill_rate),
            ("saturation_threshold", self.saturation_threshold),
            ("saturation_relief_rate", self.saturation_relief_rate),
            ("target_return_rate", self.target_return_rate),
        ] {
            demand(
                is_at_least_zero(value),
                || setting.to_owned(),
                value,
                AT_LEAST_ZERO,
            )?;
        }
        demand(
            self.default_budget >= 0.0,
            || "default_budget".to_owned(),
            self.default_budget,
            "must be 0 or more; infinite is no limit",
        )
    }
}

pub(super) fn validate_window_size(size: u32) -> Result<(), InvalidFriction> {
    demand(
        (1..=MAX_WINDOW_SIZE).contains(&size),
        || "window_size".to_owned(),
        size,
        "must be from 1 to 100000",
    )
}

pub(super) const AT_LEAST_ZERO: &str = "must be a finite number of 0 or more";

pub(super) fn is_at_least_zero(value: f64) -> bool {
    value.is_finite() && value >= 0.0
}

/// A setting that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{setting} is {value}, but {rule}")]
pub struct InvalidFriction {
    setting: String,
    value: String,
    rule: &'static str,
}

pub(super) fn demand(
    holds: bool,
    setting: impl FnOnce() -> String,
    value: impl fmt::Display,
    rule: &'static str,
) -> Result<(), InvalidFriction> {
    if holds {
        return Ok(());
    }
    Err(InvalidFriction {
        setting: setting(),
        value: value.to_string(),
        rule,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    #![allow(clippy::float_cmp, reason = "numbers that nothing was done to")]

    use super::*;

    /// S-257, S-258, S-259
    #[test]
    fn the_defaults_are_those_of_the_python_package() {
        let tool = ToolFrictionConfig::default();
        let numbers = [
            tool.target_rate,
            tool.min_cost,
            tool.max_cost,
            tool.justification_threshold,
            tool.hard_block_threshold,
        ];
        assert_eq!(numbers, [0.05, 0.5, 10.0, 0.6, 0.95]);
        let group = ToolGroupConfig::default();
        assert!(group.tools.is_empty());
        assert_eq!([group.aggregate_target, group.pressure_weight], [0.2, 1.0]);
        let controller = ControllerConfig::default();
        let numbers = [
            controller.ema_alpha,
            controller.adjustment_rate,
            controller.asymmetric_decay,
            controller.dead_zone,
            controller.time_decay_rate,
            controller.default_budget,
            controller.saturation_threshold,
            controller.saturation_relief_rate,
        ];
        assert_eq!(numbers, [0.15, 0.08, 2.0, 0.01, 0.001, f64::INFINITY, 0.9, 0.005]);
        let counts = [
            controller.window_size,
            controller.warmup_calls,
            controller.saturation_window,
        ];
        assert_eq!(counts, [100, 20, 0]);
        for valid in [tool.validate("t"), group.validate("g"), controller.validate()] {
            assert_eq!(valid, Ok(()));
        }
    }

    /// S-260
    #[test]
    fn what_makes_no_sense_is_refused() {
        type Change = fn(&mut ToolFrictionConfig);
        type ControllerChange = fn(&mut ControllerConfig);
        let changes: [Change; 7] = [
            |tool| tool.target_rate = -0.1,
            |tool| tool.target_rate = f64::NAN,
            |tool| tool.min_cost = -1.0,
            |tool| tool.max_cost = f64::INFINITY,
            |tool| tool.min_cost = tool.max_cost + 1.0,
            |tool| tool.hard_block_threshold = 0.4,
            |tool| tool.justification_threshold = -1.0,
        ];
        for change in changes {
            let mut tool = ToolFrictionConfig::default();
            change(&mut tool);
            assert!(tool.validate("t").is_err(), "{tool:?}");
        }
        let changes: [ControllerChange; 8] = [
            |controller| controller.window_size = 0,
            |controller| controller.window_size = MAX_WINDOW_SIZE + 1,
            |controller| controller.ema_alpha = 1.1,
            |controller| controller.saturation_threshold = -0.1,
            |controller| controller.adjustment_rate = -0.1,
            |controller| controller.time_decay_rate = f64::INFINITY,
            |controller| controller.default_budget = -1.0,
            |controller| controller.default_budget = f64::NAN,
        ];
        for change in changes {
            let mut controller = ControllerConfig::default();
            change(&mut controller);
            assert!(controller.validate().is_err(), "{controller:?}");
        }
        let heavy = ToolGroupConfig {
            pressure_weight: -1.0,
            ..ToolGroupConfig::default()
        };
        assert_eq!(
            heavy.validate("g").unwrap_err().to_string(),
            "pressure_weight of the group g is -1, but must be a finite number of 0 or more"
        );
    }

    #[test]
    fn a_tool_can_be_switched_off_or_never_refused() {
        for threshold in [0.0, 2.0] {
            let tool = ToolFrictionConfig {
                hard_block_threshold: threshold,
                ..ToolFrictionConfig::default()
            };
            assert_eq!(tool.validate("t"), Ok(()));
        }
    }

    #[test]
    fn settings_are_read_from_a_file_and_unknown_ones_are_refused() {
        let tool: ToolFrictionConfig = serde_json::from_str(r#"{"target_rate": 0.2}"#).unwrap();
        assert_eq!(tool.target_rate, 0.2);
        assert_eq!(tool.max_cost, 10.0);
        assert!(serde_json::from_str::<ToolFrictionConfig>(r#"{"taget_rate": 0.2}"#).is_err());
        let controller: ControllerConfig = serde_json::from_str(r#"{"decay": "when_recorded"}"#).unwrap();
        assert_eq!(controller.decay, Decay::WhenRecorded);
    }
}
