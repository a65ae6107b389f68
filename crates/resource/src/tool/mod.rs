//! Which caller may call which tool.
//!
//! The token has been checked when a request arrives here; now its body says what is asked for. [`ToolPolicy`] says
//! what that needs, and [`AuthorizeTools`] is the layer that keeps to it, between [`Protect`](crate::Protect) and the
//! MCP server.
//!
//! | file | what | source |
//! |---|---|---|
//! | `policy` | what the calls of a server need, all rules together | MCP authorization, *Scope Challenge Handling* |
//! | `rule` | one rule: which calls, which scopes | – |
//! | `pattern` | what names and arguments a rule is about | – |

mod pattern;
mod policy;
mod rule;

pub use pattern::ArgumentPattern;
pub use policy::{Denied, InvalidToolPolicy, ToolPolicy, ToolPolicyBuilder, Unlisted};
pub use rule::Rule;
