//! The library from outside.

mod audit;
mod authorization;
mod authorization_code;
mod client_auth;
mod client_credentials;
mod fault;
mod interaction;
mod introspection;
mod metadata;
mod rate_limit;
mod redirect_uri;
mod refresh_token;
mod registration;
mod resource;
mod retry_window;
mod revocation;
mod scene;
mod scope;
mod store;
