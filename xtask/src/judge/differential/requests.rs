//! The requests, one function an endpoint.

use anyhow::{Context as _, Result};
use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use reqwest::RequestBuilder;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use url::Url;

use super::answer::Answer;
use super::side::{REDIRECT_URI, SECRET, Side};
use crate::judge::house::INTROSPECTION_CLIENT;

const VERIFIER: &str = "a-verifier-of-the-judges-that-is-long-enough-for-rfc-7636";
const ELSEWHERE: &str = "https://elsewhere.test/mcp";
const DEVICE_CODE: &str = "urn:ietf:params:oauth:grant-type:device_code";
const ASSERTION: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

type Pairs<'a> = Vec<(&'a str, &'a str)>;

/// Sends all of them, and returns what was answered to each.
pub(super) async fn send_all(side: &Side) -> Result<Vec<(String, Answer)>> {
    let mut ledger = Ledger {
        side,
        answers: Vec::new(),
    };
    metadata(&mut ledger).await.context("metadata")?;
    authorization(&mut ledger).await.context("authorization")?;
    token(&mut ledger).await.context("token")?;
    client_authentication(&mut ledger)
        .await
        .context("client authentication")?;
    authorization_code(&mut ledger)
        .await
        .context("authorization code")?;
    refresh_token(&mut ledger).await.context("refresh token")?;
    other_grants(&mut ledger).await.context("other grants")?;
    revocation(&mut ledger).await.context("revocation")?;
    introspection(&mut ledger).await.context("introspection")?;
    device_authorization(&mut ledger)
        .await
        .context("device authorization")?;
    registration(&mut ledger).await.context("registration")?;
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

async fn metadata(ledger: &mut Ledger<'_>) -> Result<()> {
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

async fn authorization(ledger: &mut Ledger<'_>) -> Result<()> {
    let challenge = challenge();
    let side = ledger.side;
    let good = ledger.good_request("web", &challenge);
    let short = "a".repeat(42);
    let foreign = "a b".repeat(15);
    let set = |name, value| with(&good, name, Some(value));
    let unset = |name| with(&good, name, None);
    let twice = |name, value| and(&good, name, value);
    let resource: &str = &side.resource;
    let with_fragment = format!("{resource}#part");
    let native = with(&ledger.good_request("native", &challenge), "redirect_uri", None);
    let native_at = |uri| and(&native, "redirect_uri", uri);
    let mut cases: Vec<(&str, Pairs<'_>)> = vec![
        ("all is well", good.clone()),
        ("no response_type", unset("response_type")),
        ("response_type token", set("response_type", "token")),
        ("response_type code token", set("response_type", "code token")),
        ("response_type nonsense", set("response_type", "nonsense")),
        ("no client_id", unset("client_id")),
        ("an unknown client", set("client_id", "nobody")),
        ("two client_id", twice("client_id", "web2")),
        (
            "a redirect_uri of somebody else",
            set("redirect_uri", "https://evil.example/cb"),
        ),
        (
            "a redirect_uri below the registered one",
            set("redirect_uri", "https://client.example/cb/below"),
        ),
        (
            "a redirect_uri with a query",
            set("redirect_uri", "https://client.example/cb?x=1"),
        ),
        (
            "a redirect_uri in other letters",
            set("redirect_uri", "https://client.example/CB"),
        ),
        (
            "a redirect_uri with the default port",
            set("redirect_uri", "https://client.example:443/cb"),
        ),
        (
            "a redirect_uri with a user",
            set("redirect_uri", "https://client.example@evil.example/cb"),
        ),
        (
            "a redirect_uri with a fragment",
            set("redirect_uri", "https://client.example/cb#x"),
        ),
        ("no redirect_uri, of one", unset("redirect_uri")),
        ("two redirect_uri", twice("redirect_uri", REDIRECT_URI)),
        (
            "a loopback redirect_uri at any port",
            native_at("http://127.0.0.1:4321/cb"),
        ),
        (
            "a loopback redirect_uri by name",
            native_at("http://localhost:4321/cb"),
        ),
        (
            "a loopback redirect_uri at another path",
            native_at("http://127.0.0.1:4321/other"),
        ),
        ("no code_challenge", unset("code_challenge")),
        ("no code_challenge_method", unset("code_challenge_method")),
        (
            "code_challenge_method plain",
            set("code_challenge_method", "plain"),
        ),
        (
            "code_challenge_method nonsense",
            set("code_challenge_method", "S512"),
        ),
        ("a short code_challenge", set("code_challenge", &short)),
        (
            "a code_challenge with other letters",
            set("code_challenge", &foreign),
        ),
        ("two code_challenge", twice("code_challenge", &challenge)),
        ("no state", unset("state")),
        ("two state", twice("state", "another")),
        ("two nonsense parameters", and(&twice("x", "1"), "x", "2")),
        ("no scope", unset("scope")),
        ("an unknown scope", set("scope", "nothing:here")),
        (
            "an unknown scope beside a known one",
            set("scope", "nothing:here hello:read"),
        ),
        ("two scope", twice("scope", "hello:write")),
        ("an unknown resource", set("resource", ELSEWHERE)),
        ("a resource that is no URI", set("resource", "not a uri")),
        ("a relative resource", set("resource", "/mcp")),
        ("a resource with a fragment", set("resource", &with_fragment)),
        ("no resource, of one", unset("resource")),
        ("the resource twice", twice("resource", resource)),
        ("prompt none", twice("prompt", "none")),
        ("prompt none and login", twice("prompt", "none login")),
        ("prompt login", twice("prompt", "login")),
        ("prompt consent", twice("prompt", "consent")),
        ("a request object", twice("request", "e30.e30.")),
        (
            "a request_uri",
            twice("request_uri", "https://client.example/request"),
        ),
        ("response_mode query", twice("response_mode", "query")),
        ("response_mode nonsense", twice("response_mode", "nonsense")),
        (
            "a client without the grant",
            with(&good, "client_id", Some("svc")),
        ),
    ];
    cases.push((
        "nothing well",
        vec![("client_id", "web"), ("redirect_uri", REDIRECT_URI)],
    ));
    let mut requests = Vec::new();
    for (case, parameters) in &cases {
        let request = side.http()?.get(side.authorize_url(parameters)?);
        requests.push((format!("authorize: {case}"), request));
    }
    let url = side.endpoint("authorization")?;
    requests.push((
        "authorize: by a form".to_owned(),
        side.http()?.post(&url).form(&good),
    ));
    requests.push(("authorize: PUT".to_owned(), side.http()?.put(&url).form(&good)));
    for (case, request) in requests {
        ledger
            .note(case, request.header("accept", "text/html"), &[])
            .await?;
    }
    Ok(())
}

async fn token(ledger: &mut Ledger<'_>) -> Result<()> {
    let url = ledger.side.endpoint("token")?;
    let good = [
        ("grant_type", "authorization_code"),
        ("client_id", "web"),
        ("code", "x"),
        ("code_verifier", VERIFIER),
    ];
    let http = ledger.side.http()?;
    let requests = [
        ("GET", http.get(&url)),
        ("PUT", http.put(&url).form(&good)),
        (
            "JSON",
            http.post(&url)
                .json(&json!({ "grant_type": "authorization_code", "client_id": "web" })),
        ),
        (
            "no content type",
            http.post(&url).body("grant_type=x&client_id=web"),
        ),
        ("no body", http.post(&url)),
        (
            "parameters in the query",
            http.post(format!("{url}?grant_type=client_credentials"))
                .basic_auth("svc", Some(SECRET)),
        ),
    ];
    for (case, request) in requests {
        ledger.note(format!("token: {case}"), request, &[]).await?;
    }
    let cases: Vec<(&str, Pairs<'_>)> = vec![
        ("no grant_type", with(&good, "grant_type", None)),
        (
            "an unknown grant_type",
            with(&good, "grant_type", Some("nonsense")),
        ),
        (
            "the password grant",
            vec![
                ("grant_type", "password"),
                ("username", "alice"),
                ("password", "x"),
                ("client_id", "web"),
            ],
        ),
        ("two grant_type", and(&good, "grant_type", "authorization_code")),
        ("two code", and(&good, "code", "y")),
        ("two client_id", and(&good, "client_id", "web2")),
        ("two nonsense parameters", and(&and(&good, "x", "1"), "x", "2")),
        ("an empty code", with(&good, "code", Some(""))),
    ];
    for (case, form) in cases {
        ledger.post("token", case, None, &form, &[]).await?;
    }
    Ok(())
}

async fn client_authentication(ledger: &mut Ledger<'_>) -> Result<()> {
    let work = [("grant_type", "client_credentials"), ("scope", "hello:read")];
    let refresh = [("grant_type", "refresh_token"), ("refresh_token", "x")];
    let id = |pairs: &[(&'static str, &'static str)], id| and(pairs, "client_id", id);
    let cases: Vec<(&str, Option<(&str, &str)>, Pairs<'_>)> = vec![
        ("nobody", None, work.to_vec()),
        ("an unknown client", None, id(&refresh, "nobody")),
        (
            "an unknown client by Basic",
            Some(("nobody", SECRET)),
            work.to_vec(),
        ),
        ("a wrong secret", Some(("svc", "wrong")), work.to_vec()),
        ("an empty secret", Some(("svc", "")), work.to_vec()),
        (
            "a wrong secret in the form",
            None,
            and(&id(&work, "svc"), "client_secret", "wrong"),
        ),
        ("a confidential client's name alone", None, id(&work, "svc")),
        (
            "Basic and the form",
            Some(("svc", SECRET)),
            and(&id(&work, "svc"), "client_secret", SECRET),
        ),
        (
            "Basic and another client_id",
            Some(("svc", SECRET)),
            id(&work, "web"),
        ),
        (
            "Basic and the same client_id",
            Some(("svc", SECRET)),
            id(&work, "svc"),
        ),
        (
            "a public client with a secret",
            None,
            and(&id(&refresh, "web"), "client_secret", "x"),
        ),
        (
            "an assertion that is none",
            None,
            and(
                &and(&work, "client_assertion_type", ASSERTION),
                "client_assertion",
                "x",
            ),
        ),
        (
            "an assertion of an unknown type",
            None,
            and(
                &and(&id(&work, "svc"), "client_assertion_type", "nonsense"),
                "client_assertion",
                "x",
            ),
        ),
        (
            "an assertion without its type",
            None,
            and(&id(&work, "svc"), "client_assertion", "x"),
        ),
    ];
    for (case, basic, form) in cases {
        ledger
            .post("token", &format!("as {case}"), basic, &form, &[])
            .await?;
    }
    let url = ledger.side.endpoint("token")?;
    for (case, authorization) in [
        ("no base64", "Basic %%%"),
        ("Basic without a colon", "Basic c3Zj"),
        ("Basic without a value", "Basic"),
        ("an unknown scheme", "Bearer x"),
    ] {
        let request = ledger.side.http()?.post(&url).form(&work);
        let request = request.header("authorization", authorization);
        ledger.note(format!("token: as {case}"), request, &[]).await?;
    }
    Ok(())
}

async fn authorization_code(ledger: &mut Ledger<'_>) -> Result<()> {
    let code = ledger.code("web").await?;
    let good = good_code("web", &code);
    let short = "a".repeat(42);
    let cases: Vec<(&str, Pairs<'_>)> = vec![
        ("no code", with(&good, "code", None)),
        ("an unknown code", with(&good, "code", Some("nonsense"))),
        ("a code of another client", with(&good, "client_id", Some("web2"))),
        ("no code_verifier", with(&good, "code_verifier", None)),
        (
            "a short code_verifier",
            with(&good, "code_verifier", Some(&short)),
        ),
    ];
    for (case, form) in cases {
        ledger.post("token", case, None, &form, &[]).await?;
    }
    // What spoils a code at one server and not at the other has a code of its own.
    let wrong = "b".repeat(43);
    for (case, name, value) in [
        ("a wrong code_verifier", "code_verifier", Some(wrong.as_str())),
        (
            "a wrong redirect_uri",
            "redirect_uri",
            Some("https://client.example/other"),
        ),
        ("no redirect_uri", "redirect_uri", None),
        ("an unknown resource", "resource", Some(ELSEWHERE)),
    ] {
        let code = ledger.code("web").await?;
        let form = with(&good_code("web", &code), name, value);
        ledger.post("token", case, None, &form, &[]).await?;
    }
    let code = ledger.code("web").await?;
    let good = good_code("web", &code);
    let members = ["token_type", "scope"];
    let tokens = ledger.post("token", "a good code", None, &good, &members).await?;
    ledger.post("token", "a used code", None, &good, &members).await?;
    let token = tokens["access_token"].as_str().unwrap_or_default();
    ledger
        .is_active("a token of a code that was used twice", token)
        .await
}

async fn refresh_token(ledger: &mut Ledger<'_>) -> Result<()> {
    let (_, token) = ledger.tokens("web").await?;
    let good = [
        ("grant_type", "refresh_token"),
        ("client_id", "web"),
        ("refresh_token", &token),
    ];
    let cases: Vec<(&str, Pairs<'_>)> = vec![
        ("no refresh_token", with(&good, "refresh_token", None)),
        (
            "an unknown refresh_token",
            with(&good, "refresh_token", Some("nonsense")),
        ),
        ("two refresh_token", and(&good, "refresh_token", "x")),
        (
            "a refresh_token of another client",
            with(&good, "client_id", Some("web2")),
        ),
        (
            "a refresh with a scope more",
            and(&good, "scope", "hello:read hello:write"),
        ),
        (
            "a refresh for an unknown resource",
            and(&good, "resource", ELSEWHERE),
        ),
    ];
    for (case, form) in cases {
        ledger.post("token", case, None, &form, &[]).await?;
    }
    let members = ["token_type", "scope"];
    let (_, token) = ledger.tokens("web").await?;
    let good = with(&good, "refresh_token", Some(&token));
    let second = ledger.post("token", "a refresh", None, &good, &members).await?;
    let successor = second["refresh_token"].as_str().unwrap_or_default();
    let next = with(&good, "refresh_token", Some(successor));
    let third = ledger
        .post("token", "a refresh with the successor", None, &next, &members)
        .await?;
    // The successor was used: there is no lost answer to forgive any more.
    ledger
        .post("token", "a spent refresh_token", None, &good, &members)
        .await?;
    let token = third["access_token"].as_str().unwrap_or_default();
    ledger
        .is_active("a token of a family whose spent token came again", token)
        .await?;
    let newest = third["refresh_token"].as_str().unwrap_or_default();
    let newest = with(&good, "refresh_token", Some(newest));
    ledger
        .post(
            "token",
            "the newest refresh_token of that family",
            None,
            &newest,
            &members,
        )
        .await?;
    Ok(())
}

async fn other_grants(ledger: &mut Ledger<'_>) -> Result<()> {
    let svc = Some(("svc", SECRET));
    let resource = ledger.side.resource.clone();
    let good = [
        ("grant_type", "client_credentials"),
        ("scope", "hello:read"),
        ("resource", &resource),
    ];
    let members = ["token_type", "scope", "refresh_token"];
    let cases: Vec<(&str, Option<(&str, &str)>, Pairs<'_>)> = vec![
        ("a machine", svc, good.to_vec()),
        ("a machine by the form", None, {
            and(&and(&good, "client_id", "svc"), "client_secret", SECRET)
        }),
        ("a machine without a scope", svc, with(&good, "scope", None)),
        (
            "a machine with a scope more",
            svc,
            with(&good, "scope", Some("hello:read hello:write")),
        ),
        (
            "a machine with another scope",
            svc,
            with(&good, "scope", Some("hello:write")),
        ),
        (
            "a machine for an unknown resource",
            svc,
            with(&good, "resource", Some(ELSEWHERE)),
        ),
        (
            "a machine that is a public client",
            None,
            and(&good, "client_id", "web"),
        ),
        (
            "a machine without the grant",
            Some(("sec", SECRET)),
            good.to_vec(),
        ),
        ("a machine with a code", svc, {
            vec![
                ("grant_type", "authorization_code"),
                ("code", "x"),
                ("code_verifier", VERIFIER),
            ]
        }),
    ];
    for (case, basic, form) in cases {
        ledger.post("token", case, basic, &form, &members).await?;
    }
    let poll = [
        ("grant_type", DEVICE_CODE),
        ("client_id", "tv"),
        ("device_code", "nonsense"),
    ];
    let cases: Vec<(&str, Pairs<'_>)> = vec![
        ("an unknown device_code", poll.to_vec()),
        ("no device_code", with(&poll, "device_code", None)),
        (
            "a device that is a client without the grant",
            with(&poll, "client_id", Some("web")),
        ),
    ];
    for (case, form) in cases {
        ledger.post("token", case, None, &form, &[]).await?;
    }
    Ok(())
}

async fn revocation(ledger: &mut Ledger<'_>) -> Result<()> {
    let url = ledger.side.endpoint("revocation")?;
    let get = ledger.side.http()?.get(&url);
    ledger.note("revocation: GET".to_owned(), get, &[]).await?;
    let (access_token, refresh_token) = ledger.tokens("web").await?;
    let good = [("client_id", "web"), ("token", access_token.as_str())];
    let cases: Vec<(&str, Option<(&str, &str)>, Pairs<'_>)> = vec![
        ("nobody", None, vec![("token", &access_token)]),
        (
            "a wrong secret",
            Some(("sec", "wrong")),
            vec![("token", &access_token)],
        ),
        ("no token", None, with(&good, "token", None)),
        ("an empty token", None, with(&good, "token", Some(""))),
        ("an unknown token", None, with(&good, "token", Some("nonsense"))),
        ("two token", None, and(&good, "token", "x")),
        (
            "a token of another client",
            None,
            with(&good, "client_id", Some("web2")),
        ),
        (
            "a token of a client that is confidential",
            Some(("sec", SECRET)),
            vec![("token", &access_token)],
        ),
    ];
    for (case, basic, form) in cases {
        ledger.post("revocation", case, basic, &form, &[]).await?;
    }
    ledger
        .is_active("a token that others wanted to revoke", &access_token)
        .await?;
    let hinted = and(&good, "token_type_hint", "nonsense");
    ledger
        .post(
            "revocation",
            "a token with a hint of nonsense",
            None,
            &hinted,
            &[],
        )
        .await?;
    ledger.is_active("a revoked token", &access_token).await?;
    ledger
        .post("revocation", "a revoked token", None, &good, &[])
        .await?;
    let refresh = [
        ("grant_type", "refresh_token"),
        ("client_id", "web"),
        ("refresh_token", refresh_token.as_str()),
    ];
    ledger
        .post(
            "token",
            "a refresh after its access token was revoked",
            None,
            &refresh,
            &["scope"],
        )
        .await?;
    let (access_token, refresh_token) = ledger.tokens("web").await?;
    let hinted = [
        ("client_id", "web"),
        ("token", refresh_token.as_str()),
        ("token_type_hint", "access_token"),
    ];
    ledger
        .post(
            "revocation",
            "a refresh token with the wrong hint",
            None,
            &hinted,
            &[],
        )
        .await?;
    ledger
        .is_active("a token whose refresh token was revoked", &access_token)
        .await?;
    let refresh = with(&refresh, "refresh_token", Some(&refresh_token));
    ledger
        .post("token", "a revoked refresh_token", None, &refresh, &[])
        .await?;
    Ok(())
}

async fn introspection(ledger: &mut Ledger<'_>) -> Result<()> {
    let url = ledger.side.endpoint("introspection")?;
    let get = ledger.side.http()?.get(&url);
    ledger.note("introspection: GET".to_owned(), get, &[]).await?;
    let (access_token, _) = ledger.tokens("web").await?;
    let (id, secret) = INTROSPECTION_CLIENT;
    let good = [("token", access_token.as_str())];
    let members = ["active", "client_id", "scope", "token_type"];
    let cases: Vec<(&str, Option<(&str, &str)>, Pairs<'_>)> = vec![
        ("nobody", None, good.to_vec()),
        ("a wrong secret", Some((id, "wrong")), good.to_vec()),
        ("a public client", None, and(&good, "client_id", "web2")),
        ("no token", Some((id, secret)), Vec::new()),
        ("two token", Some((id, secret)), and(&good, "token", "x")),
        (
            "an unknown token",
            Some((id, secret)),
            vec![("token", "nonsense")],
        ),
        ("a good token", Some((id, secret)), good.to_vec()),
        (
            "a good token with a hint of nonsense",
            Some((id, secret)),
            and(&good, "token_type_hint", "nonsense"),
        ),
        (
            "a good token with the wrong hint",
            Some((id, secret)),
            and(&good, "token_type_hint", "refresh_token"),
        ),
    ];
    for (case, basic, form) in cases {
        ledger.post("introspection", case, basic, &form, &members).await?;
    }
    Ok(())
}

async fn device_authorization(ledger: &mut Ledger<'_>) -> Result<()> {
    let url = ledger.side.endpoint("device_authorization")?;
    let get = ledger.side.http()?.get(&url);
    ledger
        .note("device_authorization: GET".to_owned(), get, &[])
        .await?;
    let resource = ledger.side.resource.clone();
    let good = [
        ("client_id", "tv"),
        ("scope", "hello:read"),
        ("resource", &resource),
    ];
    let cases: Vec<(&str, Pairs<'_>)> = vec![
        ("no client", with(&good, "client_id", None)),
        ("an unknown client", with(&good, "client_id", Some("nobody"))),
        (
            "a client without the grant",
            with(&good, "client_id", Some("web")),
        ),
        ("an unknown scope", with(&good, "scope", Some("nothing:here"))),
        ("an unknown resource", with(&good, "resource", Some(ELSEWHERE))),
        ("two scope", and(&good, "scope", "hello:write")),
    ];
    for (case, form) in cases {
        ledger
            .post("device_authorization", case, None, &form, &[])
            .await?;
    }
    let codes = ledger
        .post(
            "device_authorization",
            "all is well",
            None,
            &good,
            &["expires_in"],
        )
        .await?;
    let device_code = codes["device_code"].as_str().unwrap_or_default();
    let poll = [
        ("grant_type", DEVICE_CODE),
        ("client_id", "tv"),
        ("device_code", device_code),
    ];
    ledger
        .post("token", "a device too early", None, &poll, &[])
        .await?;
    ledger
        .post("token", "a device in a hurry", None, &poll, &[])
        .await?;
    let theirs = with(&poll, "client_id", Some("web2"));
    ledger
        .post(
            "token",
            "a device_code of a client without the grant",
            None,
            &theirs,
            &[],
        )
        .await?;
    Ok(())
}

async fn registration(ledger: &mut Ledger<'_>) -> Result<()> {
    let good = json!({
        "client_name": "Judge",
        "redirect_uris": [REDIRECT_URI],
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": "none",
    });
    let set = |name: &str, value: Value| {
        let mut body = good.clone();
        body[name] = value;
        body
    };
    let key = json!({ "kty": "EC", "crv": "P-256", "x": "x", "y": "y" });
    let both = json!({
        "redirect_uris": [REDIRECT_URI], "token_endpoint_auth_method": "private_key_jwt",
        "jwks": { "keys": [key] }, "jwks_uri": "https://client.example/jwks",
    });
    let cases = [
        ("a public client", good.clone()),
        (
            "a client that says the least",
            json!({ "redirect_uris": [REDIRECT_URI] }),
        ),
        (
            "a client_id and secret of its own choice",
            set("client_id", "admin".into()),
        ),
        ("redirect_uris empty", set("redirect_uris", json!([]))),
        ("redirect_uris missing", json!({ "client_name": "Judge" })),
        ("redirect_uris a text", set("redirect_uris", REDIRECT_URI.into())),
        ("redirect_uris of numbers", set("redirect_uris", json!([1]))),
        (
            "redirect_uris with javascript",
            set("redirect_uris", json!(["javascript:alert(1)"])),
        ),
        (
            "redirect_uris with data",
            set("redirect_uris", json!(["data:text/html,x"])),
        ),
        (
            "redirect_uris with a fragment",
            set("redirect_uris", json!(["https://client.example/cb#x"])),
        ),
        (
            "redirect_uris relative",
            set("redirect_uris", json!(["/callback"])),
        ),
        (
            "redirect_uris with plain http elsewhere",
            set("redirect_uris", json!(["http://client.example/cb"])),
        ),
        (
            "redirect_uris on loopback",
            set("redirect_uris", json!(["http://127.0.0.1:3000/cb"])),
        ),
        (
            "redirect_uris with a private scheme",
            set("redirect_uris", json!(["cursor://anysphere/callback"])),
        ),
        (
            "an unknown method",
            set("token_endpoint_auth_method", "nonsense".into()),
        ),
        (
            "a key without keys",
            set("token_endpoint_auth_method", "private_key_jwt".into()),
        ),
        ("keys and an address of keys", both),
        ("an unknown grant", set("grant_types", json!(["nonsense"]))),
        (
            "an unknown grant beside known ones",
            set("grant_types", json!(["authorization_code", "nonsense"])),
        ),
        ("a machine", {
            json!({ "grant_types": ["client_credentials"], "response_types": [], "redirect_uris": [] })
        }),
        (
            "grant_types a text",
            set("grant_types", "authorization_code".into()),
        ),
        ("an implicit client", {
            json!({ "redirect_uris": [REDIRECT_URI], "grant_types": ["implicit"], "response_types": ["token"] })
        }),
        (
            "an unknown response type",
            set("response_types", json!(["nonsense"])),
        ),
        ("an unknown scope", set("scope", "nothing:here".into())),
        ("a scope that is a list", set("scope", json!(["hello:read"]))),
        ("an unknown member", set("nonsense", json!({ "x": 1 }))),
        ("a member that is null", set("client_uri", Value::Null)),
        ("a name that is a number", set("client_name", 1.into())),
        (
            "a logo that is no address",
            set("logo_uri", "javascript:alert(1)".into()),
        ),
        ("a list", json!([good])),
        ("null", Value::Null),
        ("a text", "x".into()),
    ];
    let url = ledger.side.endpoint("registration")?;
    for (case, body) in cases {
        let request = ledger.side.http()?.post(&url).json(&body);
        ledger.note(format!("register: {case}"), request, &[]).await?;
    }
    let http = ledger.side.http()?;
    let json_type = ("content-type", "application/json");
    let requests = [
        ("GET", http.get(&url)),
        ("no body", http.post(&url)),
        (
            "not JSON",
            http.post(&url).header(json_type.0, json_type.1).body("{"),
        ),
        (
            "another type",
            http.post(&url)
                .header("content-type", "text/plain")
                .body(good.to_string()),
        ),
        ("a form", http.post(&url).form(&[("redirect_uris", REDIRECT_URI)])),
    ];
    for (case, request) in requests {
        ledger.note(format!("register: {case}"), request, &[]).await?;
    }
    Ok(())
}
