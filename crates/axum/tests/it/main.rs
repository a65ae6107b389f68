//! The router from outside: whole exchanges in this process.

mod authorization;
mod cors;
mod edge;
mod form_body;
mod interaction;
mod metadata;
mod method;
mod registration;
mod revocation;
mod token;
