//! Sealed messages and keyed digests over aws-lc-rs; the room where JOSE will live.
//!
//! | file | what |
//! |---|---|
//! | [`seal`] | AES-256-GCM under a key derived by HKDF-SHA-256: a message for whoever holds a secret |
//! | [`server_key`] | the server's own key: keyed digests for CSRF tokens and one-time links |

pub mod seal;
pub mod server_key;

pub use seal::SealingKey;
pub use server_key::ServerKey;
