//! The server's own key: 256 random bits from which keyed digests are made, one purpose apart from the other.

use aws_lc_rs::{constant_time, digest, hmac};
use mcp_authflow_types::hex;
use zeroize::Zeroizing;

use crate::seal::SealingKey;

/// The server key. It keys CSRF tokens, one-time links and short user codes, and seals signing keys.
///
/// ```
/// use mcp_authflow_jose::ServerKey;
///
/// let key = ServerKey::from_bytes([7; 32]);
/// let digest = key.digest("csrf", &[b"session", b"interaction"]);
/// assert!(key.is_digest("csrf", &[b"session", b"interaction"], &digest));
/// assert!(!key.is_digest("csrf", &[b"sessioninteraction", b""], &digest));
/// ```
#[derive(Clone)]
pub struct ServerKey(Zeroizing<[u8; 32]>);

impl ServerKey {
    /// Takes 256 random bits.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Reads 64 hexadecimal digits, with white space around them allowed; `None` when the text is anything else.
    pub fn parse_hex(text: &str) -> Option<Self> {
        hex::decode(&text.trim().to_ascii_lowercase()).map(Self::from_bytes)
    }

    /// The key as 64 hexadecimal digits: for its file.
    pub fn to_hex(&self) -> Zeroizing<String> {
        Zeroizing::new(hex::encode(&*self.0))
    }

    /// A digest of the key itself, by which a store recognises it. It gives nothing of the key away.
    pub fn fingerprint(&self) -> [u8; 32] {
        self.digest("fingerprint", &[])
    }

    /// A key that seals what is kept beside tokens and must not be read there, one purpose apart from the other.
    ///
    /// ```
    /// use mcp_authflow_jose::ServerKey;
    ///
    /// let key = ServerKey::from_bytes([7; 32]);
    /// let sealed = key.sealing_key("signing keys").seal([1; 12], b"kid", b"private");
    /// assert!(key.sealing_key("signing keys").open(b"kid", &sealed).is_some());
    /// assert!(key.sealing_key("another purpose").open(b"kid", &sealed).is_none());
    /// ```
    pub fn sealing_key(&self, purpose: &str) -> SealingKey {
        SealingKey::derive(&*self.0, purpose)
    }

    /// HMAC-SHA-256 (RFC 2104) over the parts, each with its length in front, under a key of this purpose.
    pub fn digest(&self, purpose: &str, parts: &[&[u8]]) -> [u8; 32] {
        let purpose_key = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &*self.0), purpose.as_bytes());
        let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, purpose_key.as_ref()));
        for part in parts {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let mut bytes = [0; 32];
        bytes.copy_from_slice(&context.sign().as_ref()[..digest::SHA256_OUTPUT_LEN]);
        bytes
    }

    /// Whether `presented` is that digest, in constant time.
    pub fn is_digest(&self, purpose: &str, parts: &[&[u8]], presented: &[u8]) -> bool {
        constant_time::verify_slices_are_equal(&self.digest(purpose, parts), presented).is_ok()
    }
}

impl std::fmt::Debug for ServerKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ServerKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_survives_its_file_and_nothing_else_is_a_key() {
        let key = ServerKey::from_bytes([0xab; 32]);
        let again = ServerKey::parse_hex(&format!("{}\n", *key.to_hex())).map(|key| key.fingerprint());
        assert_eq!(again, Some(key.fingerprint()));
        for bad in ["", "ab", &"g".repeat(64), &"+a".repeat(32), &"a".repeat(65)] {
            assert!(ServerKey::parse_hex(bad).is_none(), "{bad}");
        }
    }
}
