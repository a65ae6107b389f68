//! Signed tokens in compact form (RFC 7515 §7.1): taken apart without trust, then proven by one key of a set.
//!
//! ```text
//! text ──▶ UnverifiedJws::parse ──▶ unverified_claims (whom to ask for keys) ──▶ verify(keys) ──▶ VerifiedJws ──▶ claims
//! ```
//!
//! Nothing in a header leads to a key but `kid`, and that is only a name within the set at hand: `jwk`, `jku`, `x5c` and
//! `x5u` are not read.

use std::{fmt, sync::OnceLock};

use mcp_authflow_types::json;
use serde_json::{Map, Value};

use crate::{algorithm::Algorithm, base64url, claims::Claims, key_set::KeySet};

/// How deep header and payload may nest. Tokens are flat; deep ones are made to exhaust a parser.
const MAX_DEPTH: usize = 32;

/// What a caller takes for a token of the kind that it expects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwsRules {
    /// The most bytes. Default 16 KiB.
    pub max_bytes: usize,
    /// The algorithms accepted. Default all.
    pub algorithms: Vec<Algorithm>,
    /// The `typ` values accepted where one is given (RFC 8725 §3.11), compared as media types: without regard to case, and
    /// with or without `application/`. None looks at no `typ`. Default `JWT`.
    pub types: Option<&'static [&'static str]>,
    /// Whether a token without `typ` is refused, where the caller's kind of token always has one. Default no.
    pub requires_type: bool,
    /// Whether parts that are padded with `=` to a multiple of four, and a payload behind a byte-order mark, are read,
    /// as the Python package did. Default no: RFC 7515 §2 has one spelling.
    pub reads_padding_and_mark: bool,
}

impl Default for JwsRules {
    fn default() -> Self {
        Self {
            max_bytes: 16 * 1024,
            algorithms: Algorithm::ALL.to_vec(),
            types: Some(&["JWT"]),
            requires_type: false,
            reads_padding_and_mark: false,
        }
    }
}

/// Why a text is not taken for a signed token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JwsError {
    /// More bytes than are read.
    #[error("the token is too long")]
    TooLong,
    /// Not three parts with a dot between them.
    #[error("the token has not three parts")]
    Parts,
    /// A part is not base64url in its one spelling.
    #[error("a part of the token is not base64url")]
    Encoding,
    /// The header is no JSON object, or repeats a name.
    #[error("the header is no JSON object, or repeats a name")]
    Header,
    /// A member of the header is missing or of the wrong type.
    #[error("the header's `{0}` is missing or has the wrong type")]
    HeaderMember(&'static str),
    /// `none`, or an algorithm with a shared key: what somebody sends who hopes that any signature will do.
    #[error("an algorithm that is never accepted")]
    AlgorithmBlocked,
    /// Another algorithm that is not accepted.
    #[error("an algorithm that is not accepted")]
    AlgorithmNotAllowed,
    /// The header demands an extension that is not understood (RFC 7515 §4.1.11).
    #[error("the header demands an extension")]
    Critical,
    /// Its `typ` is another kind of token's.
    #[error("another kind of token")]
    Type,
    /// The payload is no JSON object, or repeats a name.
    #[error("the payload is no JSON object, or repeats a name")]
    Payload,
}

/// Why no key proves a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// No key of the set has the name, the type and the curve.
    #[error("no key fits")]
    NoKey,
    /// None of the keys that fit made the signature.
    #[error("the signature is wrong")]
    Signature,
}

/// A token taken apart. Whatever it says is a claim of whoever sent it. `Debug` shows nothing that could be used again.
pub struct UnverifiedJws {
    algorithm: Algorithm,
    key_id: Option<String>,
    signed: String,
    payload: Vec<u8>,
    signature: Vec<u8>,
    reads_mark: bool,
    claims: OnceLock<Claims>,
}

/// A token that one of the keys signed. Only [`UnverifiedJws::verify`] makes one.
#[derive(Clone, Copy, Debug)]
pub struct VerifiedJws<'a>(&'a UnverifiedJws);

impl UnverifiedJws {
    /// Takes a token apart, and looks at all of it but the payload's content and the signature.
    ///
    /// # Errors
    /// [`JwsError`]
    pub fn parse(text: &str, rules: &JwsRules) -> Result<Self, JwsError> {
        // 1. RFC 7515 §7.1: header, payload and signature.
        if text.len() > rules.max_bytes {
            return Err(JwsError::TooLong);
        }
        let (signed, signature) = text.rsplit_once('.').ok_or(JwsError::Parts)?;
        let (header, payload) = signed.split_once('.').ok_or(JwsError::Parts)?;
        if payload.contains('.') {
            return Err(JwsError::Parts);
        }
        // 2. RFC 7515 §2: each in base64url.
        let decode = |part: &str| {
            let part = if rules.reads_padding_and_mark {
                unpadded(part)
            } else {
                part
            };
            base64url::decode(part).ok_or(JwsError::Encoding)
        };
        let (header, payload, signature) = (decode(header)?, decode(payload)?, decode(signature)?);
        // 3. RFC 7515 §4: "The Header Parameter names within the JOSE Header MUST be unique".
        let header = read_header(&header)?;
        // 4. RFC 8725 §3.1: the algorithm is one of the caller's.
        let algorithm = read_algorithm(&header, &rules.algorithms)?;
        // 5. RFC 7515 §4.1.11: what must be understood is.
        check_critical(&header)?;
        // 6. RFC 8725 §3.11: it is the kind of token that the caller expects.
        if let Some(types) = rules.types {
            check_type(&header, types, rules.requires_type)?;
        }
        let key_id = match header.get("kid") {
            None => None,
            Some(Value::String(id)) => Some(id.clone()).filter(|id| !id.is_empty()),
            Some(_) => return Err(JwsError::HeaderMember("kid")),
        };
        Ok(Self {
            algorithm,
            key_id,
            signed: signed.to_owned(),
            payload,
            signature,
            reads_mark: rules.reads_padding_and_mark,
            claims: OnceLock::new(),
        })
    }

    /// The algorithm that the header names.
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The key that the header names; empty counts as absent.
    pub fn key_id(&self) -> Option<&str> {
        self.key_id.as_deref()
    }

    /// What it says, with nothing proven: good for finding out whose keys to ask for, and for refusing early.
    ///
    /// # Errors
    /// [`JwsError::Payload`]
    pub fn unverified_claims(&self) -> Result<&Claims, JwsError> {
        if let Some(claims) = self.claims.get() {
            return Ok(claims);
        }
        let payload = match self.payload.strip_prefix(b"\xef\xbb\xbf") {
            Some(behind_mark) if self.reads_mark => behind_mark,
            _ => &self.payload,
        };
        match json::parse_strict(payload, MAX_DEPTH) {
            Some(Value::Object(members)) => Ok(self.claims.get_or_init(|| Claims::new(members))),
            _ => Err(JwsError::Payload),
        }
    }

    /// Proves it by one of the keys: every one that fits is tried, at most ten.
    ///
    /// # Errors
    /// [`VerifyError`]
    pub fn verify(&self, keys: &KeySet) -> Result<VerifiedJws<'_>, VerifyError> {
        let mut fits_any = false;
        for key in keys.candidates(self.algorithm, self.key_id()) {
            if key.verifies(self.algorithm, self.signed.as_bytes(), &self.signature) {
                return Ok(VerifiedJws(self));
            }
            fits_any = true;
        }
        Err(if fits_any {
            VerifyError::Signature
        } else {
            VerifyError::NoKey
        })
    }
}

impl<'a> VerifiedJws<'a> {
    /// What it says.
    ///
    /// # Errors
    /// [`JwsError::Payload`]: also what is signed may be no token.
    pub fn claims(self) -> Result<&'a Claims, JwsError> {
        self.0.unverified_claims()
    }
}

impl fmt::Debug for UnverifiedJws {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnverifiedJws")
            .field("algorithm", &self.algorithm)
            .field("key_id", &self.key_id)
            .finish_non_exhaustive()
    }
}

/// Takes padding away that makes a multiple of four.
fn unpadded(part: &str) -> &str {
    if part.len().is_multiple_of(4) {
        let stripped = part.strip_suffix('=').unwrap_or(part);
        stripped.strip_suffix('=').unwrap_or(stripped)
    } else {
        part
    }
}

fn read_header(header: &[u8]) -> Result<Map<String, Value>, JwsError> {
    if let Some(Value::Object(members)) = json::parse_strict(header, MAX_DEPTH) {
        return Ok(members);
    }
    // Refused, whatever it says. Whether a careless parser would have read `none` is worth a reason of its own in a log.
    let careless: Option<Map<String, Value>> = serde_json::from_slice(header).ok();
    let blocked = careless
        .is_some_and(|members| read_algorithm(&members, Algorithm::ALL) == Err(JwsError::AlgorithmBlocked));
    Err(if blocked {
        JwsError::AlgorithmBlocked
    } else {
        JwsError::Header
    })
}

fn read_algorithm(header: &Map<String, Value>, accepted: &[Algorithm]) -> Result<Algorithm, JwsError> {
    match header.get("alg") {
        None | Some(Value::Array(_) | Value::Object(_)) => Err(JwsError::HeaderMember("alg")),
        Some(Value::String(name)) if matches!(name.as_str(), "none" | "HS256" | "HS384" | "HS512") => {
            Err(JwsError::AlgorithmBlocked)
        }
        Some(Value::String(name)) => Algorithm::parse(name)
            .filter(|algorithm| accepted.contains(algorithm))
            .ok_or(JwsError::AlgorithmNotAllowed),
        Some(_) => Err(JwsError::AlgorithmNotAllowed),
    }
}

/// Of all extensions only `b64` (RFC 7797) is understood, and only where it says what holds without it. "If any of the
/// listed extension Header Parameters are not understood and supported by the recipient, then the JWS is invalid."
fn check_critical(header: &Map<String, Value>) -> Result<(), JwsError> {
    let is_plain = header.get("b64").is_none_or(|b64| *b64 == Value::Bool(true));
    let is_understood = match header.get("crit") {
        None => true,
        Some(Value::Array(names)) => names.len() == 1 && names[0] == "b64" && header.contains_key("b64"),
        Some(_) => false,
    };
    if is_plain && is_understood {
        Ok(())
    } else {
        Err(JwsError::Critical)
    }
}

fn check_type(header: &Map<String, Value>, types: &[&str], required: bool) -> Result<(), JwsError> {
    let Some(value) = header.get("typ") else {
        return if required { Err(JwsError::Type) } else { Ok(()) };
    };
    let name = value.as_str().ok_or(JwsError::HeaderMember("typ"))?;
    let name = match name.split_at_checked("application/".len()) {
        Some((prefix, rest)) if prefix.eq_ignore_ascii_case("application/") => rest,
        _ => name,
    };
    if types.iter().any(|one| one.eq_ignore_ascii_case(name)) {
        Ok(())
    } else {
        Err(JwsError::Type)
    }
}

#[cfg(test)]
#[path = "verify/tests.rs"]
mod tests;
