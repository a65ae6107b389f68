//! A set of public keys (RFC 7517 §5), and which of them may have signed what a header describes.

use mcp_authflow_types::json;
use serde_json::Value;

use crate::{algorithm::Algorithm, jwk::Jwk};

/// How large a set may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeySetLimits {
    /// In bytes of JSON text. Default 64 KiB.
    pub max_bytes: usize,
    /// In keys, bad ones counted. Default 32.
    pub max_keys: usize,
}

impl Default for KeySetLimits {
    fn default() -> Self {
        Self {
            max_bytes: 64 * 1024,
            max_keys: 32,
        }
    }
}

/// Why a document is no key set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeySetError {
    /// More bytes than are read.
    #[error("the key set has more than {0} bytes")]
    TooManyBytes(usize),
    /// More keys than are looked at.
    #[error("the key set has more than {0} keys")]
    TooManyKeys(usize),
    /// Not JSON, a repeated name, or too deep.
    #[error("the key set is not JSON, or repeats a name")]
    NotJson,
    /// No object, an empty one, or `keys` is no list.
    #[error("a key set is an object with a list `keys`")]
    NotAKeySet,
}

/// How many keys are tried for one signature. Each try costs about as much as a whole request otherwise.
const MOST_TRIES: usize = 10;

/// Public keys, parsed and ready.
///
/// ```
/// use mcp_authflow_jose::KeySet;
///
/// let keys = KeySet::parse(br#"{"keys": [
///     {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},
///     {"kty": "oct", "k": "c2VjcmV0"}
/// ]}"#)?;
/// assert_eq!((keys.len(), keys.skipped()), (1, 1));
/// # Ok::<(), mcp_authflow_jose::KeySetError>(())
/// ```
#[derive(Debug, Default)]
pub struct KeySet {
    keys: Vec<Jwk>,
    skipped: usize,
}

impl KeySet {
    /// Parses a set within the default limits. A member that is no usable public key is skipped and counted, and spoils
    /// nothing beside it. A set without `keys`, or with null there, has none.
    ///
    /// # Errors
    /// [`KeySetError`]
    pub fn parse(text: &[u8]) -> Result<Self, KeySetError> {
        Self::parse_within(text, KeySetLimits::default())
    }

    /// Parses a set within limits.
    ///
    /// # Errors
    /// [`KeySetError`]
    pub fn parse_within(text: &[u8], limits: KeySetLimits) -> Result<Self, KeySetError> {
        if text.len() > limits.max_bytes {
            return Err(KeySetError::TooManyBytes(limits.max_bytes));
        }
        // A key has members of two levels (`key_ops`, `x5c`), the set two more; what others add may be as deep again.
        let document = json::parse_strict(text, 8).ok_or(KeySetError::NotJson)?;
        let Value::Object(members) = document else {
            return Err(KeySetError::NotAKeySet);
        };
        let members = match members.get("keys") {
            None if members.is_empty() => return Err(KeySetError::NotAKeySet),
            None | Some(Value::Null) => &[],
            Some(Value::Array(keys)) => keys.as_slice(),
            Some(_) => return Err(KeySetError::NotAKeySet),
        };
        if members.len() > limits.max_keys {
            return Err(KeySetError::TooManyKeys(limits.max_keys));
        }
        let keys: Vec<Jwk> = members
            .iter()
            .filter_map(|member| Jwk::parse(member).ok())
            .collect();
        let skipped = members.len() - keys.len();
        Ok(Self { keys, skipped })
    }

    /// How many keys can be used.
    pub const fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether none can.
    pub const fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// How many members were no usable public keys.
    pub const fn skipped(&self) -> usize {
        self.skipped
    }

    /// The keys that may have made a signature, in the order of the set, at most ten. With a `key_id`, only keys of that
    /// name (a key without one does not fit then); always only keys of the algorithm's type and curve.
    pub fn candidates<'a>(
        &'a self,
        algorithm: Algorithm,
        key_id: Option<&'a str>,
    ) -> impl Iterator<Item = &'a Jwk> {
        self.keys
            .iter()
            .filter(move |key| key_id.is_none_or(|id| key.key_id() == Some(id)))
            .filter(move |key| key.fits(algorithm))
            .take(MOST_TRIES)
    }
}

impl FromIterator<Jwk> for KeySet {
    fn from_iter<I: IntoIterator<Item = Jwk>>(keys: I) -> Self {
        Self {
            keys: keys.into_iter().collect(),
            skipped: 0,
        }
    }
}
