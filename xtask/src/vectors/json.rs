//! A small JSON reader for the vectors: nothing of a number is lost and members keep their order.
//!
//! `serde_json` turns an integer beyond 64 bits into a float and forgets the order of members unless features are on
//! that would change it for the whole workspace. This reader keeps both: [`Json`] is the text in pieces, and
//! [`Json::to_value`] is what most cases want.

use anyhow::{Result, bail, ensure};
use serde_json::{Map, Number, Value};

/// Deeper nesting than any case has; keeps the recursion bounded.
const MAX_DEPTH: usize = 256;

/// A JSON value whose numbers are texts and whose members keep their order.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Json {
    Null,
    Bool(bool),
    /// As written.
    Number(String),
    Text(String),
    /// A text with half a surrogate pair, which no Rust text can hold; as UTF-16 units.
    Utf16(Vec<u16>),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl Json {
    /// Reads one value and nothing behind it.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let mut reader = Reader {
            bytes: text.as_bytes(),
            at: 0,
        };
        let value = reader.value(0)?;
        reader.skip_blanks();
        ensure!(
            reader.at == text.len(),
            "text behind the value at byte {}",
            reader.at
        );
        Ok(value)
    }

    /// The member of that name, of an object.
    pub(super) fn member(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Object(members) => members
                .iter()
                .find_map(|(key, value)| (key == name).then_some(value)),
            _ => None,
        }
    }

    /// The value as JSON again, members in their order and numbers as written.
    pub(super) fn to_text(&self) -> String {
        match self {
            Self::Number(text) => text.clone(),
            Self::List(members) => {
                let members: Vec<String> = members.iter().map(Self::to_text).collect();
                format!("[{}]", members.join(","))
            }
            Self::Object(members) => {
                let member = |(name, value): &(String, Self)| {
                    format!("{}:{}", Value::from(name.as_str()), value.to_text())
                };
                let members: Vec<String> = members.iter().map(member).collect();
                format!("{{{}}}", members.join(","))
            }
            Self::Utf16(units) => {
                let escapes: Vec<String> = units.iter().map(|unit| format!("\\u{unit:04x}")).collect();
                format!("\"{}\"", escapes.concat())
            }
            _ => self.to_value().to_string(),
        }
    }

    /// The same for `serde_json`. An integer beyond 64 bits becomes `{"$int": TEXT}`, a number beyond a double
    /// `{"$num": TEXT}`, a text with half a surrogate pair `{"$utf16": [UNITS]}`.
    pub(super) fn to_value(&self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Bool(value) => Value::Bool(*value),
            Self::Number(text) => number(text),
            Self::Text(text) => Value::String(text.clone()),
            Self::Utf16(units) => serde_json::json!({ "$utf16": units }),
            Self::List(members) => Value::Array(members.iter().map(Self::to_value).collect()),
            Self::Object(members) => {
                let members: Map<String, Value> = members
                    .iter()
                    .map(|(name, value)| (name.clone(), value.to_value()))
                    .collect();
                Value::Object(members)
            }
        }
    }
}

fn number(text: &str) -> Value {
    let is_whole = !text.contains(['.', 'e', 'E']);
    if is_whole {
        // `-0` is a whole number to JSON and nothing else to us.
        if let Ok(whole) = text.parse::<i64>() {
            return whole.into();
        }
        if let Ok(whole) = text.parse::<u64>() {
            return whole.into();
        }
        return serde_json::json!({ "$int": text });
    }
    // Rust's parser rounds correctly, which `serde_json`'s own does only with a feature.
    let float: f64 = text.parse().unwrap_or(f64::NAN);
    Number::from_f64(float).map_or_else(|| serde_json::json!({ "$num": float.to_string() }), Value::Number)
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn skip_blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn expect(&mut self, token: &str) -> Result<()> {
        if self.bytes[self.at..].starts_with(token.as_bytes()) {
            self.at += token.len();
            return Ok(());
        }
        bail!("`{token}` is missing at byte {}", self.at)
    }

    fn value(&mut self, depth: usize) -> Result<Json> {
        ensure!(depth < MAX_DEPTH, "nested too deeply at byte {}", self.at);
        self.skip_blanks();
        Ok(match self.peek() {
            Some(b'n') => self.expect("null").map(|()| Json::Null)?,
            Some(b't') => self.expect("true").map(|()| Json::Bool(true))?,
            Some(b'f') => self.expect("false").map(|()| Json::Bool(false))?,
            Some(b'"') => self.text()?,
            Some(b'[') => self.list(depth)?,
            Some(b'{') => self.object(depth)?,
            Some(b'-' | b'0'..=b'9') => self.number()?,
            _ => bail!("no value at byte {}", self.at),
        })
    }

    fn list(&mut self, depth: usize) -> Result<Json> {
        self.at += 1;
        let mut members = Vec::new();
        self.skip_blanks();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(Json::List(members));
        }
        loop {
            members.push(self.value(depth + 1)?);
            self.skip_blanks();
            if self.peek() == Some(b',') {
                self.at += 1;
                continue;
            }
            self.expect("]")?;
            return Ok(Json::List(members));
        }
    }

    fn object(&mut self, depth: usize) -> Result<Json> {
        self.at += 1;
        let mut members: Vec<(String, Json)> = Vec::new();
        self.skip_blanks();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(Json::Object(members));
        }
        loop {
            self.skip_blanks();
            ensure!(self.peek() == Some(b'"'), "no member's name at byte {}", self.at);
            let Json::Text(name) = self.text()? else {
                bail!("a member's name is no text before byte {}", self.at)
            };
            ensure!(
                members.iter().all(|(other, _)| *other != name),
                "`{name}` is given twice before byte {}",
                self.at
            );
            self.skip_blanks();
            self.expect(":")?;
            members.push((name, self.value(depth + 1)?));
            self.skip_blanks();
            if self.peek() == Some(b',') {
                self.at += 1;
                continue;
            }
            self.expect("}")?;
            return Ok(Json::Object(members));
        }
    }

    fn number(&mut self) -> Result<Json> {
        let start = self.at;
        while matches!(self.peek(), Some(b'+' | b'-' | b'.' | b'e' | b'E' | b'0'..=b'9')) {
            self.at += 1;
        }
        let text = std::str::from_utf8(&self.bytes[start..self.at])?;
        ensure!(
            serde_json::from_str::<Value>(text).is_ok() || text.parse::<f64>().is_ok(),
            "`{text}` is no number"
        );
        Ok(Json::Number(text.to_owned()))
    }

    fn text(&mut self) -> Result<Json> {
        self.at += 1;
        let mut units: Vec<u16> = Vec::new();
        loop {
            let rest = std::str::from_utf8(&self.bytes[self.at..])?;
            let Some(character) = rest.chars().next() else {
                bail!("a text without an end")
            };
            self.at += character.len_utf8();
            match character {
                '"' => break,
                '\\' => units.push(self.escape()?),
                '\0'..='\u{1f}' => bail!("a bare control character before byte {}", self.at),
                _ => units.extend_from_slice(character.encode_utf16(&mut [0; 2])),
            }
        }
        Ok(String::from_utf16(&units).map_or(Json::Utf16(units), Json::Text))
    }

    fn escape(&mut self) -> Result<u16> {
        let Some(letter) = self.peek() else {
            bail!("a text without an end")
        };
        self.at += 1;
        Ok(match letter {
            b'"' | b'\\' | b'/' => u16::from(letter),
            b'b' => 8,
            b'f' => 12,
            b'n' => 10,
            b'r' => 13,
            b't' => 9,
            b'u' => {
                let digits = self.bytes.get(self.at..self.at + 4).unwrap_or_default();
                let digits = std::str::from_utf8(digits)?;
                ensure!(digits.len() == 4, "a text without an end");
                self.at += 4;
                u16::from_str_radix(digits, 16)?
            }
            _ => bail!("an unknown escape before byte {}", self.at),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_plain_reads_like_serde_json() {
        let text =
            r#" {"a":[1,-2,true,null,"x\n\u00e9\ud83d\udd11"],"b":{"c":1.5e3},"d":18446744073709551615} "#;
        let expected: Value = serde_json::from_str(text).unwrap();
        assert_eq!(Json::parse(text).unwrap().to_value(), expected);
    }

    #[test]
    fn nothing_of_a_number_is_lost() {
        let read = |text: &str| Json::parse(text).unwrap().to_value();
        assert_eq!(
            read("100000000000000000000"),
            json!({"$int": "100000000000000000000"})
        );
        assert_eq!(read("1e999"), json!({"$num": "inf"}));
        assert_eq!(read("0.1").as_f64(), Some(0.1));
        assert_eq!(read("1800000000.0"), json!(1_800_000_000.0));
    }

    #[test]
    fn members_keep_their_order_and_come_once() {
        let Json::Object(members) = Json::parse(r#"{"z":1,"a":2}"#).unwrap() else {
            panic!("an object")
        };
        assert_eq!(
            members.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
            ["z", "a"]
        );
        assert!(Json::parse(r#"{"a":1,"a":2}"#).is_err());
    }

    #[test]
    fn what_was_read_is_written_again() {
        let text = r#"{"z":[1.50,null,true],"a":{"t":"\n\"é"},"s":"\ud800"}"#;
        assert_eq!(Json::parse(text).unwrap().to_text(), text);
    }

    #[test]
    fn what_is_no_json_is_refused() {
        for bad in [
            "",
            "[",
            "[1,]",
            "{\"a\"}",
            "\"a",
            "nul",
            "1 2",
            "\"\u{1}\"",
            "\"\\x\"",
            "[1 2]",
            "--1",
        ] {
            assert!(Json::parse(bad).is_err(), "{bad:?}");
        }
        assert!(Json::parse(&"[".repeat(100_000)).is_err());
        assert_eq!(
            Json::parse(r#""\ud800""#).unwrap().to_value(),
            json!({"$utf16": [0xd800]})
        );
    }
}
