//! The one way in which bytes are written here (RFC 7515 §2): base64url, no padding, no spare bits.

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};

/// Writes bytes.
pub(crate) fn encode(bytes: &[u8]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

/// Reads bytes; `None` for any text that [`encode`] does not write.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    BASE64_URL_SAFE_NO_PAD.decode(text).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_spelling_and_no_other_is_read() {
        assert_eq!(decode("_-8"), Some(vec![0xff, 0xef]));
        for bad in ["_-8=", "_-9", "/+8", "_-8\n", " _-8", "_", "_-8A=", "é"] {
            assert_eq!(decode(bad), None, "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_read_is_written_the_same(text in "[A-Za-z0-9_=+/ -]{0,24}") {
            if let Some(bytes) = decode(&text) {
                prop_assert_eq!(encode(&bytes), text);
            }
        }
    }
}
