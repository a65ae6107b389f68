//! The friction of a caller: who it is, whether the call may run, and what is said when it may not.

use std::{fmt, sync::Arc};

use super::{
    justification::{Justify, MAX_JUSTIFICATION_BYTES, Plea},
    key::KeyBy,
    refusal::FrictionRefusal,
    registry::FrictionRegistry,
    result::FrictionResult,
};
use crate::caller::Caller;

/// What happens to a call of a tool with friction when nobody knows who is calling.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WithoutCaller {
    /// It is refused.
    #[default]
    Refuse,
    /// It runs and is not counted, as in the Python package.
    Allow,
}

/// A registry and the rules by which callers meet it. Cheap to clone.
///
/// ```
/// use mcp_authflow_resource::{
///     Caller,
///     friction::{FrictionGuard, FrictionRefusal, FrictionRegistry, ToolFrictionConfig},
/// };
///
/// async fn delete(guard: &FrictionGuard, caller: &Caller) -> Result<&'static str, FrictionRefusal> {
///     guard.admit(Some(caller), "delete", None).await?;
///     Ok("deleted")
/// }
///
/// let registry = FrictionRegistry::builder().tool("delete", ToolFrictionConfig::default()).build()?;
/// let guard = FrictionGuard::new(registry);
/// # Ok::<(), mcp_authflow_resource::friction::InvalidFriction>(())
/// ```
#[derive(Clone)]
pub struct FrictionGuard {
    registry: FrictionRegistry,
    key_by: KeyBy,
    without_caller: WithoutCaller,
    justify: Option<Arc<dyn Justify>>,
}

impl FrictionGuard {
    /// Counts by person, refuses calls of nobody, and demands no justification.
    pub fn new(registry: FrictionRegistry) -> Self {
        Self {
            registry,
            key_by: KeyBy::default(),
            without_caller: WithoutCaller::default(),
            justify: None,
        }
    }

    /// Under which name a caller's calls are counted. Default [`KeyBy::Subject`].
    #[must_use]
    pub fn key_by(mut self, key_by: KeyBy) -> Self {
        self.key_by = key_by;
        self
    }

    /// What happens when nobody knows who is calling. Default [`WithoutCaller::Refuse`].
    #[must_use]
    pub fn without_caller(mut self, without_caller: WithoutCaller) -> Self {
        self.without_caller = without_caller;
        self
    }

    /// Demands a justification where the friction asks for one. Default none is demanded.
    #[must_use]
    pub fn justify(mut self, judge: impl Justify + 'static) -> Self {
        self.justify = Some(Arc::new(judge));
        self
    }

    /// The registry, to look into.
    pub fn registry(&self) -> &FrictionRegistry {
        &self.registry
    }

    /// Lets a call run and counts it, or refuses it. The answer is what the check said; `None` for a tool without
    /// friction.
    ///
    /// # Errors
    /// [`FrictionRefusal`], which is to be the call's result: a tool error.
    pub async fn admit(
        &self,
        caller: Option<&Caller>,
        tool: &str,
        justification: Option<&str>,
    ) -> Result<Option<FrictionResult>, FrictionRefusal> {
        let key = caller.and_then(|caller| self.key_by.key(caller));
        self.decide(key.as_deref(), caller, tool, justification).await
    }

    /// The same for whoever has a name for the caller already.
    ///
    /// # Errors
    /// [`FrictionRefusal`]
    pub async fn admit_key(
        &self,
        key: Option<&str>,
        tool: &str,
        justification: Option<&str>,
    ) -> Result<Option<FrictionResult>, FrictionRefusal> {
        self.decide(key, None, tool, justification).await
    }

    async fn decide(
        &self,
        key: Option<&str>,
        caller: Option<&Caller>,
        tool: &str,
        justification: Option<&str>,
    ) -> Result<Option<FrictionResult>, FrictionRefusal> {
        if !self.registry.is_configured(tool) {
            self.record_key(key, tool);
            return Ok(None);
        }
        let Some(key) = key else {
            return match self.without_caller {
                WithoutCaller::Allow => Ok(None),
                WithoutCaller::Refuse => {
                    tracing::warn!(
                        tool,
                        "refused: a tool with friction, and nobody knows who is calling"
                    );
                    Err(FrictionRefusal::nobody_calls(tool))
                }
            };
        };
        if let Some(judge) = &self.justify {
            self.demand_justification(&**judge, key, caller, tool, justification)
                .await?;
        }
        let result = self.registry.check_and_record(key, tool);
        if result.allowed {
            Ok(Some(result))
        } else {
            Err(FrictionRefusal::by_check(result))
        }
    }

    async fn demand_justification(
        &self,
        judge: &dyn Justify,
        key: &str,
        caller: Option<&Caller>,
        tool: &str,
        justification: Option<&str>,
    ) -> Result<(), FrictionRefusal> {
        let mut result = self.registry.check(key, tool);
        if !result.allowed || !result.justification_required {
            return Ok(());
        }
        let text = justification.map(str::trim);
        let text = text.filter(|text| !text.is_empty() && text.len() <= MAX_JUSTIFICATION_BYTES);
        if let Some(text) = text {
            let plea = Plea {
                key,
                caller,
                result: &result,
                text,
            };
            if judge.accepts(&plea).await {
                tracing::info!(
                    client_id = key,
                    tool_name = tool,
                    justification = text,
                    "justified"
                );
                return Ok(());
            }
        }
        result.allowed = false;
        self.registry.tell_refused(key, &result);
        Err(FrictionRefusal::unjustified(result))
    }

    /// Counts a call without asking whether it may run.
    pub fn record(&self, caller: Option<&Caller>, tool: &str) {
        let key = caller.and_then(|caller| self.key_by.key(caller));
        self.record_key(key.as_deref(), tool);
    }

    /// The same for whoever has a name for the caller already. A call of nobody is not counted.
    pub fn record_key(&self, key: Option<&str>, tool: &str) {
        if let Some(key) = key {
            self.registry.record_unconfigured(key, tool);
        }
    }
}

impl fmt::Debug for FrictionGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FrictionGuard")
            .field("registry", &self.registry)
            .field("key_by", &self.key_by)
            .field("without_caller", &self.without_caller)
            .field("demands_justification", &self.justify.is_some())
            .finish()
    }
}
