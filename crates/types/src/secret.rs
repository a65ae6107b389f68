//! Tokens, codes and client secrets, and the digests by which a store knows them.
//!
//! What we mint reads `prefix_` + expiry bucket + 256 random bits + checksum, parsed by position:
//!
//! | kind | prefix | bucket | then |
//! |---|---|---|---|
//! | access token | `mcpat_` | 4 base62 characters: hours since the epoch | 43 base64url, 6 base62 (CRC-32 of all before) |
//! | refresh token | `mcprt_` | 4 base62 characters: days since the epoch | the same |
//! | authorization code | `mcpac_` | none | the same |
//! | device code | `mcpdc_` | none | the same |
//! | client secret | `mcpcs_` | none | the same |
//! | registration access token | `mcpra_` | none | the same |
//!
//! An access token may be a JWT instead (RFC 9068), where its resource wants one; it then lies in the bucket of its `exp`.
//!
//! The prefix lets secret scanners find a leaked one; the checksum lets garbage be refused without a look-up; the bucket
//! lets a look-up and an expiry touch one partition. None of the three is secret: the 256 bits are.
//!
//! # Security
//! The types have no `Display`, no `Deref`, no serde and a `Debug` that shows nothing; they are wiped when dropped.
//! `expose` is the one way to the text, and `hash` the one way into a store.

use std::fmt;

use base64::Engine as _;
use sha2::Digest as _;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use crate::{Issuer, Timestamp};

/// SHA-256 of a secret: the only form in which a store ever sees one.
#[derive(Clone, Copy, Eq, PartialOrd, Ord)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    /// Digests any secret text.
    pub fn of(secret: &str) -> Self {
        Self(sha2::Sha256::digest(secret.as_bytes()).into())
    }

    /// Takes a stored digest back.
    pub const fn from_bytes(digest: [u8; 32]) -> Self {
        Self(digest)
    }

    /// The digest, for a store.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Eight hexadecimal digits of the digest: enough to follow a token through a log, useless to whoever reads it.
    pub fn fingerprint(&self) -> String {
        crate::hex::encode(&self.0[..4])
    }
}

impl PartialEq for TokenHash {
    /// Compares in constant time.
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl std::hash::Hash for TokenHash {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenHash({}…)", self.fingerprint())
    }
}

/// The partition in which a token lies: hours since the epoch for access tokens, days for refresh tokens.
pub type ExpiryBucket = u32;

/// The text does not have the form of this kind of secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a {0}")]
pub struct Malformed(&'static str);

const RANDOM_CHARS: usize = 43;
const CHECK_CHARS: usize = 6;
const BUCKET_CHARS: usize = 4;
const PREFIX_CHARS: usize = 6;

fn mint(prefix: &str, bucket: Option<ExpiryBucket>, random: &[u8; 32]) -> Zeroizing<String> {
    let mut text = String::with_capacity(PREFIX_CHARS + BUCKET_CHARS + RANDOM_CHARS + CHECK_CHARS);
    text.push_str(prefix);
    if let Some(bucket) = bucket {
        push_base62(&mut text, bucket.into(), BUCKET_CHARS);
    }
    base64::prelude::BASE64_URL_SAFE_NO_PAD.encode_string(random, &mut text);
    let check = crc32(text.as_bytes());
    push_base62(&mut text, check.into(), CHECK_CHARS);
    Zeroizing::new(text)
}

/// Checks form and checksum; answers the bucket.
fn read(prefix: &str, with_bucket: bool, text: &str) -> Option<ExpiryBucket> {
    let bucket_chars = if with_bucket { BUCKET_CHARS } else { 0 };
    let rest = text.strip_prefix(prefix)?;
    if rest.len() != bucket_chars + RANDOM_CHARS + CHECK_CHARS || !rest.is_ascii() {
        return None;
    }
    let (bucket, rest) = rest.split_at(bucket_chars);
    let (random, check) = rest.split_at(RANDOM_CHARS);
    if !random
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    {
        return None;
    }
    let signed = &text.as_bytes()[..text.len() - CHECK_CHARS];
    if read_base62(check)? != u64::from(crc32(signed)) {
        return None;
    }
    u32::try_from(read_base62(bucket)?).ok()
}

macro_rules! secret {
    ($(#[$doc:meta])* $name:ident, $label:literal, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone)]
        pub struct $name(Zeroizing<String>);

        impl $name {
            /// What every one of them begins with.
            pub const PREFIX: &'static str = $prefix;

            /// The secret text: for the one answer in which it leaves the server.
            pub fn expose(&self) -> &str {
                &self.0
            }

            /// The digest that stands for it in a store and in comparisons.
            pub fn hash(&self) -> TokenHash {
                TokenHash::of(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(…)"))
            }
        }
    };
}

/// An access token (RFC 6749 §1.4): opaque, or a JWT (RFC 9068).
#[derive(Clone)]
pub struct AccessToken {
    text: Zeroizing<String>,
    bucket: ExpiryBucket,
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccessToken(…)")
    }
}

secret! {
    /// A refresh token (RFC 6749 §1.5).
    RefreshToken, "refresh token", "mcprt_"
}
secret! {
    /// An authorization code (RFC 6749 §1.3.1).
    AuthorizationCode, "authorization code", "mcpac_"
}
secret! {
    /// A device code (RFC 8628 §3.2).
    DeviceCode, "device code", "mcpdc_"
}
secret! {
    /// A client's secret (RFC 6749 §2.3.1): minted by us, or brought by the operator.
    ClientSecret, "client secret", "mcpcs_"
}

secret! {
    /// The token with which a client reads, changes and removes its own registration (RFC 7592 §3).
    RegistrationAccessToken, "registration access token", "mcpra_"
}

impl RegistrationAccessToken {
    /// Mints a token.
    pub fn mint(random: &[u8; 32]) -> Self {
        Self(mint(Self::PREFIX, None, random))
    }

    /// Reads a token that we may have minted.
    ///
    /// # Errors
    /// [`Malformed`] when prefix, length, alphabet or checksum are wrong.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        read(Self::PREFIX, false, text)
            .map(|_| Self(Zeroizing::new(text.to_owned())))
            .ok_or(Malformed("registration access token"))
    }
}

impl AccessToken {
    /// What every opaque one begins with.
    pub const PREFIX: &'static str = "mcpat_";
    /// The longest JWT that is read as an access token, in bytes.
    pub const MAX_SIGNED_BYTES: usize = 16 * 1024;

    /// Mints an opaque token that lies in the bucket of its expiry hour.
    pub fn mint(random: &[u8; 32], expires_at: Timestamp) -> Self {
        let bucket = Self::bucket_of(expires_at);
        Self {
            text: mint(Self::PREFIX, Some(bucket), random),
            bucket,
        }
    }

    /// Takes a JWT that was just signed, with the time that its `exp` says.
    pub fn signed(jwt: String, expires_at: Timestamp) -> Self {
        Self {
            text: Zeroizing::new(jwt),
            bucket: Self::bucket_of(expires_at),
        }
    }

    /// Reads an opaque token that we may have minted.
    ///
    /// # Errors
    /// [`Malformed`] when prefix, length, alphabet or checksum are wrong.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        read(Self::PREFIX, true, text)
            .map(|bucket| Self {
                text: Zeroizing::new(text.to_owned()),
                bucket,
            })
            .ok_or(Malformed("access token"))
    }

    /// Reads a JWT that says it is an access token (`typ` is `at+jwt`) of this issuer; without one, of any.
    ///
    /// # Security
    /// No signature is checked. What it says of its end only tells where to look for its digest, and a digest is found
    /// there or not: what nobody issued is in no store.
    ///
    /// # Errors
    /// [`Malformed`]
    pub fn parse_signed(text: &str, issuer: Option<&Issuer>) -> Result<Self, Malformed> {
        signed_bucket(text, issuer)
            .map(|bucket| Self {
                text: Zeroizing::new(text.to_owned()),
                bucket,
            })
            .ok_or(Malformed("signed access token"))
    }

    /// The secret text: for the one answer in which it leaves the server.
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// The digest that stands for it in a store and in comparisons.
    pub fn hash(&self) -> TokenHash {
        TokenHash::of(&self.text)
    }

    /// The hour since the epoch in which a token with this expiry lies.
    pub fn bucket_of(expires_at: Timestamp) -> ExpiryBucket {
        u32::try_from(expires_at.seconds().max(0) / 3_600).unwrap_or(u32::MAX)
    }

    /// The bucket spelled in the token.
    pub const fn bucket(&self) -> ExpiryBucket {
        self.bucket
    }
}

/// The bucket of a JWT by what it says of itself.
fn signed_bucket(text: &str, issuer: Option<&Issuer>) -> Option<ExpiryBucket> {
    #[derive(serde::Deserialize)]
    struct Header {
        typ: String,
    }
    #[derive(serde::Deserialize)]
    struct Payload {
        iss: String,
        exp: i64,
    }
    // Every JSON object begins so in base64url.
    if !text.starts_with("eyJ") || text.len() > AccessToken::MAX_SIGNED_BYTES {
        return None;
    }
    let mut parts = text.split('.');
    let (header, payload, _signature) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    let decode = |part| base64::prelude::BASE64_URL_SAFE_NO_PAD.decode(part).ok();
    let Header { typ } = serde_json::from_slice(&decode(header)?).ok()?;
    let Payload { iss, exp } = serde_json::from_slice(&decode(payload)?).ok()?;
    let is_ours =
        typ.eq_ignore_ascii_case("at+jwt") && issuer.is_none_or(|issuer| iss == issuer.as_str()) && exp >= 0;
    is_ours.then(|| AccessToken::bucket_of(Timestamp::from_seconds(exp)))
}

impl RefreshToken {
    /// Mints a token that lies in the bucket of its grant's absolute end, so that reuse is recognised as long as the
    /// family lives.
    pub fn mint(random: &[u8; 32], grant_expires_at: Timestamp) -> Self {
        Self(mint(
            Self::PREFIX,
            Some(Self::bucket_of(grant_expires_at)),
            random,
        ))
    }

    /// Reads a token that we may have minted.
    ///
    /// # Errors
    /// [`Malformed`] when prefix, length, alphabet or checksum are wrong.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        read(Self::PREFIX, true, text)
            .map(|_| Self(Zeroizing::new(text.to_owned())))
            .ok_or(Malformed("refresh token"))
    }

    /// The day since the epoch in which a grant with this end lies.
    pub fn bucket_of(grant_expires_at: Timestamp) -> ExpiryBucket {
        u32::try_from(grant_expires_at.seconds().max(0) / 86_400).unwrap_or(u32::MAX)
    }

    /// The bucket spelled in the token.
    pub fn bucket(&self) -> ExpiryBucket {
        read_base62(&self.0[PREFIX_CHARS..PREFIX_CHARS + BUCKET_CHARS])
            .and_then(|bucket| u32::try_from(bucket).ok())
            .unwrap_or(0)
    }
}

impl AuthorizationCode {
    /// Mints a code.
    pub fn mint(random: &[u8; 32]) -> Self {
        Self(mint(Self::PREFIX, None, random))
    }

    /// Reads a code that we may have minted.
    ///
    /// # Errors
    /// [`Malformed`] when prefix, length, alphabet or checksum are wrong.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        read(Self::PREFIX, false, text)
            .map(|_| Self(Zeroizing::new(text.to_owned())))
            .ok_or(Malformed("authorization code"))
    }
}

impl DeviceCode {
    /// The least random bytes in a code of [`hexadecimal`](Self::hexadecimal): 128 bits.
    pub const MIN_RANDOM_BYTES: usize = 16;
    /// The most.
    pub const MAX_RANDOM_BYTES: usize = 1_024;

    /// Mints a code.
    ///
    /// ```
    /// use mcp_authflow_types::DeviceCode;
    ///
    /// let code = DeviceCode::mint(&[7; 32]);
    /// assert!(code.expose().starts_with("mcpdc_"));
    /// assert!(DeviceCode::parse(code.expose()).is_ok());
    /// ```
    pub fn mint(random: &[u8; 32]) -> Self {
        Self(mint(Self::PREFIX, None, random))
    }

    /// Reads a code that we may have minted.
    ///
    /// # Errors
    /// [`Malformed`] when prefix, length, alphabet or checksum are wrong.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        read(Self::PREFIX, false, text)
            .map(|_| Self(Zeroizing::new(text.to_owned())))
            .ok_or(Malformed("device code"))
    }

    /// Makes a code as the Python packages did: random bytes as lower-case hexadecimal digits, 32 bytes by default there.
    /// It has no prefix and no checksum, so [`parse`](Self::parse) does not read it.
    ///
    /// # Errors
    /// [`Malformed`] for fewer than 16 bytes, which could be guessed, or more than 1,024.
    pub fn hexadecimal(random: &[u8]) -> Result<Self, Malformed> {
        if (Self::MIN_RANDOM_BYTES..=Self::MAX_RANDOM_BYTES).contains(&random.len()) {
            Ok(Self(Zeroizing::new(crate::hex::encode(random))))
        } else {
            Err(Malformed("device code of 16 to 1024 random bytes"))
        }
    }
}

impl ClientSecret {
    /// The shortest secret an operator may bring, in bytes: 32 characters carry at least 128 bits when they are random,
    /// and a plain digest at rest is enough only then.
    pub const MIN_BROUGHT_BYTES: usize = 32;
    /// The longest secret accepted, in bytes.
    pub const MAX_BYTES: usize = 512;

    /// Mints a secret.
    pub fn mint(random: &[u8; 32]) -> Self {
        Self(mint(Self::PREFIX, None, random))
    }

    /// Takes what a client presents: any 1 to 512 printable ASCII characters (RFC 6749 Appendix A.2).
    ///
    /// # Errors
    /// [`Malformed`]
    pub fn present(text: &str) -> Result<Self, Malformed> {
        let ok =
            (1..=Self::MAX_BYTES).contains(&text.len()) && text.bytes().all(|b| matches!(b, 0x20..=0x7e));
        if ok {
            Ok(Self(Zeroizing::new(text.to_owned())))
        } else {
            Err(Malformed("client secret"))
        }
    }

    /// Takes a secret that the operator brings: at least 32 printable ASCII characters.
    ///
    /// # Errors
    /// [`Malformed`]
    pub fn bring(text: &str) -> Result<Self, Malformed> {
        if text.len() < Self::MIN_BROUGHT_BYTES {
            return Err(Malformed("client secret of at least 32 characters"));
        }
        Self::present(text)
    }
}

/// A token as some caller presents it at revocation or introspection: its kind is read off its form.
#[derive(Clone, Debug)]
pub enum PresentedToken {
    /// It has the form of an access token.
    Access(AccessToken),
    /// It has the form of a refresh token.
    Refresh(RefreshToken),
    /// We never minted it. It may have come with somebody who moved here.
    Foreign(ForeignToken),
}

/// A token that has not the form of ours: what another program minted, or nonsense.
#[derive(Clone)]
pub struct ForeignToken(Zeroizing<String>);

impl ForeignToken {
    /// Takes whatever is presented.
    pub fn present(text: &str) -> Self {
        Self(Zeroizing::new(text.to_owned()))
    }

    /// The secret text.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The digest that stands for it in a store.
    pub fn hash(&self) -> TokenHash {
        TokenHash::of(&self.0)
    }
}

impl fmt::Debug for ForeignToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ForeignToken(…)")
    }
}

impl PresentedToken {
    /// Reads the kind off the form. A JWT counts as ours when it names this issuer: see [`AccessToken::parse_signed`].
    pub fn parse(text: &str, issuer: &Issuer) -> Self {
        Self::read(text, Some(issuer))
    }

    /// Reads the kind off the form, whatever issuer a JWT names: for whoever looks in a store, and knows not by which
    /// address its server is called.
    pub fn parse_of_any_issuer(text: &str) -> Self {
        Self::read(text, None)
    }

    fn read(text: &str, issuer: Option<&Issuer>) -> Self {
        if let Ok(token) = AccessToken::parse(text) {
            Self::Access(token)
        } else if let Ok(token) = RefreshToken::parse(text) {
            Self::Refresh(token)
        } else if let Ok(token) = AccessToken::parse_signed(text, issuer) {
            Self::Access(token)
        } else {
            Self::Foreign(ForeignToken::present(text))
        }
    }
}

const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

fn push_base62(text: &mut String, mut value: u64, width: usize) {
    let mut digits = [b'0'; 8];
    for digit in digits[..width].iter_mut().rev() {
        // The remainder is below 62.
        *digit = BASE62[usize::try_from(value % 62).unwrap_or(0)];
        value /= 62;
    }
    text.extend(digits[..width].iter().map(|digit| char::from(*digit)));
}

fn read_base62(text: &str) -> Option<u64> {
    text.bytes().try_fold(0_u64, |value, digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'A'..=b'Z' => digit - b'A' + 10,
            b'a'..=b'z' => digit - b'a' + 36,
            _ => return None,
        };
        Some(value * 62 + u64::from(digit))
    })
}

/// CRC-32 (ISO-HDLC, as in zip and PNG), a table of 16 entries: it guards against typing errors, not against anyone.
fn crc32(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 16] = {
        let mut table = [0; 16];
        let mut index: u32 = 0;
        while index < 16 {
            let mut crc = index;
            let mut bit = 0;
            while bit < 4 {
                crc = if crc & 1 == 1 {
                    (crc >> 1) ^ 0xedb8_8320
                } else {
                    crc >> 1
                };
                bit += 1;
            }
            table[index as usize] = crc;
            index += 1;
        }
        table
    };
    !bytes.iter().fold(!0, |crc: u32, byte| {
        let crc = (crc >> 4) ^ TABLE[((crc ^ u32::from(*byte)) & 15) as usize];
        (crc >> 4) ^ TABLE[((crc ^ (u32::from(*byte) >> 4)) & 15) as usize]
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    fn issuer() -> Issuer {
        Issuer::parse("https://a.example").unwrap()
    }

    fn jwt(header: &str, payload: &str) -> String {
        let encode = |part: &str| base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(part);
        format!("{}.{}.c2ln", encode(header), encode(payload))
    }

    /// RFC 9068 §2.1
    #[test]
    fn a_jwt_is_one_of_ours_only_when_it_says_so() {
        const HEADER: &str = r#"{"alg":"ES256","kid":"k","typ":"at+jwt"}"#;
        const PAYLOAD: &str = r#"{"iss":"https://a.example","exp":1790000000,"sub":"u_1"}"#;
        let text = jwt(HEADER, PAYLOAD);
        let PresentedToken::Access(token) = PresentedToken::parse(&text, &issuer()) else {
            panic!("not an access token")
        };
        assert_eq!(token.bucket(), 1_790_000_000 / 3_600);
        assert_eq!(token.hash(), TokenHash::of(&text));
        assert_eq!(
            AccessToken::signed(text.clone(), Timestamp::from_seconds(1_790_000_000)).bucket(),
            token.bucket()
        );
        for (header, payload) in [
            (r#"{"alg":"ES256"}"#, PAYLOAD),
            (r#"{"typ":"JWT"}"#, PAYLOAD),
            (r#"{"typ":["at+jwt"]}"#, PAYLOAD),
            ("[]", PAYLOAD),
            (HEADER, r#"{"iss":"https://b.example","exp":1790000000}"#),
            (HEADER, r#"{"iss":"https://a.example/","exp":1790000000}"#),
            (HEADER, r#"{"iss":"https://a.example","exp":"1790000000"}"#),
            (HEADER, r#"{"iss":"https://a.example","exp":-1}"#),
            (HEADER, r#"{"iss":"https://a.example","exp":1,"exp":1790000000}"#),
            (HEADER, r#"{"iss":"https://a.example"}"#),
            (HEADER, "not json"),
        ] {
            let text = jwt(header, payload);
            let read = PresentedToken::parse(&text, &issuer());
            assert!(matches!(read, PresentedToken::Foreign(_)), "{header} {payload}");
        }
        for text in [
            format!("{text}.x"),
            text.rsplit_once('.').unwrap().0.to_owned(),
            format!("{text}{}", "A".repeat(AccessToken::MAX_SIGNED_BYTES)),
            "eyJ".to_owned(),
        ] {
            let read = PresentedToken::parse(&text, &issuer());
            assert!(matches!(read, PresentedToken::Foreign(_)));
        }
        let elsewhere = jwt(HEADER, r#"{"iss":"https://b.example","exp":3600}"#);
        assert_eq!(AccessToken::parse_signed(&elsewhere, None).unwrap().bucket(), 1);
        let far = jwt(HEADER, r#"{"iss":"https://a.example","exp":9223372036854775807}"#);
        assert_eq!(
            AccessToken::parse_signed(&far, Some(&issuer())).unwrap().bucket(),
            u32::MAX
        );
    }

    /// S-082
    #[test]
    fn a_device_code_is_random_enough_whatever_its_form() {
        let code = DeviceCode::mint(&[7; 32]);
        assert_eq!(DeviceCode::parse(code.expose()).unwrap().hash(), code.hash());
        assert!(AuthorizationCode::parse(code.expose()).is_err());
        assert!(DeviceCode::parse(AuthorizationCode::mint(&[7; 32]).expose()).is_err());
        assert_eq!(
            DeviceCode::hexadecimal(&[0xab; 32]).unwrap().expose(),
            "ab".repeat(32)
        );
        for length in [0, 1, 15, 1_025] {
            assert!(DeviceCode::hexadecimal(&vec![7; length]).is_err(), "{length}");
        }
        assert_eq!(format!("{code:?}"), "DeviceCode(…)");
    }

    #[test]
    fn crc_32_has_its_published_check_value() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn a_minted_token_is_read_back_with_its_bucket() {
        let expires_at = Timestamp::from_seconds(1_790_000_000);
        let token = AccessToken::mint(&[7; 32], expires_at);
        assert_eq!(token.expose().len(), 59);
        let again = AccessToken::parse(token.expose()).unwrap();
        assert_eq!(again.hash(), token.hash());
        assert_eq!(again.bucket(), 1_790_000_000 / 3_600);
        let refresh = RefreshToken::mint(&[7; 32], expires_at);
        assert_eq!(
            RefreshToken::parse(refresh.expose()).unwrap().bucket(),
            1_790_000_000 / 86_400
        );
        assert!(matches!(
            PresentedToken::parse(refresh.expose(), &issuer()),
            PresentedToken::Refresh(_)
        ));
        assert!(AccessToken::parse(refresh.expose()).is_err());
    }

    #[test]
    fn one_changed_character_is_noticed() {
        let token = AuthorizationCode::mint(&[9; 32]);
        let text = token.expose();
        for at in 0..text.len() {
            let mut bytes = text.as_bytes().to_vec();
            bytes[at] = if bytes[at] == b'x' { b'y' } else { b'x' };
            assert!(
                AuthorizationCode::parse(&String::from_utf8(bytes).unwrap()).is_err(),
                "at {at}"
            );
        }
        for bad in ["", "mcpac_", "' OR 1=1 --", "\0", &"A".repeat(1 << 20)] {
            assert!(AuthorizationCode::parse(bad).is_err());
        }
    }

    #[test]
    fn nothing_secret_is_shown_by_debug() {
        let token = ClientSecret::mint(&[1; 32]);
        let shown = format!("{token:?} {:?}", PresentedToken::parse(token.expose(), &issuer()));
        assert!(!shown.contains(&token.expose()[6..20]), "{shown}");
    }
}
