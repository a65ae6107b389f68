//! `[protect.friction]`: how often callers may call which tools before it gets expensive.

use mcp_authflow_resource::friction::{
    ControllerConfig, FrictionRegistry, InvalidFriction, ToolFrictionConfig, ToolGroupConfig,
};

use super::{ConfigError, Reader};

/// Friction, where it is set at all.
#[derive(Debug, Default)]
pub(crate) struct Friction {
    controller: ControllerConfig,
    tools: Vec<(String, ToolFrictionConfig)>,
    groups: Vec<(String, ToolGroupConfig)>,
}

const SECTION: &str = "protect.friction";
const TOOL: &str = "protect.friction.tool";
const GROUP: &str = "protect.friction.group";

/// The most tools and groups.
const MAX_RULES: usize = 1_000;

impl Friction {
    /// Reads the section; nothing when there is none.
    pub(super) fn read(read: &mut Reader) -> Result<Option<Self>, ConfigError> {
        let tools = read.tables(TOOL, MAX_RULES, named::<ToolFrictionConfig>)?;
        let groups = read.tables(GROUP, MAX_RULES, named::<ToolGroupConfig>)?;
        let controller = read.section::<ControllerConfig>(SECTION)?;
        if tools.is_empty() && groups.is_empty() && controller.is_none() {
            return Ok(None);
        }
        let friction = Self {
            controller: controller.unwrap_or_default(),
            tools,
            groups,
        };
        // Numbers that make no sense are found out here.
        friction
            .registry()
            .map_err(|error| ConfigError::Unsafe(format!("{SECTION}: {error}")))?;
        Ok(Some(friction))
    }

    /// A registry that nobody has called through yet.
    pub(crate) fn registry(&self) -> Result<FrictionRegistry, InvalidFriction> {
        let builder = FrictionRegistry::builder()
            .config(self.controller.clone())
            .tools(self.tools.iter().cloned());
        self.groups
            .iter()
            .fold(builder, |builder, (name, group)| {
                builder.group(name, group.clone())
            })
            .build()
    }
}

/// Takes the name out of a table; the rest is the setting.
fn named<T: serde::de::DeserializeOwned>(mut table: toml::Table) -> Result<(String, T), String> {
    let Some(toml::Value::String(name)) = table.remove("name") else {
        return Err("say whose it is: name = \"delete_note\"".to_owned());
    };
    let setting = T::deserialize(toml::Value::Table(table))
        .map_err(|error| super::layers::without_value(error.message()))?;
    Ok((name, setting))
}
