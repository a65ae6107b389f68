//! Names that nobody can guess: the one place in this crate that draws random bytes.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

/// 256 random bits in base64url: 43 characters, all of them visible ASCII as `Mcp-Session-Id` asks.
///
/// # Panics
/// When the system has no random bytes; then nothing that this house promises can be kept.
#[expect(clippy::disallowed_methods, reason = "this is the entropy room")]
#[expect(clippy::expect_used, reason = "a name that can be guessed is worse than none")]
pub(crate) fn session_id() -> String {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).expect("the system has random bytes");
    URL_SAFE_NO_PAD.encode(bytes)
}
