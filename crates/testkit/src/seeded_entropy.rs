//! Randomness that repeats itself.

use std::sync::atomic::{AtomicU64, Ordering};

use mcp_authflow::port::Entropy;
use sha2::Digest as _;

/// Draws the same bytes in every run of a test.
///
/// # Security
/// For tests only: whoever knows the seed knows every token.
///
/// ```
/// use mcp_authflow::port::Entropy;
/// use mcp_authflow_testkit::seeded_entropy::SeededEntropy;
///
/// let (one, same): (&dyn Entropy, &dyn Entropy) = (&SeededEntropy::new(7), &SeededEntropy::new(7));
/// let first = one.draw::<40>();
/// assert_eq!(first, same.draw::<40>());
/// assert_ne!(first, one.draw::<40>());
/// ```
#[derive(Debug)]
pub struct SeededEntropy {
    seed: u64,
    drawn: AtomicU64,
}

impl SeededEntropy {
    /// Makes a source that always begins alike for the same seed.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            drawn: AtomicU64::new(0),
        }
    }
}

impl Entropy for SeededEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        for block in bytes.chunks_mut(32) {
            let drawn = self.drawn.fetch_add(1, Ordering::SeqCst);
            let digest: [u8; 32] = sha2::Sha256::new()
                .chain_update(self.seed.to_be_bytes())
                .chain_update(drawn.to_be_bytes())
                .finalize()
                .into();
            block.copy_from_slice(&digest[..block.len()]);
        }
    }
}
