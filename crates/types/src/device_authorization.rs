//! What the device authorization endpoint answers (RFC 8628 §3.2).

use std::{borrow::Cow, fmt, time::Duration};

use zeroize::Zeroizing;

use crate::uri::Uri;

/// How `verification_uri_complete` is made of a `verification_uri` that has a query of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CompleteUri {
    /// The code is appended and nothing else is touched, byte for byte.
    #[default]
    Untouched,
    /// As the Python packages did: the query is read and written again as a form (`flag` becomes `flag=`, `;` becomes
    /// `%3B`), empty parts fall away, and the scheme is put into small letters.
    WrittenAnew,
}

/// A response in the making: what is not set has its default.
///
/// ```
/// use std::time::Duration;
/// use mcp_authflow_types::device_authorization::DeviceAuthorization;
///
/// let response = DeviceAuthorization {
///     expires_in: Duration::from_secs(600),
///     interval: Duration::from_secs(5),
///     ..DeviceAuthorization::new("GmRhmhcx", "WDJB-MJHT", "https://auth.example/device")
/// }
/// .build()?;
/// assert_eq!(
///     response.verification_uri_complete(),
///     "https://auth.example/device?code=WDJB-MJHT"
/// );
/// assert!(response.body().starts_with(r#"{"device_code":"GmRhmhcx","user_code":"WDJB-MJHT""#));
/// # Ok::<(), mcp_authflow_types::device_authorization::InvalidDeviceAuthorization>(())
/// ```
#[derive(Clone, Copy)]
pub struct DeviceAuthorization<'a> {
    /// The code with which the device polls.
    pub device_code: &'a str,
    /// The code that the person types.
    pub user_code: &'a str,
    /// Where the person goes: https, or plain http on loopback.
    pub verification_uri: &'a str,
    /// The same address with the code in it. Absent, it is made of the others; what is given is kept as it is.
    pub verification_uri_complete: Option<&'a str>,
    /// The query parameter under which the code is appended. Default `code`.
    pub code_parameter: &'a str,
    /// What is done to a query that is there already.
    pub complete_uri: CompleteUri,
    /// How long both codes live. Default 10 min; at least a second.
    pub expires_in: Duration,
    /// How long the device waits between two polls. Default 5 s; at least a second.
    pub interval: Duration,
}

/// Why there is no response to be made of this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidDeviceAuthorization {
    /// A device or user code is empty.
    #[error("a device code and a user code are needed")]
    NoCode,
    /// The address is no absolute URI, or neither https nor on loopback.
    #[error("verification_uri is an absolute https address, or http on loopback")]
    VerificationUri,
    /// A lifetime or an interval of less than a second.
    #[error("expires_in and interval are at least one second")]
    NotPositive,
}

impl<'a> DeviceAuthorization<'a> {
    /// A response with every default.
    pub const fn new(device_code: &'a str, user_code: &'a str, verification_uri: &'a str) -> Self {
        Self {
            device_code,
            user_code,
            verification_uri,
            verification_uri_complete: None,
            code_parameter: "code",
            complete_uri: CompleteUri::Untouched,
            expires_in: Duration::from_secs(600),
            interval: Duration::from_secs(5),
        }
    }

    /// Checks what there is, and makes the response of it.
    ///
    /// # Errors
    /// [`InvalidDeviceAuthorization`]
    pub fn build(self) -> Result<DeviceAuthorizationResponse, InvalidDeviceAuthorization> {
        use InvalidDeviceAuthorization as No;
        if self.device_code.is_empty() || self.user_code.is_empty() {
            return Err(No::NoCode);
        }
        let checked = match self.complete_uri {
            CompleteUri::Untouched => Cow::Borrowed(self.verification_uri),
            CompleteUri::WrittenAnew => Cow::Owned(with_plain_characters(self.verification_uri)),
        };
        let uri = Uri::parse(&checked).ok_or(No::VerificationUri)?;
        let authority = uri.authority.ok_or(No::VerificationUri)?;
        let is_https = uri.scheme.eq_ignore_ascii_case("https") && !authority.host.is_empty();
        let is_local = uri.scheme.eq_ignore_ascii_case("http") && authority.is_loopback();
        if !(is_https || is_local) {
            return Err(No::VerificationUri);
        }
        let (expires_in, interval) = (self.expires_in.as_secs(), self.interval.as_secs());
        if expires_in == 0 || interval == 0 {
            return Err(No::NotPositive);
        }
        let complete = match (self.verification_uri_complete, self.complete_uri) {
            (Some(complete), _) => complete.to_owned(),
            (None, CompleteUri::Untouched) => self.untouched(),
            (None, CompleteUri::WrittenAnew) => self.written_anew(),
        };
        Ok(DeviceAuthorizationResponse {
            device_code: Zeroizing::new(self.device_code.to_owned()),
            user_code: Zeroizing::new(self.user_code.to_owned()),
            verification_uri: self.verification_uri.to_owned(),
            verification_uri_complete: Zeroizing::new(complete),
            expires_in,
            interval,
        })
    }

    fn untouched(&self) -> String {
        let (before, fragment) = match self.verification_uri.split_once('#') {
            Some((before, fragment)) => (before, Some(fragment)),
            None => (self.verification_uri, None),
        };
        let mut complete = before.to_owned();
        if !before.contains('?') {
            complete.push('?');
        } else if !before.ends_with(['?', '&']) {
            complete.push('&');
        }
        push_pair(&mut complete, self.code_parameter, self.user_code);
        if let Some(fragment) = fragment {
            complete.push('#');
            complete.push_str(fragment);
        }
        complete
    }

    fn written_anew(&self) -> String {
        let uri = self.verification_uri;
        let (uri, fragment) = uri.split_once('#').unwrap_or((uri, ""));
        let (uri, query) = uri.split_once('?').unwrap_or((uri, ""));
        let (scheme, rest) = uri.split_once(':').unwrap_or((uri, ""));
        let mut complete = format!("{}:{rest}?", scheme.to_ascii_lowercase());
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            push_pair(&mut complete, &decoded(name), &decoded(value));
            complete.push('&');
        }
        push_pair(&mut complete, self.code_parameter, self.user_code);
        if !fragment.is_empty() {
            complete.push('#');
            complete.push_str(fragment);
        }
        complete
    }
}

/// The address with what a URI may not hold taken for letters: where a query is written anew it need not be one yet.
/// What could be read in two ways, a control character or a space in front, stays and is refused.
fn with_plain_characters(uri: &str) -> String {
    let (head, rest) = uri.split_at(uri.find("://").map_or(0, |at| at + 3));
    let plain = |c: char| match c {
        '%' | ' ' | '"' | '<' | '>' | '^' | '`' | '{' | '|' | '}' => '_',
        c if !c.is_ascii() => '_',
        c => c,
    };
    head.chars().chain(rest.chars().map(plain)).collect()
}

/// Writes a pair of a form (WHATWG URL §5.2, with `~` left as it is, as RFC 3986 §2.3 has it).
fn push_pair(text: &mut String, name: &str, value: &str) {
    push_encoded(text, name);
    text.push('=');
    push_encoded(text, value);
}

fn push_encoded(text: &mut String, value: &str) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            text.push(char::from(byte));
        } else if byte == b' ' {
            text.push('+');
        } else {
            text.push('%');
            text.push(char::from(HEX[usize::from(byte >> 4)]));
            text.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
}

/// Reads a part of a form. A percent sign that begins no escape stands for itself.
fn decoded(text: &str) -> String {
    let digit = |byte: Option<&u8>| byte.and_then(|digit| char::from(*digit).to_digit(16));
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [byte, after @ ..] = rest {
        let escaped = digit(after.first()).zip(digit(after.get(1)));
        rest = after;
        bytes.push(match (byte, escaped) {
            (b'+', _) => b' ',
            (b'%', Some((high, low))) => {
                rest = &after[2..];
                u8::try_from(high * 16 + low).unwrap_or(b'?')
            }
            (byte, _) => *byte,
        });
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A successful response. `Debug` shows no code.
#[derive(Clone, PartialEq, Eq)]
pub struct DeviceAuthorizationResponse {
    device_code: Zeroizing<String>,
    user_code: Zeroizing<String>,
    verification_uri: String,
    verification_uri_complete: Zeroizing<String>,
    expires_in: u64,
    interval: u64,
}

impl DeviceAuthorizationResponse {
    /// The code with which the device polls: for the device alone.
    pub fn device_code(&self) -> &str {
        &self.device_code
    }

    /// The code that the person types.
    pub fn user_code(&self) -> &str {
        &self.user_code
    }

    /// Where the person goes.
    pub fn verification_uri(&self) -> &str {
        &self.verification_uri
    }

    /// The same address with the code in it, for a QR code.
    pub fn verification_uri_complete(&self) -> &str {
        &self.verification_uri_complete
    }

    /// How many seconds both codes live.
    pub const fn expires_in(&self) -> u64 {
        self.expires_in
    }

    /// How many seconds the device waits between two polls.
    pub const fn interval(&self) -> u64 {
        self.interval
    }

    /// The JSON body, its members in the order of RFC 8628 §3.2.
    pub fn body(&self) -> String {
        #[derive(serde::Serialize)]
        struct Body<'a> {
            device_code: &'a str,
            user_code: &'a str,
            verification_uri: &'a str,
            verification_uri_complete: &'a str,
            expires_in: u64,
            interval: u64,
        }
        let body = Body {
            device_code: &self.device_code,
            user_code: &self.user_code,
            verification_uri: &self.verification_uri,
            verification_uri_complete: &self.verification_uri_complete,
            expires_in: self.expires_in,
            interval: self.interval,
        };
        // Strings and numbers cannot fail to serialize.
        serde_json::to_string(&body).unwrap_or_default()
    }
}

impl fmt::Debug for DeviceAuthorizationResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeviceAuthorizationResponse")
            .field("verification_uri", &self.verification_uri)
            .field("expires_in", &self.expires_in)
            .field("interval", &self.interval)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    fn complete(uri: &str, how: CompleteUri) -> String {
        let response = DeviceAuthorization {
            complete_uri: how,
            ..DeviceAuthorization::new("d", "WDJB-MJHT", uri)
        };
        response.build().unwrap().verification_uri_complete().to_owned()
    }

    /// S-099
    #[test]
    fn the_body_has_the_six_members_of_rfc_8628_in_their_order() {
        let response = DeviceAuthorization::new("d", "WDJB-MJHT", "http://127.0.0.1:8000/device")
            .build()
            .unwrap();
        assert_eq!(
            response.body(),
            r#"{"device_code":"d","user_code":"WDJB-MJHT","verification_uri":"http://127.0.0.1:8000/device","verification_uri_complete":"http://127.0.0.1:8000/device?code=WDJB-MJHT","expires_in":600,"interval":5}"#
        );
        assert!(!format!("{response:?}").contains("WDJB"));
    }

    /// S-100
    #[test]
    fn the_code_joins_the_query_and_touches_nothing_else() {
        let there = "https://a.example/d?flag&x=a%20b;c&&y";
        assert_eq!(
            complete(there, CompleteUri::Untouched),
            format!("{there}&code=WDJB-MJHT")
        );
        for (uri, joined) in [
            ("https://a.example", "https://a.example?code=WDJB-MJHT"),
            ("https://a.example/?", "https://a.example/?code=WDJB-MJHT"),
            ("https://a.example/#a?b", "https://a.example/?code=WDJB-MJHT#a?b"),
            (
                "https://a.example/?z=1#",
                "https://a.example/?z=1&code=WDJB-MJHT#",
            ),
        ] {
            assert_eq!(complete(uri, CompleteUri::Untouched), joined);
        }
        assert_eq!(
            complete(there, CompleteUri::WrittenAnew),
            "https://a.example/d?flag=&x=a+b%3Bc&y=&code=WDJB-MJHT"
        );
        assert_eq!(
            complete("HTTPS://A.example/#", CompleteUri::WrittenAnew),
            "https://A.example/?code=WDJB-MJHT"
        );
        assert_eq!(
            complete("https://a.example/d?q=ü x&%zz&=v&a==b", CompleteUri::WrittenAnew),
            "https://a.example/d?q=%C3%BC+x&%25zz=&=v&a=%3Db&code=WDJB-MJHT"
        );
        let explicit = DeviceAuthorization {
            verification_uri_complete: Some(""),
            ..DeviceAuthorization::new("d", "u", "https://a.example")
        };
        assert_eq!(explicit.build().unwrap().verification_uri_complete(), "");
    }

    /// S-100, S-101
    #[test]
    fn an_address_where_nobody_should_type_a_code_is_refused() {
        for bad in [
            "",
            "device",
            "not a uri",
            "http://a.example/device",
            "https://[::1/device",
            "https:///device",
            " https://a.example/device",
            "https://a.example/de\tvice",
            "javascript:alert(1)",
        ] {
            let refused = DeviceAuthorization::new("d", "u", bad).build();
            assert_eq!(
                refused,
                Err(InvalidDeviceAuthorization::VerificationUri),
                "{bad:?}"
            );
        }
        let new = || DeviceAuthorization::new("d", "u", "https://a.example");
        for (expires_in, interval) in [(0, 5), (600, 0)] {
            let response = DeviceAuthorization {
                expires_in: Duration::from_secs(expires_in),
                interval: Duration::from_secs(interval),
                ..new()
            };
            assert_eq!(response.build(), Err(InvalidDeviceAuthorization::NotPositive));
        }
        for (device_code, user_code) in [("", "u"), ("d", "")] {
            let response = DeviceAuthorization {
                device_code,
                user_code,
                ..new()
            };
            assert_eq!(response.build(), Err(InvalidDeviceAuthorization::NoCode));
        }
    }
}
