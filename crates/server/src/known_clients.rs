//! The table of known clients: read from `known-clients.toml`, which is built in, and from a file of the operator's.
//!
//! What it means for the protocol is `mcp_authflow::client::known`; the rest of an entry is for people to read.

mod switches;
mod table;

pub(crate) use self::{
    switches::{Switch, Switches},
    table::{Entry, Table},
};
