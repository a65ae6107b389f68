//! Signed tokens and the keys that prove them (JOSE: JWS, JWK, JWT), sealed messages and keyed digests, over aws-lc-rs.
//!
//! A key is parsed once and tied to what it can verify; a token is taken apart without trust and proven by a key; a claim
//! of the wrong type is an error. There is no way to ask for `none`, for a shared key, or for one algorithm with another's
//! key.
//!
//! | file | what |
//! |---|---|
//! | [`algorithm`] | the signature algorithms that are built (RFC 7518, RFC 8037) |
//! | [`jwk`] | one public key (RFC 7517) |
//! | [`key_set`] | a set of them, and which may have signed something |
//! | [`verify`] | signed tokens in compact form (RFC 7515): parsed, then proven |
//! | [`claims`] | typed claims (RFC 7519) |
//! | [`signing_key`] | a private key that signs tokens |
//! | [`seal`] | AES-256-GCM under a key derived by HKDF-SHA-256: a message for whoever holds a secret |
//! | [`server_key`] | the server's own key: keyed digests for CSRF tokens and one-time links |

pub mod algorithm;
mod base64url;
pub mod claims;
pub mod jwk;
pub mod key_set;
pub mod seal;
pub mod server_key;
pub mod signing_key;
pub mod verify;

pub use algorithm::{Algorithm, KeyKind};
pub use claims::{ClaimError, Claims, NumericDate};
pub use jwk::{Jwk, JwkError};
pub use key_set::{KeySet, KeySetError, KeySetLimits};
pub use seal::SealingKey;
pub use server_key::ServerKey;
pub use signing_key::{SigningKey, SigningKeyError};
pub use verify::{JwsError, JwsRules, UnverifiedJws, VerifiedJws, VerifyError};
