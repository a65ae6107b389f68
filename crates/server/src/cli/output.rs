//! What verbs print: text for people, or one JSON value.
//!
//! Clients name themselves, and whoever can reach the server may register one. Nothing that is printed here may steer the
//! operator's terminal: tables hold [`OneLine`]s, and everything else has its control characters spelled out.

use std::{
    borrow::Cow,
    fmt,
    io::{self, Write as _},
};

use anyhow::Context as _;
use mcp_authflow_types::Timestamp;

use crate::pages::OneLine;

/// How a verb prints.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    pub(crate) json: bool,
}

impl Output {
    /// Prints the value, or the text that says the same.
    pub(crate) fn print(self, value: &serde_json::Value, text: &str) -> anyhow::Result<()> {
        if self.json {
            say(format_args!("{value:#}"))
        } else {
            say(format_args!("{}", text.trim_end()))
        }
    }
}

/// Writes a line to standard output. A reader that has gone away has read what it wanted.
pub(crate) fn say(text: fmt::Arguments<'_>) -> anyhow::Result<()> {
    let text = spelled_out(&text.to_string()).into_owned() + "\n";
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(error).context("cannot write to standard output")
        }
        _ => Ok(()),
    }
}

/// Spells out, as JSON does, what a terminal would obey or hide. In JSON such characters stand in strings only, where
/// `\u001b` means the same.
fn spelled_out(text: &str) -> Cow<'_, str> {
    use fmt::Write as _;
    if !text.contains(is_obeyed) {
        return text.into();
    }
    let mut spelled = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if is_obeyed(character) {
            for unit in character.encode_utf16(&mut [0; 2]) {
                // Writing to a String cannot fail.
                let _ = write!(spelled, "\\u{unit:04x}");
            }
        } else {
            spelled.push(character);
        }
    }
    spelled.into()
}

/// Control characters, line separators, and what changes the direction of text or is not seen at all.
fn is_obeyed(character: char) -> bool {
    (character.is_control() && character != '\n')
        || matches!(character,
            '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{e0000}'..='\u{e0fff}')
}

/// A moment as people read it.
pub(crate) fn moment(at: Timestamp) -> String {
    jiff::Timestamp::from_second(at.seconds()).map_or_else(|_| at.to_string(), |at| at.to_string())
}

/// Rows under headings, each column as wide as its widest cell. Cells are cut at 300 characters; JSON has them whole.
pub(crate) fn table(headings: &[&str], rows: &[Vec<String>]) -> String {
    use fmt::Write as _;
    let headings = headings.iter().map(|heading| (*heading).to_owned()).collect();
    let cells = |row: &Vec<String>| row.iter().map(|cell| OneLine::long(cell).to_string()).collect();
    let lines: Vec<Vec<String>> = std::iter::once(headings).chain(rows.iter().map(cells)).collect();
    let mut widths = vec![0; lines[0].len()];
    for line in &lines {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for line in &lines {
        let padded = line
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}"));
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{}", padded.collect::<Vec<_>>().join("  ").trim_end());
    }
    text
}

/// How wide text for people is, in characters: what a terminal shows that nobody made larger.
pub(crate) const WIDTH: usize = 80;

/// Breaks text into lines of at most so many characters, between words. A word that is longer, such as an address, stays
/// whole, so that it can be copied.
pub(crate) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > width {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    if !line.is_empty() {
        lines.push(line);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_broken_between_words_and_an_address_stays_whole() {
        assert_eq!(wrap("it is not  fetched", 10), ["it is not", "fetched"]);
        assert_eq!(
            wrap("see https://app.example/client.json now", 10),
            ["see", "https://app.example/client.json", "now"]
        );
        assert!(wrap(" ", 10).is_empty());
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [vec!["a".to_owned(), "long".to_owned(), "x".to_owned()]];
        assert_eq!(table(&["ID", "N", "Y"], &rows), "ID  N     Y\na   long  x\n");
    }

    #[test]
    fn a_name_neither_steers_the_terminal_nor_makes_a_row() {
        let name = "Notes\u{1b}[2J\u{1b}]0;owned\u{7}\r\nfake  operator\u{9b}31m\u{202e}";
        let printed = table(&["NAME"], &[vec![name.to_owned()]]);
        assert_eq!(printed, "NAME\nNotes[2J]0;owned fake operator31m\n");
    }

    #[test]
    fn json_is_harmless_on_a_terminal_and_means_the_same() -> serde_json::Result<()> {
        let value = serde_json::json!({ "name": "Caf\u{e9}\u{1b}\u{9b}31m\u{7f}\u{202e}\u{e0041}\n" });
        let whole = format!("{value:#}");
        let printed = spelled_out(&whole);
        assert_eq!(
            printed,
            "{\n  \"name\": \"Caf\u{e9}\\u001b\\u009b31m\\u007f\\u202e\\udb40\\udc41\\n\"\n}"
        );
        assert_eq!(serde_json::from_str::<serde_json::Value>(&printed)?, value);
        Ok(())
    }
}
