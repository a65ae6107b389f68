//! One public key (RFC 7517 §4; members by RFC 7518 §6 and RFC 8037 §2), parsed once and ready to verify.

use std::sync::OnceLock;

use aws_lc_rs::signature::{self, ParsedPublicKey, RsaParameters, RsaPublicKeyComponents};
use serde_json::{Map, Value};

use crate::{
    algorithm::{Algorithm, KeyKind},
    base64url,
};

/// The smallest RSA modulus, in bits (RFC 7518 §3.3: "A key of size 2048 bits or larger MUST be used").
const LEAST_RSA_BITS: usize = 2048;
/// The largest. With twice the bits a verification costs four times as much, and a set of keys without names makes us try
/// ten for every assertion of a stranger. Who wants more than 4096 bits give takes a curve.
const MOST_RSA_BITS: usize = 4096;
/// Exponents have at most as many bits; 65537 has 17.
const MOST_EXPONENT_BITS: usize = 33;

/// Why a member of a key set is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JwkError {
    /// It is no object.
    #[error("a key is a JSON object")]
    NotAnObject,
    /// It holds the private half (`d` and its like) or is symmetric: whoever read the set can sign with it.
    #[error("the key is not public")]
    NotPublic,
    /// `kty` or `crv` name nothing that is built.
    #[error("the type or curve of the key is not supported")]
    Unsupported,
    /// `use`, `key_ops` or `alg` say that it is not for verifying signatures.
    #[error("the key is not for verifying signatures")]
    OtherUse,
    /// A member is missing, of the wrong type, or not canonical base64url.
    #[error("the member `{0}` is missing or malformed")]
    Malformed(&'static str),
    /// An RSA modulus below 2048 bits or beyond 4096, or an exponent of no use.
    #[error("the RSA key has {0} bits, or an exponent of no use: 2048 to 4096 bits are accepted")]
    RsaSize(usize),
    /// A point that is not on its curve.
    #[error("the point is not on the curve")]
    NotOnCurve,
}

/// A public key. It verifies with an algorithm of its own kind, and with no other: which one is asked of the key, not
/// told to it.
#[derive(Debug)]
pub struct Jwk {
    key_id: Option<String>,
    algorithm: Option<Algorithm>,
    material: Material,
}

#[derive(Debug)]
enum Material {
    /// One key serves six algorithms; each is made ready when it is first used.
    Rsa {
        modulus: Box<[u8]>,
        exponent: Box<[u8]>,
        ready: Box<[OnceLock<Option<ParsedPublicKey>>; 6]>,
    },
    /// A point on a curve serves one.
    Point { kind: KeyKind, ready: ParsedPublicKey },
}

impl Jwk {
    /// Parses a public key.
    ///
    /// ```
    /// use mcp_authflow_jose::{Algorithm, Jwk, KeyKind};
    ///
    /// let key = Jwk::parse(&serde_json::json!({
    ///     "kty": "OKP", "crv": "Ed25519", "kid": "k1",
    ///     "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
    /// }))?;
    /// assert_eq!((key.key_id(), key.kind()), (Some("k1"), KeyKind::Ed25519));
    /// assert!(!key.fits(Algorithm::Es256));
    /// # Ok::<(), mcp_authflow_jose::JwkError>(())
    /// ```
    ///
    /// # Errors
    /// [`JwkError`]
    pub fn parse(value: &Value) -> Result<Self, JwkError> {
        let Value::Object(members) = value else {
            return Err(JwkError::NotAnObject);
        };
        let kty = text(members, "kty")?.ok_or(JwkError::Malformed("kty"))?;
        // RFC 7518 §6.2.2, §6.3.2, §6.4: what only the owner may know. `k` is the whole of a symmetric key.
        if kty == "oct"
            || ["d", "p", "q", "dp", "dq", "qi", "oth", "k"]
                .iter()
                .any(|name| members.contains_key(*name))
        {
            return Err(JwkError::NotPublic);
        }
        if text(members, "use")?.is_some_and(|used| used != "sig") || !may_verify(members)? {
            return Err(JwkError::OtherUse);
        }
        let algorithm = text(members, "alg")?
            .map(|name| Algorithm::parse(name).ok_or(JwkError::OtherUse))
            .transpose()?;
        let material = match kty {
            "RSA" => rsa(members)?,
            "EC" => point(members, [KeyKind::P256, KeyKind::P384, KeyKind::P521].as_slice())?,
            "OKP" => point(members, [KeyKind::Ed25519].as_slice())?,
            _ => return Err(JwkError::Unsupported),
        };
        let key = Self {
            // RFC 7517 §4.5: a text. Another type cannot be what a header names, so it names nothing.
            key_id: members.get("kid").and_then(Value::as_str).map(str::to_owned),
            algorithm,
            material,
        };
        if algorithm.is_some_and(|algorithm| algorithm.key_kind() != key.kind()) {
            return Err(JwkError::OtherUse);
        }
        Ok(key)
    }

    /// Its `kid`.
    pub fn key_id(&self) -> Option<&str> {
        self.key_id.as_deref()
    }

    /// What it is.
    pub const fn kind(&self) -> KeyKind {
        match self.material {
            Material::Rsa { .. } => KeyKind::Rsa,
            Material::Point { kind, .. } => kind,
        }
    }

    /// Whether it is used with this algorithm: type and curve are the algorithm's, and so is its `alg` if it has one.
    pub fn fits(&self, algorithm: Algorithm) -> bool {
        self.kind() == algorithm.key_kind() && self.algorithm.is_none_or(|only| only == algorithm)
    }

    /// Whether the signature is by this key over the message; `false` for an algorithm that it is not used with.
    pub fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        if !self.fits(algorithm) {
            return false;
        }
        let ready = match &self.material {
            Material::Point { ready, .. } => Some(ready),
            Material::Rsa {
                modulus,
                exponent,
                ready,
            } => {
                let Some((place, parameters)) = rsa_parameters(algorithm) else {
                    return false;
                };
                ready[place]
                    .get_or_init(|| {
                        let components = RsaPublicKeyComponents {
                            n: modulus,
                            e: exponent,
                        };
                        components.to_parsed_public_key(parameters).ok()
                    })
                    .as_ref()
            }
        };
        ready.is_some_and(|key| key.verify_sig(message, signature).is_ok())
    }
}

/// A member that is text; empty counts as absent, as it does for the Python package.
fn text<'a>(members: &'a Map<String, Value>, name: &'static str) -> Result<Option<&'a str>, JwkError> {
    match members.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str()).filter(|text| !text.is_empty())),
        Some(_) => Err(JwkError::Malformed(name)),
    }
}

/// RFC 7517 §4.3: where operations are named, `verify` has to be one of them.
fn may_verify(members: &Map<String, Value>) -> Result<bool, JwkError> {
    match members.get("key_ops") {
        None => Ok(true),
        Some(Value::Array(operations)) => Ok(operations.iter().any(|operation| operation == "verify")),
        Some(_) => Err(JwkError::Malformed("key_ops")),
    }
}

fn bytes(members: &Map<String, Value>, name: &'static str) -> Result<Vec<u8>, JwkError> {
    text(members, name)?
        .and_then(base64url::decode)
        .ok_or(JwkError::Malformed(name))
}

/// RFC 7518 §6.3.1.
fn rsa(members: &Map<String, Value>) -> Result<Material, JwkError> {
    // "The octet sequence MUST utilize the minimum number of octets needed to represent the value."
    let number = |name| match bytes(members, name) {
        Ok(bytes) if bytes.first().is_some_and(|first| *first != 0) => Ok(bytes),
        _ => Err(JwkError::Malformed(name)),
    };
    let (modulus, exponent) = (number("n")?, number("e")?);
    let is_odd = |number: &[u8]| number.last().is_some_and(|last| last % 2 == 1);
    let is_sound =
        is_odd(&modulus) && is_odd(&exponent) && exponent != [1] && bits(&exponent) <= MOST_EXPONENT_BITS;
    if !is_sound || !(LEAST_RSA_BITS..=MOST_RSA_BITS).contains(&bits(&modulus)) {
        return Err(JwkError::RsaSize(bits(&modulus)));
    }
    Ok(Material::Rsa {
        modulus: modulus.into(),
        exponent: exponent.into(),
        ready: Box::default(),
    })
}

fn bits(number: &[u8]) -> usize {
    number
        .first()
        .map_or(0, |first| number.len() * 8 - first.leading_zeros() as usize)
}

/// RFC 7518 §6.2.1, RFC 8037 §2: every coordinate in its full length.
fn point(members: &Map<String, Value>, kinds: &[KeyKind]) -> Result<Material, JwkError> {
    let curve = text(members, "crv")?.ok_or(JwkError::Malformed("crv"))?;
    let kind = kinds
        .iter()
        .copied()
        .find(|kind| kind.curve() == Some(curve))
        .ok_or(JwkError::Unsupported)?;
    let coordinate = |name| match bytes(members, name) {
        Ok(bytes) if bytes.len() == kind.coordinate_bytes() => Ok(bytes),
        _ => Err(JwkError::Malformed(name)),
    };
    let ready = match kind {
        KeyKind::Ed25519 => ParsedPublicKey::new(&signature::ED25519, coordinate("x")?),
        KeyKind::P256 => ParsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, uncompressed(coordinate)?),
        KeyKind::P384 => ParsedPublicKey::new(&signature::ECDSA_P384_SHA384_FIXED, uncompressed(coordinate)?),
        KeyKind::P521 => ParsedPublicKey::new(&signature::ECDSA_P521_SHA512_FIXED, uncompressed(coordinate)?),
        KeyKind::Rsa => return Err(JwkError::Unsupported),
    };
    Ok(Material::Point {
        kind,
        ready: ready.map_err(|_| JwkError::NotOnCurve)?,
    })
}

/// SEC 1 §2.3.3: the form in which the library takes a point.
fn uncompressed(coordinate: impl Fn(&'static str) -> Result<Vec<u8>, JwkError>) -> Result<Vec<u8>, JwkError> {
    let mut point = vec![4];
    point.append(&mut coordinate("x")?);
    point.append(&mut coordinate("y")?);
    Ok(point)
}

/// The parameters of an RSA algorithm, and its place among them.
fn rsa_parameters(algorithm: Algorithm) -> Option<(usize, &'static RsaParameters)> {
    match algorithm {
        Algorithm::Rs256 => Some((0, &signature::RSA_PKCS1_2048_8192_SHA256)),
        Algorithm::Rs384 => Some((1, &signature::RSA_PKCS1_2048_8192_SHA384)),
        Algorithm::Rs512 => Some((2, &signature::RSA_PKCS1_2048_8192_SHA512)),
        Algorithm::Ps256 => Some((3, &signature::RSA_PSS_2048_8192_SHA256)),
        Algorithm::Ps384 => Some((4, &signature::RSA_PSS_2048_8192_SHA384)),
        Algorithm::Ps512 => Some((5, &signature::RSA_PSS_2048_8192_SHA512)),
        Algorithm::Es256 | Algorithm::Es384 | Algorithm::Es512 | Algorithm::EdDsa => None,
    }
}

#[cfg(test)]
#[path = "jwk/tests.rs"]
mod tests;
