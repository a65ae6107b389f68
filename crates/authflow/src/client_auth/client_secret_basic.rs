//! `client_secret_basic` (RFC 6749 §2.3.1, RFC 7617): identifier and secret in the `Authorization` header.

use base64::{Engine as _, engine::DecodePaddingMode, engine::GeneralPurpose, engine::GeneralPurposeConfig};
use mcp_authflow_types::{ClientId, ClientSecret, form::decode_value};
use zeroize::Zeroizing;

use super::ClientAuthReason;

/// The standard alphabet, with padding or without: some clients leave it out.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Reads the header: the identifier, and the secret in each way in which it may be meant. The RFC has both halves
/// form-encoded; TypeScript and others send them as they are. An empty secret gives none.
pub(super) fn read(header: &str) -> Result<(ClientId, Vec<ClientSecret>), ClientAuthReason> {
    use ClientAuthReason as No;

    let (scheme, encoded) = header.split_once(' ').ok_or(No::MalformedHeader)?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return Err(No::MalformedHeader);
    }
    let bytes = Zeroizing::new(
        BASE64
            .decode(encoded.trim_matches(' '))
            .map_err(|_| No::MalformedHeader)?,
    );
    let pair = std::str::from_utf8(&bytes).map_err(|_| No::MalformedHeader)?;
    let (id, secret) = pair.split_once(':').ok_or(No::MalformedHeader)?;

    let decoded_id = decode_value(id).ok().and_then(|id| ClientId::parse(&id).ok());
    let client_id = match decoded_id {
        Some(id) => id,
        None => ClientId::parse(id).map_err(|_| No::MalformedCredential)?,
    };
    if secret.is_empty() {
        return Ok((client_id, Vec::new()));
    }
    let mut secrets = Vec::with_capacity(1);
    if secret.contains(['%', '+'])
        && let Ok(decoded) = decode_value(secret)
        && let Ok(decoded) = ClientSecret::present(&decoded)
    {
        secrets.push(decoded);
    }
    if let Ok(as_it_stands) = ClientSecret::present(secret) {
        secrets.push(as_it_stands);
    }
    if secrets.is_empty() {
        Err(No::MalformedCredential)
    } else {
        Ok((client_id, secrets))
    }
}
