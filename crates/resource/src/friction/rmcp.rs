//! With the `rmcp` SDK: tools that have friction.
//!
//! One tool at a time, from within; a refusal is the tool's error:
//!
//! ```
//! use mcp_authflow_resource::friction::{
//!     FrictionGuard, FrictionRefusal, FrictionRegistry, ToolFrictionConfig,
//! };
//! use rmcp::{
//!     RoleServer, ServerHandler, handler::server::router::tool::ToolRouter, service::RequestContext, tool,
//!     tool_handler, tool_router,
//! };
//!
//! struct Notes {
//!     friction: FrictionGuard,
//! }
//!
//! #[tool_router]
//! impl Notes {
//!     /// Deletes all notes.
//!     #[tool]
//!     async fn delete(&self, context: RequestContext<RoleServer>) -> Result<String, FrictionRefusal> {
//!         self.friction.guard(&context, "delete").await?;
//!         Ok("deleted".to_owned())
//!     }
//! }
//!
//! #[tool_handler]
//! impl ServerHandler for Notes {}
//!
//! let registry = FrictionRegistry::builder().tool("delete", ToolFrictionConfig::default()).build()?;
//! let notes = Notes { friction: FrictionGuard::new(registry) };
//! # let _ = notes;
//! # Ok::<(), mcp_authflow_resource::friction::InvalidFriction>(())
//! ```
//!
//! Or all tools of a router, where the server hands calls to it:
//!
//! ```
//! # use mcp_authflow_resource::friction::FrictionGuard;
//! # use rmcp::{
//! #     ErrorData, RoleServer, ServerHandler,
//! #     handler::server::{router::tool::ToolRouter, tool::ToolCallContext},
//! #     model::{CallToolRequestParams, CallToolResponse, CallToolResult},
//! #     service::RequestContext,
//! # };
//! # struct Notes { friction: FrictionGuard, tools: ToolRouter<Self> }
//! impl ServerHandler for Notes {
//!     async fn call_tool(
//!         &self,
//!         request: CallToolRequestParams,
//!         context: RequestContext<RoleServer>,
//!     ) -> Result<CallToolResponse, ErrorData> {
//!         if let Err(refused) = self.friction.guard(&context, &request.name).await {
//!             return Ok(CallToolResult::from(refused).into());
//!         }
//!         self.tools.call(ToolCallContext::new(self, request, context)).await
//!     }
//! }
//! ```
//!
//! Behind a [`FrictionLayer`](super::FrictionLayer) neither is needed: a call would be counted twice.

use http::request::Parts;
use rmcp::{
    ErrorData, RoleServer,
    handler::server::tool::IntoCallToolResult,
    model::{CallToolResponse, CallToolResult, ContentBlock, MetaObject},
    service::RequestContext,
};

use super::{
    guard::FrictionGuard,
    justification::JUSTIFICATION,
    refusal::{FRICTION, FrictionRefusal},
    result::FrictionResult,
};
use crate::caller::Caller;

impl FrictionGuard {
    /// Lets a call that `rmcp` handles run and counts it, or refuses it; see [`admit`](Self::admit).
    ///
    /// Who calls stands in the HTTP request, if [`Protect`](crate::Protect) is in front; over stdio nobody is known.
    ///
    /// # Errors
    /// [`FrictionRefusal`], which becomes the call's result: a tool error.
    pub async fn guard(
        &self,
        context: &RequestContext<RoleServer>,
        tool: &str,
    ) -> Result<Option<FrictionResult>, FrictionRefusal> {
        let justification = context.meta.get(JUSTIFICATION).and_then(|text| text.as_str());
        self.admit(caller(context), tool, justification).await
    }

    /// Counts a call that `rmcp` handles without asking whether it may run.
    pub fn count(&self, context: &RequestContext<RoleServer>, tool: &str) {
        self.record(caller(context), tool);
    }
}

fn caller(context: &RequestContext<RoleServer>) -> Option<&Caller> {
    Caller::of(&context.extensions.get::<Parts>()?.extensions)
}

impl From<FrictionRefusal> for CallToolResult {
    fn from(refusal: FrictionRefusal) -> Self {
        let mut meta = MetaObject::default();
        meta.insert(FRICTION.to_owned(), refusal.data());
        let mut result = Self::error(vec![ContentBlock::text(refusal.to_string())]);
        result.meta = Some(meta);
        result
    }
}

impl IntoCallToolResult for FrictionRefusal {
    fn into_call_tool_result(self) -> Result<CallToolResponse, ErrorData> {
        Ok(CallToolResult::from(self).into())
    }
}
