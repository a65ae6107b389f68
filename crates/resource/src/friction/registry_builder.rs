//! How a registry is put together.

use std::{fmt, sync::Arc, time::Duration};

use super::{
    event::FrictionObserver,
    penalty::{Carry, Terms},
    plan::Plan,
    registry::FrictionRegistry,
    settings::{
        AT_LEAST_ZERO, ControllerConfig, InvalidFriction, ToolFrictionConfig, ToolGroupConfig, demand,
        is_at_least_zero,
    },
};
use crate::clock::Monotonic;

/// The largest [`RegistryBuilder::max_clients`] and [`RegistryBuilder::max_saved`].
pub const MAX_CLIENTS: usize = 1_000_000;

/// Puts a [`FrictionRegistry`] together.
pub struct RegistryBuilder {
    config: ControllerConfig,
    tools: Vec<(String, ToolFrictionConfig)>,
    groups: Vec<(String, ToolGroupConfig)>,
    max_clients: usize,
    terms: Terms,
    clock: Option<Monotonic>,
    observer: Option<Arc<dyn FrictionObserver>>,
}

impl Default for RegistryBuilder {
    fn default() -> Self {
        Self {
            config: ControllerConfig::default(),
            tools: Vec::new(),
            groups: Vec::new(),
            max_clients: 1_000,
            terms: Terms {
                carry: Carry::Everything,
                ttl: Duration::from_secs(3_600),
                min_friction: 0.1,
                max_saved: 10_000,
            },
            clock: None,
            observer: None,
        }
    }
}

impl RegistryBuilder {
    /// How calls are counted; the same for all clients.
    #[must_use]
    pub fn config(mut self, config: ControllerConfig) -> Self {
        self.config = config;
        self
    }

    /// Gives a tool friction. Tools without are only counted.
    #[must_use]
    pub fn tool(mut self, name: impl Into<String>, config: ToolFrictionConfig) -> Self {
        self.tools.push((name.into(), config));
        self
    }

    /// Gives many tools friction.
    #[must_use]
    pub fn tools(mut self, tools: impl IntoIterator<Item = (String, ToolFrictionConfig)>) -> Self {
        self.tools.extend(tools);
        self
    }

    /// Gives several tools a target together.
    #[must_use]
    pub fn group(mut self, name: impl Into<String>, config: ToolGroupConfig) -> Self {
        self.groups.push((name.into(), config));
        self
    }

    /// For how many clients there is room. Default 1,000, 1 to [`MAX_CLIENTS`]. A client takes about 5 KB with the
    /// default window.
    #[must_use]
    pub fn max_clients(mut self, max_clients: usize) -> Self {
        self.max_clients = max_clients;
        self
    }

    /// For how long a client that had to make room is remembered. Default 1 hour; zero is not at all, and then a client
    /// that makes others push it out is free of friction.
    #[must_use]
    pub fn penalty_ttl(mut self, ttl: Duration) -> Self {
        self.terms.ttl = ttl;
        self
    }

    /// From which friction on a client that had to make room is told of in events and kept apart from the harmless
    /// ones. Default 0.1; above 1, from none.
    #[must_use]
    pub fn penalty_min_friction(mut self, friction: f64) -> Self {
        self.terms.min_friction = friction;
        self
    }

    /// How many clients are remembered that had to make room: so many with friction, and so many without. Default
    /// 10,000, at most [`MAX_CLIENTS`].
    #[must_use]
    pub fn max_saved(mut self, max_saved: usize) -> Self {
        self.terms.max_saved = max_saved;
        self
    }

    /// What is remembered of them. Default everything.
    #[must_use]
    pub fn carry(mut self, carry: Carry) -> Self {
        self.terms.carry = carry;
        self
    }

    /// Tells how much time has passed since some fixed moment, and only goes forward. Default the system's monotonic
    /// clock.
    #[must_use]
    pub fn clock(mut self, now: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        self.clock = Some(Monotonic::new(now));
        self
    }

    /// Who is told of every event, beside `tracing`.
    #[must_use]
    pub fn observer(mut self, observer: Arc<dyn FrictionObserver>) -> Self {
        self.observer = Some(observer);
        self
    }

    /// Checks all settings and makes the registry.
    ///
    /// # Errors
    /// [`InvalidFriction`] for the first setting that makes no sense.
    pub fn build(self) -> Result<FrictionRegistry, InvalidFriction> {
        demand(
            (1..=MAX_CLIENTS).contains(&self.max_clients),
            || "max_clients".to_owned(),
            self.max_clients,
            "must be from 1 to 1000000",
        )?;
        demand(
            self.terms.max_saved <= MAX_CLIENTS,
            || "max_saved".to_owned(),
            self.terms.max_saved,
            "must be at most 1000000",
        )?;
        demand(
            is_at_least_zero(self.terms.min_friction),
            || "penalty_min_friction".to_owned(),
            self.terms.min_friction,
            AT_LEAST_ZERO,
        )?;
        let plan = Plan::new(self.config, self.tools, self.groups)?;
        let clock = self.clock.unwrap_or_else(Monotonic::system);
        Ok(FrictionRegistry::new(
            plan,
            self.max_clients,
            self.terms,
            clock,
            self.observer,
        ))
    }
}

impl fmt::Debug for RegistryBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistryBuilder")
            .field("config", &self.config)
            .field("tools", &self.tools)
            .field("groups", &self.groups)
            .field("max_clients", &self.max_clients)
            .field("terms", &self.terms)
            .finish_non_exhaustive()
    }
}
