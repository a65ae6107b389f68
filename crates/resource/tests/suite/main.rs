//! The layer as its callers see it: whole exchanges, over the real introspection, against an authorization server that
//! says and breaks what a test needs.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod access;
mod discovery;
mod house;
mod jwt;
mod outage;
mod pages;
mod peer;
