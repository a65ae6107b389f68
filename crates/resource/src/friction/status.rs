//! How things stand: for people who look, and for metrics.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{level::FrictionLevel, result::FrictionResult};

/// How one client stands.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ControllerStatus {
    /// How many calls it has made since it was first seen.
    pub calls: u64,
    /// What is left of its budget; infinite (in JSON: null) without one.
    pub budget_remaining: f64,
    /// Every configured tool.
    pub tools: BTreeMap<String, ToolStatus>,
}

/// How one tool stands for one client.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ToolStatus {
    /// 0 to 1.
    pub friction: f64,
    /// The smoothed share of the client's calls.
    pub ema_rate: f64,
    /// The share of the calls in the window.
    pub raw_rate: f64,
    /// The share it is meant to have.
    pub target_rate: f64,
    /// The same as raised by saturation.
    pub effective_target: f64,
    /// Whether it has been raised.
    pub saturation_detected: bool,
    /// What the next call costs.
    pub cost: f64,
    /// The friction in one word.
    pub level: FrictionLevel,
    /// Whether the next call would be allowed.
    pub allowed: bool,
}

impl ToolStatus {
    pub(super) fn new(result: &FrictionResult, raw_rate: f64) -> Self {
        Self {
            friction: result.friction,
            ema_rate: result.current_rate,
            raw_rate,
            target_rate: result.target_rate,
            effective_target: result.effective_target,
            saturation_detected: result.saturation_detected,
            cost: result.cost,
            level: result.friction_level,
            allowed: result.allowed,
        }
    }
}

/// How a registry stands.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RegistryStatus {
    /// How many clients are counted at the moment.
    pub total_clients: usize,
    /// How many that had to make room are remembered.
    pub saved_clients: usize,
    /// The clients, those that called last first; as many as were asked for.
    pub clients: Vec<ClientStatus>,
}

/// A client in the list.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClientStatus {
    /// The key it is counted under.
    pub key: String,
    /// How it stands.
    #[serde(flatten)]
    pub status: ControllerStatus,
}
