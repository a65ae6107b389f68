//! The layer as its callers see it: whole exchanges, over the real introspection, against an authorization server that
//! says and breaks what a test needs.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod access;
mod cache;
mod caches;
mod discovery;
mod friction;
#[cfg(feature = "rmcp")]
mod friction_rmcp;
mod house;
mod introspection;
mod jwt;
mod lists;
mod mcp_server;
mod outage;
mod pages;
mod peer;
#[cfg(feature = "rmcp")]
mod rmcp_sdk;
mod sessions;
mod several_resources;
mod tls;
mod tools;
