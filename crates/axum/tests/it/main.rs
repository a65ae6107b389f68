//! The router from outside: whole exchanges in this process.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod authorization;
mod cors;
mod device_code;
mod edge;
mod form_body;
mod hang_up;
mod interaction;
mod jwks;
mod metadata;
mod method;
mod registration;
mod registration_management;
mod revocation;
mod token;
