//! `authflow protect`: sign-in in front of an MCP server that knows nothing of it.
//!
//! | file | what |
//! |---|---|
//! | `door` | the way of a request: token, tool, friction, upstream; hung anew when the tools change |
//! | `authority` | which scope a tool needs: by its annotations, and by the operator's rules |
//! | `survey` | asks the MCP server which tools it has |
//! | `events` | server-sent events, for answers that come as such |
//! | `own_issuer` | this process is the authorization server: the resource in its store, its tokens checked there |
//! | `other_issuer` | a separate authorization server: found, asked, or believed by its keys |
//! | `identity` | signs for the upstream who is calling |
//! | `watch` | reads the tools again and again |

mod authority;
mod door;
mod events;
mod identity;
mod other_issuer;
mod own_issuer;
mod survey;
mod watch;

pub(crate) use self::{
    authority::Authority,
    door::{Door, Doorway},
    identity::{OwnKey, SignedByServer},
    other_issuer::OtherIssuer,
    own_issuer::{OwnIssuer, register},
    survey::{Found, NotRead},
    watch::Watch,
};
