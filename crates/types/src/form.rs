//! Request parameters, from a query or a form body (RFC 6749 §3.1, §3.2).
//!
//! One parser for every endpoint. It refuses broken escapes, bad UTF-8, NUL and floods before anything is looked up,
//! and notices repeated names; only `resource` may come several times (RFC 8707 §2).

use std::{borrow::Cow, fmt};

/// The most parameters one request may carry.
pub const MAX_PARAMETERS: usize = 100;

/// Parameters in the order they came. `Debug` shows their names: the values may be codes, tokens and passwords.
#[derive(Clone, Default)]
pub struct Form<'a> {
    pairs: Vec<(Cow<'a, str>, Cow<'a, str>)>,
}

/// Why parameters cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FormError {
    /// A percent sign without two hexadecimal digits behind it.
    #[error("a percent escape is broken")]
    BrokenEscape,
    /// Not UTF-8 once decoded.
    #[error("a parameter is not UTF-8")]
    NotUtf8,
    /// A NUL character.
    #[error("a parameter holds a NUL character")]
    Nul,
    /// More than [`MAX_PARAMETERS`].
    #[error("there are more than 100 parameters")]
    TooMany,
}

impl<'a> Form<'a> {
    /// Decodes `application/x-www-form-urlencoded` text.
    ///
    /// # Errors
    /// [`FormError`]
    pub fn parse(text: &'a [u8]) -> Result<Self, FormError> {
        let mut pairs = Vec::with_capacity(8);
        for pair in text.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
            if pairs.len() == MAX_PARAMETERS {
                return Err(FormError::TooMany);
            }
            let at = pair.iter().position(|byte| *byte == b'=');
            let (name, value) = match at {
                Some(at) => (&pair[..at], &pair[at + 1..]),
                None => (pair, &pair[pair.len()..]),
            };
            pairs.push((decode(name)?, decode(value)?));
        }
        Ok(Self { pairs })
    }

    /// The first name that comes more than once and may not; every parameter but `resource` must be single
    /// (RFC 6749 §3.1).
    pub fn repeated(&self) -> Option<&str> {
        self.pairs.iter().enumerate().find_map(|(index, (name, _))| {
            let again = self.pairs[..index].iter().any(|(earlier, _)| earlier == name);
            (again && name != "resource").then_some(name.as_ref())
        })
    }

    /// Whether the name comes more than once.
    pub fn repeats(&self, name: &str) -> bool {
        self.pairs.iter().filter(|(one, _)| one == name).count() > 1
    }

    /// The parameter's value. One without a value counts as omitted (RFC 6749 §3.1).
    pub fn value(&self, name: &str) -> Option<&str> {
        self.pairs
            .iter()
            .find(|(one, value)| one == name && !value.is_empty())
            .map(|(_, value)| value.as_ref())
    }

    /// Every value of the parameter, empty ones left out.
    pub fn values<'f>(&'f self, name: &'f str) -> impl Iterator<Item = &'f str> {
        self.pairs
            .iter()
            .filter(move |(one, value)| one == name && !value.is_empty())
            .map(|(_, value)| value.as_ref())
    }

    /// Whether there are no parameters.
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }
}

impl fmt::Debug for Form<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.pairs.iter().map(|(name, _)| name);
        f.write_str("Form")?;
        f.debug_list().entries(names).finish()
    }
}

fn decode(text: &[u8]) -> Result<Cow<'_, str>, FormError> {
    let decoded: Cow<'_, str> = if text.iter().any(|byte| matches!(byte, b'%' | b'+')) {
        let mut bytes = Vec::with_capacity(text.len());
        let mut rest = text;
        while let Some((byte, after)) = rest.split_first() {
            rest = after;
            bytes.push(match byte {
                b'+' => b' ',
                b'%' => {
                    let [high, low, after @ ..] = rest else {
                        return Err(FormError::BrokenEscape);
                    };
                    rest = after;
                    hex(*high)? << 4 | hex(*low)?
                }
                byte => *byte,
            });
        }
        Cow::Owned(String::from_utf8(bytes).map_err(|_| FormError::NotUtf8)?)
    } else {
        Cow::Borrowed(std::str::from_utf8(text).map_err(|_| FormError::NotUtf8)?)
    };
    if decoded.contains('\0') {
        Err(FormError::Nul)
    } else {
        Ok(decoded)
    }
}

fn hex(digit: u8) -> Result<u8, FormError> {
    match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        b'A'..=b'F' => Ok(digit - b'A' + 10),
        _ => Err(FormError::BrokenEscape),
    }
}

/// Decodes one form-urlencoded value; what a client may have done to the halves of a Basic header (RFC 6749 §2.3.1).
///
/// # Errors
/// [`FormError`]
pub fn decode_value(text: &str) -> Result<Cow<'_, str>, FormError> {
    decode(text.as_bytes())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    #[test]
    fn values_are_decoded_once() {
        let form = Form::parse(b"a=b+c&d=%41%2B&e&f=&g=x=y&%61b=1").unwrap();
        assert_eq!(form.value("a"), Some("b c"));
        assert_eq!(form.value("d"), Some("A+"));
        assert_eq!((form.value("e"), form.value("f")), (None, None));
        assert_eq!(form.value("g"), Some("x=y"));
        assert_eq!(form.value("ab"), Some("1"));
    }

    #[test]
    fn repetition_is_noticed_except_for_resource() {
        assert_eq!(Form::parse(b"resource=a&resource=b").unwrap().repeated(), None);
        assert_eq!(
            Form::parse(b"code=a&b=c&code=a").unwrap().repeated(),
            Some("code")
        );
        assert_eq!(Form::parse(b"code=&%63ode=").unwrap().repeated(), Some("code"));
    }

    /// P7
    #[test]
    fn debug_shows_names_and_no_values() {
        let form = Form::parse(b"username=alice&password=hunter2").unwrap();
        assert_eq!(format!("{form:?}"), r#"Form["username", "password"]"#);
    }

    #[test]
    fn broken_text_is_refused() {
        for (bad, why) in [
            (&b"a=%"[..], FormError::BrokenEscape),
            (b"a=%4", FormError::BrokenEscape),
            (b"a=%zz", FormError::BrokenEscape),
            (b"a=%00b", FormError::Nul),
            (b"a=\0", FormError::Nul),
            (b"a=%ff", FormError::NotUtf8),
            (b"a=\xff", FormError::NotUtf8),
        ] {
            assert_eq!(Form::parse(bad).map(|_| ()), Err(why));
        }
        let many = "a=1&".repeat(101);
        assert_eq!(Form::parse(many.as_bytes()).map(|_| ()), Err(FormError::TooMany));
    }
}
