//! The public keys with which a client proves itself.

use std::sync::Arc;

use mcp_authflow_jose::KeySet;

use super::{FetchError, Freshness, StoreError};

/// Why there are no keys.
///
/// The text is for the log: told to whoever asks, it would map clients and networks for them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClientKeysError {
    /// The client has none, or there is no such client. The assertion is refused.
    #[error("the client has no keys")]
    None,
    /// What the client has is no key set, or is at an address that is not asked. The assertion is refused.
    #[error("the client's keys cannot be used: {0}")]
    Unusable(String),
    /// They cannot be asked for now. Answered with 503: nothing is known against the client.
    #[error("the client's keys cannot be asked for now: {0}")]
    Unavailable(String),
    /// They did not come in time. Answered with 504.
    #[error("the client's keys did not come in time: {0}")]
    TimedOut(String),
}

/// Gives the public keys of a client.
///
/// What a wrong answer costs: keys of another client, or of an address that somebody else writes to, let that one sign in
/// as this client; keys that were withdrawn let their thief in. One that calls trouble
/// [`Unusable`](ClientKeysError::Unusable) blames an honest client; one that answers an empty set does too.
///
/// Keys are asked for after a request was looked at without them, so an unreadable assertion causes no work here.
#[async_trait::async_trait]
pub trait ClientKeySource: Send + Sync {
    /// The keys of the client that is called so. [`Freshness::Refresh`] is asked when an assertion names a key that the
    /// set at hand lacks; where nothing newer can be had, the same set is answered again (the same allocation).
    async fn client_keys(
        &self,
        client_id: &str,
        freshness: Freshness,
    ) -> Result<Arc<KeySet>, ClientKeysError>;
}

impl From<FetchError> for ClientKeysError {
    fn from(error: FetchError) -> Self {
        match error {
            FetchError::Refused(_) | FetchError::BadDocument(_) => Self::Unusable(error.to_string()),
            FetchError::Unavailable(_) => Self::Unavailable(error.to_string()),
            FetchError::TimedOut(_) => Self::TimedOut(error.to_string()),
        }
    }
}

impl From<StoreError> for ClientKeysError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::TimedOut(_) => Self::TimedOut(error.to_string()),
            StoreError::Unavailable(_) | StoreError::Broken(_) => Self::Unavailable(error.to_string()),
        }
    }
}
