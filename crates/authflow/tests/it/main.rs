//! The library from outside.

mod authorization;
mod rate_limit;
mod redirect_uri;
mod resource;
mod scene;
mod scope;
mod store;
