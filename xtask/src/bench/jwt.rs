//! What the check of a JWT access token costs: at first sight, with its signature, and when it comes again.

use std::fmt::Write;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use mcp_authflow_jose::{Algorithm, KeySet, SigningKey};
use mcp_authflow_resource::TokenVerifier;
use mcp_authflow_resource::verify::JwtVerifier;
use serde_json::json;

/// Fewer than the verifier remembers.
const TOKENS: u32 = 4_000;
const ISSUER: &str = "https://auth.example";

/// Rows for a document, an algorithm each.
pub(super) async fn measure() -> Result<String> {
    let mut text = "\nA check of a JWT access token, its issuer's keys at hand:\n\n\
                    | algorithm | µs, at first sight | µs, again |\n|---|---:|---:|\n"
        .to_owned();
    for algorithm in [Algorithm::Es256, Algorithm::EdDsa, Algorithm::Rs256] {
        let key = SigningKey::generate(algorithm)?;
        let tokens = (0..TOKENS)
            .map(|number| token(&key, number))
            .collect::<Result<Vec<_>>>()?;
        let set = json!({ "keys": [key.public_jwk()] }).to_string();
        let verifier = JwtVerifier::builder(ISSUER)
            .keys(KeySet::parse(set.as_bytes())?)
            .build()?;
        let first = pass(&verifier, &tokens).await?;
        let again = pass(&verifier, &tokens).await?;
        writeln!(
            text,
            "| {} | {:.1} | {:.2} |",
            algorithm.as_str(),
            first.as_secs_f64() * 1e6,
            again.as_secs_f64() * 1e6
        )?;
    }
    Ok(text)
}

/// The time that one check takes.
async fn pass(verifier: &JwtVerifier, tokens: &[String]) -> Result<Duration> {
    let start = Instant::now();
    for token in tokens {
        verifier.verify(token).await.context("a good token is refused")?;
    }
    Ok(start.elapsed() / TOKENS)
}

/// As our server makes them.
fn token(key: &SigningKey, number: u32) -> Result<String> {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)?
        .as_secs();
    let claims = json!({
        "iss": ISSUER, "sub": "u_0123456789abcdef0123456789abcdef", "aud": "https://mcp.example/mcp",
        "client_id": "9b1deb4d-3b7d-4bad-9bdd-2b0d7b3dcb6d", "scope": "notes:read notes:write",
        "iat": now, "exp": now + 600, "jti": format!("0123456789abcdef0123456789{number:06x}"),
    });
    Ok(key.sign("at+jwt", &claims)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_token_is_checked_and_a_forged_one_is_no_figure() {
        let (key, other) = (
            SigningKey::generate(Algorithm::Es256).unwrap(),
            SigningKey::generate(Algorithm::Es256).unwrap(),
        );
        let set = json!({ "keys": [key.public_jwk()] }).to_string();
        let verifier = JwtVerifier::builder(ISSUER)
            .keys(KeySet::parse(set.as_bytes()).unwrap())
            .build()
            .unwrap();
        assert!(pass(&verifier, &[token(&key, 1).unwrap()]).await.is_ok());
        assert!(pass(&verifier, &[token(&other, 1).unwrap()]).await.is_err());
    }
}
