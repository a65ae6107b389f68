//! What happened, for logs and metrics: names and fields of the Python package, so that dashboards go on working.
//!
//! Every event goes to `tracing` with its fields (targets `mcp_authflow_resource::friction`, `…::friction::block` and
//! `…::friction::registry`), and to the [`FrictionObserver`] if there is one. As text it is the event's name and its
//! fields in compact JSON.

use std::{fmt, time::Duration};

use serde::Serialize;

use super::result::FrictionResult;

const CHECKS: &str = "mcp_authflow_resource::friction";
const BLOCKS: &str = "mcp_authflow_resource::friction::block";
const REGISTRY: &str = "mcp_authflow_resource::friction::registry";

/// Gets every event, in the thread in which it happened and after all locks are given back; is to return soon.
pub trait FrictionObserver: Send + Sync {
    /// Something happened.
    fn observe(&self, event: &FrictionEvent<'_>);
}

/// Something that happened. The field `client_id` is the key that calls are counted under, whatever that is made of.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum FrictionEvent<'a> {
    /// A call was checked.
    Check {
        /// Whose call.
        client_id: &'a str,
        /// What the check said.
        result: &'a FrictionResult,
    },
    /// A call was let through that asks for a justification.
    Justification {
        /// Whose call.
        client_id: &'a str,
        /// What the check said.
        result: &'a FrictionResult,
    },
    /// A call was refused.
    Block {
        /// Whose call.
        client_id: &'a str,
        /// What the check said.
        result: &'a FrictionResult,
    },
    /// A tool's target was raised.
    Saturation {
        /// For whom.
        client_id: &'a str,
        /// Which tool.
        tool_name: &'a str,
        /// The target from now on.
        effective_target: f64,
        /// The target as configured.
        original_target: f64,
    },
    /// A client had to make room.
    ClientEvicted {
        /// Which one.
        client_id: &'a str,
        /// How many are left.
        total_clients: usize,
    },
    /// A client was seen for the first time.
    ClientCreated {
        /// Which one.
        client_id: &'a str,
        /// How many there are now.
        total_clients: usize,
    },
    /// The friction of a client that makes room is remembered.
    PenaltyCaptured {
        /// Of whom.
        client_id: &'a str,
        /// Its highest friction.
        peak_friction: f64,
        /// For how long.
        ttl: Duration,
    },
    /// A client came back and was recognised.
    PenaltyRestored {
        /// Who.
        client_id: &'a str,
        /// Its highest friction.
        peak_friction: f64,
    },
}

/// The fields of the three events about a call.
#[derive(Serialize)]
struct CallFields<'a> {
    event_type: &'static str,
    client_id: &'a str,
    tool_name: &'a str,
    friction: f64,
    friction_level: &'static str,
    ema_rate: f64,
    target_rate: f64,
    effective_target: f64,
    cost: f64,
    allowed: bool,
    justification_required: bool,
    saturation_detected: bool,
}

impl<'a> CallFields<'a> {
    fn new(event_type: &'static str, client_id: &'a str, result: &'a FrictionResult) -> Self {
        Self {
            event_type,
            client_id,
            tool_name: &result.tool_name,
            friction: rounded(result.friction, 4),
            friction_level: result.friction_level.as_str(),
            ema_rate: rounded(result.current_rate, 6),
            target_rate: rounded(result.target_rate, 6),
            effective_target: rounded(result.effective_target, 6),
            cost: rounded(result.cost, 4),
            allowed: result.allowed,
            justification_required: result.justification_required,
            saturation_detected: result.saturation_detected,
        }
    }
}

#[derive(Serialize)]
struct SaturationFields<'a> {
    event_type: &'static str,
    client_id: &'a str,
    tool_name: &'a str,
    effective_target: f64,
    original_target: f64,
}

#[derive(Serialize)]
struct ClientFields<'a> {
    event_type: &'static str,
    client_id: &'a str,
    total_clients: usize,
}

#[derive(Serialize)]
struct PenaltyFields<'a> {
    event_type: &'static str,
    client_id: &'a str,
    peak_friction: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl: Option<f64>,
}

impl FrictionEvent<'_> {
    /// The event's name, which is also its field `event_type`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Check { .. } => "friction_check",
            Self::Justification { .. } => "friction_justification",
            Self::Block { .. } => "friction_block",
            Self::Saturation { .. } => "friction_saturation",
            Self::ClientEvicted { .. } => "friction_client_evicted",
            Self::ClientCreated { .. } => "friction_client_created",
            Self::PenaltyCaptured { .. } => "friction_penalty_captured",
            Self::PenaltyRestored { .. } => "friction_penalty_restored",
        }
    }

    /// How loud it is.
    pub fn level(&self) -> tracing::Level {
        match self {
            Self::Block { .. } | Self::Saturation { .. } => tracing::Level::WARN,
            Self::ClientCreated { .. } => tracing::Level::DEBUG,
            Self::Check { .. }
            | Self::Justification { .. }
            | Self::ClientEvicted { .. }
            | Self::PenaltyCaptured { .. }
            | Self::PenaltyRestored { .. } => tracing::Level::INFO,
        }
    }

    /// Its target in `tracing`.
    pub fn target(&self) -> &'static str {
        match self {
            Self::Check { .. } | Self::Justification { .. } | Self::Saturation { .. } => CHECKS,
            Self::Block { .. } => BLOCKS,
            Self::ClientEvicted { .. }
            | Self::ClientCreated { .. }
            | Self::PenaltyCaptured { .. }
            | Self::PenaltyRestored { .. } => REGISTRY,
        }
    }

    /// The fields as compact JSON, `event_type` first.
    pub fn fields(&self) -> String {
        let event_type = self.name();
        match *self {
            Self::Check { client_id, result }
            | Self::Justification { client_id, result }
            | Self::Block { client_id, result } => json(&CallFields::new(event_type, client_id, result)),
            Self::Saturation {
                client_id,
                tool_name,
                effective_target,
                original_target,
            } => json(&SaturationFields {
                event_type,
                client_id,
                tool_name,
                effective_target: rounded(effective_target, 6),
                original_target: rounded(original_target, 6),
            }),
            Self::ClientEvicted {
                client_id,
                total_clients,
            }
            | Self::ClientCreated {
                client_id,
                total_clients,
            } => json(&ClientFields {
                event_type,
                client_id,
                total_clients,
            }),
            Self::PenaltyCaptured {
                client_id,
                peak_friction,
                ttl,
            } => json(&PenaltyFields {
                event_type,
                client_id,
                peak_friction: rounded(peak_friction, 4),
                ttl: Some(rounded(ttl.as_secs_f64(), 3)),
            }),
            Self::PenaltyRestored {
                client_id,
                peak_friction,
            } => json(&PenaltyFields {
                event_type,
                client_id,
                peak_friction: rounded(peak_friction, 4),
                ttl: None,
            }),
        }
    }

    /// Tells `tracing`.
    pub(super) fn trace(&self) {
        /// The three events about a call differ in level and target, which `tracing` wants as constants.
        macro_rules! call {
            ($level:ident, $target:expr, $client_id:expr, $result:expr) => {
                tracing::event!(
                    target: $target,
                    tracing::Level::$level,
                    event_type = self.name(),
                    client_id = $client_id,
                    tool_name = &*$result.tool_name,
                    friction = rounded($result.friction, 4),
                    friction_level = $result.friction_level.as_str(),
                    ema_rate = rounded($result.current_rate, 6),
                    target_rate = rounded($result.target_rate, 6),
                    effective_target = rounded($result.effective_target, 6),
                    cost = rounded($result.cost, 4),
                    allowed = $result.allowed,
                    justification_required = $result.justification_required,
                    saturation_detected = $result.saturation_detected,
                    "{}",
                    self.name(),
                )
            };
        }
        match *self {
            Self::Check { client_id, result } | Self::Justification { client_id, result } => {
                call!(INFO, CHECKS, client_id, result);
            }
            Self::Block { client_id, result } => call!(WARN, BLOCKS, client_id, result),
            Self::Saturation {
                client_id,
                tool_name,
                effective_target,
                original_target,
            } => tracing::warn!(
                target: CHECKS,
                event_type = self.name(),
                client_id,
                tool_name,
                effective_target = rounded(effective_target, 6),
                original_target = rounded(original_target, 6),
                "{}",
                self.name(),
            ),
            Self::ClientEvicted {
                client_id,
                total_clients,
            } => tracing::info!(
                target: REGISTRY, event_type = self.name(), client_id, total_clients, "{}", self.name(),
            ),
            Self::ClientCreated {
                client_id,
                total_clients,
            } => tracing::debug!(
                target: REGISTRY, event_type = self.name(), client_id, total_clients, "{}", self.name(),
            ),
            Self::PenaltyCaptured {
                client_id,
                peak_friction,
                ttl,
            } => tracing::info!(
                target: REGISTRY,
                event_type = self.name(),
                client_id,
                peak_friction = rounded(peak_friction, 4),
                ttl = rounded(ttl.as_secs_f64(), 3),
                "{}",
                self.name(),
            ),
            Self::PenaltyRestored {
                client_id,
                peak_friction,
            } => tracing::info!(
                target: REGISTRY,
                event_type = self.name(),
                client_id,
                peak_friction = rounded(peak_friction, 4),
                "{}",
                self.name(),
            ),
        }
    }
}

/// The event's name, a space, and its fields as compact JSON.
impl fmt::Display for FrictionEvent<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name(), self.fields())
    }
}

fn json(fields: &impl Serialize) -> String {
    // Texts, numbers and booleans under fixed names: there is nothing in it that JSON cannot write.
    serde_json::to_string(fields).unwrap_or_default()
}

/// To so many decimals, half to even on the exact value.
fn rounded(value: f64, decimals: usize) -> f64 {
    format!("{value:.decimals$}").parse().unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// S-288, S-290
    #[test]
    fn an_event_as_text_is_its_name_and_compact_json_with_the_type_first() {
        let captured = FrictionEvent::PenaltyCaptured {
            client_id: "x",
            peak_friction: 0.123_45,
            ttl: Duration::from_secs(3_600),
        };
        assert_eq!(
            captured.to_string(),
            "friction_penalty_captured {\"event_type\":\"friction_penalty_captured\",\"client_id\":\"x\",\
             \"peak_friction\":0.1235,\"ttl\":3600.0}"
        );
        let restored = FrictionEvent::PenaltyRestored {
            client_id: "x\n\"",
            peak_friction: 1.0,
        };
        assert_eq!(
            restored.fields(),
            r#"{"event_type":"friction_penalty_restored","client_id":"x\n\"","peak_friction":1.0}"#
        );
        let saturation = FrictionEvent::Saturation {
            client_id: "x",
            tool_name: "d",
            effective_target: 0.055_000_49,
            original_target: 0.05,
        };
        assert_eq!(
            saturation.fields(),
            "{\"event_type\":\"friction_saturation\",\"client_id\":\"x\",\"tool_name\":\"d\",\
             \"effective_target\":0.055,\"original_target\":0.05}"
        );
        assert_eq!(
            (saturation.level(), saturation.target()),
            (tracing::Level::WARN, CHECKS)
        );
        assert_eq!(
            (captured.level(), captured.target()),
            (tracing::Level::INFO, REGISTRY)
        );
    }
}
