//! Messages that only a holder of a secret can read: AES-256-GCM (NIST SP 800-38D) under a key derived from that secret
//! by HKDF-SHA-256 (RFC 5869).

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hkdf,
};
use zeroize::Zeroizing;

/// A key for sealing and opening, derived from a secret for one purpose.
///
/// ```
/// use mcp_authflow_jose::SealingKey;
///
/// let key = SealingKey::derive(b"a secret of 256 random bits ....", "retry");
/// let sealed = key.seal([7; 12], b"client-1", b"the answer");
/// let opened = key.open(b"client-1", &sealed).map(|message| message.to_vec());
/// assert_eq!(opened.as_deref(), Some(&b"the answer"[..]));
/// assert!(key.open(b"client-2", &sealed).is_none());
/// ```
///
/// # Security
/// The secret must carry at least 128 bits of randomness: HKDF is no password hash.
pub struct SealingKey(LessSafeKey);

impl SealingKey {
    /// Derives the key. `purpose` separates keys of different uses of one secret.
    ///
    /// # Panics
    /// Never: 32 bytes are always derivable by HKDF-SHA-256 and always an AES-256 key.
    pub fn derive(secret: &[u8], purpose: &str) -> Self {
        let mut bytes = Zeroizing::new([0; 32]);
        let info = [purpose.as_bytes()];
        let derived = hkdf::Salt::new(hkdf::HKDF_SHA256, b"mcp-authflow")
            .extract(secret)
            .expand(&info, &AES_256_GCM)
            .and_then(|okm| okm.fill(&mut *bytes))
            .and_then(|()| UnboundKey::new(&AES_256_GCM, &*bytes));
        #[expect(
            clippy::expect_used,
            reason = "the lengths are fixed and right, nothing else can fail"
        )]
        let key = derived.expect("32 bytes are an AES-256 key");
        Self(LessSafeKey::new(key))
    }

    /// Seals a message: `nonce`, ciphertext and tag in one. The same nonce must not serve two messages under one key, so
    /// draw it at random. What is in `context` must be given again to open.
    ///
    /// # Panics
    /// Only for messages beyond 64 GiB, which AES-GCM cannot seal.
    pub fn seal(&self, nonce: [u8; NONCE_LEN], context: &[u8], message: &[u8]) -> Vec<u8> {
        let mut sealed = message.to_vec();
        let tag = self.0.seal_in_place_separate_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(context),
            &mut sealed,
        );
        #[expect(clippy::expect_used, reason = "sealing fails only beyond 64 GiB")]
        let tag = tag.expect("a short message can be sealed");
        let mut whole = nonce.to_vec();
        whole.append(&mut sealed);
        whole.extend_from_slice(tag.as_ref());
        whole
    }

    /// Opens a message; `None` when key or context are others, or a bit has changed.
    pub fn open(&self, context: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (nonce, rest) = sealed.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut message = Zeroizing::new(rest.to_vec());
        let length = self
            .0
            .open_in_place(nonce, Aad::from(context), &mut message)
            .ok()?
            .len();
        message.truncate(length);
        Some(message)
    }
}

impl std::fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SealingKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_secret_purpose_and_context_open_a_message() {
        let sealed = SealingKey::derive(b"secret", "a").seal([1; 12], b"context", b"message");
        let open = |secret: &[u8], purpose, context: &[u8], sealed: &[u8]| {
            SealingKey::derive(secret, purpose)
                .open(context, sealed)
                .map(|message| message.to_vec())
        };
        assert_eq!(
            open(b"secret", "a", b"context", &sealed),
            Some(b"message".to_vec())
        );
        assert_eq!(open(b"other", "a", b"context", &sealed), None);
        assert_eq!(open(b"secret", "b", b"context", &sealed), None);
        assert_eq!(open(b"secret", "a", b"other", &sealed), None);
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(open(b"secret", "a", b"context", &changed), None, "at {at}");
            assert_eq!(
                open(b"secret", "a", b"context", &sealed[..at]),
                None,
                "cut at {at}"
            );
        }
    }
}
