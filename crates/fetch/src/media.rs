//! What a document may be: JSON, or a picture made of pixels.

use http::{HeaderMap, HeaderValue, header};

use crate::error::BadDocument;

/// What kind of body is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Media {
    /// `application/json` or `application/*+json`. What the bytes say is the caller's to judge.
    Json,
    /// A [`RasterImage`]: its content type names one, and its first bytes are of that one.
    RasterImage,
}

/// A picture made of pixels, which can hold no script and points nowhere. SVG is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RasterImage {
    /// `image/png`
    Png,
    /// `image/jpeg`
    Jpeg,
    /// `image/webp`
    Webp,
    /// `image/gif`
    Gif,
}

impl RasterImage {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Png, Self::Jpeg, Self::Webp, Self::Gif];

    /// Its media type.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Png => "image/png",
            Self::Jpeg => "image/jpeg",
            Self::Webp => "image/webp",
            Self::Gif => "image/gif",
        }
    }

    /// Which one these bytes begin as (WHATWG MIME Sniffing §6.1).
    ///
    /// ```
    /// use mcp_authflow_fetch::RasterImage;
    ///
    /// assert_eq!(RasterImage::of(b"GIF89a\x01\0\x01\0"), Some(RasterImage::Gif));
    /// assert_eq!(RasterImage::of(b"<svg/>"), None);
    /// ```
    pub fn of(bytes: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|image| image.is_begun_by(bytes))
    }

    fn is_begun_by(self, bytes: &[u8]) -> bool {
        match self {
            Self::Png => bytes.starts_with(b"\x89PNG\r\n\x1a\n"),
            Self::Jpeg => bytes.starts_with(b"\xff\xd8\xff"),
            Self::Webp => bytes.starts_with(b"RIFF") && bytes.get(8..14) == Some(b"WEBPVP"),
            Self::Gif => bytes.starts_with(b"GIF87a") || bytes.starts_with(b"GIF89a"),
        }
    }
}

impl Media {
    /// What is asked for.
    pub(crate) fn accept(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Json => "application/json",
            Self::RasterImage => "image/png, image/jpeg, image/webp, image/gif",
        })
    }

    /// Whether the head promises it.
    pub(crate) fn check_head(self, headers: &HeaderMap) -> Result<(), BadDocument> {
        let essence = essence(headers);
        let is_promised = essence.as_deref().is_some_and(|essence| match self {
            Self::Json => is_json(essence),
            Self::RasterImage => RasterImage::ALL.iter().any(|image| image.media_type() == essence),
        });
        match self {
            _ if is_promised => Ok(()),
            Self::Json => Err(BadDocument::ContentType),
            Self::RasterImage => Err(BadDocument::NotAnImage),
        }
    }

    /// Whether the body is what the head promised, as far as that is looked at here.
    pub(crate) fn check_body(self, headers: &HeaderMap, body: &[u8]) -> Result<(), BadDocument> {
        match self {
            Self::Json => Ok(()),
            // A browser that is told `image/png` and finds something else is a browser that guesses.
            Self::RasterImage => match RasterImage::of(body) {
                Some(image) if essence(headers).as_deref() == Some(image.media_type()) => Ok(()),
                _ => Err(BadDocument::NotAnImage),
            },
        }
    }
}

/// The one content type without its parameters, in lower case.
fn essence(headers: &HeaderMap) -> Option<String> {
    let mut values = headers.get_all(header::CONTENT_TYPE).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return None;
    };
    let value = value.to_str().ok()?;
    let essence = value.split(';').next().unwrap_or(value);
    Some(essence.trim().to_ascii_lowercase())
}

/// JSON by its name (RFC 6839 §3.1): `application/json`, `application/jwk-set+json`, …
fn is_json(essence: &str) -> bool {
    let Some(subtype) = essence.strip_prefix("application/") else {
        return false;
    };
    let is_token = |text: &str| {
        !text.is_empty()
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b))
    };
    subtype == "json" || subtype.strip_suffix("+json").is_some_and(is_token)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    fn declared(types: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in types {
            headers.append(header::CONTENT_TYPE, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    /// M-162
    #[test]
    fn json_is_declared_once_and_plainly() {
        let is = |types: &[&str]| Media::Json.check_head(&declared(types)).is_ok();
        for good in [
            "application/json",
            "Application/JSON; charset=utf-8",
            "application/jwk-set+json",
            "application/json ;x=y",
            "application/vnd.c.test-1+json",
        ] {
            assert!(is(&[good]), "{good}");
        }
        for bad in [
            "",
            "text/html",
            "text/json",
            "application/jsonp",
            "application/+json",
            "application/x json",
            "application/a b+json",
            "application/octet-stream",
            "application/json, text/html",
            "application/text/x+json",
            "json",
            "text/html; x=application/json",
            "image/png",
        ] {
            assert!(!is(&[bad]), "{bad}");
        }
        assert!(!is(&[]));
        assert!(!is(&["application/json", "application/json"]));
    }

    /// CM-12
    /// M-172
    #[test]
    fn a_picture_is_what_it_is_said_to_be() {
        let (png, jpeg) = (&b"\x89PNG\r\n\x1a\n\0\0"[..], &b"\xff\xd8\xff\xe0\0"[..]);
        let (webp, gif) = (&b"RIFF\x10\0\0\0WEBPVP8L"[..], &b"GIF89a\x01\0\x01\0"[..]);
        let check = |declared_as: &str, body: &[u8]| {
            let headers = declared(&[declared_as]);
            let media = Media::RasterImage;
            media
                .check_head(&headers)
                .and_then(|()| media.check_body(&headers, body))
                .is_ok()
        };
        for (name, body) in [
            ("image/png", png),
            ("image/jpeg", jpeg),
            ("image/webp", webp),
            ("image/gif", gif),
            ("Image/GIF; x=y", gif),
        ] {
            assert!(check(name, body), "{name}");
        }
        let svg = &b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"[..];
        for (name, body) in [
            ("image/svg+xml", svg),
            ("image/png", svg),
            ("image/png", gif),
            ("image/gif", b"GIF88a"),
            ("image/webp", b"RIFF\x10\0\0\0WAVEfmt "),
            ("image/png", b""),
            ("image/jpg", jpeg),
            ("image/*", png),
            ("text/html", png),
            ("application/json", b"{}"),
        ] {
            assert!(!check(name, body), "{name}");
        }
    }
}
