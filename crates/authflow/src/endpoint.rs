//! Endpoints: one a file, named by its RFC 8414 key, each a method of [`AuthorizationServer`](crate::AuthorizationServer).

pub mod authorization;
mod device_authorization;
mod introspection;
mod jwks;
mod metadata;
mod registration;
mod revocation;
mod token;

pub use device_authorization::{UserCodeEntry, UserCodeProblem};
pub use registration::ManageRegistration;
