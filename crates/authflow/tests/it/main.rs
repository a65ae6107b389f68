//! The library from outside.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod audit;
mod authorization;
mod authorization_code;
mod client_auth;
mod client_credentials;
mod client_document;
mod client_secret_basic;
mod device_code;
mod fault;
mod interaction;
mod introspection;
mod jwt_access_token;
mod keys;
mod limits;
mod log;
mod metadata;
mod plain_pkce;
mod private_key_jwt;
mod prompt;
mod rate_limit;
mod redirect_uri;
mod refresh_token;
mod registration;
mod registration_limit;
mod registration_management;
mod registration_part;
mod resource;
mod response_issuer;
mod response_type;
mod retry_window;
mod revocation;
mod scene;
mod scope;
mod scope_inclusion;
mod store;
mod token_storage;
