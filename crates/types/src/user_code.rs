//! User codes (RFC 8628 §6.1): the short text that a person reads off a device and types into a browser.
//!
//! Letters come from [`ALPHABET`]: twenty consonants, so that no code spells a word and none of its letters is taken for a
//! digit. Nothing here draws randomness: a generator is handed a source of random bytes.

use std::fmt;

use zeroize::Zeroizing;

/// The letters of a user code (RFC 8628 §6.1).
pub const ALPHABET: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";

/// The least entropy of a user code, in bits.
pub const MIN_ENTROPY_BITS: f64 = 20.0;

/// The longest text that is read as a user code, in bytes: room for every separator a person may think of.
pub const MAX_TYPED_BYTES: usize = 128;

/// How user codes look: groups of letters with a separator between. The default is `XXXX-XXXX`, 34.5 bits.
///
/// ```
/// use mcp_authflow_types::user_code::UserCodeFormat;
///
/// let format = UserCodeFormat::default();
/// // Use the operating system's randomness here.
/// let code = format.generate(&mut |bytes| bytes.fill(7));
/// assert_eq!(code, "KKKK-KKKK");
/// assert_eq!(format.read(" wdjb mjht ").as_deref(), Ok("WDJB-MJHT"));
/// assert!(format.read("0O1I-L000").is_err());
/// assert!(UserCodeFormat::new(1, 4, "-").is_err()); // 17.3 bits
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserCodeFormat {
    groups: usize,
    group_size: usize,
    separator: String,
}

/// Why user codes cannot look like this.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidUserCodeFormat {
    /// There would be no letter at all.
    #[error("a user code has at least one group of at least one letter")]
    Empty,
    /// They would be guessed too easily (RFC 8628 §5.1, §6.1).
    #[error("a user code has at least 20 bits of entropy, five letters, and this one has {bits:.1}")]
    TooLittleEntropy {
        /// What it would have.
        bits: f64,
    },
    /// They would be longer than anybody types.
    #[error("a user code has at most 1024 letters, and separators of at most 64 bytes")]
    TooLong,
}

/// The text is no user code of this format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a user code")]
pub struct NotAUserCode;

impl Default for UserCodeFormat {
    fn default() -> Self {
        Self {
            groups: 2,
            group_size: 4,
            separator: "-".to_owned(),
        }
    }
}

impl UserCodeFormat {
    /// The most letters of a code.
    pub const MAX_LETTERS: usize = 1_024;

    /// Groups of letters, with a separator between two groups.
    ///
    /// # Errors
    /// [`InvalidUserCodeFormat`] when there is no letter, when there are fewer than five (less than 20 bits), or more than
    /// anybody types.
    pub fn new(
        groups: usize,
        group_size: usize,
        separator: impl Into<String>,
    ) -> Result<Self, InvalidUserCodeFormat> {
        let format = Self::for_reading(groups, group_size, separator)?;
        let bits = format.entropy_bits();
        if bits < MIN_ENTROPY_BITS {
            return Err(InvalidUserCodeFormat::TooLittleEntropy { bits });
        }
        Ok(format)
    }

    /// The same without the floor under the entropy: for reading codes that somebody else made.
    ///
    /// # Errors
    /// [`InvalidUserCodeFormat`] when there is no letter, or there are more than anybody types.
    pub fn for_reading(
        groups: usize,
        group_size: usize,
        separator: impl Into<String>,
    ) -> Result<Self, InvalidUserCodeFormat> {
        let format = Self {
            groups,
            group_size,
            separator: separator.into(),
        };
        if groups == 0 || group_size == 0 {
            return Err(InvalidUserCodeFormat::Empty);
        }
        let letters = groups.saturating_mul(group_size);
        if letters > Self::MAX_LETTERS || format.separator.len() > 64 {
            return Err(InvalidUserCodeFormat::TooLong);
        }
        Ok(format)
    }

    /// How many letters a code has.
    pub const fn letters(&self) -> usize {
        self.groups * self.group_size
    }

    /// The entropy of a code, in bits.
    pub fn entropy_bits(&self) -> f64 {
        let letters = u32::try_from(self.letters()).map_or(f64::INFINITY, f64::from);
        20.0_f64.log2() * letters
    }

    /// Makes a code. `fill` fills its buffer with random bytes and is called until there are enough: each letter is drawn
    /// by itself, and each is as likely as every other.
    ///
    /// # Security
    /// A predictable source lets strangers approve for themselves what a person meant to approve, and the reverse. Use the
    /// operating system's.
    pub fn generate(&self, fill: &mut dyn FnMut(&mut [u8])) -> String {
        // The largest multiple of 20 that a byte can hold more values than: what lies above would favour some letters.
        const FAIR: u8 = 240;
        let mut letters = Zeroizing::new(String::with_capacity(self.letters()));
        let mut bytes = Zeroizing::new([0; 32]);
        while letters.len() < self.letters() {
            fill(&mut *bytes);
            let missing = self.letters() - letters.len();
            let fair = bytes.iter().filter(|byte| **byte < FAIR).take(missing);
            letters.extend(fair.map(|byte| char::from(ALPHABET[usize::from(byte % 20)])));
        }
        self.grouped(&letters)
    }

    /// Reads what a person typed: capitals or not, with whatever separators. Letters count only if they are of
    /// [`ALPHABET`]; anything else that is a letter or a digit in any script, another length, or more than
    /// [`MAX_TYPED_BYTES`] is no code, and nothing needs to be looked up to know it.
    ///
    /// # Errors
    /// [`NotAUserCode`]
    pub fn read(&self, typed: &str) -> Result<String, NotAUserCode> {
        if typed.len() > MAX_TYPED_BYTES {
            return Err(NotAUserCode);
        }
        let mut letters = String::with_capacity(self.letters());
        for c in typed.chars() {
            let letter = c.to_ascii_uppercase();
            if u8::try_from(letter).is_ok_and(|letter| ALPHABET.contains(&letter)) {
                letters.push(letter);
            } else if !is_between_letters(c) {
                return Err(NotAUserCode);
            }
        }
        if letters.len() == self.letters() {
            Ok(self.grouped(&letters))
        } else {
            Err(NotAUserCode)
        }
    }

    /// Reads what a person typed as the Python packages did: whatever is no letter or digit is dropped, the rest is
    /// put into capitals by the rules of Unicode, and separators are put in where the length is right. It never fails; what
    /// comes out need not be a code. For those who compare with codes stored by the packages; otherwise use
    /// [`read`](Self::read).
    pub fn normalize(&self, typed: &str) -> String {
        let kept: String = typed.chars().filter(|c| c.is_alphanumeric()).collect();
        let kept = kept.to_uppercase();
        if kept.chars().count() == self.letters() {
            self.grouped(&kept)
        } else {
            kept
        }
    }

    fn grouped(&self, letters: &str) -> String {
        let mut grouped = String::with_capacity(letters.len() + self.groups * self.separator.len());
        for (index, letter) in letters.chars().enumerate() {
            if index > 0 && index % self.group_size == 0 {
                grouped.push_str(&self.separator);
            }
            grouped.push(letter);
        }
        grouped
    }
}

/// What people put between letters: ASCII punctuation and white space, and the dashes and spaces that phones make of them.
fn is_between_letters(c: char) -> bool {
    c.is_ascii_punctuation()
        || c.is_ascii_whitespace()
        || matches!(c, '\u{a0}' | '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{202f}')
}

/// A user code of this server: eight letters, shown as `XXXX-XXXX`.
///
/// # Security
/// No `Display` and no `Debug` that shows it: while it waits, whoever knows it may be the first to type it. A store keeps
/// it keyed with a secret of the server, since 34.5 bits are tried out in seconds otherwise.
#[derive(Clone, PartialEq, Eq)]
pub struct UserCode(Zeroizing<String>);

impl UserCode {
    /// Makes a code of random bytes; see [`UserCodeFormat::generate`].
    pub fn generate(fill: &mut dyn FnMut(&mut [u8])) -> Self {
        Self(Zeroizing::new(UserCodeFormat::default().generate(fill)))
    }

    /// Reads what a person typed; see [`UserCodeFormat::read`].
    ///
    /// # Errors
    /// [`NotAUserCode`]
    pub fn read(typed: &str) -> Result<Self, NotAUserCode> {
        UserCodeFormat::default()
            .read(typed)
            .map(|code| Self(Zeroizing::new(code)))
    }

    /// The code as it is shown: for the answer to the device, and for the person who typed it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for UserCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UserCode(…)")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    /// A source that counts up.
    fn counting() -> impl FnMut(&mut [u8]) {
        let mut next = 0_u8;
        move |bytes: &mut [u8]| {
            for byte in bytes {
                *byte = next;
                next = next.wrapping_add(1);
            }
        }
    }

    /// S-083
    #[test]
    fn a_code_is_groups_of_letters_of_the_alphabet() {
        assert_eq!(UserCodeFormat::default().generate(&mut counting()), "BCDF-GHJK");
        let long = UserCodeFormat::new(3, 3, "::").unwrap();
        assert_eq!(long.generate(&mut counting()), "BCD::FGH::JKL");
        let bits = UserCodeFormat::default().entropy_bits();
        assert!((34.5..34.6).contains(&bits), "{bits}");
    }

    /// S-083
    #[test]
    fn every_letter_is_as_likely_as_every_other() {
        // Over all 256 values of a byte, each letter comes up twelve times, and 16 values are drawn again.
        let format = UserCodeFormat::new(12, 5, "").unwrap();
        let mut source = counting();
        let drawn: String = (0..4).map(|_| format.generate(&mut source)).collect();
        for letter in ALPHABET {
            let count = drawn.bytes().filter(|byte| byte == letter).count();
            assert_eq!(count, 12, "{}", char::from(*letter));
        }
        let high = &mut |bytes: &mut [u8]| {
            bytes.fill(255);
            bytes[0] = 0;
        };
        assert_eq!(UserCodeFormat::default().generate(high), "BBBB-BBBB");
    }

    /// S-084
    #[test]
    fn a_format_without_letters_or_with_too_little_entropy_is_refused() {
        for (groups, size) in [(0, 4), (2, 0), (0, 0)] {
            assert_eq!(
                UserCodeFormat::new(groups, size, "-"),
                Err(InvalidUserCodeFormat::Empty)
            );
        }
        for (groups, size) in [(1, 4), (4, 1), (2, 2), (1, 1)] {
            let refused = UserCodeFormat::new(groups, size, "-");
            assert!(matches!(
                refused,
                Err(InvalidUserCodeFormat::TooLittleEntropy { .. })
            ));
        }
        assert!(UserCodeFormat::new(1, 5, "").is_ok());
        assert_eq!(
            UserCodeFormat::new(usize::MAX, 2, "-"),
            Err(InvalidUserCodeFormat::TooLong)
        );
    }

    /// S-085
    #[test]
    fn what_is_typed_with_other_separators_or_in_small_letters_is_the_same_code() {
        for typed in [
            "WDJB-MJHT",
            "wdjb-mjht",
            "wdjbmjht",
            " w d j b m j h t\n",
            "(wdjb) [mjht]",
            "WdJb_MjHt",
            "wdjb\u{2013}mjht",
            "wdjb\u{a0}mjht",
        ] {
            assert_eq!(UserCode::read(typed).unwrap().expose(), "WDJB-MJHT", "{typed:?}");
        }
        let format = UserCodeFormat::default();
        assert_eq!(format.normalize("w.d/j\tb mjht"), "WDJB-MJHT");
        assert_eq!(format.normalize("wdjb-mjh"), "WDJBMJH");
    }

    /// S-086; DV-12
    #[test]
    fn what_could_be_no_code_is_refused_without_a_look_up() {
        for typed in [
            "",
            "-",
            "WDJB-MJH",
            "WDJB-MJHTB",
            "AEIO-UYAE",
            "0O1I-L000",
            "%",
            "WDJB-MJH%",
            "WDJB-MJHT\0",
            "\u{ff37}\u{ff24}\u{ff2a}\u{ff22}-\u{ff2d}\u{ff2a}\u{ff28}\u{ff34}",
            "stra\u{df}e-xx",
            "\u{432}DJB-MJHT",
            "WDJB-MJHT\u{301}",
            &"-".repeat(MAX_TYPED_BYTES + 1),
            &format!("WDJB-MJHT{}", " ".repeat(1 << 20)),
        ] {
            assert_eq!(UserCode::read(typed), Err(NotAUserCode), "{typed:.40}");
        }
        assert_eq!(
            UserCodeFormat::default().normalize("\u{df}\u{df}\u{df}\u{df}"),
            "SSSS-SSSS"
        );
    }

    #[test]
    fn a_code_is_not_shown_by_debug() {
        assert_eq!(
            format!("{:?}", UserCode::read("WDJB-MJHT").unwrap()),
            "UserCode(…)"
        );
    }
}
