//! What stands around the routes: the listener, proxies, request ids, health.

pub(crate) mod around;
pub(crate) mod health;
pub(crate) mod listen;
pub(crate) mod proxies;
pub(crate) mod request_id;
