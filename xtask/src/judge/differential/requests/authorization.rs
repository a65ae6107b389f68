//! The authorization endpoint, before anybody acts (RFC 6749 §4.1.1).

use anyhow::Result;

use super::{ELSEWHERE, Ledger, Pairs, and, challenge, with};
use crate::judge::differential::side::REDIRECT_URI;

#[expect(clippy::too_many_lines, reason = "one table of what is asked")]
pub(super) async fn authorization(ledger: &mut Ledger<'_>) -> Result<()> {
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
