//! `client_secret_post` (RFC 6749 §2.3.1): identifier and secret in the body; and the bare identifier of public clients.

use mcp_authflow_types::{ClientId, ClientSecret, Form};

use super::ClientAuthReason;

/// Reads `client_id` and `client_secret`. An empty secret counts as none.
pub(super) fn read(form: &Form<'_>) -> Result<(Option<ClientId>, Option<ClientSecret>), ClientAuthReason> {
    let malformed = ClientAuthReason::MalformedCredential;
    let client_id = form
        .value("client_id")
        .map(ClientId::parse)
        .transpose()
        .map_err(|_| malformed)?;
    let secret = form
        .value("client_secret")
        .map(ClientSecret::present)
        .transpose()
        .map_err(|_| malformed)?;
    Ok((client_id, secret))
}
