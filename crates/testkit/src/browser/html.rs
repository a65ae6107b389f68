//! HTML, cut into tags and text: as much of the language as our own pages use, and nothing forgiven.
//!
//! A real browser repairs what it can; this reader refuses instead, so that a page
//! with a tag left open, an attribute written twice or an unescaped `<` fails the
//! test that opens it.

use anyhow::{Context as _, Result, bail, ensure};

/// One piece of a page, in the order it stands there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    /// `<name attribute="value">`, the name in lower case, values unescaped.
    Start {
        name: String,
        attributes: Vec<(String, String)>,
    },
    /// `</name>`; void elements and self-closed ones get one too.
    End(String),
    /// What a reader sees, unescaped; the inside of `script` and `style` is left out.
    Text(String),
}

/// Elements that never have an end tag (HTML §13.1.2).
const VOID: &[&str] = &[
    "area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr",
];

/// Cuts a page into tokens and checks that every element is closed where it should be.
pub(super) fn tokens(html: &str) -> Result<Vec<Token>> {
    let mut reader = Reader { rest: html };
    let mut tokens = Vec::new();
    let mut open: Vec<String> = Vec::new();
    while !reader.rest.is_empty() {
        if reader.skip_prefix("<!--") {
            reader.up_to("-->").context("a comment is not closed")?;
        } else if reader.rest.starts_with("<!") {
            reader.up_to(">").context("the doctype is not closed")?;
        } else if reader.skip_prefix("</") {
            let name = reader.up_to(">")?.trim_end().to_ascii_lowercase();
            let innermost = open.pop();
            ensure!(
                innermost.as_deref() == Some(name.as_str()),
                "</{name}> closes {}",
                innermost.map_or_else(|| "nothing".to_owned(), |open| format!("<{open}>"))
            );
            tokens.push(Token::End(name));
        } else if reader.skip_prefix("<") {
            let StartTag {
                name,
                attributes,
                is_self_closed,
            } = reader.start_tag()?;
            tokens.push(Token::Start {
                name: name.clone(),
                attributes,
            });
            if is_self_closed || VOID.contains(&name.as_str()) {
                tokens.push(Token::End(name));
            } else if matches!(name.as_str(), "script" | "style") {
                reader
                    .up_to(&format!("</{name}>"))
                    .with_context(|| format!("<{name}> is not closed"))?;
                tokens.push(Token::End(name));
            } else {
                open.push(name);
            }
        } else {
            let end = reader.rest.find('<').unwrap_or(reader.rest.len());
            let (text, rest) = reader.rest.split_at(end);
            reader.rest = rest;
            tokens.push(Token::Text(unescape(text)?));
        }
    }
    ensure!(open.is_empty(), "never closed: <{}>", open.join(">, <"));
    Ok(tokens)
}

struct StartTag {
    name: String,
    attributes: Vec<(String, String)>,
    is_self_closed: bool,
}

struct Reader<'a> {
    rest: &'a str,
}

impl<'a> Reader<'a> {
    fn skip_prefix(&mut self, prefix: &str) -> bool {
        match self.rest.strip_prefix(prefix) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    /// Takes what stands before `end`, and `end` itself.
    fn up_to(&mut self, end: &str) -> Result<&'a str> {
        let (before, after) = self
            .rest
            .split_once(end)
            .with_context(|| format!("no `{end}` follows"))?;
        self.rest = after;
        Ok(before)
    }

    fn word(&mut self) -> &'a str {
        let end = self
            .rest
            .find(|c: char| c.is_ascii_whitespace() || matches!(c, '=' | '>' | '/' | '"' | '\'' | '<'))
            .unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    fn start_tag(&mut self) -> Result<StartTag> {
        let name = self.word().to_ascii_lowercase();
        ensure!(
            name.starts_with(|c: char| c.is_ascii_alphabetic()),
            "a `<` that opens no tag, before `{}`",
            self.rest.chars().take(20).collect::<String>()
        );
        let mut attributes: Vec<(String, String)> = Vec::new();
        loop {
            self.skip_space();
            if self.skip_prefix("/>") {
                return Ok(StartTag {
                    name,
                    attributes,
                    is_self_closed: true,
                });
            }
            if self.skip_prefix(">") {
                return Ok(StartTag {
                    name,
                    attributes,
                    is_self_closed: false,
                });
            }
            let attribute = self.word().to_ascii_lowercase();
            ensure!(!attribute.is_empty(), "<{name}> is malformed or not closed");
            ensure!(
                attributes.iter().all(|(known, _)| *known != attribute),
                "<{name}> has the attribute `{attribute}` twice"
            );
            self.skip_space();
            let value = if self.skip_prefix("=") {
                self.skip_space();
                self.attribute_value()
                    .with_context(|| format!("in `{attribute}` of <{name}>"))?
            } else {
                String::new()
            };
            attributes.push((attribute, value));
        }
    }

    fn attribute_value(&mut self) -> Result<String> {
        for quote in ["\"", "'"] {
            if self.skip_prefix(quote) {
                return unescape(self.up_to(quote)?);
            }
        }
        let value = self.word();
        ensure!(
            !value.is_empty()
                && self
                    .rest
                    .starts_with(|c: char| c.is_ascii_whitespace() || c == '>'),
            "a value that needs quotes"
        );
        unescape(value)
    }
}

/// Replaces character references; a bare `&` is refused where it could be one.
fn unescape(text: &str) -> Result<String> {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        plain.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if !rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '#') {
            plain.push('&');
            continue;
        }
        let (name, after) = rest
            .split_once(';')
            .context("a character reference without `;`")?;
        plain.push(character(name).with_context(|| format!("the character reference `&{name};`"))?);
        rest = after;
    }
    plain.push_str(rest);
    Ok(plain)
}

fn character(name: &str) -> Result<char> {
    let number = match name.strip_prefix('#') {
        Some(digits) => match digits.strip_prefix(['x', 'X']) {
            Some(hex) => u32::from_str_radix(hex, 16)?,
            None => digits.parse()?,
        },
        None => {
            return Ok(match name {
                "amp" => '&',
                "lt" => '<',
                "gt" => '>',
                "quot" => '"',
                "apos" => '\'',
                "nbsp" => '\u{a0}',
                "middot" => '·',
                "hellip" => '…',
                "ndash" => '–',
                "mdash" => '—',
                "rarr" => '→',
                "larr" => '←',
                "copy" => '©',
                _ => bail!("is unknown here: write the character itself"),
            });
        }
    };
    char::from_u32(number)
        .filter(|c| *c != '\0')
        .context("is no character")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    fn start(name: &str, attributes: &[(&str, &str)]) -> Token {
        let attributes = attributes
            .iter()
            .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
            .collect();
        Token::Start {
            name: name.to_owned(),
            attributes,
        }
    }

    fn end(name: &str) -> Token {
        Token::End(name.to_owned())
    }

    #[test]
    fn a_page_becomes_tags_and_text_in_order() {
        let html = "<!doctype html><!-- <b> --><P Class='a b'>1 &lt; 2<br><input NAME=q checked value=\"&quot;&#x2F;&#39;\"></p>";
        assert_eq!(
            tokens(html).unwrap(),
            [
                start("p", &[("class", "a b")]),
                Token::Text("1 < 2".into()),
                start("br", &[]),
                end("br"),
                start("input", &[("name", "q"), ("checked", ""), ("value", "\"/'")]),
                end("input"),
                end("p"),
            ]
        );
    }

    #[test]
    fn script_and_style_are_not_text_and_svg_may_close_itself() {
        assert_eq!(
            tokens("<style>a > b { color: red }</style><svg><path d='M0 0'/></svg>").unwrap(),
            [
                start("style", &[]),
                end("style"),
                start("svg", &[]),
                start("path", &[("d", "M0 0")]),
                end("path"),
                end("svg"),
            ]
        );
    }

    #[test]
    fn what_a_browser_would_repair_is_refused() {
        for (html, complaint) in [
            ("<p><b>x</p>", "</p> closes <b>"),
            ("<p>x", "never closed: <p>"),
            ("</p>", "</p> closes nothing"),
            ("<a href=x href=y></a>", "twice"),
            ("<a href=\"x></a>", "no `\"` follows"),
            ("1 < 2", "opens no tag"),
            ("<a href=x\"y></a>", "needs quotes"),
            ("<p", "not closed"),
            ("<script>x", "not closed"),
            ("a &bogus; b", "&bogus;"),
            ("a &amp b", "without `;`"),
            ("&#0;", "no character"),
            ("&#xD800;", "no character"),
        ] {
            let error = format!("{:#}", tokens(html).unwrap_err());
            assert!(error.contains(complaint), "{html}: {error}");
        }
    }

    #[test]
    fn a_bare_ampersand_between_spaces_is_text() {
        assert_eq!(tokens("you & me").unwrap(), [Token::Text("you & me".into())]);
    }
}
