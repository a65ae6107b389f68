//! What is remembered of a client apart from its last calls, and what time does to it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::{plan::Plan, settings::ControllerConfig};

/// A raised target that is no further above its setting has fallen back.
const FALLEN_BACK: f64 = 0.001;

/// All that is remembered of a client apart from its last calls.
#[derive(Clone, Debug)]
pub(crate) struct Ledger {
    /// Of the configured tools, in the plan's order.
    pub(super) tools: Vec<ToolState>,
    /// Friction restored for tools that are not configured.
    pub(super) others: BTreeMap<Arc<str>, f64>,
    /// Smoothed rates of the groups, in the plan's order.
    pub(super) group_rates: Vec<f64>,
    pub(super) calls: u64,
    pub(super) budget: f64,
    /// From when on time passes: the last call.
    pub(super) since: Option<Duration>,
}

/// One tool of one client.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ToolState {
    pub(super) friction: f64,
    pub(super) rate: f64,
    pub(super) target: f64,
    pub(super) saturated_calls: u32,
    pub(super) is_saturated: bool,
}

impl Ledger {
    /// Of a client that has called nothing yet.
    pub(super) fn new(plan: &Plan) -> Self {
        let fresh = |target| ToolState {
            target,
            ..ToolState::default()
        };
        Self {
            tools: plan
                .tools
                .iter()
                .map(|(_, tool)| fresh(tool.target_rate))
                .collect(),
            others: BTreeMap::new(),
            group_rates: vec![0.0; plan.groups.len()],
            calls: 0,
            budget: plan.config.default_budget,
            since: None,
        }
    }

    pub(super) fn pass_time(&mut self, plan: &Plan, passing: Passing) {
        for (state, (_, tool)) in self.tools.iter_mut().zip(&plan.tools) {
            *state = passing.pass(*state, tool.target_rate);
            let has_fallen_back = (state.target - tool.target_rate).abs() < FALLEN_BACK;
            let is_saturated = state.friction >= plan.config.saturation_threshold;
            if passing.falls_back > 0.0 && has_fallen_back && !is_saturated {
                state.target = tool.target_rate;
                state.is_saturated = false;
            }
        }
        for friction in self.others.values_mut() {
            *friction *= passing.remains;
        }
        self.budget = passing.pass_budget(self.budget, &plan.config);
    }
}

/// What some time does.
#[derive(Clone, Copy)]
pub(super) struct Passing {
    /// What is left of friction and rate, 0 to 1.
    pub(super) remains: f64,
    /// Which part of the way a raised target falls back, 0 to 1.
    falls_back: f64,
    refill: f64,
}

impl Passing {
    pub(super) const NOTHING: Self = Self {
        remains: 1.0,
        falls_back: 0.0,
        refill: 0.0,
    };

    pub(super) fn of(elapsed: Duration, config: &ControllerConfig) -> Self {
        let seconds = elapsed.as_secs_f64();
        if seconds <= 0.0 {
            return Self::NOTHING;
        }
        Self {
            remains: (-config.time_decay_rate * seconds).exp(),
            falls_back: 1.0 - (-config.target_return_rate * seconds).exp(),
            refill: config.budget_refill_rate * seconds,
        }
    }

    pub(super) fn pass(self, state: ToolState, target_rate: f64) -> ToolState {
        ToolState {
            friction: state.friction * self.remains,
            rate: state.rate * self.remains,
            target: state.target + (target_rate - state.target) * self.falls_back,
            ..state
        }
    }

    pub(super) fn pass_budget(self, budget: f64, config: &ControllerConfig) -> f64 {
        // A budget that somebody set above the default stays there.
        budget.max((budget + self.refill).min(config.default_budget))
    }
}
