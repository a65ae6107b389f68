//! The friction of one client: how hard each tool is to call for it, by what it has been calling.
//!
//! For each tool there is a friction *f*, a smoothed rate *e* and an effective target *τ*. A recorded call does, in this
//! order:
//!
//! 1. Time: *f* and *e* fall by e^(−λΔ), *τ* falls back to its setting, the budget is refilled.
//! 2. The price: `min_cost` + *f* · (`max_cost` − `min_cost`).
//! 3. The call enters the window.
//! 4. For every tool: *e* moves towards the tool's share of the window; after the warm-up *f* moves by how far *e* is
//!    from *τ*, and down faster than up. Where *f* stays saturated, *τ* is raised (if asked for).
//! 5. Groups press on their tools where these together are above the group's target.
//! 6. The price leaves the budget.
//!
//! A check looks at the same numbers as they are *now* and changes nothing. Neither walks the window: both cost what the
//! number of configured tools costs, and no more.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::{
    ledger::{Ledger, Passing, ToolState},
    level::FrictionLevel,
    plan::Plan,
    result::{FrictionReason, FrictionResult},
    settings::{ControllerConfig, Decay, InvalidFriction, ToolFrictionConfig, ToolGroupConfig},
    status::{ControllerStatus, ToolStatus},
    window::SlidingWindow,
};

/// Above this friction the level is MEDIUM.
const MEDIUM_ABOVE: f64 = 0.3;

/// The friction of one client.
///
/// Time is an argument: what has passed since any fixed moment, by a clock that only goes forward.
///
/// ```
/// use std::time::Duration;
/// use mcp_authflow_resource::friction::{ControllerConfig, FrictionController, ToolFrictionConfig};
///
/// let tools = [("delete".to_owned(), ToolFrictionConfig::default())];
/// let mut friction = FrictionController::new(ControllerConfig::default(), tools, [])?;
/// let mut now = Duration::ZERO;
/// while friction.check("delete", now).allowed {
///     friction.record_call("delete", now);
///     now += Duration::from_secs(1);
/// }
/// assert_eq!(now.as_secs(), 32, "a client that calls nothing else");
/// // It is told how long to wait, and then it may call again.
/// let refused = friction.check("delete", now);
/// assert_eq!(refused.message(), "Blocked: friction 0.96 >= threshold 0.95");
/// let wait = refused.retry_after.unwrap_or_default();
/// assert!(friction.check("delete", now + wait).allowed);
/// # Ok::<(), mcp_authflow_resource::friction::InvalidFriction>(())
/// ```
#[derive(Clone, Debug)]
pub struct FrictionController {
    plan: Arc<Plan>,
    window: SlidingWindow,
    ledger: Ledger,
    saturations: Vec<Saturation>,
}

/// A tool's target has been raised, because its friction was saturated for too long.
#[derive(Clone, Debug, PartialEq)]
pub struct Saturation {
    /// The tool.
    pub tool_name: Arc<str>,
    /// The target from now on.
    pub effective_target: f64,
    /// The target as configured.
    pub original_target: f64,
}

impl FrictionController {
    /// A client that has called nothing yet. Tools and groups come with their names; of two with one name the later
    /// counts.
    ///
    /// # Errors
    /// [`InvalidFriction`] when a setting makes no sense.
    pub fn new(
        config: ControllerConfig,
        tools: impl IntoIterator<Item = (String, ToolFrictionConfig)>,
        groups: impl IntoIterator<Item = (String, ToolGroupConfig)>,
    ) -> Result<Self, InvalidFriction> {
        Ok(Self::of_plan(Arc::new(Plan::new(config, tools, groups)?)))
    }

    pub(crate) fn of_plan(plan: Arc<Plan>) -> Self {
        let ledger = Ledger::new(&plan);
        Self::resume(plan, ledger)
    }

    /// A client that comes back. The ledger is one of the same plan.
    pub(crate) fn resume(plan: Arc<Plan>, ledger: Ledger) -> Self {
        Self {
            window: SlidingWindow::of_valid_size(plan.config.window_size),
            saturations: Vec::new(),
            plan,
            ledger,
        }
    }

    pub(crate) fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Says what a call of `tool` would meet at the moment; changes nothing.
    pub fn check(&self, tool: &str, now: Duration) -> FrictionResult {
        self.look(tool, self.passing_when_checked(now))
    }

    /// Counts a call of `tool` and says what the next one would meet. It never refuses: check first.
    pub fn record_call(&mut self, tool: &str, now: Duration) -> FrictionResult {
        self.pass_time(now);
        let cost = self.look(tool, Passing::NOTHING).cost;
        self.count(tool, cost, now);
        self.ledger.budget -= cost;
        self.look(tool, Passing::NOTHING)
    }

    /// Counts a call of a tool that has no friction: it costs nothing, but is one of the client's calls.
    pub fn record_call_unconfigured(&mut self, tool: &str, now: Duration) {
        self.pass_time(now);
        self.count(tool, 0.0, now);
    }

    fn count(&mut self, tool: &str, cost: f64, now: Duration) {
        self.window.record(tool, cost);
        self.ledger.calls += 1;
        self.adjust();
        self.ledger.since = Some(now);
    }

    /// What a check feels of the time since the last call.
    fn passing_when_checked(&self, now: Duration) -> Passing {
        match self.plan.config.decay {
            Decay::WhenChecked => self.passing(now),
            Decay::WhenRecorded => Passing::NOTHING,
        }
    }

    fn passing(&self, now: Duration) -> Passing {
        // A moment before the last call is none that has passed.
        let elapsed = self.ledger.since.map(|since| now.saturating_sub(since));
        Passing::of(elapsed.unwrap_or_default(), &self.plan.config)
    }

    /// Takes in the time that has passed, before something is set that time is to work on from now on.
    fn settle(&mut self, now: Duration) {
        if self.plan.config.decay == Decay::WhenChecked {
            self.pass_time(now);
            self.ledger.since = Some(now);
        }
    }

    fn pass_time(&mut self, now: Duration) {
        let passing = self.passing(now);
        self.ledger.pass_time(&self.plan, passing);
    }

    fn look(&self, tool: &str, passing: Passing) -> FrictionResult {
        let Some(position) = self.plan.position(tool) else {
            return FrictionResult {
                tool_name: Arc::from(tool),
                allowed: true,
                cost: 0.0,
                friction_level: FrictionLevel::None,
                friction: 0.0,
                current_rate: self.window.rate(tool),
                target_rate: 0.0,
                effective_target: 0.0,
                justification_required: false,
                saturation_detected: false,
                retry_after: None,
                reason: FrictionReason::NotConfigured,
            };
        };
        let (name, tool) = &self.plan.tools[position];
        let state = passing.pass(self.ledger.tools[position], tool.target_rate);
        let budget = passing.pass_budget(self.ledger.budget, &self.plan.config);
        let friction = state.friction;
        let cost = tool.min_cost + friction * (tool.max_cost - tool.min_cost);
        let is_blocked = friction >= tool.hard_block_threshold;
        let justification_required = friction >= tool.justification_threshold;
        let can_pay = budget >= cost;
        let friction_level = if is_blocked {
            FrictionLevel::Blocked
        } else if justification_required {
            FrictionLevel::High
        } else if friction > MEDIUM_ABOVE {
            FrictionLevel::Medium
        } else if friction > 0.0 {
            FrictionLevel::Low
        } else {
            FrictionLevel::None
        };
        let reason = if !can_pay {
            FrictionReason::InsufficientBudget { budget }
        } else if is_blocked {
            FrictionReason::Blocked {
                threshold: tool.hard_block_threshold,
            }
        } else if justification_required {
            FrictionReason::JustificationRequired
        } else {
            FrictionReason::Allowed
        };
        let allowed = can_pay && !is_blocked;
        let retry_after = if allowed {
            None
        } else {
            self.wait(tool, friction, budget)
        };
        FrictionResult {
            tool_name: Arc::clone(name),
            allowed,
            cost,
            friction_level,
            friction,
            current_rate: state.rate,
            target_rate: tool.target_rate,
            effective_target: state.target,
            justification_required,
            saturation_detected: state.is_saturated,
            retry_after,
            reason,
        }
    }

    /// How long until the call would be allowed, if nothing is called meanwhile; whole seconds, rounded up.
    fn wait(&self, tool: &ToolFrictionConfig, friction: f64, budget: f64) -> Option<Duration> {
        let until_open = if friction >= tool.hard_block_threshold {
            self.wait_for_friction(friction, tool.hard_block_threshold)?
        } else {
            Duration::ZERO
        };
        let span = tool.max_cost - tool.min_cost;
        if budget >= tool.min_cost + friction * span {
            return Some(until_open);
        }
        // The price falls with the friction, and the budget is refilled: whichever is there first.
        let cheap_enough = (budget - tool.min_cost) / span;
        let by_price = (cheap_enough > 0.0)
            .then(|| self.wait_for_friction(friction, cheap_enough))
            .flatten();
        let config = &self.plan.config;
        let cost = tool.min_cost + friction * span;
        let by_refill = (config.budget_refill_rate > 0.0 && cost <= config.default_budget)
            .then(|| whole_seconds((cost - budget) / config.budget_refill_rate));
        let until_paid = match (by_price, by_refill) {
            (Some(price), Some(refill)) => price.min(refill),
            (price, refill) => price.or(refill)?,
        };
        Some(until_open.max(until_paid))
    }

    /// How long until the friction is below `goal`, which is below it now.
    fn wait_for_friction(&self, friction: f64, goal: f64) -> Option<Duration> {
        let config = &self.plan.config;
        let time_heals = config.time_decay_rate > 0.0 && config.decay == Decay::WhenChecked && goal > 0.0;
        (time_heals && self.ledger.since.is_some())
            .then(|| whole_seconds((friction / goal).ln() / config.time_decay_rate))
    }

    fn adjust(&mut self) {
        let config = &self.plan.config;
        let ledger = &mut self.ledger;
        let is_warm = ledger.calls >= u64::from(config.warmup_calls);
        for (state, (name, tool)) in ledger.tools.iter_mut().zip(&self.plan.tools) {
            state.rate = smoothed(state.rate, self.window.rate(name), config.ema_alpha);
            if !is_warm {
                continue;
            }
            let error = state.rate - state.target;
            if error.abs() >= config.dead_zone {
                let step = config.adjustment_rate * error;
                let step = if step < 0.0 {
                    step * config.asymmetric_decay
                } else {
                    step
                };
                state.friction = clamp(state.friction + step);
            }
            if config.saturation_window == 0 {
                continue;
            }
            state.saturated_calls = if state.friction >= config.saturation_threshold {
                state.saturated_calls.saturating_add(1)
            } else {
                0
            };
            if state.saturated_calls < config.saturation_window {
                continue;
            }
            state.target = (state.target + config.saturation_relief_rate).min(1.0);
            if !state.is_saturated {
                state.is_saturated = true;
                // Who never drains keeps the latest, one a tool at most.
                if self.saturations.len() >= self.plan.tools.len() {
                    self.saturations.remove(0);
                }
                self.saturations.push(Saturation {
                    tool_name: Arc::clone(name),
                    effective_target: state.target,
                    original_target: tool.target_rate,
                });
            }
        }
        if is_warm {
            self.press_by_groups();
        }
    }

    fn press_by_groups(&mut self) {
        let config = &self.plan.config;
        let tools = &mut self.ledger.tools;
        for (group, group_rate) in self.plan.groups.iter().zip(&mut self.ledger.group_rates) {
            let together: f64 = group.members.iter().map(|member| tools[*member].rate).sum();
            *group_rate = smoothed(*group_rate, together, config.ema_alpha);
            let error = *group_rate - group.config.aggregate_target;
            if error <= config.dead_zone {
                continue;
            }
            for member in &group.members {
                let state = &mut tools[*member];
                let share = if together > 0.0 {
                    state.rate / together
                } else {
                    1.0 / count(group.config.tools.len())
                };
                let pressure = config.adjustment_rate * error * share * group.config.pressure_weight;
                state.friction = clamp(state.friction + pressure);
            }
        }
    }

    /// Adds a tool, or gives a known one new settings and takes its target from them. Its friction stays.
    ///
    /// # Errors
    /// [`InvalidFriction`] when a setting makes no sense; then nothing has changed.
    pub fn configure_tool(&mut self, tool: &str, config: ToolFrictionConfig) -> Result<(), InvalidFriction> {
        let target_rate = config.target_rate;
        let position = self.put_tool(tool, config)?;
        let state = &mut self.ledger.tools[position];
        state.target = target_rate;
        state.is_saturated = false;
        state.saturated_calls = 0;
        Ok(())
    }

    /// As [`configure_tool`](Self::configure_tool), but a known tool keeps its effective target, raised or not, until
    /// time brings it back to the new setting. It is how the Python package did it.
    ///
    /// # Errors
    /// [`InvalidFriction`] when a setting makes no sense; then nothing has changed.
    pub fn configure_tool_keeping_target(
        &mut self,
        tool: &str,
        config: ToolFrictionConfig,
    ) -> Result<(), InvalidFriction> {
        self.put_tool(tool, config).map(|_| ())
    }

    fn put_tool(&mut self, tool: &str, config: ToolFrictionConfig) -> Result<usize, InvalidFriction> {
        let target = config.target_rate;
        let position = Arc::make_mut(&mut self.plan).put_tool(tool, config)?;
        if position == self.ledger.tools.len() {
            self.ledger.tools.push(ToolState {
                friction: self.ledger.others.remove(tool).unwrap_or_default(),
                target,
                ..ToolState::default()
            });
        }
        Ok(position)
    }

    /// What is left of the budget; below 0 when calls were recorded that could not be paid.
    pub fn budget_remaining(&self, now: Duration) -> f64 {
        self.passing_when_checked(now)
            .pass_budget(self.ledger.budget, &self.plan.config)
    }

    /// Sets the budget; to its default when none is named. What is no number counts as 0.
    pub fn reset_budget(&mut self, budget: Option<f64>, now: Duration) {
        self.settle(now);
        let budget = budget.unwrap_or(self.plan.config.default_budget);
        self.ledger.budget = if budget.is_nan() { 0.0 } else { budget };
    }

    /// Raises the friction of the tools named to the levels named, where it is lower. A level outside 0 to 1 counts as
    /// the nearer end. From here on time heals, even before the client's first call.
    pub fn restore<'a>(&mut self, levels: impl IntoIterator<Item = (&'a str, f64)>, now: Duration) {
        self.settle(now);
        for (tool, level) in levels {
            let level = clamp(level);
            let friction = match self.plan.position(tool) {
                Some(position) => &mut self.ledger.tools[position].friction,
                None => self.ledger.others.entry(Arc::from(tool)).or_default(),
            };
            *friction = friction.max(level);
        }
    }

    /// The friction of all tools, as it was at the last call.
    pub fn friction_levels(&self) -> BTreeMap<Arc<str>, f64> {
        let configured = self.plan.tools.iter().zip(&self.ledger.tools);
        let configured = configured.map(|((name, _), state)| (Arc::clone(name), state.friction));
        let others = self.ledger.others.iter();
        configured
            .chain(others.map(|(name, friction)| (Arc::clone(name), *friction)))
            .collect()
    }

    /// The targets raised for the first time since this was last asked.
    pub fn drain_saturations(&mut self) -> Vec<Saturation> {
        std::mem::take(&mut self.saturations)
    }

    /// The window.
    pub fn window(&self) -> &SlidingWindow {
        &self.window
    }

    /// How each configured tool stands at the moment.
    pub fn status(&self, now: Duration) -> ControllerStatus {
        let passing = self.passing_when_checked(now);
        let tools = self.plan.tools.iter().map(|(name, _)| {
            let raw_rate = self.window.rate(name);
            (
                name.to_string(),
                ToolStatus::new(&self.look(name, passing), raw_rate),
            )
        });
        ControllerStatus {
            calls: self.ledger.calls,
            budget_remaining: passing.pass_budget(self.ledger.budget, &self.plan.config),
            tools: tools.collect(),
        }
    }

    /// The highest friction of any tool at the moment.
    pub(crate) fn peak_friction(&self, now: Duration) -> f64 {
        let remains = self.passing_when_checked(now).remains;
        let configured = self.ledger.tools.iter().map(|state| state.friction);
        let others = self.ledger.others.values().copied();
        configured.chain(others).fold(0.0, f64::max) * remains
    }
}

fn smoothed(before: f64, now: f64, alpha: f64) -> f64 {
    alpha * now + (1.0 - alpha) * before
}

/// The nearest number from 0 to 1; 0 for what is no number.
fn clamp(friction: f64) -> f64 {
    if friction.is_nan() {
        0.0
    } else {
        friction.clamp(0.0, 1.0)
    }
}

fn count(number: usize) -> f64 {
    f64::from(u32::try_from(number).unwrap_or(u32::MAX))
}

/// Rounded up, and never to the very moment: a wait that ends exactly at a threshold ends too early.
fn whole_seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds.floor() + 1.0).unwrap_or(Duration::MAX)
}
