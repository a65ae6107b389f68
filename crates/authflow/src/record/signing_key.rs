//! A key that signs tokens: its private half sealed under the server key.

use std::time::Duration;

use mcp_authflow_jose::Algorithm;
use mcp_authflow_types::Timestamp;

/// The algorithms by which this server signs (RFC 7518 §3.4, RFC 8037 §3.1).
///
/// ```
/// use mcp_authflow::record::SigningAlgorithm;
///
/// assert_eq!(SigningAlgorithm::parse("EdDSA"), Some(SigningAlgorithm::EdDsa));
/// assert_eq!(SigningAlgorithm::default().as_str(), "ES256");
/// assert_eq!(SigningAlgorithm::parse("RS256"), None);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SigningAlgorithm {
    /// ECDSA on P-256 with SHA-256: what every verifier knows.
    #[default]
    Es256,
    /// Ed25519.
    EdDsa,
}

impl SigningAlgorithm {
    /// Every one of them.
    pub const ALL: &'static [Self] = &[Self::Es256, Self::EdDsa];

    /// The registered name (`alg`).
    pub const fn as_str(self) -> &'static str {
        self.algorithm().as_str()
    }

    /// Finds the algorithm by its registered name, case by case.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|one| one.as_str() == name)
    }

    /// As the signature algorithm that it is.
    pub const fn algorithm(self) -> Algorithm {
        match self {
            Self::Es256 => Algorithm::Es256,
            Self::EdDsa => Algorithm::EdDsa,
        }
    }
}

impl std::fmt::Display for SigningAlgorithm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A signing key as it is kept. Of the keys of one algorithm the one signs that was added last among those whose time to
/// sign has come; when that is another one, this one is published until the last of its tokens has expired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SigningKeyRecord {
    /// Its `kid`: the thumbprint of its public half (RFC 7638).
    pub key_id: String,
    /// What it signs with.
    pub algorithm: SigningAlgorithm,
    /// The private half in PKCS#8, sealed under the server key, with `key_id` as context. Whoever reads the store reads
    /// no key.
    pub sealed: Vec<u8>,
    /// When it was made; published since then.
    pub created_at: Timestamp,
    /// From when on it signs.
    pub active_from: Timestamp,
    /// How long the longest-lived of its tokens may live, whole seconds. It signs nothing that lives longer.
    pub longest_life: Duration,
}
