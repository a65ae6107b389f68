//! Friction control: the more of its calls a client spends on a tool that is meant to be called rarely, the more a call
//! costs, until it is refused for a while.
//!
//! Not a rate limit: what counts is not how often somebody calls, but which share of their calls goes where. An agent in
//! a loop of `delete` after `delete` meets friction; one that reads a hundred notes and deletes five does not.
//!
//! # Map
//!
//! | file | what |
//! |---|---|
//! | [`settings`] | what can be set, and what makes no sense |
//! | `window` | the last calls of a client |
//! | `controller` | the friction of one client |
//! | `ledger` | what is remembered of it, and what time does to that |
//! | `plan` | all settings, looked up quickly |
//! | `level`, `result`, `status` | what a check says, and how things stand |
//! | `registry`, `registry_builder` | the friction of all clients |
//! | `penalty` | what is remembered of clients that had to make room |
//! | `key`, `guard` | whose calls these are, and whether one may run |
//! | [`justification`] | why a call is needed |
//! | [`refusal`] | how a refused call is answered |
//! | [`layer`], `answer`, `batch` | all tools of a server behind a tower layer |
//! | `rmcp` | tools of that SDK, from within (feature `rmcp`) |
//! | [`event`] | what happened, for logs and metrics |
//!
//! # Beside the Python package
//! The numbers are those of `mcp-authflow-resource`. Better by default, and each a setting: time passes when checked
//! ([`Decay`]), raised targets fall back ([`ControllerConfig::target_return_rate`]), clients that make room take
//! everything with them ([`Carry`]). Settings are checked at the start, and everything is bounded.

mod answer;
mod batch;
mod controller;
pub mod event;
mod guard;
pub mod justification;
mod key;
pub mod layer;
mod ledger;
mod level;
mod penalty;
mod plan;
pub mod refusal;
mod registry;
mod registry_builder;
mod result;
#[cfg(feature = "rmcp")]
pub mod rmcp;
pub mod settings;
mod status;
mod window;

pub use answer::Answer;
pub use controller::{FrictionController, Saturation};
pub use event::{FrictionEvent, FrictionObserver};
pub use guard::{FrictionGuard, WithoutCaller};
pub use justification::{Justify, Plea};
pub use key::{KeyBy, NameOf};
pub use layer::{FrictionLayer, Frictional};
pub use level::FrictionLevel;
pub use penalty::Carry;
pub use refusal::FrictionRefusal;
pub use registry::FrictionRegistry;
pub use registry_builder::{MAX_CLIENTS, RegistryBuilder};
pub use result::{FrictionReason, FrictionResult};
pub use settings::{ControllerConfig, Decay, InvalidFriction, ToolFrictionConfig, ToolGroupConfig};
pub use status::{ClientStatus, ControllerStatus, RegistryStatus, ToolStatus};
pub use window::{SlidingWindow, ToolCallRecord};
