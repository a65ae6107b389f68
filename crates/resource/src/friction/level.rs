//! How hard a tool is to call at the moment, in one word.

use serde::{Serialize, Serializer};

/// From free to refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FrictionLevel {
    /// No friction at all.
    None,
    /// Some.
    Low,
    /// More than 0.3.
    Medium,
    /// As much as asks for a justification.
    High,
    /// As much as refuses the call.
    Blocked,
}

impl FrictionLevel {
    /// As it is written in events and answers: `NONE`, `LOW`, `MEDIUM`, `HIGH`, `BLOCKED`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "NONE",
            Self::Low => "LOW",
            Self::Medium => "MEDIUM",
            Self::High => "HIGH",
            Self::Blocked => "BLOCKED",
        }
    }
}

impl Serialize for FrictionLevel {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
