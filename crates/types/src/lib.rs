//! The words of the OAuth RFCs as Rust types: parsed at the edge, then trusted.
//!
//! One RFC noun a file. Nothing here does I/O, reads a clock or draws randomness; what needs them takes them as
//! arguments.
//!
//! | file | noun | source |
//! |---|---|---|
//! | [`client_id`] | who asks | RFC 6749 §2.2 |
//! | [`redirect_uri`] | where answers go | RFC 6749 §3.1.2, RFC 8252 |
//! | [`scope`] | what may be done | RFC 6749 §3.3 |
//! | [`resource`] | where it may be done | RFC 8707 |
//! | [`issuer`] | who we are | RFC 8414 §2 |
//! | [`pkce`] | proof that the same client asks again | RFC 7636 |
//! | [`secret`] | tokens, codes, client secrets and their digests | RFC 6749 §1.4, §1.5 |
//! | [`user_code`], [`device_authorization`] | what a person types, and what a device is told | RFC 8628 |
//! | [`form`] | request parameters | RFC 6749 §3.1, §3.2 |
//! | [`error`] | what goes wrong, outside | RFC 6749 §5.2 |
//! | [`reply`] | an answer that any web framework can send | RFC 6749 §5 |
//! | [`cors`] | which pages of other sites may call | Fetch |
//! | [`json_list`] | a list that came as JSON, or as text | – |
//! | [`registry`] | the closed sets of registered values | IANA OAuth parameters |
//! | [`metadata`] | what the server says of itself | RFC 8414 |
//! | [`registration`] | how a client introduces itself | RFC 7591 |
//! | [`special_use`] | which addresses are not the public internet | RFC 6890 |
//! | [`token_response`], [`introspection`] | what the endpoints answer | RFC 6749 §5.1, RFC 7662 |

/// The version of this crate, and of all crates of the house.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

pub mod client_id;
pub mod cors;
pub mod device_authorization;
pub mod error;
pub mod form;
pub mod hex;
pub mod introspection;
pub mod issuer;
pub mod json;
pub mod json_list;
pub mod metadata;
pub mod pkce;
pub mod redirect_uri;
pub mod registration;
pub mod registry;
pub mod reply;
pub mod resource;
pub mod scope;
pub mod secret;
pub mod special_use;
pub mod timestamp;
pub mod token_response;
pub mod uri;
pub mod user_code;

pub use client_id::ClientId;
pub use device_authorization::DeviceAuthorizationResponse;
pub use error::{ErrorCode, ErrorReply, ErrorResponse};
pub use form::Form;
pub use issuer::Issuer;
pub use pkce::{CodeChallenge, CodeVerifier};
pub use redirect_uri::RedirectUri;
pub use registry::{
    ApplicationType, CodeChallengeMethod, GrantType, Prompt, ResponseType, TokenEndpointAuthMethod,
};
pub use reply::Reply;
pub use resource::Resource;
pub use scope::{Scope, ScopeToken};
pub use secret::{
    AccessToken, AuthorizationCode, ClientSecret, DeviceCode, ForeignToken, PresentedToken, RefreshToken,
    RegistrationAccessToken, TokenHash,
};
pub use timestamp::Timestamp;
pub use token_response::TokenResponse;
pub use user_code::UserCode;
