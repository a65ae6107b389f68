//! The requests, one file an endpoint.

mod authorization;
mod device_authorization;
mod grant;
mod metadata;
mod registration;
mod revocation;
mod token;

use anyhow::{Context as _, Result};
use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use reqwest::RequestBuilder;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use url::Url;

use super::answer::Answer;
use super::side::{REDIRECT_URI, Side};
use crate::judge::house::INTROSPECTION_CLIENT;

const VERIFIER: &str = "a-verifier-of-the-judges-that-is-long-enough-for-rfc-7636";
const ELSEWHERE: &str = "https://elsewhere.test/mcp";
const DEVICE_CODE: &str = "urn:ietf:params:oauth:grant-type:device_code";
const ASSERTION: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

type Pairs<'a> = Vec<(&'a str, &'a str)>;
/// A name, the confidential client if any, and the form.
type Case<'a> = (&'a str, Option<(&'a str, &'a str)>, Pairs<'a>);

/// Sends all of them, and returns what was answered to each.
pub(super) async fn send_all(side: &Side) -> Result<Vec<(String, Answer)>> {
    let mut ledger = Ledger {
        side,
        answers: Vec::new(),
    };
    metadata::metadata(&mut ledger).await.context("metadata")?;
    authorization::authorization(&mut ledger)
        .await
        .context("authorization")?;
    token::token(&mut ledger).await.context("token")?;
    token::client_authentication(&mut ledger)
        .await
        .context("client authentication")?;
    grant::authorization_code(&mut ledger)
        .await
        .context("authorization code")?;
    grant::refresh_token(&mut ledger).await.context("refresh token")?;
    token::other_grants(&mut ledger).await.context("other grants")?;
    revocation::revocation(&mut ledger).await.context("revocation")?;
    revocation::introspection(&mut ledger)
        .await
        .context("introspection")?;
    device_authorization::device_authorization(&mut ledger)
        .await
        .context("device authorization")?;
    registration::registration(&mut ledger)
        .await
        .context("registration")?;
    Ok(ledger.answers)
}

struct Ledger<'a> {
    side: &'a Side,
    answers: Vec<(String, Answer)>,
}

impl Ledger<'_> {
    /// Sends a request and writes the answer down; returns its JSON.
    async fn note(&mut self, case: String, request: RequestBuilder, members: &[&str]) -> Result<Value> {
        let response = request.send().await.with_context(|| case.clone())?;
        let read = Answer::read(response, &self.side.issuer, members).await;
        let (answer, json) = read.with_context(|| case.clone())?;
        self.answers.push((case, answer));
        Ok(json)
    }

    /// A form to an endpoint, as this confidential client if any.
    async fn post(
        &mut self,
        endpoint: &str,
        case: &str,
        basic: Option<(&str, &str)>,
        form: &[(&str, &str)],
        members: &[&str],
    ) -> Result<Value> {
        let mut request = self.side.http()?.post(self.side.endpoint(endpoint)?).form(form);
        if let Some((id, secret)) = basic {
            request = request.basic_auth(id, Some(secret));
        }
        self.note(format!("{endpoint}: {case}"), request, members).await
    }

    /// What one who authorizes `client` asks, before a case changes it.
    fn good_request<'b>(&'b self, client: &'b str, challenge: &'b str) -> Pairs<'b> {
        vec![
            ("response_type", "code"),
            ("client_id", client),
            ("redirect_uri", REDIRECT_URI),
            ("scope", "hello:read"),
            ("state", "a state"),
            ("code_challenge", challenge),
            ("code_challenge_method", "S256"),
            ("resource", &self.side.resource),
        ]
    }

    /// A fresh code.
    async fn code(&self, client: &str) -> Result<String> {
        let challenge = challenge();
        let callback = self.side.sign_in(&self.good_request(client, &challenge)).await?;
        let url: Url = callback.parse()?;
        let code = url.query_pairs().find(|(name, _)| name == "code");
        let (_, code) = code.with_context(|| format!("no code in {callback}"))?;
        Ok(code.into_owned())
    }

    /// Fresh tokens of a public client.
    async fn tokens(&self, client: &str) -> Result<(String, String)> {
        let code = self.code(client).await?;
        let form = good_code(client, &code);
        let url = self.side.endpoint("token")?;
        let response = self.side.http()?.post(url).form(&form).send().await?;
        let tokens: Value = response.json().await?;
        let member = |name: &str| {
            let value = tokens[name].as_str().map(str::to_owned);
            value.with_context(|| format!("no {name} in {tokens}"))
        };
        Ok((member("access_token")?, member("refresh_token")?))
    }

    /// Whether the resource server may still believe this token, as a case of its own.
    async fn is_active(&mut self, case: &str, token: &str) -> Result<()> {
        let form = [("token", token)];
        self.post(
            "introspection",
            case,
            Some(INTROSPECTION_CLIENT),
            &form,
            &["active"],
        )
        .await?;
        Ok(())
    }
}

fn challenge() -> String {
    BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(VERIFIER))
}

fn good_code<'a>(client: &'a str, code: &'a str) -> Pairs<'a> {
    vec![
        ("grant_type", "authorization_code"),
        ("client_id", client),
        ("code", code),
        ("code_verifier", VERIFIER),
        ("redirect_uri", REDIRECT_URI),
    ]
}

/// The pairs with one set (`Some`) or left out (`None`).
fn with<'a>(pairs: &[(&'a str, &'a str)], name: &'a str, value: Option<&'a str>) -> Pairs<'a> {
    let mut pairs: Pairs<'a> = pairs.iter().copied().filter(|(had, _)| *had != name).collect();
    pairs.extend(value.map(|value| (name, value)));
    pairs
}

/// The pairs with one more, which may be the second of its name.
fn and<'a>(pairs: &[(&'a str, &'a str)], name: &'a str, value: &'a str) -> Pairs<'a> {
    let mut pairs = pairs.to_vec();
    pairs.push((name, value));
    pairs
}
