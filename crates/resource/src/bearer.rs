//! Where a token may stand in a request: in one `Authorization` header, and nowhere else (RFC 6750 §2, M-121).

use http::{header::AUTHORIZATION, request::Parts};

use crate::refusal::Refusal;

/// The longest token taken, in bytes. Ours have 59; signed ones with many claims reach a few thousand, and servers cut
/// headers off at 8 to 32 KiB anyway.
const MAX_TOKEN_BYTES: usize = 8_192;

/// Finds the token.
///
/// Query parameters and several headers are refused rather than ignored: a proxy in front might have looked at the other
/// one. A token in a form body is simply not seen.
pub(crate) fn token(request: &Parts) -> Result<&str, Refusal> {
    // 1. RFC 6750 §2.3, M-121: a token in a URL ends up in logs and histories.
    let query = request.uri.query().unwrap_or_default();
    if form_urlencoded::parse(query.as_bytes()).any(|(name, _)| name == "access_token") {
        return Err(Refusal::TokenInQuery);
    }
    // 2. RFC 9110 §5.3: the header is no list, so two of them are malformed.
    let mut headers = request.headers.get_all(AUTHORIZATION).iter();
    let header = headers.next().ok_or(Refusal::NoToken)?;
    if headers.next().is_some() {
        return Err(Refusal::SeveralTokens);
    }
    // 3. RFC 9110 §11.1: the scheme's case does not matter. Another scheme is no attempt at ours.
    let bytes = header.as_bytes();
    let end_of_scheme = bytes.iter().position(|b| *b == b' ').unwrap_or(bytes.len());
    let (scheme, rest) = bytes.split_at(end_of_scheme);
    if !scheme.eq_ignore_ascii_case(b"Bearer") {
        return Err(Refusal::NoToken);
    }
    // 4. RFC 6750 §2.1: b64token, after one or more spaces (RFC 9110 §11.4).
    let token = std::str::from_utf8(rest)
        .map_err(|_| Refusal::MalformedToken)?
        .trim_start_matches(' ');
    if token.len() <= MAX_TOKEN_BYTES && is_b64token(token) {
        Ok(token)
    } else {
        Err(Refusal::MalformedToken)
    }
}

/// `1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/" ) *"="`
fn is_b64token(text: &str) -> bool {
    let body = text.trim_end_matches('=');
    !body.is_empty()
        && body
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-._~+/".contains(&b))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use http::{HeaderValue, Request};

    use super::*;

    fn request(target: &str, headers: &[&[u8]]) -> Parts {
        let mut request = Request::post(target).body(()).unwrap();
        for header in headers {
            let value = HeaderValue::from_bytes(header).unwrap();
            request.headers_mut().append(AUTHORIZATION, value);
        }
        request.into_parts().0
    }

    /// RFC 9110 §11.1
    #[test]
    fn the_scheme_is_compared_without_case() {
        for header in ["Bearer abc", "bearer abc", "BEARER   abc"] {
            assert_eq!(token(&request("/mcp", &[header.as_bytes()])), Ok("abc"));
        }
    }

    /// RFC 6750 §2.1
    #[test]
    fn a_token_is_letters_digits_and_a_few_signs() {
        assert_eq!(
            token(&request("/mcp", &[b"Bearer aZ09-._~+/=="])),
            Ok("aZ09-._~+/==")
        );
        let long = [b"Bearer ".as_slice(), &[b'a'; MAX_TOKEN_BYTES + 1]].concat();
        for bad in [
            b"Bearer".as_slice(),
            b"Bearer ",
            b"Bearer a b",
            b"Bearer a, Bearer b",
            b"Bearer ==",
            b"Bearer a=b",
            b"Bearer \"a\"",
            b"Bearer \xff",
            b"Bearer a\tb",
            &long,
        ] {
            assert_eq!(
                token(&request("/mcp", &[bad])),
                Err(Refusal::MalformedToken),
                "{bad:?}"
            );
        }
    }

    /// RFC 6750 §3.1: another scheme counts as no token at all.
    #[test]
    fn another_scheme_is_no_token() {
        for other in [
            b"Basic YTpi".as_slice(),
            b"DPoP abc",
            b"Bearerabc",
            b"",
            b"Bearer\tabc",
        ] {
            assert_eq!(token(&request("/mcp", &[other])), Err(Refusal::NoToken));
        }
        assert_eq!(token(&request("/mcp", &[])), Err(Refusal::NoToken));
    }

    /// M-021
    #[test]
    fn two_authorization_headers_are_refused() {
        for second in [b"Bearer abc".as_slice(), b"Basic YTpi"] {
            let request = request("/mcp", &[b"Bearer abc", second]);
            assert_eq!(token(&request), Err(Refusal::SeveralTokens));
        }
    }

    /// M-121
    #[test]
    fn a_token_in_the_query_is_refused_with_or_without_a_header() {
        for target in [
            "/mcp?access_token=abc",
            "/mcp?a=b&access%5Ftoken=abc",
            "/mcp?access_token",
        ] {
            assert_eq!(token(&request(target, &[])), Err(Refusal::TokenInQuery));
            assert_eq!(
                token(&request(target, &[b"Bearer abc"])),
                Err(Refusal::TokenInQuery)
            );
        }
        assert_eq!(
            token(&request("/mcp?my_access_token=x", &[b"Bearer abc"])),
            Ok("abc")
        );
    }
}
