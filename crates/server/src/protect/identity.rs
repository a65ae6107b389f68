//! Signs for the upstream who is calling: with the authorization server's key, or, beside a separate authorization
//! server, with one of our own.

use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
};

use anyhow::{Context as _, bail};
use http::HeaderValue;
use mcp_authflow::{
    AuthorizationServer,
    port::{Clock as _, Entropy},
};
use mcp_authflow_jose::{Algorithm, ServerKey, SigningKey};
use mcp_authflow_protect::{CannotSign, Identity, IdentitySigner, identity::IDENTITY_TYP};
use mcp_authflow_types::hex;
use serde_json::{Value, json};
use sha2::Digest as _;
use zeroize::Zeroizing;

use crate::{
    system::{SystemClock, SystemEntropy},
    wire::make_private_folder,
};

/// Signs with the current key of the authorization server in this process; its `/jwks` has the public half.
pub(crate) struct SignedByServer(pub(crate) AuthorizationServer);

#[async_trait::async_trait]
impl IdentitySigner for SignedByServer {
    async fn sign(&self, identity: Identity) -> Result<HeaderValue, CannotSign> {
        let claims = claims(&identity, self.0.settings().issuer.as_str());
        let token = self
            .0
            .sign(IDENTITY_TYP, &claims)
            .await
            .map_err(|error| CannotSign(error.to_string()))?;
        header(&token)
    }
}

/// Signs with a key that this gateway keeps for itself.
pub(crate) struct OwnKey {
    key: SigningKey,
    /// Our public origin: who says so.
    issuer: String,
}

impl OwnKey {
    /// Reads the key from its file in the data folder, PKCS#8 in DER, or makes it, for its owner alone.
    pub(crate) fn open(data_dir: &Path, issuer: &str) -> anyhow::Result<Self> {
        make_private_folder(Some(data_dir))?;
        let file = data_dir.join("identity.key");
        let key = match read(&file)? {
            Some(key) => key,
            None => make(&file)?,
        };
        Ok(Self {
            key,
            issuer: issuer.to_owned(),
        })
    }

    /// A key for another purpose, drawn from this one.
    pub(crate) fn digest(&self, purpose: &str) -> anyhow::Result<[u8; 32]> {
        let secret: [u8; 32] = sha2::Sha256::digest(&*self.key.to_pkcs8()?).into();
        Ok(ServerKey::from_bytes(secret).digest(purpose, &[]))
    }

    /// The public half, as `/jwks` answers it.
    pub(crate) fn key_set(&self) -> Value {
        json!({ "keys": [self.key.public_jwk()] })
    }
}

#[async_trait::async_trait]
impl IdentitySigner for OwnKey {
    async fn sign(&self, identity: Identity) -> Result<HeaderValue, CannotSign> {
        let claims = claims(&identity, &self.issuer);
        let token = self.key.sign(IDENTITY_TYP, &claims);
        header(&token.map_err(|error| CannotSign(error.to_string()))?)
    }
}

fn claims(identity: &Identity, issuer: &str) -> Value {
    let jti = hex::encode(&(&SystemEntropy as &dyn Entropy).draw::<16>());
    Value::Object(identity.claims(issuer, SystemClock.now(), &jti))
}

fn header(token: &str) -> Result<HeaderValue, CannotSign> {
    HeaderValue::try_from(token).map_err(|error| CannotSign(error.to_string()))
}

fn read(file: &Path) -> anyhow::Result<Option<SigningKey>> {
    let path = file.display();
    let cannot_read = || format!("cannot read the key {path}");
    let mut opened = match fs::File::open(file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        other => other.with_context(cannot_read)?,
    };
    let mode = opened.metadata().with_context(cannot_read)?.permissions().mode();
    if mode & 0o077 != 0 {
        bail!(
            "the key {path} is open to others than its owner (mode {:o}): chmod 600 {path}",
            mode & 0o777
        );
    }
    let mut der = Zeroizing::new(Vec::new());
    opened.read_to_end(&mut der).with_context(cannot_read)?;
    SigningKey::from_pkcs8(Algorithm::Es256, &der)
        .map(Some)
        .with_context(|| format!("{path} is no ES256 key in PKCS#8: remove it, and a new one is made"))
}

fn make(file: &Path) -> anyhow::Result<SigningKey> {
    let key = SigningKey::generate(Algorithm::Es256)?;
    let der = key.to_pkcs8()?;
    let written = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file)
        .and_then(|mut opened| opened.write_all(&der).and_then(|()| opened.sync_all()));
    match written {
        Ok(()) => Ok(key),
        // Another process made it at this very moment: its key is the one.
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            read(file)?.with_context(|| format!("the key {} comes and goes", file.display()))
        }
        Err(error) => Err(error).with_context(|| format!("cannot write the key {}", file.display())),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    #[test]
    fn the_key_is_made_once_and_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("identity.key");
        let first = OwnKey::open(folder.path(), "https://tools.example").unwrap();
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let again = OwnKey::open(folder.path(), "https://tools.example").unwrap();
        assert_eq!(first.key_set(), again.key_set());
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        let error = OwnKey::open(folder.path(), "https://tools.example")
            .err()
            .unwrap()
            .to_string();
        assert!(
            error.ends_with(&format!("chmod 600 {}", file.display())),
            "{error}"
        );
    }
}
