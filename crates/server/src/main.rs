//! `authflow`: an OAuth 2.1 authorization server for MCP that runs with one command.
//!
//! | room | what lives there |
//! |---|---|
//! | `cli/` | one verb a file |
//! | `config/` | file, environment and flags, checked together |
//! | `wire` | where ports meet adapters |
//! | `import/` | moving over from the Python package |
//! | `login/` | local accounts: sign-in, consent, first account |
//! | `pages/` | what people see |
//! | `client_logo` | logos of clients, fetched by the server and not by the browser |
//! | `protect/` | sign-in in front of an MCP server that knows nothing of it |
//! | `public_url/` | whether the public address leads here |
//! | `http/` | listener, proxies, request ids, health |
//! | `system`, `audit_trail`, `log` | clock, randomness, audit and log of the operating system |

mod audit_trail;
mod bootstrap;
mod cli;
mod client_logo;
mod config;
mod environment;
mod http;
mod import;
mod known_clients;
mod log;
mod login;
mod pages;
mod protect;
mod public_url;
mod system;
mod wire;

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::run()
}
