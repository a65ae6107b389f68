//! The settings of a controller, checked once and looked up quickly; shared by the controllers of all clients.

use std::{collections::HashMap, sync::Arc};

use super::settings::{ControllerConfig, InvalidFriction, ToolFrictionConfig, ToolGroupConfig};

/// All settings together.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(super) config: ControllerConfig,
    /// In the order of configuration, in which they are adjusted.
    pub(super) tools: Vec<(Arc<str>, ToolFrictionConfig)>,
    /// In the order of configuration, in which they press.
    pub(super) groups: Vec<Group>,
    positions: HashMap<Arc<str>, usize>,
}

/// A group and where its tools stand.
#[derive(Clone, Debug)]
pub(super) struct Group {
    pub(super) config: ToolGroupConfig,
    /// Positions of those that are configured; as often as they are listed.
    pub(super) members: Vec<usize>,
}

impl Plan {
    /// Of two tools or groups with one name the later counts.
    pub(crate) fn new(
        config: ControllerConfig,
        tools: impl IntoIterator<Item = (String, ToolFrictionConfig)>,
        groups: impl IntoIterator<Item = (String, ToolGroupConfig)>,
    ) -> Result<Self, InvalidFriction> {
        config.validate()?;
        let mut plan = Self {
            config,
            tools: Vec::new(),
            groups: Vec::new(),
            positions: HashMap::new(),
        };
        for (name, tool) in tools {
            plan.put_tool(&name, tool)?;
        }
        let mut named: Vec<(String, ToolGroupConfig)> = Vec::new();
        for (name, group) in groups {
            group.validate(&name)?;
            match named.iter_mut().find(|(known, _)| *known == name) {
                Some((_, known)) => *known = group,
                None => named.push((name, group)),
            }
        }
        plan.groups = named
            .into_iter()
            .map(|(_, config)| Group {
                members: Vec::new(),
                config,
            })
            .collect();
        plan.find_members();
        Ok(plan)
    }

    /// Adds a tool or changes its settings, and says where it stands.
    pub(super) fn put_tool(
        &mut self,
        name: &str,
        tool: ToolFrictionConfig,
    ) -> Result<usize, InvalidFriction> {
        tool.validate(name)?;
        if let Some(position) = self.position(name) {
            self.tools[position].1 = tool;
            return Ok(position);
        }
        let name: Arc<str> = Arc::from(name);
        let position = self.tools.len();
        self.positions.insert(Arc::clone(&name), position);
        self.tools.push((name, tool));
        self.find_members();
        Ok(position)
    }

    fn find_members(&mut self) {
        for group in &mut self.groups {
            let position = |tool: &String| self.positions.get(tool.as_str()).copied();
            group.members = group.config.tools.iter().filter_map(position).collect();
        }
    }

    /// Where the tool stands, if it is configured.
    pub(super) fn position(&self, tool: &str) -> Option<usize> {
        self.positions.get(tool).copied()
    }
}
