//! With the `rmcp` SDK: a tool says beside itself which scope it needs, and learns who calls it.
//!
//! ```
//! use mcp_authflow_resource::{Caller, ToolPolicy, rmcp::{ToolsDeclare as _, needs}, tool::Unlisted};
//! use rmcp::{ServerHandler, handler::server::router::tool::ToolRouter, tool, tool_handler, tool_router};
//!
//! struct Notes;
//!
//! #[tool_router]
//! impl Notes {
//!     /// Says who is calling.
//!     #[tool]
//!     async fn whoami(&self, caller: Caller) -> String {
//!         caller.subject().unwrap_or("nobody").to_owned()
//!     }
//!
//!     /// Deletes all notes of whoever is calling.
//!     #[tool(meta = needs("notes:delete"))]
//!     async fn delete_notes(&self, caller: Caller) -> String {
//!         format!("deleted the notes of {:?}", caller.subject())
//!     }
//! }
//!
//! #[tool_handler]
//! impl ServerHandler for Notes {}
//!
//! // The layer's policy is what the tools say: there is no second list to keep in step.
//! let policy = ToolPolicy::builder()
//!     .declared_by(Notes::tool_router().list_all())
//!     .unlisted(Unlisted::Deny)
//!     .build()?;
//! # let _ = policy;
//! # Ok::<(), mcp_authflow_resource::tool::InvalidToolPolicy>(())
//! ```
//!
//! # Security
//! What a tool declares is enforced by [`AuthorizeTools`](crate::AuthorizeTools), which must stand in front. A tool that
//! cannot be sure of that asks [`Caller::require_scope`] once more; its refusal becomes an error of the call.

use http::request::Parts;
use rmcp::{
    ErrorData, RoleServer,
    handler::server::common::{AsRequestContext, FromContextPart},
    model::{ErrorCode, MetaObject, Tool},
    service::RequestContext,
};
use serde_json::json;

use crate::{
    caller::{Caller, InsufficientScope},
    tool::{Rule, ToolPolicyBuilder},
};

/// Where in a tool's `_meta` the scope stands that it needs. Clients see it, and may ask for it before they call.
pub const SCOPE: &str = "authflow/scope";

/// The `_meta` of a tool that needs this scope, one or several with a space between.
pub fn needs(scope: &str) -> MetaObject {
    let mut meta = MetaObject::default();
    meta.insert(SCOPE.to_owned(), scope.into());
    meta
}

/// Takes rules from the tools that they are about.
pub trait ToolsDeclare {
    /// Adds a rule for each tool, with the scope that it [`needs`]. A tool that names none needs none beyond those of
    /// every request; it counts as listed.
    #[must_use = "nothing is ruled before `build`"]
    fn declared_by(self, tools: impl IntoIterator<Item = Tool>) -> Self;
}

impl ToolsDeclare for ToolPolicyBuilder {
    fn declared_by(self, tools: impl IntoIterator<Item = Tool>) -> Self {
        self.rules(tools.into_iter().map(|tool| {
            let rule = Rule::tool(&tool.name);
            match tool.meta.as_ref().and_then(|meta| meta.get(SCOPE)) {
                None => rule,
                Some(serde_json::Value::String(scope)) => rule.requires(scope),
                // No scope, and so refused by `build`.
                Some(_) => rule.requires("\""),
            }
        }))
    }
}

impl Caller {
    /// The caller of the request in which `rmcp` handles something: for prompts, resources and other methods, whose
    /// handlers get the context.
    ///
    /// # Errors
    /// An internal error when the layer is not in front: a fault of the program, not of the caller.
    pub fn of_context(context: &RequestContext<RoleServer>) -> Result<Self, ErrorData> {
        let parts = context.extensions.get::<Parts>();
        parts
            .and_then(|parts| Self::of(&parts.extensions))
            .cloned()
            .ok_or_else(|| {
                tracing::error!(
                    "a tool asks for its Caller but mcp_authflow_resource::Protect is not in front of it"
                );
                ErrorData::internal_error("the server cannot tell who is calling", None)
            })
    }
}

/// A tool that takes a [`Caller`] gets the one of its call.
impl<C: AsRequestContext> FromContextPart<C> for Caller {
    fn from_context_part(context: &mut C) -> Result<Self, ErrorData> {
        Self::of_context(context.as_request_context())
    }
}

/// For a scope that turns out to be needed only while a tool runs. Clients do not step up on it, as they do on the
/// layer's 403; it tells the person what is missing.
impl From<InsufficientScope> for ErrorData {
    fn from(refused: InsufficientScope) -> Self {
        let data = json!({"error": "insufficient_scope", "scope": refused.required().to_string()});
        Self::new(ErrorCode::INVALID_REQUEST, refused.to_string(), Some(data))
    }
}
