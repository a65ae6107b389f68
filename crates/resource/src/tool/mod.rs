//! Which caller may call which tool.
//!
//! The token has been checked when a request arrives here; now its body says what is asked for. [`ToolPolicy`] says
//! what that needs, and [`AuthorizeTools`] is the layer that keeps to it, between [`Protect`](crate::Protect) and the
//! MCP server.
//!
//! | file | what | source |
//! |---|---|---|
//! | `layer` | every request's way to its tools | – |
//! | `policy` | what the calls of a server need, all rules together | MCP authorization, *Scope Challenge Handling* |
//! | `rule` | one rule: which calls, which scopes | – |
//! | `pattern` | what names and arguments a rule is about | – |
//! | `headers` | whether headers say the same as the body | MCP transports, *Server Validation* |
//! | `list` | lists that show a caller what is within their reach | MCP, *Caching* |
//! | `event_stream` | the same within a stream, and sealed ids | HTML, *Server-sent events* |
//! | `body`, `refusal` | what is answered | – |

mod body;
mod event_stream;
mod headers;
mod layer;
mod list;
mod pattern;
mod policy;
mod refusal;
mod rule;

pub use body::ToolBody;
pub use headers::decode_header_value;
pub use layer::{AuthorizeTools, AuthorizedTools};
pub use pattern::{ArgumentPattern, matches};
pub use policy::{Denied, InvalidToolPolicy, ToolPolicy, ToolPolicyBuilder, Unlisted};
pub use rule::Rule;
