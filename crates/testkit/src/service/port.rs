//! A free loopback port.

use std::net::{Ipv4Addr, TcpListener};

use anyhow::Context;

/// Asks the system for a port of 127.0.0.1 that nobody listens on.
///
/// Another process may take it before it is used, so whoever starts a service on it
/// tries again with another one when the service ends at once.
pub fn free_port() -> anyhow::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free loopback port")?;
    Ok(listener.local_addr()?.port())
}
