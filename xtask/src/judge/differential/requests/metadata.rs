//! What a server says of itself (RFC 8414).

use anyhow::Result;

use super::Ledger;

pub(super) async fn metadata(ledger: &mut Ledger<'_>) -> Result<()> {
    let told = [
        "response_types_supported",
        "code_challenge_methods_supported",
        "authorization_response_iss_parameter_supported",
        "grant_types_supported",
        "token_endpoint_auth_methods_supported",
    ];
    let modes = ["response_modes_supported", "request_uri_parameter_supported"];
    let issuer = ledger.side.issuer.clone();
    for name in ["oauth-authorization-server", "openid-configuration"] {
        let url = format!("{issuer}/.well-known/{name}");
        let http = ledger.side.http()?;
        ledger
            .note(format!("metadata: {name}"), http.get(&url), &told)
            .await?;
        ledger
            .note(format!("metadata: modes of {name}"), http.get(&url), &modes)
            .await?;
        ledger
            .note(format!("metadata: POST {name}"), http.post(&url), &[])
            .await?;
    }
    let http = ledger.side.http()?;
    let nowhere = http.get(format!(
        "{issuer}/.well-known/oauth-authorization-server/elsewhere"
    ));
    ledger
        .note("metadata: of another issuer".to_owned(), nowhere, &[])
        .await?;
    Ok(())
}
