//! What names and arguments a rule is about: patterns with `*`, and values.

use std::cmp::Ordering;

use serde_json::Value;

/// What an argument must be for a rule to speak of it.
#[derive(Clone, Debug, PartialEq)]
pub struct ArgumentPattern(Kind);

#[derive(Clone, Debug, PartialEq)]
enum Kind {
    Present,
    Glob(Glob),
    OneOf(Vec<Value>),
}

impl ArgumentPattern {
    /// A text in which each `*` stands for any characters, none included: `/tmp/*`.
    pub fn glob(pattern: impl AsRef<str>) -> Self {
        Self(Kind::Glob(Glob::new(pattern.as_ref())))
    }

    /// This value.
    pub fn equals(value: impl Into<Value>) -> Self {
        Self::one_of([value])
    }

    /// One of these values.
    pub fn one_of<V: Into<Value>>(values: impl IntoIterator<Item = V>) -> Self {
        Self(Kind::OneOf(values.into_iter().map(Into::into).collect()))
    }

    /// Anything, as long as the argument is given and not `null`.
    pub fn present() -> Self {
        Self(Kind::Present)
    }

    /// Judges an argument; a list is judged item by item.
    pub(super) fn judge(&self, value: &Value) -> Verdict {
        match (&self.0, value) {
            (Kind::Present, _) => Verdict::Yes,
            (_, Value::Array(items)) if !items.is_empty() => items
                .iter()
                .map(|item| match item {
                    // A list within a list is nothing that a rule could have meant.
                    Value::Array(_) => Verdict::Unclear,
                    item => self.judge(item),
                })
                .reduce(Verdict::and)
                .unwrap_or(Verdict::Unclear),
            (Kind::Glob(glob), Value::String(text)) => {
                // Servers exist that unpack JSON which stands in a text where they expect a list or an object.
                let is_packed = text.trim_start().starts_with(['[', '{', '"'])
                    && serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
                if is_packed {
                    Verdict::Unclear
                } else {
                    glob.judge_path(text)
                }
            }
            (Kind::Glob(_), _) => Verdict::Unclear,
            (Kind::OneOf(values), value) => {
                let same_kind = |one: &Value| std::mem::discriminant(one) == std::mem::discriminant(value);
                if values.iter().any(|one| is_same(one, value)) {
                    Verdict::Yes
                } else if values.iter().all(same_kind) {
                    Verdict::No
                } else {
                    // `"true"` for `true`, or `1` for `"1"`: many servers read the one as the other.
                    Verdict::Unclear
                }
            }
        }
    }
}

fn is_same(one: &Value, other: &Value) -> bool {
    one == other
        || matches!((one.as_f64(), other.as_f64()), (Some(a), Some(b)) if a.partial_cmp(&b) == Some(Ordering::Equal))
}

/// Whether something fits a pattern, as far as can be told from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Yes,
    No,
    /// The server may read it as something that fits, or does not.
    Unclear,
}

impl Verdict {
    /// What is true of both.
    fn and(self, other: Self) -> Self {
        if self == other { self } else { Self::Unclear }
    }
}

/// A text in which `*` stands for any characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Glob {
    pattern: String,
}

impl Glob {
    pub(super) fn new(pattern: &str) -> Self {
        Self {
            pattern: pattern.to_owned(),
        }
    }

    /// Whether it fits anything.
    pub(super) fn is_any(&self) -> bool {
        self.pattern.bytes().all(|b| b == b'*') && !self.pattern.is_empty()
    }

    /// The only text that fits, when there is no star.
    pub(super) fn literal(&self) -> Option<&str> {
        Some(&*self.pattern).filter(|pattern| !pattern.contains('*'))
    }

    /// Whether the text fits, character by character.
    pub(super) fn matches(&self, text: &str) -> bool {
        matches(&self.pattern, text)
    }

    /// The same for what may be a path or a URI: one that has several spellings is judged by all of them that can be
    /// seen from here.
    pub(super) fn judge_path(&self, text: &str) -> Verdict {
        let verdict = |text: &str| {
            if self.matches(text) {
                Verdict::Yes
            } else {
                Verdict::No
            }
        };
        if self.is_any() {
            return Verdict::Yes;
        }
        let is_path = self.pattern.contains(['/', '\\']);
        if is_path && has_detour(text) {
            return Verdict::Unclear;
        }
        match decode_percent(text) {
            None => verdict(text),
            Some(decoded) if is_path && has_detour(&decoded) => Verdict::Unclear,
            Some(decoded) => verdict(text).and(verdict(&decoded)),
        }
    }
}

/// Whether a text fits a pattern in which each `*` stands for any characters, none included: how [`Rule::tool`] reads
/// names.
///
/// ```
/// use mcp_authflow_resource::tool::matches;
///
/// assert!(matches("delete_*", "delete_note"));
/// assert!(!matches("delete_*", "Delete_note"));
/// ```
///
/// [`Rule::tool`]: super::Rule::tool
pub fn matches(pattern: &str, text: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else {
        return text == pattern;
    };
    let Some(mut text) = text.strip_prefix(start) else {
        return false;
    };
    let (middle, end) = rest.rsplit_once('*').unwrap_or(("", rest));
    for part in middle.split('*').filter(|part| !part.is_empty()) {
        match text.find(part) {
            None => return false,
            Some(at) => text = &text[at + part.len()..],
        }
    }
    text.ends_with(end)
}

/// Whether a path leads elsewhere than it looks: `/tmp/../etc`, `/tmp\..\etc`, `/tmp//x`, `/./x`.
fn has_detour(text: &str) -> bool {
    // What looks like a scheme in the midst of a path is a folder with a colon.
    let path = match text.split_once("://") {
        Some((scheme, behind)) if is_scheme(scheme) => behind,
        _ => text,
    };
    let segments: Vec<_> = path.split(['/', '\\']).collect();
    let is_inner = |at: usize| at > 0 && at + 1 < segments.len();
    segments.iter().enumerate().any(|(at, segment)| {
        matches!(*segment, "." | "..") || (segment.is_empty() && is_inner(at)) || segment.contains('\0')
    })
}

/// RFC 3986 §3.1
fn is_scheme(text: &str) -> bool {
    let is_sign = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
    text.starts_with(|first: char| first.is_ascii_alphabetic()) && text.bytes().all(is_sign)
}

/// The text with its percent-encodings undone (RFC 3986 §2.1); `None` when there are none.
fn decode_percent(text: &str) -> Option<String> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.as_bytes();
    let mut is_changed = false;
    while let [first, rest @ ..] = bytes {
        let hex = rest.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        let code = hex
            .filter(|hex| *first == b'%' && hex.bytes().all(|b| b.is_ascii_hexdigit()))
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        is_changed |= code.is_some();
        decoded.push(code.unwrap_or(*first));
        bytes = if code.is_some() { &rest[2..] } else { rest };
    }
    is_changed.then(|| String::from_utf8_lossy(&decoded).into_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_star_stands_for_any_characters() {
        for (pattern, good, bad) in [
            ("add", &["add"][..], &["", "ad", "adds", "Add"][..]),
            ("*", &["", "x", "a/b"], &[]),
            ("get_*", &["get_", "get_x"], &["get", "xget_"]),
            ("*_all", &["_all", "delete_all"], &["_all_", "all"]),
            ("a*b*c", &["abc", "a-b-c", "abbc", "abcbc"], &["ac", "acb", "bac"]),
            ("a*a", &["aa", "aba"], &["a"]),
            ("a**b", &["ab", "axb"], &["a"]),
            ("", &[""], &["x"]),
        ] {
            let glob = Glob::new(pattern);
            for text in good {
                assert!(glob.matches(text), "{pattern} {text}");
            }
            for text in bad {
                assert!(!glob.matches(text), "{pattern} {text}");
            }
        }
    }

    #[test]
    fn a_path_with_several_spellings_is_unclear() {
        let tmp = Glob::new("/tmp/*");
        assert_eq!(tmp.judge_path("/tmp/a/b.txt"), Verdict::Yes);
        assert_eq!(tmp.judge_path("/tmp/a%20b/"), Verdict::Yes);
        assert_eq!(tmp.judge_path("/etc/passwd"), Verdict::No);
        for unclear in [
            "/tmp/../etc/passwd",
            "/tmp/..",
            "/tmp/..\\etc",
            "/tmp/%2e%2E/etc/passwd",
            "/tmp/a%2f..%2f..%2fetc",
            "//tmp/x",
            "/./tmp/x",
            "/%74mp/x",
            "/tmp/x%00/../y",
            "/tmp/../etc/x://y",
            "/tmp/../etc/x:%2f%2fy",
        ] {
            assert_eq!(tmp.judge_path(unclear), Verdict::Unclear, "{unclear}");
        }
        let file = Glob::new("file:///srv/*");
        assert_eq!(file.judge_path("file:///srv/a"), Verdict::Yes);
        assert_eq!(file.judge_path("file:///srv/../etc"), Verdict::Unclear);
        let windows = Glob::new("C:\\tmp\\*");
        assert_eq!(windows.judge_path("C:\\tmp\\a"), Verdict::Yes);
        assert_eq!(windows.judge_path("C:\\tmp\\..\\etc"), Verdict::Unclear);
        assert_eq!(Glob::new("v1..v2*").judge_path("v1..v2"), Verdict::Yes);
    }

    #[test]
    fn a_value_of_another_type_is_unclear() {
        let yes = ArgumentPattern::equals(true);
        assert_eq!(yes.judge(&json!(true)), Verdict::Yes);
        assert_eq!(yes.judge(&json!(false)), Verdict::No);
        for unclear in [json!("true"), json!(1), json!({}), json!([])] {
            assert_eq!(yes.judge(&unclear), Verdict::Unclear, "{unclear}");
        }
        let names = ArgumentPattern::one_of(["prod", "live"]);
        assert_eq!(names.judge(&json!("live")), Verdict::Yes);
        assert_eq!(names.judge(&json!("test")), Verdict::No);
        assert_eq!(names.judge(&json!(["live", "prod"])), Verdict::Yes);
        assert_eq!(names.judge(&json!(["live", "test"])), Verdict::Unclear);
        assert_eq!(names.judge(&json!(["test", "dev"])), Verdict::No);
        assert_eq!(names.judge(&json!([["live"]])), Verdict::Unclear);
        assert_eq!(ArgumentPattern::equals(42).judge(&json!(42.0)), Verdict::Yes);
        assert_eq!(ArgumentPattern::equals(0).judge(&json!(-0.0)), Verdict::Yes);
        let path = ArgumentPattern::glob("/etc/*");
        assert_eq!(path.judge(&json!(["/srv/a", "/etc/b"])), Verdict::Unclear);
        for unclear in [
            json!(1),
            json!(r#"["/etc/passwd"]"#),
            json!({"path": "/etc/passwd"}),
        ] {
            assert_eq!(path.judge(&unclear), Verdict::Unclear, "{unclear}");
        }
        assert_eq!(ArgumentPattern::present().judge(&json!({})), Verdict::Yes);
    }

    /// The same by the book: a star is nothing, or one character and the star again.
    fn matches_slowly(pattern: &[u8], text: &[u8]) -> bool {
        match (pattern, text) {
            ([b'*', rest @ ..], _) => {
                matches_slowly(rest, text) || (!text.is_empty() && matches_slowly(pattern, &text[1..]))
            }
            ([first, rest @ ..], [next, behind @ ..]) => first == next && matches_slowly(rest, behind),
            ([], []) => true,
            _ => false,
        }
    }

    proptest::proptest! {
        #[test]
        fn stars_match_as_by_the_book(pattern in "[ab*]{0,8}", text in "[ab]{0,12}") {
            let slowly = matches_slowly(pattern.as_bytes(), text.as_bytes());
            proptest::prop_assert_eq!(Glob::new(&pattern).matches(&text), slowly);
        }
    }
}
