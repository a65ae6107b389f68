//! A private key that signs tokens: for clients that prove themselves, for tests, and for what the server signs.

use aws_lc_rs::{
    digest,
    encoding::AsDer as _,
    rand::SystemRandom,
    rsa::KeySize,
    signature::{
        self, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair as _, RsaEncoding, RsaKeyPair,
    },
};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::{
    algorithm::{Algorithm, KeyKind},
    base64url,
};

/// What cannot be done with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SigningKeyError {
    /// The bytes are no PKCS#8 document of a key for this algorithm, or an RSA key below 2048 bits.
    #[error("this is no PKCS#8 private key for {0}")]
    Unfit(Algorithm),
    /// The library could not make a key or a signature, for example for want of randomness.
    #[error("the cryptographic library failed")]
    Failed,
}

/// A private key, tied to one algorithm.
///
/// ```
/// use mcp_authflow_jose::{Algorithm, JwsRules, KeySet, SigningKey, UnverifiedJws};
/// use serde_json::json;
///
/// let key = SigningKey::generate(Algorithm::Es256)?;
/// let token = key.sign("JWT", &json!({"sub": "alice"}))?;
///
/// let keys = KeySet::parse(json!({"keys": [key.public_jwk()]}).to_string().as_bytes())?;
/// let jws = UnverifiedJws::parse(&token, &JwsRules::default())?;
/// assert_eq!(jws.verify(&keys)?.claims()?.text("sub")?, Some("alice"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct SigningKey {
    algorithm: Algorithm,
    key_id: String,
    pair: Pair,
}

enum Pair {
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
    Rsa(Box<RsaKeyPair>, &'static dyn RsaEncoding),
}

impl SigningKey {
    /// Makes a new key; an RSA one has 2048 bits. The library draws the randomness itself, from the system.
    ///
    /// # Errors
    /// [`SigningKeyError::Failed`]
    pub fn generate(algorithm: Algorithm) -> Result<Self, SigningKeyError> {
        let failed = |_| SigningKeyError::Failed;
        let pair = match (algorithm.key_kind(), ecdsa(algorithm), rsa(algorithm)) {
            (_, Some(ecdsa), _) => Pair::Ec(EcdsaKeyPair::generate(ecdsa).map_err(failed)?),
            (_, _, Some(rsa)) => Pair::Rsa(
                Box::new(RsaKeyPair::generate(KeySize::Rsa2048).map_err(failed)?),
                rsa,
            ),
            _ => Pair::Ed(Ed25519KeyPair::generate().map_err(failed)?),
        };
        Ok(Self::of(algorithm, pair))
    }

    /// Reads a private key from PKCS#8 (RFC 5208), in DER.
    ///
    /// # Errors
    /// [`SigningKeyError::Unfit`]
    pub fn from_pkcs8(algorithm: Algorithm, der: &[u8]) -> Result<Self, SigningKeyError> {
        let unfit = |_| SigningKeyError::Unfit(algorithm);
        let pair = match (ecdsa(algorithm), rsa(algorithm)) {
            (Some(ecdsa), _) => Pair::Ec(EcdsaKeyPair::from_pkcs8(ecdsa, der).map_err(unfit)?),
            (_, Some(rsa)) => {
                let pair = RsaKeyPair::from_pkcs8(der).map_err(unfit)?;
                if pair.public_modulus_len() < 256 {
                    return Err(SigningKeyError::Unfit(algorithm));
                }
                Pair::Rsa(Box::new(pair), rsa)
            }
            _ => Pair::Ed(Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).map_err(unfit)?),
        };
        Ok(Self::of(algorithm, pair))
    }

    fn of(algorithm: Algorithm, pair: Pair) -> Self {
        let mut key = Self {
            algorithm,
            key_id: String::new(),
            pair,
        };
        key.key_id = key.thumbprint();
        key
    }

    /// Gives the key a name of its own, in place of its thumbprint.
    #[must_use]
    pub fn with_key_id(mut self, key_id: &str) -> Self {
        key_id.clone_into(&mut self.key_id);
        self
    }

    /// The key in PKCS#8, for its file or a sealed row.
    ///
    /// # Errors
    /// [`SigningKeyError::Failed`]
    pub fn to_pkcs8(&self) -> Result<Zeroizing<Vec<u8>>, SigningKeyError> {
        let failed = |_| SigningKeyError::Failed;
        Ok(Zeroizing::new(match &self.pair {
            Pair::Ec(pair) => pair.to_pkcs8v1().map_err(failed)?.as_ref().to_vec(),
            Pair::Ed(pair) => pair.to_pkcs8v1().map_err(failed)?.as_ref().to_vec(),
            Pair::Rsa(pair, _) => {
                let document: aws_lc_rs::encoding::Pkcs8V1Der<'_> = pair.as_der().map_err(failed)?;
                document.as_ref().to_vec()
            }
        }))
    }

    /// The algorithm that it signs with.
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Its name: its thumbprint (RFC 7638), unless it was given another.
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// The public half as a JWK (RFC 7517), with `kid`, `alg` and `use`.
    pub fn public_jwk(&self) -> Value {
        let mut jwk = self.required_members();
        jwk["kid"] = self.key_id.as_str().into();
        jwk["alg"] = self.algorithm.as_str().into();
        jwk["use"] = "sig".into();
        jwk
    }

    /// The members that make a key what it is, and no others (RFC 7638 §3.2).
    fn required_members(&self) -> Value {
        let curve = self.algorithm.key_kind().curve();
        match &self.pair {
            Pair::Rsa(pair, _) => {
                let public = pair.public_key();
                json!({
                    "e": base64url::encode(public.exponent().big_endian_without_leading_zero()),
                    "kty": "RSA",
                    "n": base64url::encode(public.modulus().big_endian_without_leading_zero()),
                })
            }
            Pair::Ec(pair) => {
                // SEC 1 §2.3.3: one byte, then both coordinates.
                let (x, y) =
                    pair.public_key().as_ref()[1..].split_at(self.algorithm.key_kind().coordinate_bytes());
                json!({"crv": curve, "kty": "EC", "x": base64url::encode(x), "y": base64url::encode(y)})
            }
            Pair::Ed(pair) => {
                json!({"crv": curve, "kty": "OKP", "x": base64url::encode(pair.public_key().as_ref())})
            }
        }
    }

    /// RFC 7638 §3: SHA-256 over the members in the order of their names, without white space. `serde_json` keeps an
    /// object's names in that order.
    fn thumbprint(&self) -> String {
        let canonical = self.required_members().to_string();
        base64url::encode(digest::digest(&digest::SHA256, canonical.as_bytes()).as_ref())
    }

    /// Signs claims: a token in compact form (RFC 7515 §7.1) with `alg`, `kid` and this `typ`.
    ///
    /// # Errors
    /// [`SigningKeyError::Failed`]
    pub fn sign(&self, typ: &str, claims: &Value) -> Result<String, SigningKeyError> {
        let header = json!({"alg": self.algorithm.as_str(), "kid": self.key_id, "typ": typ});
        self.sign_as(&header, claims.to_string().as_bytes())
    }

    /// Signs any header and payload, sensible or not: for tests of who reads them.
    ///
    /// # Errors
    /// [`SigningKeyError::Failed`]
    pub fn sign_as(&self, header: &Value, payload: &[u8]) -> Result<String, SigningKeyError> {
        let mut token = format!(
            "{}.{}",
            base64url::encode(header.to_string().as_bytes()),
            base64url::encode(payload)
        );
        let signature = base64url::encode(&self.signature(token.as_bytes())?);
        token.push('.');
        token.push_str(&signature);
        Ok(token)
    }

    fn signature(&self, message: &[u8]) -> Result<Vec<u8>, SigningKeyError> {
        #[expect(
            clippy::disallowed_methods,
            reason = "blinding and nonces are the library's own business: nothing that a test could want to repeat"
        )]
        let random = SystemRandom::new();
        let failed = |_| SigningKeyError::Failed;
        match &self.pair {
            Pair::Ec(pair) => Ok(pair.sign(&random, message).map_err(failed)?.as_ref().to_vec()),
            Pair::Ed(pair) => Ok(pair.sign(message).as_ref().to_vec()),
            Pair::Rsa(pair, encoding) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(*encoding, &random, message, &mut signature)
                    .map_err(failed)?;
                Ok(signature)
            }
        }
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SigningKey({}, {:?})", self.algorithm, self.key_id)
    }
}

fn ecdsa(algorithm: Algorithm) -> Option<&'static EcdsaSigningAlgorithm> {
    match algorithm.key_kind() {
        KeyKind::P256 => Some(&signature::ECDSA_P256_SHA256_FIXED_SIGNING),
        KeyKind::P384 => Some(&signature::ECDSA_P384_SHA384_FIXED_SIGNING),
        KeyKind::P521 => Some(&signature::ECDSA_P521_SHA512_FIXED_SIGNING),
        KeyKind::Rsa | KeyKind::Ed25519 => None,
    }
}

fn rsa(algorithm: Algorithm) -> Option<&'static dyn RsaEncoding> {
    match algorithm {
        Algorithm::Rs256 => Some(&signature::RSA_PKCS1_SHA256),
        Algorithm::Rs384 => Some(&signature::RSA_PKCS1_SHA384),
        Algorithm::Rs512 => Some(&signature::RSA_PKCS1_SHA512),
        Algorithm::Ps256 => Some(&signature::RSA_PSS_SHA256),
        Algorithm::Ps384 => Some(&signature::RSA_PSS_SHA384),
        Algorithm::Ps512 => Some(&signature::RSA_PSS_SHA512),
        Algorithm::Es256 | Algorithm::Es384 | Algorithm::Es512 | Algorithm::EdDsa => None,
    }
}

#[cfg(test)]
#[path = "signing_key/tests.rs"]
mod tests;
