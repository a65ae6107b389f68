//! One JSON document: serialized once, and sent again only when it is another one than the client has.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header, request::Parts};
use mcp_authflow_types::hex;
use sha2::{Digest as _, Sha256};

use crate::refusal::json;

/// How long a document may be kept: five minutes, so that a change of mind arrives soon.
pub(super) const CACHE_CONTROL: HeaderValue = HeaderValue::from_static("public, max-age=300");

/// The bytes and their name.
#[derive(Clone, Debug)]
pub(super) struct Document {
    body: Bytes,
    etag: HeaderValue,
}

impl Document {
    pub(super) fn new(body: impl Into<Bytes>) -> Self {
        let body = body.into();
        let digest = Sha256::digest(&body);
        let etag = format!("\"{}\"", hex::encode(&digest[..16]));
        Self {
            // Hexadecimal digits in quotation marks are a header's value.
            etag: HeaderValue::try_from(etag).unwrap_or(HeaderValue::from_static("\"\"")),
            body,
        }
    }

    /// The answer to GET or HEAD.
    pub(super) fn answer(&self, request: &Parts) -> Response<Bytes> {
        let mut answer = json(200, String::new());
        let is_known = self.is_known(&request.headers);
        let headers = answer.headers_mut();
        headers.insert(header::CACHE_CONTROL, CACHE_CONTROL);
        headers.insert(header::ETAG, self.etag.clone());
        if is_known {
            headers.remove(header::CONTENT_TYPE);
            *answer.status_mut() = StatusCode::NOT_MODIFIED;
            return answer;
        }
        headers.insert(header::CONTENT_LENGTH, self.body.len().into());
        if request.method != Method::HEAD {
            *answer.body_mut() = self.body.clone();
        }
        answer
    }

    /// RFC 9110 §13.1.2: `If-None-Match` names what the client has; compared weakly.
    fn is_known(&self, headers: &HeaderMap) -> bool {
        headers
            .get_all(header::IF_NONE_MATCH)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .map(str::trim)
            .any(|tag| tag == "*" || self.etag == *tag.strip_prefix("W/").unwrap_or(tag))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use http::Request;

    use super::*;

    fn ask(document: &Document, method: &str, known: &[&str]) -> Response<Bytes> {
        let mut request = Request::builder().method(method).body(()).unwrap();
        for tag in known {
            let tag = HeaderValue::from_str(tag).unwrap();
            request.headers_mut().append(header::IF_NONE_MATCH, tag);
        }
        document.answer(&request.into_parts().0)
    }

    /// S-253
    #[test]
    fn what_a_client_has_is_not_sent_again() {
        let document = Document::new("{}");
        let fresh = ask(&document, "GET", &[]);
        let tag = fresh.headers()[header::ETAG].to_str().unwrap().to_owned();
        assert_eq!(
            (fresh.status().as_u16(), fresh.body().as_ref()),
            (200, &b"{}"[..])
        );
        let other = Document::new("{ }");
        assert_ne!(ask(&other, "GET", &[]).headers()[header::ETAG], tag);
        for known in [
            vec![tag.as_str()],
            vec!["*"],
            vec!["\"x\"", &format!("W/\"y\", W/{tag}")],
        ] {
            for method in ["GET", "HEAD"] {
                let again = ask(&document, method, &known);
                assert_eq!(
                    (again.status().as_u16(), again.body().len()),
                    (304, 0),
                    "{known:?}"
                );
                assert_eq!(again.headers()[header::ETAG], tag);
                assert_eq!(again.headers()[header::CACHE_CONTROL], CACHE_CONTROL);
                assert_eq!(ask(&other, method, &[&tag]).status(), 200);
            }
        }
    }
}
