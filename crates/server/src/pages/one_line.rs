//! Text from strangers, made fit to stand on one line of a page.
//!
//! A client names itself. Escaping keeps its name from becoming markup; this keeps it from becoming something else to
//! the eye: text that runs backwards, hides letters, breaks out of its line, or pushes the rest off the screen.

use std::fmt;

use serde::Serialize;

/// How many characters of a name are shown.
const NAME_CHARACTERS: usize = 80;
/// How many characters of an address, an identifier or a description are shown: a registered redirect URI may have
/// 2 KiB, and a page must stay one.
const LONG_CHARACTERS: usize = 300;
/// How many combining marks may sit on one letter: two cover the written languages, more is drawing.
const MARKS_PER_LETTER: usize = 2;

/// Text without control, invisible and direction-changing characters, on one line and of limited length.
///
/// # Security
/// It is made only by [`OneLine::name`] and [`OneLine::long`], so a view field of this type cannot be filled with
/// untreated text. It is still text: templates escape it, and put it in `<bdi>` so that a name in a right-to-left script
/// keeps its direction to itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub(crate) struct OneLine(String);

impl OneLine {
    /// A name, at most 80 characters.
    pub(crate) fn name(text: &str) -> Self {
        Self(cleaned(text, NAME_CHARACTERS))
    }

    /// An address, an identifier or a description, at most 300 characters.
    pub(crate) fn long(text: &str) -> Self {
        Self(cleaned(text, LONG_CHARACTERS))
    }

    /// A name, or nothing when no visible character is left of it.
    pub(crate) fn optional_name(text: Option<&str>) -> Option<Self> {
        text.map(Self::name).filter(|line| !line.0.is_empty())
    }

    /// A description, or nothing when no visible character is left of it.
    pub(crate) fn optional_long(text: Option<&str>) -> Option<Self> {
        text.map(Self::long).filter(|line| !line.0.is_empty())
    }
}

impl fmt::Display for OneLine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

fn cleaned(text: &str, max_characters: usize) -> String {
    let mut line = String::new();
    let mut characters = 0;
    let mut marks = 0;
    let mut space_is_due = false;
    for character in text.chars() {
        if character.is_whitespace() {
            space_is_due = characters > 0;
            continue;
        }
        if is_unseen(character) {
            continue;
        }
        if is_combining_mark(character) {
            marks += 1;
            // A mark without a letter would sit on whatever the page put before it.
            if marks > MARKS_PER_LETTER || characters == 0 || space_is_due {
                continue;
            }
        } else {
            marks = 0;
        }
        let needed = 1 + usize::from(space_is_due);
        if characters + needed > max_characters {
            // Always room: the last character makes way for the sign that something is missing.
            while characters >= max_characters {
                line.pop();
                characters -= 1;
            }
            line.push('…');
            return line;
        }
        if space_is_due {
            line.push(' ');
            space_is_due = false;
        }
        line.push(character);
        characters += needed;
    }
    line
}

/// Characters that draw nothing, change the direction of what follows, or draw whatever a font likes.
fn is_unseen(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{00ad}'                          // soft hyphen
            | '\u{034f}'                        // combining grapheme joiner
            | '\u{061c}'                        // Arabic letter mark
            | '\u{115f}' | '\u{1160}'           // Hangul fillers
            | '\u{17b4}' | '\u{17b5}'           // Khmer inherent vowels
            | '\u{180b}'..='\u{180f}'           // Mongolian selectors and vowel separator
            | '\u{200b}'..='\u{200f}'           // zero-width space and joiners, direction marks
            | '\u{202a}'..='\u{202e}'           // embeddings and overrides
            | '\u{2060}'..='\u{206f}'           // word joiner, isolates, deprecated format characters
            | '\u{2800}'                        // Braille blank
            | '\u{3164}' | '\u{ffa0}'           // Hangul fillers
            | '\u{fe00}'..='\u{fe0f}'           // variation selectors
            | '\u{feff}'                        // byte order mark
            | '\u{fff0}'..='\u{fffb}'           // unassigned ignorables, interlinear annotation
            | '\u{1bca0}'..='\u{1bca3}'         // shorthand format controls
            | '\u{1d173}'..='\u{1d17a}'         // musical format controls
            | '\u{e0000}'..='\u{e0fff}'         // tags, variation selectors supplement
            | '\u{e000}'..='\u{f8ff}'           // private use: a font may draw a logo here
            | '\u{f0000}'..='\u{10ffff}'        // private use planes
        )
}

/// The blocks of marks that are drawn over the letter before them.
fn is_combining_mark(character: char) -> bool {
    matches!(character,
        '\u{0300}'..='\u{036f}' | '\u{0483}'..='\u{0489}' | '\u{1ab0}'..='\u{1aff}'
        | '\u{1dc0}'..='\u{1dff}' | '\u{20d0}'..='\u{20ff}' | '\u{fe20}'..='\u{fe2f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> String {
        OneLine::name(text).to_string()
    }

    #[test]
    fn ordinary_names_are_left_alone() {
        for text in [
            "Field Notes",
            "Café Müller & Söhne",
            "日本語クライアント",
            "שלום",
            "e\u{301}a",
            "a/b <c>",
        ] {
            assert_eq!(name(text), text);
        }
    }

    #[test]
    fn text_cannot_change_direction() {
        assert_eq!(name("safe\u{202e}gpj.exe\u{202c}"), "safegpj.exe");
        assert_eq!(name("\u{2066}\u{2067}\u{2068}x\u{2069}\u{200f}\u{061c}"), "x");
    }

    #[test]
    fn text_cannot_hide_letters() {
        assert_eq!(name("Not\u{200b}e\u{200d}s\u{feff}\u{00ad}"), "Notes");
        assert_eq!(name("\u{e0041}\u{e007f}a\u{fe0f}\u{f8ff}"), "a");
        assert_eq!(OneLine::optional_name(Some("\u{3164}\u{2800}\u{200b} ")), None);
    }

    #[test]
    fn text_stays_on_one_line() {
        assert_eq!(
            name(" a\r\n\r\nb\t\u{2028}c\u{0}\u{1b}[31m\u{85}d\u{3000} "),
            "a b c[31m d"
        );
    }

    #[test]
    fn marks_cannot_pile_up() {
        assert_eq!(
            name(&format!("a{}b", "\u{0300}".repeat(50))),
            "a\u{0300}\u{0300}b"
        );
        assert_eq!(name("\u{0300}\u{20dd}x \u{20dd}y"), "x y");
    }

    #[test]
    fn long_text_is_cut_and_says_so() {
        let exact = "n".repeat(NAME_CHARACTERS);
        assert_eq!(name(&exact), exact);
        assert_eq!(name(&format!("{exact} \n")), exact);
        for tail in ["n", " n", "  nnn n"] {
            let cut = name(&format!("{exact}{tail}"));
            assert_eq!(cut.chars().count(), NAME_CHARACTERS);
            assert_eq!(cut, format!("{}…", "n".repeat(NAME_CHARACTERS - 1)));
        }
        let spaced = name(&format!("{} m", "n".repeat(NAME_CHARACTERS - 1)));
        assert_eq!(spaced, format!("{}…", "n".repeat(NAME_CHARACTERS - 1)));
        assert_eq!(
            OneLine::long(&"é".repeat(1_000)).to_string().chars().count(),
            LONG_CHARACTERS
        );
    }
}
