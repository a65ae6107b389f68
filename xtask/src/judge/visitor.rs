//! A client of our own that gets a token the ordinary way: registration, sign-in, code.

use anyhow::{Context as _, Result, ensure};
use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use mcp_authflow_testkit::browser::{Browser, Decision};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use url::Url;

use super::house::{PASSWORD, USERNAME, http};
use super::site::Site;

const REDIRECT_URI: &str = "http://127.0.0.1:3999/callback";
const VERIFIER: &str = "a-verifier-of-the-judges-that-is-long-enough-for-rfc-7636";

/// An access token with every scope that the MCP server's metadata names.
pub(super) async fn token(site: &Site) -> Result<String> {
    let http = http()?;
    let resource: Url = site.mcp_url.parse()?;
    let metadata = resource.join(&format!(
        "/.well-known/oauth-protected-resource{}",
        resource.path()
    ))?;
    let metadata: Value = http
        .get(metadata)
        .send()
        .await?
        .error_for_status()?
        .json()
        .await?;
    let scopes: Vec<&str> = metadata["scopes_supported"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();

    let client = json!({
        "client_name": "Judge",
        "redirect_uris": [REDIRECT_URI],
        "grant_types": ["authorization_code"],
        "token_endpoint_auth_method": "none",
    });
    let response = http.post(site.url("/register")).json(&client).send().await?;
    let client: Value = response.error_for_status()?.json().await?;
    let client_id = client["client_id"].as_str().context("no client_id")?;

    let mut url: Url = site.url("/authorize").parse()?;
    url.query_pairs_mut()
        .append_pair("response_type", "code")
        .append_pair("client_id", client_id)
        .append_pair("redirect_uri", REDIRECT_URI)
        .append_pair(
            "code_challenge",
            &BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(VERIFIER)),
        )
        .append_pair("code_challenge_method", "S256")
        .append_pair("scope", &scopes.join(" "))
        .append_pair("resource", &site.mcp_url);
    let browser = Browser::new()?;
    let redirect = browser
        .sign_in_and(url.as_str(), USERNAME, PASSWORD, Decision::Allow)
        .await?;
    let code = redirect
        .parameter("code")?
        .with_context(|| format!("no code in {}", redirect.url))?;

    let form = [
        ("grant_type", "authorization_code"),
        ("client_id", client_id),
        ("code", &code),
        ("code_verifier", VERIFIER),
        ("redirect_uri", REDIRECT_URI),
    ];
    let response = http.post(site.url("/token")).form(&form).send().await?;
    let status = response.status();
    let tokens: Value = response.json().await?;
    ensure!(status == 200, "the token endpoint answered {status}: {tokens}");
    let token = tokens["access_token"].as_str().context("no access_token")?;
    Ok(token.to_owned())
}
