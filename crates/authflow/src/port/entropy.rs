//! Randomness.

/// Draws random bytes. A predictable source costs everything: tokens, codes, sessions. Use the operating system's.
pub trait Entropy: Send + Sync {
    /// Fills the buffer with random bytes. It does not fail: a system without randomness must not go on.
    fn fill(&self, bytes: &mut [u8]);
}

impl dyn Entropy + '_ {
    /// Draws `N` random bytes.
    pub fn draw<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.fill(&mut bytes);
        bytes
    }
}
