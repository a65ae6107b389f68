//! How long the origin lets a copy be used (RFC 9111).

use std::time::Duration;

use http::{HeaderMap, HeaderName, header};

/// What the headers say of the copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lifetime {
    /// How long it stays fresh from now on, the time on the way taken off; `None` when nothing is said.
    pub(crate) remaining: Option<Duration>,
    /// How old it was when it came.
    pub(crate) age: Duration,
    /// Whether it may stand in when the origin cannot be asked (RFC 9111 §4.2.4).
    pub(crate) may_be_stale: bool,
}

impl Lifetime {
    /// Reads the headers as a shared cache does. What is said badly counts as said, and as no time at all (§4.2.1).
    pub(crate) fn read(headers: &HeaderMap) -> Self {
        let age = texts(headers, &header::AGE)
            .map(|text| seconds(text.trim()).unwrap_or(Duration::MAX))
            .max()
            .unwrap_or(Duration::ZERO);
        let mut max_age = None;
        let mut shared_max_age = None;
        let mut is_forbidden = false;
        let mut may_be_stale = true;
        for directive in texts(headers, &header::CACHE_CONTROL).flat_map(|text| text.split(',')) {
            let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
            // §4.2.1: of several values the shortest is on the safe side.
            let shortest = |known: Option<Duration>| {
                let value = seconds(value.trim().trim_matches('"')).unwrap_or(Duration::ZERO);
                Some(known.map_or(value, |known| known.min(value)))
            };
            match name.trim().to_ascii_lowercase().as_str() {
                "s-maxage" => {
                    shared_max_age = shortest(shared_max_age);
                    // §5.2.2.10: it has the meaning of proxy-revalidate too.
                    may_be_stale = false;
                }
                "max-age" => max_age = shortest(max_age),
                "no-store" | "no-cache" => {
                    is_forbidden = true;
                    may_be_stale = false;
                }
                "must-revalidate" | "proxy-revalidate" => may_be_stale = false,
                _ => {}
            }
        }
        let stated = if is_forbidden {
            Some(Duration::ZERO)
        } else {
            shared_max_age.or(max_age).or_else(|| until_expires(headers))
        };
        Self {
            remaining: stated.map(|lifetime| lifetime.saturating_sub(age)),
            age,
            may_be_stale,
        }
    }
}

/// `Expires` minus `Date` (§4.2.1): both are the origin's clock, so ours need not agree with it. Without a `Date` nothing
/// can be said.
fn until_expires(headers: &HeaderMap) -> Option<Duration> {
    let date = |name: &HeaderName| {
        let mut texts = texts(headers, name);
        let first = texts.next().map(httpdate::parse_http_date);
        (first, texts.next().is_some())
    };
    let (expires, several) = date(&header::EXPIRES);
    match (expires?, date(&header::DATE)) {
        (Err(_), _) => Some(Duration::ZERO),
        (Ok(_), _) if several => Some(Duration::ZERO),
        (Ok(expires), (Some(Ok(date)), false)) => Some(expires.duration_since(date).unwrap_or_default()),
        (Ok(_), _) => None,
    }
}

/// The values of a header that are text; others count as empty ones.
fn texts<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    headers
        .get_all(name)
        .iter()
        .map(|value| value.to_str().unwrap_or(""))
}

/// Delta-seconds (§1.2.2): digits; what is too large is very large.
fn seconds(digits: &str) -> Option<Duration> {
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| Duration::from_secs(digits.parse().unwrap_or(u64::from(u32::MAX)).min(u32::MAX.into())))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    fn read(lines: &str) -> Lifetime {
        let headers = lines.lines().map(|line| {
            let (name, value) = line.split_once(':').unwrap();
            (
                HeaderName::try_from(name.trim()).unwrap(),
                http::HeaderValue::try_from(value.trim()).unwrap(),
            )
        });
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name, value);
        }
        Lifetime::read(&map)
    }

    /// RFC 9111 §4.2.1
    #[test]
    fn the_lifetime_is_what_the_origin_says() {
        const DATE: &str = "date: Tue, 24 Nov 2026 10:00:00 GMT\n";
        for (headers, remaining) in [
            ("", None),
            ("cache-control: public", None),
            ("cache-control: max-age=600", Some(600)),
            ("cache-control: Max-Age=\"600\"", Some(600)),
            ("cache-control: max-age=600, max-age=60", Some(60)),
            ("cache-control: max-age=600\ncache-control: max-age=60", Some(60)),
            ("cache-control: s-maxage=50, max-age=600", Some(50)),
            ("cache-control: max-age=600, no-store", Some(0)),
            ("cache-control: no-cache", Some(0)),
            ("cache-control: max-age=abc", Some(0)),
            ("cache-control: max-age=", Some(0)),
            ("cache-control: max-age=-5", Some(0)),
            (
                "cache-control: max-age=99999999999999999999999",
                Some(4_294_967_295),
            ),
            ("cache-control: max-age=600\nage: 100", Some(500)),
            ("cache-control: max-age=600\nage: 999999", Some(0)),
            ("cache-control: max-age=600\nage: soon", Some(0)),
            ("expires: 0", Some(0)),
            ("expires: Tue, 24 Nov 2026 10:05:00 GMT", None),
            (
                &format!("{DATE}expires: Tue, 24 Nov 2026 10:05:00 GMT"),
                Some(300),
            ),
            (
                &format!("{DATE}expires: Tue, 24 Nov 2026 10:05:00 GMT\nage: 60"),
                Some(240),
            ),
            (&format!("{DATE}expires: Tue, 24 Nov 2026 09:00:00 GMT"), Some(0)),
            (
                &format!("{DATE}expires: Tue, 24 Nov 2026 10:05:00 GMT\ncache-control: max-age=7"),
                Some(7),
            ),
        ] {
            let read = read(headers);
            assert_eq!(read.remaining, remaining.map(Duration::from_secs), "{headers}");
        }
    }

    /// RFC 9111 §4.2.4
    #[test]
    fn a_copy_stands_in_only_where_nothing_forbids_it() {
        for (headers, may) in [
            ("", true),
            ("cache-control: max-age=60", true),
            ("cache-control: max-age=60, must-revalidate", false),
            ("cache-control: s-maxage=60", false),
            ("cache-control: no-cache", false),
            ("cache-control: proxy-revalidate", false),
        ] {
            assert_eq!(read(headers).may_be_stale, may, "{headers}");
        }
    }
}
