//! Names that people can read: what a client calls itself is the first thing they see of it, and a claim.

/// Whether a character turns the direction of the text behind it (Unicode bidirectional embeddings, overrides, isolates):
/// with one, a name reads as another.
pub(super) fn turns_direction(character: char) -> bool {
    matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Whether a character draws nothing.
pub(super) fn is_invisible(character: char) -> bool {
    character.is_whitespace()
        || character.is_control()
        || matches!(character,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e0fff}')
}

/// A letter of another script that looks like a Latin one, in a word that has Latin letters too; the first such letter.
/// A whole word of one script is a word of a language, and is left alone.
pub(super) fn look_alike(name: &str) -> Option<char> {
    name.split(|c: char| !c.is_alphanumeric()).find_map(|word| {
        let has_latin = word.chars().any(|c| c.is_ascii_alphabetic());
        word.chars().find(|c| has_latin && imitates_latin(*c))
    })
}

/// Greek, Cyrillic, Armenian and Cherokee letters, full-width and mathematical alphabets.
fn imitates_latin(character: char) -> bool {
    matches!(character,
        '\u{370}'..='\u{58f}' | '\u{13a0}'..='\u{13ff}' | '\u{1c80}'..='\u{1c8f}' | '\u{1f00}'..='\u{1fff}'
        | '\u{2de0}'..='\u{2dff}' | '\u{a640}'..='\u{a69f}' | '\u{ab70}'..='\u{abbf}' | '\u{ff21}'..='\u{ff5a}'
        | '\u{1d400}'..='\u{1d7ff}')
}

/// Whether a character is a sign of trust that browsers draw themselves: locks, check marks, shields.
pub(super) fn is_badge(character: char) -> bool {
    matches!(
        character,
        '\u{2611}' | '\u{2705}' | '\u{2713}' | '\u{2714}' | '\u{1f50f}'
            ..='\u{1f513}'
                | '\u{1f5dd}'
                | '\u{1f6e1}'
                | '\u{1f396}'
                | '\u{1f3c5}'
                | '\u{1f947}'
                | '\u{ae}'
                | '\u{2122}'
    )
}
